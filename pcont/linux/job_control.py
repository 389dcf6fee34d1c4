"""Wait for a command as a shell waits for a job: forward signals to it, stop and continue with it.

A shell sees pcont in place of the command. So pcont forwards the signals that are meant for the
command, and stops itself only when the command has stopped. Call `block` before the child becomes
the command, create a `Job` for it, and wait with `Job.ready` and `Job.wait`.

This module does not call sigtimedwait(2) with a time-out: if the process is stopped for longer than
the time-out, Python returns an uninitialized structure.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterable, Iterator

from pcont import signals
from pcont.bases import NamedTuple
from pcont.kernel.retry import wait_until
from pcont.linux.proc import Proc
from pcont.linux.watchdog import readable

KEYS = (signal.SIGINT, signal.SIGQUIT)
STOPS = (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)
# The kernel sends these to a whole process group, so the command has received them, too.
TO_THE_GROUP = (*KEYS, *STOPS, signal.SIGWINCH)
# On a hangup only the session leader receives these; otherwise an orphaned process group does.
ON_HANGUP = (signal.SIGHUP, signal.SIGCONT)
HARMLESS = (signal.SIGCONT, signal.SIGURG, signal.SIGWINCH)  # ignored by default
_NEVER = (signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD, signal.SIGPIPE)
FORWARDED = tuple(sorted(signal.valid_signals() - set(_NEVER)))
_HEARD = (*FORWARDED, signal.SIGCHLD)

HEARING = 1.0  # seconds
LOOK_PAUSE, LOOKS = 0.02, 10  # seconds, times: how often to check whether pid 1 takes a signal
_RECORD = "=IiiI112x"  # signalfd(2): ssi_signo, ssi_errno, ssi_code, ssi_pid
_ENDED = 0x80  # added to the signal number when an init reports that its command has exited
_REPORTS = 256  # an answer names its report by one byte


class Status(int):
    """The exit status of a command.

    `terminal_signal`: the signal of the terminal (SIGINT, SIGQUIT) that killed the command;
    otherwise 0.
    """

    terminal_signal = 0


def block() -> set[int]:
    """Block the signals that are forwarded to a command. Returns the signal mask before."""
    numbers = set(_HEARD)
    if not signals.is_command_line:
        numbers -= {*STOPS, signal.SIGCONT}
    elif os.getpid() == 1:
        # These do not stop pid 1. The pcont outside of its pid namespace stops it.
        numbers -= set(STOPS)
    return signal.pthread_sigmask(signal.SIG_BLOCK, numbers)


def unblock(mask: Iterable[int]) -> None:
    """Restore a signal mask. Pending signals were meant for the command, which has exited: discard
    them.
    """
    while signal.sigtimedwait(FORWARDED, 0):
        pass
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)


class Arrived(NamedTuple):
    """A signal that was received. `sent`: a process sent it, not the kernel."""

    number: int
    sent: bool


class _Inbox:
    """A signalfd(2) that receives the blocked signals."""

    def __init__(self) -> None:
        from pcont.linux import syscalls

        self.descriptor = syscalls.signalfd(_HEARD)

    def take(self) -> Iterator[Arrived]:
        """Yield the signals that are pending now."""
        import struct

        with contextlib.suppress(BlockingIOError):
            while True:
                found = os.read(self.descriptor, struct.calcsize(_RECORD))
                number, _, code, _ = struct.unpack(_RECORD, found)
                yield Arrived(number, code <= 0)

    def close(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
        self.descriptor = -1


class Link:
    """The pipe ends that pcont, or its init, has of the two pipes between them. Without arguments:
    closed.
    """

    def __init__(self, reads: int = -1, writes: int = -1) -> None:
        self.reads, self.writes = reads, writes

    @classmethod
    def pair(cls) -> tuple[Link, Link]:
        """Create both pipes; returns the link of pcont, and the link of its init."""
        (hear, report), (wait, tell) = os.pipe(), os.pipe()
        return cls(hear, tell), cls(wait, report)

    def read(self) -> bytes:
        """Return the bytes that the other side wrote. If it has exited, close the link and return
        no bytes.
        """
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
    """A child process that is or becomes a command, or an init process of pcont that runs the
    command.

    `link`: the pipes to that init. `is_bare_init`: the command itself is pid 1 of a pid namespace.
    The kernel delivers only signals that pid 1 handles; for any other signal, pcont stops or kills
    it as the signal would another process.
    """

    def __init__(self, pid: int, link: Link | None = None, is_bare_init: bool = False) -> None:
        self.pid = pid
        self._is_bare_init = is_bare_init
        self._link = link or Link()
        self._has_init = self._link.is_open
        self._doubts: dict[int, int] = {}
        self._ended_by = 0
        self._stop_by = 0
        self._reports = 0  # the number of stops that an init has reported
        self._by_terminal: set[int] = set()
        self._to_repeat: set[int] = set()
        # Read before the command starts: later the terminal may have hung up.
        self._led = _led_terminal()
        self._inbox = _Inbox()

    def close(self) -> None:
        """Close the descriptors. May be called more than once."""
        self._inbox.close()

    def ready(self, descriptor: int) -> None:
        """Wait until `descriptor` can be read, and forward signals while waiting."""
        while not readable([descriptor], 0):
            self._attend(descriptor)

    def wait(self) -> Status:
        """Wait for the child; returns its exit status, or 128 plus the signal that killed it.

        While it waits, it forwards signals, and stops and continues this process with the command.
        """
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
        """Wait for the next event and handle it. Returns also when one of the descriptors `more`
        can be read.
        """
        self._follow()
        sources = [self._inbox.descriptor, *more, *self._link_to_hear()]
        # With a time limit: in a program with threads, another thread may take SIGCHLD.
        readable(sources, LOOK_PAUSE if self._look_again() else HEARING)
        self._hear_link()
        self._take_signals()

    def _take_signals(self) -> None:
        """Handle the signals that have arrived."""
        # The kernel may give a signal to another thread of this program, where it is deferred.
        deferred = [Arrived(number, sent=True) for number in signals.take_arrived()]
        for arrived in (*self._inbox.take(), *deferred):
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
        """Return whether the kernel has sent the signal to the command, too."""
        leads = arrived.number in ON_HANGUP and os.getsid(0) == os.getpid()
        repeat = arrived.number in self._to_repeat
        self._to_repeat.discard(arrived.number)
        if arrived.sent or leads or repeat or arrived.number not in (*TO_THE_GROUP, *ON_HANGUP):
            return False
        return os.getpgid(self.pid) == os.getpgrp()

    # A pid 1

    def _look_again(self) -> bool:
        """Apply the default action of signals to a pid 1; returns whether to check again soon.

        A shell blocks all signals briefly when it starts a command, so one check is not enough.
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
        """Read the reports of an init: the signal that stopped or killed its command."""
        while readable(self._link_to_hear(), 0):
            for one in self._link.read():
                if one & _ENDED:
                    self._ended_by = one & ~_ENDED
                else:
                    self._stop_by = one
                    self._reports = (self._reports + 1) % _REPORTS

    # Stopping and continuing

    def _stopped(self) -> int:
        """Return the signal that has stopped the child; 0 if it is not stopped."""
        with contextlib.suppress(ChildProcessError):
            how = os.WSTOPPED | os.WNOHANG | os.WNOWAIT
            found = os.waitid(os.P_PID, self.pid, how)
            return found.si_status if found else 0
        return 0

    def _follow(self) -> None:
        """If the command has stopped, stop this process, and continue the command afterwards."""
        number = self._stop_by if self._has_init else self._stopped()
        if not number or os.getpid() == 1 or not signals.is_command_line:
            return
        # If pcont stopped a pid 1, or its init reported a stop, this is the signal.
        asked, self._stop_by = self._stop_by, 0
        # A pid 1 that reads in the background causes many stop signals; stop it once.
        self._doubts = {one: looks for one, looks in self._doubts.items() if one not in STOPS}
        before = _foreground()
        if stop(asked or number):
            self._take_terminal_back(before)
            self._continue()
        elif asked or number == signal.SIGTSTP:
            # The terminal does not stop an orphaned process group, so the command continues, too.
            self._continue()

    def _continue(self) -> None:
        if self._has_init:
            self._link.write(bytes([self._reports]))
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if self._stopped():
                leads = os.getpgid(self.pid) == self.pid != os.getpgrp()
                os.kill(-self.pid if leads else self.pid, signal.SIGCONT)
                # What the terminal has sent since then stopped the command before this SIGCONT.
                self._to_repeat = signal.sigpending() & {*STOPS}

    def _take_terminal_back(self, before: int) -> None:
        """Return the terminal to the command's process group, if that had it before the stop."""
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
    """Return the process group that has the terminal; 0 without a terminal."""
    with contextlib.suppress(OSError), _terminal() as terminal:
        return os.tcgetpgrp(terminal)
    return 0


def _led_terminal() -> int:
    """Return the foreground process group of the terminal, if this process leads its session;
    otherwise 0.
    """
    leads = signals.is_command_line and os.getsid(0) == os.getpid()
    return _foreground() if leads else 0


def _hang_up(group: int) -> None:
    """Send SIGHUP and SIGCONT to a process group, as the kernel does when the leader of a session
    exits.

    Waits up to HEARING seconds for its processes to exit.
    """
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGHUP)
        os.killpg(group, signal.SIGCONT)
        wait_until(lambda: not _others(group), HEARING, LOOK_PAUSE)


def _others(group: int) -> bool:
    """Return whether a process group has living processes other than this one."""
    proc = Proc()
    for pid in proc.processes():
        with contextlib.suppress(ProcessLookupError):
            if pid != os.getpid() and os.getpgid(pid) == group and not proc.task(pid).exited:
                return True
    return False


def stop(number: int) -> bool:
    """Stop this process by a signal until it is continued. Returns False if the kernel does not
    stop it, as in an orphaned process group.

    The signal must be blocked, and the process must have a single thread.

    If the terminal sends the same signal again after SIGCONT, but before this process runs and
    blocks it, the kernel stops this process at once. A command that is pid 1 then goes on alone.
    """
    if number == signal.SIGSTOP:
        os.kill(os.getpid(), number)
    else:
        before = signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})  # the pending signal stops it
        signal.pthread_sigmask(signal.SIG_BLOCK, {number})
        signal.signal(number, before or signal.SIG_DFL)
    # The next stop signal, if it is here already, has removed the SIGCONT that continued us.
    continued = signal.sigtimedwait({signal.SIGCONT}, 0) is not None
    return continued or bool(signal.sigpending() & {*STOPS})


def die_by(number: int) -> None:
    """Kill this process by the signal that killed the command, without a core dump."""
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


class _InitsJob(Job):
    """The command of pcont's init process, which also reaps every other process that exits.

    A pid 1 cannot be stopped from inside its pid namespace. So the init reports a stop to the pcont
    outside, which answers with the number of the report when the command has to continue. An answer
    to an earlier report must not continue a command that has stopped again since.
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
            # The terminal has sent this init the same signal. If it were still pending when the
            # command continues, `_continue` would take it for a second one.
            self._take_signals()
            number = self._stopped()
        if number and not self._reported:
            self._had_terminal = _foreground()
            self._reports = (self._reports + 1) % _REPORTS
            self._link.write(bytes([number]))
        self._reported = bool(number)

    def _hear_link(self) -> None:
        while readable(self._link_to_hear(), 0):
            answers = self._link.read()
            if answers and self._reported and answers[-1] == self._reports:
                self._take_terminal_back(self._had_terminal)
                self._continue()
                self._reported = False

    def _pass_on(self, arrived: Arrived) -> None:
        if arrived.number == signal.SIGCONT and self._reported:
            if not self._stopped():
                self._reported = False  # the command has received it, too
                return
            # It may come before the message of pcont: the command must not read in the background.
            self._take_terminal_back(self._had_terminal)
        super()._pass_on(arrived)

    def _status(self, code: int) -> Status:
        if code < 0:
            self._link.write(bytes([_ENDED | -code]))
        return super()._status(code)


def be_init(become: Callable[[], object], report: int, link: Link) -> None:
    """Run as pid 1 of a pid namespace: start the command, reap orphans, and exit with the command.

    Called in a child; never returns. `become` executes the command. `report`: a descriptor to close
    before waiting. `link`: the pipes to the pcont outside.
    """
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _HEARD)
    pid = os.fork()
    if pid == 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        become()
    os.close(report)
    job = _InitsJob(pid, link)
    os._exit(job.wait())
