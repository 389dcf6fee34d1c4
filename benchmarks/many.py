"""Measure what many containers or tasks cost, beside bare loops of system calls in Python.

Every contender is a process of its own, and each round runs all of them once, so that all meet the
same load. A cost is the CPU time (user and system) of the process beyond that of the same process
with one item, for each item. The table has medians, their ratio to the bare loop, and the memory
of pcont for each item.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from benchmarks import ok, prepare, print_table, tell
from benchmarks.startup import PCONT

HEAD = ("what", "items", "contender", "µs for each", "quartiles", "× bare loop", "KiB for each")
# A loop reads one name a line, and does the work on each; what it imports is loaded before.
LOOP = "import os, sys\nnames = sys.stdin.read().splitlines()\n"
CREATE = (
    LOOP
    + """
for name in names:
    os.mkdir(name)
    for file, text in (("notify_on_release", b"1"), ("pids.max", b"100")):
        descriptor = os.open(f"{name}/{file}", os.O_WRONLY)
        os.write(descriptor, text)
        os.close(descriptor)
"""
)
REMOVE = LOOP + "\nfor name in names:\n    os.rmdir(name)\n"
ATTACH = (
    LOOP
    + """
*files, pids = (line.split() for line in names)
for pid in pids:
    for (file,) in files:
        descriptor = os.open(file, os.O_WRONLY)
        os.write(descriptor, pid.encode())
        os.close(descriptor)
"""
)
MOVE = (
    LOOP
    + """
for line in names:
    source, target = line.split()
    listed = os.open(source, os.O_RDONLY)
    tasks = b""
    while more := os.read(listed, 65536):
        tasks += more
    descriptor = os.open(target, os.O_WRONLY)
    for task in tasks.split():
        os.write(descriptor, task)
"""
)
WALK = (
    LOOP
    + """
def read(file):
    descriptor = os.open(file, os.O_RDONLY)
    found = os.read(descriptor, 65536)
    os.close(descriptor)
    return found

while names:
    name = names.pop()
    print(name, len(read(f"{name}/tasks").split()), read(f"{name}/pids.max"))
    if os.stat(name).st_nlink > 2:
        with os.scandir(name) as found:
            names += [one.path for one in found if one.is_dir(follow_symlinks=False)]
"""
)
SLEEPERS = """
import os, sys, threading, time
processes, threads = int(sys.argv[1]), int(sys.argv[2])
threading.stack_size(65536)
for _ in range(threads - 1):
    threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
found = [os.getpid()]
for _ in range(processes - 1):
    child = os.fork()
    if not child:
        time.sleep(3600)
    found.append(child)
print(*found, flush=True)
sys.stdin.read()
for child in found[1:]:
    os.kill(child, 9)
os._exit(0)
"""


@dataclass(frozen=True)
class Cost:
    """What a process has used: CPU time in microseconds, and the most memory, in KiB."""

    cpu: float
    memory: float


@dataclass
class Contender:
    """A command line with its input; `before` and `after` are done outside of the measurement."""

    words: Sequence[str]
    given: str = ""
    before: Callable[[], object] = lambda: None
    after: Callable[[], object] = lambda: None


@dataclass
class Costs:
    """The costs of one contender, in all rounds."""

    found: list[Cost] = field(default_factory=list)

    @property
    def cpu(self) -> float:
        return statistics.median(one.cpu for one in self.found)

    @property
    def memory(self) -> float:
        return statistics.median(one.memory for one in self.found)


def cost(contender: Contender) -> Cost:
    """Run a contender. Raises CalledProcessError if it fails."""
    contender.before()
    with subprocess.Popen(
        contender.words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdin
        process.stdin.write(contender.given)
        process.stdin.close()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, contender.words)
    contender.after()
    return Cost((used.ru_utime + used.ru_stime) * 1e6, used.ru_maxrss)


def python(source: str, *lines: str) -> Contender:
    """A bare loop in Python."""
    return Contender([sys.executable, "-ISc", source], "\n".join(lines))


class Tree:
    """A container of this process in the hierarchy of one controller."""

    def __init__(self, controller: str) -> None:
        self.controller = controller
        self.place = f"{controller}:/bench{os.getpid()}"
        self.directory = f"/sys/fs/cgroup/{controller}/bench{os.getpid()}"

    def names(self, number: int) -> list[str]:
        return [f"{self.directory}/c{one}" for one in range(number)]

    def places(self, number: int) -> list[str]:
        return [f"{self.place}/c{one}" for one in range(number)]

    def make(self, number: int) -> None:
        for name in self.names(number):
            os.mkdir(name)

    def remove(self) -> None:
        for name in Path(self.directory).iterdir():
            if name.is_dir():
                name.rmdir()


@contextmanager
def trees(*controllers: str) -> Iterator[list[Tree]]:
    """A container in each hierarchy, which is removed in the end."""
    with ExitStack() as stack:
        found = []
        for controller in controllers:
            found.append(Tree(controller))
            ok("create", found[-1].place)
            stack.callback(ok, "rm", "-r", "--kill", found[-1].place)
        yield found


@contextmanager
def sleepers(processes: int, threads: int = 1) -> Iterator[list[int]]:
    """So many processes; the first of them has so many threads."""
    words = [sys.executable, "-ISc", SLEEPERS, str(processes), str(threads)]
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin
        assert process.stdout
        try:
            yield list(map(int, process.stdout.readline().split()))
        finally:
            process.stdin.close()
            process.wait()


Contenders = dict[str, Contender]


def create(tree: Tree, number: int) -> Contenders:
    """Create containers with two values each."""
    values = ["-s", "notify_on_release=1", "-s", "pids.max=100"]
    found = {
        "bare loop": python(CREATE, *tree.names(number)),
        "pcont create": Contender([*PCONT, "create", *tree.places(number), *values]),
    }
    if shutil.which("cgcreate"):
        words = [f"-gpids:{tree.place.partition('/')[2]}/c{one}" for one in range(number)]
        both = 'cgcreate "$@" && cgset -r notify_on_release=1 -r pids.max=100 "${@#-gpids:}"'
        found["cgcreate and cgset"] = Contender(["bash", "-c", both, "bash", *words])
    for one in found.values():
        one.after = tree.remove
    return found


def remove(tree: Tree, number: int) -> Contenders:
    """Remove a container with all below it."""

    def before() -> None:
        Path(tree.directory, "top").mkdir()
        for one in range(number):
            Path(tree.directory, "top", f"c{one}").mkdir()

    top = f"{tree.directory}/top"
    found = {
        "bare loop": python(REMOVE, *(f"{top}/c{one}" for one in range(number)), top),
        "pcont rm -r": Contender([*PCONT, "rm", "-r", f"{tree.place}/top"]),
    }
    if shutil.which("cgdelete"):
        group = f"pids:{tree.place.partition('/')[2]}/top"
        found["cgdelete -r"] = Contender(["cgdelete", "-r", "-g", group])
    for one in found.values():
        one.before = before
    return found


def show(tree: Tree, number: int) -> Contenders:
    """Show a container with all below it."""
    found = {
        "bare walk": python(WALK, tree.directory),
        "pcont tree": Contender([*PCONT, "tree", tree.place]),
    }
    for one in found.values():
        one.before, one.after = lambda: tree.make(number), tree.remove
    return found


def entered(found: Contenders, roots: Sequence[str], pids: Sequence[int]) -> Contenders:
    """Contenders that move processes away, which are put back before each of them."""

    def before() -> None:
        for root in roots:
            for pid in pids:
                Path(root, "cgroup.procs").write_text(str(pid))

    for one in found.values():
        one.before = before
    return found


def attach(all_trees: Sequence[Tree], pids: Sequence[int]) -> Contenders:
    """Attach processes to a container in each hierarchy."""
    words = list(map(str, pids))
    selector = ",".join(tree.controller for tree in all_trees)
    path = all_trees[0].place.partition(":")[2]
    files = [f"{tree.directory}/cgroup.procs" for tree in all_trees]
    found = {
        "bare loop": python(ATTACH, *files, " ".join(words)),
        "pcont attach": Contender([*PCONT, "attach", f"{selector}:{path}", *words]),
    }
    if shutil.which("cgclassify"):
        groups = [word for tree in all_trees for word in ("-g", f"{tree.controller}:{path}")]
        found["cgclassify"] = Contender(["cgclassify", *groups, *words])
    return entered(found, [str(Path(tree.directory).parent) for tree in all_trees], pids)


def move(tree: Tree, pids: Sequence[int]) -> Contenders:
    """Move all tasks of a container to another one."""
    for name in ("from", "to"):
        Path(tree.directory, name).mkdir(exist_ok=True)
    line = f"{tree.directory}/from/tasks {tree.directory}/to/tasks"
    found = {
        "bare loop": python(MOVE, line),
        "pcont move": Contender([*PCONT, "move", f"{tree.place}/from", f"{tree.place}/to"]),
    }
    return entered(found, [f"{tree.directory}/from"], pids)


def compared(make: Callable[[int], Contenders], number: int, rounds: int) -> dict[str, Costs]:
    """Run every contender in each round, with `number` items and with one."""
    all_costs: dict[str, Costs] = {}
    for turn in range(rounds):
        single = {name: cost(one) for name, one in make(1).items()}
        for name, one in make(number).items():
            many = cost(one)
            found = all_costs.setdefault(name, Costs()).found
            found.append(
                Cost(
                    (many.cpu - single[name].cpu) / (number - 1),
                    (many.memory - single[name].memory) / (number - 1),
                )
            )
        tell(f"{turn + 1} of {rounds}")
    return all_costs


def rows(what: str, number: int, found: dict[str, Costs]) -> Iterator[list[object]]:
    """One row for each contender; the first of them is the bare loop."""
    bare = next(iter(found.values())).cpu
    for name, costs in found.items():
        cpu = [one.cpu for one in costs.found]
        quartiles = statistics.quantiles(cpu, n=4) if len(cpu) > 1 else [cpu[0]] * 3
        yield [
            what,
            f"{number:,}",
            name,
            f"{costs.cpu:.1f}",
            f"{quartiles[0]:.1f}–{quartiles[2]:.1f}",
            f"{costs.cpu / bare:.1f}",
            f"{costs.memory:.2f}",
        ]


def all_rows(sizes: Sequence[int], rounds: int) -> Iterator[list[object]]:
    for number in sizes:
        with trees("pids") as (tree,):
            for what in (create, remove, show):
                tell(f"{what.__name__} {number}")
                found = compared(partial(what, tree), number, rounds)
                yield from rows(what.__name__, number, found)
    for number in (size for size in sizes if size <= 1000):
        for kind in ("processes", "threads"):
            tell(f"{kind} {number}")
            yield from moving(kind, number, rounds)


def moving(kind: str, number: int, rounds: int) -> Iterator[list[object]]:
    """Processes or threads that are attached, in one tree and in three, and moved in one."""
    counts = (number, 1) if kind == "processes" else (1, number)
    with ExitStack() as stack:
        all_trees = stack.enter_context(trees("pids", "freezer", "devices"))
        one = stack.enter_context(sleepers(1))
        many = stack.enter_context(sleepers(*counts))

        def attached(used: Sequence[Tree], count: int) -> Contenders:
            return attach(used, many if count > 1 else one)

        def moved(tree: Tree, count: int) -> Contenders:
            return move(tree, many if count > 1 else one)

        for what, make in (
            (f"attach {kind}, 1 tree", partial(attached, all_trees[:1])),
            (f"attach {kind}, 3 trees", partial(attached, all_trees)),
            (f"move {kind}, 1 tree", partial(moved, all_trees[0])),
        ):
            yield from rows(what, number, compared(make, number, rounds))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--rounds", type=int, default=5, help="(%(default)s)")
    options = parser.parse_args()
    prepare()
    print_table("Many at once", HEAD, all_rows(options.sizes, options.rounds))


if __name__ == "__main__":
    main()
