"""The step that writes control files: several keys, in an order that the kernel accepts."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from errno import EINVAL
from functools import partial
from shlex import quote

from pcont import subsys
from pcont.errors import PcontError
from pcont.kernel.interfaces import Backend, CgroupState, ContainerReader, Containers, Tasks
from pcont.kernel.refusals import WriteRefused, vanishing
from pcont.kernel.types import Place
from pcont.steps import explain
from pcont.steps.containers import RemoveCreated, RestoreXattr, write_back
from pcont.steps.tasks import is_same_task
from pcont.subsys import devices
from pcont.tags import on_disk
from pcont.transaction.step import Step
from pcont.transaction.undo_log import Action, UndoLog, UndoRecord
from pcont.values import Ids
from pcont.virtual import auto_delete
from pcont.virtual.changes import AttributeChange, Change, EnforcedValue, FileWrite
from pcont.virtual.files import ControlFiles

# What files read now, as far as that is known.
Known = dict[tuple[Place, str], "str | None"]


@on_disk("Setting", "place", "file", "text")
@dataclass(frozen=True)
class Setting:
    """A text for a control file of a place."""

    place: Place
    file: str
    text: str

    @property
    def written(self) -> str:
        """What goes into write(2): zero bytes would do nothing and succeed, a newline empties."""
        return self.text or "\n"


def _is_direct(one: Setting, change: Change) -> bool:
    """Whether a change is the write that was asked for, and not one that follows from it."""
    files = (one.file, subsys.stands_for(one.file))
    return isinstance(change, FileWrite) and change.place == one.place and change.file in files


def _is_kept(one: Setting) -> bool:
    """Whether pcont keeps the value itself."""
    kept_file = subsys.is_kept_file(one.file, one.place.controllers)
    return kept_file and not subsys.stands_for(one.file)


def _kept_line(backend: ContainerReader, one: Setting, change: AttributeChange) -> str:
    where = backend.show(change.place)
    text = one.text if (change.place, change.name) == (one.place, one.file) else change.text
    if text is None:
        return f"# forget {change.name} of {where}"
    return f"# keep {change.name}={text} with {where}"


@on_disk("Affinities", "cpus")
@dataclass
class RestoreAffinities(UndoRecord):
    """The CPUs that tasks could run on, each with the clock tick at which the task began."""

    cpus: dict[int, tuple[int, Ids]]

    @classmethod
    def of(cls, backend: Tasks, tasks: Iterable[int]) -> RestoreAffinities:
        """As they are now."""
        found = {}
        for task in tasks:
            with contextlib.suppress(ProcessLookupError):
                found[task] = (backend.task(task).start, backend.affinity(task))
        return cls(found)

    @property
    def what(self) -> str:
        return "the CPUs of tasks"

    def restore(self, backend: Tasks) -> Iterator[Action]:
        for task, (start, cpus) in self.cpus.items():
            yield partial(self._restore, backend, task, start, cpus)

    @staticmethod
    def _restore(backend: Tasks, task: int, start: int, cpus: Ids) -> None:
        if is_same_task(backend, task, start) and backend.affinity(task) != cpus:
            backend.set_affinity(task, cpus)


@on_disk("Value", "place", "file", "text", "affinities")
@dataclass
class RestoreValue(UndoRecord):
    """What a control file read, and the affinity of the tasks inside where that hangs on it."""

    place: Place
    file: str
    text: str
    affinities: RestoreAffinities

    @classmethod
    def of(
        cls, backend: CgroupState, place: Place, file: str, text: str | None = None
    ) -> RestoreValue:
        """Snapshot the file, or the file that holds the written value if its text differs from it.

        `text`: what the file reads, where it has just been read.
        """
        shown, file = file, subsys.told_by(file)
        if text is None or file != shown:
            text = ControlFiles(backend).stored(place, file)
        inside = ""
        if subsys.moves_affinity(file):
            inside = backend.read(place, "tasks")
        return cls(place, file, text, RestoreAffinities.of(backend, map(int, inside.split())))

    @property
    def what(self) -> str:
        return f"{self.file} of {self.place.path}"

    def restore(self, backend: Backend) -> Iterator[Action]:
        yield lambda: write_back(backend, self.place, self.file, self.text)
        yield from self.affinities.restore(backend)


@on_disk("Written", "settings")
@dataclass
class WriteAgain(UndoRecord):
    """That these were written, one after the other, whatever the files read."""

    settings: list[Setting]

    @property
    def what(self) -> str:
        return " and ".join(one.file for one in self.settings)

    def restore(self, backend: CgroupState) -> Iterator[Action]:
        for one in self.settings:
            yield partial(ControlFiles(backend).store, one.place, one.file, one.written)


@dataclass
class WriteFiles(Step):
    """Write settings, each with one write(2); `fresh`: of a container that this command made.

    `wish`: what is written is the user's wish, and not only as much of it as is possible now.

    The table's order comes first. A value that is refused while others wait is tried again after
    them: so memory and memsw, exclusive flags and lists find the order that suits the old values.
    What cannot be undone is written when all the rest has been. `known`: texts of files that have
    just been read.
    """

    settings: Sequence[Setting]
    doing: str
    fresh: bool = False
    wish: bool = True
    refused: Setting | None = None
    known: Known = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.settings = sorted(self.settings, key=lambda one: subsys.order(one.file))

    def dry_run_lines(self, backend: CgroupState) -> list[str]:
        return [line for one in self.settings for line in self._told(backend, one)]

    @staticmethod
    def _told(backend: CgroupState, one: Setting) -> list[str]:
        file = subsys.stands_for(one.file) or one.file
        lines = [f"echo {quote(one.text)} > {quote(backend.show(one.place, file))}"]
        if _is_kept(one):
            lines = [f"# keep {one.file}={one.text} with {backend.show(one.place)}"]
        # Nothing more is known of a container that is yet to be made, or of a refused value.
        with contextlib.suppress(OSError):
            changes = ControlFiles(backend).resolve(one.place, one.file).plan_write(one.written)
            kept = [change for change in changes if isinstance(change, AttributeChange)]
            lines = [_kept_line(backend, one, change) for change in kept] or lines
            for change in changes:
                if isinstance(change, FileWrite) and not _is_direct(one, change):
                    where = quote(backend.show(change.place, change.file))
                    lines.append(f"echo {quote(change.text)} > {where}")
        return lines

    def rehearse(self, backend: CgroupState) -> None:
        self._write(backend, UndoLog(), tried=True)

    def do(self, backend: CgroupState, memory: UndoLog) -> None:
        self._write(backend, memory, tried=self.fresh)

    def _write(self, backend: CgroupState, memory: UndoLog, tried: bool) -> None:
        """Write everything; `tried`: entries of devices need no rehearsal in a container beside."""
        files = ControlFiles(backend)
        waiting = [one for one in self.settings if not subsys.lasting(one.file)]
        while waiting:
            refused = [(one, err) for one in waiting if (err := self._try(files, memory, one))]
            if len(refused) == len(waiting):
                self.refused, err = refused[0]
                raise err
            waiting = [one for one, _ in refused]
        last = [one for one in self.settings if subsys.lasting(one.file)]
        for one in last:
            self.refused = one
            _check(backend, one)
        if len(last) > 1 and not tried:
            self._rehearse(backend, memory, last)
        if last and not self.fresh:
            memory.set_final(WriteAgain(last))
        for one in last:
            self.refused = one
            files.store(one.place, one.file, one.written)

    def _rehearse(self, backend: CgroupState, memory: UndoLog, last: Sequence[Setting]) -> None:
        """Write the entries into an empty container beside, which is as this one and then removed.

        What the kernel refuses depends on the parent, on whether containers are below, and on
        whether all is allowed but what was denied. So it refuses all of it here, or nothing.
        """
        place = last[0].place
        if place.is_root:
            return  # nothing above it refuses anything
        double = place.parent.child(f"pcont-{os.getpid()}")
        below = [double.child("below")] if backend.children(place) else []
        facts: list[UndoRecord] = []
        try:
            for one in (double, *below):
                facts.append(RemoveCreated(one))
                with memory.of(facts[-1]):
                    ControlFiles(backend).make(one)
                if one == double:
                    self._made_alike(backend, place, double)
            for setting in last:
                self.refused = setting
                backend.write(double, setting.file, setting.written)
        except WriteRefused as err:
            err.filename = backend.show(place, self.refused.file if self.refused else "")
            raise
        finally:
            for one in reversed([double, *below][: len(facts)]):
                with contextlib.suppress(FileNotFoundError):
                    backend.remove(one)
            for fact in facts:
                memory.drop(fact)

    @staticmethod
    def _made_alike(backend: Containers, place: Place, double: Place) -> None:
        """An empty list where the parent's is everything, and the container has a list."""
        everything = devices.has_everything(backend.read(place, devices.LIST))
        if not everything and devices.has_everything(backend.read(double, devices.LIST)):
            backend.write(double, devices.DENY, "a")

    def _try(self, files: ControlFiles, memory: UndoLog, one: Setting) -> WriteRefused | None:
        """Write one setting; returns a refusal that may not come after the other settings."""
        self.refused = one
        try:
            _check(files.backend, one)
            changes = files.resolve(one.place, one.file).plan_write(one.written)
            if len(changes) == 1 and _is_direct(one, changes[0]):
                with self._known(files.backend, memory, one):
                    changes[0].apply(files.backend)
                self._keep_list(files.backend, memory, one)
                return None
        except WriteRefused as err:
            return err
        for change in changes:
            _make(files.backend, memory, change)
        return None

    def _keep_list(self, backend: CgroupState, memory: UndoLog, one: Setting) -> None:
        """Keep the present value of a list that the kernel shortens by hotplug."""
        row = subsys.row(subsys.stands_for(one.file) or one.file)
        if not (self.wish and row and row.undo.kept_as) or one.place.is_root:
            return
        if not auto_delete.is_lacking(backend):  # a dialect of 2006, where pcont keeps nothing
            return
        if not (backend.privileged() and backend.may_mount()):
            return  # only root may write attributes
        with vanishing():
            text = backend.read(one.place, row.name).strip()
            before = backend.attributes(one.place).get(row.undo.kept_as)
            if text != (before or ""):
                with memory.of(RestoreXattr(one.place, row.undo.kept_as, before)):
                    backend.set_attribute(one.place, row.undo.kept_as, text or None)

    def _known(
        self, backend: CgroupState, memory: UndoLog, one: Setting
    ) -> contextlib.AbstractContextManager[None]:
        if not self.fresh:
            # A file that cannot be read cannot be put back; it is written all the same.
            with contextlib.suppress(OSError):
                now = self.known.pop((one.place, one.file), None)
                return memory.of(RestoreValue.of(backend, one.place, one.file, now))
        return contextlib.nullcontext()

    def notes(self) -> list[str]:
        agents = [one.text.strip() for one in self.settings if one.file == auto_delete.AGENT]
        return [
            f"the kernel would run nothing when a container becomes empty: {why}"
            for why in dict.fromkeys(map(auto_delete.runs_nothing, agents))
            if why
        ]

    @property
    def final(self) -> bool:
        return not self.fresh and any(subsys.lasting(one.file) for one in self.settings)

    def refusal(self, backend: CgroupState, err: OSError) -> PcontError:
        one = self.refused or self.settings[0]
        return explain.write_refusal(backend, one.place, one.file, one.written, err)


def _make(backend: CgroupState, memory: UndoLog, change: Change) -> None:
    """Make one of the changes that a virtual file comes to; each is undone on its own."""
    if isinstance(change, AttributeChange):
        before = backend.attributes(change.place).get(change.name)
        if change.text != before:
            with memory.of(RestoreXattr(change.place, change.name, before)):
                backend.set_attribute(change.place, change.name, change.text)
    elif isinstance(change, EnforcedValue):
        with memory.of(RestoreValue.of(backend, change.place, change.file)):
            change.apply(backend)
    else:
        # Another process may remove the container at the same time.
        with vanishing(), memory.of(RestoreValue.of(backend, change.place, change.file)):
            change.apply(backend)


def _check(backend: ContainerReader, one: Setting) -> None:
    """Refuse a value that the kernel takes for another one; WriteRefused."""
    row = subsys.row(one.file)
    if row and row.advice.strict:
        try:
            row.type.parse(one.text)
        except (ValueError, OverflowError) as err:
            where = backend.show(one.place, one.file)
            raise WriteRefused(EINVAL, os.strerror(EINVAL), where) from err


def can_rehearse(final: Sequence[Setting]) -> bool:
    """Whether several values that cannot be undone are written all or none: entries of devices."""
    same = {(one.place, subsys.of(one.file)) for one in final}
    return len(same) == 1 and all(one.file in (devices.ALLOW, devices.DENY) for one in final)


def is_lasting(control: ControlFiles, setting: Setting, known: Known) -> bool:
    """Whether a value, once written, cannot be put back by writing what was read before.

    That is so for resets and triggers, and for files that show something else than they take:
    several lines, or none.
    """
    if subsys.lasting(setting.file):
        return True
    with contextlib.suppress(OSError):
        text = known.get((setting.place, setting.file))
        if text is None:
            text = control.stored(setting.place, setting.file)
        return not subsys.can_write_back(setting.file, text)
    return True
