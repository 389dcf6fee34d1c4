"""A process that thaws what pcont has frozen, should pcont die: nobody stays frozen."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Iterator
from errno import ECHILD

_DONE = b"d"


@contextlib.contextmanager
def on_guard(file: str) -> Iterator[None]:
    """For the length of the block another process waits for the death of this one.

    `file` is the freezer.state that it writes then, which it opens beforehand.
    """
    state = os.open(file, os.O_WRONLY | os.O_CLOEXEC)
    mover = os.pidfd_open(os.getpid())
    wait, tell = os.pipe()
    hear, ready = os.pipe()
    pid = os.fork()
    if pid == 0:
        _guard(state, mover, wait, ready)
    for descriptor in (state, mover, wait, ready):
        os.close(descriptor)
    # Before it is out of reach, nothing is frozen.
    stands = os.read(hear, 1) == _DONE
    os.close(hear)
    try:
        if not stands:
            raise ChildProcessError(ECHILD, "the process that would thaw has died", file)
        yield
    finally:
        with contextlib.suppress(BrokenPipeError):  # it was killed
            os.write(tell, _DONE)
        os.close(tell)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)


def _guard(state: int, mover: int, wait: int, ready: int) -> None:
    """In the child, which never returns. What kills a whole group or session does not reach it."""
    try:
        os.setsid()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(number, signal.SIG_IGN)
        _close_all_but(state, mover, wait, ready)
        os.write(ready, _DONE)
        os.close(ready)
        ended, _, _ = select.select([mover, wait], [], [])
        if wait not in ended or os.read(wait, 1) != _DONE:
            os.write(state, b"THAWED")
    finally:
        os._exit(0)


def _close_all_but(*kept: int) -> None:
    """Locks and pipes of the mover end with it."""
    low = 0
    for descriptor in sorted(kept):
        os.closerange(low, descriptor)
        low = descriptor + 1
    os.closerange(low, os.sysconf("SC_OPEN_MAX"))
