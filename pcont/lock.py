"""One pcont command changes cgroups at a time, as the patch's one management mutex has it (1.12).

The lock of root is below /run/pcont, where only root can open it: nobody else can hold root up.
Another user's commands take turns among themselves, where that user has a runtime directory.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Iterator

from pcont import signals
from pcont.errors import Busy

PAUSE = 0.002
LONGEST_PAUSE = 0.05


class _Held(threading.local):
    """How deep this thread is in turns of its own."""

    depth = 0


_held = _Held()


def directory() -> str:
    """Where locks and journals are; empty where this user has no such place."""
    if os.geteuid() == 0:
        return "/run/pcont"
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    # After su(1) it may be still another user's.
    with contextlib.suppress(OSError):
        if os.stat(runtime).st_uid == os.geteuid():
            return os.path.join(runtime, "pcont")
    return ""


@contextlib.contextmanager
def taken(timeout: float | None = None) -> Iterator[None]:
    """Wait for the turn and hold it; within a turn it is at hand at once.

    Raises Busy where it has not come after so many seconds.
    """
    place = directory()
    if _held.depth or not place:
        yield
        return
    os.makedirs(place, mode=0o700, exist_ok=True)
    with locked(os.path.join(place, "lock"), timeout):
        _held.depth += 1
        try:
            yield
        finally:
            _held.depth -= 1


@contextlib.contextmanager
def locked(file: str, timeout: float | None = None) -> Iterator[None]:
    """Hold a file's lock; while it is waited for, a signal ends the wait, and so does the timeout.

    Whoever holds it has its pid in the file.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(file, flags, 0o600)
    try:
        _wait(descriptor, file, timeout)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
        yield
    finally:
        os.close(descriptor)


def _wait(descriptor: int, file: str, timeout: float | None) -> None:
    pause, began = PAUSE, time.monotonic()
    while not _try(descriptor):
        signals.check()
        if timeout is not None and time.monotonic() - began >= timeout:
            holder = os.pread(descriptor, 32, 0).decode().strip()
            raise Busy(
                f"another pcont command is at work (process {holder}), after {timeout:g} s still",
                path=file,
                hint="a longer --timeout, or none, waits for it",
            )
        time.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE)


def _try(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
