"""List the tasks of a container, find live threads, and tell reused task ids apart by start time.

The kernel shows a process by its first thread. That thread may be a zombie while others are alive:
some daemons end their main thread. A zombie is in no container, and cannot be moved. The process is
where its live threads are, and moves with them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

from pcont.errors import Unseen
from pcont.kernel.interfaces import (
    CgroupState,
    ContainerReader,
    Containers,
    Tasks,
    TasksInside,
)
from pcont.kernel.refusals import vanishing
from pcont.kernel.types import Place, Task
from pcont.virtual.files import ControlFiles

PROCESSES = "cgroup.procs"  # not there before Linux 3.0


def tasks_in(backend: ContainerReader, place: Place) -> set[int]:
    """Return the tasks in a container, none where it does not exist.

    Raises Unseen where no mount shows the container.
    """
    try:
        return {int(task) for task in backend.read(place, "tasks").split()}
    except Unseen:
        raise
    except FileNotFoundError:
        return set()


def processes_in(backend: TasksInside, places: Iterable[Place]) -> dict[int, Place]:
    """The processes in these containers, each with a place where it is."""
    found: dict[int, Place] = {}
    for place in places:
        with vanishing():
            found.update(dict.fromkeys(_processes(backend, place), place))
    return found


def _processes(backend: TasksInside, place: Place) -> set[int]:
    try:
        return set(map(int, backend.read(place, PROCESSES).split()))
    except FileNotFoundError:
        tasks = tasks_in(backend, place)
        return {known.pid for task in tasks if (known := live_task(backend, task))}


def live_task(backend: Tasks, task: int) -> Task | None:
    """Return what /proc says of a task (thread); None if this thread has ended."""
    try:
        known = backend.task(task)
    except ProcessLookupError:
        return None
    return None if known.gone else known


def is_alive(backend: Tasks, task: int) -> bool:
    """Return whether a task (thread) has not ended."""
    return live_task(backend, task) is not None


def live_threads(backend: Tasks, task: int) -> Iterator[Task]:
    """Yield the threads that have not ended, of the process that a task belongs to."""
    with contextlib.suppress(ProcessLookupError):
        for thread in backend.threads(task):
            if known := live_task(backend, thread):
                yield known


def live_thread(backend: Tasks, task: int) -> Task | None:
    """Return the task, or another thread of its process if it has ended; None if all have ended."""
    return live_task(backend, task) or next(live_threads(backend, task), None)


def where_process_is(backend: Tasks, task: int) -> dict[str, str]:
    """Return the container in every tree, of the task or of a live thread of its process.

    Raises ProcessLookupError where there is no such task. A process that has ended is in the roots.
    """
    thread = live_thread(backend, task)
    return backend.membership(thread.id if thread else task)


def start_time(backend: Tasks, task: int) -> int | None:
    """The clock tick since which it is there; None where it has ended, or is about to."""
    known = live_task(backend, task)
    return known.start if known else None


def is_same_task(backend: Tasks, task: int, start: int | None) -> bool:
    """Whether the id still belongs to the task that began at that clock tick; None: to nobody."""
    return start is not None and start_time(backend, task) == start


def start_times(backend: Tasks, tasks: Iterable[int]) -> dict[int, int]:
    """The clock tick at which each of them began that is there."""
    return {task: known.start for task in tasks if (known := live_task(backend, task))}


def attach_all(backend: CgroupState, place: Place, tasks: Iterable[int]) -> None:
    """Write tasks into a container one by one, where the rules of what pcont keeps allow it.

    Tasks that have ended are left out.
    """
    for _ in ControlFiles(backend).enter(place, tasks):
        pass


def put_back_tasks(backend: Containers, place: Place, tasks: Iterable[int]) -> None:
    """The same for undo: tasks return to where they were, whatever the rules say."""
    for _ in backend.enter(place, tasks):
        pass


def descendants(backend: Tasks, tasks: Iterable[int], of: Iterable[int]) -> dict[int, int]:
    """Return those of the tasks whose line of parents, through other ones of them, leads to `of`.

    Each with the task of `of` that it descends from; threads descend from their process.
    """
    waiting = [one for task in sorted({*tasks}) if (one := live_task(backend, task))]
    ancestors: dict[int, int] = {}
    for task in of if waiting else ():
        if one := live_task(backend, task):
            ancestors.setdefault(one.pid, one.id)
    found: dict[int, int] = {}
    growing = True
    while growing:
        new = [one for one in waiting if {one.pid, one.parent} & ancestors.keys()]
        for one in new:
            pid = one.pid if one.pid in ancestors else one.parent
            found[one.id] = ancestors.setdefault(one.pid, ancestors[pid])
        waiting = [one for one in waiting if one.id not in found]
        growing = bool(new)
    return found
