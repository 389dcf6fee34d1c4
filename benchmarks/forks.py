"""What a process costs (fork, exit, wait) while it is in containers of more hierarchies."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from benchmarks.kernel import NamedHierarchies, named_hierarchies
from benchmarks.measure import Contender, Cost, c_loop, cost
from benchmarks.results import Bench, Row, row

TABLE, WHAT = "fork, exit and wait", "one process"
MOST = 8


def rows(bench: Bench) -> Iterator[Row]:
    """A loop in C that forks, in a container of each of 0 to 8 more hierarchies."""
    with named_hierarchies() as hierarchies:
        trials = {
            number: partial(measured, hierarchies, number, bench.sizes.forks)
            for number in range(MOST + 1)
        }
        found = bench.in_turns(TABLE, trials, bench.sizes.rounds * 2)
        for number, costs in found.items():
            yield row(TABLE, WHAT, number, "C loop", costs, each=True)


def measured(hierarchies: NamedHierarchies, number: int, forks: int) -> Cost:
    """The costs of one of so many forks, with so many hierarchies mounted."""
    files = [f"{directory}/cgroup.procs" for directory in hierarchies.use(number)]
    first = cost(Contender(c_loop("fork", 1, *files)))
    return cost(Contender(c_loop("fork", forks, *files))).beyond(first, forks)
