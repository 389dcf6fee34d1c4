"""The step that kills everything in some containers, what forks meanwhile too."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from shlex import quote

from pcont import signals, subsys
from pcont.errors import LimitReached
from pcont.kernel.interfaces import CgroupState, ContainerReader, Driver, TasksInside
from pcont.kernel.paths import below
from pcont.kernel.types import Place
from pcont.steps.converge import raised_priority
from pcont.steps.freeze import is_set_frozen, kept_frozen
from pcont.steps.tasks import processes_in
from pcont.steps.write import RestoreValue
from pcont.subsys import freezer, pids
from pcont.transaction.step import Step
from pcont.transaction.undo_log import UndoLog

PATIENCE = 10.0
PAUSE = 0.01


@dataclass
class Kill(Step):
    """SIGKILL for everything inside, until nobody is left, or nobody ends any more.

    Where pids is among the trees, nobody can fork meanwhile; else where the freezer is, all stand
    still until each one has its signal. `allowed` is asked before a process is killed, and may
    raise.
    """

    places: Sequence[Place]
    doing: str
    allowed: Callable[[Iterable[int]], None]
    freeze: bool = True
    killed: set[int] = field(default_factory=set)

    def dry_run_lines(self, backend: TasksInside) -> list[str]:
        lines = [f"kill -KILL {pid}" for pid in sorted(processes_in(backend, self.places))]
        if not lines:
            return []
        for place in self._freezing(backend):
            lines = is_set_frozen(backend, place, lines)
        others = [backend.show(place, freezer.STATE) for place in self._frozen_by_others(backend)]
        lines += [f"echo {freezer.THAWED} > {quote(file)}" for file in others]
        held = [backend.show(place, pids.PIDS_MAX) for place in self._tops(pids.PIDS)]
        return [*(f"echo 0 > {quote(file)}" for file in held), *lines]

    def do(self, backend: CgroupState, memory: UndoLog) -> None:
        if not processes_in(backend, self.places):
            return
        for place in self._tops(pids.PIDS):
            _set(backend, memory, place, pids.PIDS_MAX, "0")
        with raised_priority():
            self._kill(backend, memory)

    def _kill(self, backend: CgroupState, memory: UndoLog) -> None:
        with contextlib.ExitStack() as stack:
            for place in self._freezing(backend):
                stack.enter_context(kept_frozen(backend, memory, place))
            self._signal(backend, processes_in(backend, self.places))
        # What others had frozen does not die before it thaws.
        for place in self._tops(subsys.FREEZER):
            _set(backend, memory, place, freezer.STATE, freezer.THAWED)
        self._until_nobody_is_left(backend)

    def _until_nobody_is_left(self, backend: CgroupState) -> None:
        """Who is new has the signal at once; the others once more where nobody has ended since."""
        least, limit = sys.maxsize, time.monotonic() + PATIENCE
        while inside := processes_in(backend, self.places):
            signals.check()
            looked = time.monotonic()
            if len(inside) < least:
                least, limit = len(inside), looked + PATIENCE
                inside = {pid: place for pid, place in inside.items() if pid not in self.killed}
            self._signal(backend, inside)
            if looked > limit:
                raise LimitReached(
                    f"cannot {self.doing}: in {PATIENCE:.0f} s of killing they were never fewer "
                    f"than {least}",
                    hint="they fork faster than they die, or wait for a device (state D)",
                )
            # Those who are to end need the CPU, too.
            time.sleep(max(PAUSE, time.monotonic() - looked))

    def _freezing(self, backend: TasksInside) -> list[Place]:
        """What is frozen for it: nothing where none can fork, as all would have to run for that."""
        held = processes_in(backend, [one for one in self.places if pids.PIDS in one.controllers])
        free = processes_in(backend, self.places).keys() - held.keys()
        return self._tops(subsys.FREEZER) if self.freeze and free else []

    def _frozen_by_others(self, backend: ContainerReader) -> list[Place]:
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

    def _signal(self, backend: Driver, inside: dict[int, Place]) -> None:
        """One signal for each of them, the youngest of a container first."""
        self.allowed(inside)
        together: dict[Place, list[int]] = {}
        for pid in sorted(inside, reverse=True):
            together.setdefault(inside[pid], []).append(pid)
        for place, members in together.items():
            self.killed.update(backend.kill(place, members, signal.SIGKILL))

    def lost(self) -> list[str]:
        return [f"{len(self.killed)} killed"] if self.killed else []


def _set(backend: CgroupState, memory: UndoLog, place: Place, file: str, text: str) -> None:
    if backend.read(place, file).strip() != text:
        with memory.of(RestoreValue.of(backend, place, file)):
            backend.write(place, file, text)
