"""The page docs/benchmarks.md, made of the rows of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import calls, forks, goals, library, many, scale, startup, state, tasks, v2
from benchmarks.many import ONE_COMMAND, PYTHON, C
from benchmarks.measure import NoiseFacts
from benchmarks.results import Row, Rows, ratio
from benchmarks.tables import lines

NOTES = Path(__file__).parent / "notes.md"
PICTURE = "benchmarks.svg"
Table = tuple[Sequence[str], Iterable[Sequence[object]]]


def commands(rows: Rows) -> Table:
    """Whole commands: one line each, beside bare Python and click."""
    head = (
        *("command", "CPU ms", "quartiles", "× `python -c pass`", "× `import click`"),
        *("wall ms", "peak MiB"),
    )
    return head, [_command(rows, row) for row in rows.all]


def _command(rows: Rows, row: Row) -> list[str]:
    others = [rows.find(name, row.items) for name in startup.REFERENCES]
    return [
        row.what,
        f"{row.cpu.median / 1000:.1f}",
        f"{row.cpu.low / 1000:.1f}–{row.cpu.high / 1000:.1f}",
        *(times(ratio(row, other)) for other in others),
        f"{row.wall.median / 1000:.1f}",
        f"{row.peak / 1024:.1f}",
    ]


def contenders(first: Sequence[str], own: str) -> Callable[[Rows], Table]:
    """Costs of one item: the `first` contenders as columns, `own`, then the other ones."""

    def layout(rows: Rows) -> Table:
        head = (
            *("what", "items", *first, own, "quartiles", *(f"× {name}" for name in first)),
            *("wall µs", "KiB", "others"),
        )
        found = []
        for what in rows.whats():
            for items in rows.sizes(what):
                found.append(_beside(what, items, rows.contenders(what, items), first, own))
        return head, found

    return layout


def _beside(
    what: str, items: int, found: Mapping[str, Row], first: Sequence[str], own: str
) -> list[str]:
    row = found[own]
    others = [
        f"{name} {short(other.cpu.median)} (× {times(ratio(other, found[first[-1]]))})"
        for name, other in found.items()
        if name not in (*first, own)
    ]
    return [
        what,
        f"{items:,}",
        *(short(found[name].cpu.median) for name in first),
        short(row.cpu.median),
        f"{short(row.cpu.low)}–{short(row.cpu.high)}",
        *(times(ratio(row, found[name])) for name in first),
        short(row.wall.median),
        f"{row.peak:.2f}",
        ", ".join(others),
    ]


def dialects(rows: Rows) -> Table:
    """Whole commands: one line each, on cgroup v1 and on v2."""
    head = ("command", f"{v2.V1} ms", "quartiles", f"{v2.V2} ms", "quartiles", "v2 ÷ v1")
    return head, [
        [name, *_milliseconds(found[v2.V1]), *_milliseconds(found[v2.V2]), _compared(found)]
        for name in rows.whats()
        if (found := rows.contenders(name, 1))
    ]


def _milliseconds(row: Row) -> list[str]:
    low, high = row.cpu.low / 1000, row.cpu.high / 1000
    return [f"{row.cpu.median / 1000:.1f}", f"{low:.1f}–{high:.1f}"]


def _compared(found: Mapping[str, Row]) -> str:
    return times(ratio(found[v2.V2], found[v2.V1]))


def numbers(rows: Rows) -> Table:
    """One line for each number, and its ratio to the first."""
    head = ("number", "CPU µs", "quartiles", "× the first", "wall µs")
    return head, [
        [
            f"{row.items:,}",
            f"{row.cpu.median:.2f}",
            f"{row.cpu.low:.2f}–{row.cpu.high:.2f}",
            times(ratio(row, rows.all[0])),
            f"{row.wall.median:.2f}",
        ]
        for row in rows.all
    ]


def growth(unit: str, *, peaks: bool = True) -> Callable[[Rows], Table]:
    """One line for each thing, one column for each size, and the ratio of the last to the first."""

    def layout(rows: Rows) -> Table:
        sizes = rows.sizes()
        head = ("", *(f"{size:,} {unit}" for size in sizes), "last ÷ first")
        return head, [_grown(rows, what, sizes, peaks) for what in rows.whats()]

    return layout


def _grown(rows: Rows, what: str, sizes: Sequence[int], peaks: bool) -> list[str]:
    found = [next(iter(rows.contenders(what, size).values()), None) for size in sizes]
    there = [row for row in found if row]
    last = times(ratio(there[-1], there[0])) if len(there) > 1 else ""
    return [what, *(_cell(row, peaks) if row else "" for row in found), last]


def _cell(row: Row, peaks: bool) -> str:
    text = f"{short(row.cpu.median)} µs" if row.each else f"{row.cpu.median / 1000:.1f} ms"
    if not peaks:
        return text
    return f"{text}, {row.peak:.2f} KiB" if row.each else f"{text}, {row.peak / 1024:.0f} MiB"


class Section(NamedTuple):
    """A part of the page: the table of its rows, a heading, what is measured, and the layout."""

    table: str
    title: str
    text: str
    layout: Callable[[Rows], Table]


CALLS = (
    "Python calls of one command on the model, in a process that has run it before (`python -m "
    "benchmarks.calls`). A tie of 2 trees is its home and cpuset; a tie of 3 trees has cpuacct, "
    "too. *Outside of the model* are the calls that pcont makes on a kernel as well. *has* to "
    "*membership* are calls of the backend. `tests/test_calls.py` keeps them from growing."
)
EACH = "CPU time (user and system) of each item beyond the first, in µs; medians."
SECTIONS = (
    Section(
        startup.KERNEL,
        "Starting a command, on the kernel",
        "Whole processes. Commands of other tools are there if they are installed.",
        commands,
    ),
    Section(startup.MODEL, "Starting a command, on the model", "The model is in a file.", commands),
    Section(
        v2.TABLE,
        "One command on cgroup v2",
        "CPU time of whole processes. Both containers are on this machine, and the commands take "
        f"turns. *get* and *set* use `{v2.LIMIT}` where the hierarchy has pids, or else a file "
        "that each container has.",
        dialects,
    ),
    Section(
        many.TABLE,
        "Many containers",
        f"{EACH} All are in one hierarchy, below one container. The loops do the same system "
        "calls and no more: they verify nothing, and cannot undo anything. The walk trusts the "
        "number of links, and reads the same files as `pcont tree`. × behind another tool is in "
        "times of the Python loop.",
        contenders((C, PYTHON), "pcont"),
    ),
    Section(
        many.BATCH,
        "pcont batch",
        f"{EACH} Each container is one line of `pcont batch`, or one call in a batch of the "
        "library, beside one command with all places.",
        contenders((ONE_COMMAND,), many.BATCH_COMMAND),
    ),
    Section(
        tasks.TABLE,
        "Many tasks",
        f"{EACH} The three trees are pids, freezer and devices. The loops write each process to "
        "`cgroup.procs` (a process of many threads is one write, which moves all of them), and "
        "for a move each task to `tasks`. cset does the same in cpuset, with at most 1,000 "
        "threads: its time grows with their square. × behind another tool is relative to the "
        "Python loop.",
        contenders((C, PYTHON), "pcont"),
    ),
    Section(
        many.BESIDE,
        "Single commands beside many containers, on the kernel",
        "Whole commands, while the hierarchy has so many other containers.",
        growth("containers"),
    ),
    Section(
        state.TABLE,
        "Single commands on a large model in a file",
        "Whole commands, with so many containers in the file.",
        growth("containers"),
    ),
    Section(
        state.PS,
        "Many simulated tasks",
        f"{EACH} The loops print as many lines with as many words.",
        contenders((C, PYTHON), "pcont"),
    ),
    Section(
        library.TABLE,
        "The library on a model in memory",
        "CPU time of each container, and the memory of the process for each container at that "
        "time. Verbs *of all* are one call; the others are calls for single containers, in a "
        "batch. With 100,000 containers and more, there is one round. Ten containers are below "
        "each container. `hierarchies` counts all containers. Python's garbage collector looks at "
        "all objects again now and then: that is most of what grows.",
        growth("containers"),
    ),
    *(
        Section(
            f"{scale.TABLE}: {shape.name}",
            f"The model without pcont: {shape.name}",
            f"CPU time of one call of the model, with {shape.tasks} tasks in each container. "
            f"{shape.note}",
            growth("containers", peaks=False),
        )
        for shape in scale.SHAPES
    ),
    Section(
        forks.TABLE,
        "Tasks in containers of more hierarchies",
        "CPU time of fork, exit and wait of one process, by a loop in C. Its process is in a "
        "container of each of so many hierarchies, beside those of the machine.",
        numbers,
    ),
)


def page(facts: Mapping[str, Any], noise: NoiseFacts, rows: Rows) -> str:
    """The text of the page."""
    parts = [
        "# Benchmarks",
        f"`make bench` wrote this page: {facts['day']}, {facts['machine']}, pcont "
        f"{facts['version']}, sizes *{facts['sizes']}*, in {facts['minutes']:.0f} minutes. "
        "[benchmarks/README.md](../benchmarks/README.md) says how it measures. "
        "[benchmarks.json](benchmarks.json) has the numbers.",
        f"![pcont beside loops and other tools]({PICTURE})",
        "## How steady the machine was",
        steadiness(noise),
        *_goals(rows),
    ]
    for section in SECTIONS:
        parts += _section(section, rows.of(section.table))
    parts += ["## Calls of one command", CALLS, table(calls.counts())]
    if NOTES.exists():
        parts.append(NOTES.read_text(encoding="utf-8").strip())
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _section(section: Section, rows: Rows) -> list[str]:
    if not rows.all:
        return []
    return [f"## {section.title}", section.text.strip(), table(section.layout(rows))]


def _goals(rows: Rows) -> Iterator[str]:
    found = list(goals.judged(rows))
    if not found:
        return
    yield "## Goals and results"
    yield "CPU time, medians: of each item beyond the first, or of whole commands."
    yield table(
        (("table", "what", "items", "compared with", "measured", "goal", ""), map(_goal, found))
    )
    memory = [(what, f"{items:,}", f"{peak:.2f}") for what, items, peak in goals.memory(rows)]
    if memory:
        yield f"Memory for each task, where the goal is {goals.ONE_KIB:.0f} KiB:"
        yield table((("what", "items", "KiB"), memory))


def _goal(one: goals.Judged) -> list[str]:
    mark = {True: "reached", False: "**not reached**", None: "not known"}[one.reached]
    named = [one.table, one.what, f"{one.items:,}", one.other]
    return [*named, times(one.found), f"≤ {one.limit:g}", mark]


def steadiness(noise: NoiseFacts) -> str:
    """What the fixed loop, the load and /proc/stat say of the machine."""
    verdict = "was quiet" if noise.quiet else "was **not quiet**: small differences mean nothing"
    return (
        f"The machine {verdict}. A fixed loop in C ran {noise.times} times between the rounds: "
        f"{noise.cpu.median / 1000:.1f} ms of CPU time, quartiles {noise.cpu.low / 1000:.1f}–"
        f"{noise.cpu.high / 1000:.1f} ({noise.cpu.width:.1%} of the median), from "
        f"{noise.cpu.least / 1000:.1f} to {noise.cpu.most / 1000:.1f}; its wall time "
        f"{noise.wall.median / 1000:.1f} ms, at most {noise.wall.most / 1000:.1f}. The load "
        f"average was {noise.load.median:.1f}, at most {noise.load.most:.1f}. Other processes "
        f"took {noise.others:.1%} of the CPUs, the hypervisor {noise.steal:.1%} (steal)."
    )


def table(found: Table) -> str:
    return "\n".join(lines(*found))


def times(value: float | None) -> str:
    """A ratio with two digits or more, or n/a if there is none."""
    if value is None:
        return "n/a"
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def short(value: float) -> str:
    """A number of microseconds with about three digits."""
    return (
        f"{value:.2f}"
        if abs(value) < 10
        else f"{value:.1f}"
        if abs(value) < 100
        else f"{value:,.0f}"
    )
