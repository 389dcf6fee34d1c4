"""Undo record of the step that attaches tasks: where they were, and how to put them back."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Container, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from pcont.bases import on_disk
from pcont.kernel.types import Place, Task
from pcont.steps.converge import Straggler, return_all
from pcont.steps.origins import Origin, Processes
from pcont.steps.tasks import (
    PROCESSES,
    followers,
    is_alive,
    is_same_task,
    live_thread,
    live_threads,
    put_back_tasks,
    start_time,
    tasks_in,
    threads_of,
    where_process_is,
)
from pcont.transaction.undo_log import Action, UndoRecord

if TYPE_CHECKING:
    from pcont.kernel.interfaces import CgroupState, Tasks, TasksInside

TasksByPlace = dict[Place, set[int]]


@on_disk("Entered", "places", "leader", "before", "origins", "processes?")
class AttachUndo(UndoRecord):
    """Undo record of Attach: where the tasks were, and which tasks were in the target containers
    before.

    `places`: the targets. `leader`: the task that was named first. `before`: the tasks in each
    target. `origins`: where each moved thread was, except for those of `processes`, which were in
    the same containers with all their threads, and go back as a whole. A task that is started
    during the move has the origin of the moved task that it descends from; if that is unknown, the
    origin of the leader.
    """

    places: list[Place]
    leader: int
    before: dict[Place, set[int]]
    origins: dict[int, Origin]
    processes: list[Processes]

    def __init__(
        self,
        places: list[Place],
        leader: int,
        before: dict[Place, set[int]],
        origins: dict[int, Origin] | None = None,
        processes: list[Processes] | None = None,
    ) -> None:
        self.places, self.leader, self.before = places, leader, before
        self.origins: dict[int, Origin] = {} if origins is None else origins
        self.processes: list[Processes] = []
        self._whole: dict[int, Processes] = {}
        self._add(processes or [])

    def _add(self, processes: Iterable[Processes]) -> None:
        for some in processes:
            self.processes.append(some)
            self._whole.update(dict.fromkeys(some.starts, some))

    @property
    def label(self) -> str:
        return f"task {self.leader}"

    def extend(self, **more: Any) -> None:
        self.origins.update(more.get("origins", {}))
        self._add(more.get("processes", []))

    def origin(self, task: int) -> Origin | None:
        """Return the recorded origin of a thread, or of a process that moved as a whole."""
        if some := self._whole.get(task):
            return Origin(some.paths, some.affinity, some.starts[task])
        return self.origins.get(task)

    def is_recorded(self, known: Task) -> bool:
        """Return whether the origin of a task is recorded, and the id has not been reused since."""
        if some := self._whole.get(known.id):
            return some.starts[known.id] == known.start
        origin = self.origins.get(known.id)
        return origin is not None and origin.start == known.start

    @property
    def _recorded(self) -> set[int]:
        return {*self._whole, *self.origins}

    def restore(self, backend: CgroupState) -> Iterator[Action]:
        action = f"put back all that {self.label} has started"
        for straggler in return_all(partial(self._stragglers, backend), action):
            for place in reversed(self.places):
                yield partial(self._put_back, backend, straggler, place)
            yield partial(self._put_back_affinity, backend, straggler)

    def _stragglers(self, backend: TasksInside) -> Iterator[Straggler[int]]:
        """Yield the moved tasks, then the tasks that they have started. `where` is a moved task:
        the straggler goes back to where that task was.

        Undo puts a moved task back before it looks for its children: after that, the task starts
        no more of them in the targets. The last stragglers are exiting tasks in containers that
        were empty before, no matter which task has started them. The kernel does not remove such a
        container until they have exited.
        """
        for task in sorted(self._recorded):
            origin = self.origin(task)
            if origin and (self._is_whole(backend, task) or self.knows(backend, task)):
                yield Straggler(task, task, origin.start)
        inside = {place: tasks_in(backend, place) for place in self.places if self._recorded}
        started = self.started(backend, inside) if inside else {}
        for task, leader in sorted(started.items()):
            yield Straggler(leader, task, start_time(backend, task))
        alone = [place for place in self.places if not (place.is_root or self.before[place])]
        for task in sorted(set().union(*(tasks_in(backend, place) for place in alone))):
            if not is_alive(backend, task):
                yield Straggler(self.leader, task, None)

    def _is_whole(self, backend: Tasks, task: int) -> bool:
        """Return whether a task is a recorded process that has not ended, and goes back as a whole.

        Its first thread may have ended.
        """
        with contextlib.suppress(ProcessLookupError):
            some = self._whole.get(task)
            if some and backend.task(task).start == some.starts[task]:
                return live_thread(backend, task) is not None
        return False

    def _put_back(self, backend: CgroupState, straggler: Straggler[int], place: Place) -> None:
        # Thread by thread, unless all of them were in one container.
        path, task = self._origin(straggler).paths[place.tree], straggler.task
        if self._is_whole(backend, task):
            if where_process_is(backend, task).get(place.tree) != path:
                backend.write(place.elsewhere(path), PROCESSES, str(task))
            return
        there = is_same_task(backend, task, straggler.start)
        if there and backend.membership(task).get(place.tree) != path:
            put_back_tasks(backend, place.elsewhere(path), [task])

    def _put_back_affinity(self, backend: Tasks, straggler: Straggler[int]) -> None:
        affinity, task = self._origin(straggler).affinity, straggler.task
        if affinity is None:
            return
        if self._is_whole(backend, task):
            threads = [one.id for one in live_threads(backend, task)]
        else:
            threads = [task] if is_same_task(backend, task, straggler.start) else []
        for one in threads:
            if backend.affinity(one) != affinity:
                backend.set_affinity(one, affinity)

    def _origin(self, straggler: Straggler[int]) -> Origin:
        origin = self.origin(straggler.task)
        return (
            origin if origin and origin.start == straggler.start else self._shared(straggler.where)
        )

    def knows(self, backend: Tasks, task: int) -> bool:
        """Return whether the id belongs to a task with a recorded origin, and has not been
        reused.
        """
        origin = self.origin(task)
        return origin is not None and is_same_task(backend, task, origin.start)

    def started(
        self,
        backend: Tasks,
        inside: TasksByPlace,
        settled: Container[int] = (),
        was_there: Callable[[int], bool] = lambda one: False,
    ) -> dict[int, int]:
        """Return the tasks that moved tasks have started in the targets. Each has a moved task as
        its value: it goes back to where that task was.

        Other tasks can start tasks in the targets at the same time; these are left out. `inside`:
        the tasks or processes in each target now. `settled`: the tasks that are in every target; a
        recorded one of them is not looked up. `was_there`: returns whether a process was in a
        target before, though `before` does not list it.
        """
        recorded = self._recorded
        before = set().union(*self.before.values())
        arrived = {
            one
            for one in set().union(*inside.values()) - before
            if not (one in recorded and (one in settled or self.knows(backend, one)))
            and not was_there(one)
        }
        if not arrived:
            return {}
        found = followers(backend, arrived, partial(self._ancestor, backend))
        return {**found, **dict(self._orphans(backend, arrived - found.keys(), inside))}

    def _ancestor(self, backend: Tasks, pid: int) -> int | None:
        """Return a moved task of the process `pid`: the one with the lowest id."""
        if self._is_whole(backend, pid):
            return pid
        threads = threads_of(backend, pid) if self.origins else ()
        return next((one for one in threads if self.knows(backend, one)), None)

    def _distinct(self) -> list[int]:
        """Return one task for each distinct origin, the leader first."""
        found: dict[tuple[str, ...], int] = {}
        single = [(task, origin.paths) for task, origin in self.origins.items()]
        whole = [(task, some.paths) for some in self.processes for task in some.starts]
        for task, paths in sorted(single + whole, key=lambda one: (one[0] != self.leader, one[0])):
            found.setdefault(tuple(paths[place.tree] for place in self.places), task)
        return list(found.values())

    def _orphans(
        self, backend: Tasks, arrived: set[int], inside: dict[Place, set[int]]
    ) -> Iterator[tuple[int, int]]:
        """Yield the tasks that have lost their parent during the move, because it exited. Each
        comes with a moved task: it goes back to where that task was.

        Such a task is in some of the targets. In the other trees it is where a moved task was: only
        a parent that was moved can have started it there. If other tasks were in only some of the
        targets before, one of these can be the parent. Then no task is yielded.
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
        return paths.get(place.tree) == self._shared(leader).paths[place.tree]

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
        known = self.origin(leader) or self.origin(self.leader)
        return known or self.any_origin or Origin({}, None, 0)

    @property
    def any_origin(self) -> Origin | None:
        """The origin of a moved task; None if no task has moved."""
        first = next(iter(self.origins), None) or next(iter(self._whole), None)
        return None if first is None else self.origin(first)
