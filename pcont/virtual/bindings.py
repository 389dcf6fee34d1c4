"""Containers as rules see them, read from a backend; and where pcont keeps subsystems itself.

A subsystem that the kernel lacks is bound to a container and all below it. That container is the
root of the subsystem: of a tie the one of --at, else a tree's root. Which these are, and for which
hierarchies, is an attribute of the tree's root: looking is cheap however deep a container is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from pcont import subsys
from pcont.kernel.interfaces import ContainerReader
from pcont.kernel.paths import below
from pcont.kernel.types import Place

BINDINGS = "kept"  # the attribute: `NAME HOLDER,HOLDER PATH` in each line


NO_TIE = "-"  # the holder that a hierarchy of the kernel is for itself


@dataclass(frozen=True)
class Binding:
    """A subsystem that pcont keeps from a container on, for the hierarchies that hold it there."""

    name: str
    root: Place
    holders: tuple[str, ...]

    @property
    def line(self) -> str:
        return f"{self.name} {','.join(self.holders)} {self.root.path}"


def bindings_in(backend: ContainerReader, tree: str) -> list[Binding]:
    """What pcont keeps in a tree."""
    try:
        return parsed_bindings(tree, backend.attributes(Place(tree)))
    except OSError:
        return []


def parsed_bindings(tree: str, attributes: Mapping[str, str]) -> list[Binding]:
    """The same, given the attributes of the tree's root; lines of another form are left out."""
    found = []
    for line in attributes.get(BINDINGS, "").splitlines():
        name, holders, path = [*line.split(" ", 2), "", ""][:3]
        if path.startswith("/") and subsys.is_kept(name):
            found.append(Binding(name, Place(tree, path), tuple(holders.split(","))))
    return found


def binding_lines(keepings: Iterable[Binding]) -> str | None:
    """The text of the attribute; None where nothing is bound."""
    return "\n".join(one.line for one in keepings if one.holders) or None


def with_holder(
    found: Iterable[Binding], root: Place, names: Iterable[str], holder: str
) -> list[Binding]:
    """The same, with subsystems kept from a root on for one more holder."""
    kept = {(one.name, one.root): one for one in found}
    for name in names:
        one = kept.get((name, root), Binding(name, root, ()))
        kept[name, root] = replace(one, holders=tuple(dict.fromkeys((*one.holders, holder))))
    return list(kept.values())


def without_holder(
    found: Iterable[Binding], root: Place, names: Iterable[str], holder: str
) -> list[Binding]:
    """The same, with subsystems kept from a root on for one holder less."""
    going = set(names)
    return [
        replace(one, holders=tuple(name for name in one.holders if name != holder))
        if one.root == root and one.name in going
        else one
        for one in found
    ]


def virtual_roots(backend: ContainerReader, place: Place) -> dict[str, Place]:
    """The subsystems that pcont keeps for a container, each with its root at or above it."""
    found = bindings_in(backend, place.tree)
    return nearest_roots(found, place) if found else {}


def nearest_roots(found: Iterable[Binding], place: Place) -> dict[str, Place]:
    """The same, given what pcont keeps in the tree."""
    above = [one for one in found if below(place.path, one.root.path) is not None]
    above.sort(key=lambda one: len(one.root.path))
    return {one.name: one.root for one in above}  # the nearest one counts


def bindings_from(backend: ContainerReader, place: Place) -> list[Binding]:
    """What pcont keeps for a container, as it is where that container is the root."""
    top, roots = place.root, virtual_roots(backend, place)
    return [
        replace(one, root=top)
        for one in bindings_in(backend, place.tree)
        if roots.get(one.name) == one.root
    ]
