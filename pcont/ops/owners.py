"""The owners that chown and create --owner give containers to.

On cgroup v2 the user gets the directory and the files that the kernel lists in
/sys/kernel/cgroup/delegate (cgroup-v2.rst, "Delegation"): the limits of the container itself stay
root's. On cgroup v1 the user gets the directory and all control files, as cgcreate -a and -t do.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from pcont.errors import UnknownName, UsageProblem
from pcont.hierarchy.container import Container
from pcont.kernel.types import Place
from pcont.steps.leaf import TO_ENTER, has_no_leaf
from pcont.steps.owners import ChangeOwners, NewOwner

if TYPE_CHECKING:
    from pcont.kernel.interfaces import Backend


def parsed(text: str) -> NewOwner:
    """Return the owner for a word as chown(1) takes it: USER, USER:GROUP, USER: or :GROUP, by name
    or number. `USER:` means the login group of the user.

    Raises UsageProblem for a word without a name, UnknownName for a name that does not exist.
    """
    user, colon, group = text.partition(":")
    if not (user or group) or ":" in group:
        raise UsageProblem(f"an owner is USER, USER:GROUP or :GROUP, and {text!r} is not")
    uid = _uid(user) if user else None
    if colon and not group:
        return NewOwner(uid, _login_group(user), text)
    return NewOwner(uid, _gid(group) if group else None, text)


def _number(text: str) -> int | None:
    """Return the number that a text is; None for a name. -1 is no id: it means "as before"."""
    number = int(text) if text.isascii() and text.isdigit() else None
    if number is not None and number >= 2**32 - 1:
        raise UsageProblem(f"{text} is no id of a user or a group: the highest is {2**32 - 2}")
    return number


def _uid(name: str) -> int:
    import pwd

    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        found = _number(name)
    if found is None:
        raise UnknownName(f"there is no user {name!r}", hint="getent passwd lists the users")
    return found


def _login_group(name: str) -> int:
    import pwd

    try:
        number = _number(name)
        return (pwd.getpwnam(name) if number is None else pwd.getpwuid(number)).pw_gid
    except KeyError:
        raise UnknownName(
            f"there is no user {name!r}", hint="getent passwd lists the users"
        ) from None


def _gid(name: str) -> int:
    import grp

    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        found = _number(name)
    if found is None:
        raise UnknownName(f"there is no group {name!r}", hint="getent group lists the groups")
    return found


class Owners:
    """The owner of containers, and that of the files into which tasks are written (`entry`)."""

    def __init__(self, owner: str, entry: str = "") -> None:
        if entry and not owner:
            raise UsageProblem("--tasks-owner needs --owner, which gets the rest of the container")
        self.owner = parsed(owner)
        self.entry = parsed(entry) if entry else self.owner

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
