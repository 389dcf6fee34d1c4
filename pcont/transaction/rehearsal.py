"""The backend of a dry run: it keeps changes in memory, and refuses what the kernel would refuse.

Steps rehearse on it one after another, and each sees the changes of those before it. It applies the
rules of the tables, and checks whether the caller may write a file. Where neither decides, it adds
a note for the user.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any, cast

from pcont import subsys
from pcont.errors import Unseen
from pcont.kernel.busy import MOUNTED_THERE
from pcont.kernel.interfaces import Backend, ContainerReader
from pcont.kernel.refusals import exists, refuse, refuse_text, unreadable
from pcont.kernel.survey import look_at_each
from pcont.kernel.types import Controller, Mount, Place, Surveyed, Tree, TreeRequest, without_leaf
from pcont.subsys import cpuset, freezer
from pcont.tables.control_file import ControlFile
from pcont.tables.rules import Follows, Proposed
from pcont.transaction.planned import ChangeLog, Nested, PlannedDict
from pcont.virtual.files import ControlFiles
from pcont.virtual.site import LiveSite, entry_of, row_of, table_of

KERNEL = "cgroupfs"
NAME_MAX = 255
ONLY_THE_KERNEL = "only the kernel can tell"
# Files of cgroup v2. Their table is not loaded here: a dry run on cgroup v1 does not need it.
_OFFERED = "cgroup.controllers"
_CONTROL = "cgroup.subtree_control"
_THREADS = "cgroup.threads"
_TYPE = "cgroup.type"
# The controllers whose tables have all rules of the kernel. It may refuse a write to a file of
# another controller for a reason that no rule checks.
EXACT = ("", "cpuset", "cpuacct", "freezer", "pids")


def rehearsing(backend: Backend) -> Backend:
    """Return a backend for a dry run over `backend`: it reads through, and keeps all changes in
    memory.
    """
    return cast(Backend, Rehearsal(backend))


def notes_of(backend: Backend) -> list[str]:
    """Return the notes since the last call on what a dry run cannot know, each once."""
    assert isinstance(backend, Rehearsal)
    found, backend.notes = list(dict.fromkeys(backend.notes)), []
    return found


@contextlib.contextmanager
def undone_on_failure(backend: Backend) -> Iterator[Backend]:
    """In the block, plan one operation of several: if it raises, its changes are dropped.

    Yields a backend for the state before the block.
    """
    assert isinstance(backend, Rehearsal)
    backend.begin()
    before = backend.notes[:], backend._trees
    try:
        yield cast("Backend", backend.earlier())
    except BaseException:
        backend.revert()
        backend.notes, backend._trees = before
        raise


class Rehearsal:
    """The backend of a dry run. What was not changed in it, it reads from the kernel."""

    def __init__(self, kernel: Backend) -> None:
        self._kernel = kernel
        self._real = kernel.name == KERNEL
        self.notes: list[str] = []
        self._log = log = ChangeLog()
        self._made: PlannedDict[Place, None] = PlannedDict(log)
        self._made_below: Nested[Place] = Nested(log)  # the names of those, by their parent
        self._removed: PlannedDict[Place, None] = PlannedDict(log)
        self._values: Nested[Place] = Nested(log)  # texts by file
        self._attributes: Nested[Place] = Nested(log)  # texts by name; None: removed
        self._moved: PlannedDict[tuple[int, str], str] = PlannedDict(log)
        self._directories: PlannedDict[str, None] = PlannedDict(log)
        self._gone: PlannedDict[str, None] = PlannedDict(log)  # directories that are removed
        self._trees: tuple[Tree, ...] | None = None  # None: those of the kernel
        self._unmounted: PlannedDict[str, None] = PlannedDict(log)
        self.enforcer = _Enforcer(self)

    def __getattr__(self, verb: str) -> Any:
        if verb in NOT_REHEARSED:
            raise AttributeError(f"a dry run does not {verb}")
        return getattr(self._kernel, verb)

    @property
    def _self(self) -> Backend:
        return cast(Backend, self)

    def begin(self) -> None:
        """Begin an operation: `earlier` and `revert` are about what it changes from now on."""
        self._log.clear()

    def revert(self) -> None:
        """Drop what was planned since `begin`."""
        self._log.revert()

    def earlier(self) -> Rehearsal:
        """Return a backend for the state at `begin`. It can only be read."""
        other = Rehearsal(self._kernel)
        views = {name: part for name, part in vars(self).items() if hasattr(part, "earlier")}
        vars(other).update({name: part.earlier() for name, part in views.items()})
        other._trees = self._trees
        return other

    def is_planned(self, place: Place) -> bool:
        """Return whether the container was created in this dry run only."""
        return place in self._made

    def _in_a_tree(self, place: Place) -> bool:
        """Return whether the hierarchy is mounted. For a planned one no rule is applied."""
        return place.tree in self._mounted

    def _is_seen(self, place: Place) -> bool:
        """Return whether the kernel shows the container now."""
        return place not in self._made and self._in_a_tree(place)

    @cached_property
    def _mounted(self) -> set[str]:
        return {tree.id for tree in self._kernel.trees() if tree.mounted}

    # Directories and mounts

    def trees(self) -> tuple[Tree, ...]:
        """Return the hierarchies, with those that are planned."""
        return self._kernel.trees() if self._trees is None else self._trees

    def controllers(self) -> tuple[Controller, ...]:
        """Return every controller. The kernel's numbers of containers lack those that are planned,
        so they are left out.
        """
        return tuple(one._replace(containers=0) for one in self._kernel.controllers())

    def _planned_tree(self, place: Place) -> Tree | None:
        """Return the hierarchy of a place, if it was mounted in this dry run only."""
        if self._trees is None or self._in_a_tree(place):
            return None
        return next((tree for tree in self._trees if tree.id == place.tree), None)

    def show(self, place: Place, file: str = "") -> str:
        tree = self._planned_tree(place)
        if tree is None or not tree.mounted:
            return self._kernel.show(place, file)
        return os.path.join(tree.mounts[0].point, place.path.strip("/"), file).rstrip("/")

    def spelled(self, place: Place, file: str) -> str:
        return file if self._planned_tree(place) else self._kernel.spelled(place, file)

    def occupied(self, directory: str, entries: bool) -> str:
        """Return why nothing can be mounted there; the planned mounts are in the way, too."""
        if any(mount.point == directory for tree in self.trees() for mount in tree.mounts):
            return MOUNTED_THERE
        planned = directory in self._directories or directory in self._unmounted
        return "" if planned else self._kernel.occupied(directory, entries)

    def missing(self, directory: str) -> list[str]:
        found = self._kernel.missing(directory)
        there = [one for one in _with_parents(directory) if one in self._gone and one not in found]
        return [one for one in (*there, *found) if one not in self._directories]

    def make_directory(self, directory: str) -> None:
        above = os.path.dirname(directory)
        if above not in self._directories:
            self._check_access(above, directory)
        self._directories.add(directory)

    def remove_directory(self, directory: str) -> None:
        self._directories.discard(directory)
        self._gone.add(directory)

    def mount(self, request: TreeRequest, point: str, source: str) -> None:
        self._check_privilege(point)
        trees, mount = list(self.trees()), Mount(point, source=source)
        for number, tree in enumerate(trees):
            if request.is_met_by(tree):
                trees[number] = tree._replace(mounts=(*tree.mounts, mount))
                break
        else:
            trees.append(self._new_tree(request, mount))
        self._trees = tuple(trees)

    def _new_tree(self, request: TreeRequest, mount: Mount) -> Tree:
        known = [one.name for one in self._kernel.controllers()]
        controllers = tuple(name for name in known if name in request.controllers)
        words = [*controllers, f"name={request.name}"] if request.name else controllers
        number = 1 + max((tree.number for tree in self.trees()), default=0)
        return Tree(",".join(words), number, controllers, request.name, (mount,))

    def umount(self, point: str) -> None:
        self._check_privilege(point)
        left = [
            tree._replace(mounts=tuple(one for one in tree.mounts if one.point != point))
            for tree in self.trees()
        ]
        self._trees = tuple(tree for tree in left if tree.mounts or self._is_kept(tree))
        self._unmounted.add(point)

    def _is_kept(self, tree: Tree) -> bool:
        """Return whether a hierarchy without a mount stays active: it has containers."""
        if tree in self._kernel.trees():
            return True  # it had no mount before
        root = Place.at(tree)
        return bool(self.children(root))

    def _check_privilege(self, point: str) -> None:
        if self._kernel.may_mount():
            return
        if not self._kernel.privileged():
            refuse(errno.EPERM, point)
        self.notes.append(f"# not known: whether root of this user namespace may do so at {point}")

    def _check_access(self, path: str, where: str = "") -> None:
        """Refuse (EROFS, EACCES) a file or directory that the caller may not write."""
        if self._real and os.path.lexists(path):
            if os.access(path, os.W_OK, effective_ids=True):
                return
            read_only = os.statvfs(path).f_flag & os.ST_RDONLY
            refuse(errno.EROFS if read_only else errno.EACCES, where or path)

    # Containers

    def make(self, place: Place) -> None:
        if not self._in_a_tree(place):
            self._add(place)
            return
        where, above = self._kernel.show(place), place.parent
        if exists(self._self, place) or place.name in self.files(above):
            refuse(errno.EEXIST, where)
        if len(os.fsencode(place.name)) > NAME_MAX:
            refuse(errno.ENAMETOOLONG, where)
        if above not in self._made:
            self._check_access(self._kernel.show(above), where)
        if violation := ControlFiles(self._self).crowded(place):
            refuse(violation.errno, where)
        self._add(place)
        self._inherit(place)

    def _add(self, place: Place) -> None:
        self._made.add(place)
        self._made_below[place.parent].add(place.name)
        self._removed.discard(place)

    def _inherit(self, place: Place) -> None:
        """Copy the values that the kernel gives a new container from its parent."""
        for row in self._rows(place):
            if row.creation.passed_on and row.access.where.holds(place.parent.is_root):
                self._values[place][row.name] = self.read(place.parent, row.name)
        has_cpuset = "cpuset" in place.controllers and not place.is_unified
        cloning = has_cpuset and self._flag(place.parent, "clone_children")
        if cloning and not self._has_exclusive_sibling(place):
            for file in (cpuset.CPUS, cpuset.MEMS):
                self._values[place][file] = self.read(place.parent, file)

    def _flag(self, place: Place, name: str) -> bool:
        return self.read(place, f"cgroup.{name}").strip() == "1"

    def _has_exclusive_sibling(self, place: Place) -> bool:
        names = (name for name in self.children(place.parent) if name != place.name)
        return any(
            self.read(place.parent.child(name), flag).strip() == "1"
            for name in names
            for flag in (cpuset.CPU_EXCLUSIVE, cpuset.MEM_EXCLUSIVE)
        )

    def remove(self, place: Place, force: bool = False) -> None:
        if place not in self._made:
            self._check_access(self._kernel.show(place.parent), self._kernel.show(place))
        self._made.discard(place)
        self._removed.add(place)
        self._made_below[place.parent].discard(place.name)
        for planned in (self._attributes, self._values):
            for name in list(planned.of(place)):
                planned[place].discard(name)

    def has(self, place: Place) -> bool:
        self._check_mounted(place)
        if place in self._made or place in self._removed:
            return place not in self._removed
        if self._planned_tree(place):
            return place.is_root
        return not self._in_a_tree(place) or self._kernel.has(place)

    def children(self, place: Place) -> list[str]:
        if place in self._removed:
            refuse(errno.ENOENT, self._kernel.show(place))
        self._check_mounted(place)
        if self._planned_tree(place) and not (place.is_root or place in self._made):
            refuse(errno.ENOENT, self.show(place))
        there = self._kernel.children(place) if self._is_seen(place) else []
        names = {name for name in there if place.child(name) not in self._removed}
        return sorted(names | set(self._made_below.of(place)))

    def survey(self, place: Place, files: Sequence[str]) -> list[Surveyed]:
        return look_at_each(self._self, place, files)

    def count_children(self, place: Place) -> int:
        return len(self.children(place))

    def names_in_use(self, place: Place, names: Sequence[str]) -> set[str]:
        files = {self.spelled(place, file) for file in self.files(place)}
        return {name for name in names if name in files or exists(self._self, place.child(name))}

    def _check_mounted(self, place: Place) -> None:
        """Raise what the kernel raises for a hierarchy that is unmounted in the plan."""
        if self._trees is None:
            return
        tree = next((one for one in self._trees if one.id == place.tree), None)
        if tree is None and place not in self._made:
            refuse(errno.ENOENT, self._kernel.show(place))
        if tree and not tree.mounted:
            raise Unseen(self._kernel.show(place))

    def _rows(self, place: Place) -> Iterator[ControlFile]:
        # On cgroup v2, a new container has the controllers that its parent enables for it.
        controllers = self._enabled(place) if place.is_unified else place.controllers
        for name in ("", *controllers):
            if table := table_of(self._kernel, place.tree, name):
                yield from table.files

    def _enabled(self, place: Place) -> list[str]:
        """Return the controllers that a container of cgroup v2 has."""
        return [] if place.is_root else self.read(place.parent, _CONTROL).split()

    def files(self, place: Place) -> dict[str, bool]:
        if place in self._removed:
            refuse(errno.ENOENT, self._kernel.show(place))
        planned = self._planned_tree(place) is not None
        if not (planned or place in self._made):
            return self._with_planned(place, self._kernel.files(place))
        like = place
        while like in self._made and not like.is_root:
            like = like.parent
        # In a planned hierarchy even the root is planned: its files are those of the tables.
        found = {} if planned or like in self._made else dict(self._kernel.files(like))
        if not (like.is_root or place.is_unified):
            return found
        for row in self._rows(place):
            if row.access.where.holds(place.is_root):
                found[row.name] = row.access.writable
            else:
                found.pop(row.name, None)
        return dict(sorted(found.items()))

    def _with_planned(self, place: Place, found: dict[str, bool]) -> dict[str, bool]:
        """Add the files of controllers that are enabled in this dry run only."""
        if not place.is_unified or _CONTROL not in self._values.of(place.parent) or place.is_root:
            return found
        rows = {row.name: row.access.writable for row in self._rows(place)}
        return {**rows, **found}

    def read(self, place: Place, file: str) -> str:
        planned: str | None = self._values.of(place).get(file)
        if planned is not None:
            return planned
        if place in self._removed:
            refuse(errno.ENOENT, self._kernel.show(place, file))
        if file in subsys.TASK_FILES:
            return self._tasks(place, file)
        if place.is_unified and (planned := self._read_v2(place, file)) is not None:
            return planned
        if self._is_seen(place) and not self._is_brought(place, file):
            return self._kernel.read(place, file)
        row = row_of(self._self, file, place.tree)
        if row is None or (self._in_a_tree(place) and file not in self.files(place)):
            refuse(errno.ENOENT, self._kernel.show(place, file))
        return row.type.show(row.begins(place.is_root)) + row.access.end

    def _is_brought(self, place: Place, file: str) -> bool:
        """Return whether a file comes with a controller of cgroup v2 that only this dry run enables
        for a container of the kernel.
        """
        if not place.is_unified or place.is_root or _CONTROL not in self._values.of(place.parent):
            return False
        name = subsys.of(file)
        enabled = self._kernel.read(place.parent, _CONTROL).split()
        return name in self._enabled(place) and name not in enabled

    def _read_v2(self, place: Place, file: str) -> str | None:
        """Return the text of a file of cgroup v2 that follows from the plan; None for others."""
        if file == _OFFERED and not place.is_root:
            return f"{' '.join(self._enabled(place))}\n"
        return UNFROZEN.get(file) if place in self._made else None

    def _tasks(self, place: Place, file: str) -> str:
        there = self._kernel.read(place, file) if self._is_seen(place) else ""
        inside = {int(one) for one in there.split()}
        # A container of cgroup v2 lists the tasks of its leaf as well, but not in cgroup.threads.
        paths = {place.path} if file == _THREADS else {place.path, place.leaf.path}
        moved = {task: path for (task, tree), path in self._moved.items() if tree == place.tree}
        inside = {task for task in inside if moved.get(task, place.path) in paths}
        inside |= {task for task, path in moved.items() if path in paths}
        return "".join(f"{task}\n" for task in sorted(inside))

    # Settings

    def write(self, place: Place, file: str, text: str) -> None:
        if not self._in_a_tree(place):
            return
        where = self._kernel.show(place, file)
        if file not in self.files(place) and not self._has_other_name(place, file):
            refuse(errno.ENOENT, where)
        if place not in self._made:
            self._check_access(where)
        if file in subsys.TASK_FILES:
            self._attach(place, file, text)
            return
        row = row_of(self._self, file, place.tree)
        if row is None:
            self.notes.append(
                f"# not checked: whether the kernel takes {_shown(place, file, text)}"
            )
            self._values[place][file] = f"{text.rstrip()}\n"
            return
        self._assign(place, row, text, where)

    def _has_other_name(self, place: Place, file: str) -> bool:
        """Return whether cgroup v2 has the file under another name."""
        return place.is_unified and (file == "tasks" or (file in UNFROZEN and not place.is_root))

    def _assign(self, place: Place, row: ControlFile, text: str, where: str) -> None:
        machine = self._kernel.machine()
        if len(os.fsencode(text)) > row.access.longest(machine):
            refuse_text(errno.E2BIG, where)
        if not row.access.writable:
            refuse_text(row.access.read_only, where)
        if row.access.root_fixed and place.is_root:
            refuse_text(errno.EACCES, where)
        site = ControlFiles(self._self).site(place, row.name)
        try:
            value = row.reader(machine).parse(text)
            value = row.merged(site, value)
        except (ValueError, OverflowError) as err:
            refuse_text(unreadable(err), where, err)
        self._check_rules(site, row, value, text, where)
        foreseen = row.advice.foreseen(site, value) if row.advice.foreseen else ()
        if row.name == _CONTROL:
            self._enable(place, text)
        elif row.name == _TYPE or not (row.undo.many or row.undo.lasting):
            self._values[place][row.name] = row.type.show(value) + row.access.end
        self._foresee(foreseen, row.name)
        if row.name == freezer.STATE:
            self._values[place][freezer.SELF] = f"{int(text.strip() == freezer.FROZEN)}\n"

    def _foresee(self, found: Iterable[Follows], written: str) -> None:
        """Plan what files read because a file was `written`."""
        for one in found:
            assert isinstance(one.site, LiveSite)
            place = one.site.place
            self._values[place][one.file] = f"{one.text}\n"
            if one.file != written:
                self.notes.append(f"# {one.file} of {place.shown} becomes: {one.text}")

    def _enable(self, place: Place, text: str) -> None:
        """Enable controllers of cgroup v2, or disable them."""
        there = self.read(place, _CONTROL).split()
        for word in text.split():
            there = [one for one in there if one != word[1:]] + [word[1:]] * (word[0] == "+")
        self._values[place][_CONTROL] = f"{' '.join(there)}\n"

    def _check_rules(
        self, site: LiveSite, row: ControlFile, value: Any, text: str, where: str
    ) -> None:
        exact = subsys.of(row.name) in EXACT or row.name.startswith("cgroup.")
        exact = exact or row.name in subsys.core_table().by_name
        shown = _shown(site.place, row.name, text)
        try:
            for rule in row.rules:
                violation = rule(site, Proposed(site, row.name, value))
                if violation and violation.sure and (exact or violation.errno == errno.EINVAL):
                    refuse_text(violation.errno, where)
                if violation:
                    reason = violation.reason if violation.sure else ONLY_THE_KERNEL
                    self.notes.append(f"# not known: {shown} may be refused: {reason}")
        except (ValueError, FileNotFoundError, AttributeError) as err:
            self.notes.append(f"# not checked: whether the kernel takes {shown} ({err})")

    # Tasks

    def membership(self, task: int) -> dict[str, str]:
        planned = {} if self._trees is None else {one.id: "/" for one in self._trees}
        found = {**planned, **self._kernel.membership(task)}
        for tree, path in found.items():
            found[tree] = without_leaf(tree, self._moved.get((task, tree), path))
        return found

    def _attach(self, place: Place, file: str, text: str) -> None:
        try:
            task = int(text) or os.getpid()
        except ValueError as err:
            refuse_text(errno.EINVAL, self._kernel.show(place, file), err)
        whole = file == "cgroup.procs"
        if place.is_unified and not whole:
            self._check_thread(place, task)
        for one in self._kernel.threads(task) if whole else [task]:
            self._enter(place, one)

    def _check_thread(self, place: Place, task: int) -> None:
        """Refuse a single thread that would leave its threaded subtree of cgroup v2."""
        there = place.elsewhere(self.membership(task).get(place.tree, "/"))
        if there != place and not any(_is_threaded(self._self, one) for one in (there, place)):
            refuse_text(errno.EOPNOTSUPP, self._kernel.show(place, "tasks"))

    def enter(self, place: Place, tasks: Iterable[int], file: str = "") -> Iterator[int]:
        for task in tasks:
            with contextlib.suppress(ProcessLookupError):
                if file and self._in_a_tree(place):
                    self._attach(place, file, str(task))
                elif self._in_a_tree(place):
                    self._enter(place, task)
                yield task

    def _enter(self, place: Place, task: int) -> None:
        where = self._kernel.show(place, "tasks")
        if self.membership(task).get(place.tree) == place.path:
            return
        if self._kernel.task(task).fixed:
            refuse_text(errno.EINVAL, where)
        if not self._kernel.may_move(task):
            refuse_text(errno.EACCES, where)
        files = ControlFiles(self._self)
        holder = place.leaf if place.is_unified and exists(self._self, place.leaf) else place
        for name in ("", *place.controllers):
            table = table_of(self._kernel, place.tree, name)
            for rule in table.entry if table else ():
                if violation := rule(entry_of(self._self, files.site(holder, name), task)):
                    refuse_text(violation.errno, where)
        if _is_real_time(task) and "cpu.rt_runtime_us" in self.files(place):
            self.notes.append(f"# not known: whether {place.shown} takes the real-time task {task}")
        self._moved[task, place.tree] = holder.path

    # Attributes that pcont stores

    def attributes(self, place: Place) -> dict[str, str]:
        there = self._kernel.attributes(place) if self._is_seen(place) else {}
        found = {**there, **self._attributes.of(place)}
        return {name: text for name, text in found.items() if text is not None}

    def set_attribute(self, place: Place, name: str, text: str | None) -> None:
        self._attributes[place][name] = text


# Methods that change something and that no step rehearses.
NOT_REHEARSED = (
    *("set_owners", "mend", "pin", "unpin", "kill", "set_affinity", "thawing", "exclusive"),
    *("simulated", "snapshot"),
)


# What a new container of cgroup v2 answers for the files of v1's freezer.
UNFROZEN = {freezer.STATE: f"{freezer.THAWED}\n", freezer.SELF: "0\n", freezer.PARENT: "0\n"}


def _is_threaded(cgroups: ContainerReader, place: Place) -> bool:
    return not place.is_root and cgroups.read(place, "cgroup.type").strip() == "threaded"


def _with_parents(directory: str) -> Iterator[str]:
    """Yield a directory and those above it, the topmost first."""
    above = os.path.dirname(directory)
    if above != directory:
        yield from _with_parents(above)
    yield directory


class _Enforcer:
    """The eBPF programs in a dry run, read only."""

    def __init__(self, rehearsal: Rehearsal) -> None:
        self._rehearsal = rehearsal

    def __getattr__(self, verb: str) -> Any:
        if verb in ("start", "stop", "hold"):
            raise AttributeError(f"a dry run does not {verb} programs")
        return getattr(self._rehearsal._kernel.enforcer, verb)

    def values(self, place: Place, subsystem: str) -> dict[str, int]:
        """Return the counters of a controller by file; empty for a planned container."""
        if self._rehearsal.is_planned(place):
            return {}
        return self._rehearsal._kernel.enforcer.values(place, subsystem)

    def set(self, place: Place, file: str, value: int) -> None:
        """Do nothing: whether the kernel map has room for the value is not known."""


def _shown(place: Place, file: str, text: str) -> str:
    return f"{file}={text.strip()} in {place.shown}"


def _is_real_time(task: int) -> bool:
    with contextlib.suppress(OSError):
        return os.sched_getscheduler(task) in (os.SCHED_FIFO, os.SCHED_RR)
    return False
