"""The backend of the running kernel: the drivers of its cgroups, and services of linux/
and bpf/.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from pcont import subsys
from pcont.kernel import proc_text, v1, v2
from pcont.kernel.busy import MOUNTED_THERE, NOT_EMPTY, mounts_inside, processes_inside
from pcont.kernel.by_tree import DriverByTree
from pcont.kernel.refusals import refuse
from pcont.kernel.types import (
    WAITING,
    AssignedIds,
    Controller,
    Mount,
    NamespaceSpec,
    Place,
    Task,
    TreeRequest,
    Waiting,
)
from pcont.linux import lock, procfs, release_queue
from pcont.linux.cgroup_files import KernelFiles
from pcont.linux.proc import Proc, this_machine
from pcont.tables.control_file import Subsystem
from pcont.tables.interface import Interface
from pcont.tables.rules import Machine
from pcont.trust import ownership, workplace
from pcont.values import Ids

if TYPE_CHECKING:
    from pcont.bpf.enforcer import BpfEnforcer
    from pcont.kernel.interfaces import Birth, ProcessTree, Simulator
    from pcont.trust.workplace import Workplace

PINS = "ns"
ELSEWHERE = "/run/cgroup"


class Cgroupfs(DriverByTree):
    """The Backend of the running kernel. `proc` and `sys`: the mount points, which tests
    replace.
    """

    name = "cgroupfs"

    def __init__(self, proc: str = "/proc", sys: str = "/sys") -> None:
        self.proc = Proc(proc)
        self.sys = sys
        self.releases = release_queue.KernelQueue()
        files = KernelFiles(self.may_mount)
        super().__init__(
            self.proc,
            v1.V1Driver(files, self.proc, _is_core, self.releases.follow),
            v2.V2Driver(files, self.proc),
        )

    @cached_property
    def enforcer(self) -> BpfEnforcer:
        """The eBPF programs. Their module is imported on first use."""
        from pcont.bpf.enforcer import BpfEnforcer

        return BpfEnforcer(self.sys, self.proc.root, self.trees, self.number, self.path)

    # What is there

    def controllers(self) -> tuple[Controller, ...]:
        return proc_text.controllers(self.proc.cgroups(), self._unified())

    def virtual_subsystems(self) -> tuple[str, ...]:
        return subsys.virtual_names()

    def table(self, name: str) -> Subsystem | None:
        return subsys.load(name, Interface.V1)

    def relied_on(self) -> dict[str, str]:
        found = {"/run/pcont": "locks and journals", **release_queue.RELIED_ON}
        if self.releases.programs():
            found |= dict.fromkeys(release_queue.code(), "pcont as release agent")
        return found

    def machine(self) -> Machine:
        return this_machine(self.sys)

    def privileged(self) -> bool:
        return self.proc.may_administer()

    def environment(self) -> dict[str, str]:
        return {}

    def exclusive(self, waiting: Waiting = WAITING) -> contextlib.AbstractContextManager[None]:
        return lock.taken(waiting)

    def journals(self) -> str:
        return lock.directory()

    def workplace(self) -> Workplace:
        return workplace.find_workplace()

    # Mounting

    def mount(self, request: TreeRequest, point: str, source: str) -> None:
        from pcont.linux import syscalls

        self.forget()
        syscalls.sys_mount(source, point, v1.FILESYSTEM, request.options)

    def umount(self, point: str) -> None:
        from pcont.linux import syscalls

        self.forget()
        syscalls.sys_umount(point)

    def occupied(self, directory: str, entries: bool) -> str:
        missing = self.missing(directory)
        there = os.path.dirname(missing[0]) if missing else directory
        if not os.path.isdir(there):
            refuse(errno.ENOTDIR, there)
        if proc_text.on_point(self.proc.mounts(), directory):
            return MOUNTED_THERE
        if entries and not missing and os.listdir(directory):
            return NOT_EMPTY
        return ""

    def in_the_way(self, point: str) -> tuple[str, str]:
        lines = self.proc.mounts()
        mount = proc_text.on_point(lines, point)
        if mount is None:
            return "", ""
        inside = [Mount(one.point, source=one.source) for one in lines if one.parent == mount.id]
        if inside:
            return mounts_inside(inside)
        # pcont itself comes last: it is in the working directory of its shell.
        found = sorted(self.proc.users(mount.id), key=lambda one: one[0] == os.getpid())
        for pid, use in found:
            with contextlib.suppress(ProcessLookupError):
                others = len({other for other, _ in found} - {pid, os.getpid()})
                return processes_inside(pid, self.proc.task(pid).name, use, others)
        return "", ""

    def copies(self, tree: str) -> list[tuple[int, str]]:
        driver, found = self.driver(tree), []
        for pid in sorted(self.proc.mount_namespaces().values()):
            with contextlib.suppress(OSError):
                points = driver.points_in(self.proc.of(pid, "mountinfo"), tree)
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
            # Another user may have replaced a part of the path by a symbolic link.
            raise PermissionError(errno.EPERM, weak.sentence, directory)
        os.rmdir(directory)

    def default_directory(self, name: str) -> str:
        # On v1 hosts this is a tmpfs with a directory for each hierarchy; on v2 hosts it is the
        # v2 tree itself, where a directory would be a container.
        base = f"{self.sys}/fs/cgroup"
        usual = proc_text.mount_point_of(self.proc.mounts(), "tmpfs", base)
        # There may be a link of that name, as cpu -> cpu,cpuacct.
        return self.resolve(os.path.join(base if usual else ELSEWHERE, name))

    def resolve(self, directory: str) -> str:
        return os.path.realpath(directory)

    # Containers: the verbs are those of DriverByTree

    def remove(self, place: Place, force: bool = False) -> None:
        with self.enforcer.allowing_removal(place) if force else contextlib.nullcontext():
            super().remove(place)

    # Tasks

    def task(self, task: int) -> Task:
        return self.proc.task(task)

    def threads(self, pid: int) -> list[int]:
        return self.proc.threads(pid)

    def family(self, pid: int) -> contextlib.AbstractContextManager[ProcessTree]:
        from pcont.linux.proc_events import EventedTree

        return contextlib.closing(EventedTree(self.proc, pid))

    # Namespaces

    def namespaces(self) -> tuple[str, ...]:
        from pcont.linux import namespaces

        return namespaces.known()

    def separate(self, spec: NamespaceSpec) -> Birth:
        from pcont.linux import namespaces

        return namespaces.Unshared(spec, self.pin_path())

    def join(self, name: str) -> Birth:
        from pcont.linux import namespaces

        files = self.pins().get(name)
        if not files:
            refuse(errno.ENOENT, self.pin_path(name))
        return namespaces.Joined(files)

    def pins(self) -> dict[str, dict[str, str]]:
        mounts, found = self.proc.mounts(), dict[str, dict[str, str]]()
        # A user's mountinfo also lists the pins that root has made.
        for directory in (self.pin_path(), os.path.join(workplace.ROOT, PINS)):
            for name, kinds in procfs.namespace_pins(mounts, directory).items():
                files = {kind: os.path.join(directory, name, kind) for kind in kinds}
                found.setdefault(name, files)
        return dict(sorted(found.items()))

    def may_join(self, files: Mapping[str, str]) -> bool:
        return all(os.access(file, os.R_OK, effective_ids=True) for file in files.values())

    def may_mount(self) -> bool:
        return self._administers

    def has_systemd(self) -> bool:
        from pcont.linux import systemd  # few commands ask

        return systemd.is_init()

    def delegated(self) -> Sequence[str]:
        from pcont.linux import delegation  # only chown asks

        return delegation.files()

    @cached_property
    def _administers(self) -> bool:
        return self.privileged() and self.proc.is_in_first_users()

    def may_move(self, task: int) -> bool:
        own = os.geteuid()
        return (own == 0 and self.proc.is_in_first_users()) or own in self.proc.owners(task)

    def pin_path(self, name: str = "", kind: str = "") -> str:
        return os.path.join(lock.directory() or ELSEWHERE, PINS, name, kind).rstrip("/")

    def pin(self, name: str, task: int, kinds: Iterable[str]) -> None:
        from pcont.linux import namespaces

        namespaces.pin_namespaces(self.pin_path(name), task, kinds)

    def unpin(self, name: str) -> None:
        from pcont.linux import namespaces

        own = self.pin_path(name)
        there = {os.path.dirname(file) for file in self.pins().get(name, {}).values()}
        namespaces.unpin_namespaces(next(iter(there), own))

    def assigned_ids(self) -> AssignedIds | None:
        return self.proc.assigned_ids()

    def affinity(self, task: int) -> Ids:
        return frozenset(os.sched_getaffinity(task))

    def set_affinity(self, task: int, cpus: Ids) -> None:
        os.sched_setaffinity(task, cpus)

    def simulated(self) -> Simulator:
        refuse(errno.EOPNOTSUPP, self.proc.root)

    def _unified(self) -> list[str]:
        point = proc_text.mount_point_of(self.proc.mounts(), "cgroup2")
        if point is None:
            return []
        with contextlib.suppress(OSError), open(f"{point}/cgroup.controllers") as stream:
            return stream.read().split()
        return []


def _is_core(file: str) -> bool:
    return file in subsys.core_table().by_name
