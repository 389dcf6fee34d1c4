"""The kernel in memory: cgroup v1 as it answers, errno for errno, driven by the tables.

Live tasks of this machine can be attached. Nothing happens to them (a frozen one runs on), and
their forks are not seen; CPU time is charged where they are, as often as somebody looks. A zombie
of theirs is gone at once, also for pids.current. Tasks that do not exist can be played: they fork,
run and exit as they are told. Release agents do not run: it is remembered for what they would.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from errno import (
    E2BIG,
    EACCES,
    EBUSY,
    ECHILD,
    EEXIST,
    EINVAL,
    EISDIR,
    ENAMETOOLONG,
    ENODATA,
    ENODEV,
    ENOENT,
    ENOSPC,
    ENOTDIR,
    ENOTEMPTY,
    EOPNOTSUPP,
    EOVERFLOW,
    EPERM,
    ERANGE,
    ESRCH,
)

from pcont import subsys
from pcont.errors import PcontError, Unseen, Unsupported, from_oserror
from pcont.kernel.busy import MOUNTED_THERE, NOT_EMPTY, mounts_inside
from pcont.kernel.interfaces import Birth, ProcessTree, exists
from pcont.kernel.paths import join
from pcont.kernel.refusals import WriteRefused, refuse
from pcont.kernel.types import (
    NAMESPACES,
    WAITING,
    Controller,
    Mount,
    NamespaceSpec,
    Owner,
    Place,
    Task,
    Tree,
    TreeRequest,
    Waiting,
)
from pcont.linux import lock
from pcont.linux.proc import Proc, no_task, this_machine
from pcont.model.cgroups import ModelTree, Node, PlacedTask, admits, carry, shared
from pcont.model.dialects import DIALECTS, V1, Dialect, Slot
from pcont.model.open_files import OpenFiles
from pcont.model.store import (
    ANOTHER,
    NOT_OURS,
    READABLE,
    VERSION,
    default_file,
    load_state,
    read_file,
    save_file,
    state_text,
    undisturbed,
)
from pcont.model.tasks import IDLE, INIT, TaskTable
from pcont.subsys import numfiles
from pcont.subsys.model import numtasks
from pcont.subsys.model.freezer import frozen
from pcont.subsys.numfiles import BARRIER, LIMIT, Charges
from pcont.subsys.numtasks import NAME as NUMTASKS
from pcont.tables.behaviour import Behaviour
from pcont.tables.control_file import ControlFile, Subsystem
from pcont.tables.rules import Entry, Machine, Mover, Proposed, Violation
from pcont.trust.workplace import Workplace
from pcont.values import Ids, TooLong
from pcont.virtual.auto_delete import AGENT, AUTO_DELETE

# Options of a mount that say what the root of a new hierarchy has.
AS_MOUNTED = {"clone_children": "cgroup.clone_children", "release_agent": "release_agent"}
UNREADABLE = ((TooLong, EOVERFLOW), (OverflowError, ERANGE), (ValueError, EINVAL))
PATH_MAX = 4096  # kernfs has no limit of its own for a name
NAME_MAX = 255  # the file systems have one where hierarchies are mounted
DEFAULT = "/sys/fs/cgroup"
SMALL = Machine(frozenset(range(4)), frozenset(range(2)), cpu_limit=4)


def _is_default(path: str) -> bool:
    """Whether a path is where hierarchies are mounted by default: nothing of this machine is."""
    return path.startswith(f"{DEFAULT}/")


class ModelReleases:
    """The Releases of a model. Agents of the user's are only remembered."""

    attended = False

    def __init__(self, model: Model) -> None:
        self._model = model

    def program(self, tree: str) -> str:
        return os.path.join("/var/lib/pcont/agents", tree)

    def programs(self) -> dict[str, bool]:
        return {}

    def keeper(self, tree: str) -> str:
        return ""

    def forget(self, tree: str) -> None:
        """Nothing outlives a hierarchy here."""

    def told(self) -> list[str]:
        self._model.look()
        return [tree.id for tree in self._model.active if tree.emptied]

    @contextlib.contextmanager
    def taken(self, tree: str) -> Iterator[list[str]]:
        for one in self._model.active:
            if one.id == tree:
                paths, one.emptied = one.emptied, []
                yield paths
                one.emptied += paths
                return
        yield []

    def notify(self, program: str, path: str) -> None:
        with self._model.turn():
            self._model.notified.append((program, path))


class Model:
    """A Backend without a kernel, which answers in a dialect.

    `proc` is where the tasks of this machine are read, `clock` tells seconds.
    """

    name = "model"

    def __init__(
        self,
        machine: Machine = SMALL,
        proc: Proc | None = None,
        dialect: Dialect = V1,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.dialect = dialect
        self.clock = clock
        self.hardware = machine
        self.stage = TaskTable(proc or Proc())
        self.active: list[ModelTree] = []
        self.known: dict[int, PlacedTask] = {}
        self.live: dict[int, PlacedTask] = {}  # of them, those whose end nobody tells
        self.ended: dict[int, int] = {}
        self.dying: set[int] = set()  # of those that are played, who was killed while frozen
        self.uid = os.geteuid()
        self.directories: set[str] = set()
        self.stacks: dict[str, list[ModelTree]] = {}  # what is mounted at a point, the upper last
        self.open: Counter[str] = Counter()  # files, by the point of the mount
        self.pinned: dict[str, tuple[str, ...]] = {}
        self.next_number = 1
        self.files_open = OpenFiles()
        self.metered: dict[str, ModelTree] = {}
        self.meter = ModelMeter(self)
        self.unbound = ModelTree(self, 0, dialect.controllers)
        rows = (row for one in self.unbound.behaviours for row in one.parameters)
        self.releases = ModelReleases(self)
        self.notified: list[tuple[str, str]] = []
        self.parameters: dict[str, int] = {row.name: row.default for row in rows}

    def privileged(self) -> bool:
        return self.uid == 0 or not self.dialect.owners

    def environment(self) -> dict[str, str]:
        return {"PCONT_BACKEND": self.name}

    def turn(self, waiting: Waiting = WAITING) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def journals(self) -> str:
        return ""

    def workplace(self) -> Workplace:
        directory = self.journals()
        return Workplace(directory, (directory,) if directory else (), needed=bool(directory))

    # What is there

    def controllers(self) -> tuple[Controller, ...]:
        numbers = {name: tree.number for tree in self.active for name in tree.controllers}
        return tuple(
            Controller(name, numbers.get(name, 0), True) for name in self.dialect.controllers
        )

    def kept(self) -> tuple[str, ...]:
        return subsys.kept() if self.dialect.keeps else ()

    def table(self, name: str) -> Subsystem | None:
        return self.dialect.table(name)

    def trees(self) -> tuple[Tree, ...]:
        return tuple(
            Tree(one.id, one.number, one.controllers, one.name, tuple(self._uncovered(one)))
            for one in self.active
        )

    def _uncovered(self, tree: ModelTree) -> list[Mount]:
        """Where it can be reached: at each point the upper mount is."""
        found = {one.point: one for one in tree.mounts if self.stacks[one.point][-1] is tree}
        return [one for point, one in found.items() if not self._is_hidden(point)]

    def _is_hidden(self, point: str) -> bool:
        """Whether something was mounted above a point later, so that it cannot be seen."""
        points = list(self.stacks)
        later = points[points.index(point) + 1 :]
        return any(point.startswith(f"{one}/") for one in later)

    def _mounted_inside(self, point: str) -> list[str]:
        """The points that are in what is mounted at this one."""
        points = list(self.stacks)
        later = points[points.index(point) + 1 :]
        return [one for one in later if one.startswith(f"{point}/")]

    def machine(self) -> Machine:
        return self.hardware

    # Mounting (kernel/cgroup/cgroup-v1.c, cgroup1_root_to_use())

    def mount(self, request: TreeRequest, point: str, source: str) -> None:
        is_directory = self._is_directory(point)
        if not self._is_there(point):
            refuse(ENOENT, point)
        request = self._understood(request, point)
        wanted = set(request.controllers)
        tree = self._reused(request, point)
        if tree is None and any(set(one.controllers) & wanted for one in self.active):
            refuse(EBUSY, point)
        if not is_directory:
            refuse(ENOTDIR, point)
        stack = self.stacks.get(point, [])
        if tree and stack[-1:] == [tree]:
            refuse(EBUSY, point)  # fs/namespace.c: the same once more where it is
        tree = tree or self._new(request, point)
        tree.mounts.append(Mount(point, source=source))
        self.stacks.pop(point, None)  # the order of the points is that of their upper mounts
        self.stacks[point] = [*stack, tree]

    def _understood(self, request: TreeRequest, point: str) -> TreeRequest:
        """What the words of a request mean."""
        dialect, words = self.dialect, request.controllers
        if not (words or request.name):
            if dialect.nothing:
                refuse(dialect.nothing, point)
            words = dialect.controllers
        if "all" in words and dialect.nothing is None:
            words = (*dialect.controllers, *(word for word in words if word != "all"))
        for word in words:
            if word not in dialect.controllers:
                refuse(dialect.unknown if word else EINVAL, point)
        if (request.name or request.more) and not dialect.named:
            refuse(dialect.unknown, point)
        wanted = tuple(name for name in dialect.controllers if name in words)
        return replace(request, controllers=wanted)

    def _reused(self, request: TreeRequest, point: str) -> ModelTree | None:
        for tree in self.active:
            if request.name and tree.name != request.name:
                continue
            if set(tree.controllers) == set(request.controllers):
                return tree
            if request.name:
                refuse(EBUSY, point)
        return None

    def _new(self, request: TreeRequest, point: str) -> ModelTree:
        tree = ModelTree(self, self._number(point), request.controllers, request.name)
        carry(self.unbound.root, tree.root, tree)
        self.active.append(tree)
        for word, _, text in (word.partition("=") for word in request.more):
            if file := AS_MOUNTED.get(word):
                tree.root.values[file] = tree.rows[file].type.parse(text or "1")
        return tree

    def _number(self, point: str) -> int:
        """The number of a new hierarchy: the next one, or where they are few the first free one."""
        if not self.dialect.slots:
            self.next_number += 1
            return self.next_number - 1
        taken = {tree.number for tree in self.active}
        free = [number for number in self._slots() if number not in taken]
        return free[0] if free else refuse(ENOSPC, point)

    def _slots(self) -> range:
        return range(1, 1 + self.dialect.slots)

    def umount(self, point: str) -> None:
        if point not in self.stacks:
            refuse(EINVAL, point)
        if self.open[point] or self._mounted_inside(point):
            refuse(EBUSY, point)
        *below, tree = self.stacks.pop(point)
        if below:
            self.stacks[point] = below
        tree.mounts.remove([mount for mount in tree.mounts if mount.point == point][-1])
        if not tree.mounts and not tree.root.nodes:
            self.active.remove(tree)
            carry(tree.root, self.unbound.root, tree)
            for task in tree.root.tasks:
                del self.known[task].nodes[tree.number]
            for name in [name for name, one in self.metered.items() if one is tree]:
                self.meter.end(name)

    # Directories are those of this machine, with what is made and mounted in the model; where it
    # has its hierarchies by default, only that.

    def _is_directory(self, path: str) -> bool:
        if place := self._container_at(path):
            return exists(self, place)
        if path == DEFAULT or path in self.directories:
            return True
        return not _is_default(path) and os.path.isdir(path)

    def _is_there(self, path: str) -> bool:
        if place := self._container_at(path):
            return exists(self, place) or (
                exists(self, place.parent) and self.node(place.parent).has(place.name)
            )
        return self._is_directory(path) or (not _is_default(path) and os.path.lexists(path))

    def _container_at(self, path: str) -> Place | None:
        """What a directory below a mount is, or would be."""
        inside = [one for one in self.stacks if path.startswith(f"{one}/")]
        point = max(inside, key=list(self.stacks).index, default="")
        return Place(self.stacks[point][-1].id, path[len(point) :]) if point else None

    def occupied(self, directory: str, entries: bool) -> str:
        missing = self.missing(directory)
        there = os.path.dirname(missing[0]) if missing else directory
        if not self._is_directory(there):
            refuse(ENOTDIR, there)
        machines = os.path.ismount(directory) and not _is_default(directory)
        if directory in self.stacks or directory == DEFAULT or machines:
            return MOUNTED_THERE
        return NOT_EMPTY if entries and not missing and self._entries(directory) else ""

    def _entries(self, directory: str) -> bool:
        """Whether there is anything in a directory; a container has its control files."""
        made = any(one.startswith(f"{directory}/") for one in (*self.directories, *self.stacks))
        if made or self._container_at(directory):
            return True
        real = not _is_default(directory) and os.path.isdir(directory)
        return real and bool(os.listdir(directory))

    def in_the_way(self, point: str) -> tuple[str, str]:
        if inside := self._mounted_inside(point):
            trees = {one: self.stacks[one][-1] for one in inside}
            mounts = [one for tree in trees.values() for one in tree.mounts]
            return mounts_inside([next(m for m in mounts if m.point == one) for one in inside])
        return ("a file in it is open", "close it") if self.open[point] else ("", "")

    def copies(self, tree: str) -> list[tuple[int, str]]:
        return []

    def missing(self, directory: str) -> list[str]:
        found: list[str] = []
        while directory and not self._is_there(directory):
            found.insert(0, directory)
            directory = os.path.dirname(directory)
        return found

    def make_directory(self, directory: str) -> None:
        if place := self._container_at(directory):
            self.make(place)
        else:
            self.directories.add(directory)

    def remove_directory(self, directory: str) -> None:
        if place := self._container_at(directory):
            self.remove(place)
            return
        if any(one.startswith(f"{directory}/") for one in (*self.directories, *self.stacks)):
            refuse(ENOTEMPTY, directory)
        if directory in self.stacks:
            refuse(EBUSY, directory)
        self.directories.discard(directory)

    def default_directory(self, name: str) -> str:
        return os.path.join(DEFAULT, name)

    def resolve(self, directory: str) -> str:
        return os.path.normpath(directory)

    # Containers

    def _tree(self, id: str) -> ModelTree:
        for tree in self.active:
            if tree.id == id and self._uncovered(tree):
                return tree
            if tree.id == id:
                raise Unseen(id)
        refuse(ENOENT, id)

    def node(self, place: Place) -> Node:
        node = self._tree(place.tree).root
        for word in place.path.split("/"):
            if not word:
                continue
            if word not in node.nodes:
                refuse(ENOTDIR if node.has(word) else ENOENT, self.show(place))
            node = node.nodes[word]
        return node

    def make(self, place: Place) -> None:
        if place.is_root:
            refuse(EEXIST, self.show(place))
        parent = self.node(place.parent)
        self._check_length(place)
        node = self._make(parent, place.name, self._mover(parent.tree))
        if parent.has("cgroup.clone_children") and parent.value("cgroup.clone_children"):
            _clone_lists(parent, node)

    def _make(self, parent: Node, name: str, mover: Mover) -> Node:
        """A container that looks like a new one; what its maker may not do is refused."""
        where = join(parent.path, name)
        if name in parent.nodes or parent.has(name):
            refuse(EEXIST, where)
        for rule in (rule for table in parent.tree.tables for rule in table.making):
            if breach := rule(parent, mover):
                refuse(breach.errno, where)
        node = Node(parent.tree, name, parent)
        for row in parent.tree.rows.values():
            if row.passed_on and parent.has(row.name):
                node.values[row.name] = parent.value(row.name)
        parent.nodes[name] = node
        return node

    def remove(self, place: Place, force: bool = False) -> None:
        node = self.node(place)
        self._reap(self._live_in(node))
        held = node.charges.held and not (force and numfiles.NAME in self.metered)
        if node.parent is None or node.tasks or node.nodes or held or self._is_mount_point(place):
            refuse(EBUSY, self.show(place))
        del node.parent.nodes[node.name]
        self.files_open.forget(node.charges)
        node.parent.check_release()

    def _is_mount_point(self, place: Place) -> bool:
        """Whether something is mounted at the directory of a container, in any of its views."""
        views = [one.point for one in self._tree(place.tree).mounts]
        return any(f"{view}{place.path}" in self.stacks for view in views)

    def rename(self, place: Place, name: str) -> None:
        """In the order of the kernel (fs/namei.c, vfs_rename(); cgroup1_rename())."""
        new = place.parent.child(name)
        parent = self.node(place.parent)
        if place.is_root:
            # This is to rename the mount point, and first of all its new name is looked up.
            too_long = len(os.fsencode(name)) > NAME_MAX
            refuse(ENAMETOOLONG if too_long else EBUSY, self.show(place))
        self._check_length(new)
        if place.name in parent.nodes:
            if new == place:
                return
            if name in parent.nodes or parent.has(name):
                refuse(EEXIST if name in parent.nodes else ENOTDIR, self.show(place))
            node = parent.nodes[name] = parent.nodes.pop(place.name)
            node.name = name
        elif not parent.has(place.name):
            refuse(ENOENT, self.show(place))
        elif new != place:
            refuse(EISDIR if name in parent.nodes else ENOTDIR, self.show(place))

    def _check_length(self, place: Place) -> None:
        if len(os.fsencode(self.show(place))) >= PATH_MAX:
            refuse(ENAMETOOLONG, self.show(place))

    def children(self, place: Place) -> list[str]:
        return sorted(self.node(place).nodes)

    def files(self, place: Place) -> dict[str, bool]:
        node = self.node(place)
        rows = node.tree.rows
        return {file: rows[file].writable for file in sorted(rows) if node.has(file)}

    def read(self, place: Place, file: str) -> str:
        node, row = self._row(place, file)
        how = node.tree.file_behaviours.get(file)
        if file in subsys.TASK_FILES or (how and how.derived):
            self._reap(self._live_below(node))
        if file in subsys.TASK_FILES:
            return self.listed(node, file)
        return row.type.show(node.value(file)) + row.end

    def listed(self, node: Node, file: str) -> str:
        """The text of a file that lists tasks."""
        return "".join(f"{task}\n" for task in sorted(self._inside(node, file)))

    def _row(self, place: Place, file: str) -> tuple[Node, ControlFile]:
        node = self.node(place)
        if file in node.nodes:
            refuse(EISDIR, self.show(place, file))
        try:
            return node, node.row(file)
        except KeyError:
            refuse(ENOENT, self.show(place, file))

    def inside(self, node: Node) -> set[int]:
        """The tasks in a container itself."""
        return node.tasks | self._elsewhere(node.tree) if node.parent is None else set(node.tasks)

    def _inside(self, node: Node, file: str) -> set[int]:
        tasks = self.inside(node)
        if file == "cgroup.procs":
            return {self.known[task].pid if task in self.known else task for task in tasks}
        return tasks

    def _elsewhere(self, tree: ModelTree) -> set[int]:
        """The tasks of this machine that were never put anywhere in a hierarchy: in its root."""
        found = {task for pid in self.stage.processes() for task in self._live_threads_of(pid)}
        return {one for one in found if tree.number not in self._nodes_of(one)}

    def _live_threads_of(self, pid: int) -> list[int]:
        """Return the threads of a process without its first one if that is a zombie.

        `pid` is the first thread of a live process, and any thread of a played one.
        """
        played = self.stage.played
        return [
            one
            for one in self._threads_of(pid)
            if (one != pid and one not in played) or not self.stage.has_ended(one)
        ]

    def _threads_of(self, pid: int) -> list[int]:
        """The threads of a process, none of one that has ended."""
        with contextlib.suppress(ProcessLookupError):
            return self.threads(pid)
        return []

    def _nodes_of(self, task: int) -> dict[int, Node]:
        return self.known[task].nodes if task in self.known else {}

    def write(self, place: Place, file: str, text: str) -> None:
        node, row = self._row(place, file)
        where = self.show(place, file)
        if not (text or self.dialect.empty):
            return
        text = self._taken(row, text, where)
        if not row.writable:
            raise WriteRefused(row.read_only, os.strerror(row.read_only), where)
        if file in subsys.TASK_FILES:
            self._reap(self.live.values())
            self._attach(node, text, file == "cgroup.procs", where)
        else:
            self._assign(node, row, text, where)

    def _taken(self, row: ControlFile, text: str, where: str) -> str:
        """What the kernel takes of a text (fs/kernfs/file.c): a string of C, if not too long."""
        bytes = text.encode("utf-8", "surrogateescape")
        if len(bytes) > row.longest(self.hardware):
            raise WriteRefused(E2BIG, os.strerror(E2BIG), where)
        return bytes.partition(b"\0")[0].decode("utf-8", "surrogateescape")

    def _assign(self, node: Node, row: ControlFile, text: str, where: str) -> None:
        if row.root_fixed and node.parent is None:
            raise WriteRefused(EACCES, os.strerror(EACCES), where)
        try:
            codec = row.read_as(node.machine) if row.read_as else row.type
            wanted = codec.parse(text)
            wanted = row.joined(node.value(row.name), wanted) if row.joined else wanted
        except (ValueError, OverflowError) as err:
            number = next(number for kind, number in UNREADABLE if isinstance(err, kind))
            raise WriteRefused(number, os.strerror(number), where) from err
        wanted = shared(wanted)
        self._reap(self._live_below(node))
        for rule in row.rules:
            self._check(rule(node, Proposed(node, row.name, wanted)), where)
        # The kernel stops at a list that is the same (cpuset.c, update_cpumask()).
        moves = row.moves_affinity and wanted != node.value(row.name)
        node.values[row.name] = wanted
        _run_effect(node, row.name)
        if moves:
            for task in node.tasks:
                self._confine(self.known[task], wanted)

    @staticmethod
    def _check(breach: Violation | None, where: str) -> None:
        if breach:
            raise WriteRefused(breach.errno, os.strerror(breach.errno), where)

    def attributes(self, place: Place) -> dict[str, str]:
        return dict(self.node(place).attributes)

    def owners(self, place: Place) -> dict[str, Owner]:
        return {}

    def set_owners(self, place: Place, owners: Mapping[str, Owner]) -> None:
        """Nobody owns anything here."""

    def set_attribute(self, place: Place, name: str, text: str | None) -> None:
        node = self.node(place)
        if text is not None:
            node.attributes[name] = text
        elif node.attributes.pop(name, None) is None:
            refuse(ENODATA, self.show(place))

    def stray(self, place: Place) -> dict[str, str]:
        return {}

    def mend(self, place: Place) -> None:
        """Only pcont writes attributes here."""

    def relied_on(self) -> dict[str, str]:
        return {}

    def spelled(self, place: Place, file: str) -> str:
        return self._tree(place.tree).spelled(file)

    def show(self, place: Place, file: str = "") -> str:
        found = (one for one in self.active if one.id == place.tree and self._uncovered(one))
        tree = next(found, None)
        base = self._uncovered(tree)[0].point if tree else f"{place.tree}:"
        file = tree.spelled(file) if tree else file
        return base + join(place.path, file) if (place.path, file) != ("/", "") else base

    # Tasks

    def task(self, task: int) -> Task:
        live = self.stage.task(task)
        if self.ended.get(task) == live.start and not self._is_frozen(task):
            raise no_task(task)
        return live if self.dialect.fixed or not live.fixed else replace(live, fixed=False)

    def _is_frozen(self, task: int) -> bool:
        """Whether it stands still, and so does not even end before it is thawed."""
        return any(
            frozen(node)
            for node in self._nodes_of(task).values()
            if subsys.FREEZER in node.tree.controllers and task in node.tasks
        )

    def threads(self, pid: int) -> list[int]:
        self.task(pid)
        return self.stage.threads(pid)

    def membership(self, task: int) -> dict[str, str]:
        if task in self.live:
            self._reap([self.live[task]])
        self.task(task)
        return {tree.id: self._path_of(task, tree) for tree in self.active}

    def family(self, pid: int) -> contextlib.AbstractContextManager[ProcessTree]:
        return self.stage.family(pid)

    def thawing(self, place: Place) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def enter(self, place: Place, tasks: Iterable[int]) -> Iterator[int]:
        node, where = self.node(place), self.show(place, "tasks")
        self._reap(self.live.values())
        with self._opened(self._uncovered(node.tree)[0].point):
            for task in tasks:
                try:
                    self._attach(node, str(task), False, where)
                    yield task
                except WriteRefused as err:
                    if err.errno != ESRCH:
                        raise

    @contextlib.contextmanager
    def _opened(self, point: str) -> Iterator[None]:
        """A file of this mount is open: it cannot be unmounted meanwhile."""
        self.open[point] += 1
        try:
            yield
        finally:
            self.open[point] -= 1

    def kill(self, place: Place, pids: Iterable[int], number: int) -> Iterator[int]:
        """In the model they have ended; the live processes are not touched."""
        for pid in pids:
            tasks = self._threads_of(pid)
            alive = [task for task in tasks if not self.stage.has_ended(task)]
            if place.path in [self.membership(task).get(place.tree) for task in alive]:
                self._kill(tasks)
                yield pid

    def _kill(self, tasks: Iterable[int]) -> None:
        for task in tasks:
            if self.stage.is_played(task):
                self._die(task)
            else:
                self.ended[task] = self.stage.task(task).start
        self._reap([self.live[task] for task in tasks if task in self.live])

    # Namespaces: the model has none, and knows only what would be pinned.

    def namespaces(self) -> tuple[str, ...]:
        return NAMESPACES

    def separate(self, apart: NamespaceSpec) -> Birth:
        from pcont.linux.spawn import Plain

        return Plain("the model makes no namespaces: COMMAND has those of its caller")

    def join(self, name: str) -> Birth:
        if name not in self.pinned:
            refuse(ENOENT, name)
        from pcont.linux.spawn import Plain

        return Plain("the model has no namespaces: COMMAND has those of its caller")

    def pins(self) -> dict[str, dict[str, str]]:
        return {
            name: {kind: self.pin_path(name, kind) for kind in sorted(kinds)}
            for name, kinds in sorted(self.pinned.items())
        }

    def may_join(self, files: Mapping[str, str]) -> bool:
        return True

    def may_mount(self) -> bool:
        return True

    def may_move(self, task: int) -> bool:
        return not self.dialect.owners or self.uid == 0 or self.uid in self.stage.owners(task)

    def may_change(self, place: Place) -> bool:
        return True

    def pin_path(self, name: str, kind: str = "") -> str:
        return join("/run/pcont/ns", f"{name}/{kind}")

    def pin(self, name: str, task: int, kinds: Iterable[str]) -> None:
        if name in self.pinned:
            refuse(EEXIST, name)
        self.pinned[name] = tuple(kinds)

    def unpin(self, name: str) -> None:
        if self.pinned.pop(name, None) is None:
            refuse(ENOENT, name)

    def affinity(self, task: int) -> Ids:
        self.task(task)
        return self.known[task].cpus if task in self.known else self.hardware.cpus

    def set_affinity(self, task: int, cpus: Ids) -> None:
        one = self._adopt(task)
        may = self._may_use(one)
        if not cpus & may:
            refuse(EINVAL, str(task))
        one.cpus, one.wish = cpus & may, cpus

    def _may_use(self, task: PlacedTask) -> Ids:
        """The CPUs of its cpuset; of the one above where a zombie's was emptied meanwhile."""
        for node in task.nodes.values():
            if "cpuset" in node.tree.controllers:
                found: Iterator[Ids] = (above.value("cpuset.cpus") for above in node.upwards())
                return next(cpus for cpus in found if cpus)
        return self.hardware.cpus

    def _confine(self, task: PlacedTask, cpus: Ids) -> None:
        """A cpuset gives it these CPUs."""
        wish = task.wish if self.dialect.keeps_wishes else None
        task.cpus = (wish & cpus if wish else cpus) or cpus

    def open_file(self, task: int, admin: bool = False) -> int:
        """A task opens a file, as one with CAP_SYS_ADMIN or not: its number. ENFILE, ESRCH."""
        self._reap(self.live.values())
        nodes, tree = self._adopt(task).nodes, self.files_tree()
        node = nodes.get(tree.number, tree.root) if tree else None
        return self.files_open.open(task, self._charges(node) if node else None, admin)

    def files_tree(self) -> ModelTree | None:
        """Where open files are charged."""
        if "bc" in self.dialect.controllers:
            return self._holding("bc")[0]
        return self.metered.get(numfiles.NAME)

    @staticmethod
    def _charges(node: Node) -> Charges | None:
        """Those of a container; where a kernel has the limits in files, as these say."""
        if node.has(BARRIER):
            node.charges.barrier, node.charges.limit = node.value(BARRIER), node.value(LIMIT)
            return node.charges
        return node.charges if node.parent else None

    def share_file(self, file: int, task: int) -> None:
        """One more task holds an open file. EBADF, ESRCH."""
        self._reap(self.live.values())
        self.files_open.share(file, self._adopt(task).id)

    def close_file(self, file: int, task: int) -> None:
        """A task holds a file no more; it is closed once nobody does. EBADF."""
        self._reap(self.live.values())
        self._close(file, task)

    def _attach(self, node: Node, text: str, whole: bool, where: str) -> None:
        """In the kernel's order: the number, the task, may it move at all, may it enter."""
        if node.parent and node.parent.nodes.get(node.name) is not node:
            raise WriteRefused(ENODEV, os.strerror(ENODEV), where)
        try:
            task = self.dialect.number(text)
            if not self.dialect.zombies and self.stage.has_ended(task):
                raise no_task(task)
            movers = self.threads(task or os.getpid()) if whole else [task or os.getpid()]
            fixed = self.task(movers[0]).fixed
        except (ValueError, OverflowError, ProcessLookupError) as err:
            number = ESRCH if isinstance(err, ProcessLookupError) else self.dialect.no_number
            raise WriteRefused(number, os.strerror(number), where) from err
        if fixed and self.dialect.fixed:
            raise WriteRefused(EINVAL, os.strerror(EINVAL), where)
        if task and not self.may_move(task):
            raise WriteRefused(EACCES, os.strerror(EACCES), where)
        # Whoever has ended, or is there already, is not asked (cgroup_migrate_add_task()).
        movers = [one for one in movers if self.dialect.again or self._comes(one, node)]
        for one in movers:
            self._may_enter(node, one, self._mover(node.tree), where)
        for one in self._together(movers):
            with contextlib.suppress(ProcessLookupError):
                self._move(self._adopt(one), node)

    def _together(self, tasks: Iterable[int]) -> list[int]:
        """Who is in the same containers moves one after the other (cgroup_migrate_add_task())."""
        groups: dict[tuple[Node, ...], list[int]] = {}
        for task in tasks:
            nodes = self._nodes_of(task)
            places = tuple(nodes.get(tree.number, tree.root) for tree in self.active)
            groups.setdefault(places, []).append(task)
        return [task for group in groups.values() for task in group]

    def _may_enter(self, node: Node, task: int, mover: Mover, where: str) -> None:
        entry = Entry(node, task, self._path_of(task, node.tree), mover)
        for rule in (rule for table in node.tree.tables for rule in table.entry):
            self._check(rule(entry), where)

    def _path_of(self, task: int, tree: ModelTree) -> str:
        # A zombie is shown in the roots (kernel/cgroup/cgroup.c, proc_cgroup_show()).
        node = None if self.stage.is_zombie(task) else self._nodes_of(task).get(tree.number)
        return node.path if node else "/"

    def _mover(self, tree: ModelTree) -> Mover:
        return Mover(os.getpid(), self._path_of(os.getpid(), tree), self.privileged())

    def _comes(self, task: int, node: Node) -> bool:
        tree = node.tree
        here = self._nodes_of(task).get(tree.number, tree.root)
        return here is not node and not self.stage.has_ended(task)

    def _move(self, task: PlacedTask, node: Node) -> None:
        before = task.nodes.get(node.tree.number)
        if before is node and not self.dialect.again:
            return
        if before is not node:
            self._charge(task)
            # Counted in before it is counted out, in a common parent twice (pids_can_attach()).
            node.enter(task.id)
            task.nodes[node.tree.number] = node
            if before:
                before.leave(task.id)
        if "cpuset" in node.tree.controllers:
            self._confine(task, node.value("cpuset.cpus"))

    def _adopt(self, task: int) -> PlacedTask:
        """A live task, from now on known; a new thread is where its process is."""
        if task not in self.known:
            live = self.task(task)
            leader = self.known.get(live.pid)
            cpus = leader.cpus if leader else self.hardware.cpus
            one = PlacedTask(task, live.pid, live.start, cpus, self.stage.cpu_time(task))
            self.known[task] = self.live[task] = one
            for node in dict(leader.nodes).values() if leader else ():
                one.nodes[node.tree.number] = node
                node.enter(task)
        return self.known[task]

    def _live_in(self, node: Node) -> list[PlacedTask]:
        return [self.live[task] for task in self.live.keys() & node.tasks]

    def _live_below(self, node: Node) -> Iterable[PlacedTask]:
        """Who is counted here; in the root, also who was never put anywhere."""
        if node.parent is None:
            return self.live.values()
        if not node.nodes:
            return self._live_in(node)
        where = ((task, task.nodes.get(node.tree.number)) for task in self.live.values())
        return (task for task, at in where if at and node in at.upwards())

    def look(self) -> None:
        """See who has ended meanwhile, everywhere."""
        self._reap(self.live.values())

    def _reap(self, tasks: Iterable[PlacedTask]) -> None:
        """Charge the time that these have used, and forget those who have ended."""
        for one in [one for one in self.dying if not self._is_frozen(one)]:
            self._end(one)
        for task in list(tasks):
            try:
                live = self.task(task.id)
                gone = live.gone or live.start != task.start
                if not gone:
                    self._charge(task)
            except ProcessLookupError:
                gone = True
            if gone:
                del self.live[task.id]
                self._forget(task)

    def _forget(self, task: PlacedTask) -> None:
        del self.known[task.id]
        for node in task.nodes.values():
            node.leave(task.id)
        if task.id not in self.stage.played:
            self._close_all(task.id)

    def _close_all(self, holder: int) -> None:
        for file in self.files_open.held_by(holder):
            self._close(file, holder)

    def _close(self, file: int, holder: int) -> None:
        """Whose last file it was may go then."""
        charged = self.files_open.close(file, holder)
        tree = self.files_tree()
        if charged and not charged.held and tree and AUTO_DELETE in tree.rows:
            found = [node for node in tree.root.all() if node.charges is charged]
            for node in found:
                node.check_delete()

    def _charge(self, task: PlacedTask) -> None:
        now = self.stage.cpu_time(task.id)
        user, system = now.user - task.charged.user, now.system - task.charged.system
        task.charged = now
        self._account(task, now.cpu, user, system)

    def _account(self, task: PlacedTask, cpu: int, user: int, system: int) -> None:
        for node in self._accounts(task):
            node.charge(cpu % self.hardware.cpu_limit, user, system)

    def _holding(self, name: str) -> list[ModelTree]:
        """The hierarchy that a subsystem is bound to, else the place of unbound ones."""
        bound = [tree for tree in self.active if name in tree.controllers]
        return bound or [self.unbound]

    def _accounts(self, task: PlacedTask) -> Iterator[Node]:
        for tree in self._holding("cpuacct"):
            yield task.nodes.get(tree.number, tree.root)

    # Tasks that do not exist (backend.Simulated)

    def simulated(self) -> Model:
        return self

    def spawn(self, name: str = "played", uid: int | None = None) -> int:
        task = self.stage.process(INIT, name, self.uid if uid is None else uid)
        self.known[task] = PlacedTask(task, task, 0, self.hardware.cpus, IDLE)
        return task

    def fork(self, task: int) -> int:
        parent = self._forking(task)
        facts = self.stage.played[task]
        child = self._begin(self.stage.process(parent.pid, facts.name, facts.uid), parent)
        for file in self.files_open.held_by(parent.pid):
            self.files_open.share(file, child)
        return child

    def thread(self, task: int) -> int:
        parent = self._forking(task)
        return self._begin(self.stage.thread(task), parent)

    def _forking(self, task: int) -> PlacedTask:
        """A played task that may start another one; else the errno of the fork.

        The kernel's security modules, where programs of pcont's are, are asked before pids
        (kernel/fork.c, copy_process()).
        """
        parent = self._acting(task)
        named = zip(self.unbound.controllers, self.unbound.behaviours, strict=True)
        kernels = [(name, one) for name, one in named if one.fork]
        asked = [(one, tree) for name, one in kernels for tree in self._holding(name)]
        for behaviour, tree in [*self._metering(), *asked]:
            for rule in behaviour.fork:
                if breach := rule(parent.nodes.get(tree.number, tree.root)):
                    refuse(breach.errno, str(task))
        return parent

    def _metering(self) -> list[tuple[Behaviour, ModelTree]]:
        """Return what the model does in place of pcont's BPF programs, and in which trees."""
        return [(self.dialect.behaviour(name), tree) for name, tree in self.metered.items()]

    def _begin(self, task: int, parent: PlacedTask) -> int:
        """A new task is where its parent is, in every hierarchy at once."""
        pid = self.stage.played[task].pid
        self.known[task] = PlacedTask(
            task, pid, 0, parent.cpus, IDLE, dict(parent.nodes), parent.wish
        )
        for node in parent.nodes.values():
            node.enter(task)
        for behaviour, tree in self._metering():
            if behaviour.on_fork:
                behaviour.on_fork(parent.nodes.get(tree.number, tree.root))
        return task

    def container_clone(self, subsystem: str, task: int) -> str:
        one = self._acting(task)
        if subsystem not in ("ns", *self.dialect.controllers):
            refuse(ENOENT, subsystem)
        for tree in self.active if self.dialect.clones else ():
            if subsystem in tree.controllers:
                return self._clone_into(tree, one)
        return ""

    def _clone_into(self, tree: ModelTree, one: PlacedTask) -> str:
        """What it has made it leaves where the task may not enter (patch semantics, 6.2)."""
        parent = one.nodes.get(tree.number, tree.root)
        mover = Mover(one.id, parent.path, self.stage.played[one.id].uid == 0)
        node = self._make(parent, f"node_{one.pid}", mover)
        _clone_lists(parent, node)
        self._may_enter(node, one.id, mover, node.path)
        self._move(one, node)
        return node.path

    def exit(self, task: int, thread: bool = False) -> None:
        self._acting(task)
        for one in [task] if thread else self.stage.threads(task):
            self._die(one)

    def _die(self, task: int) -> None:
        """A played task ends, once it does not stand still."""
        if self._is_frozen(task):
            self.dying.add(task)
        elif not self.stage.is_zombie(task):
            self._end(task)

    def _end(self, task: int) -> None:
        self.dying.discard(task)
        one = self.known[task]
        if one.pid == task:
            for node in one.nodes.values():
                node.fade(task)
        else:
            self._forget(one)
        self.stage.end(task)
        if self.stage.is_over(one.pid):
            self._close_all(one.pid)
            if self.stage.waited:
                self._bury(one.pid)

    def reap(self, task: int) -> None:
        """wait(2) for a process that has ended; ECHILD for any other."""
        self.task(task)
        if not self.stage.is_over(task):
            refuse(ECHILD, str(task))
        self._bury(task)

    def _bury(self, pid: int) -> None:
        for node in self.known.pop(pid).nodes.values():
            node.bury()
        self.stage.remove(pid)

    def work(self, task: int, user: int, system: int = 0, cpu: int | None = None) -> None:
        one = self._acting(task)
        if cpu is not None and cpu not in one.cpus:
            refuse(EINVAL, str(task))
        self._account(one, min(one.cpus) if cpu is None else cpu, user, system)

    def open_one(self, task: int) -> int:
        one = self._acting(task)
        tree = self.files_tree()
        node = one.nodes.get(tree.number, tree.root) if tree else None
        charges = self._charges(node) if node else None
        return self.files_open.open(one.pid, charges, self.stage.played[task].uid == 0)

    def close_one(self, task: int, file: int) -> None:
        self._close(file, self._acting(task).pid)

    def plug(self, cpus: Ids, nodes: Ids) -> None:
        if not (cpus and nodes):
            refuse(EINVAL, "the machine")
        limit = max(self.hardware.cpu_limit, *(cpu + 1 for cpu in cpus))
        self.hardware = Machine(cpus, nodes, limit, max(self.hardware.node_limit, max(nodes) + 1))
        for task in self.known.values():
            task.cpus = shared(task.cpus & cpus or cpus)
        for tree in self.active:
            if "cpuset" in tree.controllers:
                for node in list(tree.root.all())[1:]:
                    self._unplug(node)

    def _unplug(self, node: Node) -> None:
        """The list of a cpuset loses what is not online, and its tasks leave where nothing is left.

        kernel/cgroup/cpuset.c: hotplug_update_tasks_legacy(), remove_tasks_in_empty_cpuset().
        """
        assert node.parent
        for file in ("cpuset.cpus", "cpuset.mems"):
            was, above = node.value(file), node.parent.value(file)
            node.values[file] = shared(was & above)
            if was and not node.values[file] and self.dialect.follows_up:
                node.values[file] = above
            elif not node.values[file]:
                nearest = next(one for one in node.parent.upwards() if admits(one))
                for task in list(node.tasks):
                    self._move(self.known[task], nearest)
        for task in node.tasks:
            self.known[task].cpus = node.value("cpuset.cpus")

    def mount_cpuset(self, point: str) -> None:
        new = all(tree.controllers != ("cpuset",) or tree.name for tree in self.active)
        self.mount(TreeRequest(("cpuset",)), point, "cpuset")
        tree = self.stacks[point][-1]
        # Today's kernels have options for this, and options are for a new hierarchy.
        if new or self.dialect.bare:
            tree.bare = True
            tree.root.values[AGENT] = "/sbin/cpuset_release_agent"

    def module(self, name: str, text: str | None = None) -> str:
        row = next(
            (row for one in self.unbound.behaviours for row in one.parameters if row.name == name),
            None,
        )
        if row is None:
            refuse(ENOENT, name)
        if text is not None:
            self._set_parameter(row, text)
        return str(row.type.show(self.parameters[name]))

    def _set_parameter(self, row: ControlFile, text: str) -> None:
        subsystem = row.name.partition(".")[0]
        try:
            wanted = row.type.parse(text)
        except ValueError as err:
            raise WriteRefused(EINVAL, os.strerror(EINVAL), row.name) from err
        root = self._holding(subsystem)[0].root
        there = sum(1 for pid in self.stage.processes() for _ in self._threads_of(pid))
        now = Parameters(root, {**self.parameters, "tasks": there})
        for rule in row.rules:
            self._check(rule(now, Proposed(now, row.name, wanted)), row.name)
        self.parameters[row.name] = wanted
        _run_effect(root, row.name)

    def proc_file(self, file: str) -> str:
        task, slash, name = file.partition("/")
        listing, show_all = self.dialect.listing
        if file == listing:
            return show_all(self._proc_slots(), self.dialect.controllers)
        membership, show = self.dialect.membership
        if not (slash and task.isdecimal() and name in (membership, "cpuset")):
            refuse(ENOENT, f"/proc/{file}")
        self.task(int(task))
        paths = [(self._slot(tree), self._path_of(int(task), tree)) for tree in self.active]
        paths.sort(key=lambda pair: pair[0].number)
        if name == membership:
            return show(paths)
        return next((path for slot, path in paths if "cpuset" in slot.subsystems), "/") + "\n"

    def _proc_slots(self) -> list[Slot]:
        """Every hierarchy; where they are few, also the free slots, and that of the unbound."""
        found = {tree.number: self._slot(tree) for tree in self.active}
        if self.dialect.slots:
            bound = {name for tree in self.active for name in tree.controllers}
            unbound = tuple(name for name in self.dialect.controllers if name not in bound)
            found[0] = Slot(0, unbound, "", 1, 0, None)
            for number in self._slots():
                found.setdefault(number, Slot(number, (), "", 1, 0, None))
        return [found[number] for number in sorted(found)]

    def _slot(self, tree: ModelTree) -> Slot:
        containers, inside = sum(1 for _ in tree.root.all()), tree.root.inside()
        return Slot(tree.number, tree.controllers, tree.name, containers, inside, len(tree.mounts))

    def _acting(self, task: int) -> PlacedTask:
        """A played task that can do something: who is frozen cannot, who lives does as he likes."""
        if not self.stage.is_played(task):
            self.task(task)
            refuse(EPERM, str(task))
        if self.stage.is_zombie(task):
            raise no_task(task)
        if self._is_frozen(task):
            refuse(EBUSY, str(task))
        return self.known[task]


@dataclass(frozen=True)
class Parameters:
    """The parameters of subsystems as a rule sees them, with the number of all tasks as `tasks`."""

    root: Node
    values: Mapping[str, int]

    @property
    def path(self) -> str:
        return self.root.path

    @property
    def shown(self) -> str:
        return self.path

    @property
    def word(self) -> str:
        return self.path

    @property
    def parent(self) -> None:
        return None

    @property
    def machine(self) -> Machine:
        return self.root.machine

    def children(self) -> Iterable[Node]:
        return ()

    def value(self, file: str) -> int:
        return self.values[file]

    def populated(self) -> bool:
        return self.root.populated()


@dataclass
class ModelMeter:
    """The Meter of the model, which can always count."""

    model: Model

    def check(self, what: str) -> None:
        """Nothing is missing here."""

    def trees(self) -> dict[str, str]:
        return {name: tree.id for name, tree in self.model.metered.items()}

    def is_bound(self, subsystem: str, root: Place) -> bool:
        there = self.trees().get(subsystem) == root.tree
        return there and (subsystem != NUMTASKS or numtasks.is_bound(self.model.node(root)))

    def start(self, subsystem: str, root: Place) -> None:
        node = self.model.node(root)
        if self.model.metered.setdefault(subsystem, node.tree) is not node.tree:
            refuse(EBUSY, root.tree)
        if subsystem == NUMTASKS:
            numtasks.bind(node)

    def stop(self, subsystem: str, root: Place) -> None:
        tree = self.model.metered.get(subsystem)
        if tree and subsystem == NUMTASKS:
            with contextlib.suppress(FileNotFoundError):
                node = self.model.node(root)
                if numtasks.is_bound(node):
                    numtasks.unbind(node)
            if any(map(numtasks.is_bound, tree.root.all())):
                return
        self.end(subsystem)

    def end(self, subsystem: str) -> None:
        """They work for nothing any more."""
        tree = self.model.metered.pop(subsystem, None)
        if tree and subsystem == numfiles.NAME:
            self.model.files_open.forget()
            for node in tree.root.all():
                node.charges = Charges()

    def values(self, place: Place, subsystem: str) -> dict[str, int]:
        node = self.model.node(place)
        if subsystem == NUMTASKS:
            return numtasks.counted(node)
        self.model._reap(self.model.live.values())
        return node.charges.values()

    def set(self, place: Place, file: str, value: int) -> None:
        node = self.model.node(place)
        if subsys.of(file) == NUMTASKS:
            if not any(map(numtasks.is_bound, node.upwards())):
                refuse(EOPNOTSUPP, self.model.show(place, file))
            numtasks.say(node, file, value)
        else:
            setattr(node.charges, {BARRIER: "barrier", LIMIT: "limit"}[file], value)

    def hold(self, place: Place) -> None:
        """No removal is ever half done here."""

    def uncounted(self) -> dict[str, int]:
        """There is room for all."""
        return {}


def _run_effect(node: Node, file: str) -> None:
    """Do what a write of this file does beside storing the value."""
    how = node.tree.file_behaviours.get(file)
    if how and how.effect:
        how.effect(node)


def _clone_lists(parent: Node, node: Node) -> None:
    """cgroup.clone_children: the lists are copied unless a sibling is exclusive."""
    if "cpuset" not in parent.tree.controllers:
        return
    flags = ("cpuset.cpu_exclusive", "cpuset.mem_exclusive")
    if any(sibling.value(flag) for sibling in parent.children() for flag in flags):
        return
    for file in ("cpuset.cpus", "cpuset.mems"):
        node.values[file] = parent.value(file)


class ModelInMemory(Model):
    """A new Model of this machine, which ends with the process."""

    def __init__(self, dialect: str | None = None) -> None:
        super().__init__(this_machine(), dialect=DIALECTS[dialect or V1.name])


class StoredModel(Model):
    """A Model that reads its state from a file, and writes it back at the end of each turn."""

    def __init__(self, file: str | None = None, dialect: str | None = None) -> None:
        super().__init__(this_machine())
        self._asked = dialect
        # What a link leads to, so that whoever comes by another name takes the same turns.
        self.file = os.path.realpath(file or default_file())
        self._depth = 0
        self._load()

    def environment(self) -> dict[str, str]:
        return {**super().environment(), "PCONT_STATE": self.file}

    @contextlib.contextmanager
    def turn(self, waiting: Waiting = WAITING) -> Iterator[None]:
        if self._depth:
            yield
            return
        # The lock is a file of its own: the state's is another one after every change.
        with contextlib.ExitStack() as stack:
            try:
                os.makedirs(os.path.dirname(self.file), exist_ok=True)
                stack.enter_context(lock.locked(f"{self.file}.lock", waiting))
            except OSError as err:
                raise from_oserror(err, "keep the model's state", hint=ANOTHER) from err
            self._load()
            self._depth = 1
            try:
                yield
            finally:
                self._depth = 0
                # What a failed command could not put back is there, as it would be in the kernel.
                text = state_text(self)
                if text != self._kept:
                    save_file(self.file, text)

    def _load(self) -> None:
        try:
            text = read_file(self.file)
        except FileNotFoundError:
            super().__init__(this_machine(), dialect=DIALECTS[self._asked or V1.name])
            self._kept = state_text(self)
            return
        except OSError as err:
            raise from_oserror(err, "read the model's state", hint=ANOTHER) from err
        try:
            with undisturbed():
                state = json.loads(text)
            version = state["version"]
        except NOT_OURS as err:
            raise self._corrupt(err) from err
        if version not in READABLE:
            raise Unsupported(
                f"the model's state has version {version!r}, and this pcont knows {VERSION}",
                path=self.file,
                hint="use the pcont that wrote it, or another --state FILE",
            )
        self._check_dialect(str(state.get("dialect", V1.name)))
        try:
            with undisturbed():
                load_state(self, state)
        except NOT_OURS as err:
            raise self._corrupt(err) from err
        self._kept = text

    def _check_dialect(self, name: str) -> None:
        if name not in DIALECTS or name != (self._asked or name):
            raise Unsupported(
                f"the model's state has dialect {name}, not {self._asked or ' or '.join(DIALECTS)}",
                path=self.file,
                hint=f"leave out --dialect, or {ANOTHER}",
            )

    def _corrupt(self, err: Exception) -> PcontError:
        return PcontError(
            f"the model's state cannot be read: {type(err).__name__}: {err}",
            path=self.file,
            hint="rename the file to start with a new model, or use another --state FILE",
        )
