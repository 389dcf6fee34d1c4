"""The step that moves processes, or one thread, into a container of every tree."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from errno import ESRCH
from functools import partial
from shlex import quote

from pcont import explain
from pcont.backend import Backend, Place, exists
from pcont.errors import PcontError
from pcont.records import Outcome
from pcont.site import entry_order
from pcont.steps import Step
from pcont.steps.memory import Action, Fact, Memory
from pcont.steps.rounds import Came, ahead, back, rounds
from pcont.steps.who import PROCESSES, descendants, lives, same, since, tasks_in
from pcont.values import Ids

# How long those are fetched that were started while their parent was between two trees. A process
# is between two trees only once, so that one round does unless they are started all the time.
PATIENCE = 30.0

STOP_OR_FREEZE = (
    "stop it first (kill -STOP), or give it a container with the freezer, and move that"
)

Movers = Callable[[bool], list[int]]
Lacking = tuple[Place, int]


@dataclass(frozen=True)
class Origin:
    """Where a thread was: its container in every tree, and the CPUs it may run on.

    `start` tells it from another one that gets its id.
    """

    paths: dict[str, str]
    affinity: Ids
    start: int

    @classmethod
    def of(cls, backend: Backend, task: int) -> Origin:
        """As it is now; ESRCH where it has ended."""
        return cls(backend.membership(task), backend.affinity(task), backend.task(task).start)


@dataclass
class Entered(Fact):
    """Where the tasks were that enter some containers, and who was in these already.

    `leader` is the one whose origin those share that they start meanwhile.
    """

    places: list[Place]
    leader: int
    before: dict[Place, set[int]]
    origins: dict[int, Origin] = field(default_factory=dict)

    @property
    def what(self) -> str:
        return f"task {self.leader}"

    def learn(self, **more: dict[int, Origin]) -> None:
        self.origins.update(more["origins"])

    def restore(self, backend: Backend) -> Iterator[Action]:
        doing = f"put back all that {self.what} has started"
        for came in back(partial(self._ours, backend), doing):
            for place in reversed(self.places):
                yield partial(self._put_back, backend, came, place)
            yield partial(self._put_back_affinity, backend, came)

    def _ours(self, backend: Backend) -> Iterator[Came[None]]:
        """Who was moved; then what they had started, now that what they start is back, too.

        Last those who are ending where nobody was: they are in the way there, whoever they are.
        """
        for task in sorted(self.origins):
            if self.knows(backend, task):
                yield Came(None, task, self.origins[task].start)
        started = self.started(backend) if self.origins else []
        for task in sorted(started):
            yield Came(None, task, since(backend, task))
        alone = [place for place in self.places if not (place.is_root or self.before[place])]
        for task in sorted(set().union(*(tasks_in(backend, place) for place in alone))):
            if not lives(backend, task):
                yield Came(None, task, None)

    def _put_back(self, backend: Backend, came: Came[None], place: Place) -> None:
        # Thread by thread: moving back the process would merge threads that were apart.
        path = self._origin(came).paths[place.tree]
        there = same(backend, came.task, came.start)
        if there and backend.membership(came.task).get(place.tree) != path:
            backend.write(Place(place.tree, path), "tasks", str(came.task))

    def _put_back_affinity(self, backend: Backend, came: Came[None]) -> None:
        affinity = self._origin(came).affinity
        there = same(backend, came.task, came.start)
        if there and backend.affinity(came.task) != affinity:
            backend.set_affinity(came.task, affinity)

    def _origin(self, came: Came[None]) -> Origin:
        origin = self.origins.get(came.task)
        return origin if origin and origin.start == came.start else self._shared

    def knows(self, backend: Backend, task: int) -> bool:
        """Whether the id belongs to somebody whose origin is known, and not to one after him."""
        origin = self.origins.get(task)
        return origin is not None and same(backend, task, origin.start)

    def started(self, backend: Backend) -> list[int]:
        """Those that came into the containers meanwhile, and were started by these tasks.

        Others start tasks there at the same time, in the root of a tree anybody does.
        """
        inside = {place: tasks_in(backend, place) for place in self.places}
        known = {one for one in self.origins if self.knows(backend, one)}
        came = set().union(*inside.values()) - known.union(*self.before.values())
        found = descendants(backend, came, known)
        return [*found, *self._orphans(backend, came - set(found), inside)]

    def _orphans(
        self, backend: Backend, came: set[int], inside: dict[Place, set[int]]
    ) -> Iterator[int]:
        """Those whose parents ended at once: between two trees as only such a parent was.

        Where somebody was between trees before, it could be a child of his.
        """
        apart = [
            place for place in self.places if self.before[place] != self.before[self.places[0]]
        ]
        for task in came if self.origins and not apart else ():
            outside = [place for place in self.places if task not in inside[place]]
            with contextlib.suppress(ProcessLookupError):
                paths = backend.membership(task) if outside else {}
                if outside and all(self._as_the_leader(paths, place) for place in outside):
                    yield task

    def _as_the_leader(self, paths: dict[str, str], place: Place) -> bool:
        return paths.get(place.tree) == self._shared.paths[place.tree]

    @property
    def _shared(self) -> Origin:
        """The origin of the leader; of another one, where it ended before it could move."""
        return self.origins.get(self.leader) or next(iter(self.origins.values()))


@dataclass
class Enter(Step):
    """Attach processes with all their threads to the same container of all trees.

    `thread`: just the task. `tree`: with all that descends from it, also what daemonizes meanwhile.
    """

    task: int
    places: Sequence[Place]
    doing: str
    thread: bool = False
    tree: bool = False
    outcome: Outcome = field(default_factory=Outcome)
    at: Place | None = None
    moved: set[int] = field(default_factory=set)
    vanished: bool = False
    missed: bool = False
    adopted: set[int] = field(default_factory=set)

    def tell(self, backend: Backend) -> list[str]:
        pids = [self.task]
        if self.tree:
            with backend.family(self.task) as family:
                pids = sorted(family(True), key=lambda pid: (pid != self.task, pid))
        return [
            f"echo {one} > {quote(backend.show(place, file))}"
            for place in self._ordered(backend)
            for pid in pids
            for file, one in self._writes(backend, place, pid)
        ]

    def _writes(self, backend: Backend, place: Place, pid: int) -> list[tuple[str, int]]:
        """What is written for a process: its id, or the id of each thread."""
        by_threads = False
        with contextlib.suppress(OSError):  # it may be a container that is yet to be made
            by_threads = not self.thread and PROCESSES not in backend.files(place)
        if by_threads:
            return [("tasks", one) for one in self._threads(backend, pid)]
        return [(self._file, pid)]

    def _ordered(self, backend: Backend) -> list[Place]:
        return sorted(self.places, key=partial(entry_order, backend))

    @property
    def _file(self) -> str:
        return "tasks" if self.thread else PROCESSES

    def do(self, backend: Backend, memory: Memory) -> None:
        began = time.monotonic()
        self.places = self._ordered(backend)
        with self._movers(backend) as movers:
            before = {place: tasks_in(backend, place) for place in self.places}
            leader = next(iter(movers(False)), self.task)
            entered = Entered(list(self.places), leader, before)
            memory.keep(entered)
            try:
                with ahead():
                    self._converge(backend, memory, entered, movers)
            except OSError:
                if not self.moved:
                    memory.forget(entered)
                raise
        self.outcome.moved = len(self.moved)
        self.outcome.seconds = time.monotonic() - began

    @contextlib.contextmanager
    def _movers(self, backend: Backend) -> Iterator[Movers]:
        """Who is to move, by now: processes, or the one thread; the one that was named first."""
        if self.tree:
            with backend.family(self.task) as family:
                yield lambda thorough: sorted(
                    family(thorough), key=lambda pid: (pid != self.task, pid)
                )
                self.missed, self.adopted = not family.complete, family.adopted
        else:
            pid = self.task
            with contextlib.suppress(ProcessLookupError):
                pid = pid if self.thread else backend.task(pid).pid
            yield lambda thorough: [pid]

    def _converge(self, backend: Backend, memory: Memory, entered: Entered, movers: Movers) -> None:
        find = partial(self._round, backend, entered, movers)
        for place, task in rounds(find, self.doing, PATIENCE, STOP_OR_FREEZE):
            self._remember(backend, memory, entered, task)
            self._write(backend, place, entered, task)

    def _round(self, backend: Backend, entered: Entered, movers: Movers) -> list[Lacking]:
        """Who is to be moved where: everybody, and from the second round on who is left."""
        if not self.outcome.rounds:
            lacking = [(place, task) for place in self.places for task in movers(False)]
        elif len(self.places) == 1 and not self.tree:
            return []  # within one tree the kernel moves a process and its forks as one
        else:
            lacking = self._left(backend, entered, movers)
            self.outcome.stragglers += len({task for _, task in lacking})
        self.outcome.rounds += bool(lacking)
        return lacking

    def _left(self, backend: Backend, entered: Entered, movers: Movers) -> list[Lacking]:
        """Who is still outside of a container, at a quick look, or else at a thorough one."""
        for thorough in (False, True):
            tasks = [*movers(thorough), *entered.started(backend)]
            lacking = list(self._lacking(backend, tasks, thorough))
            if lacking:
                return lacking
        return []

    def _remember(self, backend: Backend, memory: Memory, entered: Entered, task: int) -> None:
        if entered.knows(backend, task):
            return
        found = {}
        for one in self._threads(backend, task):
            with contextlib.suppress(ProcessLookupError):
                found[one] = Origin.of(backend, one)
        if found:
            memory.learn(entered, origins=found)

    def _threads(self, backend: Backend, task: int) -> list[int]:
        try:
            return [task] if self.thread else backend.threads(task)
        except ProcessLookupError:
            return []

    def _write(self, backend: Backend, place: Place, entered: Entered, task: int) -> None:
        self.at = place
        try:
            if task in entered.origins and not entered.knows(backend, task):
                raise ProcessLookupError(ESRCH, "", str(task))
            self._enter(backend, place, task)
            self.moved.add(task)
        except OSError as err:
            if err.errno != ESRCH or lives(backend, task):
                raise
            self.vanished = self.vanished or task == entered.leader

    def _enter(self, backend: Backend, place: Place, task: int) -> None:
        try:
            backend.write(place, self._file, str(task))
        except FileNotFoundError:
            if self.thread or not exists(backend, place):
                raise
            # A kernel that knows of no processes here takes them thread by thread.
            for one in backend.threads(task):
                with contextlib.suppress(*[ProcessLookupError] * (one != task)):
                    backend.write(place, "tasks", str(one))

    def _lacking(self, backend: Backend, tasks: Iterable[int], thorough: bool) -> Iterator[Lacking]:
        """Who of these is outside of a container; `thorough`: be it with one thread."""
        inside = {place: tasks_in(backend, place) for place in self.places}
        for task in dict.fromkeys(tasks):
            threads = self._threads(backend, task) if thorough else [task]
            for place in self.places:
                if any(one not in inside[place] and lives(backend, one) for one in threads):
                    yield place, task

    def refusal(self, backend: Backend, err: OSError) -> PcontError:
        return explain.enter(backend, self.at or self.places[0], self.task, err, self.doing)

    def notes(self) -> list[str]:
        found = [f"task {self.task} ended while it was being moved"] if self.vanished else []
        if self.missed:
            found.append(
                f"children of {self.task} that daemonized meanwhile may be missing: the kernel "
                "tells only root, in the first namespaces, of forks"
            )
        if adopted := sorted(self.adopted & self.moved):
            found.append(
                f"taken for descendants of {self.task}, as their parents had just ended: "
                f"{', '.join(map(str, adopted))}"
            )
        return found
