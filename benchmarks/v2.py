"""What one command costs on cgroup v2, beside the same command on cgroup v1."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pcont
from benchmarks.kernel import Tree, containers, ok, sleepers
from benchmarks.measure import cost, tell
from benchmarks.results import Bench, Row, row
from benchmarks.startup import commands_of_pcont, compile_modules
from pcont.kernel.types import UNIFIED

TABLE = "commands on cgroup v2"
V1, V2 = "cgroup v1", "cgroup v2"
LIMIT, CORE_FILE = "pids.max", "cgroup.max.descendants"


def rows(bench: Bench) -> Iterator[Row]:
    """The commands on a container of v1 and on one of v2, in turns."""
    point = next(
        (one.mountpoint for one in pcont.open().hierarchies() if one.name == UNIFIED), None
    )
    if not point:
        tell("cgroup v2 is not mounted")
        return
    compile_modules()
    file = LIMIT if "pids" in Path(point, "cgroup.controllers").read_text().split() else CORE_FILE
    # Where v2 has pids, v1 has none.
    v1, v1_file = ("freezer", "notify_on_release") if file == LIMIT else ("pids", LIMIT)
    with containers(v1) as (old,), unified(point, file) as new, sleepers(1) as (pid,):
        os.mkdir(f"{old.directory}/a")
        trials = {
            (name, tree): partial(cost, one)
            for tree, found in (
                (V1, commands_of_pcont(old, pid, v1_file)),
                (V2, commands_of_pcont(new, pid, file)),
            )
            for name, one in found.items()
        }
        costs = bench.in_turns(TABLE, trials, bench.sizes.rounds * 3)
    for (name, tree), own in costs.items():
        yield row(TABLE, name, 1, tree, own, each=False)


@contextmanager
def unified(point: str, file: str) -> Iterator[Tree]:
    """A container of cgroup v2 with the container /a, which has the file."""
    tree, root = Tree(UNIFIED, point), Path(point, "cgroup.subtree_control")
    before = root.read_text().split()
    try:
        ok("create", tree.place)
        ok("create", f"{tree.place}/a", "-s", f"{file}=50")
        yield tree
    finally:
        tree.remove()
        for name in set(root.read_text().split()) - set(before):
            root.write_text(f"-{name}")
