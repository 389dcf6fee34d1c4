"""A command, as a process of its own, among a load: what happens to every task."""

from __future__ import annotations

import importlib
import itertools
import multiprocessing
import pkgutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pcont
from pcont.cli import main
from tests.stress import HOLD, Bomb, Daemons, Openers, running
from tests.stress.trees import SeparateTrees
from tests.waiting import eventually

PCONT = (sys.executable, "-m", "pcont", "--backend", "cgroupfs")


@dataclass(frozen=True)
class Outcome:
    """How a command ended, what it said, and after how long."""

    status: int
    out: str
    err: str
    seconds: float


# A command on its way: asked, it tells its exit status once it has one.
Status = Callable[[], "int | None"]
Start = Callable[[Sequence[str], IO[str], IO[str]], Status]


def started(words: Sequence[str], out: IO[str], err: IO[str]) -> Status:
    """A command, as it is typed."""
    return subprocess.Popen(words, stdout=out, stderr=err).poll


def load_all() -> None:
    """What commands load once they need it, so that those that are forked have it."""
    for module in pkgutil.walk_packages(pcont.__path__, "pcont."):
        importlib.import_module(module.name)


def forked(words: Sequence[str], out: IO[str], err: IO[str]) -> Status:
    """A command of pcont without the start of Python, which takes seconds in a guest.

    Call `load_all` before.
    """
    assert tuple(words[: len(PCONT)]) == PCONT
    own = [*words[PCONT.index("--backend") :]]
    process = multiprocessing.get_context("fork").Process(target=_become, args=(own, out, err))
    process.start()
    return lambda: process.exitcode


def _become(words: list[str], out: IO[str], err: IO[str]) -> None:
    with redirect_stdout(out), redirect_stderr(err):
        status = main(words)
    out.flush()
    err.flush()
    sys.exit(status)


def watched(words: Sequence[str], look: Callable[[], None], start: Start = started) -> Outcome:
    """Run a command, and look on until it ends."""
    begun = time.monotonic()
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        status = start(words, out, err)
        while (ended := status()) is None:
            look()
            time.sleep(0.0005)
        seconds = time.monotonic() - begun
        out.seek(0)
        err.seek(0)
        return Outcome(ended, out.read(), err.read(), seconds)


def nothing() -> None:
    """Nothing to see."""


def attach_tree(place: SeparateTrees, path: str, pid: int) -> list[str]:
    return [*PCONT, "attach", "--tree", place.at(path), str(pid)]


def rm_kill(place: SeparateTrees, path: str) -> list[str]:
    return [*PCONT, "rm", "--kill", place.at(path)]


@dataclass(frozen=True)
class Counted:
    """Files that were opened and closed, and how often another number was held than was open.

    `moves`: how often a task was moved during that. `most`: the files that were open at one time.
    """

    opened: int
    refused: int
    moves: int
    wrong: int
    most: int


def counting(
    load: Openers,
    held: Callable[[], int],
    opens: int,
    moves: int = 0,
    folders: Sequence[Path] = (),
) -> Counted:
    """Let a load open and close files, and compare after each round with the number that is held.

    A thread moves the tasks from folder to folder during that, at least `moves` times.
    """
    stop = threading.Event()
    moved = 0

    def move() -> None:
        nonlocal moved
        for folder in itertools.cycle(folders):
            for pid in load.pids:
                if stop.is_set():
                    return
                (folder / "tasks").write_text(str(pid))
                moved += 1

    wrong = most = 0
    mover = threading.Thread(target=move)
    if moves:
        mover.start()
    try:
        while load.opened < opens or moved < moves:
            before = load.opened
            load.step()
            are_open = load.opened - before
            most = max(most, are_open)
            wrong += held() != are_open
            load.step()
            wrong += held() != 0
    finally:
        stop.set()
        if moves:
            mover.join()
    return Counted(load.opened, load.refused, moved, wrong, most)


@dataclass(frozen=True)
class Adoption:
    """What a command made of the daemons of a server.

    Those that have to be inside are the due ones, and `older` were there before the first task had
    moved. `lost` are due and outside; `split` are inside in some trees only, due or not.
    """

    outcome: Outcome
    due: int
    older: int
    lost: int
    split: int


def adoption(
    place: SeparateTrees,
    path: str,
    command: Callable[[SeparateTrees, str, int], Sequence[str]] = attach_tree,
    *,
    rate: int = 500,
    held: bool = False,
) -> Adoption:
    """Bring a server with its descendants into a new container, while its children daemonize.

    If the parent of a daemon ended before the command read the process table, the daemon is no
    descendant. The command must bring it if its parent ended after the first task had moved. With
    `held`, no parent ends before that; the command must bring each daemon if its parent ends after
    the call.
    """
    place.ok("create", place.at(path))
    with running(Daemons(rate)) as server:
        server.go()
        assert eventually(lambda: server.started >= rate // 2)
        server.table[HOLD] = held
        now = time.monotonic_ns()
        first = _First(place, path, server)
        outcome = watched(command(place, path, server.root), first.look)
        first.let_go()
        living = server.living()
    due = [one for one in living if one.left >= (now if held else first.moment)]
    home = place.paths(path)
    outside = [one for one in living if not home.items() <= one.paths.items()]
    return Adoption(
        outcome=outcome,
        due=len(due),
        older=sum(one.serial <= first.started for one in due),
        lost=sum(one in due for one in outside),
        split=sum(bool(home.items() & one.paths.items()) for one in outside),
    )


@dataclass
class _First:
    """The moment at which a task was first seen in a container: then the daemons may leave."""

    place: SeparateTrees
    path: str
    server: Daemons
    moment: int = 0
    started: int = 0

    def look(self) -> None:
        if not self.moment and not self.place.is_empty(self.path):
            self.let_go()

    def let_go(self) -> None:
        if not self.moment:
            self.moment, self.started = time.monotonic_ns(), self.server.started
            self.server.table[HOLD] = 0


@dataclass(frozen=True)
class Explosion:
    """What a command made of a fork bomb.

    `alive` are the tasks that it left; `above` those that were seen in the parent while it ran, in
    that many `looks`; `there` the trees that still have the container.
    """

    outcome: Outcome
    alive: int
    above: int
    looks: int
    there: Sequence[str]


def explosion(
    place: SeparateTrees,
    path: str,
    tasks: int,
    command: Callable[[SeparateTrees, str], Sequence[str]] = rm_kill,
    start: Start = started,
) -> Explosion:
    """Let a fork bomb fill a container of so many tasks, and remove it."""
    place.ok("create", place.at(path), "-s", f"pids.max={tasks}")
    folder = place.folder("pids", path)
    with place.load(Bomb(str(folder)), path) as bomb:
        assert eventually(lambda: int((folder / "pids.current").read_text()) == tasks)
        seen = _Above(place)
        outcome = watched(command(place, path), seen.look, start)
        there = [tree for tree in place.trees if place.folder(tree, path).exists()]
        return Explosion(outcome, bomb.alive(), seen.tasks, seen.looks, there)


@dataclass
class _Above:
    """The tasks that are seen in the container above."""

    place: SeparateTrees
    tasks: int = 0
    looks: int = 0

    def look(self) -> None:
        self.tasks += sum(len(tasks) for tasks in self.place.tasks("").values())
        self.looks += 1
