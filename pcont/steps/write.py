"""The step that writes control files: several keys, in an order that the kernel accepts."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from errno import EINVAL
from functools import partial
from shlex import quote
from typing import TYPE_CHECKING

from pcont import subsys
from pcont.bases import NamedTuple, on_disk
from pcont.errors import BadValue, PcontError
from pcont.kernel.refusals import WriteRefused, refuse_text, vanishing
from pcont.kernel.types import UNIFIED, Place
from pcont.steps.created import RemoveCreated
from pcont.steps.snapshot import write_back
from pcont.steps.tasks import is_same_task
from pcont.steps.xattr import RestoreXattr
from pcont.subsys import devices
from pcont.subsys.cpuset import CPUS, MEMS
from pcont.transaction.step import Step
from pcont.transaction.undo_log import Action, UndoLog, UndoRecord
from pcont.values import Ids
from pcont.virtual import auto_delete
from pcont.virtual.changes import AttributeChange, Change, EnforcedValue, FileWrite
from pcont.virtual.files import ControlFiles
from pcont.virtual.site import key_face, row_of

if TYPE_CHECKING:
    from pcont.kernel.interfaces import Backend, CgroupState, ContainerReader, Containers, Tasks

_OF_PARTITIONS = (CPUS, subsys.EXCLUSIVE, subsys.PARTITION)

# The present text of files, where the caller has just read it; None for a file without one.
Known = dict[tuple[Place, str], "str | None"]


@on_disk("Setting", "place", "file", "text")
class Setting(NamedTuple):
    """A text to write to a control file of a container."""

    place: Place
    file: str
    text: str

    @property
    def written(self) -> str:
        """The text for write(2). A newline stands for the empty text, because a write of zero bytes
        has no effect.
        """
        return self.text or "\n"


def _is_direct(one: Setting, change: Change) -> bool:
    """Return whether a change is the requested write itself, and not a consequence of it."""
    files = (one.file, subsys.stands_for(one.file))
    return isinstance(change, FileWrite) and change.place == one.place and change.file in files


def _is_stored(one: Setting) -> bool:
    """Return whether pcont stores the value in an attribute, and no kernel file takes it."""
    kept_file = subsys.is_virtual_file(one.file, one.place.controllers)
    return kept_file and not subsys.stands_for(one.file)


def _attribute_line(backend: ContainerReader, one: Setting, change: AttributeChange) -> str:
    where = backend.show(change.place)
    text = one.text if (change.place, change.name) == (one.place, one.file) else change.text
    if text is None:
        return f"# forget {change.name} of {where}"
    return f"# keep {change.name}={text} with {where}"


@on_disk("Affinities", "cpus")
class RestoreAffinities(UndoRecord):
    """Undo record of CPU affinities: by task id, the start time in clock ticks and the CPUs."""

    cpus: dict[int, tuple[int, Ids]]

    def __init__(self, cpus: dict[int, tuple[int, Ids]]) -> None:
        self.cpus = cpus

    @classmethod
    def of(cls, backend: Tasks, tasks: Iterable[int]) -> RestoreAffinities:
        """Record the present affinity of the tasks; tasks that have exited are left out."""
        found = {}
        for task in tasks:
            with contextlib.suppress(ProcessLookupError):
                found[task] = (backend.task(task).start, backend.affinity(task))
        return cls(found)

    @property
    def label(self) -> str:
        return "the CPUs of tasks"

    def restore(self, backend: Tasks) -> Iterator[Action]:
        for task, (start, cpus) in self.cpus.items():
            yield partial(self._restore, backend, task, start, cpus)

    @staticmethod
    def _restore(backend: Tasks, task: int, start: int, cpus: Ids) -> None:
        if is_same_task(backend, task, start) and backend.affinity(task) != cpus:
            backend.set_affinity(task, cpus)


@on_disk("Value", "place", "file", "text", "affinities")
class RestoreValue(UndoRecord):
    """Undo record of a write: the text of the control file, and the CPU affinity of the tasks
    inside if the file changes it (cpuset).
    """

    place: Place
    file: str
    text: str
    affinities: RestoreAffinities

    def __init__(self, place: Place, file: str, text: str, affinities: RestoreAffinities) -> None:
        self.place, self.file, self.text, self.affinities = place, file, text, affinities

    @classmethod
    def of(
        cls, backend: CgroupState, place: Place, file: str, text: str | None = None
    ) -> RestoreValue:
        """Snapshot a file. If it shows another text than was written (freezer.state), snapshot the
        file that holds the written value.

        `text`: what the file reads, if the caller has just read it.
        """
        shown, file = file, subsys.written_to(file)
        if text is None or file != shown:
            text = ControlFiles(backend).stored(place, file)
        inside = ""
        if subsys.moves_affinity(file):
            inside = backend.read(place, "tasks")
        return cls(place, file, text, RestoreAffinities.of(backend, map(int, inside.split())))

    @property
    def label(self) -> str:
        return f"{self.file} of {self.place.path}"

    def restore(self, backend: Backend) -> Iterator[Action]:
        file = subsys.stands_for(self.file) or self.file
        if self.place.is_unified and file in (CPUS, MEMS) and not self.text.strip():
            from pcont.steps.emptied import empty_again  # only undo on cgroup v2 needs it

            yield lambda: empty_again(backend, self.place, file, self.text)
        elif self.place.is_unified and file == subsys.PARTITION:
            from pcont.steps.partitions import make_partition_again

            yield lambda: make_partition_again(backend, self.place, self.text)
        else:
            yield lambda: write_back(backend, self.place, self.file, self.text)
        yield from self.affinities.restore(backend)


@on_disk("Written", "settings")
class WriteAgain(UndoRecord):
    """Final change of WriteFiles: recovery writes these settings again, in this order, whatever the
    files read.
    """

    settings: list[Setting]

    def __init__(self, settings: list[Setting]) -> None:
        self.settings = settings

    @property
    def label(self) -> str:
        return " and ".join(one.file for one in self.settings)

    def restore(self, backend: CgroupState) -> Iterator[Action]:
        for one in self.settings:
            yield partial(ControlFiles(backend).store, one.place, one.file, one.written)


class WriteFiles(Step):
    """Write settings, each with one write(2).

    Files are written in the order of the tables. A refused value is tried again after the others,
    because some depend on each other (memory and memsw limits, cpuset lists and exclusive flags).
    Values that cannot be undone (`subsys.lasting`) come last.

    `created`: this command created the container, so no undo record is needed. `requested`: the
    values are what the user asked for; pcont stores the cpuset lists among them, to restore them
    after CPU hotplug. `known`: texts of files that the caller has just read. `refused`: the setting
    that was refused, for the error. `action` names the operation in messages.
    """

    def __init__(
        self,
        settings: Sequence[Setting],
        action: str,
        created: bool = False,
        requested: bool = True,
        known: Known | None = None,
    ) -> None:
        self.settings: Sequence[Setting] = sorted(settings, key=lambda one: subsys.order(one.file))
        self.action, self.created = action, created
        self.requested = requested
        self.known: Known = {} if known is None else known
        self.refused: Setting | None = None
        self._restores = not created
        self._notes: list[str] = []
        self._valid: dict[Place, str] = {}  # partitions before the writes
        self._first: list[Setting] = []
        self._last: list[Setting] = []
        self._of_cpus: list[Place] = []
        for one in self.settings:
            (self._last if subsys.lasting(one.file) else self._first).append(one)
            if one.place.tree == UNIFIED and one.file in _OF_PARTITIONS:
                self._of_cpus.append(one.place)

    def dry_run_lines(self, backend: CgroupState) -> list[str]:
        return [line for one in self.settings for line in self._commands(backend, one)]

    @staticmethod
    def _commands(backend: CgroupState, one: Setting) -> list[str]:
        file = subsys.stands_for(one.file) or one.file
        lines = [f"echo {quote(one.text)} > {quote(backend.show(one.place, file))}"]
        if _is_stored(one):
            lines = [f"# keep {one.file}={one.text} with {backend.show(one.place)}"]
        # A planned container, or a value that is refused, cannot be resolved.
        with contextlib.suppress(OSError):
            found = ControlFiles(backend).resolve(one.place, one.file)
            changes = found.plan_write(one.written)
            lines = [] if key_face(backend, one.place, one.file) else lines
            kept = [change for change in changes if isinstance(change, AttributeChange)]
            lines = [_attribute_line(backend, one, change) for change in kept] or lines
            for change in changes:
                if isinstance(change, FileWrite) and not _is_direct(one, change):
                    where = quote(backend.show(change.place, change.file))
                    lines.append(f"echo {quote(change.text)} > {where}")
        return lines

    def rehearse(self, backend: CgroupState) -> None:
        self._write(ControlFiles(backend), UndoLog(), tried=True)

    def do(self, backend: CgroupState, undo_log: UndoLog) -> None:
        self.write_all(ControlFiles(backend), undo_log)

    def write_all(self, files: ControlFiles, undo_log: UndoLog) -> None:
        """Carry out the step with the control files of its operation."""
        self._write(files, undo_log, tried=self.created)

    def _write(self, files: ControlFiles, undo_log: UndoLog, tried: bool) -> None:
        """Write everything. `tried`: skip the trial of device entries in a temporary container."""
        backend = files.backend
        waiting, last = self._first, self._last
        if self._of_cpus:
            self._record_partitions(backend, undo_log)
        while waiting:
            refused = [(one, err) for one in waiting if (err := self._try(files, undo_log, one))]
            if len(refused) == len(waiting):
                self.refused, err = refused[0]
                raise err
            waiting = [one for one, _ in refused]
        self._check_met(files)
        for one in last:
            self.refused = one
            _check(backend, one)
        if len(last) > 1 and not tried:
            self._rehearse(backend, undo_log, last)
        if last and not self.created:
            undo_log.set_final(WriteAgain(last))
        for one in last:
            self.refused = one
            files.store(one.place, one.file, one.written)

    def _rehearse(self, backend: CgroupState, undo_log: UndoLog, last: Sequence[Setting]) -> None:
        """Write the device entries into a temporary sibling container first, so that all are
        written or none.

        Whether the kernel refuses an entry depends on the parent, on whether the container has
        children, and on its default. The sibling is made alike in these, and is removed afterwards.
        """
        place = last[0].place
        if place.is_root:
            return  # a root container has no parent that could refuse
        trial = place.parent.child(f"pcont-{os.getpid()}")
        below = [trial.child("below")] if backend.children(place) else []
        records: list[UndoRecord] = []
        try:
            for one in (trial, *below):
                records.append(RemoveCreated(one))
                with undo_log.of(records[-1]):
                    ControlFiles(backend).make(one)
                if one == trial:
                    self._make_alike(backend, place, trial)
            for setting in last:
                self.refused = setting
                backend.write(trial, setting.file, setting.written)
        except WriteRefused as err:
            err.filename = backend.show(place, self.refused.file if self.refused else "")
            raise
        finally:
            for one in reversed([trial, *below][: len(records)]):
                with contextlib.suppress(FileNotFoundError):
                    backend.remove(one)
            for record in records:
                undo_log.drop(record)

    @staticmethod
    def _make_alike(backend: Containers, place: Place, trial: Place) -> None:
        """Give the temporary container an empty device list, unless the original allows
        everything.
        """
        everything = devices.has_everything(backend.read(place, devices.LIST))
        if not everything and devices.has_everything(backend.read(trial, devices.LIST)):
            backend.write(trial, devices.DENY, "a")

    def _try(self, files: ControlFiles, undo_log: UndoLog, one: Setting) -> WriteRefused | None:
        """Write one setting. Returns the refusal, if it may succeed after the other settings;
        otherwise None.
        """
        self.refused = one
        try:
            _check(files.backend, one)
            changes = files.resolve(one.place, one.file).plan_write(one.written)
            if len(changes) == 1 and _is_direct(one, changes[0]):
                with self._known(files.backend, undo_log, one):
                    changes[0].apply(files.backend)
                self._keep_list(files.backend, undo_log, one)
                return None
            if len(changes) == 1 and isinstance(changes[0], FileWrite):
                meant = changes[0]  # the KEY stands for this file: it must be there
                with undo_log.of(RestoreValue.of(files.backend, meant.place, meant.file)):
                    meant.apply(files.backend)
                return None
        except WriteRefused as err:
            return err
        for change in changes:
            _apply(files.backend, undo_log, change)
        return None

    def _keep_list(self, backend: CgroupState, undo_log: UndoLog, one: Setting) -> None:
        """Store the present text of a list in an attribute, because the kernel shortens the list on
        CPU hotplug.
        """
        row = subsys.row(subsys.stands_for(one.file) or one.file)
        if not (self.requested and row and row.undo.copied_as) or one.place.is_root:
            return
        if not auto_delete.is_lacking(backend):  # the 2006 model, where pcont stores no attributes
            return
        if not (backend.privileged() and backend.may_mount()):
            return  # only root may write attributes
        with vanishing():
            text = backend.read(one.place, row.name).strip()
            before = backend.attributes(one.place).get(row.undo.copied_as)
            if text != (before or ""):
                with undo_log.of(RestoreXattr(one.place, row.undo.copied_as, before)):
                    backend.set_attribute(one.place, row.undo.copied_as, text or None)

    def _known(
        self, backend: CgroupState, undo_log: UndoLog, one: Setting
    ) -> contextlib.AbstractContextManager[None]:
        if self._restores:
            # A file that cannot be read cannot be restored. It is written anyway.
            with contextlib.suppress(OSError):
                now = self.known.pop((one.place, one.file), None)
                return undo_log.of(RestoreValue.of(backend, one.place, one.file, now))
        return contextlib.nullcontext()

    def _record_partitions(self, backend: CgroupState, undo_log: UndoLog) -> None:
        """Record the partitions of cpuset that are valid now."""
        from pcont.steps import partitions  # few commands write lists of cgroup v2

        self._valid = partitions.valid_partitions(backend, self._of_cpus)
        for one in self.settings if self._valid else ():
            if one.file == CPUS and one.place.tree == UNIFIED:
                partitions.check_remote(backend, one.place, one.text, self._valid)
        # Undo removes a new container last: its lists must not be in the way before.
        self._restores = self._restores or bool(self._valid)
        # Undo goes backwards: a parent is a partition again before its children.
        for place, text in reversed(self._valid.items()):
            undo_log.record(RestoreValue(place, subsys.PARTITION, text, RestoreAffinities({})))

    def _check_met(self, files: ControlFiles) -> None:
        """Raise BadValue for a value that cgroup v2 has accepted, and does not do."""
        for one in self.settings:
            if one.place.tree == UNIFIED:
                _check_done(files, one, self.created)
        if self._of_cpus:
            self._note_partitions(files)

    def _note_partitions(self, files: ControlFiles) -> None:
        """Note what the user may not expect of partitions: some are lost, or there is none."""
        from pcont.steps import partitions

        self._notes += partitions.notes_on_lost(files, self._valid)
        wanted = [
            one.place for one in self.settings if one.file == subsys.EXCLUSIVE and one.text.strip()
        ]
        self._notes += partitions.notes_on_lone(files, wanted)

    def notes(self) -> list[str]:
        agents = [one.text.strip() for one in self.settings if one.file == subsys.AGENT]
        return self._notes + [
            f"the kernel would run nothing when a container becomes empty: {why}"
            for why in dict.fromkeys(map(auto_delete.runs_nothing, agents))
            if why
        ]

    @property
    def final(self) -> bool:
        return not self.created and any(subsys.lasting(one.file) for one in self.settings)

    def refusal(self, backend: CgroupState, err: OSError) -> PcontError:
        from pcont.steps import explain

        one = self.refused or self.settings[0]
        return explain.write_refusal(backend, one.place, one.file, one.written, err)


def _apply(backend: CgroupState, undo_log: UndoLog, change: Change) -> None:
    """Apply one change that a write to a virtual file consists of, with its own undo record."""
    if isinstance(change, AttributeChange):
        before = backend.attributes(change.place).get(change.name)
        if change.text != before:
            with undo_log.of(RestoreXattr(change.place, change.name, before)):
                backend.set_attribute(change.place, change.name, change.text)
    elif isinstance(change, EnforcedValue):
        with undo_log.of(RestoreValue.of(backend, change.place, change.file)):
            change.apply(backend)
    else:
        # Another process may remove the container at the same time.
        with vanishing(), undo_log.of(RestoreValue.of(backend, change.place, change.file)):
            change.apply(backend)


def _check(backend: ContainerReader, one: Setting) -> None:
    """Raise WriteRefused for a value that the kernel would accept, but read as another value."""
    row = subsys.row(one.file)
    if row and row.advice.strict:
        try:
            row.type.parse(one.text)
        except (ValueError, OverflowError) as err:
            refuse_text(EINVAL, backend.show(one.place, one.file), err)


def _check_done(files: ControlFiles, one: Setting, created: bool) -> None:
    """Raise BadValue if cgroup v2 has accepted a value, and does not do it. `created`: the command
    has created the container.
    """
    row = row_of(files.backend, one.file, one.place.tree)
    if not (row and row.advice.unmet):
        return
    text = files.stored(one.place, one.file)
    if "invalid" in text:
        from pcont.steps import explain

        reason, hint = explain.unmet(files, one.place, one.file, text, created)
        raise BadValue(
            f"cannot set {one.file} of {one.place.shown} to {one.text!r}: {reason}",
            path=files.backend.show(one.place, one.file),
            hint=hint,
        )


def is_one_write(files: ControlFiles, one: Setting) -> bool:
    """Return whether a setting of a new container is written by one write(2), and by nothing else.

    False also for a text that pcont refuses.
    """
    row = subsys.row(one.file)
    if subsys.lasting(one.file) or (row and row.undo.copied_as) or subsys.stands_for(one.file):
        return False
    try:
        _check(files.backend, one)
        changes = files.resolve(one.place, one.file).plan_write(one.written)
    except (OSError, PcontError):
        return False
    return len(changes) == 1 and _is_direct(one, changes[0])


def can_rehearse(final: Sequence[Setting]) -> bool:
    """Return whether pcont can try several values that cannot be undone before it writes them.

    That is so for device entries of one container.
    """
    targets = {(one.place, subsys.of(one.file)) for one in final}
    return len(targets) == 1 and all(one.file in (devices.ALLOW, devices.DENY) for one in final)


def is_lasting(control: ControlFiles, setting: Setting, known: Known) -> bool:
    """Return whether a written value cannot be undone by writing back what the file reads now.

    That is so for resets and triggers, and for files that read differently from what they take
    (several lines, or none). `known`: texts that the caller has just read.
    """
    if subsys.lasting(setting.file):
        return True
    with contextlib.suppress(OSError):
        text = known.get((setting.place, setting.file))
        if text is None:
            text = control.stored(setting.place, setting.file)
        return not subsys.can_write_back(setting.file, text)
    return True
