"""Check whether other users can change or replace a file, before pcont runs it or trusts its
content.

`weak_point` checks each directory and symbolic link on the way to a file. If it finds nothing, that
remains true until root or the trusted user changes something: no other user can write to any of
these directories.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from pcont.bases import NamedTuple
from pcont.errors import Denied

WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
MOST_LINKS = 40  # as path_resolution(7) has it
OVERFLOW = 65534  # the kernel's default, /proc/sys/kernel/overflowuid
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Weak(NamedTuple):
    """A file, directory or link that a user other than root and the trusted user can change.

    `owner`: its uid. `mode`: its permission bits.
    """

    path: str
    owner: int
    mode: int
    reason: str

    @property
    def sentence(self) -> str:
        """The reason, path, owner and mode, for an error message."""
        return f"{self.reason}: {self.path} (owner {self.owner}, mode {self.mode:o})"


def way(path: str) -> Iterator[str]:
    """Yield every directory and symbolic link on the way to a file, and the file itself, up to the
    first that does not exist.
    """
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
    """Return whether a path exists. A path that even root may not read counts as existing (a user's
    FUSE mount).
    """
    try:
        os.lstat(path)
    except PermissionError:
        return os.geteuid() == 0
    except OSError:
        return False
    return True


def weak_point(path: str, *, uid: int = 0, sticky: bool = False) -> Weak | None:
    """Return the first component of an absolute path that users other than root and `uid` control;
    None if there is none.

    Components after the first missing one are not checked. `sticky`: accept a sticky directory of
    root, such as /tmp, if the next component exists.
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
    """Return whether only root and `uid` can write to a directory. `found`: its stat(2) result."""
    return not _weakness(found, {0, uid} | _unmapped())


def _root_elsewhere() -> set[int]:
    """Return the uid that the host's root has in a user namespace that does not map it; otherwise
    an empty set.

    All unmapped users share this uid, so it is accepted only for directories above the file.
    """
    owner = os.lstat("/").st_uid
    return {owner} & _unmapped() if owner else set()


def lacks_root() -> bool:
    """Return whether this user namespace has no uid for the host's root."""
    return bool(_root_elsewhere())


def _unmapped() -> set[int]:
    """Return the uid that all unmapped users share in this user namespace; an empty set if every
    user is mapped.
    """
    mapped = uid_map()
    if mapped is None:
        return set()
    own = any(first <= OVERFLOW < first + count for first, _, count in mapped)
    return set() if own else {OVERFLOW}


def uid_map() -> list[tuple[int, int, int]] | None:
    """Return the ranges of /proc/self/uid_map: first id inside, first id outside, count.

    None if the kernel has no user namespaces.
    """
    try:
        # As bytes: a codec may be out of reach of a process that has changed its user.
        with open("/proc/self/uid_map", "rb") as stream:
            lines = [line.split() for line in stream]
    except FileNotFoundError:
        return None
    return [(int(inside), int(outside), int(count)) for inside, outside, count in lines]


def is_sticky(found: os.stat_result) -> bool:
    """Return whether a stat(2) result is of a sticky directory, in which only its owner can remove
    a file.
    """
    return stat.S_ISDIR(found.st_mode) and bool(found.st_mode & stat.S_ISVTX)


def _weakness(found: os.stat_result, owners: set[int], shared: bool = False) -> str:
    """Return why a component is weak; empty if it is not. `shared`: it is accepted as a sticky
    directory.
    """
    if found.st_uid not in owners:
        return "another user owns it"
    if not stat.S_ISLNK(found.st_mode) and not shared and found.st_mode & WRITABLE_BY_OTHERS:
        return "other users can write it"
    return ""


def require_safe(path: str, label: str, repair: str) -> None:
    """Raise Denied if users other than root and the caller control an existing path.

    `label`: the beginning of the message. `repair`: the command of the hint, with {} for the weak
    component. A sticky directory of root may be on the way.
    """
    weak = weak_point(path, uid=os.geteuid(), sticky=True)
    if weak and os.path.lexists(path):
        hint = f"inspect it, then: {repair.format(weak.path)}"
        raise Denied(f"{label}: {weak.sentence}", path=weak.path, hint=hint)


def open_file(path: str, *, uid: int = 0, flags: int = READ) -> int:
    """Open a regular file that only root or `uid` can write; returns the descriptor.

    Raises Denied for another owner, mode or file type, and OSError as open(2) does (ELOOP for a
    symbolic link). Check the directories on the way with `weak_point`.
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
