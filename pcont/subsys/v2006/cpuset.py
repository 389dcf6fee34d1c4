"""cpuset in 2006 (patch semantics, 2): bare file names, and lists that are never empty again.

The rules are those of cgroup v1. Otherwise than there, a list is cut down to what is online before
it is checked, so that one without anything left is ENOSPC, tasks or not; and tasks get new CPUs
only when their ids are written to `tasks` again.
"""

from __future__ import annotations

from collections.abc import Callable
from errno import EACCES, ENOSPC

from pcont.subsys import cpuset
from pcont.subsys.v1.cpuset import TABLE as TABLE_V1
from pcont.subsys.v2006.values import LENIENT_FLAG, OnlineList
from pcont.tables.control_file import ControlFile, Subsystem
from pcont.tables.face import Face
from pcont.tables.rules import Machine, Rule, Site, Violation
from pcont.values import FLAG, INT_FLAG, Codec

# Those that had names in 2006; files of later kernels are not there.
_BARE = (
    *("mems", "cpus", "cpu_exclusive", "mem_exclusive", "memory_migrate", "memory_pressure"),
    *("memory_pressure_enabled", "memory_spread_page", "memory_spread_slab"),
)
_NESTED_2006 = (cpuset.around_children, cpuset.inside_parent, cpuset.apart_from_siblings)


def _longest(machine: Machine) -> int:
    """Return how many bytes a list of all CPUs may take."""
    return 100 + 6 * machine.cpu_limit


def _some_online(file: str) -> Rule:
    """Return the rule that a list cannot be emptied."""

    def rule(now: Site, wanted: Site) -> Violation | None:
        if wanted.value(file):
            return None
        return Violation(ENOSPC, "none of these is online, and the list may not be empty")

    return rule


def _list(file: str, read_as: Callable[[Machine], Codec]) -> ControlFile:
    row = TABLE_V1.by_name[file]
    return row._replace(
        rules=(_some_online(file), *_NESTED_2006),
        access=row.access._replace(read_as=read_as, longest=_longest),
        undo=row.undo._replace(moves_affinity=False),
    )


def _other(row: ControlFile) -> ControlFile:
    if row.rules:
        row = row._replace(rules=_NESTED_2006)
    if row.type in (FLAG, INT_FLAG):
        row = row._replace(type=LENIENT_FLAG)
    return row._replace(access=row.access._replace(longest=_longest, read_only=EACCES))


TABLE = Subsystem(
    name=TABLE_V1.name,
    help=TABLE_V1.help,
    entry=TABLE_V1.entry,
    making=TABLE_V1.making,
    removal=TABLE_V1.removal,
    may_refuse=TABLE_V1.may_refuse,
    # v1 also takes the bare name of mem_hardwall, which came after 2006.
    faces={f"cpuset.{word}": Face(word) for word in (*_BARE, "mem_hardwall")},
    files=(
        _list(cpuset.MEMS, lambda machine: OnlineList(machine.nodes, machine.node_limit)),
        _list(cpuset.CPUS, lambda machine: OnlineList(machine.cpus, machine.cpu_limit)),
        *(_other(TABLE_V1.by_name[f"cpuset.{word}"]) for word in _BARE[2:]),
    ),
)
