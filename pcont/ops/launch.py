"""What run and clone share: start a command in its container, wait for it, and clean up."""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from pcont import signals
from pcont.errors import PcontError
from pcont.hierarchy.container import Container
from pcont.hierarchy.presence import present
from pcont.kernel.retry import Retry
from pcont.linux import watchdog
from pcont.linux.spawn import PLAIN, Child, find_program
from pcont.ops import guards
from pcont.records import Started
from pcont.session import Session
from pcont.steps.attach import Attach
from pcont.steps.namespaces import NONE, NamespaceRequest, namespace_refusal
from pcont.transaction.step import Done, Step
from pcont.virtual import auto_delete

if TYPE_CHECKING:
    from pcont.kernel.interfaces import Birth

# The release agent starts at once; on a machine that has much else to do it may take a while.
AGENT_PATIENCE = 10.0
AGENT_PAUSE, AGENT_LONGEST_PAUSE = 0.01, 0.1


class Command:
    """The words of a command; the constructor looks up its program.

    `birth`: how its process is started. `init`: that process is an init, with the command as its
    child. `wanted`: the namespaces of the command. Raises CommandNotFound and NotExecutable.
    """

    def __init__(
        self,
        words: Sequence[str],
        birth: Birth = PLAIN,
        init: bool = False,
        wanted: NamespaceRequest = NONE,
    ) -> None:
        self.words, self.birth, self.init, self.wanted = words, birth, init, wanted
        self.program = find_program(words[0])


class Planned:
    """The container of a process, and the steps before and after it enters."""

    def __init__(
        self, container: Container, before: list[Step], after: list[Step] | None = None
    ) -> None:
        self.container, self.before = container, before
        self.after: list[Step] = [] if after is None else after


# Is called with the pid, and with a function that makes the process enter its namespaces.
Placement = Callable[[int, Callable[[], None]], Planned]
Tidy = Callable[[Container], None]
# Is called with the place and the process, right before the process executes the command.
Announce = Callable[[Started], None]


def quietly(started: Started) -> None:
    """Do nothing. The default for a function that is called when a command starts."""


def enter_step(container: Container, pid: int, words: Sequence[str]) -> Attach:
    """Return the step that attaches the process of a command to its container."""
    return Attach(pid, container.places, f"start {words[0]} in {container.name}")


def spawn(
    session: Session,
    command: Command,
    plan: Placement,
    *,
    tidy: Tidy | None = None,
    started: Announce = quietly,
) -> int:
    """Fork a child that waits, attach it, let it execute the command, wait, and clean up.

    If this process is killed, another process cleans up.
    """
    if session.dry_run:
        planned = plan(os.getpid(), lambda: None)
        session.carry_out(_steps(planned, os.getpid(), command))
        session.planned.append(f"exec {shlex.join(command.words)}")
        return 0
    # Held until the end: signals that arrive before it are for the command.
    with signals.held(), contextlib.ExitStack() as until_the_end:
        container, child = _start(session, command, plan, tidy, started, until_the_end)
        status = child.wait()
        if tidy:
            with signals.shielded():
                tidy(container)
    return status


def _steps(planned: Planned, pid: int, command: Command) -> list[Step]:
    return [*planned.before, enter_step(planned.container, pid, command.words), *planned.after]


def _start(
    session: Session,
    command: Command,
    plan: Placement,
    tidy: Tidy | None,
    started: Announce,
    until_the_end: contextlib.ExitStack,
) -> tuple[Container, Child]:
    """Return the child that executes the command; if that fails, undo everything."""
    try:
        environment = session.backend.environment()
        child = Child(command.program, command.words, environment, command.birth, command.init)
    except OSError as err:
        raise namespace_refusal(err, f"start {command.words[0]}", command.wanted) from err
    if command.birth.note:
        session.warn(command.birth.note)
    done = Done(session.backend)
    try:
        with session.exclusive():
            planned = plan(child.pid, child.enter_namespaces)
            done = session.begin(_steps(planned, child.pid, command))
        if tidy:
            until_the_end.enter_context(_stood_in_for(session, planned.container, child.pid, tidy))
        started(Started(planned.container.canonical, child.pid))
        child.start()
    except BaseException as err:
        # End the child before the undo: a process that is ending cannot be moved.
        child.abandon()
        session.take_back(done, err)
        raise
    done.undo_log.commit()
    return planned.container, child


@contextlib.contextmanager
def _stood_in_for(session: Session, container: Container, pid: int, tidy: Tidy) -> Iterator[None]:
    """In the block, a second process cleans up after the command if this one is killed."""
    command = os.pidfd_open(pid)

    def act() -> None:
        watchdog.readable([command])
        with contextlib.suppress(PcontError, OSError), session.exclusive():
            pass  # the backend looks again: this process has closed the files of pcont
        tidy(container)

    try:
        with watchdog.watching(act, command):
            yield
    finally:
        os.close(command)


def tidying(session: Session, below: bool) -> Tidy:
    """Return a function that removes a container after its command, unless tasks are in it.

    `below`: also remove all containers below it, if no task is in them.
    """
    return partial(_tidy, session, below)


def _tidy(session: Session, below: bool, container: Container) -> None:
    from pcont.ops.containers import beneath
    from pcont.steps.removal import removals

    try:
        _wait_until_gone(session, container)
        with session.exclusive():
            there = present(session.backend, container)
            doomed = dict(beneath(session.backend, container, there) if below else ())
            doomed[container] = there
            reason = _in_use(session, [*doomed], below)
            if not reason:
                guards.check_removal(session, [one for there in doomed.values() for one in there])
                session.carry_out(removals(doomed))
                return
            session.warn(f"{container.name} is kept: {reason}")
    except (PcontError, OSError) as err:
        session.warn(f"{container.name} is kept: {err}")


def _wait_until_gone(session: Session, container: Container) -> None:
    """Wait until pcont's release agent has removed an empty container with auto_delete."""
    from pcont.steps import explain

    backend, home = session.backend, container.places[0]
    retry = Retry(AGENT_PATIENCE, AGENT_PAUSE, AGENT_LONGEST_PAUSE)
    with contextlib.suppress(FileNotFoundError):
        while not retry.is_over and auto_delete.deletes(backend, home):
            session.registry()
            if explain.in_use(backend, home)[0]:
                return
            retry.wait()


def _in_use(session: Session, doomed: Sequence[Container], below: bool) -> str:
    from pcont.steps import explain

    for place in (place for one in doomed for place in present(session.backend, one)):
        if tasks := session.backend.read(place, "tasks").split():
            return explain.tasks_inside(tasks, place.word)[0]
        names = [] if below else session.backend.children(place)
        if names:
            return explain.children_inside(names, place.word)[0]
    return ""
