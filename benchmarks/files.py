"""python -m benchmarks.files: every open file is counted by numfiles, and what that costs.

In a guest only: BPF programs are tried on no other machine. Once everything is mounted, no command
of pcont runs; the script knows how many files are open, and reads what the kernel has counted.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from benchmarks.kernel import begin
from benchmarks.measure import in_turns, spread, tell
from benchmarks.tables import print_table
from pcont.backend_cgroupfs import Cgroupfs
from pcont.kernel.types import Place
from pcont.subsys import numfiles
from tests.conftest import IN_GUEST
from tests.stress import InStep, Laps, Openers, running
from tests.stress.measure import PCONT, counting, forked, nothing, watched
from tests.waiting import eventually

WIDTH, FILES, LAPS = 8, 500, 20_000
RESTING, MOVING = ("/a", "/b"), ("/c", "/d")
COUNTED = (
    *("moves", "files opened", "looks", "most open at once", "held otherwise"),
    *("maxheld otherwise", "refused", "uncounted", "held in the end"),
)
COST = ("programs", "tasks at once", "an open with its close", "from … to")


@dataclass(frozen=True)
class Hierarchy:
    """A hierarchy of its own with containers."""

    name: str
    kernel: Cgroupfs = field(default_factory=Cgroupfs)

    def place(self, path: str) -> Place:
        return Place(f"name={self.name}", path)

    def folder(self, path: str) -> Path:
        return Path(self.kernel.show(self.place(path)))

    def values(self, path: str) -> dict[str, int]:
        """What the kernel has counted."""
        return self.kernel.enforcer.values(self.place(path), numfiles.NUMFILES)

    def enter(self, path: str, pids: Sequence[int]) -> None:
        for pid in pids:
            (self.folder(path) / "cgroup.procs").write_text(str(pid))


@dataclass
class Looks:
    """What was held when the script looked; in between, files are only opened, or only closed."""

    hierarchy: Hierarchy
    paths: Sequence[str]
    count: int = 0
    most: Counter[str] = field(default_factory=Counter)

    def held(self) -> int:
        """By all of the containers, now."""
        found = {path: self.hierarchy.values(path)[numfiles.HELD] for path in self.paths}
        self.most |= Counter(found)
        self.count += 1
        return sum(found.values())

    def wrong(self) -> int:
        """How many containers have another maxheld than the most that they have held."""
        found = {path: self.hierarchy.values(path)[numfiles.MAXHELD] for path in self.paths}
        return sum(most != self.most[path] for path, most in found.items())


def ok(*words: str) -> None:
    """A command of pcont that must succeed, forked: under emulation Python starts slowly."""
    done = watched([*PCONT, *words], nothing, forked)
    if done.status:
        raise RuntimeError(f"pcont {' '.join(words)}: exit {done.status}\n{done.err}")


@contextmanager
def hierarchy(subsystems: str, paths: Sequence[str], *settings: str) -> Iterator[Hierarchy]:
    """One of this process, with these containers."""
    made = Hierarchy(f"bench{os.getpid()}")
    with ExitStack() as stack:
        ok("mount", "-o", subsystems, "--name", made.name)
        stack.callback(ok, "umount", made.name)
        places = [f"{made.name}:{path}" for path in paths]
        ok("create", *places, *(word for setting in settings for word in ("-s", setting)))
        stack.callback(ok, "rm", *places)
        yield made


@contextmanager
def on_tmpfs() -> Iterator[str]:
    """A directory where one open is one file."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], check=True)
        try:
            yield folder
        finally:
            subprocess.run(["umount", folder], check=True)


@contextmanager
def going(load: InStep, made: Hierarchy, path: str) -> Iterator[None]:
    """A load whose processes are in a container."""
    with running(load):
        made.enter(path, [load.root])
        load.go()
        assert eventually(lambda: all(load.pids))
        yield


def counts(opens: int, moves: int) -> Iterator[list[object]]:
    """Every file is counted, at rest and while tasks are moved so often."""
    many = [f"{file}={1 << 20}" for file in (numfiles.FILES_LIMIT, numfiles.BARRIER)]
    with hierarchy("numfiles", (*RESTING, *MOVING), *many) as made, on_tmpfs() as folder:
        for paths, times in ((RESTING, 0), (MOVING, moves)):
            yield counted(made, folder, paths, opens, times)


def counted(
    made: Hierarchy, folder: str, paths: Sequence[str], opens: int, moves: int
) -> list[object]:
    """A row: so many files opened and closed, in the first container or in all of them."""
    looks, load = Looks(made, paths), Openers(WIDTH, FILES, folder)
    with going(load, made, paths[0]):
        found = counting(load, looks.held, opens, moves, [*map(made.folder, reversed(paths))])
    uncounted = sum(made.kernel.enforcer.uncounted().values())
    left = sum(made.values(path)[numfiles.HELD] for path in paths)
    tell(f"{found}, {dict(looks.most)}")
    return [
        *(found.moves, found.opened, looks.count, found.most, found.wrong),
        *(looks.wrong(), found.refused, uncounted, left),
    ]


@dataclass(frozen=True)
class Setting:
    """How it is measured: with the programs at work or not, and in which container."""

    title: str
    loaded: bool
    path: str


SETTINGS = (
    Setting("not loaded", loaded=False, path="/"),
    Setting("loaded, the task is in the root", loaded=True, path="/"),
    Setting("loaded, the task is in a container", loaded=True, path="/a"),
)


def costs(rounds: int) -> Iterator[list[object]]:
    """What an open with its close costs, in turns, each setting in every round."""
    with hierarchy("none", ("/a",)) as made, on_tmpfs() as folder:
        for width in (1, WIDTH):
            load = Laps(width, LAPS // width, folder)
            with going(load, made, "/"):
                yield from compared(made, load, rounds)


def compared(made: Hierarchy, load: Laps, rounds: int) -> Iterator[list[object]]:
    """The rows of one load."""

    def cost(setting: Setting) -> float:
        with loaded(made, setting.loaded):
            made.enter(setting.path, load.pids)
            load.step()
            made.enter("/", load.pids)
        return sum(load.nanoseconds()) / LAPS / 1000

    trials = {setting: partial(cost, setting) for setting in SETTINGS}
    found = in_turns(trials, rounds, f"{load.width} tasks")
    usual = spread(found[SETTINGS[0]]).median
    for setting, each in found.items():
        own = spread(each)
        limits = f"{own.least:.1f} … {own.most:.1f} µs"
        yield [
            setting.title,
            load.width,
            f"{own.median:.1f} µs (× {own.median / usual:.2f})",
            limits,
        ]


@contextmanager
def loaded(made: Hierarchy, wanted: bool) -> Iterator[None]:
    """Load the BPF programs for the hierarchy during the block, if wanted."""
    if not wanted:
        yield
        return
    enforcer = made.kernel.enforcer
    enforcer.start(numfiles.NUMFILES, made.place("/"))
    try:
        yield
    finally:
        enforcer.stop(numfiles.NUMFILES, made.place("/"))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.files")
    parser.add_argument("what", choices=("counts", "costs"))
    parser.add_argument("--opens", type=int, default=1_000_000)
    parser.add_argument("--moves", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    if not IN_GUEST:
        sys.exit("BPF programs are tried in a guest: python -m tests.vm --run '…'")
    begin()
    if options.what == "counts":
        rows = counts(options.opens, options.moves)
        print_table(f"Files counted by numfiles, {WIDTH} tasks", COUNTED, rows)
    else:
        print_table("What it costs to open a file and close it", COST, costs(options.rounds))


if __name__ == "__main__":
    main()
