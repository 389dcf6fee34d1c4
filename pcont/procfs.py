"""What /proc says of hierarchies: its texts, read into trees; pure functions of text."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from pcont.backend import Controller, Mount, Tree

_OCTAL = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True)
class MountLine:
    """A line of /proc/PID/mountinfo, as far as cgroups need it (proc(5))."""

    root: str
    point: str
    type: str
    options: tuple[str, ...]


def unescape(text: str) -> str:
    r"""Octal escapes as mountinfo has them: `\040` is a blank. The bytes are UTF-8."""
    plain = _OCTAL.sub(lambda found: chr(int(found[1], 8)), text)
    if plain == text:
        return text
    raw = b"".join(
        bytes([ord(c)]) if ord(c) < 256 else c.encode("utf-8", "surrogateescape") for c in plain
    )
    return raw.decode("utf-8", "surrogateescape")


def mount_lines(mountinfo: str) -> list[MountLine]:
    """The cgroup and cgroup2 mounts of a mountinfo, in the order of the file."""
    found = []
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        before, after = left.split(" "), right.split(" ")
        if len(before) < 6 or len(after) < 3 or after[0] not in ("cgroup", "cgroup2"):
            continue
        found.append(
            MountLine(
                root=unescape(before[3]),
                point=unescape(before[4]),
                type=after[0],
                options=tuple(after[2].split(",")),
            )
        )
    return found


def memberships(text: str) -> list[tuple[int, str, str]]:
    """The lines of /proc/PID/cgroup: hierarchy number, tree id, path. v2 is `0::/path`."""
    found = []
    for line in text.splitlines():
        number, _, rest = line.partition(":")
        # A controller list holds no colon, and a path may hold any: the second colon splits.
        tree, _, path = rest.partition(":")
        found.append((int(number), tree, path.removesuffix(" (deleted)")))
    return found


def controllers(text: str, unified: Iterable[str] = ()) -> tuple[Controller, ...]:
    """The lines of /proc/cgroups; `unified` are the controllers that a mounted v2 tree offers."""
    rows = [line.split() for line in text.splitlines() if line and not line.startswith("#")]
    offered = set(unified)
    return tuple(
        Controller(name, int(number), enabled == "1", name in offered)
        for name, number, _count, enabled in rows
    )


def trees(own: str, mountinfo: str, known: Iterable[str]) -> tuple[Tree, ...]:
    """The v1 hierarchies: which are active says /proc/self/cgroup, where they are says mountinfo.

    `known` are the names of all controllers: they tell controllers from other mount options.
    """
    kernel = set(known)
    reachable: dict[str, list[Mount]] = {}
    for line in mount_lines(mountinfo):
        if line.type == "cgroup":
            key = _key(line.options, kernel)
            mount = Mount(line.point, line.root, "noprefix" not in line.options)
            reachable.setdefault(key, []).append(mount)
    found = []
    for number, tree, _path in memberships(own):
        if number == 0:
            continue
        words = tree.split(",")
        name = next((word[5:] for word in words if word.startswith("name=")), "")
        bound = tuple(word for word in words if word and not word.startswith("name="))
        mounts = tuple(reachable.get(_key(words, kernel), ()))
        found.append(Tree(tree, number, bound, name, mounts))
    return tuple(sorted(found, key=lambda tree: tree.number))


def _key(words: Iterable[str], kernel: set[str]) -> str:
    """What identifies a hierarchy in a list of options: its controllers and its name."""
    return ",".join(sorted(word for word in words if word in kernel or word.startswith("name=")))


def unified_point(mountinfo: str) -> str | None:
    """Where cgroup2 is mounted, if it is."""
    return next((line.point for line in mount_lines(mountinfo) if line.type == "cgroup2"), None)
