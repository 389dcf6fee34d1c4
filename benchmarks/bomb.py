"""python -m benchmarks.bomb: a fork bomb is killed, and its container removed.

By `pcont rm --kill`, and in a guest by a loop of `kill -KILL` over those that are listed and
`cgdelete`, too.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable, Iterator, Sequence

from benchmarks import prepare, print_table, seconds, shown, statuses, tell, trees
from tests.conftest import IN_GUEST
from tests.loads.arena import Arena
from tests.loads.trials import Explosion, explosion, rm_kill

TREES: Sequence[tuple[Sequence[str], int]] = ((("freezer", "pids"), 1), (("pids",), 2))
HEAD = (
    *("trees", "limit", "command", "bombs", "exit status", "all dead and gone"),
    *("alive", "seen in the parent", "median time"),
)
LOOP_SECONDS = 5


def kill_loop(place: Arena, path: str) -> list[str]:
    listed = shlex.quote(str(place.folder("pids", path) / "cgroup.procs"))
    groups = " ".join(f"-g {tree}:{home}" for tree, home in place.paths(path).items())
    again = f'pids=$(cat {listed}) && [ -n "$pids" ] && [ $SECONDS -lt {LOOP_SECONDS} ]'
    return ["bash", "-c", f"while {again}; do kill -KILL $pids; done; cgdelete {groups}"]


def commands() -> dict[str, Callable[[Arena, str], list[str]]]:
    """An id that was listed may be another's when the loop comes to it: not among other people."""
    beside = {"kill loop, cgdelete": kill_loop} if IN_GUEST else {}
    return {"pcont rm --kill": rm_kill, **beside}


def measured(place: Arena, bombs: int, tasks: int) -> Iterator[list[object]]:
    """The rows of one load."""
    trials: dict[str, list[Explosion]] = {name: [] for name in commands()}
    for number in range(bombs):
        for order, (name, command) in enumerate(commands().items()):
            trials[name].append(explosion(place, f"/{number}-{order}", tasks, command))
        tell(f"{shown(place)}: {number + 1} of {bombs}")
    beside = list(trials.values())[-1]
    for name, found in trials.items():
        yield [shown(place), tasks, name, *row(found, beside)]


def row(found: Sequence[Explosion], beside: Sequence[Explosion]) -> list[object]:
    return [
        len(found),
        statuses(one.outcome.status for one in found),
        sum(not one.alive and not one.there for one in found),
        sum(one.alive for one in found),
        sum(one.above for one in found),
        seconds((one.outcome.seconds for one in found), (one.outcome.seconds for one in beside)),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bomb")
    parser.add_argument("--bombs", type=int, default=20)
    parser.add_argument("--tasks", type=int, default=2000 if IN_GUEST else 300)
    options = parser.parse_args()
    prepare()
    rows: list[list[object]] = []
    for controllers, named in TREES:
        with trees(controllers, named) as place:
            rows += measured(place, options.bombs, options.tasks)
    print_table("Killing a fork bomb", HEAD, rows)


if __name__ == "__main__":
    main()
