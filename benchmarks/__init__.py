"""What pcont loses and how long it takes, beside what else there is, among the same load.

Each module is a program: `python -m benchmarks.storm`. The loads are those of the tests. All rows
of a table are measured in turns in one run: compare them, not the seconds of two machines.
"""

from __future__ import annotations

import datetime
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain

import pcont
from tests.stress.measure import PCONT
from tests.stress.trees import SeparateTrees, separate_trees
from tests.vm.prepare import NotPrepared, install

CGROUP_TOOLS = "cgroup-tools"


def ok(*words: str) -> str:
    """A command of pcont that must succeed; its output."""
    done = subprocess.run([*PCONT, *words], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"pcont {' '.join(words)}: exit {done.returncode}\n{done.stderr}")
    return done.stdout


def begin() -> None:
    """Root is needed; SIGTERM leaves nothing behind."""
    if os.geteuid() != 0:
        sys.exit("benchmarks change real cgroups: run them as root")
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))


def prepare() -> None:
    """The same, with the tools of libcgroup to compare with."""
    begin()
    try:
        if shutil.which("cgclassify") is None:
            install([CGROUP_TOOLS])
    except NotPrepared as err:
        sys.exit(str(err))


def bound() -> set[str]:
    """The subsystems that are bound to a hierarchy."""
    return {row.name for row in pcont.open().subsys() if row.bound is not None}


@contextmanager
def trees(controllers: Sequence[str], named: int) -> Iterator[SeparateTrees]:
    """Separate trees of this process; controllers that are not mounted are mounted for them."""
    bind = not bound() & set(controllers)
    with separate_trees(ok, f"bench{os.getpid()}", controllers, named, bind=bind) as made:
        yield made


def shown(place: SeparateTrees) -> str:
    """The trees as a table shows them: the name of a named one says nothing."""
    return ", ".join([*place.controllers, *(["named"] * len(place.names))])


def tell(line: str) -> None:
    """How far it has got, for a person."""
    print(line, file=sys.stderr, flush=True)


def print_table(title: str, head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table in markdown, each row once it is there, with the machine that it was measured on."""
    day = datetime.date.today().isoformat()
    print(f"{title} ({day}, Linux {platform.release()}, {os.cpu_count()} CPUs)\n")
    for row in chain((head, ["---"] * len(head)), rows):
        print(f"| {' | '.join(map(str, row))} |", flush=True)
    print(flush=True)


def statuses(found: Iterable[int]) -> str:
    """Exit statuses, each with how often it came: `0 x 98, 8 x 2`."""
    return ", ".join(f"{status} × {times}" for status, times in sorted(Counter(found).items()))


def median(found: Iterable[float]) -> float:
    """The median, and not a number of nothing."""
    values = list(found)
    return statistics.median(values) if values else float("nan")


def seconds(found: Iterable[float], beside: Iterable[float]) -> str:
    """The median time, and how many times that of the first row of the same load it is."""
    own = median(found)
    return f"{own:.2f} s (× {own / median(beside):.2g})"
