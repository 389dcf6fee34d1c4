"""The one way to measure: contenders in turns, CPU time and memory of whole processes, spreads.

`cost` runs a command line and returns what its process has used. `in_turns` runs every trial once
in each round, so that all meet the same load. `Noise` runs a fixed loop beside them, and says how
much of the differences is the machine.
"""

from __future__ import annotations

import math
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeVar

from tests.stress import built

LOOPS = Path(__file__).parent / "loops"
SPIN_STEPS = 20_000_000
TICKS = os.sysconf("SC_CLK_TCK")
# A machine is quiet if the fixed loop takes the same time, and no other process uses the CPUs.
QUIET_SPREAD, QUIET_OTHERS = 0.05, 0.03

Key = TypeVar("Key")
Result = TypeVar("Result")


# What is done outside of a measurement.
Step = Callable[[], object]


def nothing() -> None:
    """Do nothing."""


class Cost(NamedTuple):
    """What a process has used: microseconds of the CPU and of the clock, and the most KiB."""

    cpu: float
    wall: float
    peak: float

    def beyond(self, first: Cost, items: int) -> Cost:
        """What each item costs beyond the first, where `first` is the cost of one item."""
        more = max(items - 1, 1)
        return Cost(*((own - other) / more for own, other in zip(self, first, strict=True)))


class Spread(NamedTuple):
    """The median of several values, the quartiles, and the least and the most."""

    median: float
    low: float
    high: float
    least: float
    most: float

    @property
    def width(self) -> float:
        """The distance of the quartiles, as a part of the median."""
        return (self.high - self.low) / self.median if self.median else 0.0


class Failed(Exception):
    """A command of a benchmark has failed, and the message has what it printed."""


@dataclass(frozen=True)
class Contender:
    """A command line with its input. `before` and `after` run outside of the measurement.

    `items`: how many it does, if these are not as many as the others do. `tries`: how often it runs
    until it succeeds; cset fails if another program removes a cpuset at the same time.
    """

    words: Sequence[str]
    given: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    before: Step = nothing
    after: Step = nothing
    items: int | None = None
    tries: int = 1


def median(values: Iterable[float]) -> float:
    """The median, and not a number for no values."""
    found = list(values)
    return statistics.median(found) if found else math.nan


def spread(values: Iterable[float]) -> Spread:
    """The spread of at least one value."""
    found = sorted(values)
    low, middle, high = (
        statistics.quantiles(found, n=4, method="inclusive") if found[1:] else (found * 3)
    )
    return Spread(middle, low, high, found[0], found[-1])


def c_loop(name: str, *words: object) -> list[str]:
    """The command line of a bare loop in C, which is compiled once."""
    return [str(built(LOOPS / f"{name}.c")), *map(str, words)]


def python_loop(name: str, *words: object, packages: bool = False) -> list[str]:
    """The command line of a loop in Python; without the packages of the environment, it is bare."""
    options = [] if packages else ["-IS"]
    return [sys.executable, *options, str(LOOPS / f"{name}.py"), *map(str, words)]


def cost(contender: Contender) -> Cost:
    """Run a contender, and return what it has used. Raises Failed if it fails at each try."""
    for more in reversed(range(contender.tries)):
        contender.before()
        try:
            return _cost(contender)
        except Failed as err:
            if not more:
                raise
            tell(str(err))
        finally:
            contender.after()
    raise ValueError("a contender runs at least once")


def _cost(contender: Contender) -> Cost:
    with tempfile.TemporaryFile("w+") as given, tempfile.TemporaryFile("w+") as errors:
        given.write(contender.given)
        given.seek(0)
        cpu, wall, peak, status = _launched(contender, given.fileno(), errors.fileno())
        if status:
            errors.seek(0)
            shown = " ".join(contender.words)[:200]
            raise Failed(f"{shown}: exit {status}\n{errors.read()[-2000:]}")
    return Cost(cpu, wall / 1000, peak)


def _launched(contender: Contender, given: int, errors: int) -> list[int]:
    """The four numbers that launch.c writes."""
    reader, writer = os.pipe()
    with open(reader) as report:
        try:
            process = subprocess.Popen(
                [*c_loop("launch", writer), *contender.words],
                stdin=given,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                pass_fds=(writer,),
                env={**_environment(), **contender.environment},
            )
        finally:
            os.close(writer)
        with process:
            found = report.read().split()
    return list(map(int, found)) if len(found) == 4 else [0, 0, 0, process.returncode or 1]


def _environment() -> dict[str, str]:
    """The environment without the variables that change what pcont does."""
    return {key: text for key, text in os.environ.items() if not key.startswith("PCONT_")}


def in_turns(
    trials: Mapping[Key, Callable[[], Result]],
    rounds: int,
    title: str,
    *,
    between: Step = nothing,
    rotate: bool = True,
) -> dict[Key, list[Result]]:
    """Run every trial once in each round; the results of each.

    `rotate`: each round begins with the next trial, so that none always follows the same one.
    `between` is called after each round.
    """
    keys = list(trials)
    found: dict[Key, list[Result]] = {key: [] for key in keys}
    for turn in range(rounds):
        first = turn % len(keys) if rotate else 0
        for key in keys[first:] + keys[:first]:
            found[key].append(trials[key]())
        between()
        tell(f"{title}: {turn + 1} of {rounds}")
    return found


def tell(line: str) -> None:
    """Print how far a benchmark is, on standard error."""
    print(line, file=sys.stderr, flush=True)


class Ticks(NamedTuple):
    """Seconds of all CPUs since the machine started, from the first line of /proc/stat."""

    busy: float
    idle: float
    steal: float

    @classmethod
    def now(cls) -> Ticks:
        with open("/proc/stat") as stat:
            words = stat.readline().split()[1:9]
        user, nice, system, idle, iowait, irq, softirq, steal = (
            int(word) / TICKS for word in words
        )
        return cls(user + nice + system + irq + softirq, idle + iowait, steal)


class Noise:
    """How steady the machine was: a fixed loop between the rounds, its load, and other processes.

    `Noise()` begins to look; `facts` says what was found until then.
    """

    def __init__(self, steps: int = SPIN_STEPS) -> None:
        self.loop = Contender(c_loop("spin", steps))
        self.found: list[Cost] = []
        self.loads: list[float] = []
        self.begun, self.own = Ticks.now(), own_seconds()

    def calibrate(self) -> None:
        """Run the fixed loop once."""
        self.found.append(cost(self.loop))
        self.loads.append(os.getloadavg()[0])

    def facts(self) -> NoiseFacts:
        """What the fixed loop took, and what the CPUs did since the beginning."""
        if not self.found:
            self.calibrate()
        now = Ticks.now()
        busy, idle, steal = (new - old for new, old in zip(now, self.begun, strict=True))
        others = busy - (own_seconds() - self.own)
        whole = max(busy + idle + steal, 1 / TICKS)
        return NoiseFacts(
            cpu=spread(one.cpu for one in self.found),
            wall=spread(one.wall for one in self.found),
            times=len(self.found),
            load=spread(self.loads),
            steal=max(steal / whole, 0.0),
            others=max(others / whole, 0.0),
        )


class NoiseFacts(NamedTuple):
    """The fixed loop in microseconds, how often it ran, the load, and parts of the CPU time.

    `steal`: of the hypervisor. `others`: of processes that the benchmark did not start.
    """

    cpu: Spread
    wall: Spread
    times: int
    load: Spread
    steal: float
    others: float

    @property
    def quiet(self) -> bool:
        """Whether small differences mean something."""
        steady = self.cpu.width <= QUIET_SPREAD
        return steady and self.others <= QUIET_OTHERS and self.steal <= QUIET_OTHERS


def own_seconds() -> float:
    """The CPU time of this process and of its children that have ended."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system
