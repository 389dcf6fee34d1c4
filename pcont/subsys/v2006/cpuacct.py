"""cpuacct in 2006 (patch semantics, 3): milliseconds of the container's own tasks, no newline."""

from __future__ import annotations

from pcont.tables.control_file import ControlFile, Subsystem
from pcont.tables.rules import ModelCgroup
from pcont.values import INTEGER

MILLISECOND = 1_000_000


def usage(site: ModelCgroup) -> int:
    """Milliseconds, rounded down."""
    return sum(sum(times) for times in site.used().values()) // MILLISECOND


TABLE = Subsystem(
    name="cpuacct",
    help="CPU time used by its own tasks, in milliseconds",
    own_time=True,
    files=(
        ControlFile(
            "cpuacct.usage",
            "milliseconds of CPU time that tasks have used in here",
            INTEGER,
            shown=True,
            derived=usage,
            end="",
        ),
    ),
)
