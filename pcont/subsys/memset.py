"""memset: which memory nodes the tasks of a container may use, without a say in their CPUs.

V5 of the patch set had split cpuset into two subsystems; V6 dropped that, and the kernel has one
controller (patch semantics, 2.5). So the files of memset are other names of the kernel's own, and
both are in one hierarchy, or only one of them is bound. Where cpuset was not asked for itself, the
CPUs of a container are those of its parent: that is up to pcont, not to the kernel.
"""

from __future__ import annotations

from pcont.subsys import cpuset
from pcont.tables.control_file import ControlFile, Subsystem
from pcont.tables.rules import Where
from pcont.values import FLAG

NAME = "memset"
CPUS_FOLLOW = f"{NAME}.cpus_follow"
HALF = (
    *("mems", "effective_mems", "mem_exclusive", "mem_hardwall", "memory_migrate"),
    *("memory_pressure", "memory_pressure_enabled", "memory_spread_page", "memory_spread_slab"),
)


def _other_name(word: str) -> ControlFile:
    known = cpuset.TABLE.by_name[f"{cpuset.TABLE.name}.{word}"]
    return ControlFile(
        f"{NAME}.{word}",
        known.help,
        known.type,
        writable=known.writable,
        default=known.default,
        order=known.order,
        stands_for=known.name,
    )


TABLE = Subsystem(
    name=NAME,
    help="memory nodes, the half of cpuset",
    over=cpuset.TABLE.name,
    files=(
        *map(_other_name, HALF),
        ControlFile(
            CPUS_FOLLOW,
            "1: the CPUs of containers are their parent's; 0: they are set by cpuset.cpus",
            FLAG,
            writable=True,
            where=Where.ROOT,
            default=1,
        ),
    ),
)
