"""recover: what commands that died have left half done is undone or finished."""

from __future__ import annotations

from pcont import signals
from pcont.records import Recovered
from pcont.session import Session
from pcont.steps.recovery import pending, recover


def recover_all(session: Session) -> list[Recovered]:
    """Undo or finish it; says of each such command what became of it, and what is left.

    The turn of every operation does so first: here it is all that is done.
    """
    if session.dry_run:
        session.planned += pending(session.backend)
        return []
    with signals.held(), session.backend.turn(session.waiting()):
        return list(recover(session.backend))
