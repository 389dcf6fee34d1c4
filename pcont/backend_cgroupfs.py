"""The real kernel: cgroup v1 hierarchies through their mounts and /proc."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import signal
import stat
import time
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property, partial
from typing import TYPE_CHECKING

from pcont import subsys
from pcont.errors import Unseen, Unsupported
from pcont.kernel.busy import MOUNTED_THERE, NOT_EMPTY, mounts_inside, processes_inside
from pcont.kernel.interfaces import Birth, Simulator, exists
from pcont.kernel.paths import below, join
from pcont.kernel.refusals import WriteRefused
from pcont.kernel.types import (
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
from pcont.linux import lock, procfs, release_queue, watchdog
from pcont.linux.proc import Proc, on_top, read_text, this_machine
from pcont.linux.proc_events import EventedTree
from pcont.tables.control_file import Subsystem
from pcont.tables.rules import Machine
from pcont.trust import ownership, workplace, xattrs
from pcont.trust.workplace import Workplace
from pcont.values import Ids

if TYPE_CHECKING:
    from pcont.bpf.enforcer import BpfEnforcer

PINS = "ns"
ELSEWHERE = "/run/cgroup"
GONE = " (deleted)"
PINNED = 256  # descriptors of processes at a time: most may have 1,024 open files
PATIENCE = 1.0
FIRST_PAUSE = 0.001


class Cgroupfs:
    """The Backend of the running kernel; `proc` and `sys` are data so that tests can move them."""

    name = "cgroupfs"

    def __init__(self, proc: str = "/proc", sys: str = "/sys") -> None:
        self.proc = Proc(proc)
        self.sys = sys
        self.releases = release_queue.KernelQueue()
        self._trees: dict[str, Tree] | None = None
        self._inner: list[str] = []  # the points of what is mounted inside hierarchies

    @cached_property
    def meter(self) -> BpfEnforcer:
        """Loaded where somebody asks for it."""
        from pcont.bpf.enforcer import BpfEnforcer

        return BpfEnforcer(self.sys, self.proc.root, self.trees, self._path)

    # What is there

    def controllers(self) -> tuple[Controller, ...]:
        return procfs.controllers(self._cgroups(), self._unified())

    def kept(self) -> tuple[str, ...]:
        return subsys.kept()

    def table(self, name: str) -> Subsystem | None:
        return subsys.load(name)

    def trees(self) -> tuple[Tree, ...]:
        known = [one.name for one in procfs.controllers(self._cgroups())]
        lines = self._mounts()
        seen = [line for line in lines if line.type == "cgroup" and on_top(line)]
        self._inner = [
            line.point
            for line in lines
            if any(line.point.startswith(f"{one.point}/") for one in seen) and on_top(line)
        ]
        found = procfs.trees(self.proc.text("self/cgroup"), seen, known)
        self._trees = {tree.id: tree for tree in found}
        return found

    def machine(self) -> Machine:
        return this_machine(self.sys)

    def privileged(self) -> bool:
        return self.proc.may_administer()

    def environment(self) -> dict[str, str]:
        return {}

    def turn(self, waiting: Waiting = WAITING) -> contextlib.AbstractContextManager[None]:
        return lock.taken(waiting)

    def journals(self) -> str:
        return lock.directory()

    def workplace(self) -> Workplace:
        return workplace.find_workplace()

    # Mounting

    def mount(self, request: TreeRequest, point: str, source: str) -> None:
        from pcont.linux import syscalls

        self._trees = None
        syscalls.mount(source, point, "cgroup", request.options)

    def umount(self, point: str) -> None:
        from pcont.linux import syscalls

        self._trees = None
        syscalls.umount(point)

    def occupied(self, directory: str, entries: bool) -> str:
        missing = self.missing(directory)
        there = os.path.dirname(missing[0]) if missing else directory
        if not os.path.isdir(there):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), there)
        if procfs.on_point(self._mounts(), directory):
            return MOUNTED_THERE
        if entries and not missing and os.listdir(directory):
            return NOT_EMPTY
        return ""

    def in_the_way(self, point: str) -> tuple[str, str]:
        lines = self._mounts()
        mount = procfs.on_point(lines, point)
        if mount is None:
            return "", ""
        inside = [Mount(one.point, source=one.source) for one in lines if one.parent == mount.id]
        if inside:
            return mounts_inside(inside)
        # This process is named only where no other one is: it may stand where its shell does.
        found = sorted(self.proc.users(mount.id), key=lambda one: one[0] == os.getpid())
        for pid, what in found:
            with contextlib.suppress(ProcessLookupError):
                others = len({other for other, _ in found} - {pid, os.getpid()})
                return processes_inside(pid, self.proc.task(pid).name, what, others)
        return "", ""

    def copies(self, tree: str) -> list[tuple[int, str]]:
        known = [one.name for one in procfs.controllers(self._cgroups())]
        found = []
        for pid in sorted(self.proc.mount_namespaces().values()):
            with contextlib.suppress(OSError):
                points = procfs.points(self.proc.of(pid, "mountinfo"), tree, known)
                found += [(pid, point) for point in points[:1]]
        return found

    def missing(self, directory: str) -> list[str]:
        found: list[str] = []
        while directory and not os.path.lexists(directory):
            found.insert(0, directory)
            directory = os.path.dirname(directory)
        return found

    def make_directory(self, directory: str) -> None:
        os.mkdir(directory, 0o755)

    def remove_directory(self, directory: str) -> None:
        weak = ownership.weak_point(directory, uid=os.geteuid(), sticky=True)
        if weak:
            # It may be another directory by now, behind a symbolic link.
            raise PermissionError(errno.EPERM, weak.sentence, directory)
        os.rmdir(directory)

    def default_directory(self, name: str) -> str:
        # On v1 hosts this is a tmpfs with a directory for each hierarchy; on v2 hosts it is the
        # v2 tree itself, where a directory would be a container.
        base = f"{self.sys}/fs/cgroup"
        usual = procfs.mount_point_of(self._mounts(), "tmpfs", base)
        # There may be a link of that name, as cpu -> cpu,cpuacct.
        return self.resolve(os.path.join(base if usual else ELSEWHERE, name))

    def resolve(self, directory: str) -> str:
        return os.path.realpath(directory)

    # Containers

    def make(self, place: Place) -> None:
        os.mkdir(self._path(place), 0o755)

    def remove(self, place: Place, force: bool = False) -> None:
        """rmdir(2), patiently: EBUSY without tasks and children is a task that is still dying."""
        if not force:
            self._remove(place)
            return
        with self.meter.letting_go(place):
            self._remove(place)

    def _remove(self, place: Place) -> None:
        path, pause = self._path(place), FIRST_PAUSE
        limit = time.monotonic() + PATIENCE
        while True:
            try:
                os.rmdir(path)
                return
            except OSError as err:
                if err.errno != errno.EBUSY or time.monotonic() > limit or self._in_use(place):
                    raise
            time.sleep(pause)
            pause *= 2

    def rename(self, place: Place, name: str) -> None:
        path = self._path(place)
        os.rename(path, os.path.join(os.path.dirname(path), name))

    def _in_use(self, place: Place) -> bool:
        return bool(place.is_root or self.read(place, "tasks").strip() or self.children(place))

    def children(self, place: Place) -> list[str]:
        path = self._path(place)
        # kernfs counts a directory's directories in its links: a leaf need not be listed.
        if os.stat(path).st_nlink == 2:
            return []
        with os.scandir(path) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))

    def files(self, place: Place) -> dict[str, bool]:
        directory, mount = self._reach(place)
        found = {}
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.is_file(follow_symlinks=False):
                    writable = bool(entry.stat().st_mode & stat.S_IWUSR)
                    found[self._prefixed(place.tree, mount, entry.name)] = writable
        return dict(sorted(found.items()))

    def read(self, place: Place, file: str) -> str:
        path = self._path(place, file)
        try:
            return read_text(path)
        except OSError as err:
            # The container went between open(2) and read(2).
            number = errno.ENOENT if err.errno == errno.ENODEV else err.errno or 0
            raise OSError(number, os.strerror(number), path) from err

    def write(self, place: Place, file: str, text: str) -> None:
        path = self._path(place, file)
        # Without O_CREAT: a control file is never made, and a missing one is ENOENT.
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            if file == "release_agent":
                self.releases.follow(place.tree, text)
            os.write(descriptor, text.encode("utf-8", "surrogateescape"))
        except OSError as err:
            raise WriteRefused(err.errno, os.strerror(err.errno or 0), path) from err
        finally:
            os.close(descriptor)

    def enter(self, place: Place, tasks: Iterable[int]) -> Iterator[int]:
        path = self._path(place, "tasks")
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            for task in tasks:
                try:
                    os.write(descriptor, b"%d" % task)
                    yield task
                except ProcessLookupError:
                    pass
                except OSError as err:
                    raise WriteRefused(err.errno, os.strerror(err.errno or 0), path) from err
        finally:
            os.close(descriptor)

    @cached_property
    def _administers(self) -> bool:
        """Whether this process may mount, and reads and writes `trusted.*` attributes."""
        return self.privileged() and self.proc.is_in_first_users()

    def attributes(self, place: Place) -> dict[str, str]:
        return xattrs.read_xattrs(self._path(place), self._administers)

    def stray(self, place: Place) -> dict[str, str]:
        return xattrs.stray(self._path(place), self._administers)

    def mend(self, place: Place) -> None:
        xattrs.mend_xattrs(self._path(place))

    def relied_on(self) -> dict[str, str]:
        found = {"/run/pcont": "locks and journals", **release_queue.RELIED_ON}
        if self.releases.programs():
            found |= dict.fromkeys(release_queue.code(), "pcont as release agent")
        return found

    def owners(self, place: Place) -> dict[str, Owner]:
        path = self._path(place)
        with os.scandir(path) as entries:
            files = {entry.name: entry.stat() for entry in entries if entry.is_file()}
        facts = {"": os.stat(path), **files}
        return {
            name: Owner(one.st_uid, one.st_gid, stat.S_IMODE(one.st_mode))
            for name, one in facts.items()
        }

    def set_owners(self, place: Place, owners: Mapping[str, Owner]) -> None:
        path, now = self._path(place), self.owners(place)
        for name, owner in owners.items():
            if now.get(name) != owner:
                os.chown(os.path.join(path, name), owner.uid, owner.gid)
                os.chmod(os.path.join(path, name), owner.mode)

    def set_attribute(self, place: Place, name: str, text: str | None) -> None:
        xattrs.write_xattr(self._path(place), name, text)

    def spelled(self, place: Place, file: str) -> str:
        return file

    def show(self, place: Place, file: str = "") -> str:
        try:
            return self._path(place, file)
        except OSError:
            return f"{place.tree}:{join(place.path, file)}"

    # Tasks

    def task(self, task: int) -> Task:
        return self.proc.task(task)

    def membership(self, task: int) -> dict[str, str]:
        text = self.proc.of(task, "cgroup")
        rows = [row for row in procfs.memberships(text) if row[0]]
        found = {tree: self._without_mark(tree, path) for _, tree, path in rows}
        roots = sum(path == "/" for path in found.values())
        # Who ends while the kernel writes the lines has left the rest of them only
        # (proc_cgroup_show() asks for PF_EXITING line by line).
        if 0 < roots < len(found) and procfs.task(self.proc.of(task, "stat"), task).gone:
            return dict.fromkeys(found, "/")
        return found

    def threads(self, pid: int) -> list[int]:
        return self.proc.threads(pid)

    def family(self, pid: int) -> contextlib.AbstractContextManager[EventedTree]:
        return contextlib.closing(EventedTree(self.proc, pid))

    @contextlib.contextmanager
    def thawing(self, place: Place) -> Iterator[None]:
        state = os.open(self._path(place, "freezer.state"), os.O_WRONLY | os.O_CLOEXEC)
        try:
            with watchdog.on_guard(partial(os.write, state, b"THAWED"), state):
                yield
        finally:
            os.close(state)

    def kill(self, place: Place, pids: Iterable[int], number: int) -> Iterator[int]:
        rest = iter(pids)
        while some := list(itertools.islice(rest, PINNED)):
            with contextlib.ExitStack() as stack:
                pinned = {}
                for pid in some:
                    with contextlib.suppress(ProcessLookupError):
                        pinned[pid] = os.pidfd_open(pid)
                        stack.callback(os.close, pinned[pid])
                # Whose id is listed after that is who was pinned, or that one has ended.
                with contextlib.suppress(FileNotFoundError):
                    inside = set(map(int, self.read(place, "cgroup.procs").split()))
                    for pid in pinned:
                        if pid in inside and self._sent(pinned[pid], number):
                            yield pid

    @staticmethod
    def _sent(descriptor: int, number: int) -> bool:
        try:
            signal.pidfd_send_signal(descriptor, number)
        except ProcessLookupError:
            return False
        return True

    # Namespaces

    def namespaces(self) -> tuple[str, ...]:
        from pcont.linux import namespaces

        return namespaces.known()

    def separate(self, apart: NamespaceSpec) -> Birth:
        from pcont.linux import namespaces

        return namespaces.Unshared(apart, self.pin_path())

    def join(self, name: str) -> Birth:
        from pcont.linux import namespaces

        files = self.pins().get(name)
        if not files:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.pin_path(name))
        return namespaces.Joined(files)

    def pins(self) -> dict[str, dict[str, str]]:
        found: dict[str, dict[str, str]] = {}
        # mountinfo shows those of root to its users, too.
        for directory in (self.pin_path(), os.path.join(workplace.ROOT, PINS)):
            for name, kinds in procfs.namespace_pins(self._mounts(), directory).items():
                files = {kind: os.path.join(directory, name, kind) for kind in kinds}
                found.setdefault(name, files)
        return dict(sorted(found.items()))

    def may_join(self, files: Mapping[str, str]) -> bool:
        return all(os.access(file, os.R_OK, effective_ids=True) for file in files.values())

    def may_mount(self) -> bool:
        return self._administers

    def may_move(self, task: int) -> bool:
        own = os.geteuid()
        return (own == 0 and self.proc.is_in_first_users()) or own in self.proc.owners(task)

    def may_change(self, place: Place) -> bool:
        files = (self._path(place), self._path(place, "tasks"))
        return all(os.access(file, os.W_OK, effective_ids=True) for file in files)

    def pin_path(self, name: str = "", kind: str = "") -> str:
        return os.path.join(lock.directory() or ELSEWHERE, PINS, name, kind).rstrip("/")

    def pin(self, name: str, task: int, kinds: Iterable[str]) -> None:
        from pcont.linux import namespaces

        namespaces.pin(self.pin_path(name), task, kinds)

    def unpin(self, name: str) -> None:
        from pcont.linux import namespaces

        own = self.pin_path(name)
        there = {os.path.dirname(file) for file in self.pins().get(name, {}).values()}
        namespaces.unpin(next(iter(there), own))

    def affinity(self, task: int) -> Ids:
        return frozenset(os.sched_getaffinity(task))

    def set_affinity(self, task: int, cpus: Ids) -> None:
        os.sched_setaffinity(task, cpus)

    def simulated(self) -> Simulator:
        number = errno.EOPNOTSUPP
        raise OSError(number, os.strerror(number), self.proc.root)

    def _without_mark(self, tree: str, path: str) -> str:
        """The kernel marks the path of a container that was removed; a name may end like that."""
        if not path.endswith(GONE):
            return path
        with contextlib.suppress(Unseen):
            if exists(self, Place(tree, path)):
                return path
        return path.removesuffix(GONE)

    # Reaching them

    def _path(self, place: Place, file: str = "") -> str:
        directory, mount = self._reach(place)
        if not file:
            return directory
        return os.path.join(directory, self._bare(place.tree, mount, file))

    def _reach(self, place: Place) -> tuple[str, Mount]:
        """The directory of a place, by the mount that shows it; prefixed names are preferred."""
        tree = self._tree(place.tree)
        for mount in sorted(tree.mounts, key=_preference):
            seen = below(place.path, mount.root)
            if seen is not None:
                directory = mount.point.rstrip("/") + (seen if seen != "/" else "")
                if not self._is_covered(directory, mount.point):
                    return directory, mount
        raise Unseen(f"{tree.id}:{place.path}")

    def _is_covered(self, directory: str, point: str) -> bool:
        """Whether a directory below a mount is in another mount: it shows something else."""
        return any(
            one.startswith(f"{point}/") and below(directory, one) is not None for one in self._inner
        )

    def _tree(self, id: str) -> Tree:
        if self._trees is None or id not in self._trees:
            self.trees()
        assert self._trees is not None
        if id not in self._trees:
            raise FileNotFoundError(errno.ENOENT, "no such hierarchy", id)
        return self._trees[id]

    def _bare(self, tree: str, mount: Mount, file: str) -> str:
        """The file's name below this mount: with noprefix the kernel drops `cpuset.`."""
        prefix, dot, rest = file.partition(".")
        return rest if dot and not mount.prefixed and prefix in tree.split(",") else file

    def _prefixed(self, tree: str, mount: Mount, name: str) -> str:
        if mount.prefixed or name in subsys.core_table().by_name:
            return name
        # noprefix is only possible where cpuset is bound alone (kernel/cgroup/cgroup-v1.c).
        return f"{self._tree(tree).controllers[0]}.{name}"

    def _cgroups(self) -> str:
        try:
            return self.proc.text("cgroups")
        except FileNotFoundError as err:
            if not self._is_proc_whole():
                raise Unsupported(
                    f"proc is not mounted at {self.proc.root}, or not as a whole (subset=pid): "
                    "what the kernel has cannot be read",
                    path=f"{self.proc.root}/cgroups",
                    errno=errno.ENOENT,
                    hint=f"mount -t proc proc {self.proc.root}",
                ) from err
            raise Unsupported(
                "this kernel has no cgroups",
                path=f"{self.proc.root}/cgroups",
                errno=errno.ENOENT,
                hint="rehearse with --backend model",
            ) from err

    def _is_proc_whole(self) -> bool:
        """Whether /proc is mounted, and shows more than processes (proc(5), subset=pid)."""
        with contextlib.suppress(FileNotFoundError):
            line = procfs.on_point(self._mounts(), self.proc.root)
            return line is None or "subset=pid" not in line.options
        return False

    def _mounts(self) -> list[procfs.MountLine]:
        return procfs.mount_lines(self.proc.text("self/mountinfo"))

    def _unified(self) -> list[str]:
        point = procfs.mount_point_of(self._mounts(), "cgroup2")
        if point is None:
            return []
        with contextlib.suppress(OSError), open(f"{point}/cgroup.controllers") as stream:
            return stream.read().split()
        return []


def _preference(mount: Mount) -> tuple[bool, bool, int]:
    """Where one can write is better, then prefixed names, then more of the tree."""
    return not mount.writable, not mount.prefixed, len(mount.root)
