"""The two sides of a walk, a kernel and the model: each does the steps, and shows its state."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import tempfile
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from pcont import subsys
from pcont.backend_cgroupfs import Cgroupfs
from pcont.backend_model import SMALL, Model
from pcont.kernel.interfaces import Backend
from pcont.kernel.refusals import WriteRefused
from pcont.kernel.types import UNIFIED, Place, Task, Tree, TreeRequest
from pcont.linux.proc import Proc, no_task, this_machine
from pcont.linux.procfs import CpuTime
from pcont.model.dialects import V1, Dialect, like
from pcont.tables.rules import Machine
from pcont.values import ID_LIST, Ids
from tests.differential.actors import Actors
from tests.differential.far import Far
from tests.differential.steps import FILE, KTHREADD, NO_TASK, POINTS, SELF, Step
from tests.model_tasks import wait_for
from tests.waiting import eventually

# Counters of time, which no two sides count alike.
COUNTERS = ("cpuacct.", "cpuset.memory_pressure")
KTHREADD_ID = 2
OWN = Task(os.getpid(), os.getpid(), 1, "walk", "S", kernel=False, fixed=False, start=0)
# Where what the walk has left unmounted is mounted again: every point may be taken then.
SPARES = tuple(f"spare{number}" for number in range(6))
NONE_THERE = 1 << 22  # the first id that no kernel gives to a task


@dataclass(frozen=True)
class Ground:
    """What a walk may change: everything below `bases`, and mounts in a folder.

    `bases` by the controllers that are mounted each on its own, at `points`; where there are none,
    the walk mounts `controllers` itself. `far` makes the system calls, in the machine of `bases`.
    """

    folder: str
    bases: dict[str, str] = field(default_factory=dict)
    points: dict[str, str] = field(default_factory=dict)
    far: Far | None = None
    machine: Machine = SMALL
    dialect: Dialect = V1
    kthreadd: Task | None = None

    @property
    def controllers(self) -> tuple[str, ...]:
        """What the walk may mount."""
        return () if self.bases else self.dialect.controllers

    @property
    def names(self) -> list[str]:
        """What hierarchies of the walk are called."""
        return [f"pct{os.getpid()}-{letter}" for letter in "xy"]

    def has(self, tree: str) -> bool:
        """Whether a tree is any of the walk's business: the dialects have no cgroup v2."""
        if tree == UNIFIED:
            return False
        mine = [f"name={name}" for name in self.names]
        return not self.bases or tree in self.bases or bool(set(tree.split(",")) & set(mine))

    def base(self, tree: str) -> Place:
        return Place(tree, self.bases.get(tree, "/"))


Sight = dict[str, Any]


class Side:
    """What both sides share: the verbs, with tasks by their labels, and the look at the state."""

    def __init__(self, backend: Backend, ground: Ground, own: int) -> None:
        self.backend = backend
        self.ground = ground
        self.ids = {SELF: own, NO_TASK: NONE_THERE}
        if ground.kthreadd:
            self.ids[KTHREADD] = KTHREADD_ID
        self.handles: dict[str, tuple[deque[int], Iterator[int]]] = {}
        self.places: dict[str, Place] = {}  # where each handle was opened

    def close(self) -> None:
        """Put everything back as it was."""

    def do(self, step: Step) -> str:
        """Do it; what came of it as text."""
        try:
            answer = getattr(self, step.verb)(*step.args)
        except WriteRefused as err:
            return f"{errno.errorcode[err.errno or 0]} for the text"
        except OSError as err:
            return errno.errorcode[err.errno or 0]
        return repr(answer)

    def knows(self, step: Step) -> bool:
        """Whether those that it is about are known: a walk may have lost steps."""
        return set(step.tasks) <= set(self.ids) and set(step.handles) <= set(self.handles)

    # Hierarchies and containers

    def mount(
        self, controllers: tuple[str, ...], name: str, more: tuple[str, ...], point: str
    ) -> None:
        self.backend.mount(TreeRequest(controllers, name, more), self._point(point), "walk")

    def umount(self, point: str) -> None:
        self.backend.umount(self._point(point))

    def _point(self, name: str) -> str:
        return os.path.join(self.ground.folder, name)

    def make(self, place: Place) -> None:
        self.backend.make(place)

    def remove(self, place: Place) -> None:
        self.backend.remove(place)

    def children(self, place: Place) -> list[str]:
        return self.backend.children(place)

    def files(self, place: Place) -> dict[str, bool]:
        return self.backend.files(place)

    def read(self, place: Place, file: str) -> str:
        text = self.backend.read(place, file)
        return self._labels(text) if file in subsys.TASK_FILES else text

    def write(self, place: Place, file: str, text: str) -> None:
        self.backend.write(place, file, text)

    def set_attribute(self, place: Place, name: str, text: str | None) -> None:
        self.backend.set_attribute(place, name, text)

    # Tasks

    def attach(self, place: Place, file: str, task: str, style: str) -> None:
        id = 0 if task == SELF and "0" in style else self.ids[task]
        self.backend.write(place, file, style.format(id=id))

    def enter(self, place: Place, tasks: tuple[str, ...]) -> list[str]:
        entered = self.backend.enter(place, [self.ids[task] for task in tasks])
        return [self._label(id) for id in entered]

    def hold(self, handle: str, place: Place, task: str) -> list[str]:
        """Keep `tasks` open: containers may be removed before it is closed."""
        waiting: deque[int] = deque()
        entering = self.backend.enter(place, _as_they_come(waiting))
        self.handles[handle], self.places[handle] = (waiting, entering), place
        return self.go_on(handle, task)

    def go_on(self, handle: str, task: str) -> list[str]:
        """Move one more task in; end the handle if the task does not enter."""
        waiting, entering = self.handles[handle]
        waiting.append(self.ids[task])
        entered: list[str] = []
        try:
            entered += [self._label(id) for id in _next(entering)]
        finally:
            if not entered:
                self.let_go(handle)
        return entered

    def let_go(self, handle: str) -> None:
        _, entering = self.handles.pop(handle)
        del self.places[handle]
        entering.close()  # type: ignore[attr-defined]

    def kill(self, task: str, place: Place) -> list[str]:
        sent = self.backend.kill(place, [self.ids[task]], signal.SIGKILL)
        return [self._label(id) for id in sent]

    def set_affinity(self, task: str, cpus: Ids) -> None:
        self.backend.set_affinity(self.ids[task], cpus)

    def affinity(self, task: str) -> str:
        return ID_LIST.show(self.backend.affinity(self.ids[task]))

    def membership(self, task: str) -> dict[str, str]:
        return self._mine(self.backend.membership(self.ids[task]))

    def threads(self, task: str) -> list[str]:
        return sorted(self._label(id) for id in self.backend.threads(self.ids[task]))

    def _mine(self, membership: dict[str, str]) -> dict[str, str]:
        return {tree: path for tree, path in sorted(membership.items()) if self.ground.has(tree)}

    def _label(self, id: int) -> str:
        return next((label for label, one in self.ids.items() if one == id), "")

    def _labels(self, text: str) -> str:
        ids = [int(line) for line in text.splitlines()]
        assert ids == sorted(set(ids)), text
        labels = {id: label for label, id in self.ids.items()}
        return " ".join(sorted(labels[id] for id in ids if id in labels))

    # Looking

    def look(self) -> Sight:
        """Everything that can be seen, but for counters of time."""
        trees = [tree for tree in self.backend.trees() if self.ground.has(tree.id)]
        sight: Sight = {"trees": {tree.id: self._points(tree.mounts) for tree in trees}}
        for tree in trees:
            if tree.mounted:
                self._look_below(self.ground.base(tree.id), sight)
        for label in list(self.ids):
            if label not in (NO_TASK, KTHREADD):
                sight[f"task {label}"] = self._look_at(self.ids[label])
        return sight

    def _points(self, mounts: Any) -> list[str]:
        folder = f"{self.ground.folder}/"
        return sorted(mount.point for mount in mounts if mount.point.startswith(folder))

    def _look_below(self, place: Place, sight: Sight) -> None:
        at = f"{place.tree}:{place.path}"
        files = self.backend.files(place)
        sight[f"{at} files"] = files
        sight[f"{at} attributes"] = self.backend.attributes(place)
        for file in files:
            if not file.startswith(COUNTERS):
                sight[f"{at} {file}"] = self.read(place, file)
        children = sight[f"{at} children"] = self.backend.children(place)
        for name in children:
            self._look_below(place.child(name), sight)

    def _look_at(self, id: int) -> Any:
        try:
            task = self.backend.task(id)
            return {
                "state": "zombie" if task.exited else "alive",
                "pid": self._label(task.pid),
                "parent": "" if task.parent == self.ids[SELF] else self._label(task.parent),
                "threads": sorted(self._label(one) for one in self.backend.threads(id)),
                "at": self._mine(self.backend.membership(id)),
                "cpus": ID_LIST.show(self.backend.affinity(id)),
            }
        except ProcessLookupError:
            return {"state": "gone"}

    def forget(self, task: str) -> None:
        """A task that has ended needs nothing."""
        del self.ids[task]


def _as_they_come(waiting: deque[int]) -> Iterator[int]:
    while waiting:
        yield waiting.popleft()


def _next(entering: Iterator[int]) -> list[int]:
    with contextlib.suppress(StopIteration):
        return [next(entering)]
    return []


class KernelSide(Side):
    """The real kernel, with real tasks."""

    backend: Cgroupfs

    def __init__(self, ground: Ground) -> None:
        assert ground.far
        super().__init__(Cgroupfs(), ground, ground.far.pid)
        self.far = ground.far
        self.actors = Actors(self.far)
        for tree, path in ground.bases.items():
            base = Place(tree, path)
            self.backend.make(base)
            _give_lists(self.backend, base)

    def close(self) -> None:
        for handle in list(self.handles):
            self.let_go(handle)
        for tree in self._trees():
            if not tree.mounted:
                self._mount_again(tree)
        for tree in self._trees():
            self._thaw(self.ground.base(tree.id))
        self.actors.close()
        for tree in self._trees():
            self._dissolve(tree)
        if not self.ground.bases:
            self._reset_roots()

    def _dissolve(self, tree: Tree) -> None:
        base = self.ground.base(tree.id)
        self.backend.write(Place(tree.id), "cgroup.procs", "0")
        self._clear(base)
        if not base.is_root:
            self.backend.remove(base)
        for point in self._points(tree.mounts):
            self.umount(point)

    def _reset_roots(self) -> None:
        """A value that was written into the root of a subsystem stays there permanently."""
        for name in self.ground.controllers:
            rows = [
                row
                for row in subsys.rows([name])
                if row.access.writable and not row.access.root_fixed
            ]
            kept = [row for row in rows if row.access.where.holds(True) and not row.undo.lasting]
            if kept:
                self.mount((name,), "", (), POINTS[0])
                for row in kept:
                    value = (
                        row.default
                        if row.creation.root_default is None
                        else row.creation.root_default
                    )
                    self.backend.write(Place(name), row.name, row.type.show(value))
                self.umount(POINTS[0])

    def _trees(self) -> list[Tree]:
        return [tree for tree in self.backend.trees() if self.ground.has(tree.id)]

    def _mount_again(self, tree: Tree) -> str:
        points = map(self._point, SPARES)
        point = next(one for one in points if not self.backend.occupied(one, entries=False))
        self.backend.mount(TreeRequest(tree.controllers, tree.name), point, "walk")
        return point

    def _thaw(self, place: Place) -> None:
        if "freezer.state" in self.backend.files(place):
            self.backend.write(place, "freezer.state", "THAWED")
        for name in self.backend.children(place):
            self._thaw(place.child(name))

    def _clear(self, place: Place) -> None:
        for name in self.backend.children(place):
            self._clear(place.child(name))
            self.backend.remove(place.child(name))

    def umount(self, point: str) -> None:
        where = self._point(point)
        found = [tree for tree in self._trees() if where in self._points(tree.mounts)]
        last = [one for one in found if len(one.mounts) == 1]
        going = [one for one in last if not self.backend.children(Place(one.id))]
        super().umount(point)
        if going:
            self._settle(going[0])

    def _settle(self, tree: Tree) -> None:
        """What was removed just before makes a hierarchy linger; another mount heals it."""

        def gone() -> bool:
            return tree.id not in [one.id for one in self._trees()]

        while not eventually(gone, 0.1):
            self.backend.umount(self._mount_again(tree))

    # Tasks

    def spawn(self, new: str) -> None:
        self.ids[new] = self.actors.fork(self.actors.first)

    def fork(self, task: str, new: str) -> None:
        self.ids[new] = self.actors.fork(self.ids[task])

    def thread(self, task: str, new: str) -> None:
        self.ids[new] = self.actors.thread(self.ids[task])

    def exit(self, task: str, thread: bool) -> None:
        self.actors.exit(self.ids[task], thread)

    def reap(self, task: str, by: str) -> None:
        self.actors.reap(self.ids[task], self.ids.get(by, self.actors.first))

    # Looking

    def look(self) -> Sight:
        with self.far.at_once():
            return super().look()


def _give_lists(backend: Backend, place: Place) -> None:
    if "cpuset" in place.tree.split(","):
        for file in ("cpuset.cpus", "cpuset.mems"):
            backend.write(place, file, backend.read(place.parent, file))


class Alone(Proc):
    """A /proc with the process that does the walk alone, and at most a kernel thread."""

    def __init__(self, kthreadd: Task | None) -> None:
        super().__init__()
        self.kthreadd = kthreadd

    def processes(self) -> list[int]:
        return [OWN.id, *([self.kthreadd.id] if self.kthreadd else [])]

    def task(self, task: int) -> Task:
        for one in (OWN, self.kthreadd):
            if one and one.id == task:
                return one
        raise no_task(task)

    def threads(self, pid: int) -> list[int]:
        return [self.task(pid).id]

    def cpu_time(self, task: int) -> CpuTime:
        return CpuTime(0, 0, 0)

    def timed(self, task: int, pid: int) -> tuple[Task, CpuTime]:
        return self.task(task), self.cpu_time(task)


class ModelSide(Side):
    """The model, with tasks that do not exist."""

    backend: Model

    def __init__(self, ground: Ground) -> None:
        alone = Alone(ground.kthreadd)
        super().__init__(Model(ground.machine, alone, ground.dialect), ground, OWN.id)
        self.backend.tasks.waited = False
        for tree, path in ground.bases.items():
            for directory in self.backend.missing(ground.points[tree]):
                self.backend.make_directory(directory)
            self.backend.mount(TreeRequest((tree,)), ground.points[tree], "walk")
            self.backend.make(Place(tree, path))
            _give_lists(self.backend, Place(tree, path))

    def spawn(self, new: str) -> None:
        self.ids[new] = self.backend.simulator.spawn()

    def fork(self, task: str, new: str) -> None:
        self.ids[new] = self.backend.simulator.fork(self.ids[task])

    def thread(self, task: str, new: str) -> None:
        self.ids[new] = self.backend.simulator.thread(self.ids[task])

    def exit(self, task: str, thread: bool) -> None:
        self.backend.simulator.exit(self.ids[task], thread)

    def reap(self, task: str, by: str) -> None:
        wait_for(self.backend, self.ids[task])


@contextlib.contextmanager
def ground(far: Far) -> Iterator[Ground]:
    """What a machine offers: everything where nothing is bound, else containers of our own."""
    trees, kthreadd = Cgroupfs().trees(), None
    bound = [tree for tree in trees if tree.id in V1.controllers and tree.mounted]
    with contextlib.suppress(ProcessLookupError):
        kthreadd = Proc().task(KTHREADD_ID)
    with folder() as made:
        far.provide(made)
        yield Ground(
            folder=made,
            bases={tree.id: f"/pct{os.getpid()}-walk" for tree in bound},
            points={tree.id: tree.mounts[0].point for tree in bound},
            far=far,
            machine=this_machine(),
            dialect=like(Proc().text("sys/kernel/osrelease")),
            kthreadd=kthreadd if kthreadd and kthreadd.kernel else None,
        )


@contextlib.contextmanager
def folder() -> Iterator[str]:
    made = tempfile.mkdtemp(prefix="pcont-walk-")
    try:
        for point in (*POINTS, *SPARES):
            os.mkdir(os.path.join(made, point))
        with open(os.path.join(made, FILE), "w"):
            pass
        yield made
    finally:
        # Never into what may still be mounted there.
        for point in (*POINTS, *SPARES):
            os.rmdir(os.path.join(made, point))
        os.unlink(os.path.join(made, FILE))
        os.rmdir(made)
