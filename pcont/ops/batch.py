"""batch: many operations of one session, under one lock and with one look at the hierarchies.

The command line (`pcont batch`) and the library (`Pcont.batch`) use it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

from pcont import signals
from pcont.errors import UsageProblem
from pcont.kernel.retry import Retry
from pcont.session import Session

HOLD = 0.5  # seconds after which a batch lets other commands have the lock between two operations
SHARE = 10  # a batch works at least this many times as long as it lets others in
LET_IN = 0.06  # seconds: a command that waits for the lock tries at least this often

# What a batch does not do, and why.
STARTS = "it starts a command, and no other pcont command could change anything until that ended"
REFUSED = {
    "run": STARTS,
    "clone": STARTS,
    "batch": "a batch has no batch in it",
    "recover": "pcont rolls back killed commands before the first line of a batch",
}
# Operations that `atomic` refuses as a whole. Session.all_or_none finds the others.
NOT_ATOMIC = ("gc", "unpin")

# Operations that change no hierarchy: they use one registry for all.
OF_CONTAINERS = frozenset(
    ("create", "rm", "attach", "move", "get", "set", "tree", "ps", "where", "stat")
)


def check_verb(verb: str, atomic: bool, changes: bool = True) -> None:
    """Raise UsageProblem for an operation that a batch cannot have.

    `verb`: the words of the command, as in "sim fork". `changes`: the operation changes something.
    """
    if verb in REFUSED:
        raise UsageProblem(f"{verb} cannot be in a batch: {REFUSED[verb]}")
    irreversible = verb in NOT_ATOMIC or (verb.startswith("sim ") and changes)
    if atomic and irreversible:
        raise UsageProblem(
            f"{verb} cannot be in an atomic batch: pcont cannot undo it",
            hint="leave out --atomic, or do it after the batch",
        )


class Batch:
    """Operations of one session. Use it as a context manager, and `operation` for each of them.

    `atomic`: they are one operation. If the block raises, everything is undone, and no other pcont
    command changes anything between two of them. Otherwise each is done for itself, and other
    commands get the lock at least every HOLD seconds, between two operations. `locks`: some
    operation changes something.
    """

    def __init__(self, session: Session, *, atomic: bool = False, locks: bool = True) -> None:
        self.session, self.locks = session, locks
        self.atomic = atomic and locks
        self._stack = contextlib.ExitStack()
        self._since, self._hold = 0.0, HOLD

    def __enter__(self) -> Batch:
        if self.session.dry_run:
            self.session.plan_ahead()
        self._enter()
        return self

    def __exit__(self, *error: Any) -> bool | None:
        return self._stack.__exit__(*error)

    def _enter(self) -> None:
        self._since = time.monotonic()
        self.session.drop_registry()
        with contextlib.ExitStack() as stack:
            if self.locks:
                stack.enter_context(self.session.exclusive())
            if self.atomic:
                stack.enter_context(self.session.all_or_none())
            self._stack = stack.pop_all()

    @contextlib.contextmanager
    def operation(self, verb: str, *, slow: bool = False) -> Iterator[Session]:
        """In the block, do one operation with the session. Raises Interrupted for a signal.

        `verb`: the words of the command. `slow`: the operation only reads and waits, so that other
        commands may have the lock.
        """
        signals.check()
        held = self.locks and not (self.atomic or self.session.dry_run)
        with self._let_in() if slow and held else contextlib.nullcontext():
            if not slow and time.monotonic() - self._since > self._hold:
                self._renew(held)
            elif not slow and held:
                self.session.remove_released()
            with self.session.keeping_registry(verb in OF_CONTAINERS), self._undone_on_failure():
                yield self.session

    def _undone_on_failure(self) -> contextlib.AbstractContextManager[None]:
        """In the block, do one operation of several: if it raises, its own changes are undone."""
        if self.session.dry_run:
            return self.session.planning()
        return self.session.staged([]) if self.atomic else contextlib.nullcontext()

    def _renew(self, held: bool) -> None:
        """Release the lock for a moment, so that another command can take it. Then read the
        hierarchies again.
        """
        began = time.monotonic()
        if held:
            with self._let_in():
                Retry(pause=LET_IN).wait()
        self._since = time.monotonic()
        # To save and to load the state of a model takes time.
        self._hold = max(HOLD, SHARE * (self._since - began))
        self.session.drop_registry()

    @contextlib.contextmanager
    def _let_in(self) -> Iterator[None]:
        """In the block, other commands can have the lock."""
        self._stack.close()
        try:
            yield
        finally:
            self._enter()
