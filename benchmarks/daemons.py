"""python -m benchmarks.daemons: a server whose children daemonize, 500 a second, is attached.

By `pcont attach --tree`, and by `cgclassify` with the server and what `ps` says descends from it.
Each trial has a server of its own, which the two commands meet in turns.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence

from benchmarks import prepare, print_table, seconds, shown, statuses, tell, trees
from tests.stress.measure import Adoption, adoption, attach_tree
from tests.stress.trees import SeparateTrees

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


COMMANDS: dict[str, Callable[[SeparateTrees, str, int], list[str]]] = {
    "pcont attach --tree": attach_tree,
    "cgclassify": cgclassify,
}


def measured(place: SeparateTrees, held: bool, servers: int, rate: int) -> Iterator[list[object]]:
    """The rows of one load."""
    trials: dict[str, list[Adoption]] = {name: [] for name in COMMANDS}
    for number in range(servers):
        for order, (name, command) in enumerate(COMMANDS.items()):
            path = f"/{'held' if held else 'free'}{number}-{order}"
            trials[name].append(adoption(place, path, command, rate=rate, held=held))
        tell(f"{shown(place)}: {number + 1} of {servers}")
    when = "once one has moved" if held else "at any time"
    for name, found in trials.items():
        yield [shown(place), when, name, *row(found, trials["cgclassify"])]


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
    prepare()
    title = f"Attaching a server with {options.rate} daemons a second"
    print_table(title, HEAD, all_rows(options))


def all_rows(options: argparse.Namespace) -> Iterator[list[object]]:
    for controllers, named in TREES:
        with trees(controllers, named) as place:
            for held in (False, True):
                yield from measured(place, held, options.servers, options.rate)


if __name__ == "__main__":
    main()
