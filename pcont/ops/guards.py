"""Refuse to kill, move or freeze PID 1, the leader of the login session, and what belongs to
systemd, without --force.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterable, Sequence
from collections.abc import Container as Membership
from shlex import quote

from pcont import subsys
from pcont.errors import FORCE, Busy, Denied
from pcont.hierarchy.container import Container
from pcont.kernel.paths import below
from pcont.kernel.refusals import exists
from pcont.kernel.types import Place
from pcont.session import Session
from pcont.steps.tasks import live_threads, where_process_is
from pcont.subsys.freezer import FROZEN, PARENT, SELF, STATE, THAWED


def check_move(session: Session, *pids: int) -> None:
    """Raise Denied for PID 1, and for the leader of the caller's login session."""
    protected = _protected(session)
    for pid in pids:
        if pid in protected:
            raise _denied(pid, "move")


def check_move_of(session: Session, tasks: Membership[int]) -> None:
    """Raise Denied if one of the tasks is a thread of a process that `check_move` refuses."""
    for pid in sorted(_protected(session)):
        if any(thread.id in tasks for thread in live_threads(session.backend, pid)):
            raise _denied(pid, "move")


def check_kill(session: Session, pids: Iterable[int]) -> None:
    """Raise Denied for the same and, also with --force, for pcont itself and its ancestors."""
    lineage, protected = set(_lineage(session)), _protected(session)
    for pid in pids:
        if pid in lineage:
            raise Denied(f"refusing to kill PID {pid}: it runs this pcont")
        if pid in protected:
            raise _denied(pid, "kill")


def check_frozen(session: Session, container: Container) -> None:
    """Raise Busy if pcont would be frozen in the container while it holds the lock."""
    if place := _frozen(session, container):
        raise Busy(
            f"{_how(session, container, place)}, and a task that enters it stops at once",
            path=session.backend.show(place),
            hint=_thaw(session, container, place),
        )


def check_entering(
    session: Session, container: Container, pids: Sequence[int], with_descendants: bool = False
) -> None:
    """Raise Busy if pcont, or with `with_descendants` an ancestor of it, would be frozen."""
    own = _lineage(session) if with_descendants else [os.getpid()]
    if any(pid in own for pid in pids):
        check_frozen(session, container)


def check_thaw(session: Session, source: Container, target: Container) -> None:
    """Raise Busy for a source that was frozen before, if its tasks would thaw in the target."""
    place = _frozen(session, source)
    if place and not _frozen(session, target):
        raise Busy(
            f"{_how(session, source, place)}, and {target.name} is not frozen: the tasks would "
            "thaw there",
            path=session.backend.show(place),
            hint=_thaw(session, source, place),
        )


def _frozen(session: Session, container: Container) -> Place | None:
    """Return the place that is frozen, by itself or by a container above it."""
    for place in container.places:
        if place.can_freeze:
            with contextlib.suppress(FileNotFoundError):
                there = _there(session, place)
                flags = [session.backend.read(there, file) for file in (SELF, PARENT)]
                if any(flag.strip() == "1" for flag in flags):
                    return place
    return None


def _there(session: Session, place: Place) -> Place:
    """Return the container, or the nearest one above that exists."""
    while not place.is_root and not exists(session.backend, place):
        place = place.parent
    return place


def _how(session: Session, container: Container, place: Place) -> str:
    """Return the reason of a refusal: the container is frozen, and by which container above it."""
    above = [_name(container, one) for one in _freezing_above(session, place)]
    return f"{container.name} is frozen" + (f" by {' and '.join(above)}" if above else "")


def _thaw(session: Session, container: Container, place: Place) -> str:
    """Return the commands that thaw a container: one for each container that freezes it."""
    from pcont.steps import explain

    found = explain.frozen_by(session.backend, place)
    words = [
        f"pcont set {quote(_name(container, one))} {explain.thawing_setting(one)}" for one in found
    ]
    return " && ".join(words)


def _name(container: Container, place: Place) -> str:
    """Return a place at or above a container as a PLACE, in the hierarchy of the container."""
    if place in container.places:
        return container.name
    for member in container.hierarchy.members:
        path = member.inside(place.path) if member.tree.id == place.tree else None
        if path is not None:
            return container.hierarchy.container(path, container.spelling).name
    return f"{subsys.FREEZER}:{place.path}"


# The values that freeze or kill all tasks of a container, and what they do.
_ON_ALL_TASKS = {
    (STATE, FROZEN): "freeze",
    ("cgroup.freeze", "1"): "freeze",
    ("cgroup.kill", "1"): "kill all in",
}


def acts_on_all(file: str, text: str) -> bool:
    """Return whether to write the text to the file freezes or kills all tasks inside."""
    return (file, text.strip()) in _ON_ALL_TASKS


def check_freezing(session: Session, places: Collection[Place], file: str, text: str) -> None:
    """Raise Denied if pcont would freeze or kill itself, or without --force one of its
    ancestors.
    """
    action = _ON_ALL_TASKS.get((file, text.strip()))
    if action is None:
        return
    for place in places:
        for pid in [*_lineage(session), 1, *_login_session()]:
            with contextlib.suppress(ProcessLookupError):
                path = where_process_is(session.backend, pid).get(place.tree, "/")
                inside = below(path, place.path) is not None
                if inside and (pid == os.getpid() or not session.force):
                    raise Denied(
                        f"refusing to {action} {place.shown}: it has PID {pid}, which pcont needs",
                        path=session.backend.show(place),
                        hint="" if pid == os.getpid() else FORCE,
                    )
    check_units(session, places, action)


def check_units(session: Session, places: Iterable[Place], action: str) -> None:
    """Raise Denied, without --force, if a container belongs to systemd. `action`: what it says
    about the container.
    """
    if unified := _beside_systemd(session, places):
        from pcont.ops import units  # few commands need it

        units.check_untouched(session, unified, action)


def _beside_systemd(session: Session, places: Iterable[Place]) -> list[Place]:
    """Return the containers of cgroup v2, where systemd has containers, too."""
    unified = [place for place in places if place.is_unified]
    return unified if unified and session.backend.has_systemd() else []


def note_set(session: Session, container: Container, settings: Iterable[tuple[str, str]]) -> None:
    """Warn about values, pairs of file and text, that systemd undoes."""
    if unified := _beside_systemd(session, container.places):
        from pcont.ops import units  # few commands need it

        units.warn_set(session, unified, [*settings])


def check_removal(session: Session, places: Iterable[Place]) -> None:
    """Raise Denied, without --force, if a container to remove belongs to systemd."""
    if unified := _beside_systemd(session, places):
        from pcont.ops import units  # few commands need it

        units.check_kept(session, unified)


def note_in_unit(session: Session, container: Container) -> None:
    """Warn about tasks that enter a container of systemd."""
    if unified := _beside_systemd(session, container.places):
        from pcont.ops import units  # few commands need it

        units.warn_entered(session, unified)


def check_frozen_above(session: Session, doomed: Sequence[Container]) -> None:
    """Raise Busy if a container that is not removed keeps tasks frozen that are to be killed."""
    going = {place for one in doomed for place in one.places}
    for container in doomed:
        for place in container.places:
            # On cgroup v2, SIGKILL ends frozen tasks, too.
            kept = place.can_freeze and not place.is_unified
            if kept and place.parent not in going:
                _check_parent(session, container, place)


def _check_parent(session: Session, container: Container, place: Place) -> None:
    with contextlib.suppress(FileNotFoundError):
        if session.backend.read(place, PARENT).strip() == "1":
            names = [_name(container, one) for one in _freezing_above(session, place)]
            raise Busy(
                f"{container.name} is frozen by {' and '.join(names) or 'a container above it'}, "
                "and frozen tasks cannot be killed",
                path=session.backend.show(place),
                hint=_thaw(session, container, place.parent),
            )


def _freezing_above(session: Session, place: Place) -> list[Place]:
    from pcont.steps import explain

    return [one for one in explain.frozen_by(session.backend, place) if one != place]


def note_still_frozen(session: Session, container: Container, file: str, text: str) -> None:
    """Warn if a container was thawed that one above it keeps frozen."""
    if (file, text.strip()) not in ((STATE, THAWED), ("cgroup.freeze", "0")):
        return
    for place in container.places:
        if place.can_freeze and (above := _freezing_above(session, place)):
            names = " and ".join(_name(container, one) for one in above)
            commands = _thaw(session, container, place.parent)
            session.warn(f"{container.name} stays frozen by {names}: {commands}")


def _denied(pid: int, action: str) -> Denied:
    which = "init" if pid == 1 else "the leader of your login session"
    return Denied(f"refusing to {action} PID {pid} ({which})", hint=FORCE)


def _protected(session: Session) -> set[int]:
    return set() if session.force else {1, *_login_session()}


def _login_session() -> list[int]:
    """Return the leader of the session, if the session has a terminal."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return []
    os.close(terminal)
    return [os.getsid(0)]


def _lineage(session: Session) -> list[int]:
    found, task = [os.getpid()], os.getppid()
    while task > 0:
        found.append(task)
        try:
            task = session.backend.task(task).parent
        except ProcessLookupError:
            break
    return found
