"""Steps that create and remove containers, and set the extended attributes that pcont stores on
them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from functools import partial
from shlex import quote

from pcont import subsys
from pcont.errors import PcontError
from pcont.hierarchy.container import Container
from pcont.hierarchy.presence import present
from pcont.kernel.interfaces import (
    Backend,
    CgroupState,
    ContainerReader,
    Containers,
    MountedContainers,
    Subsystems,
    exists,
)
from pcont.kernel.types import Owner, Place
from pcont.steps import explain
from pcont.tags import on_disk
from pcont.transaction.step import Step
from pcont.transaction.undo_log import Action, UndoLog, UndoRecord
from pcont.trust import xattrs
from pcont.virtual.files import ControlFiles
from pcont.virtual.site import row_of


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


class CreateContainer(Step):
    """Create a container in one tree with mkdir(2). `action` names the operation in messages."""

    def __init__(self, place: Place, action: str) -> None:
        self.place, self.action = place, action

    def dry_run_lines(self, backend: ContainerReader) -> list[str]:
        return [f"mkdir {quote(backend.show(self.place))}"]

    def do(self, backend: CgroupState, undo_log: UndoLog) -> None:
        with undo_log.of(RemoveCreated(self.place)):
            ControlFiles(backend).make(self.place)

    def rehearse(self, backend: CgroupState) -> None:
        ControlFiles(backend).make(self.place)

    def refusal(self, backend: CgroupState, err: OSError) -> PcontError:
        return explain.make_refusal(backend, self.place, err, self.action)


@on_disk("Present", "place", "settings", "attributes", "owners", "force")
class RecreateRemoved(UndoRecord):
    """Undo record of a removal: the container existed, with these settings, attributes and owners.

    `settings`: pairs of control file and text, in the order of writing. `attributes`: pcont's
    extended attributes by name. `owners`: uid, gid and mode by file name. `force`: open files may
    have been charged to it.
    """

    place: Place
    settings: list[tuple[str, str]]
    attributes: dict[str, str]
    owners: dict[str, Owner]
    force: bool

    def __init__(
        self,
        place: Place,
        settings: list[tuple[str, str]],
        attributes: dict[str, str],
        owners: dict[str, Owner],
        force: bool = False,
    ) -> None:
        self.place, self.settings, self.attributes = place, settings, attributes
        self.owners, self.force = owners, force

    @classmethod
    def of(cls, backend: CgroupState, place: Place, force: bool = False) -> RecreateRemoved:
        """Snapshot an existing container."""
        facts = backend.attributes(place), backend.owners(place)
        return cls(place, settings_of(backend, place), *facts, force)

    @property
    def label(self) -> str:
        return f"{self.place.path} of {self.place.tree}"

    def restore(self, backend: CgroupState) -> Iterator[Action]:
        if not exists(backend, self.place):
            yield lambda: backend.make(self.place)
        elif self.force:
            yield lambda: backend.enforcer.hold(self.place)
        yield lambda: write_back_all(backend, self.place, self.settings)
        for name, text in self.attributes.items():
            yield partial(backend.set_attribute, self.place, name, text)
        yield lambda: backend.set_owners(self.place, self.owners)


class RemoveContainer(Step):
    """Remove a container in one tree with rmdir(2). `action` names the operation in messages.

    `last`: it is the last change of the operation, which is never undone. `force`: remove it even
    if open files are charged to it; those files are charged to no container afterwards.
    `discarded`: what `force` overrode, for the message.
    """

    def __init__(
        self,
        place: Place,
        action: str,
        last: bool = False,
        force: bool = False,
    ) -> None:
        self.place, self.action, self.last, self.force = place, action, last, force
        self.discarded: str = ""

    def dry_run_lines(self, backend: ContainerReader) -> list[str]:
        return [f"rmdir {quote(backend.show(self.place))}"]

    def do(self, backend: CgroupState, undo_log: UndoLog) -> None:
        if self.last:
            undo_log.set_final(RemoveCreated(self.place, self.force))
            backend.remove(self.place, self.force)
        else:
            held = explain.held_back(backend, self.place)[0] if self.force else ""
            with undo_log.of(RecreateRemoved.of(backend, self.place, self.force)):
                backend.remove(self.place, self.force)
            self.discarded = held

    def irreversible(self) -> list[str]:
        return [f"{self.place.path}: {self.discarded}"] if self.discarded else []

    @property
    def final(self) -> bool:
        return self.last

    def rehearse(self, backend: Containers) -> None:
        backend.remove(self.place, self.force)

    def refusal(self, backend: Backend, err: OSError) -> PcontError:
        return explain.remove_refusal(backend, self.place, err, self.action)


def removals(
    backend: MountedContainers, doomed: Iterable[Container], force: bool = False
) -> list[Step]:
    """Return the steps that remove each container of `doomed` from every tree, its home last.

    The home comes last because pcont finds a container by its home. `force`: remove containers that
    open files are charged to.
    """
    steps = [
        RemoveContainer(place, f"remove {container.name}", force=force)
        for container in doomed
        for place in reversed(present(backend, container))
    ]
    for last in steps[-1:]:
        last.last = True
    return list(steps)


def settings_of(backend: CgroupState, place: Place) -> list[tuple[str, str]]:
    """Return the writable settings of a container as pairs of control file and text, in the order
    of writing.

    Files that cannot be read are left out.
    """
    found, files = [], ControlFiles(backend)
    for file, writable in files.stored_names(place).items():
        if subsys.is_setting(file, writable) and not _is_attribute(backend, place, file):
            # Some files can only be written, or are switched off on this kernel.
            with contextlib.suppress(OSError):
                found.append((file, files.stored(place, file)))
    return sorted(found, key=lambda pair: subsys.order(pair[0]))


def _is_attribute(backend: Subsystems, place: Place, file: str) -> bool:
    """Return whether the value of a file is stored in an attribute of the container, so that
    restoring the attributes restores it.
    """
    row = row_of(backend, file)
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


@on_disk("Attribute", "place", "name", "text")
class RestoreXattr(UndoRecord):
    """Undo record of SetXattr: the text of an attribute that pcont stores on a container; None if
    it had none.
    """

    place: Place
    name: str
    text: str | None

    def __init__(self, place: Place, name: str, text: str | None) -> None:
        self.place, self.name, self.text = place, name, text

    @property
    def label(self) -> str:
        return f"{xattrs.TRUSTED}{self.name} of {self.place.path}"

    def restore(self, backend: Containers) -> Iterator[Action]:
        if backend.attributes(self.place).get(self.name) != self.text:
            yield lambda: backend.set_attribute(self.place, self.name, self.text)


class SetXattr(Step):
    """Set the extended attribute `name` of a container to `text`; None removes it.

    `without`: the warning for the user if the kernel does not permit the attribute, as for root of
    a user namespace, and the operation continues without it. If it is empty, PermissionError is
    raised. `action` names the operation in messages.
    """

    def __init__(
        self,
        place: Place,
        name: str,
        text: str | None,
        action: str,
        without: str = "",
    ) -> None:
        self.place, self.name, self.text, self.action = place, name, text, action
        self.without = without
        self.missed = False

    def dry_run_lines(self, backend: ContainerReader) -> list[str]:
        where = quote(backend.show(self.place))
        names = [f"{prefix}{self.name}" for prefix in (xattrs.TRUSTED, xattrs.COPY)]
        if self.text is None:
            return [f"setfattr -x {name} {where}" for name in names]
        return [f"setfattr -n {name} -v {quote(self.text)} {where}" for name in names]

    def do(self, backend: Containers, undo_log: UndoLog) -> None:
        before = backend.attributes(self.place).get(self.name)
        try:
            with undo_log.of(RestoreXattr(self.place, self.name, before)):
                backend.set_attribute(self.place, self.name, self.text)
        except PermissionError:
            if not self.without:
                raise
            self.missed = True

    def notes(self) -> list[str]:
        return [self.without] if self.missed else []
