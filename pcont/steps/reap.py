"""Process containers that have become empty: run the release agent, remove those with auto_delete.

Several processes may be notified of one container. pcont's lock on changes ensures that it is
processed once, the lock of the release queue that the user's agent runs once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from shlex import quote
from typing import TYPE_CHECKING, Protocol

from pcont.errors import BadValue, Busy, PcontError, Unseen
from pcont.hierarchy.container import Container
from pcont.hierarchy.presence import present
from pcont.hierarchy.registry import Registry
from pcont.kernel.refusals import exists, vanishing, within_reach
from pcont.kernel.retry import Retry
from pcont.kernel.types import Place
from pcont.steps import explain
from pcont.steps.removal import removals
from pcont.steps.write import RestoreValue
from pcont.steps.xattr import SetXattr
from pcont.subsys import AGENT, AUTO_DELETE, NOTIFY
from pcont.transaction.step import Done, Step
from pcont.transaction.undo_log import UndoLog
from pcont.virtual import auto_delete
from pcont.virtual.changes import AttributeChange, FileWrite

if TYPE_CHECKING:
    from pcont.kernel.interfaces import Backend, CgroupState, ContainerReader

# Seconds: another program moves a task out of the tied trees one tree at a time.
TIES_PATIENCE = 10.0
TIES_PAUSE = 0.05


class Worker(Protocol):
    """The part of a session that `attend` needs: a backend, a lock and a way to carry out steps."""

    @property
    def backend(self) -> Backend:
        """The kernel or the model that is worked on."""

    @property
    def warn(self) -> Callable[[str], None]:
        """Print a warning for the user."""

    def exclusive(self) -> AbstractContextManager[Registry]:
        """Lock out other pcont commands for the block, and yield the registry of hierarchies."""

    def carry_out(self, steps: Sequence[Step]) -> Done:
        """Do all steps; if one fails, undo those before it and raise its error."""


def attend(worker: Worker, tree: str, also: Iterable[str] = ()) -> None:
    """Process the containers that the release agent of hierarchy `tree` has reported, and the paths
    in `also`.

    If a container is empty in its home tree and not yet in the tied trees, `attend` retries it for
    up to TIES_PATIENCE seconds. Returns early if another process is processing the same hierarchy.
    """
    releases = worker.backend.releases
    pending = list(also)
    limits: dict[str, Retry] = {}
    rounds = Retry(pause=TIES_PAUSE)
    while pending or tree in releases.reported():
        before = 0
        try:
            with releases.taken(tree) as paths:
                paths += [path for path in pending if path not in paths]
                pending, before = [], len(paths)
                paths[:] = [path for path in paths if not _is_processed(worker, tree, path)]
                if releases.attended:
                    paths[:] = [path for path in paths if _in_time(limits, path)]
        except Busy:
            if not pending:
                return  # the process that has the lock reads the queue again after the unlock
            paths = pending
        if paths and releases.attended:
            rounds.wait()
        elif len(paths) == before:
            return


def _in_time(limits: dict[str, Retry], path: str) -> bool:
    return not limits.setdefault(path, Retry(TIES_PATIENCE)).is_over


def _is_processed(worker: Worker, tree: str, path: str) -> bool:
    """Return whether nothing is left to do for a container: it was removed, or is in use again."""
    try:
        return _process(worker, tree, path)
    except Unseen:
        return False
    except FileNotFoundError:
        return True  # another process removed it


def _process(worker: Worker, tree: str, path: str) -> bool:
    backend = worker.backend
    with worker.exclusive() as registry:
        container = _find(registry, tree, path)
        if container is None:
            return True
        home = container.places[0]
        is_removed = auto_delete.deletes(backend, home) and not container.is_root
        agent = auto_delete.agent(backend, tree) if auto_delete.notifies(backend, home) else ""
        if is_removed:
            if _in_use(backend, [home]):
                return True
            if _in_use(backend, present(backend, container)):
                return False
            if not agent:
                _remove(worker, container)
    if agent:
        # Outside of the lock: the agent may call pcont.
        _notify(worker, agent, container, path)
        if is_removed:
            with worker.exclusive() as registry:
                _remove(worker, container)
    return True


def _notify(worker: Worker, agent: str, container: Container, path: str) -> None:
    """Run the user's release agent, if it is still a program that only root can change."""
    try:
        auto_delete.check_agent(agent)
    except BadValue as err:
        worker.warn(f"the release agent is not run for {container.name}: {err}")
    else:
        worker.backend.releases.notify(agent, path)


def _find(registry: Registry, tree: str, path: str) -> Container | None:
    """Return the container of a reported path; None if it no longer exists or cannot be reached."""
    one = registry.rooted_in(tree)
    if one is None or not one.mounted:
        return None
    container = one.container(path)
    return container if exists(registry.backend, container.places[0]) else None


def _in_use(backend: CgroupState, places: Iterable[Place]) -> bool:
    return any(explain.in_use(backend, place)[0] for place in places)


def _remove(worker: Worker, container: Container) -> None:
    """Remove the container from every tree. If a task has entered it since, keep it in all
    trees.
    """
    try:
        worker.carry_out(removals({container: present(worker.backend, container)}))
    except Busy:
        pass
    except PcontError as err:
        worker.warn(f"{container.name} is kept: {err}")


class InstallAgent(Step):
    """Write a kernel file (release_agent, notify_on_release) with the value that auto_delete needs.

    `action` names the operation in messages.
    """

    def __init__(self, place: Place, file: str, text: str, action: str) -> None:
        self.place, self.file, self.text, self.action = place, file, text, action

    def dry_run_lines(self, backend: ContainerReader) -> list[str]:
        return [f"echo {quote(self.text)} > {quote(backend.show(self.place, self.file))}"]

    def do(self, backend: CgroupState, undo_log: UndoLog) -> None:
        with undo_log.of(RestoreValue.of(backend, self.place, self.file)):
            backend.write(self.place, self.file, self.text)


def repairs(backend: CgroupState, tree: str) -> Iterator[Step]:
    """Yield the steps that make the kernel report every container of hierarchy `tree` that has
    auto_delete.

    Yields nothing if no container of the hierarchy has auto_delete.
    """
    flagged = [place for place, is_removed in flags(backend, Place(tree)) if is_removed]
    if not flagged:
        return
    action = f"have the kernel tell pcont of {tree}"
    changes = auto_delete.arming(backend, tree)
    for one in changes:
        if isinstance(one, AttributeChange):
            yield SetXattr(one.place, one.name, one.text, action)
        elif isinstance(one, FileWrite):
            yield InstallAgent(one.place, one.file, one.text, action)
    if not changes and backend.releases.programs().get(tree) is False:
        yield InstallAgent(Place(tree), AGENT, backend.releases.program(tree), action)
    for place in flagged:
        with vanishing():
            if backend.read(place, NOTIFY).strip() != "1":
                yield InstallAgent(place, NOTIFY, "1", action)


def flags(backend: ContainerReader, top: Place) -> Iterator[tuple[Place, bool]]:
    """Return every container below `top` and `top` itself, children before parents, each with
    whether auto_delete is set.

    A container without the attribute inherits the value of its parent.
    """
    found: list[tuple[Place, bool]] = []
    waiting = [(top, False)]
    while waiting:
        place, above = waiting.pop()
        # A container that is removed during the walk is left out.
        with within_reach():
            is_removed = backend.attributes(place).get(AUTO_DELETE, str(int(above))) == "1"
            children = [(place.child(name), is_removed) for name in backend.children(place)]
            found.append((place, is_removed))
            waiting += children
    return reversed(found)
