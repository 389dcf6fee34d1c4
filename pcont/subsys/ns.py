"""ns: each process has a container of its own, which clone makes and which it cannot leave.

The namespace subsystem of Linux 2.6.24 (patch semantics, 6.2 and 6.3): it has no files and no
limits, only rules for moves. `clone --ns` makes the namespaces themselves. pcont's commands obey
the rules. Today's kernels do not have the subsystem, so other programs can write to the files.
"""

from __future__ import annotations

from errno import EPERM

from pcont.tables.rules import Entry, Mover, Site, Violation

_CLONE = "make a container below the one of the task: pcont clone ns --pid {}"


def moved_from_above(entry: Entry) -> Violation | None:
    """Check that the process that moves a task has CAP_SYS_ADMIN, and is in the target container or
    above it.
    """
    if entry.task == entry.mover.task:
        return None
    return _from_above(entry.site, entry.mover, "move others")


def has_no_task_yet(entry: Entry) -> Violation | None:
    """Check that the container is empty: it is for one task and its descendants."""
    inside = entry.site.value("tasks").split()
    return (
        Violation(
            EPERM,
            f"ns: tasks are in {entry.site.shown}: {', '.join(inside[:5])}",
            _CLONE.format(entry.task),
        )
        if inside
        else None
    )


def from_its_parent(entry: Entry) -> Violation | None:
    """Check that the task enters a child of its present container."""
    parent = entry.site.parent
    if parent and parent.path == entry.origin:
        return None
    reason = f"ns: task {entry.task} is in {entry.origin}, and may enter only what is right below"
    return Violation(EPERM, reason, _CLONE.format(entry.task))


def made_from_above(parent: Site, mover: Mover) -> Violation | None:
    """Check that the process that creates a container has CAP_SYS_ADMIN, and is in the parent or
    above it.
    """
    return _from_above(parent, mover, "make containers")


def _from_above(site: Site, mover: Mover, action: str) -> Violation | None:
    if not mover.privileged:
        return Violation(EPERM, f"ns: CAP_SYS_ADMIN is needed to {action}", "use sudo")
    if site.path == mover.path or site.path.startswith(mover.path.rstrip("/") + "/"):
        return None
    reason = f"ns: pcont itself is in {mover.path}, and may {action} only in there and below"
    return Violation(EPERM, reason, "call it from a container above")
