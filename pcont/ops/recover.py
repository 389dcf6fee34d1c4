"""recover: roll back or complete commands that were killed part-way, and report them."""

from __future__ import annotations

from collections.abc import Iterator

from pcont import signals
from pcont.records import Finding, Recovered
from pcont.session import Session
from pcont.transaction.journal_files import set_aside


def recover_all(session: Session) -> list[Recovered]:
    """Roll back or complete killed commands; returns for each the outcome and what remains.

    Every changing command does this first; this one does nothing else.
    """
    if session.dry_run:
        session.planned += session.pending_lines()
        return []
    from pcont.steps.recover import roll_back

    with signals.held(), session.backend.exclusive(session.waiting()):
        return list(roll_back(session.backend))


def note_pending(session: Session) -> None:
    """Warn that the output may be half done: the next changing command recovers first."""
    for line in session.pending_lines():
        session.warn(
            f"a killed command has left a journal; pcont recover does: {line.lstrip('# ')}"
        )


def journal_findings(session: Session) -> Iterator[Finding]:
    """Report for doctor where the lock and journals are, their problems, and killed commands."""
    found = session.backend.workplace()
    if found.directory:
        yield Finding("ok", "lock", f"lock and journals are in {found.directory}")
    for reason in found.refused:
        advice = "inspect it and remove it; until then, pcont does not use it"
        yield Finding("problem", "lock", reason, advice)
    if not found.directory and found.needed:
        text = "no safe directory for lock and journals: killed commands are not rolled back"
        yield Finding(
            "problem", "lock", text, "give this user a directory that only this user can write"
        )
    for line in session.pending_lines():
        text = f"a command was killed part-way; {line.lstrip('# ')}"
        yield Finding("problem", "journal", text, "pcont recover")
    for path in set_aside(session.backend.workplace().existing):
        advice = "find the command in it, repair what that command changed, then remove it"
        yield Finding("problem", "journal", f"damaged and set aside: {path}", advice)
