"""Tables in markdown."""

from __future__ import annotations

import datetime
import os
import platform
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from benchmarks.measure import median


def lines(head: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """The lines of a table, each once its row is there."""
    for row in chain((head, ["---"] * len(head)), rows):
        yield f"| {' | '.join(map(str, row))} |"


def print_table(title: str, head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table with the date and the machine."""
    print(f"{title} ({today()}, {machine()})\n")
    for line in lines(head, rows):
        print(line, flush=True)
    print(flush=True)


def today() -> str:
    return datetime.date.today().isoformat()


def machine() -> str:
    """The kernel, the CPUs and the Python of this machine."""
    python = platform.python_version()
    return f"Linux {platform.release()}, {os.cpu_count()} CPUs, Python {python}"


def statuses(found: Iterable[int]) -> str:
    """Exit statuses, each with how often it came: `0 × 98, 8 × 2`."""
    return ", ".join(f"{status} × {times}" for status, times in sorted(Counter(found).items()))


def seconds(found: Iterable[float], beside: Iterable[float]) -> str:
    """The median time, and how many times that of the first row of the same load it is."""
    own = median(found)
    return f"{own:.2f} s (× {own / median(beside):.2g})"
