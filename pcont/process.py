"""Processes that pcont starts: found before anything is touched, held until they are in place."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from collections.abc import Mapping, Sequence
from errno import ENOENT, errorcode
from typing import NoReturn

from pcont import signals
from pcont.errors import CommandNotFound, NotExecutable, PcontError

FROM_THE_TERMINAL = (signal.SIGINT, signal.SIGQUIT)
FORWARDED = (
    *FROM_THE_TERMINAL,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
)

SI_KERNEL = 0x80  # sigaction(2)
HEARING = 1.0  # seconds

_GO = b"g"
_FAILED_TO_START = 125


def find_program(name: str) -> str:
    """The file of a command, by PATH. Raises CommandNotFound or NotExecutable."""
    found = shutil.which(name)
    if found:
        return os.path.abspath(found)
    if "/" in name and os.path.exists(name):
        raise NotExecutable(f"{name} cannot be executed", path=name)
    raise CommandNotFound(f"there is no command {name}", hint="PATH is searched as a shell does")


def refused(program: str, err: OSError) -> PcontError:
    """What execve(2) said."""
    kind = CommandNotFound if err.errno == ENOENT else NotExecutable
    reason = f"{os.strerror(err.errno or 0)} ({errorcode.get(err.errno or 0)})"
    return kind(f"cannot execute {program}: {reason}", path=program, errno=err.errno)


def execute(program: str, command: Sequence[str], environment: Mapping[str, str]) -> NoReturn:
    """execve(2), with the signals that Python ignores as a command expects them."""
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    os.execve(program, list(command), dict(environment))


class Child:
    """A forked process that waits to be put in its place, and then becomes a command."""

    def __init__(self, program: str, command: Sequence[str], extra: Mapping[str, str]) -> None:
        self.program = program
        wait, self._tell = os.pipe()
        self._hear, report = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            # What the terminal sends takes its course here, be it before the command or in it.
            for number in FORWARDED:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    signal.signal(number, signal.SIG_DFL)
            os.close(self._tell)
            os.close(self._hear)
            _become(program, command, {**os.environ, **extra}, wait, report)
        os.close(wait)
        os.close(report)
        self._descriptors = [self._tell, self._hear]

    def start(self) -> None:
        """Let it go; raises NotExecutable where it could not become the command.

        From here on signals are blocked, until `wait` has handed them on.
        """
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, {*FORWARDED, signal.SIGCHLD})
        try:
            signals.check()
            with contextlib.suppress(BrokenPipeError):  # it has been killed: wait will tell
                os.write(self._tell, _GO)
            failure = os.read(self._hear, 16)
            self._close()
            if failure:
                number = int(failure)
                raise refused(self.program, OSError(number, os.strerror(number)))
        except BaseException:
            self._unblock()
            raise

    def _unblock(self) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)

    def abandon(self) -> None:
        """It ends without having done anything; once is enough."""
        self._close()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)

    def _close(self) -> None:
        while self._descriptors:
            os.close(self._descriptors.pop())

    def wait(self) -> int:
        """Its exit status, or 128+N; signals meant for it are passed on."""
        try:
            while True:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
                if pid:
                    break
                # Not for ever: in a program with threads, SIGCHLD may be another one's to hear.
                arrived = signal.sigtimedwait({*FORWARDED, signal.SIGCHLD}, HEARING)
                if arrived:
                    self._pass_on(arrived)
        finally:
            self._unblock()
        code = os.waitstatus_to_exitcode(status)
        return code if code >= 0 else 128 - code

    def _pass_on(self, arrived: signal.struct_siginfo) -> None:
        by_terminal = arrived.si_code == SI_KERNEL and arrived.si_signo in FROM_THE_TERMINAL
        # What the terminal sends, it has sent to the command, too.
        if arrived.si_signo != signal.SIGCHLD and not by_terminal:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(self.pid, arrived.si_signo)


def _become(
    program: str, command: Sequence[str], environment: dict[str, str], wait: int, report: int
) -> None:
    """In the child: wait for the word, then execve(2). Never returns."""
    try:
        if os.read(wait, 1) == _GO:
            execute(program, command, environment)
    except OSError as err:
        os.write(report, str(err.errno).encode())
    finally:
        os._exit(_FAILED_TO_START)
