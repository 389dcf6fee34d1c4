"""What an operation is made of: steps that are told, done and taken back, all or none."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from pcont import signals
from pcont.errors import PcontError, from_oserror
from pcont.kernel.interfaces import Backend
from pcont.transaction.undo_log import UndoLog

Progress = Callable[[int, int], None]


class Step(ABC):
    """One thing to do."""

    doing: str

    @abstractmethod
    def dry_run_lines(self, backend: Backend) -> list[str]:
        """The step as the shell commands that would do the same."""

    @abstractmethod
    def do(self, backend: Backend, memory: UndoLog) -> None:
        """Do it; OSError as the backend has it, or PcontError.

        Before each act, the memory is given what makes it undone.
        """

    def rehearse(self, backend: Backend) -> None:  # noqa: B027
        """Plan it on the backend of a dry run; OSError or PcontError as `do` would raise them.

        Steps that no rule can judge do nothing here.
        """

    def refusal(self, backend: Backend, err: OSError) -> PcontError:
        """What to say of an errno; asked before anything is taken back."""
        return from_oserror(err, self.doing)

    @property
    def final(self) -> bool:
        """Whether it cannot be taken back: a signal that comes during it finds all done."""
        return False

    def lost(self) -> list[str]:
        """What it has done that nothing takes back, for the message of a failure."""
        return []

    def notes(self) -> list[str]:
        """What the user should know although it went well."""
        return []


@dataclass
class Done:
    """Steps that have been carried out, and can still be taken back."""

    backend: Backend
    memory: UndoLog = field(default_factory=UndoLog)
    steps: list[Step] = field(default_factory=list)

    def undo(self) -> list[str]:
        """Take everything back, the last first; returns what could not be put back."""
        return self.memory.undo(self.backend)

    def undo_for(self, err: BaseException) -> None:
        """Take everything back because of an error, which says then what became of it."""
        touched = bool(self.memory)
        left = [line for step in self.steps for line in step.lost()] + self.undo()
        if isinstance(err, (PcontError, signals.Interrupted)):
            err.undone = err.undone or touched
            err.left += left
        elif left:
            err.__dict__["left"] = left


def carry_out(
    backend: Backend,
    steps: Sequence[Step],
    progress: Progress = lambda done, of: None,
    memory: UndoLog | None = None,
) -> Done:
    """Do every step, or none: a failure and a signal alike undo what was done before.

    Signals wait for the end of the step that they fall into. What cannot be put back is named in
    the error's `left`. Until the memory is settled, all of it can be taken back.
    """
    done = Done(backend, UndoLog() if memory is None else memory)
    with signals.held():
        try:
            for number, step in enumerate(steps):
                progress(number, len(steps))
                signals.check()
                done.steps.append(step)
                try:
                    step.do(backend, done.memory)
                except OSError as err:
                    raise step.refusal(backend, err) from err
            if steps and not steps[-1].final:
                signals.check()
        except BaseException as err:
            done.undo_for(err)
            raise
    return done
