"""The picture docs/benchmarks.svg: pcont beside loops and other tools, and what does not grow.

It needs matplotlib, which only the dependencies `bench` have.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import forks, library, many, state, tasks
from benchmarks.many import PYTHON, C
from benchmarks.results import Rows, ratio

OWN = {"pcont", many.BATCH_COMMAND, "library"}
ON_THE_KERNEL = (many.TABLE, many.BATCH, tasks.TABLE, state.PS)
COLOURS = {
    C: "#9aa5b1",
    PYTHON: "#52606d",
    "pcont": "#0b7285",
    "libcgroup": "#e8590c",
    "cgroupspy": "#f08c00",
    "cset": "#c2255c",
}
LIBCGROUP = ("cgcreate", "cgdelete", "cgclassify", "lscgroup")
TOOLS = {"cset": "cset", **dict.fromkeys(LIBCGROUP, "libcgroup")}


class Bar(NamedTuple):
    """A bar: what is done, by what, and in how many times of the Python loop."""

    what: str
    contender: str
    height: float


class Line(NamedTuple):
    """A line: what is done, and microseconds by the number of items."""

    what: str
    sizes: Sequence[int]
    costs: Sequence[float]


def draw(rows: Rows, file: Path) -> None:
    """Write the picture."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "pcont", "svg.fonttype": "none", "font.size": 9})
    from matplotlib import pyplot

    figure, axes = pyplot.subplot_mosaic(
        [["bars", "kernel", "library"], ["bars", "kernel", "forks"]],
        figsize=(17, 9),
        width_ratios=(5, 4, 4),
        layout="constrained",
    )
    _bars(axes["bars"], list(bars(rows)))
    kernel, library_lines = grown(rows, ON_THE_KERNEL), grown(rows, (library.TABLE,))
    _lines(axes["kernel"], list(kernel), "µs of pcont for one item, by their number")
    _lines(axes["library"], list(library_lines), "the library on a model in memory, by containers")
    _forks(axes["forks"], rows.of(forks.TABLE))
    figure.savefig(file, metadata={"Date": None})
    pyplot.close(figure)


def bars(rows: Rows) -> Iterator[Bar]:
    """Every contender with the most items, relative to the Python loop."""
    for table in (many.TABLE, tasks.TABLE, state.PS):
        own = rows.of(table)
        for what in own.whats():
            items = own.sizes(what)[-1]
            for name, row in own.contenders(what, items).items():
                found = ratio(row, own.find(what, items, PYTHON))
                if found is not None and found > 0:
                    yield Bar(f"{what}\n{items:,}", name, found)


def grown(rows: Rows, tables: Sequence[str]) -> Iterator[Line]:
    """What pcont takes for one item, by the number of items."""
    for table in tables:
        own = rows.of(table)
        for what in own.whats():
            found = [row for row in own.all if row.what == what and row.contender in OWN]
            positive = [row for row in found if row.cpu.median > 0]
            if len(positive) > 1:
                sizes = [row.items for row in positive]
                name = f"batch: {what}" if table == many.BATCH else what
                yield Line(name, sizes, [row.cpu.median for row in positive])


def _bars(axes: Any, found: Sequence[Bar]) -> None:
    whats = list(dict.fromkeys(bar.what for bar in found))
    height = 0.85 / len(COLOURS)
    for order, (tool, colour) in enumerate(COLOURS.items()):
        own = [bar for bar in found if tool_of(bar.contender) == tool]
        at = [whats.index(bar.what) + order * height for bar in own]
        drawn = axes.barh(at, [bar.height for bar in own], height, color=colour, label=tool)
        axes.bar_label(drawn, [f"{bar.height:.1f}" for bar in own], padding=2, fontsize=6)
    axes.set_yticks([number + 0.35 for number in range(len(whats))], whats)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.axvline(1, color="black", linewidth=0.5)
    axes.set_title("CPU time of one item, relative to the Python loop")
    axes.legend(fontsize=7)


def tool_of(contender: str) -> str:
    """The tool or loop that a contender belongs to."""
    return TOOLS.get(contender.split()[0].rstrip(","), contender)


def _lines(axes: Any, found: Sequence[Line], title: str) -> None:
    for number, line in enumerate(found):
        style = "solid" if number < 10 else "dashed"
        axes.plot(line.sizes, line.costs, ls=style, marker="o", ms=3, linewidth=1, label=line.what)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_title(title)
    if found:
        axes.legend(fontsize=6, ncols=2)


def _forks(axes: Any, rows: Rows) -> None:
    sizes = rows.sizes()
    found = [row for row in rows.all if row.items in sizes]
    axes.errorbar(
        [row.items for row in found],
        [row.cpu.median for row in found],
        yerr=(
            [row.cpu.median - row.cpu.low for row in found],
            [row.cpu.high - row.cpu.median for row in found],
        ),
        marker="o",
        color=COLOURS["pcont"],
    )
    axes.set_ylim(bottom=0)
    axes.set_xlabel("more hierarchies")
    axes.set_title("µs of fork, exit and wait")
