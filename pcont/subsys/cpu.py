"""cpu: shares, quotas and real-time budgets of CPU time.

The kernel's Documentation/scheduler/sched-design-CFS.rst, sched-bwc.rst and sched-rt-group.rst; the
rules are those of tg_set_cfs_bandwidth() and tg_set_rt_bandwidth() (kernel/sched). The patch set
of 2006 had no such subsystem.

The table explains what a kernel refuses; the model has the controller on cgroup v2 only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from errno import EBUSY, EINVAL

from pcont.tables.rules import Fix, Rule, Site, Violation

CPU_SHARES, CPU_IDLE = "cpu.shares", "cpu.idle"
QUOTA, PERIOD, BURST = "cpu.cfs_quota_us", "cpu.cfs_period_us", "cpu.cfs_burst_us"
RT_RUNTIME, RT_PERIOD = "cpu.rt_runtime_us", "cpu.rt_period_us"

_PERCENT = re.compile(r"([0-9]{1,20}\.?[0-9]{0,20}|\.[0-9]{1,20})%")
_SHORTEST, _LONGEST = 1_000, 1_000_000  # microseconds: min_cfs_quota_period, max_cfs_quota_period
MOST_QUOTA = (1 << 44) - 1  # microseconds: max_cfs_runtime
NO_QUOTA = -1
_NO_QUOTA = (str(NO_QUOTA), "max", "unlimited", "infinity", "none")
ROOT_HAS_ALL_TIME = "the root container has all CPU time: set it below"


def _fix(site: Site, **values: int) -> tuple[Fix, ...]:
    return (Fix(site.path, tuple((f"cpu.{name}", str(value)) for name, value in values.items())),)


def idle_has_no_shares(now: Site, wanted: Site) -> Violation | None:
    """Check that the container is not idle: the kernel fixes the shares of an idle container."""
    if not wanted.value(CPU_IDLE):
        return None
    reason = f"{CPU_IDLE} is 1, and the kernel fixes the shares of an idle container at 3"
    return Violation(EINVAL, reason, fixes=_fix(now, idle=0, shares=wanted.value(CPU_SHARES)))


def _a_period(now: Site, wanted: Site) -> Violation | None:
    """Check that the period is between a millisecond and a second."""
    return breach_of_period(wanted.value(PERIOD))


def breach_of_period(period: int) -> Violation | None:
    """Return the violation of a period in microseconds that is too short or too long."""
    if _SHORTEST <= period <= _LONGEST:
        return None
    return Violation(EINVAL, f"a period is between {_SHORTEST} and {_LONGEST} microseconds")


def _a_quota(now: Site, wanted: Site) -> Violation | None:
    """Check that the quota is at least a millisecond in each period."""
    quota = wanted.value(QUOTA)
    if quota < 0:
        return None
    return breach_of_quota(quota, f" in each period of {wanted.value(PERIOD)}; -1 takes it away")


def breach_of_quota(quota: int, more: str) -> Violation | None:
    """Return the violation of a quota in microseconds that is too small or too large. `more`: what
    its reason also says.
    """
    if _SHORTEST <= quota <= MOST_QUOTA:
        return None
    return Violation(EINVAL, f"a quota is between {_SHORTEST} and {MOST_QUOTA} microseconds{more}")


def _a_burst(now: Site, wanted: Site) -> Violation | None:
    """Check that the burst is not above the quota."""
    quota, burst = wanted.value(QUOTA), wanted.value(BURST)
    if quota < 0 or (burst <= quota and burst + quota <= MOST_QUOTA):
        return None
    return Violation(
        EINVAL,
        f"{BURST} would be {burst} and {QUOTA} {quota}: a burst cannot be larger than the quota",
        fixes=_fix(now, cfs_burst_us=quota, cfs_quota_us=quota),
    )


def _ratio(site: Site, runtime: str, period: str) -> float:
    return float(site.value(runtime)) / float(site.value(period) or 1)


def _share(site: Site) -> str:
    return f"{site.value(QUOTA)} of {site.value(PERIOD)}"


def _limited_above(site: Site) -> Site | None:
    """Return the nearest parent that has a quota; None if there is none."""
    above = site.parent
    while above and (above.parent is None or above.value(QUOTA) < 0):
        above = above.parent
    return above


def _limited_below(site: Site) -> Iterator[Site]:
    """Yield the descendants with a quota, without those below another one with a quota."""
    for child in site.children():
        if child.value(QUOTA) >= 0:
            yield child
        else:
            yield from _limited_below(child)


def _inside_quotas_above(now: Site, wanted: Site) -> Violation | None:
    """Check that quota divided by period is not above that of the nearest parent with a quota."""
    above = _limited_above(wanted) if wanted.value(QUOTA) >= 0 else None
    if above is None or _ratio(wanted, QUOTA, PERIOD) <= _ratio(above, QUOTA, PERIOD):
        return None
    largest = int(_ratio(above, QUOTA, PERIOD) * wanted.value(PERIOD))
    return Violation(
        EINVAL,
        f"{_share(wanted)} microseconds is more than {above.path} has: {_share(above)}",
        "or raise the quota above",
        fixes=_fix(now, cfs_quota_us=largest, cfs_period_us=wanted.value(PERIOD)),
    )


def _around_quotas_below(now: Site, wanted: Site) -> Violation | None:
    """Check that quota divided by period is not below that of a descendant."""
    if wanted.value(QUOTA) < 0:
        return None
    for child in _limited_below(wanted):
        if _ratio(child, QUOTA, PERIOD) > _ratio(wanted, QUOTA, PERIOD):
            largest = int(_ratio(wanted, QUOTA, PERIOD) * child.value(PERIOD))
            return Violation(
                EINVAL,
                f"{_share(wanted)} microseconds is less than {child.path} has: {_share(child)}",
                fixes=_fix(child, cfs_quota_us=largest),
            )
    return None


def _rt_within_its_period(now: Site, wanted: Site) -> Violation | None:
    """Check that the real-time runtime is not above the real-time period, and that the period is
    not 0.
    """
    runtime, period = wanted.value(RT_RUNTIME), wanted.value(RT_PERIOD)
    if period == 0:
        return Violation(EINVAL, "a period cannot be 0")
    if runtime == 0 and now.parent is None:
        return Violation(EINVAL, "the root container cannot be left without real-time CPU time")
    if runtime <= period:
        return None
    reason = f"{RT_RUNTIME} would be {runtime} and {RT_PERIOD} {period}: it cannot be longer"
    return Violation(EINVAL, reason, fixes=_fix(now, rt_runtime_us=period, rt_period_us=period))


def _rt_below_the_root(now: Site, wanted: Site) -> Violation | None:
    """Check that the real-time share is not above that of the machine, /proc/sys/kernel/sched_rt_*,
    which the root shows.
    """
    top = now
    while top.parent:
        top = top.parent
    if wanted.value(RT_RUNTIME) >= 0 and (
        top is now or _ratio(wanted, RT_RUNTIME, RT_PERIOD) <= _ratio(top, RT_RUNTIME, RT_PERIOD)
    ):
        return None
    return Violation(
        EINVAL,
        f"the machine gives real-time tasks {top.value(RT_RUNTIME)} of {top.value(RT_PERIOD)} "
        "microseconds (/proc/sys/kernel/sched_rt_runtime_us)",
        sure=wanted.value(RT_RUNTIME) >= 0,  # -1 is taken where that file has -1
    )


def _rt_tasks_keep_some(now: Site, wanted: Site) -> Violation | None:
    """Check that real-time tasks in the container keep some CPU time."""
    if wanted.value(RT_RUNTIME) or not now.value(RT_RUNTIME):
        return None
    reason = "real-time tasks are in it, and could no longer run"
    return Violation(EBUSY, reason, "make them ordinary tasks first: chrt -o -p 0 PID", sure=False)


def _rt_of_siblings_adds_up(now: Site, wanted: Site) -> Violation | None:
    """Check that the real-time shares of the children do not add up to more than their
    parent has.
    """
    for parent in filter(None, (wanted, now.parent)):
        own = _ratio(parent, RT_RUNTIME, RT_PERIOD)
        children = [wanted if child.path == now.path else child for child in parent.children()]
        given = sum(_ratio(child, RT_RUNTIME, RT_PERIOD) for child in children)
        if given > own + 1e-6:
            return Violation(
                EINVAL,
                f"the children of {parent.path} would have {given:.1%} of a CPU for real-time "
                f"tasks, and it has {own:.1%}: {parent.value(RT_RUNTIME)} of "
                f"{parent.value(RT_PERIOD)} microseconds",
                f"raise {RT_RUNTIME} of {parent.path}, or lower those of its children",
            )
    return None


BANDWIDTH: tuple[Rule, ...] = (
    _a_quota,
    _a_period,
    _a_burst,
    _inside_quotas_above,
    _around_quotas_below,
)
REAL_TIME: tuple[Rule, ...] = (
    _rt_within_its_period,
    _rt_below_the_root,
    _rt_tasks_keep_some,
    _rt_of_siblings_adds_up,
)


def quota_meant(site: Site, text: str) -> str:
    """Return a quota in microseconds: `50%` of the period, -1 for `max`; empty if unclear."""
    return microseconds_meant(text, str(NO_QUOTA), lambda: int(site.value(PERIOD)))


def microseconds_meant(text: str, no_quota: str, period: Callable[[], int]) -> str:
    """Return a quota in microseconds: `50%` of the period, `no_quota` for a word that means the
    same; empty if unclear.
    """
    plain = text.strip().lower()
    if plain in _NO_QUOTA and plain != no_quota:
        return no_quota
    if found := _PERCENT.fullmatch(plain):
        return str(int(float(found[1]) / 100 * period()))
    return ""
