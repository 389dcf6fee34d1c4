"""A model that is loaded from its file in parts is as one in memory, after every step."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from pcont.backend_model import SMALL, Model, StoredModel
from pcont.errors import PcontError
from pcont.kernel.types import Place, TreeRequest
from pcont.model.dialects import DIALECTS
from pcont.model.rows import all_rows
from tests.model_states import rows_in

SEED = int(os.environ.get("PCONT_SEED", random.SystemRandom().randrange(1 << 32)))
NAMES = ("a", "b", "ä")
WRITES_OF_V2 = (
    *[("cgroup.subtree_control", text) for text in ("+pids", "+cpuset +memory", "-pids", "+io")],
    *[("cgroup.type", "threaded")] * 2,
    *[("cgroup.threads", "5000000"), ("cgroup.freeze", "1"), ("cgroup.kill", "1")],
    *[("cgroup.max.depth", "3"), ("cgroup.max.descendants", "max"), ("cgroup.pressure", "0")],
    *[("cpuset.cpus", "1"), ("cpu.weight", "7"), ("io.max", "7:0 rbps=9"), ("memory.max", "1M")],
)
Step = Callable[[Model], object]


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """No disk is waited for, and both models have the same machine."""
    monkeypatch.setattr("os.fsync", lambda descriptor: None)
    monkeypatch.setattr("os.fdatasync", lambda descriptor: None)
    monkeypatch.setattr("pcont.backend_model.this_machine", lambda: SMALL)


class Walk:
    """Random steps on a model of one dialect."""

    def __init__(self, dialect: str, seed: int) -> None:
        self.dialect, self.chance = dialect, random.Random(seed)
        self.subsystems = DIALECTS[dialect].controllers

    def place(self) -> Place:
        """A container that exists, or in one of four cases one that may not."""
        if not self.places:
            return Place("pids")
        place = self.chance.choice(self.places)
        return place if self.chance.random() < 0.75 else place.child(self.chance.choice(NAMES))

    def task(self) -> int:
        return 5_000_000 + self.chance.randrange(max(1, self.tasks))

    def step(self, model: Model) -> Step:
        """A random step; `model` says which trees and tasks there are."""
        self.places = [
            Place(tree.id, node.path)
            for tree in model.hierarchies.active
            if model.hierarchies.uncovered(tree)
            for node in tree.root.all()
        ]
        self.tasks = model.tasks.next_id - 5_000_000
        place, task, chance = self.place(), self.task(), self.chance
        chance_name = chance.choice(NAMES)
        if not self.places or chance.random() < 0.05:
            names = tuple(name for name in self.subsystems if chance.random() < 0.5)
            point = f"/m/{chance.choice(NAMES)}"
            return lambda model: model.mount(TreeRequest(names), point, "x")
        child = place.child(chance.choice(NAMES))
        file = chance.choice(("notify_on_release", "auto_delete", "pids.max", "freezer.state"))
        text = chance.choice(("0", "1", "2", "FROZEN", "THAWED"))
        if place.is_unified and chance.random() < 0.8:
            file, text = chance.choice(WRITES_OF_V2)
        uses = model.open_files.by_number if chance.random() < 0.9 else ()
        number = chance.choice([*uses, 1])
        steps: tuple[Step, ...] = (
            *[lambda model: model.make(child)] * 6,
            *[lambda model: model.remove(place)] * 3,
            lambda model: [change(place) for change in (model.remove, model.make)],
            lambda model: list(map(model.remove, (place, place.parent))),
            *[lambda model: model.write(place, file, text)] * (12 if place.is_unified else 1),
            lambda model: model.write(place, "release_agent", text),
            lambda model: model.set_attribute(place, "tie", text),
            *[lambda model: model.write(place, "tasks", str(task))] * 5,
            *[lambda model: model.write(place, "cgroup.procs", str(task))] * 2,
            *[lambda model: model.simulator.spawn()] * 2,
            *[lambda model: model.simulator.fork(task)] * 3,
            *[lambda model: model.simulator.thread(task)] * 3,
            *[lambda model: model.simulator.exit(task, thread=True)] * 3,
            *[lambda model: model.simulator.exit(task)] * 2,
            lambda model: model.simulator.work(task, 5, 6),
            *[lambda model: model.simulator.open_one(task)] * 3,
            *[lambda model: model.simulator.close_one(task, number)] * 3,
            lambda model: list(model.kill(place, [task], 9)),
            lambda model: model.set_affinity(task, frozenset({1})),
            lambda model: model.umount(f"/m/{chance_name}"),
            lambda model: model.enforcer.start("numfiles", place),
            lambda model: model.enforcer.stop("numfiles", place),
            lambda model: model.enforcer.set(place, "bc.numfiles.limit", 2),
            lambda model: model.simulator.plug(frozenset({0, int(text == "1")}), frozenset({0})),
            lambda model: list(model.releases.reported()),
            lambda model: model.read(place, "tasks"),
        )
        return chance.choice(steps)


def done(model: Model, step: Step) -> str:
    """Take a step; the error that it raised, if any."""
    try:
        step(model)
    except (OSError, KeyError, AssertionError, PcontError) as err:
        return f"{type(err).__name__}: {err}"
    return ""


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("commands", [60, pytest.param(600, marks=pytest.mark.slow)])
def test_a_stored_model_is_as_one_in_memory_after_every_step(
    tmp_path: Path, dialect: str, commands: int
) -> None:
    print(f"seed {SEED}")
    file, walk = tmp_path / "model.json", Walk(dialect, SEED)
    memory = Model(SMALL, dialect=DIALECTS[dialect], clock=lambda: 0.0)
    for model in (memory, StoredModel(str(file), dialect)):
        with model.exclusive():
            for name in ("/m/", *(f"/m/{name}" for name in NAMES)):
                model.make_directory(name)
            model.config.directories.add("/m")
            for _ in range(3):
                model.simulator.spawn()
    kinds: set[str] = set()
    for _ in range(commands):
        stored = StoredModel(str(file))
        stored.config.clock = memory.config.clock
        with stored.exclusive():
            for _ in range(walk.chance.randint(1, 4)):
                step = walk.step(memory)
                assert done(stored, step) == done(memory, step)
        wanted = all_rows(memory)
        assert rows_in(file) == wanted
        assert all_rows(StoredModel(str(file))) == wanted
        kinds |= {key.partition(":")[0] for key in wanted}
    assert {"head", "container", "placed", "played"} <= kinds
