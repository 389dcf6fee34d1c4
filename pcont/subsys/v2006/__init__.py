"""The subsystems of the patch set of 2006, where they are not as in `subsys`: one table each.

Sections are those of the patch's semantics as the modules quote them.
"""

from __future__ import annotations

import importlib

from pcont.tables.control_file import Subsystem

# Newest binding first, as names stand in /proc/PID/container: by descending id (1.5).
NAMES = ("numtasks", "cpuacct", "cpuset", "bc")


def load(name: str) -> Subsystem | None:
    """The table of a subsystem, without a name the core's; None where the patch has no such one."""
    if name and name not in (*NAMES, "ns"):
        return None
    module = "ns" if name == "ns" else f"v2006.{name or 'core'}"
    table = importlib.import_module(f"pcont.subsys.{module}").TABLE
    assert isinstance(table, Subsystem)
    return table
