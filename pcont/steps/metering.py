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
    """No programs were at work for a subsystem in a tree."""

    subsystem: str
    tree: str

    @property
    def what(self) -> str:
        return f"the programs of {self.subsystem}"

    def restore(self, backend: Backend) -> Iterator[Action]:
        # Those of another tree are others'; those that are in none were ours.
        if backend.meter.trees().get(self.subsystem) in (self.tree, ""):
            yield lambda: backend.meter.stop(self.subsystem)


@dataclass
class AtWork(Fact):
    """Programs were at work for a subsystem in a tree that has no containers."""

    subsystem: str
    tree: str

    @property
    def what(self) -> str:
        return f"the programs of {self.subsystem}"

    def restore(self, backend: Backend) -> Iterator[Action]:
        yield lambda: backend.meter.start(self.subsystem, self.tree)


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
            # It is several acts: one that is refused leaves those before it to be undone.
            memory.keep(Stopped(self.subsystem, self.tree))
            backend.meter.start(self.subsystem, self.tree)

    def refusal(self, backend: Backend, err: OSError) -> PcontError:
        there = backend.meter.trees().get(self.subsystem)
        if err.errno != EBUSY or there in (None, "", self.tree):
            return super().refusal(backend, err)
        reason = f"{self.subsystem} is bound to {there}, and to one hierarchy at a time"
        return from_oserror(err, self.doing, reason, "pcont hierarchies shows it")


@dataclass
class Stop(Step):
    """End the programs; what they have counted is forgotten, so that nothing takes it back.

    `empty`: there are no containers, and so nothing that they could have counted.
    """

    subsystem: str
    tree: str
    doing: str
    empty: bool = False

    def tell(self, backend: Backend) -> list[str]:
        return [f"# unload the programs of {self.subsystem}"]

    def do(self, backend: Backend, memory: Memory) -> None:
        if backend.meter.trees().get(self.subsystem) not in (self.tree, ""):
            return
        if self.empty:
            with memory.of(AtWork(self.subsystem, self.tree)):
                backend.meter.stop(self.subsystem)
        else:
            memory.end_with(Stopped(self.subsystem, self.tree))
            backend.meter.stop(self.subsystem)

    @property
    def final(self) -> bool:
        return not self.empty
