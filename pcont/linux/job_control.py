"""Wait for a command as a shell waits for a job: pass signals on to it, stop and continue with it.

A shell sees pcont where it would see the command. So pcont takes the signals that are meant for the
command, and stops itself only when the command has stopped. Call `block` before the child becomes
the command; make a `Job` of it, and wait by `Job.ready` and `Job.wait`.

Nothing here calls sigtimedwait(2) with a time-out: Python returns a structure that was never filled
where the process was stopped for longer than the time-out.
"""

from __future__ import annotations

import contextlib
import os
import signal
import struct
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from pcont import signals
from pcont.linux.proc import Proc
from pcont.linux.watchdog import readable

KEYS = (signal.SIGINT, signal.SIGQUIT)
STOPS = (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)
# The kernel sends these to a whole process group: the command has had them, too.
TO_THE_GROUP = (*KEYS, *STOPS, signal.SIGWINCH)
# On a hangup a session leader has these alone; else they are for an orphaned process group.
ON_HANGUP = (signal.SIGHUP, signal.SIGCONT)
HARMLESS = (signal.SIGCONT, signal.SIGURG, signal.SIGWINCH)  # by default nothing happens
_NEVER = (signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD, signal.SIGPIPE)
FORWARDED = tuple(sorted(signal.valid_signals() - set(_NEVER)))
_HEARD = (*FORWARDED, signal.SIGCHLD)

HEARING = 1.0  # seconds
PAUSE, LOOKS = 0.02, 10  # how long, and how often, a pid 1 may be about to take a signal
_RECORD = struct.Struct("=IiiI112x")  # signalfd(2): ssi_signo, ssi_errno, ssi_code, ssi_pid
_CONTINUE = b"c"
_ENDED = 0x80  # with the number of a signal, what an init reports of its command


class Status(int):
    """An exit status. `terminal_signal`: the terminal's signal that has ended the command, or 0."""

    terminal_signal = 0


def block() -> set[int]:
    """Block the signals that a command is to get; returns the mask before."""
    numbers = set(_HEARD)
    if not signals.is_command_line:
        numbers -= {*STOPS, signal.SIGCONT}
    elif os.getpid() == 1:
        # The kernel does not stop it by these: the pcont outside of its pid namespace does.
        numbers -= set(STOPS)
    return signal.pthread_sigmask(signal.SIG_BLOCK, numbers)


def unblock(mask: Iterable[int]) -> None:
    """Restore a mask. What is pending was for the command, which has ended: it is discarded."""
    while signal.sigtimedwait(FORWARDED, 0):
        pass
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)


@dataclass(frozen=True)
class Arrived:
    """A signal. `sent`: a process has sent it, and not the kernel."""

    number: int
    sent: bool


class _Inbox:
    """The blocked signals that arrive."""

    def __init__(self) -> None:
        from pcont.linux import syscalls

        self.descriptor = syscalls.signalfd(_HEARD)

    def take(self) -> Iterator[Arrived]:
        """Those that are pending now."""
        with contextlib.suppress(BlockingIOError):
            while True:
                found = os.read(self.descriptor, _RECORD.size)
                number, _, code, _ = _RECORD.unpack(found)
                yield Arrived(number, code <= 0)

    def close(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
        self.descriptor = -1


@dataclass
class Link:
    """The ends that pcont, or its init, has of two pipes between them; closed to begin with."""

    reads: int = -1
    writes: int = -1

    @classmethod
    def pair(cls) -> tuple[Link, Link]:
        """The ends of pcont, and of its init."""
        (hear, report), (wait, tell) = os.pipe(), os.pipe()
        return cls(hear, tell), cls(wait, report)

    def read(self) -> bytes:
        """What was written; empty, and closed then, where the other side has ended."""
        found = os.read(self.reads, 4096)
        if not found:
            self.close()
        return found

    def write(self, words: bytes) -> None:
        with contextlib.suppress(OSError):  # the other side has ended
            os.write(self.writes, words)

    @property
    def is_open(self) -> bool:
        return self.reads >= 0

    def close(self) -> None:
        for descriptor in (self.reads, self.writes) if self.is_open else ():
            os.close(descriptor)
        self.reads = self.writes = -1


class Job:
    """A child that is or becomes a command, or pcont's init with a command below it (`link`).

    `is_bare_init`: the command itself is pid 1 of a pid namespace. The kernel delivers only signals
    that it handles; for any other, pcont does what the signal would do to another process.
    """

    def __init__(self, pid: int, link: Link | None = None, is_bare_init: bool = False) -> None:
        self.pid = pid
        self._is_bare_init = is_bare_init
        self._link = link or Link()
        self._has_init = self._link.is_open
        self._doubts: dict[int, int] = {}
        self._ended_by = 0
        self._stop_by = 0
        self._by_terminal: set[int] = set()
        # Asked before the command starts: afterwards the terminal may have hung up.
        self._led = _led_terminal()
        self._inbox = _Inbox()

    def close(self) -> None:
        """Release the descriptors; once is enough."""
        self._inbox.close()

    def ready(self, descriptor: int) -> None:
        """Wait until something can be read. As in `wait`, signals are passed on."""
        while not readable([descriptor], 0):
            self._attend(descriptor)

    def wait(self) -> Status:
        """Its exit status, or 128+N. Signals are passed on, and this process stops with it."""
        while (found := self._reap()) is None:
            self._attend()
        if self._led:
            _hang_up(_foreground() or self._led)
        return self._status(os.waitstatus_to_exitcode(found))

    def _status(self, code: int) -> Status:
        ended_by = -code if code < 0 else 0
        self._hear_link()
        self._by_terminal |= {one.number for one in self._inbox.take() if not one.sent}
        if self._ended_by and code in (-signal.SIGKILL, 128 + self._ended_by):
            ended_by = self._ended_by
        status = Status(128 + ended_by if ended_by else code)
        if ended_by in KEYS and ended_by in self._by_terminal:
            status.terminal_signal = ended_by
        return status

    def _reap(self) -> int | None:
        one, status = os.waitpid(self.pid, os.WNOHANG)
        return status if one else None

    def _attend(self, *more: int) -> None:
        """Wait for what comes next, and deal with it; return also when one of more can be read."""
        self._follow()
        sources = [self._inbox.descriptor, *more, *self._link_to_hear()]
        # Not for ever: in a program with threads, another one may take SIGCHLD.
        readable(sources, PAUSE if self._look_again() else HEARING)
        self._hear_link()
        for arrived in self._inbox.take():
            if arrived.number != signal.SIGCHLD:
                self._pass_on(arrived)

    def _link_to_hear(self) -> list[int]:
        return [self._link.reads] if self._link.is_open else []

    def _pass_on(self, arrived: Arrived) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if not self._has_heard(arrived):
                os.kill(self.pid, arrived.number)
            else:
                self._by_terminal.add(arrived.number)
        if self._is_bare_init and arrived.number not in HARMLESS:
            self._doubts[arrived.number] = LOOKS

    def _has_heard(self, arrived: Arrived) -> bool:
        """Whether the kernel has sent a signal to the command, too."""
        leads = arrived.number in ON_HANGUP and os.getsid(0) == os.getpid()
        if arrived.sent or leads or arrived.number not in (*TO_THE_GROUP, *ON_HANGUP):
            return False
        return os.getpgid(self.pid) == os.getpgrp()

    # A pid 1

    def _look_again(self) -> bool:
        """Do to a pid 1 what a signal would do by default; whether to look again soon.

        Shells block all signals for a moment when they start a command: one look is not enough.
        """
        for number, looks in list(self._doubts.items()):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                answer = Proc().answers(self.pid, number)
                if answer is False:
                    self._do_by_default(number)
                self._doubts[number] = looks - 1 if answer is None else 0
            if not self._doubts[number]:
                del self._doubts[number]
        return bool(self._doubts)

    def _do_by_default(self, number: int) -> None:
        if number in STOPS:
            self._stop_by = number
            os.kill(self.pid, signal.SIGSTOP)
        else:
            self._ended_by = number
            os.kill(self.pid, signal.SIGKILL)

    def _hear_link(self) -> None:
        """What an init reports: by which signal its command has stopped, or has ended."""
        while readable(self._link_to_hear(), 0):
            for one in self._link.read():
                if one & _ENDED:
                    self._ended_by = one & ~_ENDED
                else:
                    self._stop_by = one

    # Stopping and continuing

    def _stopped(self) -> int:
        """The signal by which it is stopped now, or 0."""
        with contextlib.suppress(ChildProcessError):
            how = os.WSTOPPED | os.WNOHANG | os.WNOWAIT
            found = os.waitid(os.P_PID, self.pid, how)
            return found.si_status if found else 0
        return 0

    def _follow(self) -> None:
        """Stop if the command has stopped, and have it continue with this process."""
        number = self._stop_by if self._has_init else self._stopped()
        if not number or os.getpid() == 1 or not signals.is_command_line:
            return
        # Where pcont has stopped a pid 1, or its init reports it, this is the signal.
        asked, self._stop_by = self._stop_by, 0
        # A pid 1 that reads in the background causes many of them; it is stopped once.
        self._doubts = {one: looks for one, looks in self._doubts.items() if one not in STOPS}
        before = _foreground()
        if stop(asked or number):
            self._take_terminal_back(before)
            self._continue()
        elif asked or number == signal.SIGTSTP:
            # An orphaned process group is not stopped by the terminal, nor would the command be.
            self._continue()

    def _continue(self) -> None:
        if self._has_init:
            self._link.write(_CONTINUE)
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if self._stopped():
                leads = os.getpgid(self.pid) == self.pid != os.getpgrp()
                os.kill(-self.pid if leads else self.pid, signal.SIGCONT)

    def _take_terminal_back(self, before: int) -> None:
        """A command in a process group of its own had the terminal; the shell has given it here."""
        with contextlib.suppress(OSError), _terminal() as terminal:
            group = os.getpgid(self.pid)
            if before == group != os.getpgrp() == os.tcgetpgrp(terminal):
                os.tcsetpgrp(terminal, group)


@contextlib.contextmanager
def _terminal() -> Iterator[int]:
    descriptor = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _foreground() -> int:
    """The process group that has the terminal; 0 where there is none."""
    with contextlib.suppress(OSError), _terminal() as terminal:
        return os.tcgetpgrp(terminal)
    return 0


def _led_terminal() -> int:
    """The foreground process group of the terminal whose session this process leads, or 0."""
    leads = signals.is_command_line and os.getsid(0) == os.getpid()
    return _foreground() if leads else 0


def _hang_up(group: int) -> None:
    """Do what the kernel would do if the command, which has ended, were the leader of the session.

    Wait a moment for the processes that end by it.
    """
    limit = time.monotonic() + HEARING
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGHUP)
        os.killpg(group, signal.SIGCONT)
        while _others(group) and time.monotonic() < limit:
            time.sleep(PAUSE)


def _others(group: int) -> bool:
    """Whether a process group has other living processes than this one."""
    proc = Proc()
    for pid in proc.processes():
        with contextlib.suppress(ProcessLookupError):
            if pid != os.getpid() and os.getpgid(pid) == group and not proc.task(pid).gone:
                return True
    return False


def stop(number: int) -> bool:
    """Stop this process by a signal, until it is continued; False where the kernel does not do it.

    The signal is blocked in this process, which has one thread.
    """
    if number == signal.SIGSTOP:
        os.kill(os.getpid(), number)
    else:
        before = signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})  # here it stops
        signal.pthread_sigmask(signal.SIG_BLOCK, {number})
        signal.signal(number, before or signal.SIG_DFL)
    return signal.sigtimedwait({signal.SIGCONT}, 0) is not None


def die_by(number: int) -> None:
    """End this process by a signal, as the command has ended, and without a core of pcont's."""
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


class _InitsJob(Job):
    """The command of pcont's init, which reaps all other processes that end.

    The kernel does not stop a pid 1 from inside its namespace. So the init reports a stop to the
    pcont outside, which sends a message when the init has to continue.
    """

    def __init__(self, pid: int, link: Link) -> None:
        super().__init__(pid, link)
        self._has_init = False
        self._reported = False
        self._had_terminal = 0

    def _reap(self) -> int | None:
        found = None
        while found is None:
            one, status = os.waitpid(-1, os.WNOHANG)
            if one == 0:
                return None
            found = status if one == self.pid else None
        return found

    def _follow(self) -> None:
        number = self._stopped()
        if number and not self._reported:
            self._had_terminal = _foreground()
            self._link.write(bytes([number]))
        self._reported = bool(number)

    def _hear_link(self) -> None:
        while readable(self._link_to_hear(), 0):
            if self._link.read():
                self._take_terminal_back(self._had_terminal)
                self._continue()
                self._reported = False

    def _pass_on(self, arrived: Arrived) -> None:
        if arrived.number == signal.SIGCONT and self._reported and not self._stopped():
            self._reported = False  # the command has had it, too
        else:
            super()._pass_on(arrived)

    def _status(self, code: int) -> Status:
        if code < 0:
            self._link.write(bytes([_ENDED | -code]))
        return super()._status(code)


def be_init(become: Callable[[], object], report: int, link: Link) -> None:
    """In a child, as pid 1 of a pid namespace: start the command, reap, end with it. No return."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _HEARD)
    pid = os.fork()
    if pid == 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        become()
    os.close(report)
    job = _InitsJob(pid, link)
    os._exit(job.wait())
