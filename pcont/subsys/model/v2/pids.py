"""pids on cgroup v2 in the model: counts of tasks, and forks that are refused at the limit."""

from __future__ import annotations

from pcont.subsys.model.pids import COUNTS, counting, may_fork
from pcont.tables.behaviour import Behaviour, FileBehaviour
from pcont.tables.rules import ModelCgroup

# Facts of a container: how many forks its own limit has refused, and those of all limits below.
_LOCAL, _BELOW = "pids.local", "pids.below"


def _count_refusal(site: ModelCgroup, here: ModelCgroup) -> None:
    """Count a fork that the limit of the container `here` has refused (pids_event())."""
    here.facts[_LOCAL] = here.facts.get(_LOCAL, 0) + 1
    for one in counting(here):
        one.facts[_BELOW] = one.facts.get(_BELOW, 0) + 1


def _begin(site: ModelCgroup) -> None:
    """Count from now on: the highest number is the present one. A zombie stays charged where it was
    when it exited (cgroup_migrate_add_task()).
    """
    site.charge_no_zombies()
    site.most = site.charged
    _recharge(site)


def _recharge(site: ModelCgroup) -> None:
    """Charge the tasks to another container, one by one. Until the old charge of a task is dropped,
    the containers above count the task twice.
    """
    for one in counting(site.parent) if site.parent and site.populated() else ():
        one.reach(one.charged + 1)


def _max(fact: str) -> FileBehaviour:
    return FileBehaviour(derived=lambda site: f"max {site.facts.get(fact, 0)}")


def _max_keyed(fact: str) -> FileBehaviour:
    return FileBehaviour(derived=lambda site: {"max": site.facts.get(fact, 0)})


BEHAVIOUR = Behaviour(
    fork=(may_fork(_count_refusal),),
    on_enabled=_begin,
    on_disabled=_recharge,
    files={
        **COUNTS,
        "pids.events": _max(_BELOW),
        "pids.events.local": _max_keyed(_LOCAL),
    },
)
