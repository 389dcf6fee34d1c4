"""pids: how many tasks there may be in a container and below it; beyond that fork(2) fails.

The kernel's admin-guide/cgroup-v1/pids.rst. The limit holds for forks, with EAGAIN, and not for
those who are attached. The patch set of 2006 had numtasks of ResGroups for this.
"""

from __future__ import annotations

from errno import EAGAIN, EINVAL

from pcont.tables.control_file import ControlFile, Subsystem
from pcont.tables.rules import ModelCgroup, Site, Violation, Where
from pcont.values import INTEGER, LIMIT

MAX, CURRENT = "pids.max", "pids.current"
HIGHEST = 1 << 22  # PID_MAX_LIMIT of 64-bit kernels


def no_more_than_pids(now: Site, wanted: Site) -> Violation | None:
    """There cannot be more tasks than there are ids for them."""
    limit = wanted.value(MAX)
    if limit is None or 0 <= limit <= HIGHEST:
        return None
    reason = f"limits go from 0 to {HIGHEST}, the number of ids that there are"
    return Violation(EINVAL, reason, f"no limit: pcont set {now.word} {MAX}=max")


def room_for_one_more(site: ModelCgroup) -> Violation | None:
    """From here to the top, up to the first limit (kernel/cgroup/pids.c, pids_can_fork())."""
    here = site
    while here.parent:
        limit = here.value(MAX)
        if limit is not None and here.count >= limit:
            site.refuse()
            return Violation(EAGAIN, f"{here.path} has {here.count} tasks, and {MAX} is {limit}")
        here.reach(here.count + 1)
        here = here.parent
    return None


TABLE = Subsystem(
    name="pids",
    help="limits of the number of tasks",
    fork=(room_for_one_more,),
    files=(
        ControlFile(
            MAX,
            "maximum number of tasks here and below",
            LIMIT,
            writable=True,
            where=Where.NOT_ON_ROOT,
            default=None,
            rules=(no_more_than_pids,),
            shown=True,
        ),
        ControlFile(
            CURRENT,
            "number of tasks here and below",
            INTEGER,
            where=Where.NOT_ON_ROOT,
            derived=lambda site: site.count,
        ),
        ControlFile(
            "pids.peak",
            "maximum number of tasks so far",
            INTEGER,
            where=Where.NOT_ON_ROOT,
            derived=lambda site: site.most,
        ),
        ControlFile(
            "pids.events",
            "max N: forks of tasks in here were refused N times",
            where=Where.NOT_ON_ROOT,
            derived=lambda site: f"max {site.refused}",
        ),
    ),
)
