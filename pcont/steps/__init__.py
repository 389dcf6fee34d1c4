"""What an operation is made of: steps that are told, done and taken back, all or none."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from pcont import signals
from pcont.backend import Backend
from pcont.errors import PcontError, from_oserror

Progress = Callable[[int, int], None]
Action = Callable[[], object]


class Step(ABC):
    """One thing to do, with the memory that taking it back needs."""

    doing: str

    @abstractmethod
    def tell(self, backend: Backend) -> list[str]:
        """The step as the shell commands that would do the same."""

    @abstractmethod
    def do(self, backend: Backend) -> None:
        """Do it; OSError as the backend has it, or PcontError."""

    @abstractmethod
    def undo(self, backend: Backend) -> Iterator[Action]:
        """What puts back all that was done, however far it came; nothing where nothing was done.

        Each action is taken even if one before it fails.
        """

    def refusal(self, backend: Backend, err: OSError) -> PcontError:
        """What to say of an errno; asked before anything is taken back."""
        return from_oserror(err, self.doing)

    @property
    def half_done(self) -> bool:
        """Whether a step that failed had changed something by then."""
        return False

    @property
    def final(self) -> bool:
        """Whether it cannot be taken back: a signal that comes during it finds all done."""
        return False

    def notes(self) -> list[str]:
        """What the user should know although it went well."""
        return []


@dataclass
class Done:
    """Steps that have been carried out, and can still be taken back."""

    backend: Backend
    steps: list[Step] = field(default_factory=list)

    def undo(self) -> list[str]:
        """Take everything back, the last step first; returns what could not be put back."""
        left: list[str] = []
        with signals.shielded():
            while self.steps:
                step = self.steps.pop()
                try:
                    for action in step.undo(self.backend):
                        left += _failures(step, action)
                except OSError as err:
                    left.append(from_oserror(err, f"put back: {step.doing}").what)
        return left

    def undo_for(self, err: BaseException) -> None:
        """Take everything back because of an error, which says then what became of it."""
        touched = len(self.steps) > 1 or any(step.half_done for step in self.steps)
        left = self.undo()
        if isinstance(err, (PcontError, signals.Interrupted)):
            err.undone = err.undone or touched
            err.left += left
        elif left:
            err.__dict__["left"] = left


def _failures(step: Step, action: Action) -> list[str]:
    try:
        action()
    except ProcessLookupError:
        pass  # a task that has ended meanwhile
    except OSError as err:
        return [from_oserror(err, f"put back: {step.doing}").what]
    except PcontError as err:
        return [err.what]
    return []


def carry_out(
    backend: Backend, steps: Sequence[Step], progress: Progress = lambda done, of: None
) -> Done:
    """Do every step, or none: a failure and a signal alike undo what was done before.

    Signals wait for the end of the step that they fall into. What cannot be put back is named in
    the error's `left`.
    """
    done = Done(backend)
    with signals.held():
        try:
            for number, step in enumerate(steps):
                progress(number, len(steps))
                signals.check()
                done.steps.append(step)
                try:
                    step.do(backend)
                except OSError as err:
                    raise step.refusal(backend, err) from err
            if steps and not steps[-1].final:
                signals.check()
        except BaseException as err:
            done.undo_for(err)
            raise
    return done
