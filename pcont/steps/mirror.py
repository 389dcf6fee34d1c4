"""Steps that put the tasks of a hierarchy into the matching containers of another one (a tie), and
take them out again.

The home tree is authoritative: tasks forked during the operation appear in it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from shlex import quote
from typing import TYPE_CHECKING

from pcont.bases import NamedTuple, on_disk
from pcont.errors import PcontError
from pcont.kernel.types import Place
from pcont.steps.converge import Straggler, recently_listed, return_all, until_stable
from pcont.steps.freeze import kept_frozen, state_lines
from pcont.steps.leaf import Leaves
from pcont.steps.tasks import (
    all_tasks_in,
    attach_all,
    descendants,
    is_same_task,
    live_task,
    live_thread,
    put_back_tasks,
    start_time,
    start_times,
    tasks_in,
)
from pcont.steps.write import RestoreAffinities
from pcont.subsys.freezer import FROZEN, THAWED
from pcont.transaction.step import Step
from pcont.transaction.undo_log import Action, UndoLog, UndoRecord

if TYPE_CHECKING:
    from pcont.kernel.interfaces import (
        Backend,
        CgroupState,
        ContainerReader,
        Tasks,
        TasksInside,
    )

MIRROR_PATIENCE = 60.0


@on_disk("Pair", "home", "mirror")
class Pair(NamedTuple):
    """A container in the home tree, and the container with the same path in the other tree (its
    mirror).
    """

    home: Place
    mirror: Place


@on_disk("Outside", "pairs", "before", "origins")
class JoinUndo(UndoRecord):
    """Undo record of Join: no task of the home was in the mirrors.

    `before`: the tasks that were in each mirror already, which stay. `origins`: for each task that
    came from a container other than the root of the mirrors' tree, its start time (clock ticks
    since boot) and that container's path.
    """

    pairs: list[Pair]
    before: dict[Place, set[int]]
    origins: dict[int, tuple[int, str]]

    def __init__(
        self,
        pairs: list[Pair],
        before: dict[Place, set[int]],
        origins: dict[int, tuple[int, str]] | None = None,
    ) -> None:
        self.pairs, self.before = pairs, before
        self.origins: dict[int, tuple[int, str]] = {} if origins is None else origins

    @property
    def label(self) -> str:
        return "the tasks of a hierarchy"

    def extend(self, **more: dict[int, tuple[int, str]]) -> None:
        self.origins.update(more["origins"])

    def restore(self, backend: CgroupState) -> Iterator[Action]:
        for one in return_all(partial(self._arrived, backend), f"put back {self.label}"):
            origin = one.where.root.elsewhere(self._origin(backend, one.task))
            yield partial(put_back_tasks, backend, origin, [one.task])

    def _arrived(self, backend: TasksInside) -> Iterator[Straggler[Place]]:
        for pair in self.pairs:
            others = self.before[pair.mirror]
            tasks = tasks_in(backend, pair.mirror) - others
            tasks -= set(descendants(backend, tasks, others)) if others else set()
            for task in sorted(tasks):
                yield Straggler(pair.mirror, task, start_time(backend, task))

    def _origin(self, backend: Tasks, task: int) -> str:
        """Return the path where a task was; otherwise where its parent, or a live thread of its
        parent, was.
        """
        known = live_task(backend, task)
        for one in (known, live_thread(backend, known.parent) if known else None):
            start, path = self.origins.get(one.id, (-1, "/")) if one else (-1, "/")
            if one and start == one.start:
                return path
        return "/"


class Join(Step):
    """Attach every task of the home's containers to their mirrors, including tasks that start
    during the operation.

    `affinity`: the other tree has cpuset, so that undo also restores the CPU affinity of the tasks.
    `freezer`: a new container of cgroup v2 above the mirrors. pcont freezes it during the
    operation, so that tasks that have arrived do not fork. It is not frozen if this process is to
    enter. `whole`: it moves whole processes, so that mirrors with children have their tasks in
    leaves. `at`: the place and task of the last write, for the error. `action` names the operation
    in messages.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        action: str,
        affinity: bool,
        freezer: Place | None = None,
        whole: bool = False,
    ) -> None:
        self.pairs, self.action, self.affinity = pairs, action, affinity
        self.freezer, self.whole = freezer, whole
        self.at: tuple[Place, int] | None = None

    def dry_run_lines(self, backend: CgroupState) -> list[str]:
        lines = self._leaf_lines(backend)
        lines += [
            f"echo {task} > {quote(backend.show(pair.mirror, 'tasks'))}"
            for pair in self.pairs
            for task in sorted(tasks_in(backend, pair.home))
        ]
        if not lines or not self.freezer or not self._freezes(backend):
            return lines
        frozen, thawed = (state_lines(backend, self.freezer, state) for state in (FROZEN, THAWED))
        return [*frozen, *lines, *thawed]

    def _freezes(self, backend: ContainerReader) -> bool:
        """Return whether this process stays outside."""
        own = os.getpid()
        return not any(own in tasks_in(backend, pair.home) for pair in self.pairs)

    def _leaf_lines(self, backend: ContainerReader) -> list[str]:
        """Return the shell commands that make leaves, for a dry run: the mirrors do not exist."""
        parents = {pair.mirror.parent for pair in self.pairs} if self.whole else set()
        return [
            f"mkdir {quote(backend.show(pair.mirror.leaf))}"
            for pair in self.pairs
            if pair.mirror in parents and tasks_in(backend, pair.home)
        ]

    def _leaves(self, backend: ContainerReader) -> Leaves:
        """Return the leaves of the mirrors that tasks are to enter."""
        here = [pair for pair in self.pairs if pair.mirror.is_unified]
        return Leaves([pair.mirror for pair in here if tasks_in(backend, pair.home)])

    def rehearse(self, backend: CgroupState) -> None:
        self._leaves(backend).rehearse(backend)
        for pair in self.pairs:
            for task in sorted(tasks_in(backend, pair.home)):
                self.at = (pair.mirror, task)
                attach_all(backend, pair.mirror, [task])

    def do(self, backend: CgroupState, undo_log: UndoLog) -> None:
        with contextlib.ExitStack() as stack:
            if self.freezer and self._freezes(backend):
                stack.enter_context(kept_frozen(backend, undo_log, self.freezer))
            self._join(backend, undo_log)

    def _join(self, backend: CgroupState, undo_log: UndoLog) -> None:
        self._leaves(backend).make(backend, undo_log)
        if self.affinity:
            inside = [tasks_in(backend, pair.home) for pair in self.pairs]
            undo_log.record(RestoreAffinities.of(backend, set().union(*inside)))
        before = {pair.mirror: all_tasks_in(backend, pair.mirror) for pair in self.pairs}
        outside = JoinUndo(list(self.pairs), before)
        undo_log.record(outside)
        lacking = partial(_lacking, backend, self.pairs)
        for mirror, tasks in until_stable(lacking, self.action, MIRROR_PATIENCE, confirm=True):
            undo_log.extend(outside, origins=_origins(backend, mirror, tasks, before))
            attach_all(backend, mirror, self._tracked(mirror, recently_listed(tasks)))

    def _tracked(self, mirror: Place, tasks: Iterable[int]) -> Iterator[int]:
        for task in tasks:
            self.at = (mirror, task)
            yield task

    def refusal(self, backend: Backend, err: OSError) -> PcontError:
        from pcont.steps import explain

        if self.at is None:
            return super().refusal(backend, err)
        mirror, task = self.at
        return explain.enter_refusal(backend, mirror, task, err, self.action)


@on_disk("Inside", "pairs", "strays")
class LeaveUndo(UndoRecord):
    """Undo record of Leave: each task of a home container was in its mirror.

    `strays`: tasks that were in a mirror but not in its home container, each with its start time in
    clock ticks.
    """

    pairs: list[Pair]
    strays: dict[Place, dict[int, int]]

    def __init__(self, pairs: list[Pair], strays: dict[Place, dict[int, int]]) -> None:
        self.pairs, self.strays = pairs, strays

    @property
    def label(self) -> str:
        return "the tasks of a hierarchy"

    def restore(self, backend: CgroupState) -> Iterator[Action]:
        for mirror, strays in self.strays.items():
            there = [task for task, start in strays.items() if is_same_task(backend, task, start)]
            yield partial(put_back_tasks, backend, mirror, there)
        for one in return_all(partial(self._outside, backend), f"put back {self.label}"):
            yield partial(put_back_tasks, backend, one.where, [one.task])

    def _outside(self, backend: TasksInside) -> Iterator[Straggler[Place]]:
        for mirror, tasks in _lacking(backend, self.pairs):
            for task in tasks:
                yield Straggler(mirror, task, start_time(backend, task))


class Leave(Step):
    """Move every task out of the mirrors and of the containers `others`, into the container
    `refuge`.

    `affinity`: undo also restores the CPU affinity of the tasks. `action` names the operation in
    messages.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        others: Sequence[Place],
        refuge: Place,
        action: str,
        affinity: bool,
    ) -> None:
        self.pairs, self.others, self.refuge, self.action = pairs, others, refuge, action
        self.affinity = affinity

    @property
    def _places(self) -> list[Place]:
        return [*(pair.mirror for pair in self.pairs), *self.others]

    def dry_run_lines(self, backend: ContainerReader) -> list[str]:
        return [
            f"echo {task} > {quote(backend.show(self.refuge, 'tasks'))}"
            for place in self._places
            for task in sorted(tasks_in(backend, place))
        ]

    def do(self, backend: CgroupState, undo_log: UndoLog) -> None:
        inside = {place: tasks_in(backend, place) for place in self._places}
        if self.affinity:
            undo_log.record(RestoreAffinities.of(backend, set().union(*inside.values())))
        for pair in self.pairs:
            inside[pair.mirror] = inside[pair.mirror] - all_tasks_in(backend, pair.home)
        strays = {place: start_times(backend, tasks) for place, tasks in inside.items() if tasks}
        undo_log.record(LeaveUndo(list(self.pairs), strays))
        for tasks in until_stable(partial(self._inside, backend), self.action, MIRROR_PATIENCE):
            attach_all(backend, self.refuge, recently_listed(tasks))

    def _inside(self, backend: ContainerReader) -> Iterator[list[int]]:
        for place in self._places:
            if tasks := sorted(tasks_in(backend, place)):
                yield tasks

    def refusal(self, backend: Backend, err: OSError) -> PcontError:
        from pcont.steps import explain

        return explain.enter_refusal(backend, self.refuge, 0, err, self.action)


def _lacking(backend: ContainerReader, pairs: Sequence[Pair]) -> Iterator[tuple[Place, list[int]]]:
    """Yield each mirror with the tasks that are in its home container but not in the mirror.

    The home is read first: a child forked later by a task that is in both containers is in both,
    too.
    """
    for pair in pairs:
        tasks = tasks_in(backend, pair.home)
        lacking = tasks - tasks_in(backend, pair.mirror) if tasks else tasks
        if lacking:
            yield pair.mirror, sorted(lacking)


def _origins(
    backend: Tasks, mirror: Place, tasks: Sequence[int], before: dict[Place, set[int]]
) -> dict[int, tuple[int, str]]:
    """Return start time and path of those tasks that are in a container of the mirror's tree other
    than its root.

    A mirror is the origin of the tasks that were in it `before`, not of those that have arrived.
    """
    others = {place.path: ids for place, ids in before.items() if place.tree == mirror.tree}
    found = {}
    for task in tasks:
        with contextlib.suppress(ProcessLookupError):
            path = backend.membership(task).get(mirror.tree, "/")
            if path != "/" and (path not in others or task in others[path]):
                found[task] = (backend.task(task).start, path)
    return found
