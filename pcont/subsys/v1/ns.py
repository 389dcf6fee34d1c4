"""ns on cgroup v1: its control files."""

from __future__ import annotations

from pcont.subsys.ns import from_its_parent, has_no_task_yet, made_from_above, moved_from_above
from pcont.tables.control_file import Subsystem

TABLE = Subsystem(
    name="ns",
    help="a container, and namespaces, for each process that is cloned",
    files=(),
    entry=(moved_from_above, has_no_task_yet, from_its_parent),
    making=(made_from_above,),
)
