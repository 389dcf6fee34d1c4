"""pids on cgroup v1: its control files."""

from __future__ import annotations

from pcont.subsys.pids import PIDS_CURRENT, PIDS_MAX, no_more_than_pids
from pcont.tables.control_file import Access, ControlFile, Listed, Subsystem
from pcont.tables.rules import Where
from pcont.values import INTEGER, LIMIT

TABLE = Subsystem(
    name="pids",
    help="limits of the number of tasks",
    files=(
        ControlFile(
            PIDS_MAX,
            "maximum number of tasks here and below",
            LIMIT,
            default=None,
            rules=(no_more_than_pids,),
            listed=Listed.ALWAYS,
            access=Access(writable=True, where=Where.NOT_ON_ROOT),
        ),
        ControlFile(
            PIDS_CURRENT,
            "number of tasks here and below",
            INTEGER,
            access=Access(where=Where.NOT_ON_ROOT),
        ),
        ControlFile(
            "pids.peak",
            "maximum number of tasks so far",
            INTEGER,
            access=Access(where=Where.NOT_ON_ROOT),
        ),
        ControlFile(
            "pids.events",
            "max N: forks of tasks in here were refused N times",
            access=Access(where=Where.NOT_ON_ROOT),
        ),
    ),
)
