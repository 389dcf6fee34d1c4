"""python -m benchmarks.binding: a subsystem is bound to a hierarchy in use, and unbound from it.

1,000 containers hold 2,000 lineages, each of which notes the longest time between two of its turns:
what a task felt of it. The same is noted while nothing is done, for as long.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import bound, median, ok, prepare, print_table, statuses, tell
from pcont.backend_cgroupfs import Cgroupfs
from pcont.kernel.types import Place
from tests.stress import Beats, running
from tests.stress.measure import PCONT, nothing, watched

HEAD = ("command", "times", "exit status", "containers", "tasks", "time", "longest pause")
HOME, BOUND = "cpuacct", ("pids", "cpuset", "freezer")
TURN_MS, TURNS = 100, 10
SETTLING = 3.0


@dataclass(frozen=True)
class Trial:
    """The result of a command: status, duration, and the longest pause of a task during it."""

    status: int
    seconds: float
    pause: float


@contextmanager
def hierarchy(containers: int) -> Iterator[str]:
    """A tied hierarchy of this process, with so many containers that are called by a number."""
    name = f"bench{os.getpid()}"
    with ExitStack() as stack:
        for controller in {HOME, *BOUND} - bound():
            ok("mount", "-o", controller)
            stack.callback(ok, "umount", controller)
        ok("mount", "--tie", "--no-freezer", "--name", name, "-o", HOME, "--at", f"/{name}")
        stack.callback(ok, "umount", name)
        places = [f"{name}:/{number}" for number in range(containers)]
        ok("create", *places)
        stack.callback(ok, "rm", *places)
        yield name


def spread(load: Beats, name: str, containers: int) -> None:
    """Start the lineages, the same number in each container."""
    kernel = Cgroupfs()
    with load.held():
        load.go()
        for number, pid in enumerate(load.pids()):
            path = f"/{number % containers}"
            for place in (Place(f"name={name}", path), Place(HOME, f"/{name}{path}")):
                Path(kernel.show(place, "cgroup.procs")).write_text(str(pid))


def measured(name: str, load: Beats, times: int) -> Iterator[tuple[str, Trial]]:
    commands = {
        "bind": ["bind", name, ",".join(BOUND), "-i"],
        "unbind": ["unbind", name, ",".join(BOUND), "--yes"],
    }
    for number in range(times):
        for verb, words in commands.items():
            done = trial(load, [*PCONT, *words])
            yield f"pcont {verb}", done
            yield f"sleep, as long as {verb}", trial(load, ["sleep", f"{done.seconds:f}"])
        tell(f"{number + 1} of {times}")


def trial(load: Beats, words: Sequence[str]) -> Trial:
    load.forget()
    outcome = watched(words, nothing)
    if outcome.status:
        tell(outcome.err)
    # A pause that is not over yet shows at the next turn.
    time.sleep(SETTLING * TURN_MS / 1000)
    return Trial(outcome.status, outcome.seconds, load.longest())


def row(name: str, found: Sequence[Trial], containers: int, tasks: int) -> list[object]:
    return [
        *(name, len(found), statuses(one.status for one in found), containers, tasks),
        f"{median(one.seconds for one in found):.2f} s",
        f"{max(one.pause for one in found) * 1000:.0f} ms",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.binding")
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--containers", type=int, default=1000)
    parser.add_argument("--tasks", type=int, default=2000)
    options = parser.parse_args()
    prepare()
    trials: dict[str, list[Trial]] = {}
    with (
        hierarchy(options.containers) as name,
        running(Beats(options.tasks, TURN_MS, TURNS)) as load,
    ):
        spread(load, name, options.containers)
        for command, done in measured(name, load, options.times):
            trials.setdefault(command, []).append(done)
    rows = [row(*item, options.containers, options.tasks) for item in trials.items()]
    print_table(
        f"Binding {', '.join(BOUND)} to a hierarchy in use, tasks wake every {TURN_MS} ms",
        HEAD,
        rows,
    )


if __name__ == "__main__":
    main()
