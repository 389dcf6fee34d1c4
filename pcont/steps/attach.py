"""The step that moves processes, or one thread, into the same container of every tree."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from errno import EINVAL
from functools import partial
from os import strerror
from shlex import quote
from typing import TYPE_CHECKING

from pcont.bases import NamedTuple
from pcont.errors import PcontError
from pcont.kernel.refusals import WriteRefused
from pcont.kernel.types import AssignedIds, Place, Task
from pcont.records import Outcome
from pcont.steps.attach_undo import AttachUndo, TasksByPlace
from pcont.steps.converge import FRESH, raised_priority, until_stable
from pcont.steps.origins import OriginReader
from pcont.steps.reuse import may_be_reused
from pcont.steps.tasks import (
    PROCESSES,
    all_tasks_in,
    is_alive,
    live_task,
    live_threads,
    processes_listed,
    tasks_in,
    threads_of,
)
from pcont.transaction.step import Step
from pcont.transaction.undo_log import UndoLog
from pcont.virtual.files import ControlFiles
from pcont.virtual.site import table_of

if TYPE_CHECKING:
    from pcont.kernel.interfaces import (
        CgroupState,
        Tasks,
        TasksInside,
    )
    from pcont.steps.leaf import Leaves

# How long to look for tasks that were started while their parent was between two trees. A process
# is between two trees only once, so one round is enough unless tasks are started all the time.
ATTACH_PATIENCE = 30.0
FOR_EACH = 0.1  # more seconds for each further task: the first round may take that long
# pcont looks up and records this many tasks at a time, right before it moves them. With `tree` it
# takes fewer, because the tasks can start others in that time.
TASKS_AT_ONCE, OF_A_TREE = 64, 16

STOP_OR_FREEZE = (
    "stop it first (kill -STOP), or give it a container with the freezer, and move that"
)

Movers = Callable[[bool], list[int]]
Lacking = tuple[Place, int]


class Seen(NamedTuple):
    """Tasks that were looked up, by id; `assigned`: the ids that the kernel had assigned before the
    first of them was looked up.
    """

    tasks: Mapping[int, Task]
    assigned: AssignedIds | None


NOT_SEEN = Seen({}, None)


class Writes(NamedTuple):
    """Tasks to write into each of the places, one task after the other."""

    places: Sequence[Place]
    tasks: Sequence[int]


class Attach(Step):
    """Attach processes with all their threads to the container `places`, one place for each tree.

    `task`: the id of the first process. `also`: further ids, each with the operation that an error
    names. `seen`: what is known of the ids already. `thread`: the ids are those of threads, and
    only these are attached. `tree`: attach all descendants of `task`, including those that
    daemonize during the move. `movable`: leave tasks that the kernel refuses to move
    (`Task.fixed`), and count them.

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
        seen: Seen = NOT_SEEN,
    ) -> None:
        self.task, self.places, self.action, self.thread = task, places, action, thread
        self.tree, self.movable = tree, movable
        self.also: Mapping[int, str] = {} if also is None else also
        self.entered: AttachUndo | None = None
        self.outcome = Outcome()
        self.moved: set[int] = set()
        self.skipped: set[int] = set()
        self.vanished: set[int] = set()
        self.adopted: set[int] = set()
        self._files: ControlFiles
        self._origins: OriginReader
        self._by_threads = False
        self._first: set[int] = set()
        self._late: set[int] = set()
        self._seen = seen
        self._starts = {task: known.start for task, known in seen.tasks.items()}
        self._leaders: dict[int, int] = {}
        self.at: tuple[Place, int] | None = None
        self.missed = False

    @property
    def tasks(self) -> list[int]:
        """The ids that were given."""
        return [self.task, *self.also]

    def dry_run_lines(self, backend: CgroupState) -> list[str]:
        with self._movers(backend) as movers:
            pids = movers(True)
        lines = self._leaves.lines(backend) if self.places[-1].is_unified else []
        lines += [
            f"echo {one} > {quote(backend.show(place, file))}"
            for place in self._ordered(backend)
            for pid in pids
            if self._would_move(backend, place, pid)
            for file, one in self._writes(backend, pid)
        ]
        self.outcome.skipped = len(self.skipped)
        return lines

    @property
    def has_words(self) -> bool:
        return False

    def rehearse(self, backend: CgroupState) -> None:
        if self.places[-1].is_unified:
            self._leaves.rehearse(backend)
        for place in self._ordered(backend):
            for pid in self.tasks:
                self.at = (place, pid)
                if not is_alive(backend, pid):
                    pid = os.getpid()  # `run` and `clone`: the command is not there yet
                if self._would_move(backend, place, pid):
                    for file, one in self._writes(backend, pid):
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

    def _writes(self, backend: Tasks, pid: int) -> list[tuple[str, int]]:
        """Return pairs of file and id to write for a process: one for the process, or one for each
        thread.
        """
        if self._by_threads:
            return [("tasks", one.id) for one in self._live_threads(backend, pid)]
        return [(self._file, pid)]

    def _ordered(self, backend: CgroupState) -> list[Place]:
        self._files = ControlFiles(backend)
        # In the patch set of 2006, a process moves thread by thread.
        core = table_of(backend, self.places[0].tree, "")
        self._by_threads = not self.thread and core is not None and PROCESSES not in core.by_name
        return sorted(self.places, key=self._files.entry_order)

    @property
    def _leaves(self) -> Leaves:
        """The leaves of the places; only cgroup v2 has any."""
        from pcont.steps.leaf import Leaves  # commands on cgroup v1 do not need it

        return Leaves(self.places)

    @property
    def _file(self) -> str:
        return "tasks" if self.thread else PROCESSES

    def do(self, backend: CgroupState, undo_log: UndoLog) -> None:
        began = time.monotonic()
        self.places = self._ordered(backend)
        self._origins = OriginReader(backend, self.places)
        with self._movers(backend) as movers:
            if self.places[-1].is_unified:
                self._leaves.make(backend, undo_log)
            before = {place: all_tasks_in(backend, place) for place in self.places}
            leader = next(iter(movers(False)), self.task)
            entered = self.entered = AttachUndo(list(self.places), leader, before)
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
            looked = time.monotonic()
            found = self._look(backend, some.tasks)
            self._record(backend, undo_log, entered, found)
            for batch in self._batches(backend, some.places, found):
                self._write(backend, batch, looked)

    def _look(self, backend: Tasks, tasks: Iterable[int]) -> list[Task]:
        """Return those of the tasks that have not ended. What was seen of them before is still true
        if their ids cannot belong to other tasks.
        """
        before, seen = self._seen.assigned, self._seen.tasks
        is_uncertain = may_be_reused(before, backend.assigned_ids() if before else None)
        found = []
        for task in tasks:
            known = seen.get(task)
            if known is None or known.exited or is_uncertain(task):
                known = self._found(backend, task)
            if known:
                found.append(known)
            else:
                self._has_ended(task)
        return found

    def _batches(
        self, backend: Tasks, places: Sequence[Place], found: Sequence[Task]
    ) -> Iterator[Writes]:
        """Yield what is to be written: fixed tasks only where they do not stay, and first."""
        for known in found:
            if known.fixed:
                yield Writes(
                    [place for place in places if not self._stays(backend, place, known)],
                    [known.id],
                )
        yield Writes(places, [known.id for known in found if not known.fixed])

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

    def _round(self, backend: TasksInside, entered: AttachUndo, movers: Movers) -> list[Writes]:
        """List the writes of this round: all in the first round, then what is still outside."""
        if not self.outcome.rounds:
            batches = self._all(movers(False))
            self._first = {task for batch in batches for task in batch.tasks}
        elif len(self.places) == 1 and not self.tree:
            return []  # within one tree the kernel moves a process and its forks as one
        else:
            lacking = self._left(backend, entered, movers)
            self._late |= {task for _, task in lacking} - self._first
            batches = _lacking_batches(lacking)
        self.outcome.rounds += bool(batches)
        return batches

    def _all(self, tasks: Sequence[int]) -> list[Writes]:
        """List a write for each task and place, in the order of writing.

        With `tree`, one tree is finished before the next, so that a child starts where its parent
        already is. Otherwise one process is finished before the next, so that it is between two
        trees only briefly.
        """
        if self.tree:
            return [batch for place in self.places for batch in _in_batches([place], tasks)]
        return _in_batches(self.places, tasks, TASKS_AT_ONCE)

    def _left(self, backend: TasksInside, entered: AttachUndo, movers: Movers) -> list[Lacking]:
        """List the tasks that are outside of a target: found by a quick search, otherwise by a
        thorough one.

        Both searches use the same lists, unless `tree` is set. A task that is missing from a list
        is looked up again, because it may have started after the list was read. Where the kernel
        moves a process as a whole, a thorough search finds no more threads.
        """
        inside: TasksByPlace = {}
        for thorough in (False, True) if self.tree or not self._is_whole else (False,):
            if self.tree or not inside:
                inside = self._inside(backend)
                everywhere = set.intersection(*inside.values())
                was_there = partial(self._was_there, backend, entered)
                self._leaders = entered.started(backend, inside, everywhere, was_there)
            found = [*movers(thorough), *self._leaders]
            tasks = [task for task in found if task not in self.skipped]
            if any(self._lacking(backend, tasks, thorough, inside)):
                inside = self._inside(backend)
                if lacking := list(self._lacking(backend, tasks, thorough, inside)):
                    self._origins = OriginReader(backend, self.places)
                    return lacking
        return []

    def _was_there(self, backend: Tasks, entered: AttachUndo, pid: int) -> bool:
        """Return whether a thread of a process was in a target before; False if threads move one by
        one.
        """
        threads = self._threads(backend, pid) if self._is_whole else []
        return any(not tasks.isdisjoint(threads) for tasks in entered.before.values())

    @property
    def _is_whole(self) -> bool:
        """Whether each write moves a process with all its threads."""
        return not (self.thread or self._by_threads)

    def _inside(self, backend: TasksInside) -> TasksByPlace:
        """Return the ids of the processes in each target; those of the tasks if not `_is_whole`."""
        listed = processes_listed if self._is_whole else tasks_in
        return {place: listed(backend, place) for place in self.places}

    def _record(
        self, backend: Tasks, undo_log: UndoLog, entered: AttachUndo, found: Iterable[Task]
    ) -> None:
        """Record the origins of tasks that have none recorded."""
        new = [known for known in found if not entered.is_recorded(known)]
        whole = [known for known in new if self._is_whole and known.id not in self._leaders]
        apart = [known.id for known in new if not self._is_whole or known.id in self._leaders]
        origins = self._origins.read(whole)
        for task in apart:
            for one, origin in self._origins.threads(self._threads(backend, task)):
                leader = self._leaders.get(one)
                if leader is not None:
                    origin = entered.before_entry(one, origin, leader)
                origins.threads[one] = origin
        more = {"origins": origins.threads, "processes": origins.processes}
        if any(more.values()):
            undo_log.extend(entered, **{name: value for name, value in more.items() if value})

    def _threads(self, backend: Tasks, task: int) -> list[int]:
        return [task] if self.thread else threads_of(backend, task)

    def _live_threads(self, backend: Tasks, task: int) -> Iterator[Task]:
        """Yield the threads that move with a task and have not exited."""
        known = [live_task(backend, task)] if self.thread else live_threads(backend, task)
        return (one for one in known if one)

    def _write(self, backend: TasksInside, batch: Writes, looked: float) -> None:
        """Write each task into each place. `looked`: when the first of the tasks was looked up."""
        entering: Iterator[int] = iter(batch.tasks)
        for place in batch.places:
            entering = self._entering(backend, place, entering, looked + FRESH)
        entered = set(entering)
        for task in batch.tasks if len(entered) < len(batch.tasks) else ():
            if task not in entered:
                self._write_again(backend, batch.places, task)

    def _entering(
        self, backend: TasksInside, place: Place, tasks: Iterable[int], limit: float
    ) -> Iterator[int]:
        """Write tasks into a place; yields those that have entered. After the time `limit`, look
        each one up right before: its id may belong to another task.
        """

        def valid() -> Iterator[int]:
            for task in tasks:
                if time.monotonic() < limit or self._found(backend, task):
                    self.at = (place, task)
                    yield task

        if self._by_threads:
            entered = self._enter_by_threads(backend, place, valid())
        else:
            entered = self._files.enter(place, valid(), self._file)
        for task in entered:
            self.moved.add(task)
            yield task

    def _enter_by_threads(
        self, backend: TasksInside, place: Place, tasks: Iterable[int]
    ) -> Iterator[int]:
        for task in tasks:
            threads = [one.id for one in live_threads(backend, task)]
            if [*self._files.enter(place, threads)]:
                yield task

    def _write_again(self, backend: Tasks, places: Iterable[Place], task: int) -> None:
        """Note that a task has ended that did not enter; otherwise raise the kernel's refusal."""
        if self._found(backend, task):
            for place in places:
                self.at = (place, task)
                self._files.attach(place, "tasks" if self._by_threads else self._file, task)
            self.moved.add(task)
        else:
            self._has_ended(task)

    def _has_ended(self, task: int) -> None:
        """Note a task that exited before it was moved, if it was to be moved from the beginning."""
        if task == self.task or (task in self._first and not self.tree):
            self.vanished.add(task)

    def _lacking(
        self, backend: TasksInside, tasks: Iterable[int], thorough: bool, inside: TasksByPlace
    ) -> Iterator[Lacking]:
        """Yield tasks and the targets that they are outside of; `thorough`: check every thread."""
        for task in dict.fromkeys(tasks):
            threads = {*self._threads(backend, task)} if thorough and not self._is_whole else {task}
            for place in self.places:
                outside = threads - inside[place]
                alive = bool(outside) and self._is_outside(backend, place, outside)
                if alive and self._found(backend, task):
                    yield place, task

    def _is_outside(self, backend: TasksInside, place: Place, tasks: set[int]) -> bool:
        """Return whether one of the tasks, which are not listed in a target, is alive. If they are
        processes, each of their threads is looked up in the list of tasks.
        """
        if self._is_whole:
            threads = {one for task in tasks for one in self._threads(backend, task)}
            tasks = threads - tasks_in(backend, place)
        return any(is_alive(backend, one) for one in tasks)

    def was(self, task: int) -> Mapping[str, str] | None:
        """Return where a task was before this step moved it, by tree; None if that is not known."""
        origin = self.entered.origin(task) if self.entered else None
        return origin.paths if origin else None

    def refusal(self, backend: CgroupState, err: OSError) -> PcontError:
        from pcont.steps import explain

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


def _in_batches(
    places: Sequence[Place], tasks: Sequence[int], size: int = OF_A_TREE
) -> list[Writes]:
    return [Writes(places, tasks[at : at + size]) for at in range(0, len(tasks), size)]


def _lacking_batches(lacking: Iterable[Lacking]) -> list[Writes]:
    """Return the writes for tasks that are outside of some targets, those of the same ones
    together.
    """
    places: dict[int, tuple[Place, ...]] = {}
    for place, task in lacking:
        places[task] = (*places.get(task, ()), place)
    tasks: dict[tuple[Place, ...], list[int]] = {}
    for task, some in places.items():
        tasks.setdefault(some, []).append(task)
    return [batch for some, found in tasks.items() for batch in _in_batches(some, found)]
