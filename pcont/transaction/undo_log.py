"""Undo records: how things were before each change of an operation, and how to restore them.

A record is kept before the change. Undo restores the records, the last one first, and checks each
time whether the change took place. The journal holds the same records, so that a crash is undone
like any other failure.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from errno import ESRCH
from typing import Any

from pcont import signals
from pcont.errors import PcontError, from_oserror
from pcont.kernel.interfaces import Backend
from pcont.tags import names_of
from pcont.transaction.journal import Journal, encode

Action = Callable[[], object]


class UndoRecord(ABC):
    """The state of one thing before a change, and how to restore it."""

    @property
    @abstractmethod
    def what(self) -> str:
        """The name of the thing, for the message "cannot put back …"."""

    @abstractmethod
    def restore(self, backend: Backend) -> Iterator[Action]:
        """Yield the actions that restore the recorded state; none if nothing has changed.

        The caller runs every action, also after one that raised OSError or PcontError.
        """

    def extend(self, **more: Any) -> None:
        """Add what was found out after the record was made. Raises TypeError for a record that
        takes no additions.
        """
        raise TypeError(f"{type(self).__name__} is known as a whole")


class UndoLog:
    """The undo records of one operation; also written to `journal`, if there is one."""

    def __init__(self, journal: Journal | None = None) -> None:
        self._journal = journal
        self._kept = 0
        self._facts: list[tuple[int, UndoRecord]] = []
        self._held = contextlib.ExitStack()

    def __bool__(self) -> bool:
        return bool(self._facts)

    def record(self, fact: UndoRecord) -> None:
        """Add a record. Call it before the change. Raises PcontError if the journal cannot be
        written.
        """
        self._note({"fact": encode(fact)} if self._journal else {})
        self._facts.append((self._kept, fact))
        self._kept += 1

    def drop(self, fact: UndoRecord) -> None:
        """Remove a record: the change did not happen, or was reverted."""
        for entry in [entry for entry in self._facts if entry[1] is fact]:
            self._note({"forget": entry[0]})
            self._facts.remove(entry)

    @contextlib.contextmanager
    def of(self, fact: UndoRecord) -> Iterator[None]:
        """Keep a record for the one change in the block; drop it again if the block raises
        OSError.
        """
        self.record(fact)
        try:
            yield
        except OSError:
            self.drop(fact)
            raise

    def extend(self, fact: UndoRecord, **more: Any) -> None:
        """Add values that were found out after a record was made (such as more tasks) to the record
        and to the journal.
        """
        number = next(number for number, one in self._facts if one is fact)
        self._note(
            {"learn": number, "more": encode(names_of(type(fact), more))} if self._journal else {}
        )
        fact.extend(**more)

    def hold(self, context: contextlib.AbstractContextManager[object]) -> None:
        """Enter a context, and exit it when the operation has been committed or undone."""
        self._held.enter_context(context)

    def set_final(self, end: UndoRecord) -> None:
        """Record the result of the final change, before it begins: after a crash, recovery
        completes that change instead of undoing the operation.
        """
        self._note({"end": encode(end)} if self._journal else {})

    def drop_final(self) -> None:
        """Withdraw `set_final`: recovery after a crash during undo continues the undo."""
        if self._facts:
            self._note({"end": None})

    def _note(self, entry: dict[str, Any]) -> None:
        if self._journal:
            self._journal.append(entry)

    def undo(self, backend: Backend) -> list[str]:
        """Restore every record, the last first; returns a line for each thing that could not be
        restored.
        """
        left: list[str] = []
        with signals.shielded():
            # A journal that cannot be written keeps nothing from being undone.
            with contextlib.suppress(OSError, PcontError):
                self.drop_final()
            while self._facts:
                _, fact = self._facts.pop()
                left += restore_record(backend, fact)
            with contextlib.suppress(OSError, PcontError):
                self.commit()
        return left

    def commit(self) -> None:
        """End the operation: close the journal, so that no crash after this undoes anything."""
        with self._held:
            if self._journal:
                self._journal.close()


def restore_record(backend: Backend, fact: UndoRecord) -> list[str]:
    """Run the actions of one record; returns a line for each one that failed.

    ESRCH is no failure: the task has exited.
    """
    left: list[str] = []
    try:
        for action in fact.restore(backend):
            try:
                action()
            except (OSError, PcontError) as err:
                # ESRCH: the task has ended.
                if not isinstance(err, OSError) or err.errno != ESRCH:
                    left.append(_error_line(fact, err))
    except (OSError, PcontError) as err:
        left.append(_error_line(fact, err))
    return left


def _error_line(fact: UndoRecord, err: OSError | PcontError) -> str:
    if isinstance(err, OSError):
        err = from_oserror(err, f"put back {fact.what}")
    return err.what
