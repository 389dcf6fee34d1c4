"""The step that moves a process, or one thread of it, into a container of every tree."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from errno import ESRCH
from functools import partial
from shlex import quote

from pcont import explain, subsys
from pcont.backend import Backend, Place, Task
from pcont.errors import LimitReached, PcontError
from pcont.steps import Action, Step
from pcont.steps.settings import restore_affinity
from pcont.values import Ids

# How often those are fetched that were forked while their parent was between two trees. A process
# is between two trees only once, so one round does unless threads are made all the time.
ROUNDS = 50


@dataclass(frozen=True)
class Origin:
    """Where a thread was: its container in every tree, and the CPUs it may run on.

    `start` tells it from another one that gets its id.
    """

    paths: dict[str, str]
    affinity: Ids
    start: int


def in_order_of_refusal(places: Sequence[Place]) -> list[Place]:
    """Trees whose controllers may refuse a task come first, the freezer last.

    A refusal then comes before anything was moved, and a frozen task thaws only once it is in
    every other tree: it does so on arrival in a thawed container.
    """
    return sorted(places, key=lambda place: subsys.entry_order(place.controllers))


@dataclass
class Enter(Step):
    """Attach `task` (`whole`: its process with all threads) to the same container of all trees."""

    task: int
    whole: bool
    places: Sequence[Place]
    doing: str
    pid: int = -1
    origins: dict[int, Origin] = field(default_factory=dict)
    before: dict[Place, set[int]] = field(default_factory=dict)
    at: Place | None = None
    moved: bool = False
    vanished: bool = False

    def __post_init__(self) -> None:
        self.places = in_order_of_refusal(self.places)

    @property
    def _file(self) -> str:
        return "cgroup.procs" if self.whole else "tasks"

    def tell(self, backend: Backend) -> list[str]:
        return [
            f"echo {self.task} > {quote(backend.show(place, self._file))}" for place in self.places
        ]

    def do(self, backend: Backend) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.pid = backend.task(self.task).pid
        self.before = {place: _tasks(backend, place) for place in self.places}
        for task in self._movers(backend):
            self._remember(backend, task)
        for place in self.places:
            self._write(backend, place, self._file, self.task)
        # Within one tree the kernel moves a process and its forks as one.
        if len(self.places) > 1:
            self._fetch_left_behind(backend)

    def _movers(self, backend: Backend) -> list[int]:
        """The threads to move that are there now."""
        try:
            return backend.threads(self.task) if self.whole else [self.task]
        except ProcessLookupError:
            return []

    def _remember(self, backend: Backend, task: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            paths, affinity = backend.membership(task), backend.affinity(task)
            self.origins[task] = Origin(paths, affinity, backend.task(task).start)

    def _write(self, backend: Backend, place: Place, file: str, task: int) -> None:
        self.at = place
        try:
            backend.write(place, file, str(task))
            self.moved = True
        except OSError as err:
            if err.errno != ESRCH or _lives(backend, task):
                raise
            self.vanished = self.vanished or task == self.task

    def _fetch_left_behind(self, backend: Backend) -> None:
        for _ in range(ROUNDS):
            left = list(self._left_behind(backend))
            if not left:
                return
            for place, task in left:
                self._write(backend, place, "tasks", task)
        raise LimitReached(
            f"cannot {self.doing}: it makes threads or children faster than they can be moved",
            hint="stop it first (kill -STOP), or include the freezer in the hierarchy",
        )

    def _left_behind(self, backend: Backend) -> Iterator[tuple[Place, int]]:
        """Threads of the process, and children that it forked in between, that lack a tree."""
        inside = {place: _tasks(backend, place) for place in self.places}
        came = {task for place in self.places for task in inside[place] - self.before[place]}
        for task in [*self._movers(backend), *self._ours(backend, came)]:
            for place in self.places:
                if task not in inside[place] and _lives(backend, task):
                    yield place, task

    def _ours(self, backend: Backend, came: set[int]) -> list[int]:
        """Of those that came into the target, the ones whose line of parents came with us.

        Others start tasks there meanwhile, in the root of a tree anybody does: not ours to move.
        """
        pids, found, growing = {self.pid}, set[int](), True
        while growing:
            growing = False
            for task in came - found:
                known = _look(backend, task)
                if known and {known.pid, known.parent} & pids:
                    found.add(task)
                    pids.add(known.pid)
                    growing = True
        return sorted(found)

    def undo(self, backend: Backend) -> Iterator[Action]:
        leader = next(iter(self.origins.values()), None)
        if self.at is None or leader is None:
            return
        leader = self.origins.get(self.task, leader)
        yield from self._all_back(backend, self.origins, leader)
        # Once it is back where it was, what it makes is there, too: now for what it made before.
        inside = {task for place in self.places for task in _tasks(backend, place)}
        came = inside - set(self.origins).union(*self.before.values())
        threads = self._movers(backend) if self._same(backend, self.task) else []
        later = {*threads, *self._ours(backend, came)} - set(self.origins)
        yield from self._all_back(backend, sorted(later), leader)

    def _all_back(self, backend: Backend, tasks: Iterable[int], leader: Origin) -> Iterator[Action]:
        for task in tasks:
            origin = self.origins.get(task, leader)
            for place in reversed(self.places):
                yield partial(self._put_back, backend, task, place, origin)
            yield partial(self._put_back_affinity, backend, task, origin)

    def _put_back(self, backend: Backend, task: int, place: Place, origin: Origin) -> None:
        # Thread by thread: moving back the process would merge threads that were apart.
        path = origin.paths[place.tree]
        if self._same(backend, task) and backend.membership(task).get(place.tree) != path:
            backend.write(Place(place.tree, path), "tasks", str(task))

    def _put_back_affinity(self, backend: Backend, task: int, origin: Origin) -> None:
        if self._same(backend, task):
            restore_affinity(backend, task, origin.affinity)

    def _same(self, backend: Backend, task: int) -> bool:
        """Whether the id still belongs to the task that it belonged to."""
        origin, known = self.origins.get(task), _look(backend, task)
        return known is not None and (origin is None or known.start == origin.start)

    @property
    def half_done(self) -> bool:
        return self.moved

    def refusal(self, backend: Backend, err: OSError) -> PcontError:
        return explain.enter(backend, self.at or self.places[0], self.task, err, self.doing)

    def notes(self) -> list[str]:
        return [f"task {self.task} ended while it was being moved"] if self.vanished else []


def _tasks(backend: Backend, place: Place) -> set[int]:
    try:
        return {int(task) for task in backend.read(place, "tasks").split()}
    except FileNotFoundError:
        return set()


def _look(backend: Backend, task: int) -> Task | None:
    try:
        known = backend.task(task)
    except ProcessLookupError:
        return None
    return None if known.gone else known


def _lives(backend: Backend, task: int) -> bool:
    return _look(backend, task) is not None
