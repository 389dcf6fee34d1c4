"""pids in the model: counts of tasks, and forks that are refused at the limit."""

from __future__ import annotations

from errno import EAGAIN

from pcont.subsys.pids import PIDS_CURRENT, PIDS_MAX
from pcont.tables.behaviour import Behaviour, FileBehaviour
from pcont.tables.interface import Interface
from pcont.tables.rules import ModelCgroup, Violation


def _room_for_one_more(site: ModelCgroup) -> Violation | None:
    """Check each container from here to the root (kernel/cgroup/pids.c, pids_can_fork())."""
    here = site
    while here.parent:
        limit = here.value(PIDS_MAX)
        if limit is not None and here.count >= limit:
            site.refuse()
            return Violation(
                EAGAIN, f"{here.path} has {here.count} tasks, and {PIDS_MAX} is {limit}"
            )
        here.reach(here.count + 1)
        here = here.parent
    return None


BEHAVIOURS = {
    Interface.V1: Behaviour(
        fork=(_room_for_one_more,),
        files={
            PIDS_CURRENT: FileBehaviour(derived=lambda site: site.count),
            "pids.peak": FileBehaviour(derived=lambda site: site.most),
            "pids.events": FileBehaviour(derived=lambda site: f"max {site.refused}"),
        },
    )
}
