"""The control files that every container has, whatever is bound to its hierarchy.

Source: containers.txt of the 2006 patch set (tasks, notify_on_release, release_agent) and the
kernel's admin-guide/cgroup-v1/cgroups.rst (cgroup.*). The patch set announced auto_delete, which no
kernel got: pcont keeps it (release.py).
"""

from pcont.tables.control_file import ControlFile, Subsystem
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
            writable=True,
            default=0,
            kept=True,
        ),
        ControlFile(
            "cgroup.clone_children",
            "1: a new child gets its parent's cpuset.cpus and cpuset.mems",
            FLAG,
            writable=True,
            default=0,
            passed_on=True,
        ),
        ControlFile("cgroup.procs", "the processes in the container, by pid", writable=True),
        ControlFile(
            "cgroup.sane_behavior", "always 0 on cgroup v1", FLAG, where=Where.ROOT, default=0
        ),
        ControlFile(
            "notify_on_release",
            "1: the release agent runs when it has no more task and no child",
            FLAG,
            writable=True,
            default=0,
            passed_on=True,
        ),
        ControlFile(
            "release_agent",
            "the program that the kernel runs for notify_on_release",
            WORD,
            writable=True,
            where=Where.ROOT,
            longest=lambda machine: 4095,  # PATH_MAX with its NUL
        ),
        ControlFile("tasks", "the tasks (threads) in the container, by id", writable=True),
    ),
)
