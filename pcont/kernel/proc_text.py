"""Parse the texts of /proc on mounts and cgroups; pure functions."""

from __future__ import annotations

import re
from collections.abc import Iterable

from pcont.bases import NamedTuple
from pcont.kernel.types import Controller

# The hierarchy number, the id of the tree and the path in a line of /proc/PID/cgroup.
Membership = tuple[int, str, str]

_OCTAL = rb"\\([0-7]{3})"


class MountLine(NamedTuple):
    """A line of /proc/PID/mountinfo (proc(5)), with the fields that cgroups need."""

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
    """Split a text of /proc into lines at newlines only: names in it may contain other
    line breaks.
    """
    return text.removesuffix("\n").split("\n") if text else []


def unescape(text: str) -> str:
    r"""Replace the octal escapes of mountinfo by the bytes that they stand for: `\040` is a
    blank.
    """
    if "\\" not in text:
        return text
    raw = text.encode("utf-8", "surrogateescape")
    plain = re.sub(_OCTAL, lambda found: bytes([int(found[1], 8) & 0xFF]), raw)
    return plain.decode("utf-8", "surrogateescape")


def mount_lines(mountinfo: str) -> list[MountLine]:
    """Parse the text of /proc/PID/mountinfo; returns the mounts in the order of its lines."""
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
    """Return the mount that is visible at a directory: the last one; None if there is none."""
    return next((one for one in reversed(list(mounts)) if one.point == point), None)


def mount_point_of(mounts: Iterable[MountLine], type: str, point: str = "") -> str | None:
    """Return the first mount point of a file system type (of those at `point`, if given); None if
    there is none.
    """
    return next(
        (one.point for one in mounts if one.type == type and point in ("", one.point)), None
    )


def memberships(text: str) -> list[Membership]:
    """Parse /proc/PID/cgroup: tuples of hierarchy number, tree id and path. The line of v2 is
    `0::/path`.
    """
    found = []
    for line in lines(text):
        number, _, rest = line.partition(":")
        # A controller list holds no colon, and a path may hold any: the second colon splits.
        tree, _, path = rest.partition(":")
        found.append((int(number), tree, path))
    return found


def controllers(text: str, unified: Iterable[str] = ()) -> tuple[Controller, ...]:
    """Parse /proc/cgroups, which has the names of v1. `unified`: the controllers that a mounted v2
    tree offers, which calls blkio io.
    """
    rows = [line.split() for line in lines(text) if line and not line.startswith("#")]
    offered = set(unified)
    if "io" in offered:
        offered.add("blkio")
    return tuple(
        Controller(name, int(number), enabled == "1", name in offered, int(count))
        for name, number, count, enabled in rows
    )
