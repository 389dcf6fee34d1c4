"""A process that stands in for this one, should it die: what must be done in the end is done."""

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
    """Wait until one of them can be read, or has ended; returns which. None: without an end.

    poll(2) takes every descriptor; select(2) takes none above 1023, and a caller may have left many
    open to pcont.
    """
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    return [one for one, _ in poll.poll(None if seconds is None else math.ceil(seconds * 1000))]


@contextlib.contextmanager
def on_guard(act: Callable[[], object], *kept: int) -> Iterator[None]:
    """For the length of the block another process waits for the death of this one, then acts.

    `kept`: the descriptors that it needs to act; it has no others.
    """
    own = os.pidfd_open(os.getpid())
    wait, tell = os.pipe()
    hear, ready = os.pipe()
    pid = os.fork()
    if pid == 0:
        _stand_in(act, kept, own, wait, ready)
    for descriptor in (own, wait, ready):
        os.close(descriptor)
    # Before it is out of reach, nothing is begun that it would have to end.
    stands = os.read(hear, 1) == _DONE
    os.close(hear)
    try:
        if not stands:
            raise ChildProcessError(ECHILD, "the process that would stand in has died")
        yield
    finally:
        try:
            os.write(tell, _DONE)
        except OSError:  # it was killed, or is not to be reached
            os.kill(pid, signal.SIGKILL)
        os.close(tell)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)


def _stand_in(
    act: Callable[[], object], kept: tuple[int, ...], pcont: int, wait: int, ready: int
) -> None:
    """In the child, which never returns. What kills a whole group or session does not reach it."""
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
    """Locks and pipes of pcont's end with it; what is said goes nowhere."""
    low = 0
    for descriptor in sorted(kept):
        os.closerange(low, descriptor)
        low = descriptor + 1
    os.closerange(low, os.sysconf("SC_OPEN_MAX"))
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in _STREAMS:
        if stream not in (*kept, nowhere):
            os.dup2(nowhere, stream)
