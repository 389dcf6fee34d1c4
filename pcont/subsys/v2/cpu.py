"""cpu on cgroup v2: its control files.

The kernel's admin-guide/cgroup-v2.rst, section CPU (kernel/sched/core.c). `cpu.stat` is in every
container; without the controller it has no lines about periods.
"""

from __future__ import annotations

import re
from errno import EINVAL, ERANGE

from pcont.bases import NamedTuple
from pcont.subsys.cpu import (
    CPU_IDLE,
    MOST_QUOTA,
    breach_of_period,
    breach_of_quota,
    microseconds_meant,
)
from pcont.subsys.cpu_weight import (
    LEAST_WEIGHT,
    MOST_WEIGHT,
    USUAL_WEIGHT,
    limited_shares,
    most_shares,
    weight_of,
)
from pcont.subsys.v1 import cpu as v1_cpu
from pcont.subsys.v2.values import KEYED
from pcont.tables.control_file import (
    SETTING_BELOW_ROOT,
    Access,
    Advice,
    ControlFile,
    Listed,
    Subsystem,
    Undo,
)
from pcont.tables.face import Face, FaceSource, NotServed, Translation
from pcont.tables.rules import Fix, Rule, Site, Violation
from pcont.values import SIGNED, UNSIGNED, Codec, strip

CPU_WEIGHT, WEIGHT_NICE = "cpu.weight", "cpu.weight.nice"
CPU_MAX, MAX_BURST = "cpu.max", "cpu.max.burst"
_USUAL_PERIOD = 100_000
_MAX = re.compile(r"(max|[0-9]{1,20})(?:\s+([0-9]{1,20}))?", re.ASCII)


class Bandwidth(NamedTuple):
    """The value of cpu.max in microseconds. `quota` None: no limit. `period` 0: as it is."""

    quota: int | None
    period: int = 0

    def over(self, now: Bandwidth) -> Bandwidth:
        """Return the value after it is written over the present one."""
        return self if self.period else self._replace(period=now.period)

    @property
    def text(self) -> str:
        quota = "max" if self.quota is None else str(self.quota)
        return f"{quota} {self.period}" if self.period else quota


class _Max:
    """The codec of cpu.max: a quota, and a period if it is to change."""

    takes = "a quota in microseconds or max, and a period, as in '50000 100000'"

    def parse(self, text: str) -> Bandwidth:
        found = _MAX.fullmatch(strip(text))
        if not found:
            raise ValueError("")
        quota = None if found[1] == "max" else int(found[1])
        if found[2] and not int(found[2]):
            raise ValueError("a period cannot be 0")
        return Bandwidth(quota, int(found[2] or 0))

    def show(self, value: Bandwidth) -> str:
        return value.text


BANDWIDTHS: Codec = _Max()


def _range(file: str, low: int, high: int, more: str) -> Rule:
    """Return the rule that a number is between two others."""

    def rule(now: Site, wanted: Site) -> Violation | None:
        if low <= wanted.value(file) <= high:
            return None
        return Violation(ERANGE, f"{file} goes from {low} to {high}; {more}")

    return rule


def _not_idle(now: Site, wanted: Site) -> Violation | None:
    """Check that the container is not idle: the kernel fixes the weight of an idle container."""
    if not now.value(CPU_IDLE):
        return None
    return Violation(
        EINVAL,
        f"{CPU_IDLE} is 1, and the kernel fixes the weight of an idle container",
        fixes=(Fix(now.path, ((CPU_IDLE, "0"),)),),
    )


def a_bandwidth(now: Site, wanted: Site) -> Violation | None:
    """Check the range of the quota and of the period of cpu.max."""
    quota, period = wanted.value(CPU_MAX)
    if period and (violation := breach_of_period(period)):
        return violation
    return None if quota is None else breach_of_quota(quota, "; max is no limit")


def a_burst(now: Site, wanted: Site) -> Violation | None:
    """Check that the burst is not above the quota."""
    quota, burst = wanted.value(CPU_MAX).quota, wanted.value(MAX_BURST)
    if quota is None or (burst <= quota and burst + quota <= MOST_QUOTA):
        return None
    return Violation(
        EINVAL,
        f"{MAX_BURST} would be {burst} and the quota {quota}: a burst cannot be larger",
        fixes=(Fix(now.path, ((MAX_BURST, str(quota)),)),),
    )


def bandwidth_meant(site: Site, text: str) -> str:
    """Return a quota in microseconds: `50%` of the period, max for `-1`; empty if unclear."""
    return microseconds_meant(text, "max", lambda: int(site.value(CPU_MAX).period))


a_weight_in_range = _range(CPU_WEIGHT, LEAST_WEIGHT, MOST_WEIGHT, f"{USUAL_WEIGHT} is the default")
BANDWIDTH_OF_V2: tuple[Rule, ...] = (a_bandwidth, a_burst)


# The KEYs of cgroup v1


def _shares(source: FaceSource) -> str:
    weight, kept = int(source.text(CPU_WEIGHT)), source.attribute("cpu.shares")
    fits = kept.isdecimal() and weight_of(int(kept)) == weight
    return f"{kept if fits else most_shares(weight)}\n"


def _to_weight(text: str, source: FaceSource) -> list[tuple[str, str]]:
    shares = limited_shares(UNSIGNED.parse(text))
    return [(CPU_WEIGHT, str(weight_of(shares))), ("cpu.shares", str(shares))]


def _now(source: FaceSource) -> Bandwidth:
    found: Bandwidth = BANDWIDTHS.parse(source.text(CPU_MAX))
    return found


def _quota(source: FaceSource) -> str:
    quota = _now(source).quota
    return f"{-1 if quota is None else quota}\n"


def _to_quota(text: str, source: FaceSource) -> list[tuple[str, str]]:
    quota: int = SIGNED.parse(text)
    return [(CPU_MAX, "max" if quota < 0 else str(quota))]


def _to_period(text: str, source: FaceSource) -> list[tuple[str, str]]:
    period: int = UNSIGNED.parse(text)
    return [(CPU_MAX, Bandwidth(_now(source).quota, period).text if period else "max 0")]


_THROTTLED = (("nr_periods", 1), ("nr_throttled", 1), ("throttled_usec", 1000))
_BURSTS = (("nr_bursts", 1), ("burst_usec", 1000))


def _stat(source: FaceSource) -> str:
    """Return the lines of cgroup v1's cpu.stat, with times in nanoseconds."""
    found = KEYED.parse(source.text("cpu.stat"))
    lines = [(name, found.get(name, 0) * unit) for name, unit in (*_THROTTLED, *_BURSTS)]
    return "".join(f"{name.replace('_usec', '_time')} {number}\n" for name, number in lines)


_NO_REAL_TIME = NotServed(
    "cgroup v2 has no real-time budgets by container: real-time tasks run as sched(7) says"
)


def _as_on_v1(file: str) -> ControlFile:
    """Return the row of cgroup v1 for a file that no root of cgroup v2 has."""
    return v1_cpu.TABLE.by_name[file]._replace(access=SETTING_BELOW_ROOT)


TABLE = Subsystem(
    name="cpu",
    help="weights and quotas of CPU time",
    faces={
        "cpu.shares": Translation(CPU_WEIGHT, _shares, _to_weight, kept_as="cpu.shares"),
        "cpu.cfs_quota_us": Translation(CPU_MAX, _quota, _to_quota),
        "cpu.cfs_period_us": Translation(
            CPU_MAX, lambda source: f"{_now(source).period}\n", _to_period
        ),
        "cpu.cfs_burst_us": Face(MAX_BURST),
        "cpu.rt_period_us": _NO_REAL_TIME,
        "cpu.rt_runtime_us": _NO_REAL_TIME,
    },
    files=(
        _as_on_v1(CPU_IDLE),
        ControlFile(
            CPU_WEIGHT,
            "weight against siblings, 1 to 10000; 100 is the default",
            UNSIGNED,
            default=USUAL_WEIGHT,
            rules=(a_weight_in_range, _not_idle),
            listed=Listed.IF_SET,
            access=SETTING_BELOW_ROOT,
        ),
        ControlFile(
            WEIGHT_NICE,
            "the same weight as a nice value, -20 to 19",
            SIGNED,
            default=0,
            rules=(_range(WEIGHT_NICE, -20, 19, "0 is the default"), _not_idle),
            access=SETTING_BELOW_ROOT,
            # The nice value is only the nearest one.
            undo=Undo(written_to=CPU_WEIGHT),
        ),
        ControlFile(
            CPU_MAX,
            "quota in microseconds or max, and the length of a period",
            BANDWIDTHS,
            default=Bandwidth(None, _USUAL_PERIOD),
            rules=BANDWIDTH_OF_V2,
            listed=Listed.IF_SET,
            access=SETTING_BELOW_ROOT._replace(merge=lambda now, written: written.over(now)),
            advice=Advice(strict=True, mend=bandwidth_meant),
        ),
        ControlFile(
            MAX_BURST,
            "microseconds of unused quota that may be added to a period",
            UNSIGNED,
            default=0,
            rules=(a_burst,),
            listed=Listed.IF_SET,
            access=SETTING_BELOW_ROOT,
        ),
        _as_on_v1("cpu.uclamp.min"),
        _as_on_v1("cpu.uclamp.max"),
        ControlFile(
            "cpu.stat",
            "CPU time used in microseconds, and how often tasks were throttled",
            KEYED,
            access=Access(always=True),
        ),
        ControlFile(
            "cpu.stat.local",
            "how long the quota of this container itself has throttled the tasks",
            KEYED,
            access=Access(always=True),
        ),
    ),
)
