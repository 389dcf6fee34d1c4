"""Containers as rules see them, read from a backend; and where pcont keeps subsystems itself.

A subsystem that the kernel lacks is bound to a container and all below it. That container is the
root of the subsystem: of a tie the one of --at, else a tree's root. Which these are is an attribute
of the tree's root, so that looking is cheap however deep a container is.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pcont import subsys
from pcont.backend import Backend, Place, below
from pcont.tables import Machine

KEPT = "kept"  # the attribute: `NAME PATH` in each line


def kept_in(backend: Backend, tree: str) -> list[tuple[str, Place]]:
    """The subsystems that pcont keeps in a tree, each with its root."""
    with contextlib.suppress(OSError):
        lines = backend.attributes(Place(tree)).get(KEPT, "").splitlines()
        pairs = [line.split(" ", 1) for line in lines]
        return [(name, Place(tree, path)) for name, path in pairs if subsys.is_kept(name)]
    return []


def as_kept(pairs: Iterable[tuple[str, Place]]) -> str | None:
    """The reverse; None where nothing is kept."""
    return "\n".join(f"{name} {place.path}" for name, place in dict.fromkeys(pairs)) or None


def kept_at(backend: Backend, place: Place) -> tuple[str, ...]:
    """The subsystems that have their root in a container."""
    return tuple(name for name, root in kept_in(backend, place.tree) if root == place)


def kept_roots(backend: Backend, place: Place) -> dict[str, Place]:
    """The subsystems that pcont keeps for a container, each with its root at or above it."""
    pairs = kept_in(backend, place.tree)
    above = [(name, root) for name, root in pairs if below(place.path, root.path) is not None]
    return dict(sorted(above, key=lambda pair: len(pair[1].path)))  # the nearest one counts


def site_of(backend: Backend, place: Place, file: str) -> LiveSite:
    """A container as the rules of a file see it, with nothing above the subsystem's root."""
    name = file.partition(".")[0]
    top = kept_roots(backend, place).get(name) if subsys.is_kept(name) else None
    return LiveSite(backend, place, top or Place(place.tree))


@dataclass(frozen=True)
class LiveSite:
    """A container as it is, read through a backend when a rule asks; `top` has no parent."""

    backend: Backend
    place: Place
    top: Place

    @property
    def path(self) -> str:
        return self.place.path

    @property
    def parent(self) -> LiveSite | None:
        return None if self.place == self.top else self._at(self.place.parent)

    @property
    def machine(self) -> Machine:
        return self.backend.machine()

    def children(self) -> Iterable[LiveSite]:
        names = self.backend.children(self.place)
        return [self._at(self.place.child(name)) for name in names]

    def _at(self, place: Place) -> LiveSite:
        return LiveSite(self.backend, place, self.top)

    def value(self, file: str) -> Any:
        row = subsys.row(file)
        text = self.backend.read(self.place, file)
        return row.type.parse(text) if row else text

    def populated(self) -> bool:
        inside = self.backend.read(self.place, "tasks").strip()
        return bool(inside) or any(child.populated() for child in self.children())
