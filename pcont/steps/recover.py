"""Roll back what a killed command left half done, or complete it if its final change had begun."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pcont.bases import FORMATS, attributes_of
from pcont.errors import PcontError
from pcont.kernel.types import Mount, Owner, Place, Tree, TreeRequest
from pcont.records import Recovered
from pcont.steps.attach_undo import AttachUndo
from pcont.steps.created import RemoveAllCreated, RemoveCreated
from pcont.steps.disable import EnableDisabled
from pcont.steps.enable import DisableEnabled
from pcont.steps.enforcement import RestartStopped, StopStarted
from pcont.steps.mirror import JoinUndo, LeaveUndo, Pair
from pcont.steps.mounts import (
    RemakeDirectory,
    RemountUnmounted,
    RemoveMadeDirectory,
    UnmountMounted,
)
from pcont.steps.move_all import Move, MoveAllUndo
from pcont.steps.namespaces import UnpinPinned
from pcont.steps.origins import Origin, Processes
from pcont.steps.owners import RestoreOwners
from pcont.steps.removal import RecreateAllRemoved, RecreateRemoved
from pcont.steps.snapshot import ContainerState
from pcont.steps.write import RestoreAffinities, RestoreValue, Setting, WriteAgain
from pcont.steps.xattr import RestoreXattr
from pcont.transaction.journal import (
    OTHER_SHAPE,
    AbandonedJournal,
    abandoned,
    checked,
    decode,
)
from pcont.transaction.undo_log import UndoRecord, restore_record

if TYPE_CHECKING:
    from pcont.kernel.interfaces import Backend, Host

FACTS = (
    *(
        RemoveCreated,
        RemoveAllCreated,
        RecreateRemoved,
        RecreateAllRemoved,
        DisableEnabled,
        EnableDisabled,
        RestoreXattr,
        RestoreOwners,
        RestoreValue,
        WriteAgain,
        RestoreAffinities,
        AttachUndo,
        MoveAllUndo,
        LeaveUndo,
        JoinUndo,
    ),
    *(
        RemakeDirectory,
        RemoveMadeDirectory,
        RemountUnmounted,
        UnmountMounted,
        StopStarted,
        RestartStopped,
        UnpinPinned,
    ),
)
PARTS = (
    *(Place, Mount, Owner, Tree, TreeRequest),
    *(Origin, Processes, Pair, Move, Setting, ContainerState),
)
UNUSABLE = (*OTHER_SHAPE, PcontError)
RECORD_CLASSES: dict[str, type] = {FORMATS[kind].tag: kind for kind in (*FACTS, *PARTS)}


def pending_lines(backend: Host) -> list[str]:
    """Return one line for each command that was killed part-way, as a dry run of recovery prints
    it.
    """
    return [line for journal in _abandoned(backend) for line in _pending(journal)]


def _pending(journal: AbandonedJournal) -> list[str]:
    if journal.earlier:
        return []
    try:
        records, end = _read(journal)
    except UNUSABLE as err:
        return [f"# set aside the damaged journal {journal.name}: {_reason(journal, err)}"]
    how = "finish" if end else "undo"
    return [f"# {how}: {journal.command}"] if records or end else []


def roll_back(backend: Backend) -> Iterator[Recovered]:
    """Roll back or complete killed commands, the latest first. Yields the result for each command.

    A journal that cannot be used is renamed, and recovery continues with the next one.
    """
    for journal in _abandoned(backend):
        if found := _recovered(backend, journal):
            yield found


def _abandoned(backend: Host) -> Iterator[AbandonedJournal]:
    return abandoned(backend.workplace().existing)


def _recovered(backend: Backend, journal: AbandonedJournal) -> Recovered | None:
    if journal.earlier and not journal.damage:
        # No container, mount or task outlives the restart of the machine.
        journal.close()
        return Recovered(journal.command, "outdated")
    try:
        records, end = _read(journal)
        found = _recover(backend, journal.command, records, end)
    except UNUSABLE as err:
        return _set_aside(journal, _reason(journal, err))
    journal.close()
    return found


def _reason(journal: AbandonedJournal, err: Exception) -> str:
    return journal.damage or f"{type(err).__name__}: {err}"


def _set_aside(journal: AbandonedJournal, why: str) -> Recovered:
    try:
        return Recovered(journal.command, "set aside", (f"{journal.set_aside()}: {why}",))
    except PcontError as err:
        return Recovered(journal.command, "unreadable", (f"{err.what}: {why}",))


def _recover(
    backend: Backend, command: str, records: Sequence[UndoRecord], end: UndoRecord | None
) -> Recovered | None:
    if end and not restore_record(backend, end):
        return Recovered(command, "finished")
    left = [line for record in reversed(records) for line in restore_record(backend, record)]
    return Recovered(command, "undone", tuple(left)) if records else None


def _read(journal: AbandonedJournal) -> tuple[list[UndoRecord], UndoRecord | None]:
    """Return the undo records of a journal, and the record of its final change (None if that had
    not begun).

    Raises one of UNUSABLE for entries of another shape.
    """
    if journal.damage:
        raise ValueError(journal.damage)
    records: dict[int, UndoRecord] = {}
    end: UndoRecord | None = None
    number = 0
    for entry in journal.entries:
        if "fact" in entry:
            records[number] = _decoded(entry["fact"])
            number += 1
        elif "forget" in entry:
            del records[entry["forget"]]
        elif "learn" in entry:
            record = records[entry["learn"]]
            record.extend(**attributes_of(type(record), decode(entry["more"], RECORD_CLASSES)))
            checked(record)
        else:
            end = None if entry["end"] is None else _decoded(entry["end"])
    return list(records.values()), end


def _decoded(value: object) -> UndoRecord:
    found = decode(value, RECORD_CLASSES)
    if not isinstance(found, UndoRecord):
        raise TypeError(f"{type(found).__name__} is not an undo record")
    return found
