"""Steps that load and unload the eBPF programs which count and enforce for a controller (numtasks,
numfiles).
"""

from __future__ import annotations

from collections.abc import Iterator
from errno import EBUSY
from functools import partial
from typing import TYPE_CHECKING

from pcont import subsys
from pcont.bases import on_disk
from pcont.errors import PcontError, Unsupported, from_oserror
from pcont.kernel.refusals import refuse
from pcont.kernel.types import Place
from pcont.transaction.step import Step
from pcont.transaction.undo_log import Action, UndoLog, UndoRecord, restore_record

if TYPE_CHECKING:
    from pcont.kernel.interfaces import Backend, Programs


@on_disk("Stopped", "subsystem", "root")
class StopStarted(UndoRecord):
    """Undo record of StartEnforcement, which starts the programs of a controller for `root`. Undo
    stops them.
    """

    subsystem: str
    root: Place

    def __init__(self, subsystem: str, root: Place) -> None:
        self.subsystem, self.root = subsystem, root

    @property
    def label(self) -> str:
        return f"the programs of {self.subsystem}"

    def restore(self, backend: Programs) -> Iterator[Action]:
        # Programs that work for another tree were started by another command.
        if backend.enforcer.trees().get(self.subsystem) in (self.root.tree, ""):
            yield lambda: backend.enforcer.stop(self.subsystem, self.root)


@on_disk("AtWork", "subsystem", "root", "said")
class RestartStopped(UndoRecord):
    """Undo record of StopEnforcement: programs ran for the controller, bound to the childless
    container `root`.

    `said`: the limits that were set, by control file.
    """

    subsystem: str
    root: Place
    said: dict[str, int]

    def __init__(self, subsystem: str, root: Place, said: dict[str, int]) -> None:
        self.subsystem, self.root, self.said = subsystem, root, said

    @classmethod
    def of(cls, backend: Programs, subsystem: str, root: Place) -> RestartStopped:
        """Snapshot the limits that are set now."""
        table = subsys.by_key(subsystem)
        rows = (
            [row for row in table.files if row.virtual.enforced and row.access.writable]
            if table
            else []
        )
        values = backend.enforcer.values(root, subsystem)
        said = {
            row.name: values.get(row.name, row.default)
            for row in rows
            if row.access.where.holds(True)
        }
        return cls(subsystem, root, said)

    @property
    def label(self) -> str:
        return f"the programs of {self.subsystem}"

    def restore(self, backend: Programs) -> Iterator[Action]:
        yield lambda: backend.enforcer.start(self.subsystem, self.root)
        for file, value in self.said.items():
            yield partial(backend.enforcer.set, self.root, file, value)


class StartEnforcement(Step):
    """Load the programs that count and enforce a controller from container `root` downwards.

    `optional`: if the kernel cannot run them, continue without them and print a warning. `action`
    names the operation in messages.
    """

    def __init__(self, subsystem: str, root: Place, action: str, optional: bool = False) -> None:
        self.subsystem, self.root, self.action = subsystem, root, action
        self.optional = optional
        self.missed: str = ""

    def dry_run_lines(self, backend: Programs) -> list[str]:
        there = self._is_done_without(backend)
        return [] if there else [f"# load the programs of {self.subsystem}, for {self.root.tree}"]

    def rehearse(self, backend: Programs) -> None:
        """Raise OSError (EBUSY) if the programs already work for another tree, as `do` would."""
        if not self.optional and self._elsewhere(backend):
            refuse(EBUSY, self.root.tree)

    def _elsewhere(self, backend: Programs) -> str:
        """Return the id of another tree that the programs work for; empty if there is none."""
        there = backend.enforcer.trees().get(self.subsystem, "")
        return there if there != self.root.tree else ""

    def do(self, backend: Backend, undo_log: UndoLog) -> None:
        if self._is_done_without(backend) or backend.enforcer.is_bound(self.subsystem, self.root):
            return
        # A start has several parts. If one is refused, those before it have to be undone.
        stopped = StopStarted(self.subsystem, self.root)
        undo_log.record(stopped)
        try:
            backend.enforcer.start(self.subsystem, self.root)
        except OSError as err:
            if not self.optional:
                raise
            restore_record(backend, stopped)
            undo_log.drop(stopped)
            why = from_oserror(err, f"start them at {err.filename}").what
            self.missed = f"{self.subsystem} does without its programs: {why}"

    def _is_done_without(self, backend: Programs) -> bool:
        if self.optional:
            try:
                backend.enforcer.check(self.subsystem)
            except Unsupported:
                return True
        return False

    def notes(self) -> list[str]:
        return [self.missed] if self.missed else []

    def refusal(self, backend: Backend, err: OSError) -> PcontError:
        there = self._elsewhere(backend)
        if err.errno != EBUSY or not there:
            return super().refusal(backend, err)
        reason = f"{self.subsystem} is bound to {there}, and to one hierarchy at a time"
        return from_oserror(err, self.action, reason, "show it: pcont hierarchies")


class StopEnforcement(Step):
    """Unload the programs. Their counters are discarded, so this cannot be undone.

    `empty`: the root has no children, so there are no counters; in this case it can be undone.
    `action` names the operation in messages.
    """

    def __init__(self, subsystem: str, root: Place, action: str, empty: bool = False) -> None:
        self.subsystem, self.root, self.action, self.empty = subsystem, root, action, empty

    def dry_run_lines(self, backend: Programs) -> list[str]:
        if self.subsystem not in backend.enforcer.trees():
            return []
        return [f"# unload the programs of {self.subsystem}"]

    def do(self, backend: Programs, undo_log: UndoLog) -> None:
        if backend.enforcer.trees().get(self.subsystem) not in (self.root.tree, ""):
            return
        if not self.empty:
            undo_log.set_final(StopStarted(self.subsystem, self.root))
            backend.enforcer.stop(self.subsystem, self.root)
        elif backend.enforcer.is_bound(self.subsystem, self.root):
            with undo_log.of(RestartStopped.of(backend, self.subsystem, self.root)):
                backend.enforcer.stop(self.subsystem, self.root)

    @property
    def final(self) -> bool:
        return not self.empty
