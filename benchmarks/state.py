"""What a command costs on a model in a file, while the model grows, and ps of simulated tasks.

The states have different numbers of containers, and beside them the same small part, which the
commands use.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.many import PYTHON, C, Contenders
from benchmarks.measure import Contender, c_loop, cost, python_loop, tell
from benchmarks.results import Bench, Row, row
from benchmarks.scale import deep
from benchmarks.startup import PCONT
from pcont.backend_model import StoredModel
from pcont.kernel.types import Place, TreeRequest

TABLE, PS = "model in a file", "many simulated tasks"
CONTROLLERS = ("cpuset", "cpuacct", "freezer", "pids")
COMMANDS = {
    "get": "get jobs:/part/a",
    "get of one value": "get jobs:/part/a pids.max",
    "set": "set jobs:/part/a pids.max=9",
    "create": "create jobs:/part/new",
    "attach": "attach jobs:/part/a {pid}",
    "rm": "rm jobs:/part/new",
    "tree of a part with 4": "tree jobs:/part",
}


def build(file: str, size: int, tasks: int = 0) -> None:
    """Write a state with so many containers, and the small part."""
    model = StoredModel(file)
    with model.exclusive():
        model.make_directory("/cg")
        model.mount(TreeRequest(CONTROLLERS, "jobs"), "/cg", "pcont:1:/cg")
        tree = model.trees()[0].id
        for path in ("/part", *(f"/part/{name}" for name in "abc"), "/crowd"):
            _make(model, Place(tree, path))
        for number in range(1, size + 1):
            _make(model, Place(tree, f"/all{deep(number - 1)}".rstrip("/")))
        if tasks:
            first = model.simulator.spawn()
            model.write(Place(tree, "/crowd"), "tasks", str(first))
            for _ in range(tasks - 1):
                model.simulator.fork(first)


def _make(model: StoredModel, place: Place) -> None:
    model.make(place)
    model.write(place, "cpuset.cpus", "0")
    model.write(place, "cpuset.mems", "0")


def built(bench: Bench, size: int, tasks: int = 0) -> list[str]:
    """The words of a command on such a state, which is built in a process of its own."""
    file = str(Path(bench.folder, f"{size}-{tasks}.json"))
    if not os.path.exists(file):
        tell(f"building a model with {size:,} containers and {tasks:,} tasks")
        spawn = multiprocessing.get_context("spawn")
        process = spawn.Process(target=build, args=(file, size, tasks))
        process.start()
        process.join()
        if process.exitcode:
            raise RuntimeError(f"building {file}: exit {process.exitcode}")
    return [*PCONT, "--backend", "model", "--state", file]


def rows(bench: Bench) -> Iterator[Row]:
    """Each command with each state; the states take turns."""
    models = {size: built(bench, size) for size in bench.sizes.states}
    lines = {name: words.format(pid=os.getpid()).split() for name, words in COMMANDS.items()}
    trials = {
        (name, size): partial(cost, Contender([*model, *words]))
        for name, words in lines.items()
        for size, model in models.items()
    }
    found = bench.in_turns(TABLE, trials, bench.sizes.rounds, rotate=False)
    for name in lines:
        for size in models:
            yield row(TABLE, name, size, "pcont", found[name, size], each=False)


def ps_rows(bench: Bench) -> Iterator[Row]:
    """`ps` of so many simulated tasks, beside loops that print as many lines."""
    for items in bench.sizes.simulated:
        make = partial(listings, bench)
        yield from bench.beyond_the_first(PS, "ps of simulated tasks", items, make)


def listings(bench: Bench, number: int) -> Contenders:
    """List so many tasks, or print so many lines with as many words."""
    text = "\n".join(
        f"{1 << 22 | one} {1 << 22 | one} simulated task-{one}" for one in range(number)
    )
    return {
        C: Contender(c_loop("lines"), text),
        PYTHON: Contender(python_loop("lines"), text),
        "pcont": Contender([*built(bench, 10, number), "ps", "jobs:/crowd"]),
    }
