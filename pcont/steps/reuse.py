"""Which task ids may belong to another task than a while ago: fewer looks at /proc for many tasks.

The kernel assigns ids in ascending order, and starts again at the lowest one after the highest
(alloc_pid(), kernel/pid.c). So what it has assigned since a moment is a range of ids.
"""

from __future__ import annotations

from collections.abc import Callable, Sized
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pcont.kernel.interfaces import Tasks
    from pcont.kernel.types import AssignedIds

FEWEST = 32  # for fewer tasks, looking each one up again costs less
SOON = 2048  # more ids than any kernel assigns between the look at the last id and a write


def assigned_ids(backend: Tasks, tasks: Sized) -> AssignedIds | None:
    """Return what the kernel has assigned until now, if that is of use for so many tasks."""
    return backend.assigned_ids() if len(tasks) >= FEWEST else None


def may_be_reused(before: AssignedIds | None, now: AssignedIds | None) -> Callable[[int], bool]:
    """Return a function that returns whether an id that was in use before may have been assigned
    again until now, or soon. It is True for each id if that cannot be said.
    """
    if before is None or now is None or before.most != now.most:
        return lambda id: True
    most = now.most
    if now.started - before.started + SOON >= most // 2:
        return lambda id: True
    width = (now.last - before.last) % most + SOON
    first = before.last + 1
    return lambda id: id < most and (id - first) % most < width
