"""The step that moves the tasks of a container of cgroup v2 into its leaf."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pcont.kernel.refusals import exists
from pcont.kernel.types import Place
from pcont.steps.leaf import Leaves, has_no_leaf
from pcont.steps.move_all import Move, MoveAll
from pcont.steps.tasks import tasks_in, would_freeze_itself
from pcont.subsys.v2.core import TYPE

if TYPE_CHECKING:
    from pcont.kernel.interfaces import Backend, CgroupState
    from pcont.transaction.undo_log import UndoLog


class Spill(MoveAll):
    """Move the tasks that are in a container itself into its leaf, so that the container can enable
    controllers for its children.

    The container is frozen during the move: the children of tasks that fork would be left. It is
    not frozen if this process is in it or below it. Nothing happens if the container has no tasks
    itself, or if it is part of a threaded subtree, where tasks are not in the way.
    """

    def __init__(self, place: Place, action: str) -> None:
        super().__init__([Move(place, place.leaf)], action)
        self.place = place

    def _is_needed(self, backend: CgroupState) -> bool:
        return (
            exists(backend, self.place)
            and backend.read(self.place, TYPE).strip() == "domain"
            and bool(tasks_in(backend, self.place, self.routes[0].left_in))
        )

    @property
    def _leaves(self) -> Leaves:
        return Leaves([self.place], has_no_leaf)

    def dry_run_lines(self, backend: Backend) -> list[str]:
        if not self._is_needed(backend):
            return []
        self.freeze = not would_freeze_itself(backend, [self.place])
        return super().dry_run_lines(backend)

    def rehearse(self, backend: CgroupState) -> None:
        if self._is_needed(backend):
            super().rehearse(backend)

    def do(self, backend: CgroupState, undo_log: UndoLog) -> None:
        if self._is_needed(backend):
            self.freeze = not would_freeze_itself(backend, [self.place])
            super().do(backend, undo_log)
