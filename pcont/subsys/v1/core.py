"""The control files that every container of cgroup v1 has, whatever is bound to its hierarchy.

Source: containers.txt of the 2006 patch set (tasks, notify_on_release, release_agent) and the
kernel's admin-guide/cgroup-v1/cgroups.rst (cgroup.*). The patch set announced auto_delete, which no
kernel has: pcont provides it (virtual/auto_delete.py).
"""

from __future__ import annotations

from pcont.tables.control_file import Access, ControlFile, Creation, Subsystem, Virtual
from pcont.tables.rules import Where
from pcont.values import FLAG, WORD

TABLE = Subsystem(
    name="",
    help="every container",
    files=(
        ControlFile(
            "auto_delete",
            "1: the container is removed when it has no more task and no child",
            FLAG,
            default=0,
            access=Access(writable=True),
            virtual=Virtual(everywhere=True),
        ),
        ControlFile(
            "cgroup.clone_children",
            "1: a new child gets its parent's cpuset.cpus and cpuset.mems",
            FLAG,
            default=0,
            access=Access(writable=True),
            creation=Creation(passed_on=True),
        ),
        ControlFile(
            "cgroup.procs", "the processes in the container, by pid", access=Access(writable=True)
        ),
        ControlFile(
            "cgroup.sane_behavior",
            "always 0 on cgroup v1",
            FLAG,
            default=0,
            access=Access(where=Where.ROOT),
        ),
        ControlFile(
            "notify_on_release",
            "1: the release agent runs when it has no more task and no child",
            FLAG,
            default=0,
            access=Access(writable=True),
            creation=Creation(passed_on=True),
        ),
        ControlFile(
            "release_agent",
            "the program that the kernel runs for notify_on_release",
            WORD,
            # The longest path is PATH_MAX with its NUL.
            access=Access(writable=True, where=Where.ROOT, longest=lambda machine: 4095),
        ),
        ControlFile(
            "tasks", "the tasks (threads) in the container, by id", access=Access(writable=True)
        ),
    ),
)
