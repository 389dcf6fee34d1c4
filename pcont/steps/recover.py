"""Undo what a killed command has left half done, or finish it where its last act had begun."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pcont.errors import PcontError
from pcont.kernel.interfaces import Backend
from pcont.kernel.types import Mount, Owner, Place, Tree, TreeRequest
from pcont.records import Recovered
from pcont.steps.attach import Entered, Origin
from pcont.steps.containers import Absent, Attribute, Present
from pcont.steps.enforcement import AtWork, Stopped
from pcont.steps.mirror import Inside, Outside, Pair
from pcont.steps.mounts import Directory, Mounted, NoDirectory, NotMounted
from pcont.steps.move_all import Drained, Route
from pcont.steps.namespaces import NotPinned
from pcont.steps.write import Affinities, Setting, Value, Written
from pcont.tags import FORMATS, attributes_of
from pcont.transaction.journal import OTHER_SHAPE, Abandoned, abandoned, checked, decode, set_aside
from pcont.transaction.undo_log import Fact, restore

FACTS = (
    *(Absent, Present, Attribute, Value, Written, Affinities, Entered, Drained, Inside, Outside),
    *(Directory, NoDirectory, Mounted, NotMounted, Stopped, AtWork, NotPinned),
)
PARTS = (Place, Mount, Owner, Tree, TreeRequest, Origin, Pair, Route, Setting)
UNUSABLE = (*OTHER_SHAPE, PcontError)
KINDS: dict[str, type] = {FORMATS[kind].tag: kind for kind in (*FACTS, *PARTS)}


def pending(backend: Backend) -> list[str]:
    """What recovery would do first, a line for each command that was killed part-way."""
    return [line for journal in _abandoned(backend) for line in _pending(journal)]


def damaged(backend: Backend) -> list[str]:
    """The paths of the damaged journals that were set aside."""
    return set_aside(backend.workplace().existing)


def _pending(journal: Abandoned) -> list[str]:
    if journal.earlier:
        return []
    try:
        facts, end = _read(journal)
    except UNUSABLE as err:
        return [f"# set aside the damaged journal {journal.name}: {_reason(journal, err)}"]
    how = "finish" if end else "undo"
    return [f"# {how}: {journal.command}"] if facts or end else []


def recover(backend: Backend) -> Iterator[Recovered]:
    """Roll back or complete killed commands, the latest first.

    A journal that cannot be used is renamed, and recovery continues with the next one.
    """
    for journal in _abandoned(backend):
        if found := _recovered(backend, journal):
            yield found


def _abandoned(backend: Backend) -> Iterator[Abandoned]:
    return abandoned(backend.workplace().existing)


def _recovered(backend: Backend, journal: Abandoned) -> Recovered | None:
    if journal.earlier and not journal.damage:
        # No container, mount or task outlives the restart of the machine.
        journal.close()
        return Recovered(journal.command, "outdated")
    try:
        facts, end = _read(journal)
        found = _recover(backend, journal.command, facts, end)
    except UNUSABLE as err:
        return _set_aside(journal, _reason(journal, err))
    journal.close()
    return found


def _reason(journal: Abandoned, err: Exception) -> str:
    return journal.damage or f"{type(err).__name__}: {err}"


def _set_aside(journal: Abandoned, why: str) -> Recovered:
    try:
        return Recovered(journal.command, "set aside", (f"{journal.set_aside()}: {why}",))
    except PcontError as err:
        return Recovered(journal.command, "unreadable", (f"{err.what}: {why}",))


def _recover(
    backend: Backend, command: str, facts: Sequence[Fact], end: Fact | None
) -> Recovered | None:
    if end and not restore(backend, end):
        return Recovered(command, "finished")
    left = [line for fact in reversed(facts) for line in restore(backend, fact)]
    return Recovered(command, "undone", tuple(left)) if facts else None


def _read(journal: Abandoned) -> tuple[list[Fact], Fact | None]:
    """The facts that are to be true again, and what is to be true in the end.

    Raises one of UNUSABLE for entries of another shape.
    """
    if journal.damage:
        raise ValueError(journal.damage)
    facts: dict[int, Fact] = {}
    end: Fact | None = None
    kept = 0
    for entry in journal.entries:
        if "fact" in entry:
            facts[kept] = _fact(entry["fact"])
            kept += 1
        elif "forget" in entry:
            del facts[entry["forget"]]
        elif "learn" in entry:
            fact = facts[entry["learn"]]
            fact.learn(**attributes_of(type(fact), decode(entry["more"], KINDS)))
            checked(fact)
        else:
            end = None if entry["end"] is None else _fact(entry["end"])
    return list(facts.values()), end


def _fact(value: object) -> Fact:
    found = decode(value, KINDS)
    if not isinstance(found, Fact):
        raise TypeError(f"{type(found).__name__} is not a fact")
    return found
