"""The leaf of a container of cgroup v2 (`Place.leaf`), which has the tasks of a container that
enables controllers for its children.

The kernel accepts no task in such a container itself. pcont makes the leaf when the first task is
to enter, and only in a container that pcont has created: in another one, it could be in the way of
the program that did.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from shlex import quote
from typing import TYPE_CHECKING

from pcont.kernel.refusals import exists
from pcont.kernel.types import Place
from pcont.steps.created import RemoveCreated

if TYPE_CHECKING:
    from pcont.kernel.interfaces import CgroupState, ContainerReader, Containers
    from pcont.transaction.undo_log import UndoLog

MADE_BY_US = "made"  # the attribute of a container of cgroup v2 that pcont has created
# Files of cgroup v2. Their table is not loaded here: commands on cgroup v1 do not need it.
_TYPE, _CONTROL = "cgroup.type", "cgroup.subtree_control"
TO_ENTER = ("", "cgroup.procs", "cgroup.threads")  # what the owner of a container may be given


def is_made(backend: ContainerReader, place: Place) -> bool:
    """Return whether pcont has created a container of cgroup v2."""
    return MADE_BY_US in backend.attributes(place)


def mark_made(backend: CgroupState, place: Place) -> None:
    """Mark a new container of cgroup v2 as created by pcont. Only a privileged process may do so;
    containers of another one are not marked.
    """
    try:
        backend.set_attribute(place, MADE_BY_US, "1")
    except PermissionError:
        if backend.privileged():
            raise


def lacks_leaf(backend: ContainerReader, place: Place) -> bool:
    """Return whether a container needs a leaf to take tasks, can have one, and has none."""
    if not place.is_unified or place.is_root or place.is_leaf or not exists(backend, place):
        return False
    return bool(
        backend.read(place, _CONTROL).strip()
        and backend.read(place, _TYPE).strip() == "domain"
        and is_made(backend, place)
        and has_no_leaf(backend, place)
    )


def has_no_leaf(backend: ContainerReader, place: Place) -> bool:
    """Return whether a container of cgroup v2 has no leaf."""
    return not exists(backend, place.leaf)


class Leaves:
    """The leaves of some containers, as far as they are lacking: by `lacks_leaf`, or `lacks`."""

    def __init__(
        self,
        places: Iterable[Place],
        lacks: Callable[[ContainerReader, Place], bool] = lacks_leaf,
    ) -> None:
        self.places, self._lacks = places, lacks

    def _lacking(self, backend: ContainerReader) -> Iterator[Place]:
        return (place for place in self.places if self._lacks(backend, place))

    def make(self, backend: CgroupState, undo_log: UndoLog) -> None:
        """Make the leaves; undo removes them. Raises OSError."""
        for place in self._lacking(backend):
            with undo_log.of(RemoveCreated(place.leaf)):
                _make(backend, place)

    def lines(self, backend: ContainerReader) -> list[str]:
        """Return the shell commands of `make`, for a dry run."""
        return [f"mkdir {quote(backend.show(place.leaf))}" for place in self._lacking(backend)]

    def rehearse(self, backend: Containers) -> None:
        """Make the leaves in the plan of a dry run."""
        for place in self._lacking(backend):
            backend.make(place.leaf)


def make_again(backend: CgroupState, place: Place) -> bool:
    """Make the leaf that a container had before, for undo. Returns whether it was missing."""
    missing = lacks_leaf(backend, place)
    if missing:
        _make(backend, place)
    return missing


def _make(backend: CgroupState, place: Place) -> None:
    """Make the leaf, with the owners of the container. What another user than root makes may have
    only the groups of that user.
    """
    backend.make(place.leaf)
    above, own = backend.owners(place), backend.owners(place.leaf)
    wanted = {name: above[name] for name in TO_ENTER if above.get(name) != own.get(name)}
    try:
        if wanted:
            backend.set_owners(place.leaf, wanted)
    except PermissionError:
        if backend.privileged():
            raise
