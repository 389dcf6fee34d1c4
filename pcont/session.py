"""The session: the backend and the options with which operations run, the lock, and the undo of
failures.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, wraps
from typing import TYPE_CHECKING

from pcont import signals
from pcont.errors import BadWord, PcontError, UnknownName, UsageProblem
from pcont.hierarchy.registry import Registry
from pcont.kernel.open import open_backend
from pcont.kernel.types import Waiting
from pcont.records import Progress
from pcont.transaction.journal_files import journals_in

if TYPE_CHECKING:
    from typing import Concatenate, ParamSpec, TypeVar

    from pcont.kernel.interfaces import Backend
    from pcont.transaction.step import Done, Step
    from pcont.transaction.undo_log import UndoLog

    P = ParamSpec("P")
    _T = TypeVar("_T")
    Operation = Callable[Concatenate["Session", P], _T]


# The steps that a command rehearses before it waits for another one: steps of one command have the
# same keys, and it reads the arguments of all in any case.
MOST_CHECKED = 100


def checks_first(operation: Operation[P, _T]) -> Operation[P, _T]:
    """Decorate an operation so that it reports errors in its arguments before it waits for the
    lock.

    If another command holds the lock, a dry run of the operation first finds malformed words,
    unknown names and tasks that do not exist. Everything else may change before this command has
    the lock, and is checked under the lock.
    """

    @wraps(operation)
    def checking(session: Session, /, *arguments: P.args, **options: P.kwargs) -> _T:
        if session.dry_run:
            return operation(session, *arguments, **options)
        # The arguments are used twice, so iterators become lists.
        every = tuple(list(one) if isinstance(one, Iterator) else one for one in arguments)
        named = {
            key: list(one) if isinstance(one, Iterator) else one for key, one in options.items()
        }

        def check() -> object:
            return operation(session.silent_rehearsal(), *every, **named)  # type: ignore[arg-type]

        with session.checking_first(check):
            return operation(session, *every, **named)  # type: ignore[arg-type]

    return checking


class Session:
    """The options and the state of one command on one backend.

    `dry_run`: change nothing, and collect in `planned` what would be done. `force`: also change
    what pcont protects. `chosen`: the caller named the backend cgroupfs, so pcont does not check
    whether it suits. `timeout`: seconds to wait for the lock (None: no limit). `command`: the
    command line, for the journal and the lock file. `warn` and `progress` are called with warnings
    and with the number of finished steps and their total.
    """

    def __init__(
        self,
        backend: Backend | None = None,
        dry_run: bool = False,
        force: bool = False,
        chosen: bool = False,
        timeout: float | None = None,
        command: str = "",
        warn: Callable[[str], None] = lambda text: None,
        progress: Progress = lambda done, of: None,
    ) -> None:
        self.backend = backend or open_backend()
        self.dry_run, self.force, self.chosen = dry_run, force, chosen
        self.timeout, self.command = timeout, command
        self.warn, self.progress = warn, progress
        self.planned: list[str] = []
        self._undo_log: UndoLog | None = None
        self._earlier: Done | None = None
        self._all_or_none = False
        self._depth = 0
        self._keeps_registry = False
        self._kept: Registry | None = None
        self._planned_before: Backend | None = None
        self._check: Callable[[], object] | None = None
        self._noted: set[str] = set()
        self._most_rehearsed: int | None = None  # steps; None: all

    def registry(self) -> Registry:
        """Return a registry of the hierarchies that exist now.

        Before that, remove containers with auto_delete that became empty, unless a release agent
        process does this.
        """
        if not self._depth and self._has_reports():
            with self.exclusive() as registry:
                return registry
        if not self._keeps_registry:
            return Registry(self.backend)
        if self._kept is None:
            self._kept = Registry(self.backend)
        return self._kept

    @contextlib.contextmanager
    def keeping_registry(self, keeps: bool) -> Iterator[None]:
        """In the block, use one registry for all operations, also that of an earlier block.

        With `keeps` false, each operation of the block reads the hierarchies anew, as it does
        without such a block, and the registry of earlier blocks is dropped.
        """
        if not keeps:
            self._kept = None
        before, self._keeps_registry = self._keeps_registry, keeps
        try:
            yield
        finally:
            self._keeps_registry = before

    def drop_registry(self) -> None:
        """Read the hierarchies anew for the next operation."""
        self._kept = None

    def _has_reports(self) -> bool:
        releases = self.backend.releases
        return not (self.dry_run or releases.attended) and bool(releases.reported())

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[Registry]:
        """Lock out other pcont commands for the block, and yield the registry of hierarchies.

        Changes of killed commands are rolled back or completed first. Signals are deferred: they
        end the wait for the lock, and are handled between steps. Raises Busy if the lock is not
        free within `timeout` seconds.
        """
        with contextlib.ExitStack() as stack:
            if self.dry_run:
                self._plan_recovery()
            else:
                stack.enter_context(signals.held())
                stack.enter_context(self.backend.exclusive(self.waiting()))
                self._check = None  # for the first wait only
                if not self._depth:
                    self._recover()
            outermost = not self._depth
            self._depth += 1
            try:
                if outermost:
                    self.remove_released()
                yield self.registry()
            finally:
                self._depth -= 1

    def remove_released(self) -> None:
        """Remove containers with auto_delete that became empty, unless a release agent process does
        this. Call it in a block of `exclusive`.
        """
        if self._has_reports():
            from pcont.steps.reap import attend

            for tree in self.backend.releases.reported():
                attend(self, tree)

    def waiting(self) -> Waiting:
        """Return how this session waits for the lock, for the backend."""
        return Waiting(self.timeout, self.command, self._note, self._check_first)

    @contextlib.contextmanager
    def checking_first(self, check: Callable[[], object]) -> Iterator[None]:
        """In the block, call `check` once before the session waits for another command."""
        self._check = check
        try:
            yield
        finally:
            self._check = None

    def _check_first(self) -> None:
        """Raise the errors of the arguments, which waiting cannot change. The rest is checked under
        the lock.
        """
        check, self._check = self._check, None
        # Recovery or a release agent may be about to change what the check would look at.
        if check is None or self._has_reports() or self.pending_lines():
            return
        try:
            check()
        except (UsageProblem, UnknownName, BadWord):
            raise
        except (PcontError, OSError):
            pass

    def silent_rehearsal(self) -> Session:
        """Return a dry-run session on the same backend that prints nothing."""
        found = Session(self.backend, dry_run=True, force=self.force, chosen=self.chosen)
        found._most_rehearsed = MOST_CHECKED
        return found

    def _note(self, text: str) -> None:
        """Print a warning, but each text only once."""
        if text not in self._noted:
            self._noted.add(text)
            self.warn(text)

    def _plan_recovery(self) -> None:
        """In a dry run, list the recovery that the real command would do first."""
        if not self.planned:
            self.planned += self.pending_lines()

    def _has_journals(self) -> bool:
        """Return whether recovery may have something to do; it imports every step."""
        return bool(journals_in(self.backend.workplace().existing))

    def pending_lines(self) -> list[str]:
        """Return one line for each command that was killed part-way, as a dry run of recovery
        prints it.
        """
        if not self._has_journals():
            return []
        from pcont.steps.recover import pending_lines

        return pending_lines(self.backend)

    def _recover(self) -> None:
        if not self._has_journals():
            return
        from pcont.steps.recover import roll_back

        for one in roll_back(self.backend):
            self.warn(one.sentence)
            for line in one.left:
                self.warn(line)

    @contextlib.contextmanager
    def staged(self, steps: Sequence[Step]) -> Iterator[None]:
        """Carry out the steps, then run the block, as one operation. If either fails, undo the
        steps.

        Within another such block, they are a part of the operation of that block.
        """
        done = self.begin(steps)
        outer = self._undo_log, self._earlier
        if outer == (None, None):
            self._undo_log, self._earlier = done.undo_log, done
        try:
            yield
            if outer == (None, None):
                done.undo_log.commit()
        except BaseException as err:
            self.take_back(done, err)
            raise
        finally:
            self._undo_log, self._earlier = outer

    @contextlib.contextmanager
    def all_or_none(self) -> Iterator[None]:
        """Make one operation of all operations in the block: if the block raises, all are undone.

        Call it in a block of `exclusive`. An operation that fails is undone at once. One that pcont
        could not undo later raises UsageProblem.
        """
        before, self._all_or_none = self._all_or_none, True
        try:
            with self.staged([]):
                yield
        finally:
            self._all_or_none = before

    def plan_ahead(self) -> None:
        """In a dry run, let each operation plan on what the operations before it would leave."""
        self.backend = self._rehearsal

    @contextlib.contextmanager
    def planning(self) -> Iterator[None]:
        """In the block, plan one operation after `plan_ahead`: if it raises, later ones plan as if
        it had not been there.
        """
        from pcont.transaction import rehearsal

        with rehearsal.undone_on_failure(self.backend) as self._planned_before:
            yield

    @property
    def before(self) -> Backend:
        """In a dry run, the state before the operation. `backend` may have the state after it."""
        return self._planned_before or self.backend

    def take_back(self, done: Done, err: BaseException) -> None:
        """Undo steps that were carried out, because of a later error, which then lists what could
        not be undone.
        """
        if done.steps or done.undo_log:
            with signals.held(), signals.shielded(), self.backend.exclusive():
                done.undo_for(err)

    def carry_out(self, steps: Sequence[Step]) -> Done:
        """Carry out all steps, and end the operation. If one fails, undo those before it and raise
        its error.

        In a dry run, add the shell commands of the steps to `planned` and change nothing.
        """
        done = self.begin(steps)
        if self._undo_log is None:
            try:
                done.undo_log.commit()
            except (OSError, PcontError) as err:
                done.undo_for(err)
                raise
        return done

    def attempt(self, step: Step) -> list[str]:
        """Carry out a step that may fail. Returns its shell commands; if it fails, prints a warning
        and returns none.
        """
        lines = step.dry_run_lines(self.backend)
        try:
            self.carry_out([step])
        except PcontError as err:
            self.warn(str(err))
            return []
        return lines

    def _new_undo_log(self) -> UndoLog:
        from pcont.transaction.journal import Journal
        from pcont.transaction.undo_log import UndoLog

        directory = self.backend.journals()
        return UndoLog(Journal(directory, self.command) if directory else None)

    def _rehearse(self, step: Step) -> None:
        """Raise the error that a step would raise after the steps before it."""
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
        """Carry out all steps as `carry_out` does, but leave the operation open: until the caller
        commits its undo log, `Done.undo` or the recovery after a crash undoes it.
        """
        from pcont.transaction.step import Done, carry_out

        if self._all_or_none:
            self._make_reversible(steps)
        if self.dry_run:
            self._plan_recovery()
            for step in steps[: self._most_rehearsed]:
                if self._most_rehearsed is None or step.has_words:
                    self.planned += step.dry_run_lines(self.backend)
                    self._rehearse(step)
            return Done(self.backend)
        # Within `staged`, later steps belong to the same operation and use the same journal.
        undo_log = self._new_undo_log() if self._undo_log is None else self._undo_log
        done = carry_out(self.backend, steps, self.progress, undo_log)
        if self._earlier is not None:
            self._earlier.steps += done.steps
        for note in dict.fromkeys(note for step in steps for note in step.notes()):
            self.warn(note)
        return done

    @staticmethod
    def _make_reversible(steps: Sequence[Step]) -> None:
        """Let each step record how to undo it, because more operations follow. Raises UsageProblem
        for a step that cannot be undone.
        """
        for step in steps:
            step.expect_more()
            if not step.is_reversible:
                raise UsageProblem(
                    f"cannot {step.action} in an atomic batch: pcont cannot undo it",
                    hint="leave out --atomic, or do it after the batch",
                )
