"""List the tasks of a container, find live threads, and detect reused task ids by start time.

The kernel shows a process by its first thread. That thread may be a zombie while other threads are
alive: some daemons end their main thread. A zombie thread is in no container and cannot be moved,
so a process is where its live threads are.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from errno import EBUSY
from functools import cache
from typing import TYPE_CHECKING

from pcont.errors import Unseen
from pcont.kernel.paths import below
from pcont.kernel.refusals import WriteRefused, vanishing
from pcont.kernel.types import Place, Task
from pcont.virtual.files import ControlFiles

if TYPE_CHECKING:
    from pcont.kernel.interfaces import (
        CgroupState,
        ContainerReader,
        Containers,
        Tasks,
        TasksInside,
    )

PROCESSES = "cgroup.procs"  # kernels before 3.0 do not have this file


def tasks_in(backend: ContainerReader, place: Place, file: str = "tasks") -> set[int]:
    """Return the ids of the tasks (threads) in a container; an empty set if it does not exist.

    `file`: the list to read; PROCESSES has the ids of processes. Raises Unseen if no mount shows
    the container.
    """
    try:
        return set(map(int, backend.read(place, file).split()))
    except Unseen:
        raise
    except FileNotFoundError:
        return set()


def all_tasks_in(backend: ContainerReader, place: Place) -> set[int]:
    """Return the tasks in a container, from two listings if it is not empty.

    Use this where a task that is left out would be treated as one that came later. The kernel
    leaves one out at times: pidlist_array_load() (kernel/cgroup/cgroup-v1.c) counts the tasks, and
    then lists no more than that number, although the tasks in the container have forked since.
    """
    first = tasks_in(backend, place)
    return first | tasks_in(backend, place) if first else first


def processes_in(backend: TasksInside, places: Iterable[Place]) -> dict[int, Place]:
    """Return the ids of the processes in the containers, each with one of the containers that it is
    in.
    """
    found: dict[int, Place] = {}
    for place in places:
        with vanishing():
            found.update(dict.fromkeys(_processes(backend, place), place))
    return found


def _processes(backend: TasksInside, place: Place) -> set[int]:
    try:
        return set(map(int, backend.read(place, PROCESSES).split()))
    except FileNotFoundError:
        return _processes_of_tasks(backend, place)


def _processes_of_tasks(backend: TasksInside, place: Place) -> set[int]:
    """Return the ids of the processes that have a live thread in a container."""
    tasks = tasks_in(backend, place)
    return {known.pid for task in tasks if (known := live_task(backend, task))}


def processes_listed(backend: TasksInside, place: Place) -> set[int]:
    """Return the ids of the processes in a container; an empty set if it does not exist.

    The kernel lists all processes of a threaded subtree of cgroup v2 in its root: of those, it
    returns the ones that have a thread in the root itself.
    """
    if place.is_unified and not place.is_root and _is_threaded_root(backend, place):
        return _processes_of_tasks(backend, place)
    return tasks_in(backend, place, PROCESSES)


def _is_threaded_root(backend: ContainerReader, place: Place) -> bool:
    try:
        return backend.read(place, "cgroup.type").strip() == "domain threaded"
    except FileNotFoundError:
        return False


def live_task(backend: Tasks, task: int) -> Task | None:
    """Return what /proc reports of a task (thread); None if this thread has exited."""
    try:
        known = backend.task(task)
    except ProcessLookupError:
        return None
    return None if known.exited else known


def is_alive(backend: Tasks, task: int) -> bool:
    """Return whether a task (thread) exists and has not exited."""
    return live_task(backend, task) is not None


def threads_of(backend: Tasks, task: int) -> list[int]:
    """Return the ids of the threads of the process that a task belongs to; none if no such task
    exists.
    """
    try:
        return backend.threads(task)
    except ProcessLookupError:
        return []


def live_threads(backend: Tasks, task: int) -> Iterator[Task]:
    """Yield the threads that have not ended, of the process that a task belongs to."""
    for thread in threads_of(backend, task):
        if known := live_task(backend, thread):
            yield known


def live_thread(backend: Tasks, task: int) -> Task | None:
    """Return the task, or another thread of its process if it has ended; None if all have ended."""
    return live_task(backend, task) or next(live_threads(backend, task), None)


def where_process_is(backend: Tasks, task: int) -> dict[str, str]:
    """Return the path of the container by tree, for the task or a live thread of its process.

    A process that has exited is in the root containers. Raises ProcessLookupError if no such task
    exists.
    """
    thread = live_thread(backend, task)
    return backend.membership(thread.id if thread else task)


def start_time(backend: Tasks, task: int) -> int | None:
    """Return the start time of a task in clock ticks since boot; None if it has exited or is
    exiting.
    """
    known = live_task(backend, task)
    return known.start if known else None


def is_same_task(backend: Tasks, task: int, start: int | None) -> bool:
    """Return whether the id still belongs to the live task with this start time; False if `start`
    is None.
    """
    return start is not None and start_time(backend, task) == start


def start_times(backend: Tasks, tasks: Iterable[int]) -> dict[int, int]:
    """Return the start times, in clock ticks since boot, of those tasks that are alive."""
    return {task: known.start for task in tasks if (known := live_task(backend, task))}


def attach_all(backend: CgroupState, place: Place, tasks: Iterable[int]) -> None:
    """Write task ids into a container one by one, subject to the rules of controllers that pcont
    enforces.

    Tasks that have exited are left out. Raises OSError for another refusal.
    """
    for _ in ControlFiles(backend).enter(place, tasks):
        pass


def entry_file(place: Place) -> str:
    """Return the file of a container that takes tasks one by one; on cgroup v2, processes."""
    return PROCESSES if place.is_unified else "tasks"


def entry_ids(backend: Tasks, place: Place, tasks: Iterable[int]) -> Iterator[int]:
    """Yield the ids to write into the entry file: on cgroup v2, each process once."""
    seen: set[int] = set()
    for task in tasks:
        known = live_task(backend, task) if place.is_unified else None
        id = known.pid if known else task
        if id not in seen:
            seen.add(id)
            yield id


def would_freeze_itself(backend: Tasks, places: Iterable[Place]) -> bool:
    """Return whether this process is in or below a container that is to be frozen.

    The driver shows the tasks of a leaf in its container, so that is asked in place of the leaf.
    """
    own = backend.membership(os.getpid())
    holders = [place.parent if place.is_leaf else place for place in places]
    return any(
        place.can_freeze and below(own.get(place.tree, "/"), place.path) is not None
        for place in holders
    )


def put_back_tasks(backend: CgroupState, place: Place, tasks: Iterable[int]) -> None:
    """Write task ids into a container for undo, without checking those rules.

    Raises OSError if the kernel refuses.
    """
    ids = list(tasks)
    try:
        _enter(backend, place, ids)
    except WriteRefused as err:
        from pcont.steps import leaf  # only cgroup v2 needs it

        if err.errno != EBUSY or not leaf.make_again(backend, place):
            raise
        _enter(backend, place, ids)


def _enter(backend: Containers, place: Place, tasks: Iterable[int]) -> None:
    for _ in backend.enter(place, tasks):
        pass


def descendants(backend: Tasks, tasks: Iterable[int], of: Iterable[int]) -> dict[int, int]:
    """Return those of `tasks` that descend from a task of `of`, each with that ancestor.

    Each parent between a task and its ancestor must be one of `tasks`, too. A thread descends from
    its process.
    """
    ancestors: dict[int, int] = {}
    waiting = _live(backend, tasks)
    for task in of if waiting else ():
        if one := live_task(backend, task):
            ancestors.setdefault(one.pid, one.id)
    return _followers(waiting, ancestors.get)


def followers(
    backend: Tasks, tasks: Iterable[int], ancestor: Callable[[int], int | None]
) -> dict[int, int]:
    """Return those of `tasks` that descend from a process for which `ancestor` returns a task, each
    with that task. It is the same as `descendants`, and asks only for parents of `tasks`.
    """
    return _followers(_live(backend, tasks), cache(ancestor))


def _live(backend: Tasks, tasks: Iterable[int]) -> list[Task]:
    return [one for task in sorted({*tasks}) if (one := live_task(backend, task))]


def _followers(waiting: list[Task], ancestor: Callable[[int], int | None]) -> dict[int, int]:
    found: dict[int, int] = {}
    by_process: dict[int, int] = {}

    def leader(pid: int) -> int | None:
        return by_process[pid] if pid in by_process else ancestor(pid)

    growing = True
    while growing:
        new = [(one, first) for one in waiting if (first := _either(leader, one)) is not None]
        for one, first in new:
            found[one.id] = by_process.setdefault(one.pid, first)
        waiting = [one for one in waiting if one.id not in found]
        growing = bool(new)
    return found


def _either(leader: Callable[[int], int | None], one: Task) -> int | None:
    own = leader(one.pid)
    return leader(one.parent) if own is None else own
