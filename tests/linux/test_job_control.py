"""pcont's init and the pcont outside: which stop of the command an answer continues."""

from __future__ import annotations

import array
import fcntl
import os
import signal
import termios
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from pcont.linux.job_control import Link, be_init
from tests.waiting import eventually


class Init:
    """An init of pcont in a process of its own, with `sleep` as its command."""

    def __init__(self) -> None:
        self.link, inner = Link.pair()
        unused, report = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            try:
                be_init(lambda: os.execvp("sleep", ["sleep", "600"]), report, inner)
            finally:
                os._exit(1)
        for descriptor in (unused, report):
            os.close(descriptor)
        self._inner = inner
        assert eventually(lambda: [one.name() for one in self._children()] == ["sleep"])
        self.command = self._children()[0]

    def _children(self) -> list[psutil.Process]:
        return psutil.Process(self.pid).children()

    def is_stopped(self) -> bool:
        return str(self.command.status()) == psutil.STATUS_STOPPED

    def stop(self) -> None:
        """Stop the command, and wait for the report."""
        self.command.send_signal(signal.SIGSTOP)
        assert self.link.read() == bytes([signal.SIGSTOP])

    def answer(self, report: int) -> None:
        """Answer a report, and wait until the init has handled the answer."""
        self.link.write(bytes([report]))
        assert eventually(lambda: not self._unread() and self._sleeps())

    def continue_group(self) -> None:
        """Send SIGCONT to the command and to the init, and wait until the init has handled it."""
        for pid in (self.command.pid, self.pid):
            os.kill(pid, signal.SIGCONT)
        assert eventually(lambda: not self._is_pending(signal.SIGCONT) and self._sleeps())

    def _is_pending(self, number: int) -> bool:
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        (pending,) = [line.split()[1] for line in lines if line.startswith("ShdPnd")]
        return bool(int(pending, 16) >> (number - 1) & 1)

    def _unread(self) -> int:
        found = array.array("i", [0])
        fcntl.ioctl(self._inner.reads, termios.FIONREAD, found)
        return found[0]

    def _sleeps(self) -> bool:
        return str(psutil.Process(self.pid).status()) == psutil.STATUS_SLEEPING


@pytest.fixture
def init() -> Iterator[Init]:
    one = Init()
    yield one
    one.command.kill()
    os.waitpid(one.pid, 0)
    one.link.close()


def test_an_answer_continues_the_command(init: Init) -> None:
    init.stop()
    init.answer(1)
    assert eventually(lambda: not init.is_stopped())


def test_an_answer_to_an_earlier_stop_does_not_continue_the_command(init: Init) -> None:
    """As when fg and ^Z follow each other at once, and the answer to the first stop is late."""
    init.stop()
    init.continue_group()
    init.stop()
    init.answer(1)
    assert init.is_stopped()
    init.answer(2)
    assert eventually(lambda: not init.is_stopped())
