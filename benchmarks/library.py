"""What the verbs of the library cost on a model in memory, up to 1,000,000 containers."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from functools import partial

from benchmarks.measure import Cost, python_loop
from benchmarks.results import Bench, Row, row

TABLE = "library on a model in memory"
LARGE = 100_000


def rows(bench: Bench) -> Iterator[Row]:
    """Each verb with each number of containers; every number has a process of its own."""
    for items in bench.sizes.library:
        rounds = 1 if items >= LARGE else bench.sizes.turns(items)
        trials = {"": partial(measured, items)}
        found = bench.in_turns(f"{TABLE}, {items:,}", trials, rounds)[""]
        for verb in found[0]:
            costs = [one[verb] for one in found]
            yield row(TABLE, verb, items, "library", costs, each=True)


def measured(items: int) -> dict[str, Cost]:
    """Each verb, and what it costs; its memory is that of the process for each container."""
    words = python_loop("library", items, packages=True)
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
    found = {}
    for line in done.stdout.splitlines():
        cpu, wall, peak, what = line.split(maxsplit=3)
        found[what] = Cost(float(cpu), float(wall), float(peak) / items)
    return found
