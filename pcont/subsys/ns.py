"""ns: every process with a container of its own, which clone makes and nobody leaves.

The namespace subsystem of Linux 2.6.24 (patch semantics, 6.2 and 6.3): it has no files and limits
nothing, and says who may go where. The namespaces themselves are made by `clone --ns`. The rules
bind pcont's commands; the kernel, which has no such subsystem any more, lets others write.
"""

from __future__ import annotations

from errno import EPERM

from pcont.tables.rules import Entry, Mover, Site, Violation

_CLONE = "make a container below the one of the task: pcont clone ns --pid {}"


def moved_from_above(entry: Entry) -> Violation | None:
    """Others are moved by the privileged only, and not out of the mover's own reach."""
    if entry.task == entry.mover.task:
        return None
    return _from_above(entry.site, entry.mover, "move others")


def nobody_is_inside(entry: Entry) -> Violation | None:
    """A container is one task's, and of what it starts."""
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
    """The only way is down, one level at a time."""
    parent = entry.site.parent
    if parent and parent.path == entry.origin:
        return None
    reason = f"ns: task {entry.task} is in {entry.origin}, and may enter only what is right below"
    return Violation(EPERM, reason, _CLONE.format(entry.task))


def made_from_above(parent: Site, mover: Mover) -> Violation | None:
    """A process with CAP_SYS_ADMIN may make containers in its own container or below it."""
    return _from_above(parent, mover, "make containers")


def _from_above(site: Site, mover: Mover, what: str) -> Violation | None:
    if not mover.privileged:
        return Violation(EPERM, f"ns: CAP_SYS_ADMIN is needed to {what}", "use sudo")
    if site.path == mover.path or site.path.startswith(mover.path.rstrip("/") + "/"):
        return None
    reason = f"ns: pcont itself is in {mover.path}, and may {what} only in there and below"
    return Violation(EPERM, reason, "call it from a container above")
