"""What uses the controllers of cgroup v2: v1 cannot have a controller before that ends.

The kernel moves a controller to a hierarchy of v1 while no container below the root of cgroup v2
has it (kernel/cgroup/cgroup.c, rebind_subsystems()). A setting of the root does not count.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from errno import EBUSY
from shlex import quote

from pcont.bases import NamedTuple
from pcont.errors import Busy
from pcont.hierarchy.container import Hierarchy
from pcont.hierarchy.registry import Registry
from pcont.kernel.paths import below
from pcont.kernel.refusals import vanishing
from pcont.kernel.types import UNIFIED, Place
from pcont.subsys.v2.core import CONTROL, OFFERED


class User(NamedTuple):
    """A hierarchy of pcont, or another container below the root of cgroup v2. `name`: that of the
    hierarchy, or the PLACE. `controllers`: what it has. `how_to_end`: the command that ends that.
    """

    name: str
    controllers: tuple[str, ...]
    how_to_end: str


def users_of(registry: Registry, names: Collection[str]) -> list[User]:
    """Return what has one of these controllers in cgroup v2, with those of them that it has.
    `names`: as v1 calls them. A container with io has memory as well, which it does not show.
    """
    wanted = {"io" if registry.is_io_of_v2(name) else name for name in names}
    wanted |= {"io"} if "memory" in wanted else set()
    found = []
    for one in _users(registry) if UNIFIED in registry.by_id else ():
        if mine := tuple(name for name in one.controllers if name in wanted):
            found.append(one._replace(controllers=mine))
    return found


def _users(registry: Registry) -> Iterator[User]:
    backend, root = registry.backend, Place.at(registry.by_id[UNIFIED])
    for place in map(root.child, backend.children(root)) if registry.by_id[UNIFIED].mounted else ():
        has: list[str] = []
        with vanishing():
            has = backend.read(place, OFFERED).split()
        for one, names in _hierarchies_in(registry, place):
            yield User(one.name, names, f"pcont unbind {one.name} {','.join(names)}")
            has = [name for name in has if name not in names]
        if has:
            words = quote(" ".join(f"-{name}" for name in has))
            yield User(place.shown, tuple(has), f"pcont set {root.word} {CONTROL}={words}")


def _hierarchies_in(
    registry: Registry, place: Place
) -> Iterator[tuple[Hierarchy, tuple[str, ...]]]:
    """Yield the hierarchies of pcont in a container of cgroup v2, with their controllers there."""
    for one in registry.ties:
        member = one.unified_member
        if member and below(member.at, place.path) is not None and member.tree.controllers:
            yield one, member.tree.controllers


def in_use_by(users: Collection[User]) -> str:
    """Return the end of a message about a controller: what uses it; empty if nothing does."""
    return f" (in use by {', '.join(one.name for one in users)})" if users else ""


def cannot_take(users: Collection[User], names: Collection[str]) -> Busy:
    """Return the error for controllers that v1 cannot have, because something uses them."""
    using = "; ".join(f"{one.name} has {', '.join(one.controllers)} there" for one in users)
    return Busy(
        f"cannot take {', '.join(names)} from cgroup v2: {using} (EBUSY)",
        errno=EBUSY,
        hint="; ".join(one.how_to_end for one in users),
    )
