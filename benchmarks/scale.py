"""python -m benchmarks.scale: what the verbs of the model cost while it grows.

Models of several sizes stand side by side in one process, and take turns: rows are medians of
several rounds. The tasks are played ones. No root is needed.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain

from benchmarks import print_table, tell
from pcont.backend_model import Model
from pcont.kernel.types import Place, TreeRequest
from pcont.linux.proc import Proc
from pcont.model.tasks import FIRST_SIMULATED_ID
from pcont.tables.rules import Machine

ALL = ("cpuset", "cpuacct", "freezer", "pids")
MACHINE = Machine(frozenset(range(512)), frozenset(range(8)), cpu_limit=512)
SIZES = (1_000, 10_000, 100_000)
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


@dataclass(frozen=True)
class Shape:
    """How containers are arranged, what is bound, and how many tasks are in each.

    `calls`: of a verb in a row.
    """

    name: str
    path: Paths
    controllers: tuple[str, ...] = ALL
    tasks: int = 10
    calls: int = 100

    @property
    def tree(self) -> str:
        return ",".join(self.controllers)


# The rules of cpuset ask each sibling, as the kernel's do: to fill such a tree is quadratic.
SHAPES = (
    Shape("ten containers below each container", deep),
    Shape("all containers below one", broad, ALL[1:]),
    Shape("empty cpusets, all below one container", broad, ALL[:1], tasks=0, calls=5),
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


def timed(calls: Sequence[Callable[[], object]]) -> float:
    """Microseconds of the CPU for one of these calls, on the average."""
    began = time.thread_time()
    for call in calls:
        call()
    return (time.thread_time() - began) / len(calls) * 1e6


def verbs(scaled: ScaledModel) -> Iterator[tuple[str, float]]:
    """Each verb, and what it costs now; what one makes the next takes away."""
    model, bound, places = scaled.model, scaled.shape.controllers, scaled.places()
    new = [place.child(f"new{number}") for number, place in enumerate(places)]
    if scaled.shape.path is broad:
        new = [scaled.at(1).child(f"new{number}") for number in range(len(places))]

    def write(file: str, text: str, places: Sequence[Place] = places) -> float:
        return timed([partial(model.write, place, file, text) for place in places])

    def read(file: str, places: Sequence[Place] = places) -> float:
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
) -> Iterator[tuple[str, float]]:
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


def rows(all_scaled: Sequence[ScaledModel], rounds: int) -> Iterator[list[object]]:
    """The median of each verb in each model, and how many times that of the first model it is."""
    found: dict[str, list[list[float]]] = {}
    for number in range(rounds):
        for order, scaled in enumerate(all_scaled):
            for verb, cost in verbs(scaled):
                found.setdefault(verb, [[] for _ in all_scaled])[order].append(cost)
        tell(f"{number + 1} of {rounds}")
    for verb, costs in found.items():
        medians = [statistics.median(one) for one in costs]
        yield [verb, *(f"{one:.0f} µs (× {one / medians[0]:.1f})" for one in medians)]


def built(shape: Shape, size: int) -> tuple[float, float]:
    """Seconds and MiB that a process takes to build a model, itself included."""
    began = time.thread_time()
    ScaledModel(shape, size)
    lines = Proc().text("self/status").splitlines()
    peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    return time.thread_time() - began, peak / 1024


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="containers")
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    for shape in SHAPES:
        head = [f"{size:,} containers, {size * shape.tasks:,} tasks" for size in options.sizes]
        with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
            costs = [pool.apply(built, (shape, size)) for size in options.sizes]
        first: list[object] = ["build the model"]
        first += [f"{time:.1f} s, {peak:.0f} MiB" for time, peak in costs]
        all_scaled = [ScaledModel(shape, size) for size in options.sizes]
        gc.freeze()  # nothing of it is garbage, and looking for some takes its time now and then
        table = chain([first], rows(all_scaled, options.rounds))
        print_table(f"The model while it grows: {shape.name}", ["", *head], table)
        del all_scaled
        gc.unfreeze()


if __name__ == "__main__":
    main()
