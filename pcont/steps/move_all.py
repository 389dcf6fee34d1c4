"""The step that moves every task of a container to another one, while they fork and exit."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from errno import EINVAL
from functools import partial
from itertools import starmap
from os import strerror
from shlex import quote
from typing import TYPE_CHECKING

from pcont import subsys
from pcont.bases import NamedTuple, on_disk
from pcont.errors import PcontError
from pcont.kernel.paths import below
from pcont.kernel.refusals import WriteRefused, exists
from pcont.kernel.types import Place
from pcont.records import Outcome
from pcont.steps.converge import (
    STOP_THEM,
    Straggler,
    raised_priority,
    recently_listed,
    return_all,
    until_stable,
)
from pcont.steps.freeze import FREEZE_PATIENCE, is_set_frozen, kept_frozen
from pcont.steps.leaf import Leaves, has_no_leaf
from pcont.steps.reuse import assigned_ids, may_be_reused
from pcont.steps.still import still
from pcont.steps.tasks import (
    all_tasks_in,
    attach_all,
    descendants,
    entry_file,
    entry_ids,
    live_task,
    processes_listed,
    put_back_tasks,
    start_time,
    start_times,
    tasks_in,
    threads_of,
    would_freeze_itself,
)
from pcont.steps.write import RestoreAffinities
from pcont.transaction.step import Step
from pcont.transaction.undo_log import Action, UndoLog, UndoRecord
from pcont.virtual.files import ControlFiles

if TYPE_CHECKING:
    from pcont.kernel.interfaces import (
        Backend,
        CgroupState,
        ContainerReader,
        Tasks,
        TasksInside,
    )
    from pcont.kernel.types import AssignedIds

MOVE_PATIENCE = 20.0  # for one tree

INCLUDE_THE_FREEZER = "include the freezer in the hierarchy: frozen tasks do not fork"


@on_disk("Route", "source", "target")
class Move(NamedTuple):
    """The source and the target container of a move, both in the same tree."""

    source: Place
    target: Place

    @property
    def left_in(self) -> str:
        """The file that lists the tasks still to be moved. On cgroup v2, `tasks` of a container
        lists those in its leaf, too.
        """
        return "cgroup.threads" if self.target.is_leaf else "tasks"


@on_disk("Drained", "routes", "before", "starts")
class MoveAllUndo(UndoRecord):
    """Undo record of MoveAll: which containers were emptied into which, and the tasks that were in
    the targets before.

    `starts`: the processes of the moved tasks, each with its start time in clock ticks since boot.
    If the process of a moved task is not listed, the task itself is there. pcont needs them only if
    other tasks are in a target: undo must not move those.
    """

    routes: list[Move]
    before: dict[Place, set[int]]
    starts: dict[int, int]

    def __init__(
        self,
        routes: list[Move],
        before: dict[Place, set[int]],
        starts: dict[int, int] | None = None,
    ) -> None:
        self.routes, self.before = routes, before
        self.starts: dict[int, int] = {} if starts is None else starts

    @property
    def label(self) -> str:
        return f"the tasks of {self.routes[0].source.path}"

    @property
    def alone(self) -> bool:
        """Whether the targets contain only moved tasks: they were empty, and none of them is a root
        container.
        """
        return not any(self.before.values() or (r.target.is_root for r in self.routes))

    def extend(self, **more: dict[int, int]) -> None:
        self.starts.update(more["starts"])

    def restore(self, backend: Backend) -> Iterator[Action]:
        action = f"put back all of {self.label}"
        with contextlib.ExitStack() as stack:
            for place in self._to_freeze(backend):
                with contextlib.suppress(OSError):
                    stack.enter_context(still(backend, place, FREEZE_PATIENCE))
            for one in return_all(partial(self._arrived, backend), action):
                yield partial(put_back_tasks, backend, one.where.source, [one.task])

    def _to_freeze(self, backend: Backend) -> list[Place]:
        """Return the containers of cgroup v2 to freeze while their tasks go back: those that the
        move has frozen, which a watchdog process has thawed if pcont was killed. None if this
        process is in one of them, because it would freeze with the others.
        """
        routes = [route for route in self.routes if route.target.is_unified]
        routes = [route for route in routes if all(exists(backend, place) for place in route)]
        sources = [route.source for route in routes if not route.source.is_root]
        targets = [route.target for route in routes if not route.target.is_root]
        if would_freeze_itself(backend, [*sources, *targets]):
            return []
        return [*sources, *(still_targets(backend, routes) if self.alone else ())]

    def _arrived(self, backend: TasksInside) -> Iterator[Straggler[Move]]:
        """Yield the moved tasks that are in a target, those of the tree that was emptied last
        first.
        """
        arrived = {
            route: tasks_in(backend, route.target) - self.before[route.target]
            for route in reversed(self.routes)
        }
        everything = set().union(*arrived.values())
        moved = everything if self.alone else self._moved(backend, everything)
        for route, tasks in arrived.items():
            for task in sorted(tasks & moved, reverse=True):
                yield Straggler(route, task, start_time(backend, task))

    def _moved(self, backend: TasksInside, arrived: set[int]) -> set[int]:
        """Return the moved tasks, their descendants, and the tasks that are in a target and a
        source at once.
        """
        moved = set().union(*starmap(partial(_same_process, backend), self.starts.items()))
        left = set().union(*(tasks_in(backend, route.source) for route in self.routes))
        certain = moved | (left & arrived)
        return certain | set(descendants(backend, arrived, certain))


def _same_process(backend: Tasks, task: int, start: int) -> set[int]:
    """Return a task with this start time, and the threads of a process with it; an empty set if the
    id now belongs to another task.

    The first thread of a process may have exited while others are alive.
    """
    with contextlib.suppress(ProcessLookupError):
        known = backend.task(task)
        if known.start == start:
            return {task, *(threads_of(backend, task) if known.pid == task else ())}
    return set()


def still_targets(backend: ContainerReader, routes: Iterable[Move]) -> list[Place]:
    """Return what to freeze of targets in cgroup v2 that contain only the moved tasks: the target,
    or its leaf. No other tasks may be below it. What is below the source is frozen with it.
    """
    targets = [
        target
        for source, target in routes
        if target.is_unified and below(target.path, source.path) is None
    ]
    leaves = [target.leaf for target in targets if not has_no_leaf(backend, target)]
    return [*leaves, *(one for one in targets if not backend.children(one))]


class MoveAll(Step):
    """Move every task of a container to another container, in each tree of `routes`.

    If the freezer is among the trees, and `freeze` is true, pcont freezes the source during the
    move. In cgroup v2, it also freezes a target without tasks: tasks that have arrived do not fork
    then, and each write to `cgroup.procs` waits for all forks in progress. Otherwise it moves the
    remaining tasks again and again, the highest id first, until none is left. A child starts in the
    containers of its parent, so a tree that was emptied once stays empty.

    `movable`: leave the tasks that the kernel refuses to move (`Task.fixed`), and count them. Tasks
    like that in a root container are left in any case. `outcome` receives the counts. `action`
    names the operation in messages. `do` raises LimitReached if tasks are started faster than they
    can be moved.
    """

    def __init__(
        self,
        routes: Sequence[Move],
        action: str,
        freeze: bool = True,
        movable: bool = False,
    ) -> None:
        self.routes, self.action, self.freeze, self.movable = routes, action, freeze, movable
        self.outcome = Outcome()
        self.moved: set[int] = set()
        self.skipped: set[int] = set()
        self.at: tuple[Place, int] | None = None
        self.still = False
        self._assigned: AssignedIds | None = None  # before the first start time was recorded
        self._threaded: set[int] = set()  # processes with several threads

    def dry_run_lines(self, backend: Backend) -> list[str]:
        moves = [
            f"echo {task} > {quote(backend.show(route.target, entry_file(route.target)))}"
            for route in self._ordered(backend)
            for task in entry_ids(backend, route.target, reversed(self._movable(backend, route)))
            if self._may_go(backend, route.target, task)
        ]
        self.outcome.skipped = len(self.skipped)
        if freezer := self._freezer() if self.freeze else None:
            alone = self._undo_record(backend).alone
            targets = still_targets(backend, self.routes) if alone else []
            for place in [*targets, freezer]:
                moves = is_set_frozen(backend, place, moves)
        return [*self._leaves.lines(backend), *moves]

    def _undo_record(self, backend: TasksInside) -> MoveAllUndo:
        before = {route.target: all_tasks_in(backend, route.target) for route in self.routes}
        return MoveAllUndo(list(self.routes), before)

    @property
    def has_words(self) -> bool:
        return False

    def rehearse(self, backend: CgroupState) -> None:
        self._leaves.rehearse(backend)
        for route in self._ordered(backend):
            for task in self._movable(backend, route):
                self.at = (route.target, task)
                attach_all(backend, route.target, [task])

    def _may_go(self, backend: Backend, target: Place, task: int) -> bool:
        """Return True. Raises the error that the kernel would answer if it refuses to move the
        task.
        """
        if (known := live_task(backend, task)) and known.fixed:
            self.at = (target, task)
            path = backend.show(target, "tasks")
            raise self.refusal(backend, WriteRefused(EINVAL, strerror(EINVAL), path))
        return True

    def _ordered(self, backend: CgroupState) -> list[Move]:
        order = ControlFiles(backend).entry_order
        return sorted(self.routes, key=lambda route: order(route.target))

    def do(self, backend: CgroupState, undo_log: UndoLog) -> None:
        began = time.monotonic()
        self.routes = self._ordered(backend)
        self._leaves.make(backend, undo_log)
        drained = self._undo_record(backend)
        with contextlib.ExitStack() as stack:
            freezer = self._freezer() if self.freeze else None
            if freezer and stack.enter_context(kept_frozen(backend, undo_log, freezer)):
                self.outcome.strategy, self.still = "freeze", True
                for target in still_targets(backend, self.routes) if drained.alone else ():
                    stack.enter_context(kept_frozen(backend, undo_log, target))
            self._keep_affinities(backend, undo_log)
            undo_log.record(drained)
            if not self.still:
                stack.enter_context(raised_priority())
            first = set().union(*(tasks_in(backend, route.source) for route in self.routes))
            for route in self.routes:
                self._empty(backend, undo_log, drained, route)
        self.still = False
        # Others may have put tasks there during the move.
        for route in self.routes:
            self._empty(backend, undo_log, drained, route)
        self.outcome.moved = len(self.moved)
        self.outcome.stragglers = len(self.moved - first)
        self.outcome.skipped = len(self.skipped)
        self.outcome.seconds = time.monotonic() - began

    @property
    def _leaves(self) -> Leaves:
        return Leaves([route.target for route in self.routes])

    def _freezer(self) -> Place | None:
        """Return the container to freeze; None if no tree has the freezer, or the source is its
        root.
        """
        places = [one.source for one in self.routes if one.source.can_freeze]
        return places[0] if places and not places[0].is_root else None

    def _keep_affinities(self, backend: TasksInside, undo_log: UndoLog) -> None:
        """Record the CPU affinity of the tasks: the kernel changes it when a task changes its
        cpuset.
        """
        tasks: set[int] = set()
        for route in self.routes:
            if subsys.sets_affinity(route.source.controllers):
                tasks |= tasks_in(backend, route.source)
        if tasks:
            undo_log.record(RestoreAffinities.of(backend, tasks))

    def _empty(
        self, backend: CgroupState, undo_log: UndoLog, drained: MoveAllUndo, route: Move
    ) -> None:
        def batch() -> list[list[int]]:
            left = self._movable(backend, route)
            return [left] if left else []

        # Frozen tasks cannot fork, but a task of another tree may not be frozen.
        patience = MOVE_PATIENCE * (3 if self.still else 1)
        can_freeze = any(one.source.can_freeze for one in self.routes)
        hint = STOP_THEM if can_freeze else INCLUDE_THE_FREEZER
        for number, left in enumerate(until_stable(batch, self.action, patience, hint), start=1):
            if not drained.alone and (new := self._starts(backend, route, left, drained.starts)):
                undo_log.extend(drained, starts=new)
            valid = self._while_valid(route, left)
            arrived = set(ControlFiles(backend).enter(route.target, valid))
            self.moved |= arrived
            self.outcome.rounds = max(self.outcome.rounds, number)

    def _starts(
        self, backend: TasksInside, route: Move, left: Collection[int], known: Collection[int]
    ) -> dict[int, int]:
        """Return start times for `MoveAllUndo.starts`: of the processes that have the tasks `left`,
        and of each task that has no listed process. An id in `known` is left out if it cannot
        belong to another task by now.
        """
        now = assigned_ids(backend, left)
        may_differ = may_be_reused(self._assigned, now)
        self._assigned = self._assigned or now
        found, rest = dict[int, int](), set(left)
        for pid in processes_listed(backend, route.source):
            with contextlib.suppress(ProcessLookupError):
                one = backend.task(pid) if pid not in known or may_differ(pid) else None
                if one and one.threads != 1:
                    self._threaded.add(pid)
                threads = threads_of(backend, pid) if pid in self._threaded else [pid]
                if one and not rest.isdisjoint(threads):
                    found[pid] = one.start
                rest.difference_update(threads)
        return found | start_times(
            backend, (one for one in rest if one not in known or may_differ(one))
        )

    def _movable(self, backend: TasksInside, route: Move) -> list[int]:
        """Return the tasks to move, the highest id first. Many of those have exited before their
        write.
        """
        tasks = sorted(tasks_in(backend, route.source, route.left_in), reverse=True)
        if not (route.source.is_root or self.movable):
            return tasks
        found = [known for one in tasks if (known := live_task(backend, one))]
        self.skipped |= {known.id for known in found if known.fixed}
        return [known.id for known in found if not known.fixed]

    def _while_valid(self, route: Move, tasks: Iterable[int]) -> Iterator[int]:
        """Yield the tasks while their ids are still valid: all of them if they are frozen,
        otherwise for some milliseconds.
        """
        for task in tasks if self.still else recently_listed(tasks):
            self.at = (route.target, task)
            yield task

    def refusal(self, backend: Backend, err: OSError) -> PcontError:
        from pcont.steps import explain

        if self.at is None:
            return super().refusal(backend, err)
        place, task = self.at
        return explain.enter_refusal(backend, place, task, err, self.action)
