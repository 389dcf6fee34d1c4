"""The goals: the cost of one thing as a multiple of the cost of another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from benchmarks import forks, library, many, startup, state, tasks, v2
from benchmarks.many import PYTHON
from benchmarks.results import Row, Rows, ratio

LAST = 1 << 62  # as an items: the largest number that was measured
ONE_KIB = 1.0


class Cell(NamedTuple):
    """A row: the table, what is done, by what, and with how many items (at most)."""

    table: str
    what: str
    contender: str = "pcont"
    items: int = LAST

    def find(self, rows: Rows) -> Row | None:
        """The row with the largest number of items up to that of the cell, or the smallest."""
        own = rows.of(self.table)
        sizes = own.sizes(self.what)
        fitting = [size for size in sizes if size <= self.items] or sizes[:1]
        return own.find(self.what, fitting[-1], self.contender) if fitting else None


class Goal(NamedTuple):
    """The CPU time of `own` shall be at most `limit` times that of `other`."""

    own: Cell
    other: Cell
    limit: float


class Judged(NamedTuple):
    """A goal, and what was measured: None if the times are too small for a ratio."""

    table: str
    what: str
    items: int
    other: str
    found: float | None
    limit: float

    @property
    def reached(self) -> bool | None:
        return None if self.found is None else self.found <= self.limit


def _against(table: str, what: str, items: int, **limits: float) -> Iterator[Goal]:
    """Goals of pcont beside other contenders of the same row."""
    for name, limit in limits.items():
        yield Goal(Cell(table, what, items=items), Cell(table, what, OTHERS[name], items), limit)


OTHERS = {"python": PYTHON, "cgcreate": "cgcreate, cgset", "cgdelete": "cgdelete -r"}
HOT = ("get", "set", "create", "attach", "run -- true", "where", "ps")
CLICK = Cell(startup.KERNEL, "import click")


def _starts() -> Iterator[Goal]:
    for what in HOT:
        yield Goal(Cell(startup.KERNEL, what), CLICK, 1.25)
    for what in ("get --help", "completion of a word"):
        yield Goal(Cell(startup.KERNEL, what), CLICK, 1.1)


def _on_v2() -> Iterator[Goal]:
    for what in (*HOT, "rm", "tree"):
        yield Goal(Cell(v2.TABLE, what, v2.V2), Cell(v2.TABLE, what, v2.V1), 1.05)


def _many() -> Iterator[Goal]:
    table = many.TABLE
    yield from _against(table, "create with two values", LAST, python=1.5, cgcreate=1.0)
    yield from _against(table, "rm -r", LAST, python=2.5, cgdelete=1.0)
    yield from _against(table, "tree", LAST, python=1.2)
    for what, items, limit in (
        ("attach processes, one tree", 1000, 2.0),
        ("attach processes, three trees", 1000, 2.0),
        ("attach threads, one tree", 5000, 3.0),
        ("attach threads, three trees", 5000, 3.0),
        ("move processes", 1000, 2.0),
        ("move threads", 5000, 3.0),
    ):
        yield from _against(tasks.TABLE, what, items, python=limit)
    one = Cell(many.BATCH, "create with two values", many.ONE_COMMAND)
    yield Goal(one._replace(contender=many.BATCH_COMMAND), one, 1.5)


def _grown(cell: Cell, limit: float, first: int = 0) -> Goal:
    """The largest number beside the smallest one."""
    return Goal(cell, cell._replace(items=first), limit)


def _growth() -> Iterator[Goal]:
    yield _grown(Cell(many.BESIDE, "hierarchies"), 1.1)
    for what in ("get", "create"):
        yield _grown(Cell(state.TABLE, what), 1.3)
    yield _grown(Cell(state.PS, "ps of simulated tasks"), 1.3)
    for table, what in (
        (many.TABLE, "create with two values"),
        (many.TABLE, "rm -r"),
        (tasks.TABLE, "attach processes, three trees"),
        (tasks.TABLE, "attach threads, three trees"),
    ):
        yield _grown(Cell(table, what), 1.3, 1000)
    for what in ("create all", "set one value", "rm -r of all"):
        yield _grown(Cell(library.TABLE, what, "library"), 1.3)
    yield _grown(Cell(forks.TABLE, forks.WHAT, "C loop"), 1.1)


GOALS = (*_starts(), *_on_v2(), *_many(), *_growth())


def judged(rows: Rows) -> Iterator[Judged]:
    """Every goal of which something was measured."""
    for goal in GOALS:
        own, other = goal.own.find(rows), goal.other.find(rows)
        if own is None or other is None or own is other:
            continue
        yield Judged(*_names(own, other), ratio(own, other), goal.limit)


def _names(own: Row, other: Row) -> tuple[str, str, int, str]:
    """What is compared with what, in words."""
    found = f"the same with {other.items:,}"
    if own.contender != other.contender:
        found = other.contender
    elif own.what != other.what:
        found = other.what
    return own.table, own.what, own.items, found


def memory(rows: Rows) -> Iterator[tuple[str, int, float]]:
    """The KiB for each task that pcont attaches: what is done, the tasks, and the KiB."""
    own = rows.of(tasks.TABLE)
    for what in own.whats():
        if what.startswith("attach") and (found := own.find(what, own.sizes(what)[-1])):
            yield what, found.items, found.peak
