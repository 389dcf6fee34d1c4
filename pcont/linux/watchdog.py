"""A watchdog: a process that does what must be done if pcont is killed, such as thawing a
container.
"""

from __future__ import annotations

import contextlib
import math
import os
import select
import signal
from collections.abc import Callable, Iterable, Iterator
from errno import ECHILD

_DONE = b"d"
_STREAMS = (0, 1, 2)


def readable(descriptors: Iterable[int], seconds: float | None = None) -> list[int]:
    """Wait until a descriptor can be read or its other end is closed; returns those that can.

    `seconds`: the time limit; None for no limit. Uses poll(2), because select(2) fails for
    descriptors above 1023.
    """
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    return [one for one, _ in poll.poll(None if seconds is None else math.ceil(seconds * 1000))]


@contextlib.contextmanager
def watching(act: Callable[[], object], *kept: int) -> Iterator[None]:
    """For the block, start a watchdog process that calls `act` if this process is killed.

    `kept`: the descriptors that `act` needs; the watchdog closes all others. Raises
    ChildProcessError if the watchdog itself dies.
    """
    own = os.pidfd_open(os.getpid())
    wait, tell = os.pipe()
    hear, ready = os.pipe()
    pid = os.fork()
    if pid == 0:
        _watch(act, kept, own, wait, ready)
    for descriptor in (own, wait, ready):
        os.close(descriptor)
    # Wait for its own session: a kill of pcont's group must not reach it.
    watches = os.read(hear, 1) == _DONE
    os.close(hear)
    try:
        if not watches:
            raise ChildProcessError(ECHILD, "the watchdog process has died")
        yield
    finally:
        try:
            os.write(tell, _DONE)
        except OSError:  # it was killed, or cannot be reached
            os.kill(pid, signal.SIGKILL)
        os.close(tell)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)


def _watch(
    act: Callable[[], object], kept: tuple[int, ...], pcont: int, wait: int, ready: int
) -> None:
    """Run the watchdog. Never returns. Its own session protects it from a kill of pcont's process
    group.
    """
    try:
        os.setsid()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(number, signal.SIG_IGN)
        _close_all_but(*kept, pcont, wait, ready)
        os.write(ready, _DONE)
        os.close(ready)
        ended = readable([pcont, wait])
        if wait not in ended or os.read(wait, 1) != _DONE:
            act()
    finally:
        os._exit(0)


def _close_all_but(*kept: int) -> None:
    """Close all other descriptors, so that pcont's locks and pipes end with pcont, and discard
    output.
    """
    low = 0
    for descriptor in sorted(kept):
        os.closerange(low, descriptor)
        low = descriptor + 1
    os.closerange(low, os.sysconf("SC_OPEN_MAX"))
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in _STREAMS:
        if stream not in (*kept, nowhere):
            os.dup2(nowhere, stream)
