"""python -m benchmarks.daemons: a server whose children daemonize, 500 a second, is attached.

By `pcont attach --tree`, and by `cgclassify` with the server and what `ps` says descends from it.
Each trial has a server of its own, which the two commands meet in turns.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import count

from benchmarks import peers
from benchmarks.kernel import shown, trees
from benchmarks.measure import in_turns
from benchmarks.tables import print_table, seconds, statuses
from tests.stress.measure import Adoption, adoption, attach_tree
from tests.stress.trees import SeparateTrees

Command = Callable[[SeparateTrees, str, int], list[str]]
TREES: Sequence[tuple[Sequence[str], int]] = ((("freezer", "cpuacct"), 1), (("cpuacct",), 2))
HEAD = (
    *("trees", "children end", "command", "servers", "exit status", "had to come"),
    *("of these older", "lost", "split", "median time"),
)

# A parent comes before its children, as their ids are higher, but where they start again.
DESCENDANTS = """ps -e -o pid= -o ppid= | sort -n |
awk -v root={pid} 'BEGIN {{ ours[root] = 1 }} $2 in ours {{ ours[$1] = 1 }}
END {{ for (pid in ours) print pid }}'"""


def cgclassify(place: SeparateTrees, path: str, pid: int) -> list[str]:
    groups = [f"-g {tree}:{home}" for tree, home in place.paths(path).items()]
    listed = DESCENDANTS.format(pid=pid)
    return ["sh", "-c", f"exec cgclassify {' '.join(groups)} $({listed})"]


COMMANDS: dict[str, Command] = {
    "pcont attach --tree": attach_tree,
    "cgclassify": cgclassify,
}


def measured(place: SeparateTrees, held: bool, servers: int, rate: int) -> Iterator[list[object]]:
    """The rows of one load."""
    paths = (f"/{'held' if held else 'free'}{number}" for number in count())

    def trial(command: Command) -> Adoption:
        return adoption(place, next(paths), command, rate=rate, held=held)

    trials = {name: partial(trial, command) for name, command in COMMANDS.items()}
    found = in_turns(trials, servers, shown(place))
    when = "once one has moved" if held else "at any time"
    for name, own in found.items():
        yield [shown(place), when, name, *row(own, found["cgclassify"])]


def row(found: Sequence[Adoption], beside: Sequence[Adoption]) -> list[object]:
    return [
        len(found),
        statuses(one.outcome.status for one in found),
        sum(one.due for one in found),
        sum(one.older for one in found),
        sum(one.lost for one in found),
        sum(one.split for one in found),
        seconds((one.outcome.seconds for one in found), (one.outcome.seconds for one in beside)),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.daemons")
    parser.add_argument("--servers", type=int, default=100)
    parser.add_argument("--rate", type=int, default=500)
    options = parser.parse_args()
    peers.begin()
    title = f"Attaching a server with {options.rate} daemons a second"
    print_table(title, HEAD, all_rows(options))


def all_rows(options: argparse.Namespace) -> Iterator[list[object]]:
    for controllers, named in TREES:
        with trees(controllers, named) as place:
            for held in (False, True):
                yield from measured(place, held, options.servers, options.rate)


if __name__ == "__main__":
    main()
