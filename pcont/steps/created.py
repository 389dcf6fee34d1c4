"""The undo of creations: containers that did not exist are removed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pcont.bases import on_disk
from pcont.kernel.refusals import exists
from pcont.kernel.types import Place
from pcont.transaction.undo_log import Action, UndoRecord, UndoRun

if TYPE_CHECKING:
    from pcont.kernel.interfaces import Containers


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


@on_disk("AllAbsent", "places", made="done")
class RemoveAllCreated(UndoRun):
    """Undo record of several creations: these containers did not exist.

    `places`: TREE:PATH of each, in the order of creation. Raises BadWord for a path that no
    container has.
    """

    places: list[str]
    done: int | None

    def __init__(
        self, places: list[str], done: int | None = None, parsed: Sequence[Place] | None = None
    ) -> None:
        self.places = places
        self._parsed = [Place.parse(text) for text in places] if parsed is None else parsed
        super().__init__(len(places), done)

    @classmethod
    def of(cls, places: Sequence[Place]) -> RemoveAllCreated:
        """Return the record for creations that are about to begin."""
        return cls([place.text for place in places], None, places)

    def record_of(self, number: int) -> RemoveCreated:
        return RemoveCreated(self._parsed[number])

    @property
    def label(self) -> str:
        return f"{len(self.places)} new containers"
