"""What many containers cost: create them, remove them, show them, and commands beside them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from benchmarks import peers
from benchmarks.kernel import Tree, containers, remove_directory, sleepers
from benchmarks.measure import Contender, Cost, Step, c_loop, cost, nothing, python_loop
from benchmarks.results import Bench, Row, row
from benchmarks.startup import PCONT, commands_of_pcont

TABLE, BATCH, BESIDE = "many containers", "batch", "commands beside many containers"
VALUES = ("notify_on_release=1", "pids.max=100")
SETTINGS = [word for value in VALUES for word in ("-s", value)]
C, PYTHON = "C loop", "Python loop"
ONE_COMMAND, BATCH_COMMAND, LIBRARY = "one command", "pcont batch", "batch of the library"
Contenders = dict[str, Contender]


class Pair(NamedTuple):
    """The container of the benchmark in pids, and in cpuset for the tool that knows no other."""

    tree: Tree
    cpuset: Tree


@contextmanager
def pair() -> Iterator[Pair]:
    """Both containers; that of cpuset has a CPU and a memory node."""
    with containers("pids", "cpuset") as (tree, cpuset):
        cpuset.write("", {"cpuset.cpus": "0", "cpuset.mems": "0"})
        yield Pair(tree, cpuset)


def rows(bench: Bench) -> Iterator[Row]:
    """Create, rm -r and tree, for each number of containers."""
    with pair() as places:
        for items in bench.sizes.containers:
            for what, make in CONTENDERS.items():
                yield from bench.beyond_the_first(TABLE, what, items, partial(make, places))


def create(places: Pair, number: int) -> Contenders:
    """Create containers with two values each."""
    tree = places.tree
    names = "\n".join(tree.names(number))
    found = {
        C: Contender(c_loop("create", *VALUES), names),
        PYTHON: Contender(python_loop("create", *VALUES), names),
        "pcont": Contender([*PCONT, "create", *tree.places(number), *SETTINGS]),
        **peers.create(*places, number, VALUES),
    }
    return around(found, after=tree.clear)


def remove(places: Pair, number: int) -> Contenders:
    """Remove a container with all below it."""
    tree = places.tree
    top = f"{tree.directory}/top"
    names = "\n".join([*tree.names(number, "/top"), top])
    found = {
        C: Contender(c_loop("remove"), names),
        PYTHON: Contender(python_loop("remove"), names),
        "pcont": Contender([*PCONT, "rm", "-r", f"{tree.place}/top"]),
        **peers.remove(*places, number),
    }
    return around(found, before=partial(peers.make_below, top, number), after=tree.clear)


def show(places: Pair, number: int) -> Contenders:
    """Show a container with all below it."""
    tree = places.tree

    def before() -> None:
        for name in tree.names(number):
            os.mkdir(name)

    found = {
        C: Contender(c_loop("walk", tree.directory)),
        PYTHON: Contender(python_loop("walk", tree.directory)),
        "pcont": Contender([*PCONT, "tree", tree.place]),
        **peers.show(tree),
    }
    return around(found, before=before, after=tree.clear)


CONTENDERS: Mapping[str, Callable[[Pair, int], Contenders]] = {
    "create with two values": create,
    "rm -r": remove,
    "tree": show,
}


def around(found: Contenders, before: Step = nothing, after: Step = nothing) -> Contenders:
    """The contenders with what comes before and after each of them that has nothing of its own."""
    return {
        name: replace(one, before=before, after=after)
        if one.before is one.after is nothing
        else one
        for name, one in found.items()
    }


def batch(bench: Bench) -> Iterator[Row]:
    """So many lines of `pcont batch`, beside one command with as many places."""
    with containers("pids") as (tree,):
        for items in bench.sizes.containers:
            make = partial(batches, tree)
            yield from bench.beyond_the_first(BATCH, "create with two values", items, make)


def batches(tree: Tree, number: int) -> Contenders:
    """Create containers with two values each, in one command or in one each."""
    places = tree.places(number)
    lines = [f"create {place} {' '.join(SETTINGS)}" for place in places]
    found = {
        ONE_COMMAND: Contender([*PCONT, "create", *places, *SETTINGS]),
        BATCH_COMMAND: Contender([*PCONT, "batch"], "\n".join(lines)),
        LIBRARY: Contender(python_loop("library_batch", *VALUES, packages=True), "\n".join(places)),
    }
    return around(found, after=tree.clear)


def beside(bench: Bench) -> Iterator[Row]:
    """Single commands while the hierarchy has so many other containers; the numbers take turns."""
    with containers("pids") as (tree,), sleepers(1) as (pid,):
        os.mkdir(f"{tree.directory}/a")
        os.mkdir(f"{tree.directory}/others")
        found = commands_of_pcont(tree, pid)
        found["tree"] = Contender([*PCONT, "tree", f"{tree.place}/a"])
        trials = {
            (size, name): partial(_with_others, tree, size, one)
            for size in bench.sizes.beside
            for name, one in found.items()
        }
        costs = bench.in_turns(BESIDE, trials, bench.sizes.rounds, rotate=False)
        for (size, name), own in costs.items():
            yield row(BESIDE, name, size, "pcont", own, each=False)


def _with_others(tree: Tree, number: int, contender: Contender) -> Cost:
    """Run a contender beside so many containers."""
    names = tree.names(number, "/others")
    there = os.stat(f"{tree.directory}/others").st_nlink - 2
    for name in names[there:]:
        os.mkdir(name)
    for one in range(number, there):
        remove_directory(f"{tree.directory}/others/c{one}")
    return cost(contender)
