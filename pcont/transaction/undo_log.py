"""Undo records: how things were before each change of an operation, and how to restore them.

A record is kept before the change. Undo restores the records, the last one first, and checks each
time whether the change took place. The journal holds the same records, so that a crash is undone
like any other failure.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from errno import ESRCH
from typing import TYPE_CHECKING, Any

from pcont import signals
from pcont.bases import fields_of, names_of
from pcont.errors import PcontError, from_oserror
from pcont.transaction.journal import Journal, encode

if TYPE_CHECKING:
    from pcont.kernel.interfaces import Backend

Action = Callable[[], object]


class UndoRecord(ABC):
    """The state of one thing before a change, and how to restore it.

    Two records are equal if they have one class, and equal values in the fields that are written to
    disk.
    """

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and fields_of(self) == fields_of(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({fields_of(self)})"

    @property
    @abstractmethod
    def label(self) -> str:
        """The name of the thing, for the message "cannot put back …"."""

    @abstractmethod
    def restore(self, backend: Backend) -> Iterator[Action]:
        """Yield the actions that restore the recorded state; none if nothing has changed.

        The caller runs every action, also after one that raised OSError or PcontError.
        """

    def parts(self) -> Iterable[UndoRecord]:
        """Return the records that make up this one, in the order of restoring: usually itself.

        One that cannot be restored keeps no other from being restored.
        """
        return (self,)

    def extend(self, **more: Any) -> None:
        """Add what was found out after the record was made. Raises TypeError for a record that
        takes no additions.
        """
        raise TypeError(f"{type(self).__name__} is known as a whole")


class UndoRun(UndoRecord):
    """Undo record of several changes of one kind, which are made in order.

    `number`: how many changes there are. A subclass returns the record of each. `done`: only the
    first `done` of the changes may have been made; None: any of them may. A step sets it before
    each change, but only in memory. In the journal it is None, because a command that is killed may
    have made any of the changes. Raises ValueError for a number that is not possible.
    """

    done: int | None

    def __init__(self, number: int, done: int | None) -> None:
        self._number = number
        self.extend(done=done)

    @abstractmethod
    def record_of(self, number: int) -> UndoRecord:
        """Return the undo record of the change with this number, from 0."""

    def extend(self, **more: int | None) -> None:
        done = more["done"]
        if done is not None and not 0 <= done <= self._number:
            raise ValueError(f"{done} of {self._number}")
        self.done = done

    def parts(self) -> Iterable[UndoRecord]:
        done = self._number if self.done is None else self.done
        return [self.record_of(number) for number in reversed(range(done))]

    def restore(self, backend: Backend) -> Iterator[Action]:
        for part in self.parts():
            yield from part.restore(backend)

    def refused(self, number: int, undo_log: UndoLog) -> None:
        """Note that the change with this number, from 0, was refused: it was not made, and the
        changes after it will not be.
        """
        if number:
            undo_log.extend(self, done=number)
        else:
            undo_log.drop(self)


class UndoLog:
    """The undo records of one operation; also written to `journal`, if there is one."""

    def __init__(self, journal: Journal | None = None) -> None:
        self._journal = journal
        self._count = 0
        self._records: list[tuple[int, UndoRecord]] = []
        self._contexts = contextlib.ExitStack()

    def __bool__(self) -> bool:
        return bool(self._records)

    def record(self, record: UndoRecord) -> None:
        """Add a record. Call it before the change. Raises PcontError if the journal cannot be
        written.
        """
        self._note({"fact": encode(record)} if self._journal else {})
        self._records.append((self._count, record))
        self._count += 1

    def drop(self, record: UndoRecord) -> None:
        """Remove a record: the change did not happen, or was reverted."""
        entry = next((one for one in reversed(self._records) if one[1] is record), None)
        if entry:
            self._note({"forget": entry[0]})
            self._records.remove(entry)

    @contextlib.contextmanager
    def of(self, record: UndoRecord) -> Iterator[None]:
        """Keep a record for the one change in the block; drop it again if the block raises
        OSError.
        """
        self.record(record)
        try:
            yield
        except OSError:
            self.drop(record)
            raise

    def extend(self, record: UndoRecord, **more: Any) -> None:
        """Add values that were found out after a record was made (such as more tasks) to the record
        and to the journal.
        """
        number = next(number for number, one in reversed(self._records) if one is record)
        self._note(
            {"learn": number, "more": encode(names_of(type(record), more))} if self._journal else {}
        )
        record.extend(**more)

    def hold(self, context: contextlib.AbstractContextManager[object]) -> None:
        """Enter a context, and exit it when the operation has been committed or undone."""
        self._contexts.enter_context(context)

    def set_final(self, end: UndoRecord) -> None:
        """Record the result of the final change, before it begins: after a crash, recovery
        completes that change instead of undoing the operation.
        """
        self._note({"end": encode(end)} if self._journal else {})

    def drop_final(self) -> None:
        """Withdraw `set_final`: recovery after a crash during undo continues the undo."""
        if self._records:
            self._note({"end": None})

    def _note(self, entry: dict[str, Any]) -> None:
        if self._journal:
            self._journal.append(entry)

    @property
    def size(self) -> int:
        """The number of records."""
        return len(self._records)

    def undo(self, backend: Backend, since: int = 0) -> list[str]:
        """Restore every record, the last first; returns a line for each thing that could not be
        restored.

        `since`: leave so many of the first records, which belong to earlier parts of the operation.
        """
        left: list[str] = []
        with signals.shielded():
            # A journal that cannot be written keeps nothing from being undone.
            with contextlib.suppress(OSError, PcontError):
                self.drop_final()
            while len(self._records) > since:
                number, record = self._records.pop()
                left += restore_record(backend, record)
                if since:
                    with contextlib.suppress(OSError, PcontError):
                        self._note({"forget": number})
            if not since:
                with contextlib.suppress(OSError, PcontError):
                    self.commit()
        return left

    def commit(self) -> None:
        """End the operation: close the journal, so that no crash after this undoes anything."""
        with self._contexts:
            if self._journal:
                self._journal.close()


def restore_record(backend: Backend, record: UndoRecord) -> list[str]:
    """Run the actions of one record; returns a line for each one that failed.

    ESRCH is no failure: the task has exited.
    """
    return [line for part in record.parts() for line in _restore_part(backend, part)]


def _restore_part(backend: Backend, record: UndoRecord) -> list[str]:
    left: list[str] = []
    try:
        for action in record.restore(backend):
            try:
                action()
            except (OSError, PcontError) as err:
                # ESRCH: the task has ended.
                if not isinstance(err, OSError) or err.errno != ESRCH:
                    left.append(_error_line(record, err))
    except (OSError, PcontError) as err:
        left.append(_error_line(record, err))
    return left


def _error_line(record: UndoRecord, err: OSError | PcontError) -> str:
    if isinstance(err, OSError):
        err = from_oserror(err, f"put back {record.label}")
    return err.what
