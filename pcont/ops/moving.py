"""attach: tasks go into a container of every tree, or stay where they are in all of them."""

from __future__ import annotations

from collections.abc import Sequence

from pcont import guard
from pcont.backend import Task
from pcont.errors import NotFound, from_oserror
from pcont.hierarchy import Container, required
from pcont.ops.containers import note_ties
from pcont.session import Session
from pcont.steps.attach import Enter


def attach(session: Session, place: str, tasks: Sequence[int], *, thread: bool = False) -> None:
    """Move processes with all their threads (`thread`: just these tasks), all or none.

    Raises NotFound for a task that is not there, BadValue where the rules of the container forbid
    it (an empty cpuset), Denied where the task is another user's or protected.
    """
    with session.turn() as registry:
        container = required(session.backend, registry.place(place))
        steps = [entry(session, container, task, thread=thread) for task in dict.fromkeys(tasks)]
        session.carry_out(steps)
        note_ties(session, registry, container, "where these tasks are split or outside now")


def entry(session: Session, container: Container, task: int, *, thread: bool = False) -> Enter:
    """The step that moves a task which is there now, and may be moved."""
    known = alive(session, task)
    guard.check_move(session, known.pid)
    what = "task" if thread else "process"
    doing = f"attach {what} {task} ({known.name}) to {container.name}"
    return Enter(task, not thread, container.places, doing)


def alive(session: Session, task: int) -> Task:
    """What is known of a task; NotFound where it has ended, be it as a zombie."""
    try:
        known = session.backend.task(task)
    except ProcessLookupError as err:
        raise from_oserror(err, f"find task {task}") from err
    if known.gone and len(session.backend.threads(task)) < 2:
        raise NotFound(
            f"task {task} ({known.name}) has ended: it is a zombie, in no container any more",
            hint=f"its parent {known.parent} has yet to notice",
        )
    return known
