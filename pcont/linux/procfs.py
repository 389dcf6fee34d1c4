"""Parse the texts of /proc on tasks and pinned namespaces; pure functions."""

from __future__ import annotations

from collections.abc import Iterable

from pcont.bases import NamedTuple, on_disk
from pcont.kernel.proc_text import MountLine, lines
from pcont.kernel.types import Task

# include/linux/sched.h. cgroup_procs_write_start() defines which threads cannot be moved.
_PF_EXITING = 0x00000004
_PF_KTHREAD = 0x00200000
_PF_NO_SETAFFINITY = 0x04000000
_KTHREADD = 2


def mount_id(fdinfo: str) -> int:
    """Return the mount id of an open file, from the text of its fdinfo; 0 if the kernel does not
    report it.
    """
    return next((int(line.split()[1]) for line in lines(fdinfo) if line.startswith("mnt_id:")), 0)


def namespace_pins(mounts: Iterable[MountLine], directory: str) -> dict[str, list[str]]:
    """Return the pinned namespaces below a directory: by pin name, the kinds. They are mounted at
    DIRECTORY/NAME/KIND.
    """
    found: dict[str, list[str]] = {}
    for line in mounts:
        above, name = line.point.rpartition("/")[::2]
        outer, its_name = above.rpartition("/")[::2]
        if line.type == "tmpfs" and above == directory:
            found.setdefault(name, [])
        elif line.type == "nsfs" and outer == directory:
            found.setdefault(its_name, []).append(name)
    return {name: sorted(kinds) for name, kinds in sorted(found.items())}


def _stat(stat: str) -> tuple[int, str, list[str]]:
    """Split a line of /proc/TID/stat (proc(5)): id, name and the fields from the third on."""
    id, _, rest = stat.partition(" (")
    # The name in parentheses may contain any character, even parentheses.
    name, _, rest = rest.rpartition(") ")
    return int(id), name, rest.split(" ", 37)


def process(status: str) -> int:
    """Return the id of a task's process, from the text of /proc/TID/status."""
    return int(status.partition("\nTgid:")[2].partition("\n")[0])


def started(stat: str) -> int:
    """Return how many tasks were started since boot, from the text of /proc/stat; 0 if it does not
    say that.
    """
    return int(stat.partition("\nprocesses ")[2].partition("\n")[0] or 0)


def capabilities(status: str) -> int:
    """Return the effective capabilities as bits, from the text of /proc/PID/status."""
    return next(int(line.split()[1], 16) for line in lines(status) if line.startswith("CapEff:"))


class Signals(NamedTuple):
    """The signals of a task, each set as bits: 1 << (number - 1)."""

    pending: int
    blocked: int
    ignored: int
    caught: int


def signals(status: str) -> Signals:
    """Return the signals from the text of /proc/TID/status. Pending ones include those of the
    process.
    """
    fields = dict(line.split(":", 1) for line in lines(status))
    own, shared, blocked, ignored, caught = (
        int(fields[name], 16) for name in ("SigPnd", "ShdPnd", "SigBlk", "SigIgn", "SigCgt")
    )
    return Signals(own | shared, blocked, ignored, caught)


@on_disk("CpuTime", "user", "system", "cpu")
class CpuTime(NamedTuple):
    """The CPU time of a task in nanoseconds, in user and in kernel mode, and the CPU where it ran
    last.
    """

    user: int
    system: int
    cpu: int


def cpu_time(stat: str, ticks: int) -> CpuTime:
    """Return the CPU time from the text of /proc/TID/stat, which counts `ticks` per second."""
    return timed(stat, 0, ticks)[1]


def task(stat: str, pid: int) -> Task:
    """Return a task from the text of /proc/TID/stat. `pid`: the id of its process."""
    return _task(*_stat(stat), pid)


def first_thread(stat: str) -> Task | None:
    """Return a task from the text of /proc/TID/stat; None if it is not the first thread of its
    process.

    Any other thread has the exit signal -1 (thread_group_leader(), include/linux/sched/signal.h).
    """
    id, name, fields = _stat(stat)
    return None if fields[35].startswith("-") else _task(id, name, fields, id)


def timed(stat: str, pid: int, ticks: int) -> tuple[Task, CpuTime]:
    """Return a task and its CPU time from the text of /proc/TID/stat, as `task` and `cpu_time`
    do.
    """
    id, name, fields = _stat(stat)
    user, system = int(fields[11]) * 1_000_000_000, int(fields[12]) * 1_000_000_000
    used = CpuTime(user // ticks, system // ticks, int(fields[36]))
    return _task(id, name, fields, pid), used


def _task(id: int, name: str, fields: list[str], pid: int) -> Task:
    flags = int(fields[6])
    kernel = bool(flags & _PF_KTHREAD)
    # In the order of the fields: that is faster, and some commands read thousands of tasks.
    return Task(
        id,
        pid,
        int(fields[1]),
        name,
        fields[0],
        kernel,
        bool(flags & _PF_NO_SETAFFINITY) or (id == _KTHREADD and kernel),
        int(fields[19]),
        bool(flags & _PF_EXITING),
        int(fields[17]),
    )
