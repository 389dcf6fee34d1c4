"""What a person wants to know of a task besides where it is: psutil knows."""

from __future__ import annotations

from dataclasses import dataclass

from pcont.kernel.types import Task


@dataclass(frozen=True)
class TaskOwner:
    """Whose task it is, and its command line."""

    user: str
    command: str


def owner_of(task: Task) -> TaskOwner:
    """User and command line; a task that has gone meanwhile, or is a model's, has its name only."""
    import psutil

    try:
        process = psutil.Process(task.id)
        with process.oneshot():
            return TaskOwner(process.username(), " ".join(process.cmdline()) or f"[{task.name}]")
    except (psutil.Error, KeyError):
        return TaskOwner("", f"[{task.name}]")
