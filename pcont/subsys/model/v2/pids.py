"""pids on cgroup v2 in the model: counts of tasks, and forks that are refused at the limit."""

from __future__ import annotations

from collections.abc import Iterator
from errno import EAGAIN

from pcont.subsys.pids import PIDS_CURRENT, PIDS_MAX
from pcont.tables.behaviour import Behaviour, FileBehaviour
from pcont.tables.rules import ModelCgroup, Violation

# Facts of a container: how many forks its own limit has refused, and those of all limits below.
_LOCAL, _BELOW = "pids.local", "pids.below"


def _counting(site: ModelCgroup) -> Iterator[ModelCgroup]:
    """Yield the containers from here to the root for which the controller is enabled."""
    return (one for one in site.upwards() if one.parent and one.has(PIDS_MAX))


def _room_for_one_more(site: ModelCgroup) -> Violation | None:
    """Check each container from here to the root (kernel/cgroup/pids.c, pids_can_fork())."""
    for here in _counting(site):
        limit = here.value(PIDS_MAX)
        if limit is not None and here.count >= limit:
            _count_refusal(here)
            return Violation(
                EAGAIN, f"{here.path} has {here.count} tasks, and {PIDS_MAX} is {limit}"
            )
        here.reach(here.count + 1)
    return None


def _count_refusal(site: ModelCgroup) -> None:
    """Count a fork that the limit of a container has refused (pids_event())."""
    site.facts[_LOCAL] = site.facts.get(_LOCAL, 0) + 1
    for one in _counting(site):
        one.facts[_BELOW] = one.facts.get(_BELOW, 0) + 1


def _begin(site: ModelCgroup) -> None:
    """Count from now on: the highest number is the present one."""
    site.most = site.count
    _recharge(site)


def _recharge(site: ModelCgroup) -> None:
    """Charge the tasks of a container anew, one by one: each counts twice above for a moment."""
    for one in _counting(site.parent) if site.parent and site.populated() else ():
        one.reach(one.count + 1)


def _max(fact: str) -> FileBehaviour:
    return FileBehaviour(derived=lambda site: f"max {site.facts.get(fact, 0)}")


def _max_keyed(fact: str) -> FileBehaviour:
    return FileBehaviour(derived=lambda site: {"max": site.facts.get(fact, 0)})


BEHAVIOUR = Behaviour(
    fork=(_room_for_one_more,),
    on_enabled=_begin,
    on_disabled=_recharge,
    files={
        PIDS_CURRENT: FileBehaviour(derived=lambda site: site.count),
        "pids.peak": FileBehaviour(derived=lambda site: site.most),
        "pids.events": _max(_BELOW),
        "pids.events.local": _max_keyed(_LOCAL),
    },
)
