"""Who is not killed, moved or frozen unless --force says so: pid 1, the leader of one's login."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable

from pcont import subsys
from pcont.backend import Place, below, exists
from pcont.errors import Busy, Denied
from pcont.hierarchy import Container
from pcont.session import Session
from pcont.subsys.freezer import FROZEN, PARENT, SELF, STATE


def check_move(session: Session, *pids: int) -> None:
    """Denied for pid 1, and for the leader of the login session that the caller sits in."""
    protected = _protected(session)
    for pid in pids:
        if pid in protected:
            raise _denied(pid, "moved")


def check_kill(session: Session, pids: Iterable[int]) -> None:
    """Denied for those and, with or without --force, for pcont itself and what it descends from."""
    lineage, protected = set(_lineage(session)), _protected(session)
    for pid in pids:
        if pid in lineage:
            raise Denied(f"process {pid} runs this pcont, and is not killed by it")
        if pid in protected:
            raise _denied(pid, "killed")


def check_frozen(session: Session, container: Container) -> None:
    """Busy where what enters a container stops at once: pcont would, with the lock in its hand."""
    place = _frozen(session, container)
    if place:
        raise Busy(
            f"{container.name} is frozen, and what enters it stops at once",
            path=session.backend.show(place),
            hint=f"pcont set {container.name} freezer.state=THAWED",
        )


def check_thaw(session: Session, source: Container, target: Container) -> None:
    """Busy where others have frozen what would thaw in the target."""
    place = _frozen(session, source)
    if place and not _frozen(session, target):
        raise Busy(
            f"{source.name} is frozen, and {target.name} is not: what moves would thaw there",
            path=session.backend.show(place),
            hint=f"pcont set {source.name} freezer.state=THAWED, or freeze the target",
        )


def _frozen(session: Session, container: Container) -> Place | None:
    """The place where a container is frozen, be it by one above it."""
    for place in container.places:
        if subsys.FREEZER in place.controllers:
            with contextlib.suppress(FileNotFoundError):
                flags = [
                    session.backend.read(_there(session, place), file) for file in (SELF, PARENT)
                ]
                if any(flag.strip() == "1" for flag in flags):
                    return place
    return None


def _there(session: Session, place: Place) -> Place:
    """The container, or the nearest one above that is there."""
    while not place.is_root and not exists(session.backend, place):
        place = place.parent
    return place


def check_freezing(session: Session, places: Iterable[Place], file: str, text: str) -> None:
    """Denied where pcont would freeze itself, or without --force what it descends from."""
    freezing = file == STATE and text.strip() == FROZEN
    for place in places if freezing else ():
        for pid in [*_lineage(session), 1, *_login_session()]:
            with contextlib.suppress(ProcessLookupError):
                path = session.backend.membership(pid).get(place.tree, "/")
                inside = below(path, place.path) is not None
                if inside and (pid == os.getpid() or not session.force):
                    raise Denied(
                        f"process {pid} is in there, and is not frozen by its own pcont",
                        path=session.backend.show(place),
                        hint="" if pid == os.getpid() else "--force does it all the same",
                    )


def would_freeze_itself(session: Session, places: Iterable[Place]) -> bool:
    """Whether this process is in or below one of them: frozen, it could not thaw anybody."""
    own = session.backend.membership(os.getpid())
    return any(
        subsys.FREEZER in place.controllers
        and below(own.get(place.tree, "/"), place.path) is not None
        for place in places
    )


def check_frozen_above(session: Session, places: Iterable[Place]) -> None:
    """Busy where a container that stays keeps frozen, and so alive, what is to be killed."""
    going = set(places)
    for place in going:
        top = subsys.FREEZER in place.controllers and place.parent not in going
        if top and session.backend.read(place, PARENT).strip() == "1":
            raise Busy(
                "a container above is frozen, and who is frozen does not die",
                path=session.backend.show(place),
                hint="thaw it first: pcont set PLACE freezer.state=THAWED",
            )


def _denied(pid: int, what: str) -> Denied:
    who = "the first process" if pid == 1 else "the leader of your own login session"
    return Denied(f"process {pid} is {who}, and is not {what}", hint="--force does it all the same")


def _protected(session: Session) -> set[int]:
    return set() if session.force else {1, *_login_session()}


def _login_session() -> list[int]:
    """The leader of the session, where it is one with a terminal."""
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
