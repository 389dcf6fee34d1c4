"""What a command has left half done that died: undone, or finished where its last act had begun."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pcont.backend import Backend, Mount, Owner, Place, Tree, TreeRequest
from pcont.errors import PcontError, Unsupported
from pcont.journal import VERSION, Abandoned, abandoned, decode
from pcont.records import Recovered
from pcont.steps.apart import NotPinned
from pcont.steps.attach import Entered, Origin
from pcont.steps.containers import Absent, Attribute, Present
from pcont.steps.drain import Drained, Route
from pcont.steps.joining import Inside, Outside, Pair
from pcont.steps.memory import Fact, restore
from pcont.steps.metering import AtWork, Stopped
from pcont.steps.mounts import Directory, Mounted, NoDirectory, NotMounted
from pcont.steps.settings import Affinities, Setting, Value, Written

FACTS = (
    *(Absent, Present, Attribute, Value, Written, Affinities, Entered, Drained, Inside, Outside),
    *(Directory, NoDirectory, Mounted, NotMounted, Stopped, AtWork, NotPinned),
)
PARTS = (Place, Mount, Owner, Tree, TreeRequest, Origin, Pair, Route, Setting)
KINDS = {kind.__name__: kind for kind in (*FACTS, *PARTS)}


def pending(backend: Backend) -> list[str]:
    """What would be done about the commands that died and have left something."""
    return [
        f"# {'finish' if end else 'undo'}: {journal.command}"
        for journal, facts, end in _abandoned(backend)
        if facts or end
    ]


def recover(backend: Backend) -> Iterator[Recovered]:
    """Undo or finish what commands have left that died, the latest first."""
    for journal, facts, end in _abandoned(backend):
        found = _recover(backend, journal.command, facts, end)
        journal.close()
        if found:
            yield found


def _abandoned(backend: Backend) -> Iterator[tuple[Abandoned, list[Fact], Fact | None]]:
    """The journals of commands that died, each with the facts and the end that it has."""
    for journal in abandoned(backend.journals()):
        if journal.version != VERSION:
            raise Unsupported(
                f"a journal has version {journal.version}, and this pcont knows {VERSION}",
                path=journal.name,
                hint="the pcont that wrote it can recover",
            )
        try:
            facts, end = _read(journal.entries)
        except (KeyError, TypeError, ValueError) as err:
            raise PcontError(
                f"a journal of a command that died cannot be read: {type(err).__name__}: {err}",
                path=journal.name,
                hint="look what it was about, then move it away",
            ) from err
        yield journal, facts, end


def _recover(
    backend: Backend, command: str, facts: Sequence[Fact], end: Fact | None
) -> Recovered | None:
    if end and not restore(backend, end):
        return Recovered(command, "finished")
    left = [line for fact in reversed(facts) for line in restore(backend, fact)]
    return Recovered(command, "undone", tuple(left)) if facts else None


def _read(entries: list[dict[str, Any]]) -> tuple[list[Fact], Fact | None]:
    """The facts that are to be true again, and what is to be true in the end."""
    facts: dict[int, Fact] = {}
    end: Fact | None = None
    kept = 0
    for entry in entries:
        if "fact" in entry:
            facts[kept] = decode(entry["fact"], KINDS)
            kept += 1
        elif "forget" in entry:
            del facts[entry["forget"]]
        elif "learn" in entry:
            facts[entry["learn"]].learn(**decode(entry["more"], KINDS))
        else:
            end = decode(entry["end"], KINDS)
    return list(facts.values()), end
