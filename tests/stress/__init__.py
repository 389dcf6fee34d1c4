"""Loads that fork as fast as they can, in C, and what a test can know of them while they do.

A load and its test share a table of 64-bit words (load.h), so that the test need not search /proc
for processes that live for two milliseconds: they say themselves where they are to be found.
"""

from __future__ import annotations

import atexit
import functools
import mmap
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import psutil

from pcont.kernel.types import UNIFIED
from tests.waiting import eventually, until

SOURCES = Path(__file__).parent
# What Debian calls the compiler, and what it needs for static programs: those fork faster.
PACKAGES = ("gcc", "libc6-dev")
FLAGS = ("-O2", "-Wall", "-Wextra", "-Werror", "-static")

# Seconds after which each load ends by itself, even if its test was killed.
LIFETIME = 600.0
PATIENCE = 120.0
SETTLING = 30.0

# Words of the table: changed together with load.h.
STOP, GO, DEADLINE, ROOT, STARTED, HOLD, QUIET, REFUSED, HEADER = range(9)
SLOT = 4

# Where a process is: a path for each tree, by the tree's id.
Paths = dict[str, str]


class NoCompiler(Exception):
    """The loads cannot be built here, and the message says what is missing."""


@functools.cache
def built(source: Path) -> Path:
    """The program of a source, compiled once for this process and gone with it."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise NoCompiler(
            f"no C compiler for the programs of tests: apt-get install {' '.join(PACKAGES)}"
        )
    program = _folder() / source.stem
    command = [compiler, *FLAGS, "-o", str(program), str(source)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise NoCompiler(f"{' '.join(command)}: exit {done.returncode}\n{done.stderr}")
    return program


@functools.cache
def _folder() -> Path:
    folder = tempfile.mkdtemp(prefix="pcont-loads-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


class Load:
    """A load. Its first process waits for a start signal; `running` ends the load."""

    program: str
    session = False  # whether it is started in a session of its own, like the load of another user

    def __init__(self, *words: object, slots: int = 0) -> None:
        program = built(SOURCES / f"{self.program}.c")
        size = (HEADER + slots * SLOT) * 8
        table = os.memfd_create(self.program)
        try:
            os.ftruncate(table, size)
            self.table = memoryview(mmap.mmap(table, size)).cast("Q")
            self.table[DEADLINE] = time.monotonic_ns() + int(LIFETIME * 1e9)
            self._launcher = subprocess.Popen(
                [program, str(table), *map(str, words)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                pass_fds=(table,),
                start_new_session=self.session,
            )
        finally:
            os.close(table)
        assert self._launcher.stdout
        assert self._launcher.stdout.readline() == b"ready\n"

    @property
    def root(self) -> int:
        """The process that waits for a start signal; all others descend from it."""
        return self.table[ROOT]

    @property
    def started(self) -> int:
        return self.table[STARTED]

    def go(self) -> None:
        self.table[GO] = 1

    @contextmanager
    def held(self) -> Iterator[None]:
        """During the block, no task forks (lineages), or no child ends (daemons)."""
        self.table[HOLD] = 1
        try:
            yield
        finally:
            self.table[HOLD] = 0

    def end(self) -> int:
        """Stop it, and wait until all of it has ended; the status of its launcher."""
        self.table[STOP] = 1
        try:
            return self._launcher.wait(PATIENCE)
        finally:
            for stream in (self._launcher.stdin, self._launcher.stdout):
                assert stream
                stream.close()

    def alive(self) -> int:
        """How many of its processes there are."""
        return len(psutil.Process(self._launcher.pid).children(recursive=True))

    def slot(self, number: int) -> tuple[int, ...]:
        first = HEADER + number * SLOT
        return tuple(self.table[first + word] for word in range(SLOT))


AnyLoad = TypeVar("AnyLoad", bound=Load)
Seen = TypeVar("Seen")


@contextmanager
def running(load: AnyLoad) -> Iterator[AnyLoad]:
    """Nothing of the load is left afterwards."""
    try:
        yield load
    finally:
        load.end()


class Lineages(Load):
    """Processes each of which forks its successor and ends (lineage.h)."""

    def __init__(self, width: int, *words: object) -> None:
        super().__init__(width, *words, slots=width)
        self.width = width

    def go(self) -> None:
        super().go()
        assert eventually(lambda: min(self.turns()) > 1)

    def turns(self) -> list[int]:
        """How far each lineage has got; an even turn has a process that is there."""
        return [self.slot(number)[0] for number in range(self.width)]

    def pids(self) -> list[int]:
        """Their processes, to be asked for while they are held."""
        return [self.slot(number)[1] for number in range(self.width)]

    def paths(self) -> list[Paths | None]:
        """Where each lineage is, while all hold still; None if it has ended."""
        return self.seen(paths_of)

    def seen(self, look: Callable[[int], Seen | None]) -> list[Seen | None]:
        """Look at the process of each lineage, while all hold still; None if it has ended."""
        with self.held():
            limit = time.monotonic() + SETTLING
            return [
                until(partial(self._seen, look, number), limit - time.monotonic())
                for number in range(self.width)
            ]

    def _seen(self, look: Callable[[int], Seen | None], number: int) -> Seen | None:
        turn, pid, *_ = self.slot(number)
        found = look(pid) if turn and turn % 2 == 0 else None
        return found if self.slot(number)[0] == turn else None

    def goes_on(self) -> bool:
        """Whether every lineage forks from now on."""
        before = self.turns()
        return eventually(
            lambda: all(now > then + 2 for now, then in zip(self.turns(), before, strict=True))
        )


class Storm(Lineages):
    """The fork storm: `width` lineages of processes that live for so many milliseconds, and have so
    many threads each.
    """

    program = "storm"

    def __init__(self, width: int, life: int = 2, threads: int = 1) -> None:
        super().__init__(width, life, threads)


class Beats(Lineages):
    """Lineages that note the longest time between two of their turns."""

    program = "beat"

    def __init__(self, width: int, turn: int, turns: int) -> None:
        super().__init__(width, turn, turns)

    def forget(self) -> None:
        """Start anew with the longest time."""
        for number in range(self.width):
            self.table[HEADER + number * SLOT + 3] = 0

    def longest(self) -> float:
        """Seconds between two turns, the longest of all lineages."""
        return max(self.slot(number)[3] for number in range(self.width)) / 1e9


class Bomb(Load):
    """A fork bomb, inside the container of pids at `folder`, which has to have a limit.

    It has a session of its own, and so an autogroup of the scheduler beside the command's.
    """

    program = "bomb"
    session = True

    def __init__(self, folder: str) -> None:
        super().__init__(folder)


class InStep(Load):
    """Processes that do so many files each in every round, which the test begins."""

    def __init__(self, width: int, files: int, folder: str) -> None:
        super().__init__(width, files, folder, slots=width)
        self.width = width

    def step(self) -> None:
        """Begin a round, and wait until all have done it."""
        self.table[HOLD] = turn = self.table[HOLD] + 1
        assert eventually(lambda: min(self.slot(one)[0] for one in range(self.width)) >= turn)

    @property
    def pids(self) -> list[int]:
        return [self.slot(number)[1] for number in range(self.width)]


class Laps(InStep):
    """Processes that open and close files, one after the other (laps.c)."""

    program = "laps"

    def nanoseconds(self) -> list[int]:
        """How much of the CPU the last round took each of them."""
        return [self.slot(number)[2] for number in range(self.width)]


class Openers(InStep):
    """Processes that open their files in one round, and close them in the next one (files.c)."""

    program = "files"

    @property
    def opened(self) -> int:
        """How many files they have opened, from the beginning."""
        return sum(self.slot(number)[2] for number in range(self.width))

    @property
    def refused(self) -> int:
        """How many they were not given, for ENFILE."""
        return sum(self.slot(number)[3] for number in range(self.width))


@dataclass(frozen=True)
class Living:
    """A process of the daemons that was there: where, and when it ceased to be a known child."""

    serial: int
    left: int
    paths: Paths


class Daemons(Load):
    """A server that starts `rate` children a second, all of which daemonize."""

    program = "daemons"
    SLOTS = 2048
    FREE, DAEMON = 0, 3

    def __init__(self, rate: int) -> None:
        super().__init__(rate, slots=self.SLOTS)

    def living(self) -> list[Living]:
        """The daemons that are there, all of them: no more are started."""
        self.table[QUIET] = 1
        states = range(self.SLOTS)
        assert eventually(
            lambda: all(self.slot(number)[0] in (self.FREE, self.DAEMON) for number in states)
        )
        found = [self._look(number) for number in states]
        return [one for one in found if one]

    def _look(self, number: int) -> Living | None:
        state, serial, pid, left = before = self.slot(number)
        if state != self.DAEMON:
            return None
        paths = paths_of(pid)
        return Living(serial, left, paths) if paths and self.slot(number) == before else None


def paths_of(pid: int) -> Paths | None:
    """Where a process is, in all trees at one moment; None if it has ended."""
    return paths_in(Path(f"/proc/{pid}"))


def paths_of_threads(pid: int) -> list[Paths] | None:
    """Where each thread of a process is; None if it has ended."""
    try:
        tasks = [*Path(f"/proc/{pid}/task").iterdir()]
    except (FileNotFoundError, ProcessLookupError):
        return None
    found = [paths_in(task) for task in tasks]
    return [one for one in found if one] or None


def paths_in(folder: Path) -> Paths | None:
    """Where the task of a directory of /proc is; None if it has ended."""
    try:
        text = (folder / "cgroup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    lines = [line.split(":", 2) for line in text.splitlines()]
    return {tree or UNIFIED: path for _, tree, path in lines}
