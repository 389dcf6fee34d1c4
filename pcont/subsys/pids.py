"""pids: limits the number of tasks in a container and its descendants.

The kernel's admin-guide/cgroup-v1/pids.rst. At the limit, fork(2) fails with EAGAIN;
an attach succeeds. The patch set of 2006 had numtasks of ResGroups for this.
"""

from __future__ import annotations

from errno import EINVAL

from pcont.tables.rules import Site, Violation

PIDS = "pids"
PIDS_MAX, PIDS_CURRENT = "pids.max", "pids.current"
HIGHEST = 1 << 22  # PID_MAX_LIMIT of 64-bit kernels


def no_more_than_pids(now: Site, wanted: Site) -> Violation | None:
    """Check that the limit is between 0 and the number of process ids."""
    limit = wanted.value(PIDS_MAX)
    if limit is None or 0 <= limit <= HIGHEST:
        return None
    reason = f"limits go from 0 to {HIGHEST}, the number of ids that there are"
    return Violation(EINVAL, reason, f"no limit: pcont set {now.word} {PIDS_MAX}=max")
