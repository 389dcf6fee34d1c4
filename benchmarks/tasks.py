"""What many tasks cost: attach processes, attach a process of many threads, move them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from benchmarks import peers
from benchmarks.kernel import Tree, containers, sleepers
from benchmarks.many import PYTHON, C, Contenders, around
from benchmarks.measure import Contender, c_loop, python_loop
from benchmarks.results import Bench, Row
from benchmarks.startup import PCONT

TABLE = "many tasks"
CONTROLLERS = ("pids", "freezer", "devices")
EVERYWHERE = {"cpuset.cpus": "0", "cpuset.mems": "0"}
PROCESSES, THREADS = "processes", "threads"

Make = Callable[[int], Contenders]


def rows(bench: Bench) -> Iterator[Row]:
    """Attach and move so many processes, and one process of so many threads."""
    with containers(*CONTROLLERS, "cpuset") as (*trees, cpuset), sleepers(1) as one:
        cpuset.write("", EVERYWHERE)
        for tree in (trees[0], cpuset):
            for name in ("/from", "/to"):
                os.mkdir(f"{tree.directory}{name}")
        for name in ("/from", "/to"):
            cpuset.write(name, EVERYWHERE)
        for kind, sizes in ((PROCESSES, bench.sizes.processes), (THREADS, bench.sizes.threads)):
            for items in sizes:
                with sleepers(*((items, 1) if kind == PROCESSES else (1, items))) as pids:
                    for what, make in measured(kind, trees, cpuset, one, pids).items():
                        yield from bench.beyond_the_first(TABLE, what, items, make)


def measured(
    kind: str, trees: Sequence[Tree], cpuset: Tree, one: Sequence[int], pids: Sequence[int]
) -> Mapping[str, Make]:
    """What is measured with these processes; `one` is the process of the first item."""

    def attached(used: Sequence[Tree], number: int) -> Contenders:
        return attach(used, cpuset, one if number == 1 else pids, number)

    def moved(number: int) -> Contenders:
        return move(trees[0], cpuset, one if number == 1 else pids)

    return {
        f"attach {kind}, one tree": partial(attached, trees[:1]),
        f"attach {kind}, three trees": partial(attached, trees),
        f"move {kind}": moved,
    }


def attach(trees: Sequence[Tree], cpuset: Tree, pids: Sequence[int], number: int) -> Contenders:
    """Attach processes with so many tasks to a container in each hierarchy, from the roots."""
    words = list(map(str, pids))
    files = [f"{tree.directory}/cgroup.procs" for tree in trees]
    selector = ",".join(tree.controller for tree in trees)
    found = {
        C: Contender(c_loop("attach", *files), "\n".join(words)),
        PYTHON: Contender(python_loop("attach", *files), "\n".join(words)),
        "pcont": Contender([*PCONT, "attach", f"{selector}:{trees[0].path}", *words]),
        **peers.attach(trees, cpuset, pids, number),
    }
    return around(found, before=partial(peers.put, [tree.root for tree in trees], pids))


def move(tree: Tree, cpuset: Tree, pids: Sequence[int]) -> Contenders:
    """Move all tasks of a container to another one."""
    files = [f"{tree.directory}/{name}/tasks" for name in ("from", "to")]
    found = {
        C: Contender(c_loop("move", *files)),
        PYTHON: Contender(python_loop("move", *files)),
        "pcont": Contender([*PCONT, "move", f"{tree.place}/from", f"{tree.place}/to"]),
        **peers.move(cpuset, pids),
    }
    return around(found, before=partial(peers.put, [f"{tree.directory}/from"], pids))
