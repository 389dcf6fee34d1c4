"""The step that enables controllers of cgroup v2 for the children of a container, and its undo."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from errno import EBUSY
from shlex import quote
from typing import TYPE_CHECKING

from pcont import subsys
from pcont.bases import on_disk
from pcont.errors import BY_WRITTEN, Busy, from_oserror
from pcont.kernel.refusals import exists, refuse_text, vanishing
from pcont.kernel.types import Place
from pcont.subsys.v2 import core
from pcont.tables.rules import Proposed, Violation
from pcont.transaction.step import Step
from pcont.transaction.undo_log import Action, UndoLog, UndoRecord
from pcont.virtual.files import ControlFiles

if TYPE_CHECKING:
    from pcont.errors import PcontError
    from pcont.kernel.interfaces import CgroupState


@on_disk("Enabled", "place", "names")
class DisableEnabled(UndoRecord):
    """Undo record of EnableControllers: these controllers were not enabled for the children.

    The kernel forgets the settings of a controller when it is disabled. So it stays enabled if
    a child has a setting of it, which another program must have made.
    """

    place: Place
    names: tuple[str, ...]

    def __init__(self, place: Place, names: tuple[str, ...]) -> None:
        self.place, self.names = place, names

    @property
    def label(self) -> str:
        return f"{core.CONTROL} of {self.place.path}"

    def restore(self, backend: CgroupState) -> Iterator[Action]:
        if exists(backend, self.place):
            there = backend.read(self.place, core.CONTROL).split()
            for name in reversed([one for one in self.names if one in there]):
                yield lambda name=name: self._disable(backend, name)  # type: ignore[misc]

    def _disable(self, backend: CgroupState, name: str) -> None:
        for child in map(self.place.child, backend.children(self.place)):
            for file, _ in changed_settings(backend, child, [name]):
                raise Busy(f"{name} stays enabled, because {file} of {child.shown} is set")
        backend.write(self.place, core.CONTROL, f"-{name}")


def changed_settings(
    backend: CgroupState, place: Place, names: Collection[str]
) -> Iterator[tuple[str, str]]:
    """Yield the files of controllers that are not as in a new container, each with its text."""
    with vanishing():
        for file, writable in backend.files(place).items():
            if subsys.of(file) in names and subsys.is_setting(file, writable):
                text = backend.read(place, file)
                if not subsys.is_as_new(file, text, is_root=False):
                    yield file, text


class EnableControllers(Step):
    """Enable controllers of cgroup v2 for the children of a container, with one write.

    The kernel accepts some of them while tasks are in the container, and then refuses tasks in its
    other children. So the step refuses all of them there. `action` names the operation in messages.
    """

    def __init__(self, place: Place, names: Sequence[str], action: str) -> None:
        self.place, self.names, self.action = place, tuple(names), action
        self.violation: Violation | None = None

    @property
    def _text(self) -> str:
        return " ".join(f"+{name}" for name in self.names)

    def dry_run_lines(self, backend: CgroupState) -> list[str]:
        return [f"echo {quote(self._text)} > {quote(backend.show(self.place, core.CONTROL))}"]

    def do(self, backend: CgroupState, undo_log: UndoLog) -> None:
        self._check(backend)
        there = backend.read(self.place, core.CONTROL).split()
        added = tuple(name for name in self.names if name not in there)
        if added:
            with undo_log.of(DisableEnabled(self.place, added)):
                backend.write(self.place, core.CONTROL, self._text)

    def rehearse(self, backend: CgroupState) -> None:
        self._check(backend)
        backend.write(self.place, core.CONTROL, self._text)

    def _check(self, backend: CgroupState) -> None:
        """Raise WriteRefused if a task is in the container itself."""
        if not self.place.is_root:
            site = ControlFiles(backend).site(self.place, core.CONTROL)
            wanted = Proposed(site, core.CONTROL, self._text)
            self.violation = core.find_no_tasks(site, wanted, strict=True)
            if self.violation:
                refuse_text(EBUSY, backend.show(self.place, core.CONTROL))

    def refusal(self, backend: CgroupState, err: OSError) -> PcontError:
        from pcont.steps import explain  # only a refusal needs it

        if self.violation:
            reason, hint = self.violation.reason, self.violation.hint
            return from_oserror(err, self.action, reason, hint, BY_WRITTEN)
        return explain.write_refusal(backend, self.place, core.CONTROL, self._text, err)
