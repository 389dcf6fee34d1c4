"""What the verbs of the model in memory cost while it grows.

Models of several sizes are in one process, and take turns. The tasks are simulated.
"""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from benchmarks.measure import Cost
from benchmarks.results import Bench, Row, row
from pcont.backend_model import Model
from pcont.kernel.types import Place, TreeRequest
from pcont.model.tasks import FIRST_SIMULATED_ID
from pcont.tables.rules import Machine

TABLE = "model in memory"
ALL = ("cpuset", "cpuacct", "freezer", "pids")
MACHINE = Machine(frozenset(range(512)), frozenset(range(8)), cpu_limit=512)
CHILDREN = 10  # of each container, in a tree; in a broad one all are below one

Paths = Callable[[int], str]


def deep(number: int) -> str:
    """The path of a container of that number: ten below each."""
    words: list[str] = []
    while number:
        number, last = divmod(number - 1, CHILDREN)
        words.append(f"c{last}")
    return "/" + "/".join(reversed(words))


def broad(number: int) -> str:
    """The same, all below one."""
    return f"/all/c{number}" if number > 1 else "/all"


SQUARE = (
    "To write the lists of all cpusets in one container takes time in proportion to the square of "
    "their number: each list is compared with the flags of every sibling, as in the kernel."
)


@dataclass(frozen=True)
class Shape:
    """How containers are arranged, what is bound, and how many tasks are in each.

    `calls`: of a verb in a row. `note`: what a reader of the table must know.
    """

    name: str
    path: Paths
    controllers: tuple[str, ...] = ALL
    tasks: int = 10
    calls: int = 100
    note: str = ""

    @property
    def tree(self) -> str:
        return ",".join(self.controllers)


# The rules of cpuset ask each sibling, as the kernel's do: to fill such a tree is quadratic.
SHAPES = (
    Shape("ten containers below each container", deep),
    Shape("all containers below one", broad, ALL[1:]),
    Shape("empty cpusets, all below one container", broad, ALL[:1], tasks=0, calls=5, note=SQUARE),
)


class ScaledModel:
    """A model with so many containers."""

    def __init__(self, shape: Shape, size: int) -> None:
        self.shape, self.size, self.model = shape, size, Model(MACHINE)
        self.chance = random.Random(1)
        self.model.make_directory("/cg")
        self.model.mount(TreeRequest(shape.controllers), "/cg", "benchmark")
        for number in range(1, size + 1):
            self.model.make(self.at(number))
            if "cpuset" in shape.controllers and (shape.tasks or number == 1):
                self.model.write(self.at(number), "cpuset.cpus", "0-511")
                self.model.write(self.at(number), "cpuset.mems", "0-7")
            if shape.tasks:
                self._people(self.at(number))

    def _people(self, place: Place) -> None:
        """One task, and its children."""
        first = self.model.simulator.spawn()
        self.model.write(place, "cgroup.procs", str(first))
        for _ in range(self.shape.tasks - 1):
            self.model.simulator.fork(first)

    def at(self, number: int) -> Place:
        return Place(self.shape.tree, self.shape.path(number))

    def places(self) -> list[Place]:
        """Some containers, but not the first, which may have all others below it."""
        return [self.at(self.chance.randint(2, self.size)) for _ in range(self.shape.calls)]

    def tasks(self) -> list[int]:
        """Some of the tasks that are there from the beginning."""
        count = self.size * self.shape.tasks
        return [
            FIRST_SIMULATED_ID + self.chance.randrange(count)
            for _ in range(self.shape.calls if count else 0)
        ]


def timed(calls: Sequence[Callable[[], object]]) -> Cost:
    """What one of these calls costs, on the average."""
    cpu, wall = time.thread_time(), time.perf_counter()
    for call in calls:
        call()
    cpu, wall = time.thread_time() - cpu, time.perf_counter() - wall
    return Cost(cpu / len(calls) * 1e6, wall / len(calls) * 1e6, 0.0)


def verbs(scaled: ScaledModel) -> Iterator[tuple[str, Cost]]:
    """Each verb, and what it costs now; what one makes the next takes away."""
    model, bound, places = scaled.model, scaled.shape.controllers, scaled.places()
    new = [place.child(f"new{number}") for number, place in enumerate(places)]
    if scaled.shape.path is broad:
        new = [scaled.at(1).child(f"new{number}") for number in range(len(places))]

    def write(file: str, text: str, places: Sequence[Place] = places) -> Cost:
        return timed([partial(model.write, place, file, text) for place in places])

    def read(file: str, places: Sequence[Place] = places) -> Cost:
        return timed([partial(model.read, place, file) for place in places])

    yield "make a container", timed([partial(model.make, place) for place in new])
    if "cpuset" in bound:
        yield "write cpuset.cpus of it", write("cpuset.cpus", "0-255", new)
    yield "remove it", timed([partial(model.remove, place) for place in new])
    if "cpuset" in bound:
        yield "read cpuset.cpus", read("cpuset.cpus")
    if "pids" in bound:
        yield "read pids.current", read("pids.current")
        yield "write pids.max", write("pids.max", "1000000")
        yield "write freezer.state", write("freezer.state", "THAWED")
        yield "read cpuacct.usage of the root", read("cpuacct.usage", [Place(scaled.shape.tree)])
    if tasks := scaled.tasks():
        yield from _with_tasks(model, places, tasks)


def _with_tasks(
    model: Model, places: Sequence[Place], tasks: Sequence[int]
) -> Iterator[tuple[str, Cost]]:
    forked: list[int] = []
    yield "read tasks", timed([partial(model.read, place, "tasks") for place in places])
    yield "find the container of a task", timed([partial(model.membership, task) for task in tasks])
    moves = zip(places, map(str, tasks), strict=True)
    attach = [partial(model.write, place, "cgroup.procs", task) for place, task in moves]
    yield "attach a process", timed(attach)
    yield "work", timed([partial(model.simulator.work, task, 1000) for task in tasks])
    fork = [partial(lambda task: forked.append(model.simulator.fork(task)), task) for task in tasks]
    yield "fork", timed(fork)
    yield "exit", timed([partial(model.simulator.exit, task) for task in forked])


def measured(scaled: ScaledModel) -> dict[str, Cost]:
    """Each verb, and what it costs now."""
    return dict(verbs(scaled))


def rows(bench: Bench) -> Iterator[Row]:
    """The verbs of models of each shape; the models take turns."""
    for shape in SHAPES:
        table = f"{TABLE}: {shape.name}"
        models = {size: ScaledModel(shape, size) for size in bench.sizes.model}
        gc.freeze()  # the models are no garbage: looking for some in them takes time
        trials = {size: partial(measured, scaled) for size, scaled in models.items()}
        found = bench.in_turns(table, trials, bench.sizes.rounds)
        for verb in found[next(iter(found))][0]:
            for size, costs in found.items():
                yield row(table, verb, size, "model", [one[verb] for one in costs], each=True)
        del models, trials
        gc.unfreeze()
