"""Control files: one route to those of the kernel, and to those that pcont provides itself.

`ControlFiles.resolve` answers a file of either kind; it is read, and a write to it is planned as
primitive changes. `steps.write` records each change before it makes it, so that each is undone on
its own.

A subsystem that the kernel lacks has its files in attributes of the containers. They are read and
written like the kernel's, with its errnos. The limits are enforced by a controller of the kernel,
whose files follow, or by programs in the kernel (`kernel.interfaces.Enforcer`), which hold the
values of their own files.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from errno import EINVAL, ENOENT
from typing import Any, NoReturn, Protocol

from pcont import subsys
from pcont.kernel.interfaces import CgroupState, ContainerReader, exists
from pcont.kernel.refusals import WriteRefused
from pcont.kernel.types import Place
from pcont.tables.control_file import ControlFile, Subsystem
from pcont.tables.rules import EntryRule, Proposed, Violation
from pcont.virtual import auto_delete
from pcont.virtual.auto_delete import AUTO_DELETE, AutoDeleteFile
from pcont.virtual.bindings import Binding, bindings_in, nearest_roots
from pcont.virtual.changes import AttributeChange, Change, EnforcedValue, FileWrite
from pcont.virtual.site import LiveSite, entry_of, mover_in

ATTEMPTS = 10


class ResolvedFile(Protocol):
    """A control file of a container, wherever its value is."""

    def read(self) -> str:
        """The whole text; OSError as the kernel answers."""

    def plan_write(self, text: str) -> tuple[Change, ...]:
        """The changes that a write comes to; OSError as the kernel would answer."""


class ControlFiles:
    """The control files of containers on one backend.

    An instance reads once which subsystems pcont keeps in a tree: make one for each step or
    operation.
    """

    def __init__(self, backend: CgroupState) -> None:
        self.backend = backend
        self._ours: set[str] | None = None
        self._lacks_auto_delete: bool | None = None
        self._bindings: dict[str, Sequence[Binding]] = {}

    # What is there

    def bindings(self, tree: str) -> Sequence[Binding]:
        """What pcont keeps in a tree."""
        if tree not in self._bindings:
            self._bindings[tree] = bindings_in(self.backend, tree)
        return self._bindings[tree]

    def roots(self, place: Place) -> dict[str, Place]:
        """The subsystems that pcont keeps for a container, each with its root at or above it."""
        found = self._bindings.get(place.tree)
        if found is None:
            found = self.bindings(place.tree)
        return nearest_roots(found, place) if found else {}

    def lacks_auto_delete(self) -> bool:
        """Whether pcont provides auto_delete, since the kernel lacks it."""
        if self._lacks_auto_delete is None:
            self._lacks_auto_delete = auto_delete.is_lacking(self.backend)
        return self._lacks_auto_delete

    def is_ours(self, place: Place) -> bool:
        """Whether pcont alone mounted the tree of a place: there pcont provides auto_delete."""
        if place.whole:
            return auto_delete.is_ours(place.whole)
        if self._ours is None:
            self._ours = {one.id for one in self.backend.trees() if auto_delete.is_ours(one)}
        return place.tree in self._ours

    def names(self, place: Place) -> dict[str, bool]:
        """Every control file of a container, and whether it can be written at all."""
        found = self.stored_names(place)
        if self.lacks_auto_delete() and self.is_ours(place):
            return {AUTO_DELETE: True, **found}
        return found

    def stored_names(self, place: Place) -> dict[str, bool]:
        """The same without auto_delete, which pcont provides by attributes and other files."""
        found = self.backend.files(place)
        for name, root in self.roots(place).items():
            rows = [row for row in _table(name).files if row.access.where.holds(place == root)]
            others = [row for row in rows if row.virtual.stands_for]
            absent = {row.name for row in others if row.virtual.stands_for not in found}
            found |= {row.name: row.access.writable for row in rows if row.name not in absent}
        return found

    # One file

    def resolve(self, place: Place, file: str) -> ResolvedFile:
        """The file as the user means it."""
        if file in auto_delete.FILES and self.lacks_auto_delete():
            return AutoDeleteFile(self.backend, place, file, lambda: self.is_ours(place))
        return self._stored(place, file)

    def _stored(self, place: Place, file: str) -> ResolvedFile:
        """The file that undo reads and writes: notify_on_release and release_agent are the
        kernel's.
        """
        if not subsys.is_kept_file(file, place.controllers):
            return KernelFile(self.backend, place, file)
        name = subsys.of(file)
        root = self.roots(place).get(name)
        row = _table(name).by_name.get(file) if root else None
        if root is None or row is None or not row.access.where.holds(place == root):
            return MissingFile(self.backend, place, file)
        if row.virtual.stands_for:
            return KernelFile(self.backend, place, row.virtual.stands_for)
        return VirtualFile(row, LiveSite(self, place, root, name))

    def read(self, place: Place, file: str) -> str:
        """The text of a control file, as the user means it."""
        return self.resolve(place, file).read()

    def peek(self, place: Place, file: str) -> str | None:
        """The text of a kernel's file that can be read, else None; ENOENT if there is no such file.

        One file is found by this, without a list of all.
        """
        found = self.resolve(place, file)
        if isinstance(found, VirtualFile):
            return None
        try:
            text = found.read()
        except IsADirectoryError as err:  # a container of this name
            raise FileNotFoundError(ENOENT, os.strerror(ENOENT), err.filename) from err
        except FileNotFoundError:
            raise
        except OSError:
            return None
        return text if isinstance(found, KernelFile) else None

    def stored(self, place: Place, file: str) -> str:
        """The text that undo puts back: the kernel's, of the kernel's files."""
        return self._stored(place, file).read()

    def store(self, place: Place, file: str, text: str) -> None:
        """Write that text, for undo: nothing records these changes."""
        for change in self._stored(place, file).plan_write(text):
            change.apply(self.backend)

    # Rules of the subsystems that pcont keeps

    def site(self, place: Place, file: str) -> LiveSite:
        """A container as the rules of a file see it, with nothing above the subsystem's root."""
        name = subsys.of(file)
        top = self.roots(place).get(name) if subsys.is_kept(name) else None
        return LiveSite(self, place, top or place.root, name if top else "")

    def making(self, place: Place) -> Violation | None:
        """The first rule against making a container; None where none is."""
        above = place.parent
        for name, root in self.roots(above).items():
            site = LiveSite(self, above, root, name)
            for rule in _table(name).making:
                if breach := rule(site, mover_in(self.backend, place.tree)):
                    return breach
        return None

    def make(self, place: Place) -> None:
        """mkdir(2), where the rules allow it."""
        if breach := self.making(place):
            raise OSError(breach.errno, os.strerror(breach.errno), self.backend.show(place))
        self.backend.make(place)

    def entry_order(self, place: Place) -> int:
        """In which order tasks enter several trees: `subsys.entry_order`, with what pcont keeps."""
        return subsys.entry_order((*place.controllers, *self.roots(place)))

    def attach(self, place: Place, file: str, task: int) -> None:
        """Write a task or process into `tasks` or `cgroup.procs`, where the rules allow it."""
        if rules := self._entry_rules(place):
            self._check_entry(place, rules, self._tasks_in(file, task))
        self.backend.write(place, file, str(task))

    def enter(self, place: Place, tasks: Iterable[int]) -> Iterator[int]:
        """Write tasks into a container; a rule refuses a task as the kernel would."""
        rules = self._entry_rules(place)
        if not rules:
            yield from self.backend.enter(place, tasks)
            return
        for task in tasks:
            self._check_entry(place, rules, [task])
            yield from self.backend.enter(place, [task])

    def _entry_rules(self, place: Place) -> list[tuple[EntryRule, LiveSite]]:
        """The rules about entering, each with the container as the rule sees it."""
        found: list[tuple[EntryRule, LiveSite]] = []
        for name, root in self.roots(place).items():
            site = LiveSite(self, place, root, name)
            found += [(rule, site) for rule in _table(name).entry]
        return found

    def _tasks_in(self, file: str, task: int) -> list[int]:
        """The tasks that move when a number is written: one task, or the threads of a process.

        A first thread that is a zombie is left out: the kernel shows it in the root containers.
        """
        try:
            task = task or os.getpid()
            if file != "cgroup.procs":
                return [task]
            threads = self.backend.threads(task)
            return [one for one in threads if not self.backend.task(one).gone]
        except ProcessLookupError:
            return []

    def _check_entry(
        self, place: Place, rules: Iterable[tuple[EntryRule, LiveSite]], tasks: Iterable[int]
    ) -> None:
        """Ask the rules about each task that is not inside; a task that has ended is left out."""
        for task in tasks:
            with contextlib.suppress(ProcessLookupError):
                for rule, site in rules:
                    entry = entry_of(self.backend, site, task)
                    breach = rule(entry) if entry.origin != place.path else None
                    if breach:
                        _refuse(self.backend, place, "tasks", breach.errno)


class KernelFile:
    """A control file of the kernel."""

    def __init__(self, backend: ContainerReader, place: Place, file: str) -> None:
        self.backend = backend
        self.place = place
        self.file = file

    def read(self) -> str:
        """The whole text."""
        return self.backend.read(self.place, self.file)

    def plan_write(self, text: str) -> tuple[Change, ...]:
        """One write(2)."""
        return (FileWrite(self.place, self.file, text),)


class MissingFile(KernelFile):
    """A file of a subsystem that pcont does not keep here."""

    def plan_write(self, text: str) -> NoReturn:
        """Raise ENOENT."""
        where = self.backend.show(self.place, self.file)
        raise FileNotFoundError(ENOENT, os.strerror(ENOENT), where)


class VirtualFile:
    """A control file that pcont keeps: an attribute, a computed value, or one of programs."""

    def __init__(self, row: ControlFile, site: LiveSite) -> None:
        self._row = row
        self._site = site

    def read(self) -> str:
        """The whole text."""
        row, site, place = self._row, self._site, self._site.place
        if row.virtual.computed:
            return f"{row.type.show(row.virtual.computed(site))}\n"
        if row.virtual.enforced:
            begins = row.begins(site.parent is None)
            value = site.backend.meter.values(place, site.subsystem).get(row.name, begins)
            return f"{row.type.show(value)}\n"
        text = site.backend.attributes(place).get(row.name)
        return f"{row.type.show(row.default) if text is None else text}\n"

    def plan_write(self, text: str) -> tuple[Change, ...]:
        """The attribute and the limits that follow, or the value for the programs."""
        row, site, place = self._row, self._site, self._site.place
        wanted = self._allowed(text)
        if row.virtual.computed:
            return ()
        if row.virtual.enforced:
            return (EnforcedValue(place, row.name, wanted),)
        root = replace(site, place=site.top, wanted={(place, row.name): wanted})
        follows = _unlike(root, following(_table(site.subsystem), root))
        return (AttributeChange(place, row.name, row.type.show(wanted)), *follows)

    def _allowed(self, text: str) -> Any:
        """The value that a text means, by the rules."""
        row, site = self._row, self._site
        if not row.access.writable:
            self._refuse(EINVAL)
        try:
            wanted = row.type.parse(text)
        except (ValueError, OverflowError):
            self._refuse(EINVAL)
        wanted = row.merged(site, wanted)
        for rule in row.rules:
            if breach := rule(site, Proposed(site, row.name, wanted)):
                self._refuse(breach.errno)
        return wanted

    def _refuse(self, errno: int) -> NoReturn:
        _refuse(self._site.backend, self._site.place, self._row.name, errno)


def following(table: Subsystem, root: LiveSite) -> list[FileWrite]:
    """What the kernel's files must read below a root, where anything was ever set."""
    # A container that is removed at the same time makes the whole look start again.
    derived = table.virtual.derived_limits
    for attempt in range(ATTEMPTS):
        try:
            return [
                FileWrite(there.place, file, text)
                for there, file, text in (derived(root) if derived else ())
                if isinstance(there, LiveSite) and there.is_set(table.by_name)
            ]
        except FileNotFoundError:
            if attempt == ATTEMPTS - 1 or not exists(root.backend, root.place):
                raise
    return []


def _unlike(root: LiveSite, found: Iterable[FileWrite]) -> Iterator[FileWrite]:
    """The writes that would change what the file reads."""
    for one in found:
        # The root of a tree has no limit, and no file for one.
        with contextlib.suppress(FileNotFoundError):
            if root.backend.read(one.place, one.file).rstrip("\n") != one.text:
                yield one


def _refuse(backend: ContainerReader, place: Place, file: str, errno: int) -> NoReturn:
    raise WriteRefused(errno, os.strerror(errno), backend.show(place, file))


def _table(name: str) -> Subsystem:
    table = subsys.by_key(name)
    assert table
    return table
