"""The step that creates a container, with its settings."""

from __future__ import annotations

from collections.abc import Sequence
from shlex import quote
from typing import TYPE_CHECKING

from pcont.errors import PcontError
from pcont.kernel.types import UNIFIED, Place
from pcont.steps.created import RemoveAllCreated
from pcont.steps.leaf import mark_made
from pcont.steps.new_settings import NewSettings
from pcont.steps.write import WriteFiles
from pcont.transaction.step import Step
from pcont.transaction.undo_log import UndoLog
from pcont.virtual.files import ControlFiles

if TYPE_CHECKING:
    from pcont.kernel.interfaces import CgroupState


class CreateContainer(Step):
    """Create a container in one tree with mkdir(2). `action` names the operation in messages.

    `then`: the step that writes the settings of the container, in every tree, after the mkdir.
    `takes_leaf`: in cgroup v2, the container gets a leaf for its tasks when it needs one.
    """

    longest_run = 100  # an entry of the journal for them has some KiB

    def __init__(
        self,
        place: Place,
        action: str,
        then: WriteFiles | NewSettings | None = None,
        takes_leaf: bool = True,
    ) -> None:
        self.place, self.action, self.then = place, action, then
        self.takes_leaf = takes_leaf
        self._recorded: tuple[RemoveAllCreated, int] | None = None
        self._files: ControlFiles
        self._is_made = False

    @classmethod
    def record_run(cls, backend: CgroupState, undo_log: UndoLog, run: Sequence[Step]) -> None:
        steps = [step for step in run if isinstance(step, CreateContainer)]
        record = RemoveAllCreated.of([step.place for step in steps])
        undo_log.record(record)
        record.done = 0  # in the journal, any of them may exist
        files = ControlFiles(backend)
        for number, step in enumerate(steps):
            step._files, step._recorded = files, (record, number)

    def dry_run_lines(self, backend: CgroupState) -> list[str]:
        more = self.then.dry_run_lines(backend) if self.then else []
        return [f"mkdir {quote(backend.show(self.place))}", *more]

    def do(self, backend: CgroupState, undo_log: UndoLog) -> None:
        if not self._recorded:
            self.record_run(backend, undo_log, [self])
        assert self._recorded
        record, number = self._recorded
        record.done = number + 1
        try:
            self._files.make(self.place)
        except OSError:
            record.refused(number, undo_log)
            raise
        self._is_made = True
        if self.place.tree == UNIFIED and self.takes_leaf:
            mark_made(backend, self.place)
        if self.then:
            self.then.write_all(self._files, undo_log)

    def rehearse(self, backend: CgroupState) -> None:
        ControlFiles(backend).make(self.place)
        self._is_made = True
        if self.place.tree == UNIFIED and self.takes_leaf:
            mark_made(backend, self.place)
        if self.then:
            self.then.rehearse(backend)

    def refusal(self, backend: CgroupState, err: OSError) -> PcontError:
        from pcont.steps import explain

        if self.then and self._is_made:
            return self.then.refusal(backend, err)
        return explain.make_refusal(backend, self.place, err, self.action)

    @property
    def final(self) -> bool:
        return bool(self.then and self.then.final)

    def notes(self) -> list[str]:
        return self.then.notes() if self.then else []
