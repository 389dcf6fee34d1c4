"""A terminal with a shell that has job control, as a user has it, for tests."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import shlex
import signal
import struct
import termios
import time
from collections.abc import Iterator, Sequence

PATIENCE = 120.0
PROMPT = re.compile(r"<(\d+)>")  # the status of the command before it
SHELL = ("bash", "--norc", "--noprofile", "--noediting", "+o", "history", "-i")


class Terminal:
    """The other end of a pseudo terminal; `pid` leads the session that has it."""

    def __init__(self, words: Sequence[str], cwd: str | None = None) -> None:
        self.pid, self._master = pty.fork()
        if self.pid == 0:
            try:
                os.environ.update({"PS1": "<$?>", "PS2": "", "HISTFILE": ""})
                if cwd:
                    os.chdir(cwd)
                for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
                    signal.signal(number, signal.SIG_DFL)
                os.execvp(words[0], list(words))
            finally:
                os._exit(127)
        self.seen = ""

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def until(self, pattern: str | re.Pattern[str]) -> re.Match[str]:
        """Wait for a text; what came before it is forgotten."""
        limit = time.monotonic() + PATIENCE
        while not (found := re.search(pattern, self.seen)):
            if not self._read(limit - time.monotonic()):
                raise AssertionError(f"{pattern!r} does not come: {self.seen!r}")
        self.seen = self.seen[found.end() :]
        return found

    def rest(self) -> str:
        """All that comes until no process has the terminal any more."""
        while self._read(PATIENCE):
            pass
        return self.seen

    def _read(self, timeout: float) -> bool:
        if not select.select([self._master], [], [], max(timeout, 0))[0]:
            return False
        try:
            found = os.read(self._master, 4096)
        except OSError:  # EIO: no process has the terminal any more
            return False
        self.seen += found.decode(errors="replace")
        return bool(found)

    def prompt(self) -> int:
        """Wait for the shell's prompt; the status of the last command."""
        return int(self.until(PROMPT)[1])

    def run(self, *words: str) -> None:
        """Type a command line."""
        self.type(f"{shlex.join(words)}\n")

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def hang_up(self) -> None:
        os.close(self._master)
        self._master = -1

    def status(self) -> int:
        """The end of the session's leader: its status, -N for signal N."""
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


@contextlib.contextmanager
def terminal(*words: str) -> Iterator[Terminal]:
    """A terminal for a command; at the end its processes have ended."""
    one = Terminal(words)
    try:
        yield one
    finally:
        with contextlib.suppress(OSError):
            one.hang_up()
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(one.pid, signal.SIGKILL)
            os.waitpid(one.pid, 0)


@contextlib.contextmanager
def shell() -> Iterator[Terminal]:
    """A terminal with a shell that waits for a command, and does not show what is typed."""
    with terminal(*SHELL) as one:
        one.prompt()
        one.type("stty -echo; true\n")
        one.prompt()
        yield one


def states(*marks: str, without: str | None = None) -> dict[int, str]:
    """The processes with these words in their command line: the letter of their state."""
    found = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{name}/cmdline", "rb") as stream:
            words = stream.read().decode(errors="replace").split("\0")
            if {*marks} <= {*words} and without not in words[:-1]:
                with open(f"/proc/{name}/stat", encoding="utf-8") as stat:
                    found[int(name)] = stat.read().rpartition(")")[2].split()[0]
    return found
