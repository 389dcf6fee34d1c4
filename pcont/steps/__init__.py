"""What an operation is made of: steps that are told, done and taken back, all or none."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from pcont import signals
from pcont.backend import Backend
from pcont.errors import PcontError, from_oserror

Progress = Callable[[int, int], None]


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
    def undo(self, backend: Backend) -> None:
        """Take back what was done, however far it came; nothing where nothing was done."""

    def refusal(self, backend: Backend, err: OSError) -> PcontError:
        """What to say of an errno; asked before anything is taken back."""
        return from_oserror(err, self.doing)

    @property
    def half_done(self) -> bool:
        """Whether a step that failed had changed something by then."""
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
        left = []
        while self.steps:
            step = self.steps.pop()
            try:
                step.undo(self.backend)
            except OSError as err:
                left.append(from_oserror(err, f"put back: {step.doing}").what)
        return left


def carry_out(
    backend: Backend, steps: Sequence[Step], progress: Progress = lambda done, of: None
) -> Done:
    """Do every step, or none: a failure and a signal alike undo what was done before.

    Signals wait for the end of the step that they fall into. What cannot be put back is named in
    the error's `left`.
    """
    done = Done(backend)
    with signals.held() as checkpoint:
        try:
            for number, step in enumerate(steps):
                progress(number, len(steps))
                checkpoint()
                done.steps.append(step)
                try:
                    step.do(backend)
                except OSError as err:
                    raise step.refusal(backend, err) from err
            checkpoint()
        except PcontError as err:
            err.undone = len(done.steps) > 1 or any(step.half_done for step in done.steps)
            err.left += done.undo()
            raise
        except BaseException:
            done.undo()
            raise
    return done
