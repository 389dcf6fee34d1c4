"""The tasks that a command names: look each one up, and refuse those that have ended."""

from __future__ import annotations

import os
from collections.abc import Iterable
from errno import ESRCH

from pcont.errors import NotFound, UnknownName, from_oserror, shortened
from pcont.kernel.types import ZOMBIE, Task
from pcont.ops.task_ids import IDS_SHOWN, TaskIds, as_text
from pcont.session import Session
from pcont.steps.tasks import live_thread


def alive(session: Session, task: int, thread: bool = False) -> Task:
    """Return what is known of a task that is alive.

    A process is alive while one of its threads is; with `thread`, the task itself must be. Raises
    NotFound if the task does not exist, is a zombie, or is ending.
    """
    backend = session.backend
    try:
        known = backend.task(task)
    except ProcessLookupError as err:
        raise from_oserror(err, f"find task {task}", kinds={ESRCH: UnknownName}) from err
    other = live_thread(backend, task) if known.exited else known
    if other is None or (thread and known.exited):
        raise ended(known, other)
    return known


def ended(known: Task, other: Task | None = None) -> NotFound:
    """Return the refusal of a task that has ended; `other` is a live thread of its process."""
    name = f"task {known.id} ({known.name})"
    if known.state not in ZOMBIE:
        return NotFound(
            f"{name} is ending: it cannot be moved, and stays in its container until it has ended",
            hint="it no longer runs, and starts no other task",
        )
    if other:
        return NotFound(
            f"{name} has ended: it is a zombie, but other threads of its process are alive",
            hint=f"ls /proc/{known.pid}/task lists them; without --thread, pcont moves all of them",
        )
    return NotFound(
        f"{name} has ended: it is a zombie, and no longer in a container",
        hint=f"its parent {known.parent} has not waited for it yet",
    )


def named(session: Session, ids: TaskIds, thread: bool) -> list[Task]:
    """Return the tasks that are meant: one of each process, or with `thread` each of them.

    Each single id must be that of a task. Of a list and of a range, those that are tasks are
    returned, without pcont itself; a note names the others of a list, and counts those of a range.
    A range means processes, with `thread` tasks. Raises NotFound if a single id is not a task, or
    if no id is.
    """
    given = [alive(session, task, thread) for task in ids.given]
    listed = _those_there(session, ids.listed, thread)
    found = {one.id if thread else one.pid: one for one in (*given, *listed.values())}
    for one_range in ids.ranges:
        there = _those_there(session, one_range, thread).values()
        meant = {one.id: one for one in there if thread or one.id == one.pid}
        found = {**meant, **found}
        session.warn(_counted(one_range, len(meant), "task" if thread else "process"))
    if not found:
        raise NotFound(f"none of these is a task: {ids.text}", hint="pgrep -l PATTERN lists some")
    if ended_ids := [task for task in ids.listed if task not in listed and task != os.getpid()]:
        session.warn(
            f"skipped, because they have ended: {shortened(list(map(str, ended_ids)), IDS_SHOWN)}"
        )
    return list(found.values())


def _those_there(session: Session, ids: Iterable[int], thread: bool) -> dict[int, Task]:
    """Return the ids that are live tasks, except those of pcont itself."""
    found = {}
    for task in ids:
        try:
            known = alive(session, task, thread)
        except NotFound:
            continue
        if known.pid != os.getpid():
            found[task] = known
    return found


def _counted(ids: range, count: int, kind: str) -> str:
    """Return the note on a range: how many of its ids are tasks that a command acts on."""
    words = f"is a {kind}" if count == 1 else f"are {kind}{'es' if kind == 'process' else 's'}"
    return f"{count} of the {len(ids)} ids in {as_text(ids)} {words}"
