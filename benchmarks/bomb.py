"""python -m benchmarks.bomb: a fork bomb is killed, and its container removed.

By `pcont rm --kill`, and in a guest by a loop of `kill -KILL` over those that are listed and
`cgdelete`, too. There the command is forked from a Python that has loaded everything: under
emulation the start of one takes seconds.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count

from benchmarks import peers
from benchmarks.kernel import shown, trees
from benchmarks.measure import in_turns, tell
from benchmarks.tables import print_table, seconds, statuses
from tests.conftest import IN_GUEST
from tests.stress.measure import Explosion, Start, explosion, forked, load_all, rm_kill, started
from tests.stress.trees import SeparateTrees

TREES: Sequence[tuple[Sequence[str], int]] = ((("freezer", "pids"), 1), (("pids",), 2))
HEAD = (
    *("trees", "limit", "command", "bombs", "exit status", "all killed and removed"),
    *("alive", "seen in the parent", "median time", "longest"),
)
LOOP_SECONDS = 5


@dataclass(frozen=True)
class Killer:
    """A command, and how it is started."""

    words: Callable[[SeparateTrees, str], list[str]]
    start: Start = started


def kill_loop(place: SeparateTrees, path: str) -> list[str]:
    listed = shlex.quote(str(place.folder("pids", path) / "cgroup.procs"))
    groups = " ".join(f"-g {tree}:{home}" for tree, home in place.paths(path).items())
    again = f'pids=$(cat {listed}) && [ -n "$pids" ] && [ $SECONDS -lt {LOOP_SECONDS} ]'
    return ["bash", "-c", f"while {again}; do kill -KILL $pids; done; cgdelete {groups}"]


def killers(alone: bool) -> dict[str, Killer]:
    """An id that was listed may be another's when the loop comes to it: not among other people."""
    if not IN_GUEST:
        return {"pcont rm --kill": Killer(rm_kill)}
    load_all()
    ours = {"pcont rm --kill": Killer(rm_kill, forked)}
    return ours if alone else {**ours, "kill loop, cgdelete": Killer(kill_loop)}


def measured(
    place: SeparateTrees, bombs: int, tasks: int, killers: Mapping[str, Killer]
) -> Iterator[list[object]]:
    """The rows of one load."""
    paths = (f"/{number}" for number in count())

    def trial(name: str) -> Explosion:
        killer = killers[name]
        bang = explosion(place, next(paths), tasks, killer.words, killer.start)
        tell(f"{name}: {bang}")
        return bang

    trials = {name: partial(trial, name) for name in killers}
    found = in_turns(trials, bombs, shown(place))
    beside = list(found.values())[-1]
    for name, own in found.items():
        yield [shown(place), tasks, name, *row(own, beside)]


def rows(bombs: int, tasks: int, alone: bool) -> Iterator[list[object]]:
    """Those of every load."""
    for controllers, named in TREES:
        with trees(controllers, named) as place:
            yield from measured(place, bombs, tasks, killers(alone))


def row(found: Sequence[Explosion], beside: Sequence[Explosion]) -> list[object]:
    return [
        len(found),
        statuses(one.outcome.status for one in found),
        sum(not one.alive and not one.there for one in found),
        sum(one.alive for one in found),
        sum(one.above for one in found),
        seconds((one.outcome.seconds for one in found), (one.outcome.seconds for one in beside)),
        f"{max(one.outcome.seconds for one in found):.2f} s",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bomb")
    parser.add_argument("--bombs", type=int, default=20)
    parser.add_argument("--tasks", type=int, default=2000 if IN_GUEST else 300)
    parser.add_argument("--alone", action="store_true", help="pcont's rows only")
    options = parser.parse_args()
    peers.begin()
    print_table("Killing a fork bomb", HEAD, rows(options.bombs, options.tasks, options.alone))


if __name__ == "__main__":
    main()
