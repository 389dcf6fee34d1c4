"""python -m benchmarks.state: what a command costs on a model in a file, while the model grows.

The states have different numbers of containers, and beside them the same small part, which the
commands use. The commands take turns. `ps` lists played tasks. No root is needed.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks import print_table, tell
from benchmarks.scale import deep
from benchmarks.startup import MODEL, PYTHON
from pcont.backend_model import StoredModel
from pcont.kernel.types import Place, TreeRequest

SIZES = (100, 100_000)
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
PS = "ps jobs:/crowd"
Cost = tuple[float, float]  # milliseconds of CPU, MiB


def build(file: Path, size: int, tasks: int = 0) -> None:
    """Write a state with so many containers, and the small part."""
    model = StoredModel(str(file))
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


def build_apart(file: Path, size: int, tasks: int = 0) -> None:
    """The same in a process of its own: a command begins with the memory of its parent."""
    process = multiprocessing.get_context("spawn").Process(target=build, args=(file, size, tasks))
    process.start()
    process.join()


def cost(words: Sequence[str]) -> Cost:
    """Run a command line; what it took."""
    with subprocess.Popen(words, stdout=subprocess.DEVNULL) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(words)}: exit {process.returncode}")
    return (used.ru_utime + used.ru_stime) * 1000, used.ru_maxrss / 1024


def middle(costs: Sequence[Cost]) -> Cost:
    """The medians of several runs."""
    return statistics.median(cpu for cpu, _ in costs), statistics.median(peak for _, peak in costs)


def rows(files: Sequence[Path], rounds: int) -> Iterator[list[str]]:
    """Each command: what it costs with each state, and how many times that of the first."""
    lines = {name: words.format(pid=os.getpid()).split() for name, words in COMMANDS.items()}
    found: dict[str, list[list[Cost]]] = {name: [[] for _ in files] for name in lines}
    plain = [cost([*PYTHON, "-c", "pass"]) for _ in range(rounds)]
    for number in range(rounds):
        for name, words in lines.items():
            for order, file in enumerate(files):
                found[name][order].append(cost([*MODEL, str(file), *words]))
        tell(f"{number + 1} of {rounds}")
    yield ["python -c pass", *[_shown(middle(plain))] * len(files), ""]
    for name, costs in found.items():
        medians = [middle(one) for one in costs]
        yield [name, *map(_shown, medians), f"× {medians[-1][0] / medians[0][0]:.2f}"]


def _shown(found: Cost) -> str:
    return f"{found[0]:.0f} ms, {found[1]:.0f} MiB"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="containers")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--tasks", type=int, nargs="+", default=(1_000, 10_000, 100_000))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, f"{size}.json") for size in options.sizes]
        for file, size in zip(files, options.sizes, strict=True):
            build_apart(file, size)
        head = [f"{size:,} containers" for size in options.sizes]
        print_table("A model in a file", ["", *head, ""], rows(files, options.rounds))
        listed = []
        for tasks in options.tasks:
            build_apart(Path(folder, "tasks.json"), 10, tasks)
            words = [*MODEL, str(Path(folder, "tasks.json")), *PS.split()]
            took = middle([cost(words) for _ in range(3)])
            listed.append([f"{tasks:,}", _shown(took), f"{took[0] / tasks * 1000:.0f} µs"])
            os.unlink(Path(folder, "tasks.json"))
        print_table("ps of played tasks", ["tasks", "", "for each"], listed)


if __name__ == "__main__":
    main()
