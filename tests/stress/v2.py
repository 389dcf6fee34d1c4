"""Commands on cgroup v2 among a storm: what they leave behind, also if they are killed part-way."""

from __future__ import annotations

import math
import os
import random
import signal
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO

from pcont.kernel.types import LEAF_NAME, UNIFIED, Place
from tests.contract.conftest import Pcont
from tests.stress import Paths, Storm, paths_of_threads, running
from tests.waiting import eventually, until

# Seconds after the death of a command after which no task may be frozen; also the time for killed
# tasks to disappear.
STILLNESS = 1.0
THREADS = 2  # of each process in a threaded hierarchy; elsewhere the kernel moves whole processes
PAUSE = 0.0005
WAITING = "waiting for another pcont command"  # on a machine that is used by others


@dataclass(frozen=True)
class Verb:
    """A command on a storm in the container /a of a hierarchy.

    `made`: the containers that are there before, parents first. `words`: the command line, with the
    PLACE of the hierarchy as {}. `target`: where its tasks are afterwards; empty: it kills them.
    `leaf`: they are in the leaf of the target.
    """

    name: str
    threaded: bool
    made: Sequence[str]
    words: str
    target: str
    leaf: bool = False

    def __str__(self) -> str:
        return self.name

    @property
    def threads(self) -> int:
        return THREADS if self.threaded else 1


MOVE_THREADED = Verb("move, threaded", True, ("/a", "/b"), "move {}/a {}/b", "/b")
MOVE = Verb("move", False, ("/a", "/b"), "move {}/a {}/b", "/b")
KILL_THREADED = Verb("rm --kill, threaded", True, ("/a",), "rm --kill {}/a", "")
KILL = Verb("rm --kill", False, ("/a",), "rm --kill {}/a", "")
# Where memory is enabled for the children of a container, its tasks are in its leaf.
SPILL = Verb("create", False, ("/a",), "create {}/a/x -s memory.max=64M", "/a", leaf=True)
MOVE_TO_LEAF = Verb(
    "move to a leaf", False, ("/a", "/b", "/b/x"), "move {}/a {}/b", "/b", leaf=True
)


@dataclass(frozen=True)
class Scene:
    """Containers that are in several trees: their PLACE, and the path of it in each tree."""

    pcont: Pcont
    place: str
    bases: Paths

    def folders(self, tree: str) -> list[Path]:
        """The directories in a tree, parents before their children."""
        top = Path(self.pcont.backend().show(Place(tree, self.bases[tree] or "/")))
        return [top, *sorted(path for path in top.rglob("*") if path.is_dir())]

    def paths(self, path: str, leaf: bool = False) -> Paths:
        found = {tree: base + path for tree, base in self.bases.items()}
        if leaf:
            found[UNIFIED] += f"/{LEAF_NAME}"
        return found

    def places(self, threads: Sequence[Paths] | None) -> list[Paths]:
        """The different places of the threads of a process; none if it has ended."""
        found: list[Paths] = []
        for every in threads or ():
            here = {tree: every[tree] for tree in self.bases}
            if here not in found:
                found.append(here)
        return found

    def frozen(self) -> int:
        """How many tasks are frozen, or are in containers that are to freeze."""
        found = 0
        for folder in self.folders(UNIFIED):
            with suppress(FileNotFoundError):
                wanted = (folder / "cgroup.freeze").read_text().strip() == "1"
                if wanted or "frozen 1" in (folder / "cgroup.events").read_text().splitlines():
                    found += max(1, len((folder / "cgroup.threads").read_text().split()))
        return found

    def make(self, verb: Verb) -> None:
        self.pcont.ok("create", *(self.place + path for path in verb.made), *self._settings(verb))

    def _settings(self, verb: Verb) -> Sequence[str]:
        """Where no hierarchy is threaded by itself."""
        alone = verb.threaded and self.place.startswith(UNIFIED)
        return ("-s", "cgroup.type=threaded") if alone else ()

    def clear(self) -> None:
        """Remove the containers, by the kernel's own means."""
        for tree in self.bases:
            for folder in reversed(self.folders(tree)[1:]):
                assert eventually(partial(_is_removed, folder)), folder

    def thaw(self) -> None:
        for folder in self.folders(UNIFIED):
            with suppress(FileNotFoundError):
                (folder / "cgroup.freeze").write_text("0")


def _is_removed(folder: Path) -> bool:
    """Remove a container, as soon as the threads that are ending have left it."""
    with suppress(OSError):
        folder.rmdir()
        return True
    return False


@dataclass(frozen=True)
class Census:
    """How many lineages are in one of the containers of a command.

    `left`: those with a thread elsewhere. `split`: of these, the ones whose threads are in
    different containers, or in different ones of the trees.
    """

    arrived: int
    left: int
    split: int


def census(scene: Scene, storm: Storm, known: Sequence[Paths]) -> Census:
    """Count the lineages that are in the last of some containers; the others may be left in."""
    found = [scene.places(one) for one in storm.seen(paths_of_threads)]
    arrived = sum(one == [known[-1]] for one in found)
    split = sum(one not in [[paths] for paths in known] for one in found)
    return Census(arrived, len(found) - arrived, split)


class Command:
    """A command of pcont in a process of its own, without the start of Python.

    `output`: a file for what it prints.
    """

    def __init__(self, pcont: Pcont, words: Sequence[str], output: IO[str]) -> None:
        self.output = output
        self.began = time.monotonic()
        self.pid = pcont.begin(words, output.fileno(), output.fileno())
        self.seconds = 0.0

    def is_over(self) -> bool:
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if pid:
            self._note(status)
        return bool(pid)

    def wait(self) -> int:
        """Wait for the end; the exit status."""
        return self._note(os.waitpid(self.pid, 0)[1])

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        self.wait()

    def _note(self, status: int) -> int:
        self.seconds = time.monotonic() - self.began
        return os.waitstatus_to_exitcode(status)

    def said(self) -> str:
        """What it has printed."""
        self.output.seek(0)
        return self.output.read()


@contextmanager
def started(scene: Scene, verb: Verb) -> Iterator[Command]:
    """The command, on its way."""
    words = verb.words.replace("{}", scene.place).split()
    with tempfile.TemporaryFile("w+") as output:
        yield Command(scene.pcont, words, output)


@dataclass
class Tally:
    """What came of a verb among storms of a width.

    `killed`: how often SIGKILL came before the end of the command. `between`: the lineages that
    were in between after `pcont recover`: not where the others were. `seconds`: of the commands
    that did not wait for another one.
    """

    verb: Verb
    width: int
    times: int = 0
    seconds: list[float] = field(default_factory=list)
    left: int = 0
    split: int = 0
    killed: int = 0
    frozen: int = 0
    between: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def line(self) -> str:
        timed = self.seconds or [math.nan]
        return (
            f"{self.verb}: {self.width} lineages, {self.times} times: "
            f"{self.left} left behind, {self.split} split; SIGKILL {self.killed} times before the "
            f"end: {self.frozen} frozen {STILLNESS:.0f} s later, {self.between} in between after "
            f"recover; median {statistics.median(timed):.2f} s, "
            f"worst {max(timed):.2f} s"
        )

    @property
    def is_good(self) -> bool:
        return not (self.left or self.split or self.frozen or self.between or self.problems)


@contextmanager
def storming(scene: Scene, verb: Verb, width: int) -> Iterator[Storm]:
    """A storm in /a; nothing of it and of the containers is left afterwards."""
    scene.make(verb)
    try:
        storm = Storm(width, threads=verb.threads)
        with running(storm):
            scene.pcont.ok("attach", f"{scene.place}/a", str(storm.root))
            storm.go()
            try:
                yield storm
            finally:
                scene.thaw()
    finally:
        scene.clear()


def survivors(storm: Storm) -> int:
    """How many processes of a storm were not killed. A dead one is there for a moment longer."""
    return until(storm.alive, STILLNESS, good=lambda found: not found)


def run_whole(scene: Scene, tally: Tally) -> None:
    """The command, undisturbed: every lineage must be in the target, also after more forks."""
    verb = tally.verb
    with storming(scene, verb, tally.width) as storm:
        with started(scene, verb) as command:
            status = command.wait()
            tally.times += 1
            if WAITING not in command.said():
                tally.seconds.append(command.seconds)
            if status:
                tally.problems.append(f"exit {status}: {command.said()}")
        if not verb.target:
            tally.left += survivors(storm)
            return
        known = [scene.paths("/a"), scene.paths(verb.target, verb.leaf)]
        for _ in range(2):
            found = census(scene, storm, known)
            tally.left += found.left
            tally.split += found.split
            if not storm.goes_on():
                tally.problems.append("a lineage does not go on")


def run_killed(scene: Scene, tally: Tally, after: float) -> None:
    """SIGKILL after so many seconds: no task may stay frozen, and recover leaves all or nothing."""
    verb = tally.verb
    with storming(scene, verb, tally.width) as storm:
        with started(scene, verb) as command:
            limit = command.began + after
            while not (over := command.is_over()) and time.monotonic() < limit:
                time.sleep(PAUSE)
            if not over:
                command.kill()
                tally.killed += 1
        tally.frozen += until(scene.frozen, STILLNESS, good=lambda found: not found)
        scene.pcont.ok("recover")
        if verb.target:
            judge_recovered(scene, tally, storm)
        else:
            finish(scene, tally, storm)


def judge_recovered(scene: Scene, tally: Tally, storm: Storm) -> None:
    """All lineages must be where they were, or all in the target."""
    known = [scene.paths("/a"), scene.paths(tally.verb.target, tally.verb.leaf)]
    there, back = (census(scene, storm, one) for one in (known, known[::-1]))
    tally.between += min(there.left, back.left)
    tally.split += min(there.split, back.split)
    if not storm.goes_on():
        tally.problems.append("after SIGKILL and recover, a lineage does not go on")


def finish(scene: Scene, tally: Tally, storm: Storm) -> None:
    """A second try must kill what the first one has left."""
    if not scene.pcont("get", f"{scene.place}/a").status:
        with started(scene, tally.verb) as command:
            assert command.wait() == 0, command.said()
    tally.left += survivors(storm)


def tallied(scene: Scene, verb: Verb, width: int, times: int, seed: int) -> Tally:
    """Run a verb so many times, and as often with SIGKILL at a random moment of it."""
    tally, chance = Tally(verb, width), random.Random(seed)
    for _ in range(times):
        run_whole(scene, tally)
        run_killed(scene, tally, chance.uniform(0, statistics.median(tally.seconds or [1.0])))
    return tally
