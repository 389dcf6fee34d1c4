"""Steps that start and end the programs in the kernel that count and enforce for a subsystem."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from errno import EBUSY

from pcont.backend import Backend
from pcont.errors import PcontError, from_oserror
from pcont.steps import Step
from pcont.steps.memory import Action, Fact, Memory


@dataclass
class Stopped(Fact):
    """No programs were at work for a subsystem."""

    subsystem: str

    @property
    def what(self) -> str:
        return f"the programs of {self.subsystem}"

    def restore(self, backend: Backend) -> Iterator[Action]:
        if self.subsystem in backend.meter.trees():
            yield lambda: backend.meter.stop(self.subsystem)


@dataclass
class Start(Step):
    """Have programs count and enforce in a tree."""

    subsystem: str
    tree: str
    doing: str

    def tell(self, backend: Backend) -> list[str]:
        return [f"# load the programs of {self.subsystem}, for {self.tree}"]

    def do(self, backend: Backend, memory: Memory) -> None:
        if backend.meter.trees().get(self.subsystem) != self.tree:
            with memory.of(Stopped(self.subsystem)):
                backend.meter.start(self.subsystem, self.tree)

    def refusal(self, backend: Backend, err: OSError) -> PcontError:
        if err.errno != EBUSY:
            return super().refusal(backend, err)
        there = backend.meter.trees().get(self.subsystem)
        reason = f"{self.subsystem} is bound to {there}, and to one hierarchy at a time"
        return from_oserror(err, self.doing, reason, "pcont hierarchies shows it")


@dataclass
class Stop(Step):
    """End the programs; what they have counted is forgotten, so that nothing takes it back."""

    subsystem: str
    doing: str

    def tell(self, backend: Backend) -> list[str]:
        return [f"# unload the programs of {self.subsystem}"]

    def do(self, backend: Backend, memory: Memory) -> None:
        if self.subsystem in backend.meter.trees():
            memory.end_with(Stopped(self.subsystem))
            backend.meter.stop(self.subsystem)

    @property
    def final(self) -> bool:
        return True
