"""pids in the model: counts of tasks, and forks that are refused at the limit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from errno import EAGAIN

from pcont.subsys.pids import PIDS_CURRENT, PIDS_MAX
from pcont.tables.behaviour import Behaviour, FileBehaviour, ForkRule
from pcont.tables.interface import Interface
from pcont.tables.rules import ModelCgroup, Violation

COUNTS = {
    PIDS_CURRENT: FileBehaviour(derived=lambda site: site.charged),
    "pids.peak": FileBehaviour(derived=lambda site: site.most),
}


def counting(site: ModelCgroup) -> Iterator[ModelCgroup]:
    """Yield the containers from here to the root that have a limit of tasks."""
    return (one for one in site.upwards() if one.parent and one.has(PIDS_MAX))


def may_fork(count_refusal: Callable[[ModelCgroup, ModelCgroup], None]) -> ForkRule:
    """Return the rule that each container from here to the root has room for one more task
    (kernel/cgroup/pids.c, pids_can_fork()).

    `count_refusal`: called with the container of the task that forks, and the one whose limit
    refuses the fork.
    """

    def rule(site: ModelCgroup) -> Violation | None:
        for here in counting(site):
            limit = here.value(PIDS_MAX)
            if limit is not None and here.charged >= limit:
                count_refusal(site, here)
                return Violation(
                    EAGAIN, f"{here.path} has {here.charged} tasks, and {PIDS_MAX} is {limit}"
                )
            here.reach(here.charged + 1)
        return None

    return rule


BEHAVIOURS = {
    Interface.V1: Behaviour(
        fork=(may_fork(lambda site, here: site.refuse()),),
        files={
            **COUNTS,
            "pids.events": FileBehaviour(derived=lambda site: f"max {site.refused}"),
        },
    )
}
