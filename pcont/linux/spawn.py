"""Start the commands of `pcont run` and `pcont clone`: a child waits until pcont has
attached it.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from errno import (
    E2BIG,
    EACCES,
    EAGAIN,
    ELIBBAD,
    ELOOP,
    ENOENT,
    ENOEXEC,
    EPERM,
    ETXTBSY,
    errorcode,
)
from functools import partial
from typing import TYPE_CHECKING, NoReturn

from pcont import signals
from pcont.errors import CommandNotFound, NotExecutable, PcontError
from pcont.linux import job_control
from pcont.linux.job_control import Job, Link, Status, be_init

if TYPE_CHECKING:
    from pcont.kernel.interfaces import Birth

_GO = b"g"
_SETTLED = b"+"
_ANSWER = 4096  # bytes, of which an answer has fewer
_FAILED_TO_START = 125


class Plain:
    """Start a process with fork(2), in the namespaces of pcont. `note`: a warning for the user."""

    is_init = False

    def __init__(self, note: str = "") -> None:
        self.note = note

    def fork(self) -> int:
        return os.fork()

    def enter_namespaces(self) -> None:
        """Do nothing."""


PLAIN = Plain()


def find_program(name: str) -> str:
    """Return the path of a command, searched in PATH. Raises CommandNotFound or NotExecutable."""
    found = _which(name)
    if found:
        return os.path.abspath(found)
    if "/" in name and os.path.exists(name):
        raise NotExecutable(f"{name} cannot be executed", path=name)
    raise CommandNotFound(
        f"there is no command {name}", hint="check PATH, or give the path of the program"
    )


def _which(name: str) -> str | None:
    """Return what shutil.which returns. The import of shutil loads four packages for archives."""
    path = os.environ.get("PATH") if "PATH" in os.environ else os.confstr("CS_PATH")
    for directory in [""] if "/" in name else path.split(":") if path else []:
        file = os.path.join(directory, name)
        if os.access(file, os.X_OK) and not os.path.isdir(file):
            return file
    return None


REASONS = {
    ENOEXEC: "it is neither a program for this machine nor a script that begins with #!",
    E2BIG: "its arguments and its environment are too long together",
    ETXTBSY: "it is open for writing",
    EPERM: "it has file capabilities that cannot be granted here",
    EAGAIN: "its user has too many processes (ulimit -u)",
    ELIBBAD: "its interpreter is no program for this machine",
    ELOOP: "too many symbolic links or interpreters",
}


def exec_refusal(program: str, err: OSError) -> PcontError:
    """Return the error for an OSError of execve(2)."""
    number = err.errno or 0
    kind = CommandNotFound if number == ENOENT else NotExecutable
    reason = REASONS.get(number, os.strerror(number))
    if number == ENOENT and os.path.exists(program):
        reason = "its interpreter does not exist (the first line, or the dynamic linker)"
    if number == EACCES:
        reason = _forbidden(program)
    message = f"cannot execute {program}: {reason} ({errorcode.get(number)})"
    return kind(message, path=program, errno=number)


def _forbidden(program: str) -> str:
    """Return why the caller may not execute a file (EACCES)."""
    with contextlib.suppress(OSError):
        if os.statvfs(program).f_flag & os.ST_NOEXEC:
            return "its file system is mounted with noexec"
        if os.access(program, os.X_OK):
            return "its interpreter may not be executed"
    return os.strerror(EACCES)


def execute(program: str, command: Sequence[str], environment: Mapping[str, str]) -> NoReturn:
    """Replace this process by the command. Restores the signals that Python ignores to their
    defaults.
    """
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    os.execve(program, list(command), dict(environment))


class Child:
    """A forked process that waits until pcont has attached it, and then becomes a command.

    Call `enter_namespaces` (optional), `start` and `wait`, or `abandon`. `program`: the path to
    execute. `command`: its argument list. `extra`: additional environment variables. `birth`: how
    to fork, and which namespaces to make. `init`: the process becomes an init, which starts the
    command as its child, forwards signals to it and reaps orphans.
    """

    def __init__(
        self,
        program: str,
        command: Sequence[str],
        extra: Mapping[str, str],
        birth: Birth = PLAIN,
        init: bool = False,
    ) -> None:
        self.program = program
        self._is_bare_init = birth.is_init and not init
        self._entered = False
        wait, self._tell = os.pipe()
        self._hear, report = os.pipe()
        self._link: Link | None = None
        inner: Link | None = None
        if init:
            self._link, inner = Link.pair()
        self._descriptors = [self._tell, self._hear]
        ends = [wait, report, *([inner.reads, inner.writes] if inner else [])]
        try:
            self.pid = birth.fork()
        except OSError:
            self._end(ends)
            raise
        if self.pid == 0:
            # Before it is the command, signals do to it what they do by default.
            for number in signals.DEFERRED:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    signal.signal(number, signal.SIG_DFL)
            self._end([])
            become = partial(execute, program, command, {**os.environ, **extra})
            _live(birth, partial(be_init, become, report, inner) if inner else become, wait, report)
        _close(ends)

    def enter_namespaces(self) -> None:
        """Let the attached process make or join its namespaces. Raises OSError if the kernel
        refuses.
        """
        if not self._entered:
            self._entered = True
            self._go()
            answer = os.read(self._hear, _ANSWER)
            if answer not in (_SETTLED, b""):
                raise _read(answer)

    def start(self) -> None:
        """Let the process become the command. Raises CommandNotFound or NotExecutable if the kernel
        refuses.

        Signals are blocked from here until `wait` returns, which forwards them.
        """
        self.enter_namespaces()
        self._mask = job_control.block()
        self._job = Job(self.pid, self._link, self._is_bare_init)
        try:
            signals.check()
            self._go()
            self._job.ready(self._hear)
            answer = os.read(self._hear, _ANSWER)
            _close(self._descriptors)
            if answer:
                raise exec_refusal(self.program, _read(answer))
        except BaseException:
            self._job.close()
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
            raise

    def _go(self) -> None:
        with contextlib.suppress(BrokenPipeError):  # it has been killed: wait reports that
            os.write(self._tell, _GO)

    def abandon(self) -> None:
        """End the process without running the command. May be called more than once."""
        self._end([])
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)

    def _end(self, more: list[int]) -> None:
        _close(self._descriptors)
        _close(more)
        if self._link:
            self._link.close()

    def wait(self) -> Status:
        """Wait for the command; returns its exit status, or 128 plus the signal that killed it.

        While it waits, it forwards signals, and stops and continues this process with the command.
        """
        try:
            return self._job.wait()
        finally:
            self._job.close()
            job_control.unblock(self._mask)
            self._end([])


def _close(descriptors: list[int]) -> None:
    while descriptors:
        os.close(descriptors.pop())


def _live(birth: Birth, become: Callable[[], object], wait: int, report: int) -> None:
    """Run the child: wait for a byte, settle, wait again, become the command. Never returns."""
    try:
        if os.read(wait, 1) == _GO:
            birth.enter_namespaces()
            os.write(report, _SETTLED)
            if os.read(wait, 1) == _GO:
                become()
    except OSError as err:
        os.write(report, f"{err.errno} {err.filename or ''}".encode())
        os.read(wait, 1)  # stays alive until pcont has moved it back
    finally:
        os._exit(_FAILED_TO_START)


def _read(answer: bytes) -> OSError:
    """Return the error that a child has reported."""
    number, _, name = answer.decode().partition(" ")
    return OSError(int(number), os.strerror(int(number)), name or None)
