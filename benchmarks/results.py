"""The rows that a benchmark yields, and how they are kept as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, TypeVar

from benchmarks.measure import Contender, Cost, Noise, Spread, cost, in_turns, median, spread

Key = TypeVar("Key")
Result = TypeVar("Result")


class Row(NamedTuple):
    """What one contender costs at one thing. Times are microseconds, `peak` is KiB.

    `each`: the costs are those of each item beyond the first; if not, those of a whole command.
    `items`: how many items, or how many containers, tasks or hierarchies the machine has.
    """

    table: str
    what: str
    items: int
    contender: str
    each: bool
    cpu: Spread
    wall: Spread
    peak: float
    rounds: int


class Sizes(NamedTuple):
    """How much is measured."""

    containers: tuple[int, ...]
    processes: tuple[int, ...]
    threads: tuple[int, ...]
    beside: tuple[int, ...]
    states: tuple[int, ...]
    simulated: tuple[int, ...]
    library: tuple[int, ...]
    model: tuple[int, ...]
    forks: int
    rounds: int

    def turns(self, items: int) -> int:
        """The number of rounds: the fewer items, the more of their cost is noise of the start."""
        if items <= 1000:
            return self.rounds * 2
        return self.rounds if items <= 5000 else max(self.rounds // 2, 1)


FULL = Sizes(
    containers=(100, 1000, 10_000),
    processes=(100, 1000, 10_000),
    threads=(100, 1000, 5000, 10_000),
    beside=(100, 10_000),
    states=(100, 100_000),
    simulated=(1000, 10_000, 100_000),
    library=(1000, 10_000, 100_000, 1_000_000),
    model=(1000, 10_000, 100_000),
    forks=10_000,
    rounds=8,
)
QUICK = Sizes(
    containers=(100, 1000),
    processes=(100, 1000),
    threads=(100, 1000),
    beside=(100, 1000),
    states=(100, 10_000),
    simulated=(1000, 10_000),
    library=(1000, 10_000),
    model=(1000, 10_000),
    forks=1000,
    rounds=2,
)
TINY = Sizes(
    containers=(10,),
    processes=(10,),
    threads=(10,),
    beside=(1, 10),
    states=(1, 10),
    simulated=(10,),
    library=(10, 100),
    model=(10, 100),
    forks=10,
    rounds=1,
)


@dataclass(frozen=True)
class Bench:
    """What every group of benchmarks gets: sizes, the fixed loop, and a folder for files."""

    sizes: Sizes
    noise: Noise
    folder: str

    def in_turns(
        self,
        title: str,
        trials: Mapping[Key, Callable[[], Result]],
        rounds: int,
        *,
        rotate: bool = True,
    ) -> dict[Key, list[Result]]:
        """Run the trials in turns, and the fixed loop after each round."""
        return in_turns(trials, rounds, title, between=self.noise.calibrate, rotate=rotate)

    def whole(self, table: str, contenders: Mapping[str, Contender]) -> Iterator[Row]:
        """The costs of whole commands; the names of the contenders are what they do."""
        trials = {name: partial(cost, one) for name, one in contenders.items()}
        found = self.in_turns(table, trials, self.sizes.rounds * 3)
        for name, costs in found.items():
            yield row(table, name, 1, "pcont", costs, each=False)

    def beyond_the_first(
        self, table: str, what: str, items: int, make: Callable[[int], Mapping[str, Contender]]
    ) -> Iterator[Row]:
        """The costs of each item beyond the first, for the contenders that `make` returns."""
        single, several = make(1), make(items)
        trials = {name: partial(_beyond, single[name], several[name], items) for name in several}
        rounds = self.sizes.turns(items)
        found = self.in_turns(f"{what}, {items:,}", trials, rounds)
        for name, costs in found.items():
            yield row(table, what, items, name, costs, each=True)


def _beyond(single: Contender, several: Contender, items: int) -> Cost:
    first = cost(single)
    return cost(several).beyond(first, several.items or items)


def row(
    table: str, what: str, items: int, contender: str, costs: Sequence[Cost], *, each: bool
) -> Row:
    """The row of these costs."""
    cpu, wall = spread(one.cpu for one in costs), spread(one.wall for one in costs)
    peak = median(one.peak for one in costs)
    return Row(table, what, items, contender, each, cpu, wall, peak, len(costs))


def ratio(own: Row | None, other: Row | None) -> float | None:
    """How many times the CPU time of the other row it is.

    None if that says nothing. A cost below zero is one that the noise of the start hides.
    """
    if own is None or other is None or other.cpu.median <= 0:
        return None
    return max(own.cpu.median, 0.0) / other.cpu.median


class Rows:
    """All rows of a run, and how to find some of them."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self.all = list(rows)

    def of(self, table: str) -> Rows:
        return Rows(row for row in self.all if row.table == table)

    def whats(self) -> list[str]:
        """What was measured, in the order in which it was."""
        return list(dict.fromkeys(row.what for row in self.all))

    def sizes(self, what: str | None = None) -> list[int]:
        """The numbers of items, the smallest first."""
        return sorted({row.items for row in self.all if what in (None, row.what)})

    def contenders(self, what: str, items: int) -> dict[str, Row]:
        """The rows of one line of a table, by their contender."""
        return {row.contender: row for row in self.all if row.what == what and row.items == items}

    def find(self, what: str, items: int, contender: str = "pcont") -> Row | None:
        return self.contenders(what, items).get(contender)


def as_json(facts: Mapping[str, Any], rows: Iterable[Row]) -> str:
    """The text of the JSON file."""
    found = {**_plain(facts), "rows": [_plain(row) for row in rows]}
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"


def _plain(value: Any) -> Any:
    """Tuples with names as objects, and numbers with few digits."""
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, float):
        return float(f"{value:.4g}") if math.isfinite(value) else None
    return value
