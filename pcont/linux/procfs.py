"""What /proc says of hierarchies: its texts, read into trees; pure functions of text."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from pcont.kernel.paths import is_outside
from pcont.kernel.types import Controller, Mount, Task, Tree
from pcont.tags import on_disk

# include/linux/sched.h; which threads are refused says cgroup_procs_write_start().
_PF_EXITING = 0x00000004
_PF_KTHREAD = 0x00200000
_PF_NO_SETAFFINITY = 0x04000000
_KTHREADD = 2
_OCTAL = re.compile(rb"\\([0-7]{3})")


@dataclass(frozen=True)
class MountLine:
    """A line of /proc/PID/mountinfo, as far as cgroups need it (proc(5))."""

    device: str
    root: str
    point: str
    type: str
    source: str
    flags: tuple[str, ...]
    options: tuple[str, ...]
    id: int = 0
    parent: int = 0


def lines(text: str) -> list[str]:
    """The lines of a file of /proc: names in them may hold every other kind of line break."""
    return text.removesuffix("\n").split("\n") if text else []


def unescape(text: str) -> str:
    r"""Octal escapes of bytes as mountinfo has them: `\040` is a blank."""
    raw = text.encode("utf-8", "surrogateescape")
    plain = _OCTAL.sub(lambda found: bytes([int(found[1], 8) & 0xFF]), raw)
    return plain.decode("utf-8", "surrogateescape")


def mount_lines(mountinfo: str) -> list[MountLine]:
    """The lines of a mountinfo, in the order of the file."""
    found = []
    for line in lines(mountinfo):
        left, _, right = line.partition(" - ")
        before, after = left.split(" "), right.split(" ")
        if len(before) < 6 or len(after) < 3:
            continue
        found.append(
            MountLine(
                device=before[2],
                root=unescape(before[3]),
                point=unescape(before[4]),
                type=after[0],
                source=unescape(after[1]),
                flags=tuple(before[5].split(",")),
                options=tuple(after[2].split(",")),
                id=int(before[0]),
                parent=int(before[1]),
            )
        )
    return found


def on_point(mounts: Iterable[MountLine], point: str) -> MountLine | None:
    """The mount that is seen at a directory: of several there, the one that came last."""
    return next((one for one in reversed(list(mounts)) if one.point == point), None)


def mount_id(fdinfo: str) -> int:
    """The mount of an open file, from its /proc/PID/fdinfo; 0 where the kernel does not say."""
    return next((int(line.split()[1]) for line in lines(fdinfo) if line.startswith("mnt_id:")), 0)


def points(mountinfo: str, tree: str, known: Iterable[str]) -> list[str]:
    """The directories where a mountinfo has a hierarchy; `known`: the names of all controllers."""
    kernel = set(known)
    key = _key(tree.split(","), kernel)
    seen = [line for line in mount_lines(mountinfo) if line.type == "cgroup"]
    return [line.point for line in seen if _key(line.options, kernel) == key]


def selecting(line: MountLine, known: Iterable[str]) -> str:
    """The options of a mount that say which hierarchy it is."""
    names = [word for word in line.options if word in set(known)]
    words = [word for word in line.options if word.startswith("name=")]
    return ",".join([*(names or ["none"] * bool(words)), *words])


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


def memberships(text: str) -> list[tuple[int, str, str]]:
    """The lines of /proc/PID/cgroup: hierarchy number, tree id, path. v2 is `0::/path`."""
    found = []
    for line in lines(text):
        number, _, rest = line.partition(":")
        # A controller list holds no colon, and a path may hold any: the second colon splits.
        tree, _, path = rest.partition(":")
        found.append((int(number), tree, path))
    return found


def controllers(text: str, unified: Iterable[str] = ()) -> tuple[Controller, ...]:
    """The lines of /proc/cgroups; `unified` are the controllers that a mounted v2 tree offers."""
    rows = [line.split() for line in lines(text) if line and not line.startswith("#")]
    offered = set(unified)
    return tuple(
        Controller(name, int(number), enabled == "1", name in offered)
        for name, number, _count, enabled in rows
    )


def trees(own: str, seen: Iterable[MountLine], known: Iterable[str]) -> tuple[Tree, ...]:
    """The v1 hierarchies: which are active says /proc/self/cgroup, where they are say the mounts.

    `known` are the names of all controllers: they tell controllers from other mount options.
    """
    kernel = set(known)
    reachable: dict[str, dict[str, Mount]] = {}
    for line in seen:
        # What is rooted above the root of a cgroup namespace shows no path that is known in here.
        if line.type == "cgroup" and not is_outside(line.root):
            key = _key(line.options, kernel)
            prefixed, writable = "noprefix" not in line.options, "ro" not in line.flags
            mount = Mount(line.point, line.root, prefixed, line.source, writable)
            # Of two at one point the later lies over the other.
            reachable.setdefault(key, {})[line.point] = mount
    found = []
    for number, tree, _path in memberships(own):
        if number == 0:
            continue
        bound, name = parts(tree)
        mounts = tuple(reachable.get(_key(tree.split(","), kernel), {}).values())
        found.append(Tree(tree, number, bound, name, mounts))
    return tuple(sorted(found, key=lambda tree: tree.number))


def parts(tree: str) -> tuple[tuple[str, ...], str]:
    """The controllers and the name in the id of a hierarchy."""
    words = tree.split(",")
    name = next((word[5:] for word in words if word.startswith("name=")), "")
    return tuple(word for word in words if word and not word.startswith("name=")), name


def _key(words: Iterable[str], kernel: set[str]) -> str:
    """What identifies a hierarchy in a list of options: its controllers and its name."""
    return ",".join(sorted(word for word in words if word in kernel or word.startswith("name=")))


def mount_point_of(mounts: Iterable[MountLine], type: str, point: str = "") -> str | None:
    """Where a filesystem of that type is mounted (at `point`, where that is asked)."""
    return next(
        (one.point for one in mounts if one.type == type and point in ("", one.point)), None
    )


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
