"""Steps, the parts of an operation: they are shown (dry run), carried out, and undone, all
or none.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, ClassVar

from pcont import signals
from pcont.errors import PcontError, from_oserror
from pcont.records import Progress
from pcont.transaction.undo_log import UndoLog

if TYPE_CHECKING:
    from pcont.kernel.interfaces import Backend


class Step(ABC):
    """One change of an operation. `action` names the operation in messages, as in "create
    cpu:/a".
    """

    action: str
    longest_run: ClassVar[int] = 1

    @abstractmethod
    def dry_run_lines(self, backend: Backend) -> list[str]:
        """Return the shell commands that would do the same, for --dry-run. Changes nothing."""

    @abstractmethod
    def do(self, backend: Backend, undo_log: UndoLog) -> None:
        """Carry out the step. Raises OSError for a refusal of the backend, or PcontError.

        Before each change, it records in `undo_log` how to undo that change.
        """

    @classmethod  # noqa: B027
    def record_run(cls, backend: Backend, undo_log: UndoLog, run: Sequence[Step]) -> None:
        """Record the undo of several steps in one entry of the journal, before the first of them.

        Override it together with `longest_run`: `run` has up to so many steps that follow each
        other. Raises PcontError.
        """

    def rehearse(self, backend: Backend) -> None:  # noqa: B027
        """Carry out the step on `backend`, a copy of the state that only a dry run uses, to find
        what would be refused.

        Raises OSError or PcontError as `do` would. A step whose refusal cannot be predicted does
        nothing.
        """

    @property
    def has_words(self) -> bool:
        """Whether `rehearse` can refuse a word that the user typed, such as a value of a file.

        A command looks for such mistakes before it waits for another command.
        """
        return True

    def refusal(self, backend: Backend, err: OSError) -> PcontError:
        """Return the error to report for an OSError of `do`, with reason and hint. Called before
        any undo.
        """
        return from_oserror(err, self.action)

    @property
    def final(self) -> bool:
        """Whether the step cannot be undone. A signal that arrives during it does not undo the
        operation.
        """
        return False

    @property
    def is_reversible(self) -> bool:
        """Whether undo can revert the step after later operations, too."""
        return not self.final

    def expect_more(self) -> None:  # noqa: B027
        """Prepare the step for operations that follow it in one transaction: record how to undo it,
        also where it would otherwise be the last change, which is never undone.
        """

    def irreversible(self) -> list[str]:
        """Return lines on what the step has done that undo cannot revert, for the message of a
        failure.
        """
        return []

    def notes(self) -> list[str]:
        """Return warnings that the user gets although the step succeeded."""
        return []


class Done:
    """Steps that have been carried out, and can still be undone.

    What the undo log had before them stays: it belongs to earlier parts of the operation.
    """

    def __init__(self, backend: Backend, undo_log: UndoLog | None = None) -> None:
        self.backend = backend
        self.undo_log = UndoLog() if undo_log is None else undo_log
        self.steps: list[Step] = []
        self._since = self.undo_log.size

    def undo(self) -> list[str]:
        """Undo the steps, the last change first; returns a line for each change that could not be
        undone.
        """
        return self.undo_log.undo(self.backend, self._since)

    def undo_for(self, err: BaseException) -> None:
        """Undo the steps because of an error, and note in the error what was undone and what was
        not.
        """
        touched = self.undo_log.size > self._since
        left = [line for step in self.steps for line in step.irreversible()] + self.undo()
        if isinstance(err, (PcontError, signals.Interrupted)):
            err.undone = err.undone or touched
            err.left += left
        elif left:
            err.__dict__["left"] = left


def carry_out(
    backend: Backend,
    steps: Sequence[Step],
    progress: Progress = lambda done, of: None,
    undo_log: UndoLog | None = None,
) -> Done:
    """Do every step in order, or none: if a step fails or a signal arrives, undo the steps before
    it.

    A signal takes effect after the step during which it arrives. `progress` is called with the
    number of finished steps and their total. `undo_log`: default: one without a journal. The caller
    commits it; until then `Done.undo` can undo everything. Raises the error of
    the step as PcontError; its `left` lists what could not be undone.
    """
    done = Done(backend, UndoLog() if undo_log is None else undo_log)
    with signals.held():
        try:
            for run in _runs(steps):
                if run[0].longest_run > 1:
                    type(run[0]).record_run(backend, done.undo_log, run)
                for step in run:
                    progress(len(done.steps), len(steps))
                    signals.check()
                    done.steps.append(step)
                    try:
                        step.do(backend, done.undo_log)
                    except OSError as err:
                        raise step.refusal(backend, err) from err
            if steps and not steps[-1].final:
                signals.check()
        except BaseException as err:
            done.undo_for(err)
            raise
    return done


def _runs(steps: Sequence[Step]) -> Iterator[Sequence[Step]]:
    """Yield the steps in runs of one class, each no longer than the class permits."""
    for _, found in groupby(steps, type):
        same = list(found)
        longest = same[0].longest_run
        for start in range(0, len(same), longest):
            yield same[start : start + longest]
