"""python -m benchmarks.first_act: how soon a command that races with a fork storm begins to act.

From the start of the process to its first write to a file of a container: the freezer's state
changes, the target has a task, or processes of the source end. `attach --tree` moves a process
beside the storm. 400 lineages leave little of the CPUs for the start of a command that has the
usual priority. The program that looks on has the highest one; the command is started with the usual
one, except for `nice pcont move`, which begins with `nice -n -20`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks.kernel import begin, shown, sleepers, trees
from benchmarks.measure import in_turns, spread, tell
from benchmarks.storm import SOURCE, TARGET, cgclassify, pcont_move
from benchmarks.tables import print_table
from tests.stress import Storm
from tests.stress.measure import attach_tree, rm_kill
from tests.stress.trees import SeparateTrees

TREES: Sequence[tuple[Sequence[str], int]] = ((("freezer", "cpuacct"), 1), (("cpuacct",), 2))
HEAD = ("trees", "lineages", "command", "runs", "median", "quartiles", "longest")
HIGHEST, USUAL = -20, 0
PAUSE, LIMIT = 0.0005, 60.0
GONE = 0.75  # of the processes of the source: fewer are alive once a command has killed some

Command = Callable[[SeparateTrees, int], Sequence[str]]
COMMANDS: Mapping[str, Command] = {
    "pcont move": lambda place, pid: pcont_move(place),
    "nice pcont move": lambda place, pid: ["nice", "-n", str(HIGHEST), *pcont_move(place)],
    "pcont attach --tree": lambda place, pid: attach_tree(place, TARGET, pid),
    "pcont rm --kill": lambda place, pid: rm_kill(place, SOURCE),
    "cgclassify": lambda place, pid: cgclassify(place),
}


def first_act(place: SeparateTrees, width: int, command: Command) -> float:
    """Seconds from the start of a command to its first act."""
    with sleepers(1) as (beside,), place.load(Storm(width), SOURCE) as storm:
        words = command(place, beside)
        with at_priority(HIGHEST):
            began = time.monotonic()
            usual = ["nice", "-n", str(USUAL - HIGHEST), *words]
            process = subprocess.Popen(usual, stdout=subprocess.DEVNULL)
            while not has_begun(place, width):
                if process.poll() is not None or time.monotonic() > began + LIMIT:
                    raise RuntimeError(f"{' '.join(words)} has not done anything")
                time.sleep(PAUSE)
            seconds = time.monotonic() - began
        storm.end()
        process.wait()
    place.ok("create", "-p", *map(place.at, (SOURCE, TARGET)))
    return seconds


def has_begun(place: SeparateTrees, width: int) -> bool:
    """Return whether a command has changed something."""
    try:
        for tree in place.trees:
            if Path(place.folder(tree, TARGET), "tasks").read_bytes():
                return True
        source = place.folder(place.trees[0], SOURCE)
        if "freezer" in place.controllers:
            return Path(source, "freezer.state").read_text() != "THAWED\n"
        return len(Path(source, "cgroup.procs").read_bytes().split()) < width * GONE
    except FileNotFoundError:
        return True


@contextmanager
def at_priority(priority: int) -> Iterator[None]:
    """Give this process a priority for the block."""
    os.setpriority(os.PRIO_PROCESS, 0, priority)
    try:
        yield
    finally:
        os.setpriority(os.PRIO_PROCESS, 0, USUAL)


def rows(runs: int, width: int, names: Sequence[str]) -> Iterator[list[object]]:
    """The rows of all trees."""
    for controllers, named in TREES:
        with trees(controllers, named) as place:
            trials = {name: partial(first_act, place, width, COMMANDS[name]) for name in names}
            for name, found in in_turns(trials, runs, shown(place)).items():
                own = spread(found)
                quartiles = f"{own.low:.2f}–{own.high:.2f} s"
                row = [f"{own.median:.2f} s", quartiles, f"{own.most:.2f} s"]
                yield [shown(place), width, name, len(found), *row]
                tell(f"{name}: {row}")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.first_act")
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--width", type=int, default=400, help="lineages (%(default)s)")
    parser.add_argument("commands", nargs="*", default=[*COMMANDS], help=", ".join(COMMANDS))
    options = parser.parse_args()
    begin()
    found = rows(options.runs, options.width, options.commands)
    print_table("The first act under a fork storm", HEAD, found)


if __name__ == "__main__":
    main()
