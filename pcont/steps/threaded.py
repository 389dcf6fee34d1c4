"""The step that makes a container of cgroup v2 threaded, if another program has made it."""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING

from pcont.kernel.refusals import exists
from pcont.kernel.types import Place
from pcont.steps import explain
from pcont.subsys.v2.core import THREADED, TYPE
from pcont.transaction.step import Step
from pcont.transaction.undo_log import UndoLog

if TYPE_CHECKING:
    from pcont.errors import PcontError
    from pcont.kernel.interfaces import CgroupState, ContainerReader


class MakeThreaded(Step):
    """Make an existing container threaded. `action` names the operation in messages.

    Undo keeps it threaded: the kernel has no way back, and before that no task could enter it.
    """

    def __init__(self, place: Place, action: str) -> None:
        self.place, self.action = place, action

    def dry_run_lines(self, backend: ContainerReader) -> list[str]:
        return [f"echo {THREADED} > {quote(backend.show(self.place, TYPE))}"]

    def do(self, backend: CgroupState, undo_log: UndoLog) -> None:
        backend.write(self.place, TYPE, THREADED)

    def rehearse(self, backend: CgroupState) -> None:
        backend.write(self.place, TYPE, THREADED)

    def refusal(self, backend: CgroupState, err: OSError) -> PcontError:
        return explain.write_refusal(backend, self.place, TYPE, THREADED, err)


def is_domain(backend: ContainerReader, place: Place) -> bool:
    """Return whether a container exists, and is not threaded."""
    return exists(backend, place) and backend.read(place, TYPE).strip() != THREADED
