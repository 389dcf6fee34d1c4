"""Processes that hold as much memory as a test wants, and what pcont then shows."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.contract.conftest import Pcont

MIB = 1 << 20
# A process that holds so many more MiB of memory for each line that it reads.
HOLDER = """
import sys
held = []
print("ready", flush=True)
for line in sys.stdin:
    held.append(bytearray(b"x") * (int(line) << 20))
    print("held", flush=True)
"""


class Holder:
    """A process that takes memory when it is asked to."""

    def __init__(self) -> None:
        pipe = subprocess.PIPE
        command = [sys.executable, "-c", HOLDER]
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
        self._said("ready")

    @property
    def pid(self) -> int:
        return self.process.pid

    def take(self, mib: int) -> None:
        """Take memory, and wait until the process has it."""
        self._ask(mib)
        self._said("held")

    def take_too_much(self, mib: int) -> None:
        """Take memory, and wait until the kernel has killed the process."""
        self._ask(mib)
        assert self.process.wait(60) == -signal.SIGKILL

    def _ask(self, mib: int) -> None:
        assert self.process.stdin
        self.process.stdin.write(f"{mib}\n")
        self.process.stdin.flush()

    def _said(self, word: str) -> None:
        assert self.process.stdout
        assert self.process.stdout.readline() == f"{word}\n"

    @property
    def lives(self) -> bool:
        return self.process.poll() is None


@pytest.fixture
def holder() -> Iterator[Callable[[], Holder]]:
    run: list[Holder] = []

    def begin() -> Holder:
        run.append(Holder())
        return run[-1]

    yield begin
    for one in run:
        one.process.kill()
        one.process.communicate()


def stat(pcont: Pcont, place: str) -> dict[str, Any]:
    """The row of all CPUs."""
    found: dict[str, Any] = json.loads(pcont.ok("stat", place, "--json"))["result"][0]
    return found


def tree_lines(pcont: Pcont, place: str) -> dict[str, list[str]]:
    rows = [line.split("\t") for line in pcont.ok("tree", place).splitlines()]
    return {row[0]: row[1:] for row in rows}
