"""attach and move: tasks go into a container of every tree, or stay where they are in all."""

from __future__ import annotations

from collections.abc import Sequence

from pcont import guard
from pcont.backend import Task
from pcont.errors import Denied, NotFound, UsageProblem, from_oserror
from pcont.hierarchy import Container, required, with_evidence
from pcont.ops.containers import drain, note_ties
from pcont.records import Outcome
from pcont.session import Session
from pcont.steps.attach import Enter
from pcont.steps.drain import Route


def attach(
    session: Session,
    place: str,
    tasks: Sequence[int],
    *,
    thread: bool = False,
    tree: bool = False,
) -> Outcome:
    """Move processes with all their threads, all or none; says how it went.

    `thread`: just these tasks. `tree`: with all that descends from them, those too that daemonize
    meanwhile. Raises NotFound for a task that is not there, BadValue where the rules of the
    container forbid it (an empty cpuset), Denied where the task is another user's or protected,
    LimitReached where children are started faster than they can be moved.
    """
    if thread and tree:
        raise UsageProblem("--thread and --tree exclude each other")
    with session.turn() as registry:
        container = required(session.backend, registry.place(place))
        steps = [
            entry(session, container, task, thread=thread, tree=tree)
            for task in dict.fromkeys(tasks)
        ]
        session.carry_out(steps)
        note_ties(session, registry, container, "where these tasks are split or outside now")
        return _together([one.outcome for one in steps])


def _together(outcomes: Sequence[Outcome]) -> Outcome:
    return Outcome(
        moved=sum(one.moved for one in outcomes),
        rounds=max((one.rounds for one in outcomes), default=0),
        seconds=sum(one.seconds for one in outcomes),
        stragglers=sum(one.stragglers for one in outcomes),
    )


def entry(
    session: Session, container: Container, task: int, *, thread: bool = False, tree: bool = False
) -> Enter:
    """The step that moves a task which is there now, and may be moved."""
    known = alive(session, task)
    guard.check_move(session, known.pid)
    what = "task" if thread else "process"
    doing = f"attach {what} {task} ({known.name}) to {container.name}"
    return Enter(task, container.places, doing, thread, tree)


def move(session: Session, source: str, target: str) -> Outcome:
    """Move every task of a container to another one of its hierarchy, all or none.

    They may fork and exit meanwhile; where the freezer is among the trees, they stand still. Says
    how it went. Raises LimitReached where they fork faster than they can be moved, Busy for a
    container that others have frozen, BadValue where the rules of the target forbid a task.
    """
    with session.turn() as registry:
        leave, enter = (
            required(session.backend, registry.place(text)) for text in (source, target)
        )
        _check_pair(session, leave, enter)
        guard.check_thaw(session, leave, enter)
        places = {place.tree: place for place in enter.places}
        routes = [Route(place, places[place.tree]) for place in with_evidence(leave, leave.places)]
        step = drain(session, routes, f"move all of {leave.name} to {enter.name}")
        session.carry_out([step])
        for container in (leave, enter):
            note_ties(session, registry, container, "where these tasks are split or outside now")
        return step.outcome


def _check_pair(session: Session, source: Container, target: Container) -> None:
    trees = [{place.tree for place in one.places} for one in (source, target)]
    if trees[0] != trees[1]:
        raise UsageProblem(f"{source.name} and {target.name} are in different hierarchies")
    if source.places == target.places:
        raise UsageProblem(f"{source.name} is both the source and the target")
    if source.is_root and not session.force:
        raise Denied(
            f"{source.name} is a root container, and is not emptied",
            hint="--force does it all the same",
        )


def alive(session: Session, task: int) -> Task:
    """What is known of a task; NotFound where it has ended or is about to, be it as a zombie."""
    try:
        known = session.backend.task(task)
    except ProcessLookupError as err:
        raise from_oserror(err, f"find task {task}") from err
    if known.gone and len(session.backend.threads(task)) < 2:
        raise _ended(known)
    return known


def _ended(known: Task) -> NotFound:
    if known.state in "ZX":
        return NotFound(
            f"task {known.id} ({known.name}) has ended: it is a zombie, in no container any more",
            hint=f"its parent {known.parent} has yet to notice",
        )
    return NotFound(
        f"task {known.id} ({known.name}) is ending: it stays where it is until it has gone",
        hint="it runs nothing any more, and starts nobody",
    )
