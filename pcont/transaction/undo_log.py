"""How things were before each act of an operation, and how to make them so again.

A fact is kept before the act that will make it untrue. Undoing makes the facts true again, the
last one first; whether the act took place is looked up then. The same facts stand in the journal,
so that what a crash has left half done is undone like any other failure.
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
    """How something was."""

    @property
    @abstractmethod
    def what(self) -> str:
        """What it is about, as in "cannot put back …"."""

    @abstractmethod
    def restore(self, backend: Backend) -> Iterator[Action]:
        """What makes it true again; nothing where it is true.

        Each action is taken even if one before it fails.
        """

    def extend(self, **more: Any) -> None:
        """What was found out later belongs to it, too."""
        raise TypeError(f"{type(self).__name__} is known as a whole")


class UndoLog:
    """The facts of one operation."""

    def __init__(self, journal: Journal | None = None) -> None:
        self._journal = journal
        self._kept = 0
        self._facts: list[tuple[int, UndoRecord]] = []
        self._held = contextlib.ExitStack()

    def __bool__(self) -> bool:
        return bool(self._facts)

    def record(self, fact: UndoRecord) -> None:
        """Remember a fact, before it is made untrue."""
        self._note({"fact": encode(fact)} if self._journal else {})
        self._facts.append((self._kept, fact))
        self._kept += 1

    def drop(self, fact: UndoRecord) -> None:
        """It is still true, or is to be true no more."""
        for entry in [entry for entry in self._facts if entry[1] is fact]:
            self._note({"forget": entry[0]})
            self._facts.remove(entry)

    @contextlib.contextmanager
    def of(self, fact: UndoRecord) -> Iterator[None]:
        """Remember a fact for the one act in the block, which may be refused."""
        self.record(fact)
        try:
            yield
        except OSError:
            self.drop(fact)
            raise

    def extend(self, fact: UndoRecord, **more: Any) -> None:
        """Remember more of a fact that is kept."""
        number = next(number for number, one in self._facts if one is fact)
        self._note(
            {"learn": number, "more": encode(names_of(type(fact), more))} if self._journal else {}
        )
        fact.extend(**more)

    def hold(self, context: contextlib.AbstractContextManager[object]) -> None:
        """Stay in a context until everything is settled, be it done or undone."""
        self._held.enter_context(context)

    def set_final(self, end: UndoRecord) -> None:
        """Remember what the last act makes true, which is final: after a crash it is done again."""
        self._note({"end": encode(end)} if self._journal else {})

    def drop_final(self) -> None:
        """The last act is not to be done again: what is undone is undone to the end."""
        if self._facts:
            self._note({"end": None})

    def _note(self, entry: dict[str, Any]) -> None:
        if self._journal:
            self._journal.append(entry)

    def undo(self, backend: Backend) -> list[str]:
        """Make every fact true again, the last first; returns what could not be put back."""
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
        """All is as it should be: nothing has to be remembered for a crash."""
        with self._held:
            if self._journal:
                self._journal.close()


def restore_record(backend: Backend, fact: UndoRecord) -> list[str]:
    """Make a fact true again; returns what could not be put back."""
    left: list[str] = []
    try:
        for action in fact.restore(backend):
            try:
                action()
            except (OSError, PcontError) as err:
                # ESRCH: the task has ended.
                if not isinstance(err, OSError) or err.errno != ESRCH:
                    left.append(_told(fact, err))
    except (OSError, PcontError) as err:
        left.append(_told(fact, err))
    return left


def _told(fact: UndoRecord, err: OSError | PcontError) -> str:
    if isinstance(err, OSError):
        err = from_oserror(err, f"put back {fact.what}")
    return err.what
