"""The owners that chown and create --owner give containers to.

On cgroup v2 the user gets the directory and the files that the kernel lists in
/sys/kernel/cgroup/delegate (cgroup-v2.rst, "Delegation"): the limits of the container itself stay
root's. On cgroup v1 the user gets the directory and all control files, as cgcreate -a and -t do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from pcont.errors import UnknownName, UsageProblem
from pcont.hierarchy.container import Container
from pcont.kernel.types import Place
from pcont.steps.leaf import TO_ENTER, has_no_leaf
from pcont.steps.owners import ChangeOwners, NewOwner

if TYPE_CHECKING:
    from pcont.kernel.interfaces import Backend

NO_ID = 2**32 - 1  # chown(2) takes it as "leave unchanged"


def parsed(text: str) -> NewOwner:
    """Return the owner for a word as chown(1) takes it: USER, USER:GROUP, USER: or :GROUP, by name
    or number. `USER:` means the login group of the user.

    Raises UsageProblem for a word without a name, UnknownName for a name that does not exist.
    """
    import grp
    import pwd

    user, colon, group = text.partition(":")
    if not (user or group) or ":" in group:
        raise UsageProblem(f"an owner is USER, USER:GROUP or :GROUP, and {text!r} is not")
    uid = _id("user", user, lambda: pwd.getpwnam(user).pw_uid) if user else None
    gid = _id("group", group, lambda: grp.getgrnam(group).gr_gid) if group else None
    if colon and uid is not None and not group:
        try:
            gid = pwd.getpwuid(uid).pw_gid
        except KeyError:
            raise _unknown("user", user) from None
    return NewOwner(uid, gid, text)


def _id(kind: str, name: str, find: Callable[[], int]) -> int:
    """Return the id of a user or a group: what `find` returns for its name, or the number that the
    name is. `kind`: "user" or "group".
    """
    try:
        return find()
    except KeyError:
        if not (name.isascii() and name.isdigit()):
            raise _unknown(kind, name) from None
    if int(name) >= NO_ID:
        raise UsageProblem(f"{name} is no id of a {kind}: the highest is {NO_ID - 1}")
    return int(name)


def _unknown(kind: str, name: str) -> UnknownName:
    database = "passwd" if kind == "user" else "group"
    return UnknownName(f"there is no {kind} {name!r}", hint=f"getent {database} lists the {kind}s")


class Owners:
    """The owner of containers, and that of the files into which tasks are written (`entry`; by
    default the same).
    """

    def __init__(self, owner: str | None, entry: str | None = None) -> None:
        if owner is None:
            raise UsageProblem("--tasks-owner needs --owner, which gets the rest of the container")
        self.owner = parsed(owner)
        self.entry = self.owner if entry is None else parsed(entry)

    def steps(
        self, backend: Backend, container: Container, places: Iterable[Place]
    ) -> Iterator[ChangeOwners]:
        """Yield the steps that give the container to its owner, in these of its places."""
        action = f"chown {container.name}"
        delegated = backend.delegated() if container.places[-1].is_unified else ()
        for place in places:
            files = delegated if place.is_unified else None
            yield ChangeOwners(place, self.owner, self.entry, files, action)
            if place.is_unified and not has_no_leaf(backend, place):
                entries = tuple(filter(None, TO_ENTER))
                yield ChangeOwners(place.leaf, self.owner, self.entry, entries, action)
