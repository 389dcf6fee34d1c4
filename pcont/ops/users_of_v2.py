"""What uses the controllers of cgroup v2: v1 cannot have a controller before that ends.

The kernel moves a controller to a hierarchy of v1 while no container below the root of cgroup v2
has it (kernel/cgroup/cgroup.c, rebind_subsystems()). A setting of the root does not count.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping
from errno import EBUSY
from shlex import quote

from pcont.bases import NamedTuple
from pcont.errors import Busy
from pcont.hierarchy.registry import Registry
from pcont.kernel.paths import below
from pcont.kernel.refusals import vanishing
from pcont.kernel.types import UNIFIED, Place
from pcont.subsys.v2.core import CONTROL, OFFERED


class User(NamedTuple):
    """A hierarchy of pcont, or another container below the root of cgroup v2. `name`: that of the
    hierarchy, or the PLACE. `controllers`: what it has. `how_to_end`: the command that ends
    that; empty if another user has to end first.
    """

    name: str
    controllers: tuple[str, ...]
    how_to_end: str


def users_of(registry: Registry, names: Collection[str]) -> list[User]:
    """Return what has one of these controllers in cgroup v2, with those of them that it has.
    `names`: as v1 calls them. A container with io has memory as well, which it does not show. What
    this process cannot read is left out.
    """
    wanted = {*map(registry.name_in_v2, names)}
    wanted |= {"io"} if "memory" in wanted else set()
    tree = registry.by_id.get(UNIFIED)
    if tree is None or not tree.mounted:
        return []
    root = Place.at(tree)
    found: list[User] = []
    with contextlib.suppress(OSError):
        children = list(map(root.child, registry.backend.children(root)))
        passed_on = {place: _words(registry, place, CONTROL) for place in children}
        for place in children:
            found += _users_in(registry, place, wanted, passed_on)
    return found


def _words(registry: Registry, place: Place, file: str) -> list[str]:
    """Return the controllers in a file; none if the container was removed."""
    with vanishing():
        return registry.backend.read(place, file).split()
    return []


def _users_in(
    registry: Registry,
    place: Place,
    wanted: Collection[str],
    passed_on: Mapping[Place, Collection[str]],
) -> Iterator[User]:
    """Yield what has controllers in a child of the root: hierarchies of pcont, then the child.
    `passed_on`: what each child enables for its own children.
    """
    rest = [name for name in _words(registry, place, OFFERED) if name in wanted]
    for one in registry.ties:
        member = one.unified_member
        if member is None or below(member.at, place.path) is None:
            continue
        if names := [name for name in member.tree.controllers if name in wanted]:
            yield User(one.name, tuple(names), f"pcont unbind {one.name} {','.join(names)}")
        rest = [name for name in rest if name not in names]
    if rest:
        yield User(place.shown, tuple(rest), _how_to_end(place, rest, passed_on))


def _how_to_end(
    place: Place, names: Collection[str], passed_on: Mapping[Place, Collection[str]]
) -> str:
    """Return the command that disables controllers in the root. The kernel refuses that while a
    child enables them for its own children: for that child, return what finds their users, and
    for others nothing.
    """
    if {*names} & {*passed_on[place]}:
        return f"find what uses it: pcont tree {place.word}"
    if any({*names} & {*there} for there in passed_on.values()):
        return ""
    words = quote(" ".join(f"-{name}" for name in names))
    return f"pcont set {place.root.word} {CONTROL}={words}"


def in_use_by(users: Collection[User]) -> str:
    """Return the end of a message about a controller: what uses it; empty if nothing does."""
    return f" (in use by {', '.join(one.name for one in users)})" if users else ""


def cannot_take(users: Collection[User], names: Collection[str]) -> Busy:
    """Return the error for controllers that v1 cannot have, because something uses them."""
    using = "; ".join(f"{one.name} has {', '.join(one.controllers)} there" for one in users)
    return Busy(
        f"cannot take {', '.join(names)} from cgroup v2: {using} (EBUSY)",
        errno=EBUSY,
        hint="; ".join(dict.fromkeys(one.how_to_end for one in users if one.how_to_end)),
    )
