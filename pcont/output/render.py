"""How results look: JSON on request, tables and colour on a terminal, plain lines in a pipe."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, is_dataclass
from typing import TYPE_CHECKING, Any

from pcont import records
from pcont.errors import PcontError
from pcont.values import size

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table
    from rich.tree import Tree

Column = tuple[str, Callable[[Any], str]]


def _words(items: Iterable[str]) -> str:
    return ",".join(items) or "-"


def _mounted_at(row: Any) -> str:
    """The first mount point, with the trees of a tie that are not mounted."""
    missing = [] if row.mounted else [tree.id for tree in row.trees if not tree.mounts]
    if row.mountpoint is None:
        return "active, not mounted"
    return str(row.mountpoint) + (f" (not mounted: {', '.join(missing)})" if missing else "")


def _trees(row: records.HierarchyRow) -> str:
    return " ".join(one.id + (f"@{one.at}" if one.at != "/" else "") for one in row.trees)


def _bound(row: records.SubsystemRow) -> str:
    if row.bound:
        return row.bound
    return "v2" if row.unified else "free" if row.enabled else "switched off"


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
        ("MOUNTED AT", lambda row: _words(row.mounts)),
        ("WHAT", lambda row: row.help or "-"),
    ),
    records.HierarchyRow: (
        ("HIERARCHY", lambda row: row.name),
        ("SUBSYSTEMS", lambda row: _words(row.subsystems)),
        ("TREES", _trees),
        ("CONTAINERS", lambda row: "?" if row.containers is None else str(row.containers)),
        ("MOUNTED AT", _mounted_at),
    ),
    records.TaskRow: (
        ("TASK", lambda row: str(row.id)),
        ("PID", lambda row: str(row.pid)),
        ("S", lambda row: row.state),
        ("USER", lambda row: row.user or "-"),
        ("NOT IN", lambda row: _words(row.missing)),
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
        ("NOT PUT BACK", lambda row: "; ".join(row.left) or "-"),
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

# The columns that may be folded where a line is too long for the terminal; the others never are.
FOLDING = {
    *("MOUNTED AT", "WHAT", "SUBSYSTEMS", "BOUND TO", "TREES", "CONTAINER", "STATE", "NOT IN"),
    *("COMMAND", "FILE", "NOT PUT BACK", "AGENT", "FINDING", "ADVICE"),
}
GAP = 2  # blanks between two columns
NARROWEST = 12  # a column that is folded to less is no longer read
GUIDE, LABEL = 4, 24  # columns of a tree: those of a level, and those that a name needs

STYLES = {"problem": "bold red", "note": "yellow", "ok": "green", "split": "red", "outside": "red"}


def as_json(backend: str, key: str, value: Any) -> None:
    """Print one object on one line: the backend, and under `key` what the command answers."""
    print(_dump({"backend": backend, key: value}))


def event(backend: str, key: str, value: Any) -> None:
    """Print the same on standard error, where standard output belongs to another command."""
    _say({"backend": backend, key: value})


def _say(fact: dict[str, Any]) -> None:
    print(_dump(fact), file=sys.stderr, flush=True)


def _dump(fact: dict[str, Any]) -> str:
    # In ASCII: names of containers need not be text, and JSON must be.
    return json.dumps(fact, default=_plain)


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    raise TypeError(f"{value!r} is no record")


def table(rows: Sequence[Any], kind: type) -> None:
    """Records in columns; without a terminal one line each, the columns apart by a tab."""
    columns = COLUMNS[kind]
    if not sys.stdout.isatty():
        for row in rows:
            print("\t".join(_one_line(show(row)) for _, show in columns))
        return
    if not rows:
        print("there is nothing to show", file=sys.stderr)
        return
    titles = [title for title, _ in columns]
    texts = [[_one_line(show(row)) for _, show in columns] for row in rows]
    _draw_table(titles, texts)


def _draw_table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Draw a table that fits the terminal; where it cannot, a block of lines for each row."""
    from rich.cells import cell_len
    from rich.console import Console

    console = Console()
    needed = [max(map(cell_len, column)) for column in zip(titles, *rows, strict=True)]
    widths = column_widths(needed, [title in FOLDING for title in titles], console.width)
    if widths:
        _print(console, _grid(titles, rows, widths))
        return
    first = max(map(len, titles))
    for number, row in enumerate(rows):
        if number:
            print()
        lines = [(title, text) for title, text in zip(titles, row, strict=True) if text]
        _print(console, _grid((), lines, [first, max(1, console.width - first - GAP)], "bold"))


def column_widths(needed: Sequence[int], folds: Sequence[bool], width: int) -> list[int]:
    """The widths of columns that fit into a line; nothing where that is too narrow for them.

    `needed`: the width of the longest text of each; `folds`: whether it may be folded. The longest
    of those are made narrower first, as far as that is needed.
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
    """A table of texts without lines; `first`: the style of the first column."""
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


_TRAILING = re.compile(r"(?: |\x1b\[[0-9;]*m)+$")


def _print(console: Console, drawn: RenderableType) -> None:
    """Print what rich draws, without the blanks that it fills lines with."""
    with console.capture() as drawing:
        console.print(drawn)
    for line in drawing.get().removesuffix("\n").split("\n"):
        print(_TRAILING.sub(lambda end: end[0].replace(" ", ""), line))


def _one_line(text: str) -> str:
    """What a task or a container calls itself must not break a line, or colour it."""
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)


def values(found: Sequence[records.Value], bare: bool) -> None:
    """KEY=VALUE lines, one for each line of a value; `bare`: the value alone."""
    for one in found:
        for line in str(one.value).split("\n"):
            print(line if bare else f"{one.key}={line}")


def containers(nodes: Sequence[records.ContainerNode]) -> None:
    """Containers as a tree, or without a terminal by path, a line each."""
    if not sys.stdout.isatty():
        for node in nodes:
            _lines(node)
        return
    from rich.console import Console

    console = Console()
    for node in nodes:
        # What is nested too deep to be drawn is named by its path, as in a pipe.
        if GUIDE * _depth(node) + LABEL > console.width:
            _lines(node, " " * GAP)
        else:
            _print(console, _branch(node))


def _depth(top: records.ContainerNode) -> int:
    """How many levels there are below a container."""
    deepest, waiting = 0, [(top, 0)]
    while waiting:
        node, level = waiting.pop()
        deepest = max(deepest, level)
        waiting += [(child, level + 1) for child in node.children]
    return deepest


def _lines(node: records.ContainerNode, gap: str = "\t") -> None:
    for name, one in _flat(node, ""):
        facts = [
            f"tasks={one.tasks}",
            *(f"{key}={_on_one_line(text)}" for key, text in one.settings.items()),
        ]
        facts += [f"missing={_words(one.missing)}"] if one.missing else []
        print(gap.join(map(_one_line, [name, *facts])))


def _flat(node: records.ContainerNode, above: str) -> Iterable[tuple[str, records.ContainerNode]]:
    name = f"{above.removesuffix('/')}/{node.name}" if above else node.name
    yield name, node
    for child in node.children:
        yield from _flat(child, name)


def _branch(node: records.ContainerNode) -> Tree:
    from rich.text import Text
    from rich.tree import Tree

    label = Text(_one_line(node.name), "bold")
    label.append(
        f"  {node.tasks} task{'' if node.tasks == 1 else 's'}", "green" if node.tasks else "dim"
    )
    for key, text in node.settings.items():
        label.append(f"  {_short(key)} ", "dim").append(_setting(key, text))
    if node.missing:
        label.append(f"  partial: not in {_words(node.missing)}", "red")
    drawn = Tree(label, guide_style="dim")
    for child in node.children:
        drawn.children.append(_branch(child))
    return drawn


def _setting(key: str, value: records.Scalar) -> str:
    """A value for the eye: bytes and nanoseconds in larger units, several lines on one."""
    if key == "cpuacct.usage":
        return _seconds(value)
    if key.endswith("limit_in_bytes") and isinstance(value, int):
        return size(value)
    return _on_one_line(value) or "none"


def _on_one_line(value: records.Scalar) -> str:
    return "; ".join(str(value).splitlines())


def _short(key: str) -> str:
    """A key without its subsystem, where the rest of it says enough."""
    return key if key.endswith(".max") else key.partition(".")[2] or key


def _seconds(nanoseconds: records.Scalar) -> str:
    number = isinstance(nanoseconds, int | float)
    return f"{nanoseconds / 1e9:.1f} s" if number else str(nanoseconds)  # type: ignore[operator]


def outcome(move: records.Outcome) -> str:
    """How a move went, in a line."""
    how = "they stood still" if move.strategy == "freeze" else "until nobody was left"
    late = f", {move.stragglers} of them late" if move.stragglers else ""
    late += f", {move.skipped} left" if move.skipped else ""
    return f"{move.moved} moved in {move.rounds} rounds, {how}{late}: {move.seconds:.3f} s"


def error(err: PcontError, as_json: bool) -> None:
    """A refusal, on stderr: what was attempted, where, why, and what to do."""
    if as_json:
        _say({"error": err.as_dict()})
        return
    print(f"pcont: {_one_line(err.message)}", file=sys.stderr)
    if err.path and err.path not in err.message:
        print(f"  at: {_one_line(err.path)}", file=sys.stderr)
    if err.hint:
        print(f"  hint: {_one_line(err.hint)}", file=sys.stderr)


def warning(text: str, as_json: bool = False) -> None:
    """What the user should know although it went well."""
    if as_json:
        _say({"note": text})
    else:
        print(f"pcont: note: {_one_line(text)}", file=sys.stderr)


def ceasing(lines: Sequence[str], as_json: bool) -> None:
    """The settings that will no longer hold, before they are removed."""
    if as_json:
        _say({"ceasing": list(lines)})
        return
    for line in lines:
        print(f"ceases to hold: {_one_line(line)}", file=sys.stderr)


def question(text: str) -> None:
    """A question as JSON; the answer is read from standard input."""
    _say({"question": text})


class ProgressBar:
    """A line on standard error that says how far a command is, once it takes more than a second.

    It is for a terminal. A call says which step is done next; `beat` is called again and again.
    """

    PATIENCE = 1.0
    PAUSE = 0.2  # seconds between two lines

    def __init__(self) -> None:
        self._since = time.monotonic()
        self._next = self._since + self.PATIENCE
        self._text = "working"
        self._shown = False
        self._owner = os.getpid()  # a process that it forks shows nothing

    def __call__(self, done: int, of: int) -> None:
        self._text = f"step {done + 1} of {of}"
        self.beat()

    def beat(self) -> None:
        """Show the line, if it is time to."""
        now = time.monotonic()
        if now < self._next or self._owner != os.getpid():
            return
        self._next, self._shown = now + self.PAUSE, True
        self._write(f"\r\x1b[K{self._text}: {now - self._since:.0f} s")

    def wipe(self) -> None:
        """Remove the line; it appears again with the next beat."""
        if self._shown:
            self._shown = False
            self._write("\r\x1b[K")

    def close(self) -> None:
        """Remove the line for good."""
        self.wipe()
        self._owner = 0

    @staticmethod
    def _write(text: str) -> None:
        with contextlib.suppress(OSError):
            sys.stderr.write(text)
            sys.stderr.flush()
