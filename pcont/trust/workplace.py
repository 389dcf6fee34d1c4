"""Find or make the directory in which the pcont commands of one user keep their lock and journals.

Root of the machine always uses /run/pcont, so that all commands of root share one lock. Any other
user, and root of a user namespace, uses the first directory of a fixed list that is safe: the user
owns it and no other user can write or replace it.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from errno import EDQUOT, ENOSPC, ENOTDIR, EROFS

from pcont.bases import NamedTuple
from pcont.errors import Denied, PcontError, from_oserror
from pcont.trust import ownership

ROOT = "/run/pcont"
RUNTIME = "/run/user"
SHARED = ("/tmp", "/dev/shm")  # sticky directories of root, where each user may write
OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Workplace(NamedTuple):
    """The directories for lock and journals.

    `directory`: for new locks and journals; it exists, or can be made; empty if there is none.
    `existing`: all safe directories that exist, because an earlier command may have used another
    one. `refused`: for each existing directory that is not safe, the reason. `needed`: whether the
    backend uses such a directory at all.
    """

    directory: str = ""
    existing: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    needed: bool = True


class _Candidate(NamedTuple):
    path: str
    shared: bool  # its parent is a sticky directory, where other users write, too


def find_workplace() -> Workplace:
    """Find the directories for lock and journals, without making any."""
    existing: list[str] = []
    refused: list[str] = []
    new = ""
    for one in _candidates():
        if not os.path.lexists(one.path):
            new = new or (one.path if not existing and _can_be_made(one) else "")
        elif reason := _unsafe(one):
            refused.append(reason)
        else:
            existing.append(one.path)
    return Workplace(new or next(iter(existing), ""), tuple(existing), tuple(refused))


def make_workplace() -> Workplace:
    """Find the directories, and make the one for new locks and journals if it is missing.

    Raises PcontError if root's directory cannot be made or is not safe.
    """
    for one in _candidates():
        if _is_made(one):
            break
    found = find_workplace()
    if found.refused and _is_root():
        raise Denied(
            f"pcont does not use its directory {ROOT}: {found.refused[0]}",
            path=ROOT,
            hint=f"inspect it, then: mv {ROOT} {ROOT}.unsafe",
        )
    return found


def refusal(err: OSError, action: str, path: str = "") -> PcontError:
    """Return the error for a lock or journal that cannot be written, with a hint for a full or
    read-only file system.
    """
    file = str(err.filename or path)
    directory = os.path.dirname(file) or "/"
    hints = {
        EROFS: f"the file system of {directory} is read-only: remount it, or repair it",
        ENOSPC: f"make room there: df {directory}",
        EDQUOT: f"make room there: df {directory}",
    }
    number = err.errno or 0
    named = OSError(number, os.strerror(number), file)
    return from_oserror(named, f"{action} {file}", hint=hints.get(number, ""))


def _is_root() -> bool:
    """Return whether the caller is root of the machine, or of a container with its own /run."""
    if os.geteuid() != 0:
        return False
    with contextlib.suppress(OSError):
        return os.lstat(os.path.dirname(ROOT)).st_uid == 0
    return True


def outer_uid() -> int:
    """Return the caller's uid outside of its user namespace, which is part of the name of its
    directories.
    """
    own = os.geteuid()
    for inside, outside, count in ownership.uid_map() or ():
        if inside <= own < inside + count:
            return outside + own - inside
    return own


def _candidates() -> Iterator[_Candidate]:
    if _is_root():
        yield _Candidate(ROOT, False)
        return
    uid = outer_uid()
    yield _Candidate(f"{RUNTIME}/{uid}/pcont", False)
    chosen = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(chosen) and os.path.realpath(chosen) != f"{RUNTIME}/{uid}":
        yield _Candidate(os.path.join(os.path.realpath(chosen), "pcont"), False)
    for directory in SHARED:
        yield _Candidate(f"{directory}/pcont-{uid}", True)


def _can_be_made(one: _Candidate) -> bool:
    parent = os.path.dirname(one.path)
    if _is_root():
        return True
    if not os.access(parent, os.W_OK | os.X_OK):
        return False
    if one.shared:
        return ownership.is_sticky(os.lstat(parent))
    with contextlib.suppress(OSError):
        # After su(1) XDG_RUNTIME_DIR may still be the other user's.
        return os.stat(parent).st_uid == os.geteuid() and not _weak(parent)
    return False


def _weak(path: str) -> ownership.Weak | None:
    return ownership.weak_point(path, uid=os.geteuid(), sticky=not _is_root())


def _is_made(one: _Candidate) -> bool:
    """Make the directory if it is missing; returns whether it can be used. Raises PcontError for
    root only.
    """
    if os.path.lexists(one.path):
        return not _unsafe(one)
    if not _can_be_made(one):
        return False
    try:
        os.makedirs(one.path, 0o700)
    except FileExistsError:
        pass  # another command, or another user, made it first
    except OSError as err:
        if _is_root():
            raise refusal(err, "make pcont's directory", one.path) from err
        return False
    return not _unsafe(one)


def _unsafe(one: _Candidate) -> str:
    """Return why an existing directory is not used; empty if it is safe."""
    try:
        if weak := _weak(one.path):
            return weak.sentence
        descriptor = os.open(one.path, OPEN_DIRECTORY)
    except OSError as err:
        linked = err.errno == ENOTDIR or os.path.islink(one.path)
        why = "not a directory, or a symbolic link" if linked else os.strerror(err.errno or 0)
        return f"{why}: {one.path}"
    try:
        found = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    if found.st_uid != os.geteuid() or found.st_mode & ownership.WRITABLE_BY_OTHERS:
        mode = stat.S_IMODE(found.st_mode)
        return f"other users have access: {one.path} (owner {found.st_uid}, mode {mode:o})"
    return ""
