"""The undo of creations: containers that did not exist are removed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized

from pcont.kernel.interfaces import Containers, exists
from pcont.kernel.types import Place
from pcont.tags import on_disk
from pcont.transaction.undo_log import Action, UndoRecord


@on_disk("Absent", "place", "force")
class RemoveCreated(UndoRecord):
    """Undo record of a creation: the container did not exist.

    `force`: remove it even if open files are charged to it.
    """

    place: Place
    force: bool

    def __init__(self, place: Place, force: bool = False) -> None:
        self.place, self.force = place, force

    @property
    def label(self) -> str:
        return f"{self.place.path} of {self.place.tree}"

    def restore(self, backend: Containers) -> Iterator[Action]:
        if exists(backend, self.place):
            yield lambda: backend.remove(self.place, self.force)


@on_disk("AllAbsent", "places", "made")
class RemoveAllCreated(UndoRecord):
    """Undo record of several creations: these containers did not exist.

    `places`: TREE:PATH of each, in the order of creation. `made`: only the first `made` of them may
    exist; None: any of them may. Raises BadWord for a path that no container has, and ValueError
    for another number.
    """

    places: list[str]
    made: int | None

    def __init__(self, places: list[str], made: int | None = None) -> None:
        self.places = places
        self._parts = [RemoveCreated(Place.parse(text)) for text in places]
        self.extend(made=made)

    @property
    def label(self) -> str:
        return f"{len(self.places)} new containers"

    def extend(self, **more: int | None) -> None:
        self.made = checked_count(more["made"], self.places)

    def parts(self) -> Iterable[UndoRecord]:
        return reversed(self._parts[: self.made])

    def restore(self, backend: Containers) -> Iterator[Action]:
        for part in self._parts[: self.made][::-1]:
            yield from part.restore(backend)


def checked_count(count: int | None, of: Sized) -> int | None:
    """Return a count of things, or None. Raises ValueError if there are not so many."""
    if count is not None and not 0 <= count <= len(of):
        raise ValueError(f"{count} of {len(of)}")
    return count
