"""Warn about ties that a change in some of their trees affects."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING

from pcont.errors import shortened
from pcont.hierarchy.container import Container, Hierarchy
from pcont.hierarchy.presence import present
from pcont.hierarchy.registry import Registry
from pcont.ops.task_ids import IDS_SHOWN
from pcont.records import WhereRow
from pcont.session import Session
from pcont.steps.tasks import tasks_in, where_process_is

if TYPE_CHECKING:
    from pcont.steps.attach import Attach
    from pcont.steps.move_all import MoveAll

Paths = Mapping[str, str]


def note_partial(
    session: Session, registry: Registry, container: Container, removed: bool = False
) -> None:
    """Warn for each tie in which a container now exists in some of the trees only.

    The caller has created the container in one tree, or removed it with `removed` true. In a dry
    run it would have.
    """
    for inside in registry.seen_in_ties(container) if registry.ties else ():
        there = set(present(session.backend, inside))
        there = there - set(container.places) if removed else there | set(container.places)
        lacking = [place.tree for place in inside.places if place not in there]
        if there and lacking:
            session.warn(
                f"{inside.name} is partial now: it is missing in {', '.join(lacking)}; "
                f"{container.name} is its part in one tree"
            )


class MovedTasks:
    """Tasks that a command has moved, or a dry run would move, to a container.

    `before`: returns where a task was, if that is known; the others were in `origin`.
    """

    def __init__(
        self,
        container: Container,
        tasks: Collection[int],
        origin: Paths,
        before: Callable[[int], Paths | None],
    ) -> None:
        self.container, self.tasks, self.origin, self.before = container, tasks, origin, before

    def was(self, task: int, now: Paths) -> Paths:
        """Return where a task was, by tree."""
        return {**now, **(self.before(task) or self.origin)}

    @property
    def target(self) -> dict[str, str]:
        """Return where the tasks are afterwards, in the trees in which they are moved."""
        return {place.tree: place.path for place in self.container.places}


def note_entered(session: Session, container: Container, steps: Iterable[Attach]) -> MovedTasks:
    """Return what steps have attached to a container; in a dry run, the tasks that they name."""
    steps = list(steps)
    if session.dry_run:
        found: dict[int, Paths] = {}
        for task in [one for step in steps for one in step.tasks]:
            with contextlib.suppress(ProcessLookupError):
                found[task] = where_process_is(session.before, task)
        return MovedTasks(container, list(found), next(iter(found.values()), {}), found.get)
    tasks = [task for step in steps for task in sorted(step.moved)]
    entered = [step.entered for step in steps if step.entered]
    origin = next(filter(None, (one.any_origin for one in entered)), None)

    def before(task: int) -> Paths | None:
        return next((paths for step in steps if (paths := step.was(task)) is not None), None)

    return MovedTasks(container, tasks, origin.paths if origin else {}, before)


def note_left(session: Session, container: Container, step: MoveAll) -> MovedTasks:
    """Return the tasks that a step has moved to a container; in a dry run, those that it would move
    now.
    """
    sources = [route.source for route in step.routes]
    tasks = set(step.moved)
    for source in sources if session.dry_run else ():
        tasks |= tasks_in(session.before, source)
    origin = {place.tree: place.path for place in sources}
    return MovedTasks(container, tasks, origin, lambda task: None)


def note_split(session: Session, registry: Registry, moved: MovedTasks) -> None:
    """Warn for each other tie of which a move has left tasks split, or outside of it.

    Only ties that have one of the trees in which the tasks were moved are looked at. The tasks are
    looked up in /proc after the move; a dry run computes where they would be.
    """
    if not moved.tasks:
        return
    trees = set(moved.target)
    for tie in registry.ties:
        shared = trees & {member.tree.id for member in tie.members}
        if shared and tie.name != moved.container.hierarchy.name:
            tasks = sorted(moved.tasks)
            found = {task: row for task in tasks if (row := _split_row(session, tie, moved, task))}
            if found:
                session.warn(_split_note(tie, found, session.dry_run))


def _split_row(session: Session, tie: Hierarchy, moved: MovedTasks, task: int) -> WhereRow | None:
    """Return the row of a task that is in different containers of a tie after the move, or None."""
    try:
        now = where_process_is(session.backend, task)
    except ProcessLookupError:
        return None
    was = moved.was(task, now)
    if session.dry_run:
        now = {**was, **moved.target}
    from pcont.ops.listing import locate

    row = locate(session.backend, tie, now)
    return row if row.state != "in" and _concerns(tie, was, now) else None


def _concerns(tie: Hierarchy, was: Paths, now: Paths) -> bool:
    """Return whether a task has moved in a tree of a tie, out of the tie or into it."""
    for member in tie.members:
        ends = [paths[member.tree.id] for paths in (was, now) if member.tree.id in paths]
        if len(set(ends)) > 1 and any(member.inside(path) is not None for path in ends):
            return True
    return False


def _split_note(tie: Hierarchy, found: Mapping[int, WhereRow], dry_run: bool) -> str:
    """Return the note on tasks that are split in a tie, or outside of it."""
    task, row = next(iter(found.items()))
    state = f"{'split in' if row.state == 'split' else 'outside of'} {tie.name}"
    if len(found) == 1:
        paths = ", ".join(f"{path} in {tree}" for tree, path in row.paths.items())
        verb = "would be" if dry_run else "is now"
        return f"task {task} {verb} {state}: {paths}{_cure(tie, row, task)}"
    verb = "would be" if dry_run else "are now"
    some = shortened(list(map(str, found)), IDS_SHOWN)
    return f"{len(found)} tasks {verb} {state}: {some} (pcont where {task})"


def _cure(tie: Hierarchy, row: WhereRow, task: int) -> str:
    """Return the command that moves a task to where the home of the tie has it."""
    home = tie.members[0]
    path = home.inside(row.paths[home.tree.id]) if row.state == "split" else None
    if path is None:
        return ""
    return f"; pcont attach {tie.container(path).word} {task} moves all of it there"
