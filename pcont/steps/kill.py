"""The step that kills every process in some containers, including those forked during the kill."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from shlex import quote
from typing import TYPE_CHECKING

from pcont import signals
from pcont.errors import LimitReached
from pcont.kernel.paths import below
from pcont.kernel.retry import Retry
from pcont.kernel.types import Place
from pcont.steps.converge import raised_priority
from pcont.steps.freeze import is_set_frozen, kept_frozen, state_lines
from pcont.steps.tasks import processes_in
from pcont.steps.write import RestoreValue
from pcont.subsys import freezer, pids
from pcont.transaction.step import Step
from pcont.transaction.undo_log import UndoLog

if TYPE_CHECKING:
    from pcont.kernel.interfaces import CgroupState, ContainerReader, Driver, TasksInside

KILL_PATIENCE = 10.0
KILL_PAUSE = 0.01


class Kill(Step):
    """Send SIGKILL to every process in `places` until the containers are empty.

    New processes cannot escape: if a tree has pids, pcont sets pids.max to 0 for the duration;
    otherwise, if a tree has the freezer and `freeze` is true, pcont freezes the containers until
    every process has its signal. `allowed` is called with the process ids before each signal and
    raises PcontError to prevent it. `action` names the operation in messages ("kill tasks in
    cpu:/a"). `killed` collects the ids that were signalled.

    `do` raises LimitReached if the number of processes does not fall for KILL_PATIENCE seconds.
    """

    def __init__(
        self,
        places: Sequence[Place],
        action: str,
        allowed: Callable[[Iterable[int]], None],
        freeze: bool = True,
    ) -> None:
        self.places, self.action, self.allowed, self.freeze = places, action, allowed, freeze
        self.killed: set[int] = set()

    def dry_run_lines(self, backend: CgroupState) -> list[str]:
        lines = [f"kill -KILL {pid}" for pid in sorted(processes_in(backend, self.places))]
        if not lines:
            return []
        for place in self._freezing(backend):
            lines = is_set_frozen(backend, place, lines)
        for place in self._frozen_by_others(backend):
            lines += state_lines(backend, place, freezer.THAWED)
        held = [backend.show(place, pids.PIDS_MAX) for place in self._tops(_counts_tasks)]
        return [*(f"echo 0 > {quote(file)}" for file in held), *lines]

    def do(self, backend: CgroupState, undo_log: UndoLog) -> None:
        if not processes_in(backend, self.places):
            return
        for place in self._tops(_counts_tasks):
            _set(backend, undo_log, place, pids.PIDS_MAX, "0")
        with raised_priority():
            self._kill(backend, undo_log)

    def _kill(self, backend: CgroupState, undo_log: UndoLog) -> None:
        with contextlib.ExitStack() as stack:
            for place in self._freezing(backend):
                stack.enter_context(kept_frozen(backend, undo_log, place))
            self._signal(backend, processes_in(backend, self.places))
        # A SIGKILL takes effect on a task frozen by another program only after the thaw.
        for place in self._tops(_can_freeze):
            _set(backend, undo_log, place, freezer.STATE, freezer.THAWED)
        self._until_empty(backend)

    def _until_empty(self, backend: CgroupState) -> None:
        """Signal until no process is left. New processes are signalled at once, all others again in
        a round in which the number of processes did not fall.
        """
        least, retry = sys.maxsize, Retry(KILL_PATIENCE, KILL_PAUSE)
        while inside := processes_in(backend, self.places):
            signals.check()
            signalling = Retry()
            if len(inside) < least:
                least = len(inside)
                retry.restart()
                inside = {pid: place for pid, place in inside.items() if pid not in self.killed}
            is_over = retry.is_over
            self._signal(backend, inside)
            if is_over:
                raise LimitReached(
                    f"cannot {self.action}: their number stayed at "
                    f"{least} or more for {KILL_PATIENCE:.0f} s",
                    hint="they fork faster than pcont kills them, or wait for a device (state D)",
                )
            # The killed tasks need the CPU to exit.
            retry.wait(at_least=signalling.waited)

    def _freezing(self, backend: TasksInside) -> list[Place]:
        """List the containers to freeze: none if pids.max stops every fork, because frozen tasks
        exit only after a thaw.
        """
        held = processes_in(backend, filter(_counts_tasks, self.places))
        free = processes_in(backend, self.places).keys() - held.keys()
        return self._tops(_can_freeze) if self.freeze and free else []

    def _frozen_by_others(self, backend: ContainerReader) -> list[Place]:
        """List the containers that are frozen before pcont does anything."""
        return [
            place
            for place in self._tops(_can_freeze)
            if backend.read(place, freezer.STATE).strip() != freezer.THAWED
        ]

    def _tops(self, suits: Callable[[Place], bool]) -> list[Place]:
        """List the topmost of the containers that suit."""
        places = [one for one in self.places if suits(one)]
        return [place for place in places if not any(_is_below(place, one) for one in places)]

    def _signal(self, backend: Driver, inside: dict[int, Place]) -> None:
        """Send one SIGKILL to each process, the highest id of a container first."""
        self.allowed(inside)
        together: dict[Place, list[int]] = {}
        for pid in sorted(inside, reverse=True):
            together.setdefault(inside[pid], []).append(pid)
        for place, members in together.items():
            self.killed.update(backend.kill(place, members, signal.SIGKILL))

    @property
    def is_reversible(self) -> bool:
        return False

    def irreversible(self) -> list[str]:
        return [f"{len(self.killed)} killed"] if self.killed else []


def _can_freeze(place: Place) -> bool:
    return place.can_freeze


def _counts_tasks(place: Place) -> bool:
    """Return whether pids.max of a container can stop forks: on cgroup v2 it may lack the file."""
    return pids.PIDS in place.controllers and not place.is_unified


def _is_below(place: Place, top: Place) -> bool:
    return place != top and place.tree == top.tree and below(place.path, top.path) is not None


def _set(backend: CgroupState, undo_log: UndoLog, place: Place, file: str, text: str) -> None:
    if backend.read(place, file).strip() != text:
        with undo_log.of(RestoreValue.of(backend, place, file)):
            backend.write(place, file, text)
