"""The lock that lets one pcont command at a time change cgroups.

It corresponds to the single management mutex of the 2006 patch (section 1.12). Root's lock file is
below /run/pcont, where only root can open it, so no other user can block root. The commands of
another user exclude each other, if that user has a safe directory for the lock
(trust/workplace.py).
"""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
import stat
from _thread import get_ident  # to import `threading` takes a millisecond
from collections.abc import Iterator

from pcont import signals
from pcont.errors import Busy, PcontError
from pcont.kernel.retry import Retry
from pcont.kernel.types import Waiting
from pcont.trust import workplace

LOCK_PAUSE, LOCK_LONGEST_PAUSE = 0.002, 0.05
QUIET = 1.0  # seconds after which a command prints that it is waiting
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
MOST = 4096  # bytes of a lock file: the holder's pid, and its command


_holders: set[int] = set()  # the ids of the threads that are in `taken`


@contextlib.contextmanager
def taken(waiting: Waiting) -> Iterator[None]:
    """Hold the lock for the block; waits for it unless this thread has it already.

    Raises Busy at the time-out of `waiting`, and PcontError if root's lock file cannot be used. If
    the user has no safe directory for the lock, prints a note and continues without it.
    """
    thread = get_ident()
    if thread in _holders:
        yield
        return
    with contextlib.ExitStack() as stack:
        try:
            _take_all(stack, waiting)
        except PcontError:
            waiting.before_wait()  # errors in the arguments are reported first
            raise
        _holders.add(thread)
        try:
            yield
        finally:
            _holders.remove(thread)


def _take_all(stack: contextlib.ExitStack, waiting: Waiting) -> None:
    found = workplace.make_workplace()
    if not found.directory:
        waiting.note(no_directory(found))
    # A command that started earlier may hold the lock in another of these directories. All
    # commands take the locks in this order, so that none waits for another forever.
    for place in found.existing:
        file = os.path.join(place, "lock")
        try:
            stack.enter_context(locked(file, waiting))
        except OSError as err:
            raise workplace.refusal(err, "open the lock", file) from err


def no_directory(found: workplace.Workplace) -> str:
    """Return the note for a user without a safe directory for lock and journals."""
    why = f" ({'; '.join(found.refused)})" if found.refused else ""
    return (
        f"there is no safe directory for this user's lock and journals{why}: other pcont commands "
        "may run at the same time, and killed ones are not rolled back"
    )


@contextlib.contextmanager
def locked(file: str, waiting: Waiting) -> Iterator[None]:
    """Hold the lock of one file for the block. A signal ends the wait.

    The file contains the pid and the command line of the process that has the lock. Raises Busy at
    the time-out of `waiting`, and OSError if the file cannot be opened.
    """
    descriptor = _acquired(file, waiting)
    try:
        _sign(descriptor, waiting.command)
        yield
    finally:
        os.close(descriptor)


def _acquired(file: str, waiting: Waiting) -> int:
    """Wait for the lock; returns the descriptor of the locked file."""
    while True:
        descriptor = _open(file)
        try:
            _wait(descriptor, file, waiting)
            if _is_there(descriptor, file):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        # The file was removed: another process may have the lock of a new one.
        os.close(descriptor)


def _open(file: str) -> int:
    descriptor = os.open(file, _FLAGS, 0o600)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise PcontError(f"the lock is not a regular file: {file}", path=file, hint=f"rm {file}")
    return descriptor


def _is_there(descriptor: int, file: str) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), os.lstat(file))
    return False


def _sign(descriptor: int, command: str) -> None:
    """Write pid and command line into the lock file. On a full file system the lock holds without
    them.
    """
    with contextlib.suppress(OSError):
        os.ftruncate(descriptor, 0)
        text = f"{os.getpid()}\n{command}".encode("utf-8", "surrogateescape")
        os.pwrite(descriptor, text[:MOST], 0)


def _holder(descriptor: int) -> str:
    text = os.pread(descriptor, MOST, 0).decode("utf-8", "backslashreplace")
    pid, _, command = text.partition("\n")
    return f"process {pid or '?'}" + (f", pcont {command.strip()}" if command.strip() else "")


def _wait(descriptor: int, file: str, waiting: Waiting) -> None:
    if _try(descriptor):
        return
    waiting.before_wait()
    patience = math.inf if waiting.timeout is None else waiting.timeout
    retry, quiet = Retry(patience, LOCK_PAUSE, LOCK_LONGEST_PAUSE), Retry(QUIET)
    silent = True
    while not _try(descriptor):
        signals.check()
        if retry.is_over:
            raise Busy(
                f"another pcont command is at work ({_holder(descriptor)}), after "
                f"{patience:g} s still",
                path=file,
                hint="use a longer --timeout, or none",
            )
        if silent and quiet.is_over:
            silent = False
            waiting.note(f"waiting for another pcont command ({_holder(descriptor)})")
        retry.wait()


def _try(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def directory() -> str:
    """Return the directory for new locks and journals; empty if this user has no safe directory."""
    return workplace.find_workplace().directory
