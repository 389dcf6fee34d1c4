"""run and clone: a command starts inside a container, or in a new one below its caller's."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Sequence
from typing import NoReturn

from pcont import explain, guard, signals
from pcont.errors import Busy, PcontError, UsageProblem
from pcont.hierarchy import Container, Hierarchy, present, required
from pcont.ops.containers import create_steps, removals
from pcont.ops.listing import locate
from pcont.ops.moving import alive, entry
from pcont.process import Child, execute, find_program, refused
from pcont.session import Session
from pcont.steps import Done, Step
from pcont.steps.attach import Enter


def run(
    session: Session,
    place: str,
    command: Sequence[str],
    *,
    create: bool = False,
    auto_delete: bool = False,
) -> int:
    """Run a command inside a container; returns its status, 128+N where signal N ended it.

    `create`: the container is made where it is missing, with its parents and their settings.
    `auto_delete`: it is removed when the command has ended and nobody else is in it. Without that
    the command takes this process's place, and nothing returns. Raises CommandNotFound and
    NotExecutable before anything is touched.
    """
    program = find_program(command[0])
    if auto_delete or session.dry_run:
        return _run_and_tidy(session, place, program, command, create, auto_delete)
    done = Done(session.backend)
    try:
        with signals.held():
            with session.turn() as registry:
                container = registry.place(place)
                steps = _entering(session, container, create)
                done = session.begin([*steps, _enter(container, os.getpid(), command)])
            signals.check()
        done.memory.settle()
        _become(session, program, command)
    except BaseException as err:
        session.take_back(done, err)
        raise


def _become(session: Session, program: str, command: Sequence[str]) -> NoReturn:
    try:
        execute(program, command, {**os.environ, **session.backend.environment()})
    except OSError as err:
        raise refused(program, err) from err


def _run_and_tidy(
    session: Session,
    place: str,
    program: str,
    command: Sequence[str],
    create: bool,
    auto_delete: bool,
) -> int:
    def plan(pid: int) -> tuple[Container, list[Step]]:
        container = session.registry().place(place)
        return container, _entering(session, container, create)

    return _spawn(session, program, command, plan, tidy=auto_delete)


def _entering(session: Session, container: Container, create: bool) -> list[Step]:
    guard.check_frozen(session, container)
    if create:
        return create_steps(session.backend, container)
    required(session.backend, container)
    return []


def _enter(container: Container, pid: int, command: Sequence[str]) -> Enter:
    return Enter(pid, container.places, f"start {command[0]} in {container.name}")


def clone(
    session: Session,
    selector: str,
    command: Sequence[str] = (),
    *,
    pid: int | None = None,
    keep: bool = False,
    announce: Callable[[str], None] = lambda name: None,
) -> tuple[str, int]:
    """container_clone(): a child `node_<pid>` of the container that a process is in, and it enters.

    With `pid` that process moves; with a command a new process does, becomes the command, and the
    container goes after it unless `keep`. The child gets its parent's settings. Returns its name,
    and the command's status. Raises Busy for an existing child, and for a process that is in
    different containers of the hierarchy's trees. Source: patch semantics, 6.1 and 6.2.
    """
    if (pid is None) == (not command):
        what = "clone takes a process or a command, " + ("not both" if command else "one of them")
        raise UsageProblem(what, hint="--pid PID, or -- COMMAND")
    if pid is not None:
        return _clone_process(session, selector, pid), 0
    names: list[str] = []

    def plan(child: int) -> tuple[Container, list[Step]]:
        container = _node(session, session.registry().find(selector), os.getpid(), child)
        names.append(container.name)
        return container, create_steps(session.backend, container, parents=False)

    program = find_program(command[0])
    status = _spawn(session, program, command, plan, tidy=not keep, started=announce)
    return names[0], status


def _clone_process(session: Session, selector: str, pid: int) -> str:
    with session.turn() as registry:
        known = alive(session, pid)
        guard.check_move(session, known.pid)
        container = _node(session, registry.find(selector), known.pid, known.pid)
        steps = create_steps(session.backend, container, parents=False)
        session.carry_out([*steps, entry(session, container, known.pid)])
        return container.name


def _node(session: Session, hierarchy: Hierarchy, task: int, pid: int) -> Container:
    """The child that a clone makes, below the container that a task is in."""
    found = locate(session.backend, hierarchy, session.backend.membership(task))
    if found.container is None:
        paths = ", ".join(f"{path} in {tree}" for tree, path in found.paths.items())
        name = hierarchy.name
        if task == os.getpid():
            raise Busy(
                f"this shell is {found.state} in {name}: {paths}",
                hint=f"pcont attach {name}:/PATH $$, or pcont run {name}:/PATH -- pcont clone …",
            )
        raise Busy(
            f"task {task} is {found.state} in {name}: {paths}",
            hint=f"pcont attach {name}:/PATH {task} brings it together",
        )
    parent = hierarchy.container(found.container)
    guard.check_frozen(session, parent)
    return parent.child(f"node_{pid}")


Plan = Callable[[int], tuple[Container, list[Step]]]


def _spawn(
    session: Session,
    program: str,
    command: Sequence[str],
    plan: Plan,
    *,
    tidy: bool,
    started: Callable[[str], None] = lambda name: None,
) -> int:
    """Fork a child that waits, move it, let it become the command, and clean up after it."""
    if session.dry_run:
        container, steps = plan(os.getpid())
        session.carry_out([*steps, _enter(container, os.getpid(), command)])
        session.planned.append(f"exec {shlex.join(command)}")
        return 0
    # Held until the end: what arrives meanwhile is for the command.
    with signals.held():
        container, child = _start(session, program, command, plan, started)
        status = child.wait()
        if tidy:
            with signals.shielded():
                _tidy(session, container)
    return status


def _start(
    session: Session,
    program: str,
    command: Sequence[str],
    plan: Plan,
    started: Callable[[str], None],
) -> tuple[Container, Child]:
    """A child in its place that has become the command; nothing is left where it could not."""
    child = Child(program, command, session.backend.environment())
    done = Done(session.backend)
    try:
        with session.turn():
            container, steps = plan(child.pid)
            done = session.begin([*steps, _enter(container, child.pid, command)])
        started(container.name)
        child.start()
    except BaseException as err:
        # Before anything is undone the child has ended: one that is ending cannot be moved.
        child.abandon()
        session.take_back(done, err)
        raise
    done.memory.settle()
    return container, child


def _tidy(session: Session, container: Container) -> None:
    """Remove a container after its command; whoever else is in it keeps it."""
    try:
        with session.turn():
            there = present(session.backend, container)
            reasons = [explain.in_use(session.backend, place)[0] for place in there]
            if not any(reasons):
                session.carry_out(removals(session.backend, [container]))
                return
            session.warn(f"{container.name} stays: {next(filter(None, reasons))}")
    except (PcontError, OSError) as err:
        session.warn(f"{container.name} stays: {err}")
