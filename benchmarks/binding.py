"""python -m benchmarks.binding: a subsystem is bound to a hierarchy in use, and unbound from it.

1,000 containers hold 2,000 lineages, each of which notes the longest time between two of its turns:
what a task felt of it. The same is noted while nothing is done, for as long.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks import kernel
from benchmarks.kernel import bound, ok
from benchmarks.measure import in_turns, median, tell
from benchmarks.tables import print_table, statuses
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
    cgroupfs = Cgroupfs()
    with load.held():
        load.go()
        for number, pid in enumerate(load.pids()):
            path = f"/{number % containers}"
            for place in (Place(f"name={name}", path), Place(HOME, f"/{name}{path}")):
                Path(cgroupfs.show(place, "cgroup.procs")).write_text(str(pid))


def measured(name: str, load: Beats, times: int) -> dict[str, list[Trial]]:
    """Bind and unbind in turns; after each of them, the same time without pcont."""
    commands = {
        "bind": ["bind", name, ",".join(BOUND), "-i"],
        "unbind": ["unbind", name, ",".join(BOUND), "--yes"],
    }
    last = [0.0]

    def run(words: Sequence[str]) -> Trial:
        done = trial(load, [*PCONT, *words])
        last[:] = [done.seconds]
        return done

    def rest() -> Trial:
        return trial(load, ["sleep", f"{last[0]:f}"])

    trials: dict[str, Callable[[], Trial]] = {}
    for verb, words in commands.items():
        trials[f"pcont {verb}"] = partial(run, words)
        trials[f"sleep, as long as {verb}"] = rest
    return in_turns(trials, times, "bind and unbind", rotate=False)


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
    kernel.begin()
    with (
        hierarchy(options.containers) as name,
        running(Beats(options.tasks, TURN_MS, TURNS)) as load,
    ):
        spread(load, name, options.containers)
        trials = measured(name, load, options.times)
    rows = [row(*item, options.containers, options.tasks) for item in trials.items()]
    print_table(
        f"Binding {', '.join(BOUND)} to a hierarchy in use, tasks wake every {TURN_MS} ms",
        HEAD,
        rows,
    )


if __name__ == "__main__":
    main()
