"""What every operation is given: the backend, and how the caller wants it to be done."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, wraps
from typing import Concatenate, ParamSpec, TypeVar

from pcont import signals
from pcont.errors import BadWord, PcontError, UnknownName, UsageProblem
from pcont.hierarchy.registry import Registry
from pcont.kernel.interfaces import Backend
from pcont.kernel.open import open_backend
from pcont.kernel.types import Waiting
from pcont.steps.reap import attend
from pcont.steps.recover import pending_lines, roll_back
from pcont.transaction.journal import Journal
from pcont.transaction.step import Done, Progress, Step, carry_out
from pcont.transaction.undo_log import UndoLog

P = ParamSpec("P")
T = TypeVar("T")
Operation = Callable[Concatenate["Session", P], T]


def looks_first(operation: Operation[P, T]) -> Operation[P, T]:
    """Decorate an operation of one turn: its words are checked before it waits for the lock.

    If another command holds the lock, a dry run of the operation first finds errors in its words:
    malformed words, unknown names and tasks that do not exist. Everything else may change before
    this command has the lock, and is checked then.
    """

    @wraps(operation)
    def looking(session: Session, /, *arguments: P.args, **options: P.kwargs) -> T:
        if session.dry_run:
            return operation(session, *arguments, **options)
        # They are read twice.
        every = tuple(list(one) if isinstance(one, Iterator) else one for one in arguments)
        named = {
            key: list(one) if isinstance(one, Iterator) else one for key, one in options.items()
        }

        def look() -> object:
            return operation(session.silent_rehearsal(), *every, **named)  # type: ignore[arg-type]

        with session.looking_first(look):
            return operation(session, *every, **named)  # type: ignore[arg-type]

    return looking


@dataclass
class Session:
    """One caller's work on one backend.

    `dry_run`: nothing is changed, `planned` has what would be done. `force`: what is protected is
    touched all the same. `chosen`: the backend was named by the caller, who is taken at his word.
    `timeout`: how many seconds the turn is waited for. `command`: what the journal calls this.
    """

    backend: Backend = field(default_factory=open_backend)
    dry_run: bool = False
    force: bool = False
    chosen: bool = False
    timeout: float | None = None
    command: str = ""
    warn: Callable[[str], None] = lambda text: None
    progress: Progress = lambda done, of: None
    planned: list[str] = field(default_factory=list)
    _memory: UndoLog | None = None
    _turns: int = 0
    _look: Callable[[], object] | None = None
    _noted: set[str] = field(default_factory=set)

    def registry(self) -> Registry:
        """What is there now; what is to go has gone, where no other process sees to it."""
        if not self._turns and self._has_reports():
            with self.turn() as registry:
                return registry
        return Registry(self.backend)

    def _has_reports(self) -> bool:
        releases = self.backend.releases
        return not (self.dry_run or releases.attended) and bool(releases.reported())

    @contextlib.contextmanager
    def turn(self) -> Iterator[Registry]:
        """Hold off other pcont commands, and see what is there in the meantime.

        Signals are held for as long: they end the wait, and are heeded between steps. What a
        command that died has left half done is undone first. Raises Busy at the timeout.
        """
        with contextlib.ExitStack() as stack:
            if self.dry_run:
                self._plan_recovery()
            else:
                stack.enter_context(signals.held())
                stack.enter_context(self.backend.turn(self.waiting()))
                self._look = None  # it is for the first wait only
                self._recover()
            outermost = not self._turns
            self._turns += 1
            try:
                if outermost and self._has_reports():
                    for tree in self.backend.releases.reported():
                        attend(self, tree)
                yield self.registry()
            finally:
                self._turns -= 1

    def waiting(self) -> Waiting:
        """How this caller waits for the lock."""
        return Waiting(self.timeout, self.command, self._note, self._first_look)

    @contextlib.contextmanager
    def looking_first(self, look: Callable[[], object]) -> Iterator[None]:
        """In the block, `look` is called before another command is waited for, once."""
        self._look = look
        try:
            yield
        finally:
            self._look = None

    def _first_look(self) -> None:
        """Raise the errors that waiting cannot change; the rest is checked again under the lock."""
        look, self._look = self._look, None
        # What recovery or a release agent is about to change is not judged.
        if look is None or self._has_reports() or pending_lines(self.backend):
            return
        try:
            look()
        except (UsageProblem, UnknownName, BadWord):
            raise
        except (PcontError, OSError):
            pass

    def silent_rehearsal(self) -> Session:
        """A session for a dry run of the same on the same backend, which says nothing."""
        return Session(self.backend, dry_run=True, force=self.force, chosen=self.chosen)

    def _note(self, text: str) -> None:
        """Warn of something once, however often it is found."""
        if text not in self._noted:
            self._noted.add(text)
            self.warn(text)

    def _plan_recovery(self) -> None:
        """In a dry run, say first what the real run would do first."""
        if not self.planned:
            self.planned += pending_lines(self.backend)

    def _recover(self) -> None:
        for one in roll_back(self.backend):
            self.warn(one.sentence)
            for line in one.left:
                self.warn(line)

    @contextlib.contextmanager
    def staged(self, steps: Sequence[Step]) -> Iterator[None]:
        """Do the steps, then what is in the block; they are undone if that fails."""
        done = self.begin(steps)
        self._memory = done.memory
        try:
            yield
            done.memory.commit()
        except BaseException as err:
            self.take_back(done, err)
            raise
        finally:
            self._memory = None

    def take_back(self, done: Done, err: BaseException) -> None:
        """Undo what was carried out, because of an error that came afterwards."""
        if done.steps or done.memory:
            with signals.held(), signals.shielded(), self.backend.turn():
                done.undo_for(err)

    def carry_out(self, steps: Sequence[Step]) -> Done:
        """Do the steps, all or none; in a dry run, tell them."""
        done = self.begin(steps)
        if self._memory is None:
            try:
                done.memory.commit()
            except (OSError, PcontError) as err:
                done.undo_for(err)
                raise
        return done

    def attempt(self, step: Step) -> list[str]:
        """Do a step that may be refused; returns its lines. A refusal is a note, and no line."""
        lines = step.dry_run_lines(self.backend)
        try:
            self.carry_out([step])
        except PcontError as err:
            self.warn(str(err))
            return []
        return lines

    def _new_memory(self) -> UndoLog:
        directory = self.backend.journals()
        return UndoLog(Journal(directory, self.command) if directory else None)

    def _rehearse(self, step: Step) -> None:
        """Refuse a step that would be refused, as things would be after the steps before it."""
        from pcont.transaction import rehearsal

        try:
            step.rehearse(self._rehearsal)
        except OSError as err:
            raise step.refusal(self._rehearsal, err) from err
        self.planned += rehearsal.notes_of(self._rehearsal)

    @cached_property
    def _rehearsal(self) -> Backend:
        from pcont.transaction import rehearsal

        return rehearsal.rehearsing(self.backend)

    def begin(self, steps: Sequence[Step]) -> Done:
        """The same, but a crash still undoes it all, until the memory is settled."""
        if self.dry_run:
            self._plan_recovery()
            for step in steps:
                self.planned += step.dry_run_lines(self.backend)
                self._rehearse(step)
            return Done(self.backend)
        # What is staged is one operation with what comes after it, and has one journal with it.
        memory = self._new_memory() if self._memory is None else self._memory
        done = carry_out(self.backend, steps, self.progress, memory)
        for note in dict.fromkeys(note for step in steps for note in step.notes()):
            self.warn(note)
        return done
