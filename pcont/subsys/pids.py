"""pids: how many tasks there may be in a container and below it; beyond that fork(2) fails.

The kernel's admin-guide/cgroup-v1/pids.rst. The limit holds for forks, with EAGAIN, and not for
those who are attached. The patch set of 2006 had numtasks of ResGroups for this.
"""

from __future__ import annotations

from errno import EINVAL

from pcont.tables.rules import Site, Violation

PIDS = "pids"
PIDS_MAX, PIDS_CURRENT = "pids.max", "pids.current"
HIGHEST = 1 << 22  # PID_MAX_LIMIT of 64-bit kernels


def no_more_than_pids(now: Site, wanted: Site) -> Violation | None:
    """There cannot be more tasks than there are ids for them."""
    limit = wanted.value(PIDS_MAX)
    if limit is None or 0 <= limit <= HIGHEST:
        return None
    reason = f"limits go from 0 to {HIGHEST}, the number of ids that there are"
    return Violation(EINVAL, reason, f"no limit: pcont set {now.word} {PIDS_MAX}=max")
