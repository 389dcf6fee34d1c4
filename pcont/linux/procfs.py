"""What /proc says of tasks and pinned namespaces, read into data; pure functions of text."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pcont.kernel.proc_text import MountLine, lines
from pcont.kernel.types import Task
from pcont.tags import on_disk

# include/linux/sched.h; which threads are refused says cgroup_procs_write_start().
_PF_EXITING = 0x00000004
_PF_KTHREAD = 0x00200000
_PF_NO_SETAFFINITY = 0x04000000
_KTHREADD = 2


def mount_id(fdinfo: str) -> int:
    """The mount of an open file, from its /proc/PID/fdinfo; 0 where the kernel does not say."""
    return next((int(line.split()[1]) for line in lines(fdinfo) if line.startswith("mnt_id:")), 0)


def namespace_pins(mounts: Iterable[MountLine], directory: str) -> dict[str, list[str]]:
    """The kinds of namespaces that are pinned below a directory, by name: DIRECTORY/NAME/KIND."""
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
    """A line of /proc/TID/stat (proc(5)): id, name and the fields from the third on."""
    id, _, rest = stat.partition(" (")
    # The name in parentheses may hold anything, parentheses too.
    name, _, rest = rest.rpartition(") ")
    return int(id), name, rest.split()


def capabilities(status: str) -> int:
    """The effective ones in a /proc/PID/status, as bits."""
    return next(int(line.split()[1], 16) for line in lines(status) if line.startswith("CapEff:"))


@dataclass(frozen=True)
class Signals:
    """What a /proc/TID/status says of signals, each a bit of these: 1 << (number - 1)."""

    pending: int
    blocked: int
    ignored: int
    caught: int


def signals(status: str) -> Signals:
    """Those of a task; of its process, too, where they are pending."""
    fields = dict(line.split(":", 1) for line in lines(status))
    own, shared, blocked, ignored, caught = (
        int(fields[name], 16) for name in ("SigPnd", "ShdPnd", "SigBlk", "SigIgn", "SigCgt")
    )
    return Signals(own | shared, blocked, ignored, caught)


@on_disk("CpuTime", "user", "system", "cpu")
@dataclass(frozen=True)
class CpuTime:
    """Nanoseconds of CPU time of a task, and the CPU where it ran last."""

    user: int
    system: int
    cpu: int


def cpu_time(stat: str, ticks: int) -> CpuTime:
    """The times of a /proc/TID/stat, which counts `ticks` to the second."""
    _, _, fields = _stat(stat)
    user, system = (int(field) * 1_000_000_000 // ticks for field in fields[11:13])
    return CpuTime(user, system, int(fields[36]))


def task(stat: str, pid: int) -> Task:
    """The facts of a /proc/TID/stat."""
    id, name, fields = _stat(stat)
    flags = int(fields[6])
    return Task(
        id=id,
        pid=pid,
        parent=int(fields[1]),
        name=name,
        state=fields[0],
        kernel=bool(flags & _PF_KTHREAD),
        fixed=bool(flags & _PF_NO_SETAFFINITY) or (id == _KTHREADD and bool(flags & _PF_KTHREAD)),
        start=int(fields[19]),
        ending=bool(flags & _PF_EXITING),
    )
