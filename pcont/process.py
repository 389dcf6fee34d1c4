"""Processes that pcont starts: found before anything is touched, held until they are in place."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from collections.abc import Iterator, Mapping, Sequence
from errno import ENOENT, errorcode
from types import FrameType
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
            os.close(self._tell)
            os.close(self._hear)
            _become(program, command, {**os.environ, **extra}, wait, report)
        os.close(wait)
        os.close(report)
        self._descriptors = [self._tell, self._hear]

    def start(self) -> None:
        """Let it go; raises NotExecutable where it could not become the command."""
        os.write(self._tell, _GO)
        failure = os.read(self._hear, 16)
        self._close()
        if failure:
            number = int(failure)
            raise refused(self.program, OSError(number, os.strerror(number)))

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
        with _passing_on(self.pid):
            _, status = os.waitpid(self.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        return code if code >= 0 else 128 - code


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


@contextlib.contextmanager
def _passing_on(pid: int) -> Iterator[None]:
    """Pass signals on to the command, those that were held back first."""

    def forward(number: int, frame: FrameType | None) -> None:
        if number in FROM_THE_TERMINAL and _in_the_foreground():
            return  # the terminal has sent it to the command, too
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)

    before = {number: signal.signal(number, forward) for number in FORWARDED}
    try:
        for number in signals.drain():
            forward(number, None)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _in_the_foreground() -> bool:
    """Whether the terminal sends its signals to this process group."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)
