"""Who is in a container, who comes there, and whether an id is still that of whom it was."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from pcont.backend import Backend, Place, Task

PROCESSES = "cgroup.procs"  # not there before Linux 3.0


def tasks_in(backend: Backend, place: Place) -> set[int]:
    """The tasks in a container, none where it has gone."""
    try:
        return {int(task) for task in backend.read(place, "tasks").split()}
    except FileNotFoundError:
        return set()


def processes_in(backend: Backend, places: Iterable[Place]) -> dict[int, Place]:
    """The processes in these containers, each with a place where it is."""
    found: dict[int, Place] = {}
    for place in places:
        with contextlib.suppress(FileNotFoundError):
            found.update(dict.fromkeys(_processes(backend, place), place))
    return found


def _processes(backend: Backend, place: Place) -> set[int]:
    try:
        return set(map(int, backend.read(place, PROCESSES).split()))
    except FileNotFoundError:
        tasks = tasks_in(backend, place)
        return {known.pid for task in tasks if (known := look(backend, task))}


def look(backend: Backend, task: int) -> Task | None:
    """What is known of a task that has not ended."""
    try:
        known = backend.task(task)
    except ProcessLookupError:
        return None
    return None if known.gone else known


def lives(backend: Backend, task: int) -> bool:
    """Whether it has not ended."""
    return look(backend, task) is not None


def since(backend: Backend, task: int) -> int | None:
    """The clock tick since which it is there; None where it has ended, or is about to."""
    known = look(backend, task)
    return known.start if known else None


def same(backend: Backend, task: int, start: int | None) -> bool:
    """Whether the id still belongs to the task that began at that clock tick; None: to nobody."""
    return start is not None and since(backend, task) == start


def starts(backend: Backend, tasks: Iterable[int]) -> dict[int, int]:
    """The clock tick at which each of them began that is there."""
    return {task: known.start for task in tasks if (known := look(backend, task))}


def put(backend: Backend, place: Place, tasks: Iterable[int]) -> None:
    """Write them all into a container, one by one; who has ended meanwhile does not matter."""
    for _ in backend.enter(place, tasks):
        pass


def descendants(backend: Backend, tasks: Iterable[int], of: Iterable[int]) -> list[int]:
    """Those of the tasks whose line of parents, through other ones of them, leads to `of`."""
    known = [one for task in {*tasks} if (one := look(backend, task))]
    pids = {one.pid for task in of if (one := look(backend, task))}
    found: set[int] = set()
    growing = True
    while growing:
        new = [one for one in known if one.id not in found and {one.pid, one.parent} & pids]
        found |= {one.id for one in new}
        pids |= {one.pid for one in new}
        growing = bool(new)
    return sorted(found)
