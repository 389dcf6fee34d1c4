"""run: start a command in a container."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NoReturn

from pcont import signals
from pcont.errors import NotFound, UsageProblem
from pcont.hierarchy import keys
from pcont.hierarchy.container import Container
from pcont.hierarchy.presence import required
from pcont.linux.spawn import PLAIN, exec_refusal, execute
from pcont.ops import guards
from pcont.ops.launch import Announce, Command, Planned, enter_step, quietly, spawn, tidying
from pcont.records import Started
from pcont.session import Session, checks_first
from pcont.steps.namespaces import EnterNamespaces, NamespaceRequest, option_word
from pcont.subsys import AUTO_DELETE
from pcont.transaction.step import Done, Step
from pcont.virtual.files import ControlFiles

if TYPE_CHECKING:
    from pcont.kernel.interfaces import Birth, CgroupState


@checks_first
def run(
    session: Session,
    place: str,
    words: Sequence[str],
    *,
    create: bool = False,
    auto_delete: bool = False,
    join: str = "",
    wait: bool = False,
    announce: Announce = quietly,
) -> int:
    """Run a command in a container; returns its status, 128+N if signal N ended it.

    `create`: create the container if it is missing, with its parents and their settings.
    `auto_delete`: set the flag of that name, so that the container is removed when the last task
    has left it, even if this process has ended before; in a hierarchy that pcont did not mount,
    this process removes the container when the command has ended. `join`: run the command in the
    namespaces that are pinned by that name. `wait`: run the command in a new process in any case;
    without `wait`, `auto_delete` and `join`, this process executes the command, and the call does
    not return. `announce` is called with the place and the pid, right before the process executes
    the command. Raises CommandNotFound and NotExecutable before anything is changed.
    """
    wanted = NamespaceRequest(joined=join)
    command = Command(words, _joining(session, join) if join else PLAIN, wanted=wanted)
    if wait or auto_delete or join or session.dry_run:

        def plan(pid: int, enter_namespaces: Callable[[], None]) -> Planned:
            container = session.registry().place(place)
            steps: list[Step] = [
                EnterNamespaces(enter_namespaces, _join_line(session, join), f"join {join}", wanted)
            ]
            before = _entering(session, container, create)
            before += _flagging(session.backend, container, auto_delete)
            return Planned(container, before, steps if join else [])

        tidy = tidying(session, False) if auto_delete else None
        return spawn(session, command, plan, tidy=tidy, started=announce)
    done = Done(session.backend)
    try:
        with signals.held():
            with session.exclusive() as registry:
                container = registry.place(place)
                steps = _entering(session, container, create)
                done = session.begin([*steps, enter_step(container, os.getpid(), words)])
            signals.check()
        done.undo_log.commit()
        announce(Started(container.canonical, os.getpid()))
        _become(session, command)
    except BaseException as err:
        session.take_back(done, err)
        raise


def _joining(session: Session, name: str) -> Birth:
    try:
        return session.backend.join(name)
    except FileNotFoundError as err:
        raise NotFound(
            f"no namespaces are pinned as {name!r}", hint="list them: pcont pins"
        ) from err


def _join_line(session: Session, name: str) -> str:
    files = session.backend.pins().get(name, {})
    return "nsenter " + " ".join(f"--{option_word(kind)}={file}" for kind, file in files.items())


def _become(session: Session, command: Command) -> NoReturn:
    try:
        environment = {**os.environ, **session.backend.environment()}
        execute(command.program, command.words, environment)
    except OSError as err:
        raise exec_refusal(command.program, err) from err


def _entering(session: Session, container: Container, create: bool) -> list[Step]:
    guards.check_frozen(session, container)
    guards.note_in_unit(session, container)
    if create:
        from pcont.ops.containers import create_steps

        return create_steps(session.backend, container)
    required(session.backend, container)
    return []


def _flagging(backend: CgroupState, container: Container, auto_delete: bool) -> list[Step]:
    """Return the step that sets auto_delete, if the kernel reports to pcont in this hierarchy."""
    if not auto_delete:
        return []
    from pcont.steps.write import Setting, WriteFiles

    if container.is_root:
        raise UsageProblem(f"{container.name} is a root container, and cannot be removed")
    settings = [
        Setting(place, AUTO_DELETE, "1")
        for place in keys.owners(container, AUTO_DELETE)
        if AUTO_DELETE in ControlFiles(backend).names(place.root)
    ]
    return [WriteFiles(settings, f"set auto_delete of {container.name}")] if settings else []
