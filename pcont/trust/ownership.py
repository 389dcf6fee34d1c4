"""Whether a file can be changed or replaced by other users, before pcont runs it or believes it.

`weak_point` looks at each directory and symbolic link on the way to a file. When it finds nothing,
the answer stays true until root or the trusted user changes something: no other user can write in
any of these directories.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from pcont.errors import Denied

WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
MOST_LINKS = 40  # as path_resolution(7) has it
OVERFLOW = 65534  # the kernel's default, /proc/sys/kernel/overflowuid
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True)
class Weak:
    """A file, directory or link that another user than root and the trusted one can change."""

    path: str
    owner: int
    mode: int
    reason: str

    @property
    def sentence(self) -> str:
        """For an error message."""
        return f"{self.reason}: {self.path} (owner {self.owner}, mode {self.mode:o})"


def way(path: str) -> Iterator[str]:
    """Yield every directory and link on the way to a file, and the file, as far as they exist."""
    done, words, links = "/", path.split("/"), 0
    yield done
    while words:
        word = words.pop(0)
        if word in ("", "."):
            continue
        there = os.path.dirname(done) if word == ".." else os.path.join(done, word)
        if not _is_there(there):
            return
        yield there
        if os.path.islink(there):
            links += 1
            if links > MOST_LINKS:
                return
            target = os.readlink(there)
            words = target.split("/") + words
            done = "/" if target.startswith("/") else done
        else:
            done = there


def _is_there(path: str) -> bool:
    """Whether something is there, also if root may not look at it: a user can mount that (FUSE)."""
    try:
        os.lstat(path)
    except PermissionError:
        return os.geteuid() == 0
    except OSError:
        return False
    return True


def weak_point(path: str, *, uid: int = 0, sticky: bool = False) -> Weak | None:
    """Return the first component of an absolute path that other users than root and `uid` control.

    None where there is none, also where the path ends before the file, in a directory that is safe.
    `sticky` accepts a sticky directory of root, such as /tmp, as a parent of something that exists.
    """
    root, steps = _root_elsewhere(), list(way(path))
    after: os.stat_result | None = None
    for number, step in enumerate(steps):
        last = number == len(steps) - 1
        try:
            found = os.lstat(step)
        except PermissionError:
            return Weak(step, OVERFLOW, 0, "another user has mounted this, and root may not look")
        owners = {0, uid}
        if stat.S_ISDIR(found.st_mode) and after is None and not last:
            owners |= root
        shared = sticky and not last and found.st_uid in owners and is_sticky(found)
        reason = _weakness(found, owners, shared)
        if after is not None and found.st_dev != after.st_dev:
            reason = "another user may have mounted this"
        if reason:
            return Weak(step, found.st_uid, stat.S_IMODE(found.st_mode), reason)
        after = found if shared else None
    return None


def is_safe(found: os.stat_result, uid: int) -> bool:
    """Whether no other user than root and `uid` can write a directory, by its stat(2)."""
    return not _weakness(found, {0, uid} | _unmapped())


def _root_elsewhere() -> set[int]:
    """The number of the machine's root in a user namespace that has no number for it.

    All users that are not mapped share it, so it counts for directories above the file only.
    """
    owner = os.lstat("/").st_uid
    return {owner} & _unmapped() if owner else set()


def lacks_root() -> bool:
    """Return whether this user namespace has no number for the machine's root."""
    return bool(_root_elsewhere())


def _unmapped() -> set[int]:
    """The number that all users share which this user namespace does not map; none elsewhere."""
    mapped = uid_map()
    if mapped is None:
        return set()
    own = any(first <= OVERFLOW < first + count for first, _, count in mapped)
    return set() if own else {OVERFLOW}


def uid_map() -> list[tuple[int, int, int]] | None:
    """The users of this user namespace: the first id inside, the first outside, how many.

    None where the kernel has no user namespaces.
    """
    try:
        # As bytes: a codec may be out of reach of a process that has changed its user.
        with open("/proc/self/uid_map", "rb") as stream:
            lines = [line.split() for line in stream]
    except FileNotFoundError:
        return None
    return [(int(inside), int(outside), int(count)) for inside, outside, count in lines]


def is_sticky(found: os.stat_result) -> bool:
    """Whether that is a directory in which each file can be removed by its owner only."""
    return stat.S_ISDIR(found.st_mode) and bool(found.st_mode & stat.S_ISVTX)


def _weakness(found: os.stat_result, owners: set[int], shared: bool = False) -> str:
    """Why a component is weak; empty where it is not. `shared`: in use as a sticky directory."""
    if found.st_uid not in owners:
        return "another user owns it"
    if not stat.S_ISLNK(found.st_mode) and not shared and found.st_mode & WRITABLE_BY_OTHERS:
        return "other users can write it"
    return ""


def require_safe(path: str, what: str, repair: str) -> None:
    """Raise Denied where other users than root and this one control a path that exists.

    `what` is the beginning of the message; `repair` the command of the hint, with {} for the weak
    component. A sticky directory of root may be on the way.
    """
    weak = weak_point(path, uid=os.geteuid(), sticky=True)
    if weak and os.path.lexists(path):
        hint = f"inspect it, then: {repair.format(weak.path)}"
        raise Denied(f"{what}: {weak.sentence}", path=weak.path, hint=hint)


def open_file(path: str, *, uid: int = 0, flags: int = READ) -> int:
    """Open a regular file of root or `uid` that other users cannot write; returns a descriptor.

    Raises Denied for any other owner, mode or kind of file, and OSError as open(2) has it: ELOOP
    for a symbolic link. The directories on the way are `weak_point`'s to check.
    """
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        reason = _weakness(found, {0, uid})
        if not stat.S_ISREG(found.st_mode):
            reason = "not a regular file"
        if reason:
            weak = Weak(path, found.st_uid, stat.S_IMODE(found.st_mode), reason)
            raise Denied(weak.sentence, path=path)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
