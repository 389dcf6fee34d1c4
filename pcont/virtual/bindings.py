"""Bindings: which controllers pcont provides in a tree, and from which container downwards.

A controller that the kernel lacks is bound to a container and its descendants. That container, the
root of the binding, is the root of the tree, or the container that `pcont mount --tie --at` names.
The attribute `kept` of the tree's root lists all bindings of the tree with the hierarchies that use
them, so that one read finds them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from pcont import subsys
from pcont.bases import NamedTuple
from pcont.kernel.paths import below
from pcont.kernel.types import Place

if TYPE_CHECKING:
    from pcont.kernel.interfaces import ContainerReader

BINDINGS = "kept"  # the attribute: `NAME HOLDER,HOLDER PATH` in each line


NO_TIE = "-"  # the holder for a hierarchy that is no tie


class Binding(NamedTuple):
    """A controller that pcont provides from container `root` downwards.

    `holders`: the names of the ties that use it there; NO_TIE for the tree itself. A binding
    without holders is removed.
    """

    name: str
    root: Place
    holders: tuple[str, ...]

    @property
    def line(self) -> str:
        return f"{self.name} {','.join(self.holders)} {self.root.path}"


def bindings_in(backend: ContainerReader, tree: str) -> list[Binding]:
    """Return the bindings of a tree; empty if its attributes cannot be read."""
    try:
        return parsed_bindings(tree, backend.attributes(Place(tree)))
    except OSError:
        return []


def parsed_bindings(tree: str, attributes: Mapping[str, str]) -> list[Binding]:
    """Return the bindings of a tree, given the attributes of its root. Malformed lines are
    ignored.
    """
    found = []
    for line in attributes.get(BINDINGS, "").splitlines():
        name, holders, path = [*line.split(" ", 2), "", ""][:3]
        if path.startswith("/") and subsys.is_virtual(name):
            found.append(Binding(name, Place(tree, path), tuple(holders.split(","))))
    return found


def binding_lines(keepings: Iterable[Binding]) -> str | None:
    """Return the bindings as the text of the attribute; None if there are none with holders."""
    return "\n".join(one.line for one in keepings if one.holders) or None


def with_holder(
    found: Iterable[Binding], root: Place, names: Iterable[str], holder: str
) -> list[Binding]:
    """Return the bindings with `holder` added to those of the named controllers at `root`."""
    kept = {(one.name, one.root): one for one in found}
    for name in names:
        one = kept.get((name, root), Binding(name, root, ()))
        kept[name, root] = one._replace(holders=tuple(dict.fromkeys((*one.holders, holder))))
    return list(kept.values())


def without_holder(
    found: Iterable[Binding], root: Place, names: Iterable[str], holder: str
) -> list[Binding]:
    """Return the bindings with `holder` removed from those of the named controllers at `root`."""
    going = set(names)
    return [
        one._replace(holders=tuple(name for name in one.holders if name != holder))
        if one.root == root and one.name in going
        else one
        for one in found
    ]


def virtual_roots(backend: ContainerReader, place: Place) -> dict[str, Place]:
    """Return the controllers that pcont provides for a container, each with the root of its
    binding.
    """
    found = bindings_in(backend, place.tree)
    return nearest_roots(found, place) if found else {}


def nearest_roots(found: Iterable[Binding], place: Place) -> dict[str, Place]:
    """Return the controllers that pcont provides for a container, given the bindings of its tree.

    Each is mapped to the nearest root at or above the container.
    """
    above = [one for one in found if below(place.path, one.root.path) is not None]
    above.sort(key=lambda one: len(one.root.path))
    return {one.name: one.root for one in above}  # the nearest root is last


def bindings_from(backend: ContainerReader, place: Place) -> list[Binding]:
    """Return the bindings that apply to a container, as they are in a cgroup namespace with that
    container as root.
    """
    top, found = place.root, bindings_in(backend, place.tree)
    roots = nearest_roots(found, place)
    return [one._replace(root=top) for one in found if roots.get(one.name) == one.root]
