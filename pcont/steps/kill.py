"""The step that kills everything in some containers, what forks meanwhile too."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from shlex import quote

from pcont import signals, subsys
from pcont.backend import Backend, Place, below
from pcont.errors import LimitReached
from pcont.steps import Step
from pcont.steps.freezing import frozen, told_frozen
from pcont.steps.memory import Memory
from pcont.steps.rounds import ahead
from pcont.steps.settings import Value
from pcont.steps.who import processes_in
from pcont.subsys import freezer, pids

PATIENCE = 10.0
PAUSE = 0.01


@dataclass
class Kill(Step):
    """SIGKILL for everything inside, again and again until nobody is left or patience ends.

    Where the freezer is among the trees, all stand still until each one has its signal; where
    pids is, nobody can fork. `allowed` is asked before a process is killed, and may raise.
    """

    places: Sequence[Place]
    doing: str
    allowed: Callable[[Iterable[int]], None]
    freeze: bool = True
    killed: set[int] = field(default_factory=set)

    def tell(self, backend: Backend) -> list[str]:
        lines = [f"kill -KILL {pid}" for pid in sorted(processes_in(backend, self.places))]
        if not lines:
            return []
        for place in self._tops(subsys.FREEZER) if self.freeze else ():
            lines = told_frozen(backend, place, lines)
        others = [backend.show(place, freezer.STATE) for place in self._frozen_by_others(backend)]
        lines += [f"echo {freezer.THAWED} > {quote(file)}" for file in others]
        held = [backend.show(place, pids.MAX) for place in self._tops(pids.TABLE.name)]
        return [*(f"echo 0 > {quote(file)}" for file in held), *lines]

    def do(self, backend: Backend, memory: Memory) -> None:
        if not processes_in(backend, self.places):
            return
        for place in self._tops(pids.TABLE.name):
            _set(backend, memory, place, pids.MAX, "0")
        with ahead():
            self._kill(backend, memory)

    def _kill(self, backend: Backend, memory: Memory) -> None:
        with contextlib.ExitStack() as stack:
            for place in self._tops(subsys.FREEZER) if self.freeze else ():
                stack.enter_context(frozen(backend, memory, place))
            self._signal(backend)
        # What others had frozen does not die before it thaws.
        for place in self._tops(subsys.FREEZER):
            _set(backend, memory, place, freezer.STATE, freezer.THAWED)
        limit = time.monotonic() + PATIENCE
        while self._signal(backend):
            signals.check()
            if time.monotonic() > limit:
                raise LimitReached(
                    f"cannot {self.doing}: tasks are still there after {PATIENCE:.0f} s of killing",
                    hint="they fork faster than they die, or wait for a device (state D)",
                )
            time.sleep(PAUSE)

    def _frozen_by_others(self, backend: Backend) -> list[Place]:
        """What is frozen before anything is done."""
        return [
            place
            for place in self._tops(subsys.FREEZER)
            if backend.read(place, freezer.STATE).strip() != freezer.THAWED
        ]

    def _tops(self, controller: str) -> list[Place]:
        """The uppermost containers, in the tree that has a controller."""
        places = [one for one in self.places if controller in one.controllers]
        return [
            place
            for place in places
            if not any(one != place and below(place.path, one.path) for one in places)
        ]

    def _signal(self, backend: Backend) -> bool:
        """One signal for each who is there, the youngest first; whether anybody was."""
        inside = processes_in(backend, self.places)
        self.allowed(inside)
        for pid in sorted(inside, reverse=True):
            with contextlib.suppress(ProcessLookupError):
                backend.kill(pid, signal.SIGKILL, inside[pid])
                self.killed.add(pid)
        return bool(inside)

    def lost(self) -> list[str]:
        return [f"{len(self.killed)} killed"] if self.killed else []


def _set(backend: Backend, memory: Memory, place: Place, file: str, text: str) -> None:
    if backend.read(place, file).strip() != text:
        with memory.of(Value.of(backend, place, file)):
            backend.write(place, file, text)
