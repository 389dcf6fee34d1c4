"""Read several files of all children of a container at once, for listings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pcont.kernel.types import Place, Surveyed

if TYPE_CHECKING:
    from pcont.kernel.interfaces import ContainerReader


def look(backend: ContainerReader, place: Place, files: Sequence[str]) -> Surveyed:
    """Read the files of one container. Raises OSError if its children cannot be listed."""
    return Surveyed(
        place.name,
        bool(backend.children(place)),
        [text_or_error(backend, place, file) for file in files],
    )


def text_or_error(backend: ContainerReader, place: Place, file: str) -> str | OSError:
    """Return the text of a control file, or why it cannot be read."""
    try:
        return backend.read(place, file)
    except OSError as err:
        return err


def look_at_each(backend: ContainerReader, place: Place, files: Sequence[str]) -> list[Surveyed]:
    """Read the files of all children, one after another. A child that is removed at the same time
    is left out.
    """
    found = []
    for name in backend.children(place):
        try:
            found.append(look(backend, place.child(name), files))
        except FileNotFoundError:
            continue
    return found
