"""memset on cgroup v1: its control files."""

from __future__ import annotations

from pcont.subsys.memset import CPUS_FOLLOW, HALF, MEMSET
from pcont.subsys.v1 import cpuset
from pcont.tables.control_file import Access, ControlFile, Subsystem, Virtual, VirtualSubsystem
from pcont.tables.rules import Where
from pcont.values import FLAG


def _other_name(word: str) -> ControlFile:
    known = cpuset.TABLE.by_name[f"{cpuset.TABLE.name}.{word}"]
    return ControlFile(
        f"{MEMSET}.{word}",
        known.help,
        known.type,
        default=known.default,
        order=known.order,
        access=Access(writable=known.access.writable),
        virtual=Virtual(stands_for=known.name),
    )


TABLE = Subsystem(
    name=MEMSET,
    help="memory nodes, the half of cpuset",
    virtual=VirtualSubsystem(requires=cpuset.TABLE.name),
    files=(
        *map(_other_name, HALF),
        ControlFile(
            CPUS_FOLLOW,
            "1: the CPUs of containers are their parent's; 0: they are set by cpuset.cpus",
            FLAG,
            default=1,
            access=Access(writable=True, where=Where.ROOT),
        ),
    ),
)
