"""Look up the user and the command line of a task with psutil."""

from __future__ import annotations

from pcont.bases import NamedTuple
from pcont.kernel.types import PID_MAX_LIMIT, Task


class TaskOwner(NamedTuple):
    """The user of a task, and its command line."""

    user: str
    command: str


def owner_of(task: Task) -> TaskOwner:
    """Return user and command line; of an ended or simulated task, the name only."""
    if task.id > PID_MAX_LIMIT:  # simulated: /proc has none of this id
        return TaskOwner("", f"[{task.name}]")
    import psutil

    try:
        process = psutil.Process(task.id)
        with process.oneshot():
            return TaskOwner(process.username(), " ".join(process.cmdline()) or f"[{task.name}]")
    except (psutil.Error, KeyError):
        return TaskOwner("", f"[{task.name}]")
