"""Processes that pcont starts: found before anything is touched, held until they are in place."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from collections.abc import Callable, Mapping, Sequence
from errno import ENOENT, errorcode
from functools import partial
from typing import NoReturn

from pcont import signals
from pcont.backend import Birth
from pcont.errors import CommandNotFound, NotExecutable, PcontError
from pcont.proc import Proc

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
PAUSE, LOOKS = 0.02, 10  # how long, and how often, an init may be about to take a signal

_GO = b"g"
_SETTLED = b"+"
_ANSWER = 4096  # bytes, of which an answer has fewer
_FAILED_TO_START = 125


class Plain:
    """It is forked, and that is all."""

    is_init = False

    def __init__(self, note: str = "") -> None:
        self.note = note

    def fork(self) -> int:
        return os.fork()

    def settle(self) -> None:
        """There is nothing to do."""


PLAIN = Plain()


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
    """A forked process that waits to be put in its place, and then becomes a command.

    `init`: it becomes an init, which starts the command, hands signals on to it and reaps whoever
    has lost his parent.
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
        self._is_init = birth.is_init
        self._settled = False
        self._doubts: dict[int, int] = {}
        self._ended_by = 0
        wait, self._tell = os.pipe()
        self._hear, report = os.pipe()
        self._descriptors = [self._tell, self._hear]
        try:
            self.pid = birth.fork()
        except OSError:
            self._close()
            os.close(wait)
            os.close(report)
            raise
        if self.pid == 0:
            # What the terminal sends takes its course here, be it before the command or in it.
            for number in FORWARDED:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    signal.signal(number, signal.SIG_DFL)
            self._close()
            become = partial(execute, program, command, {**os.environ, **extra})
            _live(birth, partial(_be_init, become, report) if init else become, wait, report)
        os.close(wait)
        os.close(report)

    def settle(self) -> None:
        """Let it do what is to be done in its place; OSError where that was refused."""
        if not self._settled:
            self._settled = True
            self._go()
            answer = os.read(self._hear, _ANSWER)
            if answer not in (_SETTLED, b""):
                raise _read(answer)

    def start(self) -> None:
        """Let it go; raises NotExecutable where it could not become the command.

        From here on signals are blocked, until `wait` has handed them on.
        """
        self.settle()
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, {*FORWARDED, signal.SIGCHLD})
        try:
            signals.check()
            self._go()
            answer = os.read(self._hear, _ANSWER)
            self._close()
            if answer:
                raise refused(self.program, _read(answer))
        except BaseException:
            self._unblock()
            raise

    def _go(self) -> None:
        with contextlib.suppress(BrokenPipeError):  # it has been killed: wait will tell
            os.write(self._tell, _GO)

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
            code = os.waitstatus_to_exitcode(_attend(self.pid, self._pass_on, self._doubt))
        finally:
            self._unblock()
        if code == -signal.SIGKILL and self._ended_by:
            return 128 + self._ended_by
        return code if code >= 0 else 128 - code

    def _pass_on(self, number: int, heard: bool) -> None:
        """Hand a signal on; `heard`: it has been sent to the command, too."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if not heard:
                os.kill(self.pid, number)
        if self._is_init:
            self._doubts[number] = LOOKS

    def _doubt(self) -> bool:
        """End an init by what would have ended any other process; whether to look again soon.

        The kernel lets no signal reach an init that it does nothing about. Shells block all of
        them for a moment whenever they start something: so it is looked more than once.
        """
        for number, looks in list(self._doubts.items()):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                answer = Proc().answers(self.pid, number)
                if answer is False:
                    self._ended_by = number
                    os.kill(self.pid, signal.SIGKILL)
                self._doubts[number] = looks - 1 if answer is None else 0
            if not self._doubts[number]:
                del self._doubts[number]
        return bool(self._doubts)


def _attend(
    pid: int,
    pass_on: Callable[[int, bool], None],
    look: Callable[[], bool] = lambda: False,
    orphans: bool = False,
) -> int:
    """Wait for a child with signals blocked, and pass them on; its status as wait(2) has it.

    `look`: called after each of them; whether to be called soon again. `orphans`: others that end
    are reaped, too.
    """
    while (status := _reap(pid, orphans)) is None:
        # Not for ever: in a program with threads, SIGCHLD may be another one's to hear.
        pause = PAUSE if look() else HEARING
        arrived = signal.sigtimedwait({*FORWARDED, signal.SIGCHLD}, pause)
        if arrived and arrived.si_signo != signal.SIGCHLD:
            by_terminal = arrived.si_code == SI_KERNEL and arrived.si_signo in FROM_THE_TERMINAL
            pass_on(arrived.si_signo, by_terminal)
    return status


def _reap(pid: int, orphans: bool) -> int | None:
    found = None
    while True:
        one, status = os.waitpid(-1 if orphans else pid, os.WNOHANG)
        found = status if one == pid else found
        if one == 0 or found is not None:
            return found


def _live(birth: Birth, become: Callable[[], object], wait: int, report: int) -> None:
    """In the child: wait for the word, settle, wait again, become the command. Never returns."""
    try:
        if os.read(wait, 1) == _GO:
            birth.settle()
            os.write(report, _SETTLED)
            if os.read(wait, 1) == _GO:
                become()
    except OSError as err:
        os.write(report, f"{err.errno} {err.filename or ''}".encode())
        os.read(wait, 1)  # to be put back it has to live
    finally:
        os._exit(_FAILED_TO_START)


def _read(answer: bytes) -> OSError:
    """What a child has reported."""
    number, _, name = answer.decode().partition(" ")
    return OSError(int(number), os.strerror(int(number)), name or None)


def _be_init(become: Callable[[], object], report: int) -> None:
    """In the child, as the first process of a pid namespace. Never returns."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {*FORWARDED, signal.SIGCHLD})
    pid = os.fork()
    if pid == 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        become()
    os.close(report)
    # Whoever looks from outside sees that it does something about them.
    for number in FORWARDED:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda number, frame: None)

    def pass_on(number: int, heard: bool) -> None:
        if not heard:
            os.kill(pid, number)

    code = os.waitstatus_to_exitcode(_attend(pid, pass_on, orphans=True))
    os._exit(code if code >= 0 else 128 - code)
