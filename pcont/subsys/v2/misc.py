"""misc on cgroup v2: its control files, which are those of cgroup v1.

The kernel's admin-guide/cgroup-v2.rst, section Misc.
"""

from __future__ import annotations

from pcont.subsys.v1 import misc
from pcont.tables.control_file import Access, ControlFile, Subsystem

_ON_ROOT_TOO = ("misc.current", "misc.peak")


def _row(known: ControlFile) -> ControlFile:
    return known._replace(access=Access()) if known.name in _ON_ROOT_TOO else known


TABLE = Subsystem(
    name=misc.TABLE.name, help=misc.TABLE.help, files=tuple(map(_row, misc.TABLE.files))
)
