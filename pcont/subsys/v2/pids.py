"""pids on cgroup v2: its control files, which are those of cgroup v1.

The kernel's admin-guide/cgroup-v2.rst, section PID.
"""

from __future__ import annotations

from pcont.subsys.v1 import pids
from pcont.subsys.v2.values import KEYED
from pcont.tables.control_file import BELOW_ROOT, ControlFile, Subsystem

TABLE = Subsystem(
    name=pids.TABLE.name,
    help=pids.TABLE.help,
    files=(
        *pids.TABLE.files,
        ControlFile(
            "pids.events.local",
            "max N: forks were refused N times by the limit of this container itself",
            KEYED,
            access=BELOW_ROOT,
        ),
    ),
)
