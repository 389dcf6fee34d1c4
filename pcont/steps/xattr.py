"""The step that sets an extended attribute that pcont stores on a container, and its undo."""

from __future__ import annotations

from collections.abc import Iterator
from shlex import quote
from typing import TYPE_CHECKING

from pcont.bases import on_disk
from pcont.kernel.refusals import exists
from pcont.kernel.types import Place
from pcont.transaction.step import Step
from pcont.transaction.undo_log import Action, UndoLog, UndoRecord
from pcont.trust import xattrs

if TYPE_CHECKING:
    from pcont.kernel.interfaces import ContainerReader, Containers


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
        # If pcont run or clone is killed, its watchdog process removes the container.
        if not exists(backend, self.place):
            return
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

    def rehearse(self, backend: Containers) -> None:
        backend.set_attribute(self.place, self.name, self.text)

    def notes(self) -> list[str]:
        return [self.without] if self.missed else []
