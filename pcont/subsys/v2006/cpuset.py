"""cpuset in 2006 (patch semantics, 2): bare file names, and lists that are never empty again.

The rules are those of cgroup v1. Otherwise than there, a list is cut down to what is online before
it is checked, so that one without anything left is ENOSPC, tasks or not; and tasks get new CPUs
only when their ids are written to `tasks` again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from errno import EACCES, ENOSPC

from pcont.subsys import cpuset
from pcont.subsys.v2006.values import LENIENT_FLAG, OnlineList
from pcont.tables.control_file import ControlFile
from pcont.tables.rules import Machine, Rule, Site, Violation
from pcont.values import FLAG, INT_FLAG, Codec

NESTED = (cpuset.around_children, cpuset.inside_parent, cpuset.apart_from_siblings)


def longest(machine: Machine) -> int:
    """As many bytes as a list of all CPUs may take."""
    return 100 + 6 * machine.cpu_limit


def some_online(file: str) -> Rule:
    """A cpuset cannot be emptied again."""

    def rule(now: Site, wanted: Site) -> Violation | None:
        if wanted.value(file):
            return None
        return Violation(ENOSPC, "none of these is online, and the list may not be empty")

    return rule


def _list(file: str, read_as: Callable[[Machine], Codec]) -> ControlFile:
    row = cpuset.TABLE.by_name[file]
    row = replace(row, read_as=read_as, longest=longest, moves_affinity=False)
    return replace(row, rules=(some_online(file), *NESTED))


def _other(row: ControlFile) -> ControlFile:
    if row.rules:
        row = replace(row, rules=NESTED)
    if row.type in (FLAG, INT_FLAG):
        row = replace(row, type=LENIENT_FLAG)
    return replace(row, longest=longest, read_only=EACCES)


LISTS = (
    _list(cpuset.MEMS, lambda machine: OnlineList(machine.nodes, machine.node_limit)),
    _list(cpuset.CPUS, lambda machine: OnlineList(machine.cpus, machine.cpu_limit)),
)
HARDWALL = "cpuset.mem_hardwall"  # came later, as what has no bare name did

TABLE = replace(
    cpuset.TABLE,
    files=(
        *LISTS,
        *(
            _other(row)
            for row in cpuset.TABLE.files
            if row.v6 and row.name not in (cpuset.MEMS, cpuset.CPUS, HARDWALL)
        ),
    ),
)
