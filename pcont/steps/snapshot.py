"""What undo restores of a container: read it before a change, and write it back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from pcont import subsys
from pcont.bases import NamedTuple, on_disk
from pcont.kernel.types import Owner, Place, Snapshot
from pcont.virtual.files import ControlFiles
from pcont.virtual.site import row_of

if TYPE_CHECKING:
    from pcont.kernel.interfaces import CgroupState, Subsystems


@on_disk("State", "settings", "attributes", "owners")
class ContainerState(NamedTuple):
    """What undo restores of a removed container, as RecreateRemoved has it."""

    settings: list[tuple[str, str]]
    attributes: dict[str, str]
    owners: dict[str, Owner]


class StateReader:
    """Reads what undo restores of containers. It keeps what containers of one tree have in
    common, so create one for each operation.
    """

    def __init__(self, backend: CgroupState) -> None:
        self._backend = backend
        self._files = ControlFiles(backend)
        self._names: dict[tuple[str, str], tuple[list[str], list[str]]] = {}
        self._last: tuple[Snapshot, ContainerState] | None = None

    def state(self, place: Place) -> ContainerState:
        """Snapshot an existing container. Raises OSError.

        Returns the same object again for a container that is like the one before.
        """
        names, others = self._kernel_names(place)
        found = self._backend.snapshot(place, names, others)
        if self._files.bindings(place.tree):
            return self._with_virtual(place, found)
        if self._last and self._last[0] == found:
            return self._last[1]
        self._last = found, ContainerState(_settings(found), found.attributes, found.owners)
        return self._last[1]

    def _with_virtual(self, place: Place, found: Snapshot) -> ContainerState:
        settings = _settings(found)
        if self._files.roots(place):
            settings = sorted([*settings, *self._virtual(place)], key=_in_order)
        return ContainerState(settings, found.attributes, found.owners)

    def _kernel_names(self, place: Place) -> tuple[list[str], list[str]]:
        """Return the kernel's files with settings, in the order of writing, and its other files.

        All containers of a tree of cgroup v1 have the same files, but for the root.
        """
        key = place.tree, place.path if place.is_unified or place.is_root else ""
        if key not in self._names:
            found = self._backend.files(place)
            names = [file for file in found if self._is_setting(place, file, found[file])]
            others = [file for file in found if file not in names]
            self._names[key] = sorted(names, key=subsys.order), others
        return self._names[key]

    def _is_setting(self, place: Place, file: str, writable: bool) -> bool:
        # chmod(2) changes the mode, not what the kernel accepts: prefer the row.
        row = row_of(self._backend, file, place.tree)
        can_be_set = row.access.writable if row else writable
        return subsys.is_setting(file, can_be_set) and not _is_attribute(self._backend, place, file)

    def _virtual(self, place: Place) -> Iterator[tuple[str, str]]:
        """Yield the settings that pcont provides and stores in no attribute."""
        for file, writable in self._files.stored_names(place).items():
            if file not in self._kernel_names(place)[0] and self._is_setting(place, file, writable):
                with contextlib.suppress(OSError):
                    yield file, self._files.stored(place, file)


def _settings(found: Snapshot) -> list[tuple[str, str]]:
    return list(found.texts.items())


def _in_order(pair: tuple[str, str]) -> int:
    return subsys.order(pair[0])


def _is_attribute(backend: Subsystems, place: Place, file: str) -> bool:
    """Return whether the value of a file is stored in an attribute of the container, so that
    restoring the attributes restores it.
    """
    row = row_of(backend, file, place.tree)
    if row and row.virtual.everywhere:
        return True
    return subsys.is_virtual_file(file, place.controllers) and not (row and row.virtual.enforced)


def write_back(backend: CgroupState, place: Place, file: str, text: str) -> None:
    """Write to a control file until it reads `text` again; does nothing if it already does. Raises
    OSError.
    """
    files = ControlFiles(backend)
    if (now := files.stored(place, file)) != text:
        for target, line in subsys.writes_back(file, text, now):
            files.store(place, target, line)


def write_back_all(backend: CgroupState, place: Place, settings: Iterable[tuple[str, str]]) -> None:
    """Write back several pairs of control file and text. A refused one is tried again after the
    others.

    Raises the OSError of the first one if all that are left are refused.
    """
    waiting = list(settings)
    while waiting:
        refused: list[tuple[tuple[str, str], OSError]] = []
        for file, text in waiting:
            try:
                write_back(backend, place, file, text)
            except OSError as err:
                refused.append(((file, text), err))
        if len(refused) == len(waiting):
            raise refused[0][1]
        waiting = [one for one, _ in refused]
