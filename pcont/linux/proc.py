"""Read tasks, mounts and controllers from /proc, and the CPUs and memory nodes from /sys.

A task id without a task raises ProcessLookupError (ESRCH).
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from functools import cached_property

from pcont.errors import Unsupported
from pcont.kernel.proc_text import MountLine, lines, mount_lines, on_point
from pcont.kernel.types import AssignedIds, Task
from pcont.linux import procfs
from pcont.tables.rules import Machine
from pcont.values import ID_LIST, Ids

CAP_SETGID, CAP_SYS_ADMIN = 6, 21  # linux/capability.h
FIRST_USERS = "user:[4026531837]"  # PROC_USER_INIT_INO of include/linux/proc_ns.h

_AT_ONCE = 1 << 16  # bytes
_PAGE, _SHORT = 1 << 12, 1 << 10  # bytes


class Proc:
    """A mounted /proc, or a copy of its files at `root`."""

    def __init__(self, root: str = "/proc") -> None:
        self.root = root
        # Of threads that are not the first one: the process, and the start time.
        self._process_of: dict[int, tuple[int, int]] = {}

    def text(self, file: str) -> str:
        """Return the content of a file below /proc."""
        return read_text(f"{self.root}/{file}")

    def of(self, task: int, file: str) -> str:
        """Return the content of a file of a task. Raises ProcessLookupError if there is no such
        task.
        """
        try:
            return read_text(f"{self.root}/{task}/{file}")
        except (FileNotFoundError, ProcessLookupError) as err:
            raise no_task(task) from err

    def cgroups(self) -> str:
        """Return the content of /proc/cgroups. Raises Unsupported, with a hint, if it does not
        exist.
        """
        try:
            return self.text("cgroups")
        except FileNotFoundError as err:
            if not self._is_whole():
                raise Unsupported(
                    f"proc is not mounted at {self.root}, or not as a whole (subset=pid): "
                    "what the kernel has cannot be read",
                    path=f"{self.root}/cgroups",
                    errno=errno.ENOENT,
                    hint=f"mount -t proc proc {self.root}",
                ) from err
            raise Unsupported(
                "this kernel has no cgroups",
                path=f"{self.root}/cgroups",
                errno=errno.ENOENT,
                hint="rehearse with --backend model",
            ) from err

    def _is_whole(self) -> bool:
        """Return whether /proc is mounted and shows more than processes (not subset=pid,
        proc(5)).
        """
        with contextlib.suppress(FileNotFoundError):
            line = on_point(self.mounts(), self.root)
            return line is None or "subset=pid" not in line.options
        return False

    def mounts(self) -> list[MountLine]:
        """Return the mounts in this process's mount namespace."""
        return mount_lines(self.text("self/mountinfo"))

    def task(self, task: int) -> Task:
        """Return what /proc reports of a task.

        The file in a `task` directory does not sum up all threads, as /proc/TID/stat does. The
        process of a thread that is not the first one is looked up once: its start time tells
        whether the id is still that thread's.
        """
        pid, start = self._process_of.get(task, (task, -1))
        try:
            stat = read_short(f"{self.root}/{pid}/task/{task}/stat")
        except (FileNotFoundError, ProcessLookupError) as err:
            if pid == task:
                raise no_task(task) from err
        else:
            known = procfs.first_thread(stat) if pid == task else procfs.task(stat, pid)
            if known and (pid == task or known.start == start):
                return known
        return self._thread(task)

    def _thread(self, task: int) -> Task:
        try:
            pid = procfs.process(read_text(f"{self.root}/{task}/status"))
            known = procfs.task(read_short(f"{self.root}/{pid}/task/{task}/stat"), pid)
        except (FileNotFoundError, ProcessLookupError) as err:
            raise no_task(task) from err
        if pid != task:
            self._process_of[task] = (pid, known.start)
        return known

    def timed(self, task: int, pid: int) -> tuple[Task, procfs.CpuTime]:
        """Return what /proc reports of a thread of the process `pid`, and its CPU time in
        nanoseconds.
        """
        try:
            stat = read_text(f"{self.root}/{task}/stat")
        except (FileNotFoundError, ProcessLookupError) as err:
            raise no_task(task) from err
        return procfs.timed(stat, pid, os.sysconf("SC_CLK_TCK"))

    def owners(self, task: int) -> set[int]:
        """Return the real and the saved user id of a task."""
        real, _, saved, _ = self._users(task)
        return {real, saved}

    def real_user(self, task: int) -> int:
        """Return the real user id of a task."""
        return self._users(task)[0]

    def _users(self, task: int) -> list[int]:
        status = lines(self.of(task, "status"))
        return next([*map(int, line.split()[1:])] for line in status if line.startswith("Uid:"))

    def threads(self, pid: int) -> list[int]:
        """Return the thread ids of the process that the task belongs to."""
        try:
            return sorted(map(int, os.listdir(f"{self.root}/{pid}/task")))
        except FileNotFoundError as err:
            raise no_task(pid) from err

    def processes(self) -> list[int]:
        """Return the ids of all visible processes."""
        return [int(name) for name in os.listdir(self.root) if name.isdigit()]

    def parents(self) -> dict[int, int]:
        """Return the parent id of every visible process."""
        found = {}
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                found[pid] = procfs.task(self.of(pid, "stat"), pid).parent
        return found

    @cached_property
    def lists_children(self) -> bool:
        """Whether this kernel lists the children of a task (CONFIG_PROC_CHILDREN)."""
        return os.path.exists(f"{self.root}/thread-self/children")

    def children(self, pid: int) -> set[int]:
        """Return the ids of the children of a process; empty if it does not exist."""
        found: set[int] = set()
        with contextlib.suppress(ProcessLookupError):
            for task in self.threads(pid):
                with contextlib.suppress(ProcessLookupError):
                    found.update(map(int, self.of(pid, f"task/{task}/children").split()))
        return found

    def last_pid(self) -> int:
        """Return the process id that the kernel assigned last; 0 if the kernel does not
        report it.
        """
        try:
            return int(self.text("sys/kernel/ns_last_pid"))
        except FileNotFoundError:
            return 0

    def assigned_ids(self) -> AssignedIds | None:
        """Return which task ids the kernel has assigned; None if it does not report that."""
        try:
            last, most = self.last_pid(), int(self.text("sys/kernel/pid_max"))
            started = procfs.started(self.text("stat"))
        except FileNotFoundError:
            return None
        return AssignedIds(last, started, most) if last and started else None

    def may_administer(self) -> bool:
        """Return whether this process has CAP_SYS_ADMIN."""
        return bool(procfs.capabilities(self.text("self/status")) >> CAP_SYS_ADMIN & 1)

    def is_in_first_users(self) -> bool:
        """Return whether this process is in the first user namespace, where its capabilities apply
        everywhere.
        """
        try:
            return os.readlink(f"{self.root}/self/ns/user") == FIRST_USERS
        except FileNotFoundError:
            return True  # this kernel has no user namespaces

    def may_set_groups(self) -> bool:
        """Return whether this process has CAP_SETGID."""
        return bool(procfs.capabilities(self.text("self/status")) >> CAP_SETGID & 1)

    def answers(self, pid: int, number: int) -> bool | None:
        """Return whether a process catches or ignores a signal; None if it may still take it.

        That is None if a thread blocks the signal or waits for it: during sigtimedwait(2) the
        kernel does not show it as blocked (kernel/signal.c, do_sigtimedwait()).
        """
        bit = 1 << (number - 1)
        for task in self.threads(pid):
            found = procfs.signals(self.of(task, "status"))
            if (found.caught | found.ignored) & bit:
                return True
            if (found.blocked | found.pending) & bit or "sigtimedwait" in self.of(task, "wchan"):
                return None
        return False

    def users(self, mount: int) -> Iterator[tuple[int, str]]:
        """Yield the processes that keep a mount busy: pid and what it uses there, for a message.

        `mount`: the mount's id in mountinfo. Processes that the caller may not inspect are left
        out.
        """
        for pid in self.processes():
            with contextlib.suppress(OSError):
                yield from ((pid, use) for use in self._uses(pid, mount))

    def _uses(self, pid: int, mount: int) -> Iterator[str]:
        for link, use in (("cwd", "its working directory"), ("root", "its root directory")):
            if self._mount_behind(f"{self.root}/{pid}/{link}") == mount:
                yield use
        for number in os.listdir(f"{self.root}/{pid}/fdinfo"):
            with contextlib.suppress(FileNotFoundError):  # closed by now
                if procfs.mount_id(self.text(f"{pid}/fdinfo/{number}")) == mount:
                    yield f"{os.readlink(f'{self.root}/{pid}/fd/{number}')} open"

    def _mount_behind(self, link: str) -> int:
        """Return the id of the mount that a link in /proc leads to."""
        descriptor = os.open(link, os.O_PATH | os.O_CLOEXEC)
        try:
            return procfs.mount_id(self.text(f"self/fdinfo/{descriptor}"))
        finally:
            os.close(descriptor)

    def mount_namespaces(self) -> dict[str, int]:
        """Return the other mount namespaces that the caller may inspect, each with the id of a
        process in it.
        """
        own, found = os.readlink(f"{self.root}/self/ns/mnt"), dict[str, int]()
        for pid in self.processes():
            with contextlib.suppress(OSError):
                found.setdefault(os.readlink(f"{self.root}/{pid}/ns/mnt"), pid)
        found.pop(own, None)
        return found

    def exists(self, task: int) -> bool:
        """Return whether there is such a task, including a zombie."""
        return os.path.exists(f"{self.root}/{task}")

    def cpu_time(self, task: int) -> procfs.CpuTime:
        """Return the CPU time of a task in nanoseconds."""
        return procfs.cpu_time(self.of(task, "stat"), os.sysconf("SC_CLK_TCK"))


def read_text(file: str) -> str:
    """Return the content of a file unchanged: line breaks, and bytes that are not UTF-8
    (surrogateescape).
    """
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return read_all(descriptor)
    finally:
        os.close(descriptor)


def read_short(file: str, directory: int | None = None) -> str:
    """Return the content of a file as `read_text` does, with one read(2) if it is short. `file`: a
    path, or one below an open directory.
    """
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
    try:
        return short_text(descriptor)
    finally:
        os.close(descriptor)


def short_text(descriptor: int) -> str:
    """Return what can be read from an open file, with one read(2) if that is short.

    The kernel returns everything that fits, and less than that only before a line of more than a
    page.
    """
    found = os.read(descriptor, _PAGE)
    while len(found) > _SHORT and (more := os.read(descriptor, _PAGE)):
        found += more
    return found.decode("utf-8", "surrogateescape")


def read_all(descriptor: int) -> str:
    """Return what can be read from an open file, as `read_text` does.

    The kernel may return fewer bytes than requested before the end of the file.
    """
    found = [os.read(descriptor, _AT_ONCE)]
    while more := os.read(descriptor, _AT_ONCE):
        found.append(more)
    return b"".join(found).decode("utf-8", "surrogateescape")


def is_on(point: str, device: str) -> bool:
    """Return whether a directory is on a device, given as MAJOR:MINOR.

    False if a later mount covers the directory, or this process may not read it.
    """
    try:
        number = os.stat(point).st_dev
    except OSError:
        return False
    return device == f"{os.major(number)}:{os.minor(number)}"


def this_machine(sys: str = "/sys") -> Machine:
    """Return the CPUs and memory nodes of this machine. A kernel without NUMA has node 0."""
    return Machine(
        cpus=_ids(f"{sys}/devices/system/cpu/online"),
        nodes=_ids(f"{sys}/devices/system/node/online", "0"),
        cpu_limit=max(_ids(f"{sys}/devices/system/cpu/possible")) + 1,
        most_cpus=max(_ids(f"{sys}/devices/system/cpu/kernel_max", "8191")) + 1,
    )


def _ids(file: str, default: str | None = None) -> Ids:
    try:
        text = read_text(file)
    except FileNotFoundError:
        if default is None:
            raise
        text = default
    ids: Ids = ID_LIST.parse(text)
    return ids


def no_task(task: int) -> ProcessLookupError:
    """Return the error (ESRCH) for a task id without a task."""
    return ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH), str(task))
