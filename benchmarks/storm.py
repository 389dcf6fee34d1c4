"""python -m benchmarks.storm: containers full of processes that live for 2 ms are emptied.

By `pcont move`, and by `cgclassify` with the processes that are listed in the container, in turns;
each trial has a storm of its own. 400 lineages leave little of the CPUs for the start of a command:
--nice -20 measures without that.
"""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from benchmarks import peers
from benchmarks.kernel import shown, trees
from benchmarks.measure import in_turns, median
from benchmarks.tables import print_table, seconds, statuses
from tests.stress import Storm
from tests.stress.measure import PCONT, Outcome, nothing, watched
from tests.stress.trees import Census, SeparateTrees

TREES: Sequence[tuple[Sequence[str], int]] = ((("freezer", "cpuacct"), 1), (("cpuacct",), 2))
SOURCE, TARGET = "/a", "/b"
HEAD = (
    *("trees", "lineages", "command", "moves", "exit status", "complete", "back as a whole"),
    *("left behind", "split", "ended", "median time", "of it moving"),
)


@dataclass(frozen=True)
class Trial:
    """One move: how the command ended, where the lineages were then, and whether all went on."""

    outcome: Outcome
    census: Census
    goes_on: bool


def pcont_move(place: SeparateTrees) -> list[str]:
    return [*PCONT, "--json", "move", place.at(SOURCE), place.at(TARGET)]


def cgclassify(place: SeparateTrees) -> list[str]:
    """The processes that are listed in one of the trees, into the target of each."""
    groups = [f"-g {tree}:{path}" for tree, path in place.paths(TARGET).items()]
    listed = shlex.quote(str(place.folder(place.trees[0], SOURCE) / "cgroup.procs"))
    return ["sh", "-c", f"exec cgclassify {' '.join(groups)} $(cat {listed})"]


COMMANDS: dict[str, Callable[[SeparateTrees], list[str]]] = {
    "pcont move": pcont_move,
    "cgclassify": cgclassify,
}


def trial(place: SeparateTrees, width: int, nice: int, command: Sequence[str]) -> Trial:
    with place.load(Storm(width), SOURCE) as storm:
        outcome = watched(["nice", "-n", str(nice), *command], nothing)
        census = place.census(storm.paths(), SOURCE, TARGET)
        return Trial(outcome, census, storm.goes_on())


def measured(place: SeparateTrees, width: int, moves: int, nice: int) -> Iterator[list[object]]:
    """The rows of one load."""
    trials = {
        name: partial(trial, place, width, nice, command(place))
        for name, command in COMMANDS.items()
    }
    found = in_turns(trials, moves, f"{shown(place)}, {width} lineages")
    for name, own in found.items():
        yield [shown(place), width, name, *row(own, width, found["cgclassify"])]


def row(found: Sequence[Trial], width: int, beside: Sequence[Trial]) -> list[object]:
    counts = [one.census for one in found]
    return [
        len(found),
        statuses(one.outcome.status for one in found),
        sum(one.arrived == width for one in counts),
        sum(one.left == width for one in counts),
        f"{sum(one.left for one in counts)} of {width * len(found)}",
        sum(one.split for one in counts),
        sum(one.ended for one in counts) + sum(not one.goes_on for one in found),
        seconds((one.outcome.seconds for one in found), (one.outcome.seconds for one in beside)),
        moving([one.outcome.out for one in found if one.outcome.out]),
    ]


def moving(found: Sequence[str]) -> str:
    """The median of what pcont says itself: without its start."""
    own = [float(json.loads(out)["result"]["seconds"]) for out in found]
    return f"{median(own):.2f} s" if own else ""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.storm")
    parser.add_argument("--moves", type=int, default=100)
    parser.add_argument("--width", type=int, action="append", help="40 and 400")
    parser.add_argument("--nice", type=int, default=0, help="of the commands (%(default)s)")
    options = parser.parse_args()
    peers.begin()
    print_table("Moving a fork storm", HEAD, all_rows(options))


def all_rows(options: argparse.Namespace) -> Iterator[list[object]]:
    for controllers, named in TREES:
        with trees(controllers, named) as place:
            for width in options.width or (40, 400):
                yield from measured(place, width, options.moves, options.nice)


if __name__ == "__main__":
    main()
