"""attach and move: move tasks into a container in every tree of a hierarchy, or in none."""

from __future__ import annotations

from collections.abc import Sequence

from pcont.errors import FORCE, Denied, UsageProblem
from pcont.hierarchy.container import Container
from pcont.hierarchy.presence import required, with_evidence
from pcont.kernel.types import UNIFIED, AssignedIds, Task
from pcont.ops import guards
from pcont.ops.named import named
from pcont.ops.task_ids import TaskIds
from pcont.ops.ties import note_entered, note_left, note_split
from pcont.records import Outcome
from pcont.session import Session, checks_first
from pcont.steps.attach import Attach, Seen
from pcont.steps.reuse import assigned_ids


@checks_first
def attach(
    session: Session,
    place: str,
    tasks: Sequence[int] | TaskIds,
    *,
    thread: bool = False,
    tree: bool = False,
    movable: bool = False,
) -> Outcome:
    """Move processes with all their threads, all or none; returns how the move went.

    `thread`: move only these tasks. `tree`: also move all descendants, including those that
    daemonize during the move. `movable`: skip kernel threads that cannot be moved, and count them.
    Raises NotFound for a task that does not exist, BadValue if the rules of the container forbid
    the move (an empty cpuset) or for a kernel thread that cannot be moved, Denied for a task of
    another user or a protected one, LimitReached if children are started faster than pcont can move
    them.
    """
    if thread and tree:
        raise UsageProblem("--thread and --tree cannot be combined")
    with session.exclusive() as registry:
        container = required(session.backend, registry.place(place))
        ids = TaskIds.of(tasks)
        assigned = None if tree else assigned_ids(session.backend, ids.given + ids.listed)
        found = named(session, ids, thread)
        steps = [
            entry(session, container, some, assigned, thread=thread, tree=tree, movable=movable)
            for some in ([[one] for one in found] if tree else [found])
        ]
        session.carry_out(steps)
        if container.places[-1].tree == UNIFIED:
            guards.note_in_unit(session, container)
        note_split(session, registry, note_entered(session, container, steps))
        outcome = _together([one.outcome for one in steps])
        _note_skipped(session, outcome)
        return outcome


def _together(outcomes: Sequence[Outcome]) -> Outcome:
    if len(outcomes) == 1:
        return outcomes[0]
    return Outcome(
        moved=sum(one.moved for one in outcomes),
        rounds=max((one.rounds for one in outcomes), default=0),
        seconds=sum(one.seconds for one in outcomes),
        stragglers=sum(one.stragglers for one in outcomes),
        skipped=sum(one.skipped for one in outcomes),
    )


def _note_skipped(session: Session, outcome: Outcome) -> None:
    """Report the kernel threads that were skipped, or that a dry run would skip."""
    if outcome.skipped == 1:
        session.warn("1 kernel thread cannot be moved, and stays where it is")
    elif outcome.skipped:
        session.warn(f"{outcome.skipped} kernel threads cannot be moved, and stay where they are")


def entry(
    session: Session,
    container: Container,
    tasks: Sequence[Task],
    assigned: AssignedIds | None = None,
    *,
    thread: bool = False,
    tree: bool = False,
    movable: bool = False,
) -> Attach:
    """Return the step that moves tasks, which must be alive and may be moved.

    A step takes several tasks, but with `tree` a single one. `assigned`: the ids that the kernel
    had assigned before the tasks were looked up.
    """
    pids = [known.pid for known in tasks]
    guards.check_move(session, *pids)
    guards.check_entering(session, container, pids, with_descendants=tree)
    kind, target = "task" if thread else "process", container.name
    actions = {
        one.id if thread else one.pid: f"attach {kind} {one.id} ({one.name}) to {target}"
        for one in tasks
    }
    first = next(iter(actions))
    return Attach(
        first,
        container.places,
        actions.pop(first),
        thread,
        tree,
        movable,
        actions,
        Seen({one.id: one for one in tasks if thread or one.id == one.pid}, assigned),
    )


@checks_first
def move(session: Session, source: str, target: str, *, movable: bool = False) -> Outcome:
    """Move every task of a container to another one of its hierarchy, all or none.

    The tasks may fork and exit during the move. If the freezer is among the trees, pcont freezes
    the tasks for it. `movable`: skip kernel threads that cannot be moved, and count them; in a root
    container they are skipped in any case. Returns how the move went. Raises LimitReached if the
    tasks fork faster than pcont can move them, Busy for a container that another program has
    frozen, BadValue if the rules of the target forbid a task.
    """
    from pcont.ops.containers import drain
    from pcont.steps.move_all import Move

    with session.exclusive() as registry:
        leave, enter = (
            required(session.backend, registry.place(text)) for text in (source, target)
        )
        _check_pair(session, leave, enter)
        guards.check_units(session, leave.places, "move all tasks out of")
        guards.check_thaw(session, leave, enter)
        places = {place.tree: place for place in enter.places}
        routes = [Move(place, places[place.tree]) for place in with_evidence(leave, leave.places)]
        step = drain(session, routes, f"move all of {leave.name} to {enter.name}", movable)
        session.carry_out([step])
        guards.note_in_unit(session, enter)
        note_split(session, registry, note_left(session, enter, step))
        _note_skipped(session, step.outcome)
        return step.outcome


def _check_pair(session: Session, source: Container, target: Container) -> None:
    trees = [{place.tree for place in one.places} for one in (source, target)]
    if trees[0] != trees[1]:
        raise UsageProblem(f"{source.name} and {target.name} are in different hierarchies")
    if source.places == target.places:
        raise UsageProblem(f"{source.name} is both the source and the target")
    if source.is_root and not session.force:
        raise Denied(
            f"refusing to empty {source.name}: it is a root container",
            hint=FORCE,
        )
