"""Measure what pcont costs, beside bare loops and other tools, and write docs/benchmarks.md.

Without GROUP, everything is measured, and the page, its JSON and its picture are written. With a
GROUP, the tables of the chosen groups are printed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pcont
from benchmarks import (
    forks,
    kernel,
    library,
    many,
    peers,
    picture,
    scale,
    startup,
    state,
    tasks,
    v2,
)
from benchmarks.measure import Noise, NoiseFacts, tell
from benchmarks.page import SECTIONS, page, steadiness, table
from benchmarks.results import FULL, QUICK, TINY, Bench, Row, Rows, as_json
from benchmarks.tables import machine, today
from tests.stress import NoCompiler
from tests.vm.prepare import NotPrepared

DOCS = Path(__file__).resolve().parents[1] / "docs"
SIZES = {"full": FULL, "quick": QUICK, "tiny": TINY}


class Group(NamedTuple):
    """What can be measured by itself; `kernel`: it needs root and cgroup v1."""

    rows: Callable[[Bench], Iterator[Row]]
    kernel: bool


GROUPS = {
    "startup": Group(startup.on_the_kernel, True),
    "startup-model": Group(startup.on_the_model, False),
    "v2": Group(v2.rows, True),
    "many": Group(many.rows, True),
    "batch": Group(many.batch, True),
    "tasks": Group(tasks.rows, True),
    "beside": Group(many.beside, True),
    "state": Group(state.rows, False),
    "ps": Group(state.ps_rows, False),
    "library": Group(library.rows, False),
    "scale": Group(scale.rows, False),
    "forks": Group(forks.rows, True),
}


def main(words: Sequence[str] | None = None) -> None:
    """Measure, and write or print what was found."""
    options = parse(words)
    chosen = {name: GROUPS[name] for name in options.group or GROUPS}
    kernel.begin(root=any(group.kernel for group in chosen.values()))
    begun = time.monotonic()
    try:
        if options.peers:
            peers.install()
        rows, noise = run(chosen, options)
    except (NoCompiler, NotPrepared) as err:
        sys.exit(str(err))
    if options.group and not options.output:
        print_tables(rows, noise)
        return
    facts = {
        "day": today(),
        "machine": machine(),
        "version": pcont.__version__,
        "sizes": options.sizes,
        "minutes": (time.monotonic() - begun) / 60,
        "peers": peers.versions(),
    }
    write(options.output or DOCS, facts, noise, rows)


def parse(words: Sequence[str] | None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "group", nargs="*", choices=[*GROUPS, []], metavar="GROUP", help=", ".join(GROUPS)
    )
    parser.add_argument("--sizes", choices=SIZES, default="full", help="(%(default)s)")
    parser.add_argument("--rounds", type=int, help="few items have twice as many rounds")
    parser.add_argument(
        "--output", type=Path, metavar="DIRECTORY", help="write there, not to docs/"
    )
    parser.add_argument(
        "--no-peers", dest="peers", action="store_false", help="install no other tool"
    )
    return parser.parse_args(words)


def run(chosen: dict[str, Group], options: argparse.Namespace) -> tuple[list[Row], NoiseFacts]:
    """The rows of the groups, and how steady the machine was."""
    rows: list[Row] = []
    sizes = SIZES[options.sizes]
    if options.rounds:
        sizes = sizes._replace(rounds=options.rounds)
    with tempfile.TemporaryDirectory(prefix=kernel.NAME) as folder:
        bench = Bench(sizes, Noise(), folder)
        for name, group in chosen.items():
            begun = time.monotonic()
            rows += group.rows(bench)
            tell(f"{name}: {time.monotonic() - begun:.0f} s")
        return rows, bench.noise.facts()


def print_tables(rows: Sequence[Row], noise: NoiseFacts) -> None:
    """Print the tables of some groups."""
    for section in SECTIONS:
        found = Rows(rows).of(section.table)
        if found.all:
            print(f"## {section.title}\n\n{table(section.layout(found))}\n")
    print(steadiness(noise))


def write(folder: Path, facts: dict[str, object], noise: NoiseFacts, rows: Sequence[Row]) -> None:
    """Write the page, the JSON and the picture."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = as_json({**facts, "noise": noise}, rows)
    (folder / "benchmarks.json").write_text(kept, encoding="utf-8")
    (folder / "benchmarks.md").write_text(page(facts, noise, Rows(rows)), encoding="utf-8")
    try:
        picture.draw(Rows(rows), folder / "benchmarks.svg")
    except ImportError as err:
        tell(f"no picture: {err}. Install it: pip install '.[bench]'")
    tell(f"written: {folder}/benchmarks.md, .json and .svg")


if __name__ == "__main__":
    main()
