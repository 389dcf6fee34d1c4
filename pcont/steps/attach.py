"""The step that moves processes, or one thread, into the same container of every tree."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from errno import EINVAL, ESRCH
from functools import partial
from os import strerror
from shlex import quote
from typing import TYPE_CHECKING

from pcont.bases import NamedTuple
from pcont.errors import PcontError
from pcont.kernel.refusals import WriteRefused, exists
from pcont.kernel.types import Place, Task
from pcont.records import Outcome
from pcont.steps import explain
from pcont.steps.converge import Straggler, raised_priority, return_all, until_stable
from pcont.steps.tasks import (
    PROCESSES,
    all_tasks_in,
    descendants,
    is_alive,
    is_same_task,
    live_task,
    live_threads,
    put_back_tasks,
    start_time,
    tasks_in,
)
from pcont.tags import on_disk
from pcont.transaction.step import Step
from pcont.transaction.undo_log import Action, UndoLog, UndoRecord
from pcont.values import Ids
from pcont.virtual.files import ControlFiles

if TYPE_CHECKING:
    from pcont.kernel.interfaces import CgroupState, PopulatedContainers, Tasks, TasksInside

# How long to look for tasks that were started while their parent was between two trees. A process
# is between two trees only once, so one round is enough unless tasks are started all the time.
ATTACH_PATIENCE = 30.0
FOR_EACH = 0.1  # more seconds for each further task: the first round may take that long
TASKS_AT_ONCE = 16  # whose origins are recorded at once, right before they are moved

STOP_OR_FREEZE = (
    "stop it first (kill -STOP), or give it a container with the freezer, and move that"
)

Movers = Callable[[bool], list[int]]
Lacking = tuple[Place, int]
TasksByPlace = dict[Place, set[int]]


@on_disk("Origin", "paths", "affinity", "start")
class Origin(NamedTuple):
    """Where a thread was: the path of its container in each tree of the targets, and its CPU
    affinity.

    `start`: its start time in clock ticks since boot, which distinguishes it from a later task with
    the same id.
    """

    paths: dict[str, str]
    affinity: Ids
    start: int

    @classmethod
    def of(cls, backend: Tasks, task: int, trees: Iterable[str]) -> Origin:
        """Return where a thread is now in these trees.

        Raises ProcessLookupError if it has exited or is exiting: the kernel then shows it in the
        root containers.
        """
        paths, affinity = backend.membership(task), backend.affinity(task)
        known = backend.task(task)
        if known.exited:
            raise ProcessLookupError(ESRCH, strerror(ESRCH), str(task))
        return cls({tree: paths[tree] for tree in trees if tree in paths}, affinity, known.start)


@on_disk("Entered", "places", "leader", "before", "origins")
class AttachUndo(UndoRecord):
    """Undo record of Attach: where the tasks were, and which tasks were in the target containers
    before.

    `places`: the targets. `leader`: the task that was named first. `before`: the tasks in each
    target. `origins`: where each moved thread was. A task that is started during the move has the
    origin of the moved task that it descends from; if that is unknown, the origin of the leader.
    """

    places: list[Place]
    leader: int
    before: dict[Place, set[int]]
    origins: dict[int, Origin]

    def __init__(
        self,
        places: list[Place],
        leader: int,
        before: dict[Place, set[int]],
        origins: dict[int, Origin] | None = None,
    ) -> None:
        self.places, self.leader, self.before = places, leader, before
        self.origins: dict[int, Origin] = {} if origins is None else origins

    @property
    def label(self) -> str:
        return f"task {self.leader}"

    def extend(self, **more: dict[int, Origin]) -> None:
        self.origins.update(more["origins"])

    def restore(self, backend: PopulatedContainers) -> Iterator[Action]:
        action = f"put back all that {self.label} has started"
        for straggler in return_all(partial(self._stragglers, backend), action):
            for place in reversed(self.places):
                yield partial(self._put_back, backend, straggler, place)
            yield partial(self._put_back_affinity, backend, straggler)

    def _stragglers(self, backend: TasksInside) -> Iterator[Straggler[int]]:
        """Yield the moved tasks, then the tasks that they have started; `where` is the task whose
        origin applies.

        In that order a moved task is back before its children are looked up, so that no new ones
        appear in the targets. Last come exiting tasks in containers that were empty before: they
        must have exited before the container can be removed, whatever they descend from.
        """
        for task in sorted(self.origins):
            if self.knows(backend, task):
                yield Straggler(task, task, self.origins[task].start)
        inside = {place: tasks_in(backend, place) for place in self.places if self.origins}
        started = self.started(backend, inside) if self.origins else {}
        for task, leader in sorted(started.items()):
            yield Straggler(leader, task, start_time(backend, task))
        alone = [place for place in self.places if not (place.is_root or self.before[place])]
        for task in sorted(set().union(*(tasks_in(backend, place) for place in alone))):
            if not is_alive(backend, task):
                yield Straggler(self.leader, task, None)

    def _put_back(
        self, backend: PopulatedContainers, straggler: Straggler[int], place: Place
    ) -> None:
        # Thread by thread: moving the process would put threads of several containers into one.
        path = self._origin(straggler).paths[place.tree]
        there = is_same_task(backend, straggler.task, straggler.start)
        if there and backend.membership(straggler.task).get(place.tree) != path:
            put_back_tasks(backend, place.elsewhere(path), [straggler.task])

    def _put_back_affinity(self, backend: Tasks, straggler: Straggler[int]) -> None:
        affinity = self._origin(straggler).affinity
        there = is_same_task(backend, straggler.task, straggler.start)
        if there and backend.affinity(straggler.task) != affinity:
            backend.set_affinity(straggler.task, affinity)

    def _origin(self, straggler: Straggler[int]) -> Origin:
        origin = self.origins.get(straggler.task)
        return (
            origin if origin and origin.start == straggler.start else self._shared(straggler.where)
        )

    def knows(self, backend: Tasks, task: int) -> bool:
        """Return whether the id belongs to a task with a recorded origin, and has not been
        reused.
        """
        origin = self.origins.get(task)
        return origin is not None and is_same_task(backend, task, origin.start)

    def started(self, backend: Tasks, inside: TasksByPlace) -> dict[int, int]:
        """Return the tasks that moved tasks have started in the targets, each with the task whose
        origin applies.

        Other tasks may start tasks in the targets at the same time; those are left out. `inside`:
        the tasks in each target now.
        """
        known = {one for one in self.origins if self.knows(backend, one)}
        arrived = set().union(*inside.values()) - known.union(*self.before.values())
        found = descendants(backend, arrived, sorted(known))
        return {**found, **dict(self._orphans(backend, arrived - found.keys(), inside))}

    def _distinct(self) -> list[int]:
        """Return one task for each distinct origin, the leader first."""
        found: dict[tuple[str, ...], int] = {}
        for task in sorted(self.origins, key=lambda task: (task != self.leader, task)):
            paths = self.origins[task].paths
            found.setdefault(tuple(paths[place.tree] for place in self.places), task)
        return list(found.values())

    def _orphans(
        self, backend: Tasks, arrived: set[int], inside: dict[Place, set[int]]
    ) -> Iterator[tuple[int, int]]:
        """Yield tasks whose parent exited during the move, each with the task whose origin applies.

        Such a task is in some of the targets and elsewhere in the other trees, as only a moved
        parent was. If other tasks were in only some of the targets before, it may be a child of
        those: none is yielded.
        """
        differing = [
            place for place in self.places if self.before[place] != self.before[self.places[0]]
        ]
        leaders = self._distinct() if arrived and not differing else []
        for task in arrived if leaders else ():
            outside = [place for place in self.places if task not in inside[place]]
            with contextlib.suppress(ProcessLookupError):
                paths = backend.membership(task) if outside else {}
                for leader in leaders if outside else ():
                    if all(self._is_where(leader, paths, place) for place in outside):
                        yield task, leader
                        break

    def _is_where(self, leader: int, paths: dict[str, str], place: Place) -> bool:
        """Return whether the path in the tree of `place` equals the recorded path of the leader."""
        return paths.get(place.tree) == self.origins[leader].paths[place.tree]

    def before_entry(self, task: int, found: Origin, leader: int) -> Origin:
        """Return the origin of a task that a moved task has started between two trees.

        It was in some of the targets from its start; in those trees the origin of the `leader`
        applies.
        """
        shared = self._shared(leader)
        from_leader = {
            place.tree: shared.paths[place.tree]
            for place in self.places
            if found.paths.get(place.tree) == place.path and task not in self.before[place]
        }
        return found._replace(paths={**found.paths, **from_leader})

    def _shared(self, leader: int) -> Origin:
        """Return the recorded origin of a task; if it exited before it moved, that of another moved
        task.
        """
        known = self.origins.get(leader) or self.origins.get(self.leader)
        return known or next(iter(self.origins.values()))


class Attach(Step):
    """Attach processes with all their threads to the container `places`, one place for each tree.

    `task`: the id of the first process. `also`: further ids, each with the operation that an error
    names. `thread`: the ids are those of threads, and only these are attached. `tree`: attach all
    descendants of `task`, including those that daemonize during the move. `movable`: leave tasks
    that the kernel refuses to move (`Task.fixed`), and count them.

    A fixed task that is in its container already is not written, because the kernel would refuse
    the write. `outcome` receives the counts. `action` names the operation in messages. `do` raises
    LimitReached if the tasks start others faster than they can be moved.
    """

    def __init__(
        self,
        task: int,
        places: Sequence[Place],
        action: str,
        thread: bool = False,
        tree: bool = False,
        movable: bool = False,
        also: Mapping[int, str] | None = None,
    ) -> None:
        self.task, self.places, self.action, self.thread = task, places, action, thread
        self.tree, self.movable = tree, movable
        self.also: Mapping[int, str] = {} if also is None else also
        self.outcome = Outcome()
        self.moved: set[int] = set()
        self.skipped: set[int] = set()
        self.origins: dict[int, Origin] = {}
        self.vanished: set[int] = set()
        self.adopted: set[int] = set()
        self._files: ControlFiles
        self._trees: list[str] = []
        self._first: set[int] = set()
        self._late: set[int] = set()
        self._starts: dict[int, int] = {}
        self._leaders: dict[int, int] = {}
        self.at: tuple[Place, int] | None = None
        self.missed = False

    @property
    def tasks(self) -> list[int]:
        """The ids that were given."""
        return [self.task, *self.also]

    def dry_run_lines(self, backend: CgroupState) -> list[str]:
        pids = self.tasks
        if self.tree:
            with backend.family(self.task) as family:
                pids = sorted(family(True), key=lambda pid: (pid != self.task, pid))
        lines = [
            f"echo {one} > {quote(backend.show(place, file))}"
            for place in self._ordered(backend)
            for pid in pids
            if self._would_move(backend, place, pid)
            for file, one in self._writes(backend, place, pid)
        ]
        self.outcome.skipped = len(self.skipped)
        return lines

    def rehearse(self, backend: CgroupState) -> None:
        for place in self._ordered(backend):
            for pid in self.tasks:
                self.at = (place, pid)
                if not is_alive(backend, pid):
                    pid = os.getpid()  # `run` and `clone`: the command is not there yet
                if self._would_move(backend, place, pid):
                    for file, one in self._writes(backend, place, pid):
                        self._files.attach(place, file, one)

    def _would_move(self, backend: CgroupState, place: Place, pid: int) -> bool:
        """Return whether a task would be written. Raises the kernel's refusal for a fixed task.

        In a dry run of `pcont run` and `pcont clone` the process does not exist yet: returns True.
        """
        try:
            known = backend.task(pid)
        except ProcessLookupError:
            return True
        if self._stays(backend, place, known):
            return False
        if known.fixed:
            self.at = (place, pid)
            refused = WriteRefused(EINVAL, strerror(EINVAL), backend.show(place, self._file))
            raise self.refusal(backend, refused)
        return True

    def _writes(self, backend: TasksInside, place: Place, pid: int) -> list[tuple[str, int]]:
        """Return pairs of file and id to write for a process: one for the process, or one for each
        thread.
        """
        by_threads = False
        with contextlib.suppress(OSError):  # it may be a container that is yet to be made
            by_threads = not self.thread and PROCESSES not in backend.files(place)
        if by_threads:
            return [("tasks", one.id) for one in self._live_threads(backend, pid)]
        return [(self._file, pid)]

    def _ordered(self, backend: CgroupState) -> list[Place]:
        self._files = ControlFiles(backend)
        return sorted(self.places, key=self._files.entry_order)

    @property
    def _file(self) -> str:
        return "tasks" if self.thread else PROCESSES

    def do(self, backend: CgroupState, undo_log: UndoLog) -> None:
        began = time.monotonic()
        self.places = self._ordered(backend)
        self._trees = [place.tree for place in self.places]
        with self._movers(backend) as movers:
            before = {place: all_tasks_in(backend, place) for place in self.places}
            leader = next(iter(movers(False)), self.task)
            entered = AttachUndo(list(self.places), leader, before, self.origins)
            undo_log.record(entered)
            try:
                with raised_priority():
                    self._converge(backend, undo_log, entered, movers)
            except OSError:
                if not self.moved:
                    undo_log.drop(entered)
                raise
        self.outcome.moved = len(self.moved)
        self.outcome.stragglers = len(self._late)
        self.outcome.skipped = len(self.skipped)
        self.outcome.seconds = time.monotonic() - began

    @contextlib.contextmanager
    def _movers(self, backend: Tasks) -> Iterator[Movers]:
        """Yield a function that lists the ids to move, the given ones first.

        Its argument asks for a thorough search (slower, finds every descendant).
        """
        if self.tree:
            with backend.family(self.task) as family:
                yield lambda thorough: sorted(
                    family(thorough), key=lambda pid: (pid != self.task, pid)
                )
                self.missed, self.adopted = not family.complete, family.adopted
        else:
            named = self.tasks
            yield lambda thorough: named

    def _converge(
        self, backend: TasksInside, undo_log: UndoLog, entered: AttachUndo, movers: Movers
    ) -> None:
        find = partial(self._round, backend, entered, movers)
        patience = ATTACH_PATIENCE + len(self.also) * FOR_EACH
        for some in until_stable(find, self.action, patience, STOP_OR_FREEZE):
            moving = self._to_move(backend, some)
            self._record(backend, undo_log, entered, [task for _, task in moving])
            for number, (place, task) in enumerate(moving):
                # Since the first write, the task may have ended, and another may have its id.
                if number and not self._found(backend, task):
                    self._has_ended(task)
                else:
                    self._write(backend, place, task)

    def _to_move(self, backend: Tasks, some: Iterable[Lacking]) -> list[Lacking]:
        """Return those of the writes whose tasks are alive and do not stay where they are."""
        tasks = dict.fromkeys(task for _, task in some)
        found = {task: self._found(backend, task) for task in tasks}
        for task, known in found.items():
            if known is None:
                self._has_ended(task)
        return [
            (place, task)
            for place, task in some
            if (known := found[task]) and not self._stays(backend, place, known)
        ]

    def _found(self, backend: Tasks, task: int) -> Task | None:
        """Return the task; None if it has exited, or the id now belongs to another task.

        A process has not exited while one of its threads lives. With `tree`, the family itself
        detects reused ids.
        """
        try:
            known = backend.task(task)
        except ProcessLookupError:
            return None
        if not self.tree and self._starts.setdefault(task, known.start) != known.start:
            return None
        lives = not known.exited or next(self._live_threads(backend, task), None)
        return known if lives else None

    def _stays(self, backend: Tasks, place: Place, known: Task) -> bool:
        """Return whether a fixed task is not written: it is in the container, or `movable` permits
        to leave it.
        """
        if not known.fixed:
            return False
        with contextlib.suppress(ProcessLookupError):
            if backend.membership(known.id).get(place.tree) == place.path:
                return True
        if self.movable:
            self.skipped.add(known.id)
        return self.movable

    def _round(
        self, backend: TasksInside, entered: AttachUndo, movers: Movers
    ) -> list[list[Lacking]]:
        """List the writes of this round: all in the first round, then what is still outside.

        Those of TASKS_AT_ONCE tasks are together, because their origins are recorded together.
        """
        if not self.outcome.rounds:
            lacking = self._all(movers(False))
            self._first = {task for _, task in lacking}
        elif len(self.places) == 1 and not self.tree:
            return []  # within one tree the kernel moves a process and its forks as one
        else:
            lacking = self._left(backend, entered, movers)
            self._late |= {task for _, task in lacking} - self._first
        self.outcome.rounds += bool(lacking)
        size = TASKS_AT_ONCE if self.tree else TASKS_AT_ONCE * len(self.places)
        return [lacking[start : start + size] for start in range(0, len(lacking), size)]

    def _all(self, tasks: Sequence[int]) -> list[Lacking]:
        """List a write for each task and place, in the order of writing.

        With `tree`, one tree is finished before the next, so that a child starts where its parent
        already is. Otherwise one process is finished before the next, so that it is between two
        trees only briefly.
        """
        if self.tree:
            return [(place, task) for place in self.places for task in tasks]
        return [(place, task) for task in tasks for place in self.places]

    def _left(self, backend: TasksInside, entered: AttachUndo, movers: Movers) -> list[Lacking]:
        """List the tasks that are outside of a target: found by a quick search, otherwise by a
        thorough one.

        Both searches use the same task lists, unless `tree` is set. A task that is missing from a
        list is looked up again, because it may have started after the list was read.
        """
        inside: TasksByPlace = {}
        for thorough in (False, True):
            if self.tree or not inside:
                inside = {place: tasks_in(backend, place) for place in self.places}
                self._leaders = entered.started(backend, inside)
            found = [*movers(thorough), *self._leaders]
            tasks = [task for task in found if task not in self.skipped]
            if any(self._lacking(backend, tasks, thorough, inside)):
                inside = {place: tasks_in(backend, place) for place in self.places}
                if lacking := list(self._lacking(backend, tasks, thorough, inside)):
                    return lacking
        return []

    def _record(
        self, backend: Tasks, undo_log: UndoLog, entered: AttachUndo, tasks: Iterable[int]
    ) -> None:
        """Record the origins of the live threads of tasks that have none recorded."""
        found = {}
        for task in dict.fromkeys(tasks):
            if entered.knows(backend, task):
                continue
            for one in self._threads(backend, task):
                try:
                    if not entered.knows(backend, one):
                        found[one] = self._origin(backend, entered, one)
                except ProcessLookupError:
                    pass
        if found:
            undo_log.extend(entered, origins=found)

    def _origin(self, backend: Tasks, entered: AttachUndo, task: int) -> Origin:
        origin, leader = Origin.of(backend, task, self._trees), self._leaders.get(task)
        return origin if leader is None else entered.before_entry(task, origin, leader)

    def _threads(self, backend: Tasks, task: int) -> list[int]:
        try:
            return [task] if self.thread else backend.threads(task)
        except ProcessLookupError:
            return []

    def _live_threads(self, backend: Tasks, task: int) -> Iterator[Task]:
        """Yield the threads that move with a task and have not exited."""
        known = [live_task(backend, task)] if self.thread else live_threads(backend, task)
        return (one for one in known if one)

    def _write(self, backend: TasksInside, place: Place, task: int) -> None:
        self.at = (place, task)
        try:
            self._enter(backend, place, task)
            self.moved.add(task)
        except OSError as err:
            if err.errno != ESRCH or self._found(backend, task):
                raise
            self._has_ended(task)

    def _has_ended(self, task: int) -> None:
        """Note a task that exited before it was moved, if it was to be moved from the beginning."""
        if task == self.task or (task in self._first and not self.tree):
            self.vanished.add(task)

    def _enter(self, backend: TasksInside, place: Place, task: int) -> None:
        files = self._files
        try:
            files.attach(place, self._file, task)
        except FileNotFoundError:
            if self.thread or not exists(backend, place):
                raise
            # A kernel without cgroup.procs (before 3.0) takes a process thread by thread.
            for one in live_threads(backend, task):
                with contextlib.suppress(*[ProcessLookupError] * (one.id != task)):
                    files.attach(place, "tasks", one.id)

    def _lacking(
        self, backend: Tasks, tasks: Iterable[int], thorough: bool, inside: TasksByPlace
    ) -> Iterator[Lacking]:
        """Yield tasks and the targets that they are outside of; `thorough`: check every thread."""
        for task in dict.fromkeys(tasks):
            threads = self._threads(backend, task) if thorough else [task]
            for place in self.places:
                outside = {*threads} - inside[place]
                alive = any(is_alive(backend, one) for one in outside) if outside else False
                if alive and self._found(backend, task):
                    yield place, task

    def refusal(self, backend: CgroupState, err: OSError) -> PcontError:
        place, task = self.at or (self.places[0], self.task)
        return explain.enter_refusal(backend, place, task, err, self.also.get(task, self.action))

    def notes(self) -> list[str]:
        found = [f"task {task} ended while it was being moved" for task in sorted(self.vanished)]
        if self.missed:
            found.append(
                f"children of {self.task} that daemonized during the move may be missing: the "
                "kernel reports forks only to root, in the first namespaces"
            )
        if adopted := sorted(self.adopted & self.moved):
            found.append(
                f"counted as descendants of {self.task} because their parents had just exited: "
                f"{', '.join(map(str, adopted))}"
            )
        return found
