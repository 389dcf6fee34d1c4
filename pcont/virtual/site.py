"""Containers as the rules of the tables see them. A value is read when a rule asks for it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from pcont import subsys
from pcont.bases import NamedTuple
from pcont.kernel.refusals import vanishing
from pcont.kernel.types import UNIFIED, Place
from pcont.tables.control_file import ControlFile, Subsystem
from pcont.tables.face import KeyFace
from pcont.tables.interface import Interface
from pcont.tables.rules import Entry, Machine, Mover
from pcont.virtual.bindings import Binding

if TYPE_CHECKING:
    from pcont.kernel.interfaces import CgroupState, Subsystems

NOTHING_WANTED: Mapping[tuple[Place, str], Any] = MappingProxyType({})


class Readable(Protocol):
    """What a site reads through: the part of `virtual.files.ControlFiles` that it needs."""

    @property
    def backend(self) -> CgroupState:
        """The kernel or the model."""

    def bindings(self, tree: str) -> Sequence[Binding]:
        """Return the controllers that pcont provides in a tree, each with its root and users."""

    def stored(self, place: Place, file: str) -> str:
        """Return the text of a control file of the kernel or of pcont. Raises OSError."""


def table_of(backend: Subsystems, tree: str, name: str) -> Subsystem | None:
    """Return the table of a subsystem (of the core for "") for the containers of a tree; None if
    there is none.
    """
    return subsys.load(name, Interface.V2) if tree == UNIFIED else backend.table(name)


def row_of(backend: Subsystems, file: str, tree: str = "") -> ControlFile | None:
    """Return the row of a control file in the tables for a tree (default: of cgroup v1); None if no
    table has it.
    """
    if tree == UNIFIED and ((row := subsys.row_of_v2(file)) or not _is_virtual(file)):
        return row
    for name in ("", file.partition(".")[0], subsys.of(file)):
        table = backend.table(name)
        if table and file in table.by_name:
            return table.by_name[file]
    return subsys.EVENT_CONTROL if file == subsys.EVENT_CONTROL.name else None


def _is_virtual(file: str) -> bool:
    """Return whether pcont provides the subsystem of a control file."""
    return subsys.is_virtual(subsys.of(file))


def key_face(backend: CgroupState, place: Place, key: str) -> KeyFace | None:
    """Return where a container has the value of a KEY; None if it is in the file of that name, or
    nowhere.
    """
    if key in subsys.core_table().by_name:
        return None
    found = subsys.face(key, interface_of(place))
    if found and not place.is_unified and backend.table("") is not subsys.core_table():
        return None  # the model of 2006 has other tables, and names of its own
    return found


def interface_of(place: Place) -> Interface:
    """Return the interface of the kernel by which a container is driven."""
    return Interface.V2 if place.is_unified else Interface.V1


def entry_of(backend: CgroupState, site: LiveSite, task: int) -> Entry:
    """Return the argument of an entry rule, for a task that is about to enter the container `site`.

    Raises ProcessLookupError if there is no such task.
    """
    tree = site.place.tree
    return Entry(site, task, backend.membership(task).get(tree, "/"), mover_in(backend, tree))


def mover_in(backend: CgroupState, tree: str) -> Mover:
    """Return this process as the rules of a tree see it."""
    own = os.getpid()
    return Mover(own, backend.membership(own).get(tree, "/"), backend.privileged())


class LiveSite(NamedTuple):
    """A container with its present values, for rules. The container `top` has no parent.

    `subsystem`: the controller that pcont provides and whose rules ask; children that are roots of
    another binding of it are left out, because they have values of their own. `wanted`: values that
    replace the present ones, by place and file.
    """

    files: Readable
    place: Place
    top: Place
    subsystem: str = ""
    wanted: Mapping[tuple[Place, str], Any] = NOTHING_WANTED

    @property
    def backend(self) -> CgroupState:
        return self.files.backend

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
        return None if self.place == self.top else self._replace(place=self.place.parent)

    @property
    def machine(self) -> Machine:
        return self.backend.machine()

    def children(self) -> Iterable[LiveSite]:
        places = [self.place.child(name) for name in self.backend.children(self.place)]
        if self.subsystem:
            found = self.files.bindings(self.place.tree)
            others = {one.root for one in found if one.name == self.subsystem}
            places = [place for place in places if place not in others]
        return [self._replace(place=place) for place in places]

    def value(self, file: str) -> Any:
        if (self.place, file) in self.wanted:
            return self.wanted[self.place, file]
        # A KEY of another interface is read in the format of that interface.
        row = row_of(self.backend, file, self.place.tree) or subsys.row(file)
        text = self.files.stored(self.place, file)
        return row.type.parse(text.removesuffix(row.access.end)) if row else text

    @property
    def facts(self) -> Mapping[str, int]:
        """The counters of the eBPF programs, by name; empty if the caller may not read them."""
        if subsys.is_enforced(self.subsystem):
            with contextlib.suppress(PermissionError):
                return self.backend.enforcer.values(self.place, self.subsystem)
        return {}

    def is_set(self, files: Iterable[str]) -> bool:
        """Return whether one of these files that pcont provides was ever written."""
        has = {file for place, file in self.wanted if place == self.place}
        return bool(set(files) & {*has, *self.backend.attributes(self.place)})

    def populated(self) -> bool:
        """Return whether a task is in this container or in a descendant. A descendant that is
        removed at the same time has none.
        """
        if self.backend.read(self.place, "tasks").strip():
            return True
        for child in self.children():
            with vanishing():
                if child.populated():
                    return True
        return False
