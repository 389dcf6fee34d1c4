"""The two sides of a walk, a kernel and the model: each does the steps, and shows its state."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import signal
import tempfile
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from pcont import subsys
from pcont.backend_cgroupfs import ELSEWHERE, Cgroupfs
from pcont.backend_model import SMALL, Model
from pcont.cli import main
from pcont.kernel import open as kernel_open
from pcont.kernel.interfaces import Backend
from pcont.kernel.refusals import WriteRefused
from pcont.kernel.types import (
    UNIFIED,
    WAITING,
    AssignedIds,
    Place,
    Task,
    Tree,
    TreeRequest,
    Waiting,
)
from pcont.linux.proc import Proc, no_task, this_machine
from pcont.linux.procfs import CpuTime
from pcont.model import mounts
from pcont.model.dialects import V1, V2, Dialect, like
from pcont.tables.rules import Machine
from pcont.trust.workplace import Workplace
from pcont.values import ID_LIST, Ids
from tests.differential.actors import Actors
from tests.differential.far import Far
from tests.differential.steps import FILE, KTHREADD, LABEL, NO_TASK, POINTS, SELF, Step
from tests.model_tasks import wait_for
from tests.waiting import eventually

# Counters of time, which no two sides count alike.
COUNTERS = ("cpuacct.", "cpuset.memory_pressure")
# What is compared of a container of cgroup v2: no counters of time or memory.
V2_TASKS = ("cgroup.threads", "cgroup.procs")
V2_CORE = (
    *("cgroup.type", "cgroup.controllers", "cgroup.subtree_control", "cgroup.events"),
    *("cgroup.freeze", "cgroup.max.depth", "cgroup.max.descendants", "cgroup.pressure"),
)
V2_OF_CONTROLLERS = (
    *("cpuset.cpus", "cpuset.cpus.effective", "cpuset.mems", "cpuset.mems.effective"),
    *("cpuset.cpus.exclusive", "cpuset.cpus.partition"),
    *("cpu.weight", "cpu.weight.nice", "cpu.idle", "cpu.max", "cpu.max.burst"),
    *("memory.max", "memory.high", "memory.low", "memory.min", "memory.oom.group"),
    *("pids.max", "pids.current", "pids.peak", "pids.events"),
)
# What a command prints about the machine: the parent of an orphan, all its subsystems, and how long
# tasks have waited.
OF_THE_MACHINE = (
    *((r"its parent \S+ has", "its parent has"), (r"hint: known: .*", "hint: known")),
    (r"(avg\d+|total)=[\d.]+", r"\1="),
)
V2_FILES = (*V2_TASKS, *V2_CORE, *V2_OF_CONTROLLERS)
_ID = r"(?<![\w-])\d{3,}(?![\w-])"
FIRST_ID = 1_234_567  # of tasks in a guest, so that no value of a file is an id
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
    def has_v2(self) -> bool:
        """Whether it is a walk on cgroup v2."""
        return UNIFIED in self.bases

    @property
    def folders(self) -> tuple[str, ...]:
        """Where mounts of the walk are: those of commands are where pcont makes the directory."""
        return (f"{self.folder}/", f"{ELSEWHERE}/") if self.has_v2 else (f"{self.folder}/",)

    @property
    def controllers(self) -> tuple[str, ...]:
        """What the walk may mount."""
        return () if self.bases else self.dialect.controllers

    @property
    def names(self) -> list[str]:
        """What hierarchies of the walk are called."""
        return [f"pct{os.getpid()}-{letter}" for letter in "xy"]

    def has(self, tree: str) -> bool:
        """Whether a tree is any of the walk's business."""
        if tree == UNIFIED:
            return self.has_v2
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
        return answer if step.verb == "pcont" else repr(answer)

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
        if file in (*subsys.TASK_FILES, *V2_TASKS):
            return self._labels(text, ordered=place.tree != UNIFIED)
        return text

    def write(self, place: Place, file: str, text: str) -> None:
        self.backend.write(place, file, text)

    def set_attribute(self, place: Place, name: str, text: str | None) -> None:
        self.backend.set_attribute(place, name, text)

    # Commands

    def pcont(self, *words: str) -> str:
        """Run a command; its exit status, and what it printed, with tasks by their labels."""
        spelled = [LABEL.sub(lambda found: str(self.ids[found[1]]), word) for word in words]
        out, err = io.StringIO(), io.StringIO()
        with (
            patch.object(kernel_open, "open_backend", lambda *_: self.opened()),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            status = main(spelled)
        labels = {str(id): f"<{label}>" for label, id in self.ids.items()}
        printed = re.sub(
            _ID, lambda found: labels.get(found[0], found[0]), out.getvalue() + err.getvalue()
        )
        for pattern, instead in OF_THE_MACHINE:
            printed = re.sub(pattern, instead, printed)
        if words[0] == "ps":
            printed = _ids_only(printed)
        if words[0] == "get":  # cgroup v2 lists tasks in any order
            printed = "\n".join(sorted(printed.splitlines()))
        return f"exit {status}\n{printed}"

    def opened(self) -> Backend:
        """The backend for a command."""
        return self.backend

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

    def _labels(self, text: str, ordered: bool = True) -> str:
        ids = [int(line) for line in text.splitlines()]
        assert ids == sorted(set(ids)) or not ordered, text
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
        folders = self.ground.folders
        return sorted(mount.point for mount in mounts if mount.point.startswith(folders))

    def _look_below(self, place: Place, sight: Sight) -> None:
        at = f"{place.tree}:{place.path}"
        sight[f"{at} attributes"] = self.backend.attributes(place)
        if place.tree == UNIFIED:
            self._look_at_files(place, sight)
        else:
            files = self.backend.files(place)
            sight[f"{at} files"] = files
            for file in files:
                if not file.startswith(COUNTERS):
                    sight[f"{at} {file}"] = self.read(place, file)
        children = sight[f"{at} children"] = self.backend.children(place)
        for name in children:
            self._look_below(place.child(name), sight)

    def _look_at_files(self, place: Place, sight: Sight) -> None:
        """Look at the files of a container of cgroup v2, and whether it has a leaf."""
        at = f"{place.tree}:{place.path}"
        for file in V2_FILES:
            sight[f"{at} {file}"] = self._text_or_errno(place, file)
        if not place.is_root:
            sight[f"{at} leaf"] = self._text_or_errno(place.leaf, "cgroup.threads")

    def _text_or_errno(self, place: Place, file: str) -> str:
        try:
            return self.read(place, file)
        except OSError as err:
            return f"[{errno.errorcode[err.errno or 0]}]"

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


def _ids_only(printed: str) -> str:
    """Task and process of each line of `ps`: the rest is about the programs that run."""
    lines = printed.splitlines()
    return "\n".join("\t".join(line.split("\t")[:2]) if "\t" in line else line for line in lines)


def _as_they_come(waiting: deque[int]) -> Iterator[int]:
    while waiting:
        yield waiting.popleft()


def _next(entering: Iterator[int]) -> list[int]:
    with contextlib.suppress(StopIteration):
        return [next(entering)]
    return []


class FarCgroupfs(Cgroupfs):
    """The backend of a command whose system calls are made at the far end: no other pcont is there,
    and no systemd.
    """

    def has_systemd(self) -> bool:
        return False

    def exclusive(self, waiting: Waiting = WAITING) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def journals(self) -> str:
        return ""

    def workplace(self) -> Workplace:
        return Workplace("", (), needed=False)


class KernelSide(Side):
    """The real kernel, with real tasks."""

    backend: Cgroupfs

    def __init__(self, ground: Ground) -> None:
        assert ground.far
        super().__init__(Cgroupfs(), ground, ground.far.pid)
        self.far = ground.far
        self.actors = Actors(self.far)
        if ground.has_v2:
            self.far.shows = V2_FILES.__contains__
        for base in map(ground.base, ground.bases):
            if not base.is_root:
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

    def _reset_v2(self, root: Place) -> None:
        """The root of cgroup v2 stays, with its limits and what it enables."""
        for file in ("cgroup.max.depth", "cgroup.max.descendants"):
            self.backend.write(root, file, "max")
        self.backend.write(root, "cgroup.pressure", "1")
        names = self.backend.read(root, "cgroup.subtree_control").split()
        if names:
            words = " ".join(f"-{name}" for name in names)
            self.backend.write(root, "cgroup.subtree_control", words)

    def _dissolve(self, tree: Tree) -> None:
        base = self.ground.base(tree.id)
        if tree.id != UNIFIED:
            self.backend.write(Place(tree.id), "cgroup.procs", "0")
        self._clear(base)
        if tree.id == UNIFIED and base.is_root:
            self._reset_v2(base)
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
        has_state = "freezer.state" in self.backend.files(place)
        if has_state or (place.tree == UNIFIED and not place.is_root):
            self.backend.write(place, "freezer.state", "THAWED")
        for name in self.backend.children(place):
            self._thaw(place.child(name))

    def _clear(self, place: Place) -> None:
        for name in self.backend.children(place):
            self._clear(place.child(name))
            self.backend.remove(place.child(name))

    def opened(self) -> Backend:
        return FarCgroupfs()

    def pcont(self, *words: str) -> str:
        before = self._trees() if words[0] in ("umount", "mount") else []
        with patch.object(os, "getpid", lambda: self.far.pid):
            answer = super().pcont(*words)
        self._settle_ended(before)
        return answer

    def _settle_ended(self, before: list[Tree]) -> None:
        """Heal a hierarchy that a command has unmounted, if no container is in it."""
        there = {tree.id: tree for tree in self._trees()} if before else {}
        for tree in before:
            now = there.get(tree.id)
            if tree.mounted and now and not now.mounted:
                point = self._mount_again(now)
                lingers = not self.backend.children(Place(tree.id))
                self.backend.umount(point)
                if lingers:
                    self._settle(now)

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

    def _look_at_files(self, place: Place, sight: Sight) -> None:
        self.far.foresee(self.backend.path(place, file) for file in V2_FILES)
        super()._look_at_files(place, sight)


def _give_lists(backend: Backend, place: Place) -> None:
    if "cpuset" in place.tree.split(","):
        for file in ("cpuset.cpus", "cpuset.mems"):
            backend.write(place, file, backend.read(place.parent, file))


class _OwnPath:
    """The module os.path for the model: what is at ELSEWHERE is the kernel's, which may be that of
    this machine.
    """

    def __getattr__(self, name: str) -> Any:
        found = getattr(os.path, name)
        if name not in ("isdir", "lexists", "ismount"):
            return found
        return lambda path: not f"{path}/".startswith(f"{ELSEWHERE}/") and found(path)


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

    def assigned_ids(self) -> AssignedIds | None:
        return None

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
        for base in map(ground.base, ground.bases):
            if base.tree != UNIFIED:
                self._mount_base(base.tree, ground.points[base.tree])
            if not base.is_root:
                self.backend.make(base)
            _give_lists(self.backend, base)

    def pcont(self, *words: str) -> str:
        own = SimpleNamespace(path=_OwnPath(), listdir=os.listdir)
        with patch.object(mounts, "os", own):
            return super().pcont(*words)

    def _mount_base(self, tree: str, point: str) -> None:
        for directory in self.backend.missing(point):
            self.backend.make_directory(directory)
        self.backend.mount(TreeRequest((tree,)), point, "walk")

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
def ground(far: Far, dialect: str = V1.name) -> Iterator[Ground]:
    """What a machine offers to a walk of a dialect."""
    kthreadd = None
    with contextlib.suppress(ProcessLookupError):
        kthreadd = Proc().task(KTHREADD_ID)
    with folder() as made:
        far.provide(made)
        found = Ground(
            folder=made,
            far=far,
            machine=this_machine(),
            kthreadd=kthreadd if kthreadd and kthreadd.kernel else None,
        )
        yield replace(found, **(_with_v2(far) if dialect == V2.name else _with_v1()))


def _with_v1() -> dict[str, Any]:
    """Everything where nothing is bound, else containers of our own."""
    trees = Cgroupfs().trees()
    bound = [tree for tree in trees if tree.id in V1.controllers and tree.mounted]
    return {
        "bases": {tree.id: f"/pct{os.getpid()}-walk" for tree in bound},
        "points": {tree.id: tree.mounts[0].point for tree in bound},
        "dialect": like(Proc().text("sys/kernel/osrelease")),
    }


def _with_v2(far: Far) -> dict[str, Any]:
    """All of cgroup v2 where no other program uses it, else a container of our own."""
    backend, root = Cgroupfs(), Place(UNIFIED)
    (tree,) = (one for one in backend.trees() if one.id == UNIFIED)
    dialect = V2._replace(v2=tree.controllers, v2_point=tree.mounts[0].point)
    if len(backend.trees()) > 1 or backend.children(root):
        return {"bases": {UNIFIED: f"/pct{os.getpid()}-walk"}, "dialect": dialect}
    far.put("/proc/sys/kernel/pid_max", str(NONE_THERE))
    far.put("/proc/sys/kernel/ns_last_pid", str(FIRST_ID))
    return {"bases": {UNIFIED: "/"}, "dialect": dialect}


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
