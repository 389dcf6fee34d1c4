"""Read and write control files in one way, whether the kernel or pcont provides them.

`ControlFiles.resolve` returns a file of either kind. To read it, call `read`. To write it, call
`plan_write` and apply the returned changes; `steps.write` records each change before it applies it,
so that each can be undone.

The files of a controller that pcont provides are attributes of the containers. They behave as the
kernel's files, with the same errnos. Limits are enforced by a controller of the kernel, whose files
pcont writes accordingly, or by eBPF programs, which hold the values themselves
(`kernel.interfaces.Enforcer`).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from errno import EINVAL, ENOENT
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from pcont import subsys
from pcont.kernel.refusals import exists, refuse, refuse_text
from pcont.kernel.types import Place
from pcont.tables.control_file import ControlFile, Subsystem
from pcont.tables.face import file_of_face
from pcont.tables.rules import EntryRule, Proposed, Violation
from pcont.virtual import auto_delete
from pcont.virtual.auto_delete import AutoDeleteFile
from pcont.virtual.bindings import Binding, bindings_in, nearest_roots
from pcont.virtual.changes import AttributeChange, Change, EnforcedValue, FileWrite
from pcont.virtual.site import LiveSite, entry_of, key_face, mover_in, table_of

if TYPE_CHECKING:
    from pcont.kernel.interfaces import CgroupState, ContainerReader

ATTEMPTS = 10


class ResolvedFile(Protocol):
    """A control file of a container, whether the kernel or pcont provides it."""

    def read(self) -> str:
        """Return the whole text. Raises OSError as the kernel does."""

    def plan_write(self, text: str) -> tuple[Change, ...]:
        """Return the changes that a write of `text` consists of. Raises OSError as the kernel
        would.
        """


class ControlFiles:
    """The control files of containers on one backend.

    An instance reads the bindings of each tree once and keeps them, so create one for each step or
    operation.
    """

    def __init__(self, backend: CgroupState) -> None:
        self.backend = backend
        self._ours: set[str] | None = None
        self._bindings: dict[str, Sequence[Binding]] = {}
        self._removal_rules: dict[str, list[str]] = {}

    # Bindings and lists of files

    def bindings(self, tree: str) -> Sequence[Binding]:
        """Return the controllers that pcont provides in a tree (virtual/bindings.py)."""
        if tree not in self._bindings:
            self._bindings[tree] = bindings_in(self.backend, tree)
        return self._bindings[tree]

    def roots(self, place: Place) -> dict[str, Place]:
        """Return the controllers that pcont provides for a container, each with the root of its
        binding.
        """
        found = self.bindings(place.tree)
        return nearest_roots(found, place) if found else {}

    def is_ours(self, place: Place) -> bool:
        """Return whether pcont made every mount of the tree, so that containers in it can have
        auto_delete.
        """
        if place.whole:
            return auto_delete.is_ours(place.whole)
        if self._ours is None:
            self._ours = {one.id for one in self.backend.trees() if auto_delete.is_ours(one)}
        return place.tree in self._ours

    def names(self, place: Place) -> dict[str, bool]:
        """Return every control file of a container, with whether it can be written."""
        found = self.stored_names(place)
        if auto_delete.is_lacking(self.backend) and self.is_ours(place):
            return {subsys.AUTO_DELETE: True, **found}
        return found

    def stored_names(self, place: Place) -> dict[str, bool]:
        """Return the control files of a container without auto_delete, which is set by writing
        other files.
        """
        found = self.backend.files(place)
        for name, root in self.roots(place).items():
            rows = [row for row in _table(name).files if row.access.where.holds(place == root)]
            meant = {row.name: self._meant(place, row) for row in rows if row.virtual.stands_for}
            absent = {name for name, file in meant.items() if file not in found}
            found |= {row.name: row.access.writable for row in rows if row.name not in absent}
        return found

    def _meant(self, place: Place, row: ControlFile) -> str:
        """Return the file of the kernel with the value that a row is another name of; empty if the
        interface of the place has no such value.
        """
        face = key_face(self.backend, place, row.virtual.stands_for)
        return file_of_face(face) if face else row.virtual.stands_for

    # One file

    def resolve(self, place: Place, file: str) -> ResolvedFile:
        """Return a control file of a container, to read it or to plan a write."""
        if file in auto_delete.FILES and auto_delete.is_lacking(self.backend):
            return AutoDeleteFile(self.backend, place, file, lambda: self.is_ours(place))
        return self._stored(place, file)

    def _stored(self, place: Place, file: str) -> ResolvedFile:
        """Return the file that undo reads and writes: notify_on_release and release_agent of the
        kernel, not those that the user sees.
        """
        if face := key_face(self.backend, place, file):
            from pcont.virtual.translated import TranslatedFile  # few commands need it

            return TranslatedFile(self.site(place, file), file, face)
        if not subsys.is_virtual_file(file, place.controllers):
            return KernelFile(self.backend, place, file)
        name = subsys.of(file)
        root = self.roots(place).get(name)
        row = _table(name).by_name.get(file) if root else None
        if root is None or row is None or not row.access.where.holds(place == root):
            return MissingFile(self.backend, place, file)
        if row.virtual.stands_for:
            return self._stored(place, row.virtual.stands_for)
        return VirtualFile(row, LiveSite(self, place, root, name))

    def read(self, place: Place, file: str) -> str:
        """Return the text of a control file as the user sees it. Raises OSError."""
        return self.resolve(place, file).read()

    def peek(self, place: Place, file: str) -> str | None:
        """Check that a control file exists; returns its text if it is a readable file of the
        kernel, otherwise None.

        Raises FileNotFoundError if there is no such file. Needs no list of all files.
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
        """Return the text of a control file that undo restores later. Raises OSError."""
        return self._stored(place, file).read()

    def store(self, place: Place, file: str, text: str) -> None:
        """Write the text of a control file for undo, without undo records of its own. Raises
        OSError.
        """
        for change in self._stored(place, file).plan_write(text):
            change.apply(self.backend)

    # Rules of the controllers that pcont provides

    def site(self, place: Place, file: str) -> LiveSite:
        """Return a container as the rules of a file see it. The root of a binding has no parent
        there.
        """
        name = subsys.of(file)
        top = self.roots(place).get(name) if subsys.is_virtual(name) else None
        return LiveSite(self, place, top or place.root, name if top else "")

    def making(self, place: Place) -> Violation | None:
        """Return the first violation of a rule by making the container; None if there is none."""
        if not self.bindings(place.tree):
            return None
        above = place.parent
        for name, root in self.roots(above).items():
            site = LiveSite(self, above, root, name)
            for rule in _table(name).making:
                if violation := rule(site, mover_in(self.backend, place.tree)):
                    return violation
        return None

    def crowded(self, place: Place) -> Violation | None:
        """Return the limit of the kernel that keeps the parent from having this child; None if
        there is none.

        For a dry run, and to explain a refusal of the kernel.
        """
        table, site = table_of(self.backend, place.tree, ""), self.site(place.parent, "")
        for rule in table.making if table else ():
            if violation := rule(site, mover_in(self.backend, place.tree)):
                return violation
        return None

    def removing(self, place: Place) -> Violation | None:
        """Return the first violation of a rule by removing the container; None if there is none."""
        for name in self._with_removal_rules(place):
            root = place.root if name in place.controllers else self.roots(place).get(name)
            table = table_of(self.backend, place.tree, name)
            if root is None or table is None:
                continue
            for rule in table.removal:
                if violation := rule(LiveSite(self, place, root, name)):
                    return violation
        return None

    def _with_removal_rules(self, place: Place) -> list[str]:
        """Return the controllers of a tree that have rules for removals: none of cgroup v2 has."""
        if place.tree not in self._removal_rules:
            names = [] if place.is_unified else [*place.controllers]
            names += [one.name for one in self.bindings(place.tree)]
            tables = {name: table_of(self.backend, place.tree, name) for name in names}
            self._removal_rules[place.tree] = [
                name for name, table in tables.items() if table and table.removal
            ]
        return self._removal_rules[place.tree]

    def make(self, place: Place) -> None:
        """Make a container with mkdir(2). Raises OSError if a rule of pcont or the kernel
        refuses.
        """
        if violation := self.making(place):
            refuse(violation.errno, self.backend.show(place))
        self.backend.make(place)

    def entry_order(self, place: Place) -> int:
        """Return when a task enters this tree, compared to other trees: lower numbers come
        first.
        """
        if place.is_unified:
            return subsys.LAST_TO_ENTER  # a frozen task thaws when it enters, as in the freezer
        return subsys.entry_order((*place.controllers, *self.roots(place)))

    def attach(self, place: Place, file: str, task: int) -> None:
        """Write a task id into `tasks` or `cgroup.procs` of a container. Raises OSError if a rule
        of pcont or the kernel refuses.
        """
        if rules := self._entry_rules(place):
            self._check_entry(place, rules, self._tasks_in(file, task))
        self.backend.write(place, file, str(task))

    def enter(self, place: Place, tasks: Iterable[int], file: str = "") -> Iterator[int]:
        """Write task ids into `tasks` or `cgroup.procs` of a container; yields each one that has
        entered. Raises OSError at the first refusal.
        """
        rules = self._entry_rules(place)
        if not rules:
            yield from self.backend.enter(place, tasks, file)
            return
        for task in tasks:
            self._check_entry(place, rules, self._tasks_in(file, task))
            yield from self.backend.enter(place, [task], file)

    def _entry_rules(self, place: Place) -> list[tuple[LiveSite, Sequence[EntryRule]]]:
        """Return the entry rules that apply to a container, with the container as they see it."""
        return [
            (LiveSite(self, place, root, name), rules)
            for name, root in self.roots(place).items()
            if (rules := _table(name).entry)
        ]

    def _tasks_in(self, file: str, task: int) -> list[int]:
        """Return the tasks that move when a number is written: one task, or the threads of a
        process.

        A first thread that is a zombie is left out, because the kernel shows it in the root
        containers.
        """
        try:
            task = task or os.getpid()
            if file != "cgroup.procs":
                return [task]
            threads = self.backend.threads(task)
            return [one for one in threads if not self.backend.task(one).exited]
        except ProcessLookupError:
            return []

    def _check_entry(
        self,
        place: Place,
        found: Iterable[tuple[LiveSite, Sequence[EntryRule]]],
        tasks: Iterable[int],
    ) -> None:
        """Raise WriteRefused if a rule refuses a task that is not inside. A task that has exited is
        left out.
        """
        for task in tasks:
            with contextlib.suppress(ProcessLookupError):
                for site, rules in found:
                    entry = entry_of(self.backend, site, task)
                    for rule in rules if entry.origin != place.path else ():
                        if violation := rule(entry):
                            refuse_text(violation.errno, self.backend.show(place, "tasks"))


class KernelFile:
    """A control file of the kernel."""

    def __init__(self, backend: ContainerReader, place: Place, file: str) -> None:
        self.backend = backend
        self.place = place
        self.file = file

    def read(self) -> str:
        """Return the whole text. Raises OSError."""
        return self.backend.read(self.place, self.file)

    def plan_write(self, text: str) -> tuple[Change, ...]:
        """Return one write(2)."""
        return (FileWrite(self.place, self.file, text),)


class MissingFile(KernelFile):
    """A file of a controller that pcont does not provide for this container."""

    def plan_write(self, text: str) -> NoReturn:
        """Raise FileNotFoundError."""
        refuse(ENOENT, self.backend.show(self.place, self.file))


class VirtualFile:
    """A control file that pcont provides: an attribute, a computed value, or a value of the eBPF
    programs.
    """

    def __init__(self, row: ControlFile, site: LiveSite) -> None:
        self._row = row
        self._site = site

    def read(self) -> str:
        """Return the whole text. Raises OSError."""
        row, site, place = self._row, self._site, self._site.place
        if row.virtual.computed:
            return f"{row.type.show(row.virtual.computed(site))}\n"
        if row.virtual.enforced:
            begins = row.begins(site.parent is None)
            value = site.backend.enforcer.values(place, site.subsystem).get(row.name, begins)
            return f"{row.type.show(value)}\n"
        text = site.backend.attributes(place).get(row.name)
        return f"{row.type.show(row.default) if text is None else text}\n"

    def plan_write(self, text: str) -> tuple[Change, ...]:
        """Return the change of the attribute and the kernel limits that follow from it, or the
        change of the eBPF programs' value.

        Raises WriteRefused with the errno of the first rule that the text violates.
        """
        row, site, place = self._row, self._site, self._site.place
        wanted = self._allowed(text)
        if row.virtual.computed:
            return ()
        if row.virtual.enforced:
            return (EnforcedValue(place, row.name, wanted),)
        root = site._replace(place=site.top, wanted={(place, row.name): wanted})
        derived = _unlike(root, following(_table(site.subsystem), root))
        return (AttributeChange(place, row.name, row.type.show(wanted)), *derived)

    def _allowed(self, text: str) -> Any:
        """Return the value of a text. Raises WriteRefused if a rule refuses it."""
        row, site = self._row, self._site
        if not row.access.writable:
            self._refuse(EINVAL)
        try:
            wanted = row.type.parse(text)
        except (ValueError, OverflowError):
            self._refuse(EINVAL)
        wanted = row.merged(site, wanted)
        for rule in row.rules:
            if violation := rule(site, Proposed(site, row.name, wanted)):
                self._refuse(violation.errno)
        return wanted

    def _refuse(self, errno: int) -> NoReturn:
        refuse_text(errno, self._site.backend.show(self._site.place, self._row.name))


def following(table: Subsystem, root: LiveSite) -> list[FileWrite]:
    """Return the writes to the kernel's files that follow from the values below a root.

    A container in which no value was ever set is left out.
    """
    # If a container is removed during the walk, start again.
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
    """Yield those writes that would change the text of the file."""
    for one in found:
        # The root of a tree has no limit file.
        with contextlib.suppress(FileNotFoundError):
            if root.backend.read(one.place, one.file).rstrip("\n") != one.text:
                yield one


def _table(name: str) -> Subsystem:
    table = subsys.by_key(name)
    assert table
    return table
