"""What is not killed or moved unless --force says so: pid 1, the leader of one's own login."""

from __future__ import annotations

import os
from collections.abc import Iterable

from pcont.errors import Denied
from pcont.session import Session


def check_move(session: Session, *pids: int) -> None:
    """Denied for pid 1, and for the leader of the login session that the caller sits in."""
    protected = {1, *_login_session()}
    for pid in pids:
        if not session.force and pid in protected:
            raise _denied(pid, "moved")


def check_kill(session: Session, pids: Iterable[int]) -> None:
    """Denied for those and, with or without --force, for pcont itself and what it descends from."""
    lineage = set(_lineage(session))
    for pid in pids:
        if pid in lineage:
            raise Denied(f"process {pid} runs this pcont, and is not killed by it")
        if not session.force and pid in {1, *_login_session()}:
            raise _denied(pid, "killed")


def _denied(pid: int, what: str) -> Denied:
    who = "the first process" if pid == 1 else "the leader of your own login session"
    return Denied(f"process {pid} is {who}, and is not {what}", hint="--force does it all the same")


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
