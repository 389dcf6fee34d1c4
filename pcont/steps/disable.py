"""The steps that end controllers of cgroup v2 in a part of the tree, and their undo."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from shlex import quote
from typing import TYPE_CHECKING

from pcont import subsys
from pcont.bases import on_disk
from pcont.kernel.refusals import exists
from pcont.kernel.types import Place
from pcont.steps.enable import changed_settings
from pcont.steps.snapshot import write_back_all
from pcont.steps.write import Setting, WriteFiles
from pcont.subsys.v2.core import CONTROL
from pcont.transaction.step import Step
from pcont.transaction.undo_log import Action, UndoLog, UndoRecord

if TYPE_CHECKING:
    from pcont.errors import PcontError
    from pcont.kernel.interfaces import Backend, CgroupState, ContainerReader

_Settings = list[tuple[str, str]]


@on_disk("Disabled", "place", "names", "settings")
class EnableDisabled(UndoRecord):
    """Undo record of DisableControllers: these controllers were enabled for the children of a
    container. `settings`: for each child by its name, the files of these controllers that were not
    as in a new container.
    """

    place: Place
    names: tuple[str, ...]
    settings: dict[str, _Settings]

    def __init__(
        self, place: Place, names: tuple[str, ...], settings: dict[str, _Settings]
    ) -> None:
        self.place, self.names, self.settings = place, names, settings

    @property
    def label(self) -> str:
        return f"{CONTROL} of {self.place.path}"

    def restore(self, backend: CgroupState) -> Iterator[Action]:
        if not exists(backend, self.place):
            return
        yield lambda: backend.write(self.place, CONTROL, _words("+", self.names))
        for name, settings in self.settings.items():
            if exists(backend, self.place.child(name)):
                yield partial(write_back_all, backend, self.place.child(name), settings)


class DisableControllers(Step):
    """Disable controllers for the children of a container, if it enables them.

    The kernel forgets the settings of the children. `action` names the operation in messages.
    """

    def __init__(self, place: Place, names: Sequence[str], action: str) -> None:
        self.place, self.names, self.action = place, tuple(names), action

    def _enabled(self, backend: ContainerReader) -> tuple[str, ...]:
        there = backend.read(self.place, CONTROL).split()
        return tuple(name for name in self.names if name in there)

    def dry_run_lines(self, backend: CgroupState) -> list[str]:
        names = self._enabled(backend)
        file = quote(backend.show(self.place, CONTROL))
        return [f"echo {quote(_words('-', names))} > {file}"] if names else []

    def do(self, backend: CgroupState, undo_log: UndoLog) -> None:
        names = self._enabled(backend)
        if not names:
            return
        settings = {
            name: found
            for name in backend.children(self.place)
            if (found := _settings(backend, self.place.child(name), names))
        }
        with undo_log.of(EnableDisabled(self.place, names, settings)):
            backend.write(self.place, CONTROL, _words("-", names))

    def rehearse(self, backend: CgroupState) -> None:
        if names := self._enabled(backend):
            backend.write(self.place, CONTROL, _words("-", names))

    def refusal(self, backend: CgroupState, err: OSError) -> PcontError:
        from pcont.steps import explain  # only a refusal needs it

        return explain.write_refusal(backend, self.place, CONTROL, _words("-", self.names), err)


class ResetSettings(Step):
    """Give the files of controllers in one container the values of a new container.

    `action` names the operation in messages.
    """

    def __init__(self, place: Place, names: Sequence[str], action: str) -> None:
        self.place, self.names, self.action = place, names, action
        self._writing: WriteFiles | None = None

    def _write(self, backend: CgroupState) -> WriteFiles | None:
        rows = [subsys.row_of_v2(file) for file, _ in _settings(backend, self.place, self.names)]
        found = [Setting(self.place, row.name, row.type.show(row.default)) for row in rows if row]
        return WriteFiles(found, self.action) if found else None

    def dry_run_lines(self, backend: CgroupState) -> list[str]:
        step = self._write(backend)
        return step.dry_run_lines(backend) if step else []

    def do(self, backend: CgroupState, undo_log: UndoLog) -> None:
        self._writing = self._write(backend)
        if self._writing:
            self._writing.do(backend, undo_log)

    def refusal(self, backend: Backend, err: OSError) -> PcontError:
        assert self._writing
        return self._writing.refusal(backend, err)


def _words(sign: str, names: Sequence[str]) -> str:
    return " ".join(f"{sign}{name}" for name in names)


def _settings(backend: CgroupState, place: Place, names: Sequence[str]) -> _Settings:
    """Return the files of controllers that are not as in a new container, each with its text, in
    the order of writing.
    """
    found = changed_settings(backend, place, names)
    return sorted(found, key=lambda pair: subsys.order(pair[0]))
