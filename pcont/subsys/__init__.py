"""The subsystems that have a table of their own, by name, each loaded when it is asked for."""

from __future__ import annotations

import importlib
from functools import cache

from pcont.tables import ControlFile, Subsystem

NAMES = ("cpuset", "cpuacct")

# Files of the kernel's other controllers that reset or trigger something when written: a write
# there cannot be taken back (kernel documentation, admin-guide/cgroup-v1).
LASTING_SUFFIXES = (
    ".failcnt",
    ".force_empty",
    ".max_usage_in_bytes",
    ".reset_stats",
    ".allow",
    ".deny",
    ".event_control",
)


@cache
def load(name: str) -> Subsystem | None:
    """The table of a subsystem, or None for a controller that has none."""
    if name not in NAMES:
        return None
    table = importlib.import_module(f"pcont.subsys.{name}").TABLE
    assert isinstance(table, Subsystem)
    return table


def row(file: str) -> ControlFile | None:
    """The row of a control file such as `cpuset.cpus`, or None where no table has it."""
    if file in core().by_name:
        return core().by_name[file]
    table = load(file.partition(".")[0])
    return table.by_name.get(file) if table else None


@cache
def core() -> Subsystem:
    """The files that every container has, whatever is bound."""
    from pcont.subsys.core import TABLE

    return TABLE


def lasting(file: str) -> bool:
    """Whether a write to this file cannot be undone."""
    known = row(file)
    return known.lasting if known else file.endswith(LASTING_SUFFIXES)
