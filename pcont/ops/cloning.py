"""clone: container_clone(), a container of its own for a process (patch semantics, 6.1 and 6.2)."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from pcont import guard
from pcont.errors import Busy, UsageProblem
from pcont.hierarchy import Container, Hierarchy
from pcont.ops.containers import create_steps
from pcont.ops.listing import locate
from pcont.ops.moving import alive, entry
from pcont.ops.starting import Command, Planned, spawn, tidying
from pcont.session import Session


def clone(
    session: Session,
    selector: str,
    words: Sequence[str] = (),
    *,
    pid: int | None = None,
    keep: bool = False,
    announce: Callable[[str], None] = lambda name: None,
) -> tuple[str, int]:
    """container_clone(): a child `node_<pid>` of the container that a process is in, and it enters.

    With `pid` that process moves; with a command a new process does, becomes the command, and the
    container goes after it unless `keep`. The child gets its parent's settings. Returns its name,
    and the command's status. Raises Busy for an existing child, and for a process that is in
    different containers of the hierarchy's trees.
    """
    if (pid is None) == (not words):
        what = "clone takes a process or a command, " + ("not both" if words else "one of them")
        raise UsageProblem(what, hint="--pid PID, or -- COMMAND")
    if pid is not None:
        return _clone_process(session, selector, pid), 0
    names: list[str] = []

    def plan(child: int, settle: Callable[[], None]) -> Planned:
        container = _node(session, session.registry().find(selector), os.getpid(), child)
        names.append(container.name)
        return Planned(container, create_steps(session.backend, container, parents=False))

    tidy = None if keep else tidying(session, below=True)
    status = spawn(session, Command(words), plan, tidy=tidy, started=announce)
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
