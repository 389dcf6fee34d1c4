"""run: a command starts inside a container."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import NoReturn

from pcont import guard, signals
from pcont.hierarchy import Container, required
from pcont.ops.containers import create_steps
from pcont.ops.starting import Command, Planned, enter, spawn, tidying
from pcont.process import execute, refused
from pcont.session import Session
from pcont.steps import Done, Step


def run(
    session: Session,
    place: str,
    words: Sequence[str],
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
    command = Command(words)
    if auto_delete or session.dry_run:

        def plan(pid: int, settle: Callable[[], None]) -> Planned:
            container = session.registry().place(place)
            return Planned(container, _entering(session, container, create))

        return spawn(session, command, plan, tidy=tidying(session, False) if auto_delete else None)
    done = Done(session.backend)
    try:
        with signals.held():
            with session.turn() as registry:
                container = registry.place(place)
                steps = _entering(session, container, create)
                done = session.begin([*steps, enter(container, os.getpid(), words)])
            signals.check()
        done.memory.settle()
        _become(session, command)
    except BaseException as err:
        session.take_back(done, err)
        raise


def _become(session: Session, command: Command) -> NoReturn:
    try:
        environment = {**os.environ, **session.backend.environment()}
        execute(command.program, command.words, environment)
    except OSError as err:
        raise refused(command.program, err) from err


def _entering(session: Session, container: Container, create: bool) -> list[Step]:
    guard.check_frozen(session, container)
    if create:
        return create_steps(session.backend, container)
    required(session.backend, container)
    return []
