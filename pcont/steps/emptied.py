"""Undo of a cpuset list of cgroup v2 that was empty.

The kernel empties no list while tasks are in the container or below it, although a container with
empty lists takes tasks (kernel/cgroup/cpuset.c, validate_change()). So the tasks leave the
container for a moment.
"""

from __future__ import annotations

from errno import ENOSPC
from typing import TYPE_CHECKING

from pcont.errors import Busy
from pcont.kernel.refusals import WriteRefused, exists
from pcont.kernel.types import Place
from pcont.steps.converge import PATIENCE_BACK, until_stable
from pcont.steps.snapshot import write_back
from pcont.steps.still import still
from pcont.steps.tasks import put_back_tasks, tasks_in
from pcont.subsys.cpuset import CPUS, MEMS
from pcont.subsys.v2.cpuset import CPUS_EFFECTIVE, MEMS_EFFECTIVE

if TYPE_CHECKING:
    from pcont.kernel.interfaces import CgroupState

_EFFECTIVE = {CPUS: CPUS_EFFECTIVE, MEMS: MEMS_EFFECTIVE}
_TYPE, _EVENTS, _THREADED = "cgroup.type", "cgroup.events", "threaded"
_REFUGE = "pcont.undo."  # the beginning of the name of the container where the tasks wait
_LONGEST = 255  # bytes of a name


def empty_again(backend: CgroupState, place: Place, file: str, text: str) -> None:
    """Empty a list of CPUs or memory nodes, as it was before. `text`: what the file read then.

    The tasks of the container wait in a sibling, frozen. If tasks are in containers below, the list
    becomes the one that an empty list stands for, and Busy is raised. Raises OSError.
    """
    _return_tasks(backend, place)
    try:
        write_back(backend, place, file, text)
    except WriteRefused as err:
        if err.errno != ENOSPC:
            raise
        _empty_without_tasks(backend, place, file, text)


def _empty_without_tasks(backend: CgroupState, place: Place, file: str, text: str) -> None:
    if any(_is_populated(backend, place.child(name)) for name in backend.children(place)):
        inherited = backend.read(place.parent, _EFFECTIVE[file]).strip()
        backend.write(place, file, inherited)
        raise Busy(
            f"{file} of {place.shown} was empty and is now {inherited}: the kernel empties it when "
            "no task is below"
        )
    refuge = _refuge(place)
    backend.make(refuge)
    if backend.read(place, _TYPE).strip() == _THREADED:
        backend.write(refuge, _TYPE, _THREADED)
    # A task thaws when it enters a container that is not frozen, and could fork there.
    with still(backend, place), still(backend, refuge):
        try:
            _move(backend, place, refuge)
            write_back(backend, place, file, text)
        finally:
            _move(backend, refuge, place)
    backend.remove(refuge)


def _is_populated(backend: CgroupState, place: Place) -> bool:
    return "populated 1" in backend.read(place, _EVENTS).splitlines()


def _refuge(place: Place) -> Place:
    """Return the sibling where the tasks of a container wait."""
    return place.parent.child(f"{_REFUGE}{place.name}"[:_LONGEST])


def _return_tasks(backend: CgroupState, place: Place) -> None:
    """Put the tasks that wait in the sibling back, and remove it. A killed undo leaves it."""
    refuge = _refuge(place)
    if exists(backend, refuge):
        _move(backend, refuge, place)
        backend.remove(refuge)


def _move(backend: CgroupState, source: Place, target: Place) -> None:
    def some() -> list[list[int]]:
        found = sorted(tasks_in(backend, source))
        return [found] if found else []

    for tasks in until_stable(some, f"put back the tasks of {target.shown}", PATIENCE_BACK):
        put_back_tasks(backend, target, tasks)
