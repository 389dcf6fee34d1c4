"""Records in columns on a terminal, and one line for each record in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from pcont import records
from pcont.output import terminal
from pcont.output.terminal import GAP
from pcont.output.text import listed, one_line

if TYPE_CHECKING:
    from rich.table import Table

Column = tuple[str, Callable[[Any], str]]


def _mounted_at(row: Any) -> str:
    """Return the first mount point, and the trees of a tie that are not mounted."""
    missing = [] if row.mounted else [tree.id for tree in row.trees if not tree.mounts]
    if row.mountpoint is None:
        return "active, not mounted"
    return str(row.mountpoint) + (f" (not mounted: {', '.join(missing)})" if missing else "")


def _trees(row: records.HierarchyRow) -> str:
    return " ".join(one.id + (f"@{one.at}" if one.at != "/" else "") for one in row.trees)


def _bound(row: records.SubsystemRow) -> str:
    if row.unified:
        return "v2" + f" ({listed(row.hierarchies)})" * bool(row.hierarchies)
    return row.bound or ("free" if row.enabled else "switched off")


def _places(row: records.WhereRow) -> str:
    if row.container is not None:
        return row.container
    return " ".join(f"{tree}:{path}" for tree, path in row.paths.items())


def _state(row: records.WhereRow) -> str:
    others = " ".join(f"{count}×{path}" for path, count in row.elsewhere.items())
    return row.state + (f" (other threads: {others})" if others else "")


COLUMNS: dict[type, tuple[Column, ...]] = {
    records.SubsystemRow: (
        ("SUBSYSTEM", lambda row: row.name),
        ("BOUND TO", _bound),
        ("MOUNTED AT", lambda row: listed(row.mounts)),
        ("WHAT", lambda row: row.help or "-"),
    ),
    records.HierarchyRow: (
        ("HIERARCHY", lambda row: row.name),
        ("SUBSYSTEMS", lambda row: listed(row.subsystems)),
        ("TREES", _trees),
        ("CONTAINERS", lambda row: "?" if row.containers is None else str(row.containers)),
        ("MOUNTED AT", _mounted_at),
    ),
    records.TaskRow: (
        ("TASK", lambda row: str(row.id)),
        ("PID", lambda row: str(row.pid)),
        ("S", lambda row: row.state),
        ("USER", lambda row: row.user or "-"),
        ("NOT IN", lambda row: listed(row.missing)),
        ("COMMAND", lambda row: row.command),
    ),
    records.WhereRow: (
        ("HIERARCHY", lambda row: row.hierarchy),
        ("CONTAINER", _places),
        ("STATE", _state),
    ),
    records.CpuRow: (
        ("CPU", lambda row: "all" if row.cpu is None else str(row.cpu)),
        ("LOAD %", lambda row: "-" if row.load is None else f"{row.load:.1f}"),
        ("USED ns", lambda row: str(row.used)),
        ("USER ns", lambda row: str(row.user)),
        ("SYSTEM ns", lambda row: str(row.system)),
    ),
    records.UsageRow: (
        ("LIMIT", lambda row: "memory"),
        ("REACHED", lambda row: str(row.memory_max)),
        ("OOM", lambda row: "-" if row.oom is None else str(row.oom)),
        ("OOM KILL", lambda row: str(row.oom_kill)),
    ),
    records.PinRow: (
        ("NAME", lambda row: row.name),
        ("KIND", lambda row: row.kind),
        ("FILE", lambda row: row.file),
    ),
    records.BeanRow: (
        ("CONTAINER", lambda row: row.container),
        ("RESOURCE", lambda row: row.resource),
        ("HELD", lambda row: str(row.held)),
        ("MAXHELD", lambda row: str(row.maxheld)),
        ("BARRIER", lambda row: str(row.barrier)),
        ("LIMIT", lambda row: str(row.limit)),
        ("FAILCNT", lambda row: str(row.failcnt)),
    ),
    records.Recovered: (
        ("COMMAND", lambda row: row.command),
        ("WAS", lambda row: row.outcome),
        ("NOT RESTORED", lambda row: "; ".join(row.left) or "-"),
    ),
    records.Notified: (
        ("AGENT", lambda row: row.agent),
        ("CONTAINER", lambda row: row.container),
    ),
    records.Collected: (
        ("DONE", lambda row: row.done),
        ("WHAT", lambda row: row.what),
    ),
    records.Finding: (
        ("", lambda row: row.state),
        ("SUBJECT", lambda row: row.subject),
        ("FINDING", lambda row: row.finding),
        ("ADVICE", lambda row: row.advice),
    ),
}

# Columns that may be folded if a line is too long for the terminal.
FOLDING = {
    *("MOUNTED AT", "WHAT", "SUBSYSTEMS", "BOUND TO", "TREES", "CONTAINER", "STATE", "NOT IN"),
    *("COMMAND", "FILE", "NOT RESTORED", "AGENT", "FINDING", "ADVICE"),
}
NARROWEST = 12  # the least width of a folded column

STYLES = {"problem": "bold red", "note": "yellow", "ok": "green", "split": "red", "outside": "red"}


def table(rows: Sequence[Any], kind: type) -> None:
    """Print records in columns; in a pipe one line for each, its columns separated by tabs."""
    columns = COLUMNS[kind]
    if not sys.stdout.isatty():
        for row in rows:
            print("\t".join(one_line(show(row)) for _, show in columns))
        return
    if not rows:
        print("there is nothing to show", file=sys.stderr)
        return
    titles = [title for title, _ in columns]
    texts = [[one_line(show(row)) for _, show in columns] for row in rows]
    _draw_table(titles, texts)


def _draw_table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Draw a table; if it cannot fit the terminal, print a block of lines for each row."""
    from rich.cells import cell_len

    console = terminal.console()
    needed = [max(map(cell_len, column)) for column in zip(titles, *rows, strict=True)]
    widths = column_widths(needed, [title in FOLDING for title in titles], console.width)
    if widths:
        terminal.draw(console, _grid(titles, rows, widths))
        return
    first = max(map(len, titles))
    for number, row in enumerate(rows):
        if number:
            print()
        lines = [(title, text) for title, text in zip(titles, row, strict=True) if text]
        terminal.draw(
            console, _grid((), lines, [first, max(1, console.width - first - GAP)], "bold")
        )


def column_widths(needed: Sequence[int], folds: Sequence[bool], width: int) -> list[int]:
    """Return the widths of columns that fit into a line; an empty list if it is too narrow.

    `needed` is the width of the longest text of each column, `folds` whether the column may be
    folded. The longest of those that may be folded become narrower first.
    """
    widths = list(needed)
    room = width - GAP * (len(widths) - 1)
    elastic = sorted((index for index, can in enumerate(folds) if can), key=needed.__getitem__)
    room -= sum(needed) - sum(needed[index] for index in elastic)
    for number, index in enumerate(elastic):
        share = max(0, room) // (len(elastic) - number)
        widths[index] = min(needed[index], share)
        if widths[index] < min(needed[index], NARROWEST):
            return []
        room -= widths[index]
    return widths if room >= 0 else []


def _grid(
    titles: Sequence[str],
    rows: Sequence[Sequence[str]],
    widths: Sequence[int],
    first: str = "",
) -> Table:
    """Return a table of texts without borders; `first` is the style of the first column."""
    from rich.table import Table
    from rich.text import Text

    drawn = Table(
        box=None,
        header_style="bold",
        pad_edge=False,
        padding=(0, GAP, 0, 0),
        show_header=bool(titles),
    )
    for title, width in zip(titles or [""] * len(widths), widths, strict=True):
        drawn.add_column(title, overflow="fold", width=width, style=first)
        first = ""
    for row in rows:
        drawn.add_row(*(Text(text, STYLES.get(text, "")) for text in row))
    return drawn
