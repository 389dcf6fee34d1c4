"""Containers as rules see them, read from a backend; and where pcont keeps subsystems itself.

A subsystem that the kernel lacks is bound to a container and all below it by an attribute of that
container. It is the root of the subsystem: of a tie the container of --at, else a tree's root.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pcont import subsys
from pcont.backend import Backend, Place
from pcont.tables import Machine

KEPT = "kept"  # the attribute: the subsystems that pcont keeps from here on, by name


def kept_at(backend: Backend, place: Place) -> tuple[str, ...]:
    """The subsystems that have their root in a container."""
    with contextlib.suppress(OSError):
        text = backend.attributes(place).get(KEPT, "")
        return tuple(name for name in text.split(",") if name in subsys.KEPT)
    return ()


def kept_roots(backend: Backend, place: Place) -> dict[str, Place]:
    """The subsystems that pcont keeps for a container, each with its root at or above it."""
    found = dict.fromkeys(kept_at(backend, place), place)
    while not place.is_root:
        place = place.parent
        found = {**dict.fromkeys(kept_at(backend, place), place), **found}
    return found


def site_of(backend: Backend, place: Place, file: str) -> LiveSite:
    """A container as the rules of a file see it, with nothing above the subsystem's root."""
    name = file.partition(".")[0]
    top = kept_roots(backend, place).get(name) if name in subsys.KEPT else None
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
