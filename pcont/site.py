"""Containers as rules see them, read from a backend; and where pcont keeps subsystems itself.

A subsystem that the kernel lacks is bound to a container and all below it. That container is the
root of the subsystem: of a tie the one of --at, else a tree's root. Which these are, and for which
hierarchies, is an attribute of the tree's root: looking is cheap however deep a container is.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pcont import subsys
from pcont.backend import Backend, Place, below
from pcont.tables import Breach, ControlFile, Entry, Machine, Mover

KEPT = "kept"  # the attribute: `NAME HOLDER,HOLDER PATH` in each line
NO_TIE = "-"  # the holder that a hierarchy of the kernel is for itself


@dataclass(frozen=True)
class Keeping:
    """A subsystem that pcont keeps from a container on, for the hierarchies that hold it there."""

    name: str
    root: Place
    holders: tuple[str, ...]

    @property
    def line(self) -> str:
        return f"{self.name} {','.join(self.holders)} {self.root.path}"


def kept_in(backend: Backend, tree: str) -> list[Keeping]:
    """What pcont keeps in a tree."""
    with contextlib.suppress(OSError):
        lines = backend.attributes(Place(tree)).get(KEPT, "").splitlines()
        words = [line.split(" ", 2) for line in lines]
        return [
            Keeping(name, Place(tree, path), tuple(holders.split(",")))
            for name, holders, path in (found for found in words if len(found) == 3)
            if subsys.is_kept(name) and path.startswith("/")
        ]
    return []


def as_kept(keepings: Iterable[Keeping]) -> str | None:
    """The text of the attribute; None where nothing is kept for anybody."""
    return "\n".join(one.line for one in keepings if one.holders) or None


def held(found: Iterable[Keeping], root: Place, names: Iterable[str], holder: str) -> list[Keeping]:
    """The same, with subsystems kept from a root on for one more holder."""
    kept = {(one.name, one.root): one for one in found}
    for name in names:
        one = kept.get((name, root), Keeping(name, root, ()))
        kept[name, root] = replace(one, holders=tuple(dict.fromkeys((*one.holders, holder))))
    return list(kept.values())


def let_go(
    found: Iterable[Keeping], root: Place, names: Iterable[str], holder: str
) -> list[Keeping]:
    """The same, with subsystems kept from a root on for one holder less."""
    going = set(names)
    return [
        replace(one, holders=tuple(name for name in one.holders if name != holder))
        if one.root == root and one.name in going
        else one
        for one in found
    ]


def kept_at(backend: Backend, place: Place) -> tuple[str, ...]:
    """The subsystems that have their root in a container."""
    return tuple(one.name for one in kept_in(backend, place.tree) if one.root == place)


def kept_roots(backend: Backend, place: Place) -> dict[str, Place]:
    """The subsystems that pcont keeps for a container, each with its root at or above it."""
    found = kept_in(backend, place.tree)
    above = [one for one in found if below(place.path, one.root.path) is not None]
    above.sort(key=lambda one: len(one.root.path))
    return {one.name: one.root for one in above}  # the nearest one counts


def row_of(backend: Backend, file: str) -> ControlFile | None:
    """What is known of a control file in this kernel; None of one without a table."""
    for name in ("", file.partition(".")[0], subsys.of(file)):
        table = backend.table(name)
        if table and file in table.by_name:
            return table.by_name[file]
    return subsys.EVENT_CONTROL if file == subsys.EVENT_CONTROL.name else None


def seen_from(backend: Backend, place: Place) -> list[Keeping]:
    """What pcont keeps for a container, as it is where that container is the root."""
    top, roots = Place(place.tree), kept_roots(backend, place)
    return [
        replace(one, root=top)
        for one in kept_in(backend, place.tree)
        if roots.get(one.name) == one.root
    ]


def site_of(backend: Backend, place: Place, file: str) -> LiveSite:
    """A container as the rules of a file see it, with nothing above the subsystem's root."""
    name = subsys.of(file)
    top = kept_roots(backend, place).get(name) if subsys.is_kept(name) else None
    return LiveSite(backend, place, top or Place(place.tree), name if top else "")


def entry_order(backend: Backend, place: Place) -> int:
    """In which order tasks enter several trees; `subsys.entry_order`, with what pcont keeps."""
    return subsys.entry_order((*place.controllers, *kept_roots(backend, place)))


def entry_of(backend: Backend, site: LiveSite, task: int) -> Entry:
    """A task at the door of a container, as its rules see it; ESRCH where there is none."""
    tree = site.place.tree
    return Entry(site, task, backend.membership(task).get(tree, "/"), mover_in(backend, tree))


def mover_in(backend: Backend, tree: str) -> Mover:
    """This process, as the rules of a tree see it."""
    own = os.getpid()
    return Mover(own, backend.membership(own).get(tree, "/"), backend.privileged())


def making_of(backend: Backend, place: Place) -> Breach | None:
    """What is against making a container, by the rules of what pcont keeps."""
    above = place.parent
    for name, root in kept_roots(backend, above).items():
        table, site = subsys.load(name), LiveSite(backend, above, root, name)
        for rule in table.making if table else ():
            if breach := rule(site, mover_in(backend, place.tree)):
                return breach
    return None


@dataclass(frozen=True)
class LiveSite:
    """A container as it is, read through a backend when a rule asks; `top` has no parent.

    `subsystem`: the one that pcont keeps, whose rules ask: where another root of it is, other
    numbers count. `wanted`: values as they would be.
    """

    backend: Backend
    place: Place
    top: Place
    subsystem: str = ""
    wanted: Mapping[tuple[Place, str], Any] = field(default_factory=dict)

    @property
    def path(self) -> str:
        return self.place.path

    @property
    def shown(self) -> str:
        return self.place.shown

    @property
    def word(self) -> str:
        return self.place.word

    @property
    def parent(self) -> LiveSite | None:
        return None if self.place == self.top else replace(self, place=self.place.parent)

    @property
    def machine(self) -> Machine:
        return self.backend.machine()

    def children(self) -> Iterable[LiveSite]:
        places = [self.place.child(name) for name in self.backend.children(self.place)]
        if self.subsystem:
            found = kept_in(self.backend, self.place.tree)
            others = {one.root for one in found if one.name == self.subsystem}
            places = [place for place in places if place not in others]
        return [replace(self, place=place) for place in places]

    def value(self, file: str) -> Any:
        if (self.place, file) in self.wanted:
            return self.wanted[self.place, file]
        row = row_of(self.backend, file)
        text = self.backend.read(self.place, file)
        return row.type.parse(text.removesuffix(row.end)) if row else text

    @property
    def facts(self) -> Mapping[str, int]:
        """What programs in the kernel count, as far as the caller may look at it."""
        if subsys.metered(self.subsystem):
            with contextlib.suppress(PermissionError):
                return self.backend.meter.values(self.place, self.subsystem)
        return {}

    def is_set(self, files: Iterable[str]) -> bool:
        """Whether one of these kept files was ever written."""
        has = {file for place, file in self.wanted if place == self.place}
        return bool(set(files) & {*has, *self.backend.attributes(self.place)})

    def populated(self) -> bool:
        inside = self.backend.read(self.place, "tasks").strip()
        return bool(inside) or any(child.populated() for child in self.children())
