"""Where tasks are before a move, as undo needs it: read with few looks at /proc for each task."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from errno import ESRCH
from os import strerror
from typing import TYPE_CHECKING

from pcont import subsys
from pcont.bases import NamedTuple, on_disk
from pcont.kernel.types import Place, Task
from pcont.steps.tasks import tasks_in, threads_of
from pcont.values import Ids

if TYPE_CHECKING:
    from pcont.kernel.interfaces import Tasks, TasksInside

# pcont lists a container only if it has to find this many threads or more. A list of twenty tasks
# costs as much as a look at one thread, and a container has any number of tasks.
LISTED_FROM = 64
# After a list with fewer of the threads, pcont reads no more lists, unless few processes are left.
USEFUL = 8

PathByTree = dict[str, str]
_Lists = Sequence[set[int]]  # the tasks in the container of each tree


@on_disk("Origin", "paths", "affinity", "start")
class Origin(NamedTuple):
    """Where a thread was: the path of its container in each tree of the targets, and its CPU
    affinity (None: the move does not change it).

    `start`: its start time in clock ticks since boot, which distinguishes it from a later task with
    the same id.
    """

    paths: PathByTree
    affinity: Ids | None
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


@on_disk("Processes", "paths", "affinity", "starts")
class Processes(NamedTuple):
    """Processes that were in the same containers, each with all its threads.

    `paths`: the path of the container in each tree of the targets. `affinity`: the CPU affinity of
    every thread; None if the move does not change it. `starts`: the ids of the processes, each with
    its start time in clock ticks since boot.
    """

    paths: PathByTree
    affinity: Ids | None
    starts: dict[int, int]


class Origins(NamedTuple):
    """Where tasks were: whole processes by their containers, other threads one by one."""

    processes: list[Processes]
    threads: dict[int, Origin]


class OriginReader:
    """Reads where processes are, in the trees of `places`. It keeps the lists of tasks that it has
    read, so create one for each move.

    A list may leave a task out: then the reader looks up where that task is.
    """

    def __init__(self, backend: TasksInside, places: Sequence[Place]) -> None:
        self._backend = backend
        self._places = {place.tree: place for place in places}
        self._affine = any(subsys.sets_affinity(place.controllers) for place in places)
        self._lists: dict[tuple[str, ...], _Lists] = {}
        self._latest: tuple[PathByTree, _Lists] | None = None
        self._useful = True

    def read(self, processes: Iterable[Task]) -> Origins:
        """Return where processes are now. Those that have exited are left out."""
        groups: dict[tuple[tuple[str, ...], Ids | None], Processes] = {}
        apart: dict[int, Origin] = {}
        for one, paths in self._located({one.id: one for one in processes}):
            affinities = self._affinities(one) if paths else set()
            if paths and len(affinities) == 1:
                (affinity,) = affinities
                key = (tuple(paths.values()), affinity)
                if key not in groups:
                    groups[key] = Processes(paths, affinity, {})
                groups[key].starts[one.id] = one.start
            else:
                apart.update(self.threads(threads_of(self._backend, one.id)))
        return Origins(list(groups.values()), apart)

    def threads(self, tasks: Iterable[int]) -> Iterator[tuple[int, Origin]]:
        """Yield where each of the threads is. Those that have exited are left out."""
        for task in tasks:
            with contextlib.suppress(ProcessLookupError):
                yield task, Origin.of(self._backend, task, self._places)

    def _located(self, waiting: dict[int, Task]) -> Iterator[tuple[Task, PathByTree | None]]:
        """Yield each process with the containers in which all its threads are; None if they are not
        in the same ones, or its first thread has exited.
        """
        listing = sum(one.threads or 1 for one in waiting.values()) >= LISTED_FROM
        if self._latest:  # the others of a command are often in the same containers
            yield from self._inside(waiting, *self._latest)
        while waiting:
            first = next(iter(waiting.values()))
            found = self._paths(first.id)
            if found and listing and self._useful:
                yield from self._inside(waiting, found, self._listed(found, waiting))
            if waiting.pop(first.id, None):
                yield first, found if found and self._is_together(first, found, []) else None

    def _inside(
        self, waiting: dict[int, Task], paths: PathByTree, lists: _Lists
    ) -> Iterator[tuple[Task, PathByTree | None]]:
        """Take those processes out of `waiting` that are in all the lists, and yield them."""
        here = sorted(set(waiting).intersection(*lists))
        for id in here:
            one = waiting.pop(id)
            yield one, paths if self._is_together(one, paths, lists) else None

    def _paths(self, task: int) -> PathByTree | None:
        """Return where a thread is; None if it has exited or is exiting: the kernel then shows it
        in the root containers.
        """
        try:
            found = self._backend.membership(task)
            if "/" in found.values() and self._backend.task(task).exited:
                return None
        except ProcessLookupError:
            return None
        return {tree: found[tree] for tree in self._places if tree in found}

    def _listed(self, paths: PathByTree, waiting: Mapping[int, Task]) -> _Lists:
        """Return the tasks of the container in each tree."""
        key = tuple(paths.values())
        if key not in self._lists:
            places = [self._places[tree].elsewhere(path) for tree, path in paths.items()]
            self._lists[key] = [tasks_in(self._backend, place) for place in places]
            here = set(waiting).intersection(*self._lists[key])
            located = sum(waiting[id].threads or 1 for id in here)
            self._useful = located >= USEFUL or len(waiting) < LISTED_FROM
        self._latest = paths, self._lists[key]
        return self._lists[key]

    def _is_together(self, one: Task, paths: PathByTree, lists: _Lists) -> bool:
        """Return whether all threads of a process are in the containers in which its first thread
        is. `lists`: the tasks of these containers; empty if they were not read.
        """
        if one.exited or one.threads == 1:
            return not one.exited
        threads = set(threads_of(self._backend, one.id))
        outside = set().union(*(threads - some for some in lists)) if lists else threads
        return all(self._paths(task) in (None, paths) for task in outside)

    def _affinities(self, one: Task) -> set[Ids | None]:
        """Return the CPU affinities of a process's threads; only None if the move changes none."""
        if not self._affine:
            return {None}
        found: set[Ids | None] = set()
        for task in threads_of(self._backend, one.id) if one.threads != 1 else [one.id]:
            with contextlib.suppress(ProcessLookupError):
                found.add(self._backend.affinity(task))
        return found
