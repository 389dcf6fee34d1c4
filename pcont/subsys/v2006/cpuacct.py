"""cpuacct in 2006 (patch semantics, 3): milliseconds of the container's own tasks, no newline."""

from __future__ import annotations

from pcont.tables.control_file import Access, ControlFile, Listed, Subsystem
from pcont.values import INTEGER

TABLE = Subsystem(
    name="cpuacct",
    help="CPU time used by its own tasks, in milliseconds",
    files=(
        ControlFile(
            "cpuacct.usage",
            "milliseconds of CPU time that tasks have used in here",
            INTEGER,
            listed=Listed.ALWAYS,
            access=Access(end=""),
        ),
    ),
)
