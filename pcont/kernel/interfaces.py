"""What a kernel with cgroups offers, as small interfaces: text in and out.

A backend has all of them, and a user asks for those that it needs. Every verb raises OSError with
errno and filename, on the kernel and on the model alike: that is what makes the two comparable. It
is Unseen for a container that no mount shows. PcontError is for what makes a backend as a whole
unusable.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from pcont.errors import Unseen
from pcont.kernel.types import (
    WAITING,
    Controller,
    NamespaceSpec,
    Owner,
    Place,
    Task,
    Tree,
    TreeRequest,
    Waiting,
)
from pcont.tables.control_file import Subsystem
from pcont.tables.rules import Machine
from pcont.trust.workplace import Workplace
from pcont.values import Ids


class ProcessTree(Protocol):
    """The processes that descend from one. `complete`: none can have been missed.

    `adopted`: those of it by all that is known, of which nobody told who started them.
    """

    complete: bool
    adopted: set[int]

    def __call__(self, thorough: bool = False) -> set[int]:
        """Those that are there now; `thorough`: also whoever is just being forked."""


class Simulator(Protocol):
    """What can be played on a model: tasks that do not exist, and another machine.

    OSError as the kernel would answer such a task. For all verbs but the first and the last: ESRCH
    where there is no such task, EPERM for a live one, EBUSY for one that is frozen.
    """

    @property
    def notified(self) -> Sequence[tuple[str, str]]:
        """The release agents that would have been run, each with the path that it was given."""

    @property
    def parameters(self) -> Mapping[str, int]:
        """The parameters of subsystems, which hold for the whole machine."""

    def spawn(self, name: str = "played", uid: int | None = None) -> int:
        """A process of init's, in every root; its id. `uid`: whose it is, else the caller's."""

    def fork(self, task: int) -> int:
        """fork(2): a child where its parent is, in every hierarchy; its id."""

    def thread(self, task: int) -> int:
        """clone(2) of one more thread; its id."""

    def container_clone(self, subsystem: str, task: int) -> str:
        """A child `node_PID` of a task's container, where a subsystem is bound; the task enters it.

        Its path; empty where the subsystem is bound nowhere, and of kernels that make none.
        """

    def exit(self, task: int, thread: bool = False) -> None:
        """exit(2) of a process with all its threads, or of just this one.

        The first thread stays as a zombie for as long as there are others.
        """

    def work(self, task: int, user: int, system: int = 0, cpu: int | None = None) -> None:
        """Nanoseconds of CPU time that it uses now; EINVAL for a CPU where it may not run."""

    def open_one(self, task: int) -> int:
        """A file is opened, which its process holds then, and whom it forks; its number. ENFILE."""

    def close_one(self, task: int, file: int) -> None:
        """The process of a task holds a file no more; EBADF where it does not."""

    def plug(self, cpus: Ids, nodes: Ids) -> None:
        """These are online from now on; EINVAL where one of them is nothing."""

    def mount_cpuset(self, point: str) -> None:
        """mount(2) of type cpuset: that alone, with bare names, and a release agent of its own."""

    def module(self, name: str, text: str | None = None) -> str:
        """A parameter of a subsystem's below /sys/module, which is written first if there is text.

        ENOENT for one that this kernel has not; WriteRefused.
        """

    def proc_file(self, file: str) -> str:
        """A file of /proc that tells of hierarchies, by its path from there; ENOENT, ESRCH."""


class Enforcer(Protocol):
    """Programs of pcont's in the kernel, which count and enforce what it cannot by itself.

    They work for a subsystem, in one tree, and in that for the containers that it is bound to, and
    those below.
    """

    def check(self, what: str) -> None:
        """Unsupported where they cannot do what is called so, with what would help."""

    def trees(self) -> dict[str, str]:
        """The id of the tree in which they are at work, by the subsystem."""

    def is_bound(self, subsystem: str, root: Place) -> bool:
        """Whether they are at work for a container that it is bound to."""

    def start(self, subsystem: str, root: Place) -> None:
        """Have them work for one more; EBUSY where they do in another tree."""

    def stop(self, subsystem: str, root: Place) -> None:
        """For one less, and end them with the last; what they have counted is forgotten."""

    def values(self, place: Place, subsystem: str) -> dict[str, int]:
        """What they have counted for a container, and what it may have.

        By control files, and what goes into those that are computed. Nothing where nobody counts
        and the subsystem does without.
        """

    def set(self, place: Place, file: str, value: int) -> None:
        """What it may have from now on.

        EOPNOTSUPP where nobody counts, LimitReached where there is no room to keep it.
        """

    def hold(self, place: Place) -> None:
        """A container with charged files is not to go, although its removal had begun."""

    def uncounted(self) -> dict[str, int]:
        """How often a file was refused that could not be counted, by what stood in the way."""


class Birth(Protocol):
    """How the process of a command comes to be.

    `is_init`: it is the first one of a pid namespace. `note`: what the user should know of it.
    """

    is_init: bool
    note: str

    def fork(self) -> int:
        """fork(2): 0 in the new process, its pid in this one; OSError where it is refused."""

    def settle(self) -> None:
        """What the new process does once it is in its place; OSError where it is refused."""


class ReleaseQueue(Protocol):
    """What a kernel tells pcont of containers that have become empty, one hierarchy at a time."""

    @property
    def attended(self) -> bool:
        """Whether processes are started that see to it; else whoever comes next has to."""

    def program(self, tree: str) -> str:
        """The release agent that does the telling; there while release_agent is that."""

    def programs(self) -> dict[str, bool]:
        """The hierarchies that have or had one, and whether it would still work."""

    def keeper(self, tree: str) -> str:
        """The directory of another pcont that sees to a hierarchy and still exists; else empty."""

    def forget(self, tree: str) -> None:
        """The hierarchy is no more: nothing is left of the program, and of what it has told."""

    def told(self) -> list[str]:
        """The hierarchies of which something was told that nobody has seen to."""

    def taken(self, tree: str) -> AbstractContextManager[list[str]]:
        """The paths that were told, in the order of the events; those left in the list are told
        again, and all of them where the block is left by an error.

        Raises Busy where another process sees to them.
        """

    def notify(self, program: str, path: str) -> None:
        """Run a release agent of the user's for a container, and wait a while for its end."""


class CgroupFiles(Protocol):
    """System calls on the directories and files of mounted hierarchies, by their paths.

    The drivers of a kernel stand on it: it knows nothing of trees, v1 or v2.
    """

    def mkdir(self, directory: str) -> None:
        """mkdir(2)."""

    def rmdir(self, directory: str) -> None:
        """rmdir(2)."""

    def rename(self, directory: str, new: str) -> None:
        """rename(2)."""

    def directories(self, directory: str) -> list[str]:
        """Return the names of the directories in a directory, sorted."""

    def modes(self, directory: str) -> dict[str, bool]:
        """Return the names of the files in a directory, and whether each is ever writable."""

    def read(self, file: str) -> str:
        """Return the whole text of a file; ENOENT also if the directory is removed during that."""

    def write(self, file: str, text: str, opened: Callable[[], object] | None = None) -> None:
        """One write(2); WriteRefused where the file could be opened and the text was refused.

        `opened` is called after open(2): its OSError is a refusal as well.
        """

    def write_tasks(self, file: str, tasks: Iterable[int]) -> Iterator[int]:
        """Write task ids through one open file; yield those that were accepted.

        A task that has ended (ESRCH) is left out; WriteRefused for the first one that is refused.
        """

    def write_if_killed(self, file: str, text: bytes) -> AbstractContextManager[None]:
        """Have another process write the text if this process is killed in the block."""

    def may_write(self, *files: str) -> bool:
        """Whether this process may write all of these files and directories."""

    def attributes(self, directory: str) -> dict[str, str]:
        """Return the attributes of pcont that this process believes, by name without the prefix."""

    def set_attribute(self, directory: str, name: str, text: str | None) -> None:
        """Write an attribute; None removes it."""

    def stray(self, directory: str) -> dict[str, str]:
        """Return attributes that look like pcont's and are not believed, by their full names."""

    def mend(self, directory: str) -> None:
        """Remove stray attributes, and update the copies of attributes for other users."""

    def owners(self, directory: str) -> dict[str, Owner]:
        """Return the owners of a directory ("") and of its files."""

    def set_owners(self, directory: str, owners: Mapping[str, Owner]) -> None:
        """Give a directory and its files these owners."""

    def is_on(self, point: str, device: str) -> bool:
        """Whether a directory is seen to be on a device, MAJOR:MINOR."""

    def signal_inside(
        self, pids: Iterable[int], number: int, inside: Callable[[], Iterable[int]]
    ) -> Iterator[int]:
        """Signal those of the processes that are inside; yield each one signalled.

        A process whose id is reused by another one is not signalled: `inside` is called after the
        processes are pinned, and returns the ids of those that are in the container.
        """


class ProcReader(Protocol):
    """/proc as the drivers of a kernel read it."""

    def text(self, file: str) -> str:
        """Return the whole of a file."""

    def of(self, task: int, file: str) -> str:
        """Return the whole of a task's file; ESRCH where there is no such task."""

    def task(self, task: int) -> Task:
        """Return what is known of a task; ESRCH where there is none."""

    def cgroups(self) -> str:
        """Return /proc/cgroups; Unsupported, with a hint, where the kernel has none."""


class Trees(Protocol):
    """Which hierarchies the kernel has."""

    def trees(self) -> tuple[Tree, ...]:
        """Return every active hierarchy, mounted or not."""


class ContainerReader(Protocol):
    """What can be read of a container: all that a rule or an explanation needs."""

    def children(self, place: Place) -> list[str]:
        """Return the names of the containers directly below, sorted."""

    def files(self, place: Place) -> dict[str, bool]:
        """Return the control files by their prefixed names, and whether each is ever writable."""

    def read(self, place: Place, file: str) -> str:
        """Return the whole text of a control file."""

    def attributes(self, place: Place) -> dict[str, str]:
        """Return the attributes that pcont keeps with a container, by name without the prefix."""

    def spelled(self, place: Place, file: str) -> str:
        """Return the name that a control file has here, however it is mounted (`noprefix`)."""

    def show(self, place: Place, file: str = "") -> str:
        """Return the container, or a file of it, as a path that a person can find."""


class Containers(ContainerReader, Protocol):
    """Containers with their control files, attributes and owners: what steps read and change."""

    def make(self, place: Place) -> None:
        """Create the container: mkdir(2)."""

    def remove(self, place: Place, force: bool = False) -> None:
        """Remove the container: rmdir(2); `force`: even if open files are charged to it."""

    def rename(self, place: Place, name: str) -> None:
        """rename(2) of a container, which stays below its parent."""

    def write(self, place: Place, file: str, text: str) -> None:
        """One write(2); WriteRefused where the file could be opened and the text was refused."""

    def enter(self, place: Place, tasks: Iterable[int]) -> Iterator[int]:
        """Write task ids into a container one right after the other; yield those that are in.

        A task that has ended is left out; WriteRefused for the first one that is refused.
        """

    def set_attribute(self, place: Place, name: str, text: str | None) -> None:
        """Keep an attribute with a container; None removes it."""

    def owners(self, place: Place) -> dict[str, Owner]:
        """Return the owner of the container and of its files; "" is the directory itself."""

    def set_owners(self, place: Place, owners: Mapping[str, Owner]) -> None:
        """Give the container and its files these owners again."""


class Driver(Containers, Trees, Protocol):
    """One kind of cgroups (v1, v2) as the rest of pcont sees it.

    Each tree has one driver, and the trees of one hierarchy may have different ones.
    """

    def membership(self, task: int) -> dict[str, str]:
        """Return the container of a task in every tree, by the tree's id.

        ESRCH where there is no task; the root of each tree for a task that is ending.
        """

    def thawing(self, place: Place) -> AbstractContextManager[None]:
        """Thaw the container even if this process is killed in the block."""

    def kill(self, place: Place, pids: Iterable[int], number: int) -> Iterator[int]:
        """Signal those of the processes that are in the container; yield each one signalled."""

    def may_change(self, place: Place) -> bool:
        """Whether this process may create containers in a container and move tasks into it."""

    def stray(self, place: Place) -> dict[str, str]:
        """Return attributes that look like pcont's and are not believed, by their full names.

        Another user has forged them, or an older pcont has left them.
        """

    def mend(self, place: Place) -> None:
        """Remove stray attributes, and update the copies of attributes for other users."""


class MountedDriver(Driver, Protocol):
    """A driver of the running kernel: its containers are directories below mounts."""

    def path(self, place: Place, file: str = "") -> str:
        """Return the path of a container, or of a file of it; Unseen where no mount shows it."""

    def points_in(self, mountinfo: str, tree: str) -> list[str]:
        """Return the directories where a mountinfo, of any process, has a hierarchy."""

    def forget(self) -> None:
        """Drop what is known of mounts, which are about to change."""


class Subsystems(Protocol):
    """Which controllers and subsystems there are, and what is known of their files."""

    def controllers(self) -> tuple[Controller, ...]:
        """Return every controller that the kernel lists."""

    def kept(self) -> tuple[str, ...]:
        """Return the subsystems that pcont provides because this kernel lacks them."""

    def table(self, name: str) -> Subsystem | None:
        """Return the table of a subsystem (of the core for ""); None if there is none."""


class Mounts(Trees, Protocol):
    """mount(2), umount2(2), and the directories that hierarchies are mounted on."""

    def mount(self, request: TreeRequest, point: str, source: str) -> None:
        """mount(2) at an existing directory."""

    def umount(self, point: str) -> None:
        """umount2(2)."""

    def occupied(self, directory: str, entries: bool) -> str:
        """Return why nothing should be mounted there; empty if nothing speaks against it.

        The reason is a mount or, with `entries`, files in it. ENOTDIR if it is a file or below one.
        """

    def in_the_way(self, point: str) -> tuple[str, str]:
        """Return what keeps a mount from being unmounted, and a hint; empty if nothing is seen."""

    def copies(self, tree: str) -> list[tuple[int, str]]:
        """Return processes that keep a hierarchy mounted in other mount namespaces, and where.

        One process for each namespace.
        """

    def missing(self, directory: str) -> list[str]:
        """Return the directory and its parents as far as they do not exist, outermost first."""

    def make_directory(self, directory: str) -> None:
        """mkdir(2) of a mount point."""

    def remove_directory(self, directory: str) -> None:
        """rmdir(2) of a mount point."""

    def default_directory(self, name: str) -> str:
        """Return where a hierarchy is mounted if the user names no directory."""

    def resolve(self, directory: str) -> str:
        """Return the directory without symbolic links."""


class Tasks(Protocol):
    """The tasks of this machine, and what may be done with them."""

    def task(self, task: int) -> Task:
        """Return what is known of a task; ESRCH where there is none."""

    def threads(self, pid: int) -> list[int]:
        """Return the ids of all threads of the task's process; ESRCH where there is none."""

    def membership(self, task: int) -> dict[str, str]:
        """Return the container of a task in every tree, of whatever driver, by the tree's id.

        ESRCH where there is no task; the root of each tree for a task that is ending.
        """

    def family(self, pid: int) -> AbstractContextManager[ProcessTree]:
        """Track a process and its descendants while the context is open."""

    def affinity(self, task: int) -> Ids:
        """sched_getaffinity(2) of one thread."""

    def set_affinity(self, task: int, cpus: Ids) -> None:
        """sched_setaffinity(2) of one thread."""

    def may_move(self, task: int) -> bool:
        """Whether this process may move a task, which is its user's or it is root's.

        See __cgroup1_procs_write() in kernel/cgroup/cgroup-v1.c. ESRCH where there is no task.
        """


class Namespaces(Protocol):
    """Namespaces of new processes, and those that are pinned by a name."""

    def namespaces(self) -> tuple[str, ...]:
        """Return the kinds that a process can have of its own."""

    def separate(self, apart: NamespaceSpec) -> Birth:
        """Return how to start a process that has namespaces of its own."""

    def join(self, name: str) -> Birth:
        """Return how to start a process in pinned namespaces; ENOENT where none have the name."""

    def pins(self) -> dict[str, dict[str, str]]:
        """Return the pinned namespaces by name and kind: the file that keeps each."""

    def may_join(self, files: Mapping[str, str]) -> bool:
        """Whether this process may open the files of a pin."""

    def pin_path(self, name: str, kind: str = "") -> str:
        """Return the file that would keep a namespace; without a kind, its directory."""

    def pin(self, name: str, task: int, kinds: Iterable[str]) -> None:
        """Keep namespaces of a task by a name; EEXIST where it is taken."""

    def unpin(self, name: str) -> None:
        """Remove a pin, even a half-made one; ENOENT where there is no such name."""


class Host(Protocol):
    """This machine, the rights of this process, and where pcont keeps its own files."""

    def machine(self) -> Machine:
        """Return the CPUs and memory nodes of this machine."""

    def privileged(self) -> bool:
        """Whether this process has CAP_SYS_ADMIN."""

    def may_mount(self) -> bool:
        """Whether this process has CAP_SYS_ADMIN in the first user namespace, as mount(2) asks."""

    def environment(self) -> dict[str, str]:
        """Return the variables that make the pcont of a command drive the same kernel."""

    def turn(self, waiting: Waiting = WAITING) -> AbstractContextManager[None]:
        """Hold off every other pcont command that changes something, during the block.

        Raises Busy at the timeout of `waiting`.
        """

    def journals(self) -> str:
        """Return the directory for journals of new commands; empty if no journal is written."""

    def workplace(self) -> Workplace:
        """Return where this user's lock and journals are, and what is wrong with that directory."""

    def relied_on(self) -> dict[str, str]:
        """Return files that only root should be able to change, and what each is for."""


class Programs(Protocol):
    """The programs in the kernel, and the queue of its release agents."""

    @property
    def meter(self) -> Enforcer:
        """The BPF programs of pcont in this kernel."""

    @property
    def releases(self) -> ReleaseQueue:
        """The containers that the kernel has reported as empty."""


class Backend(Driver, Tasks, Mounts, Subsystems, Namespaces, Host, Programs, Protocol):
    """A kernel with cgroups, whole: the real one, or the model. Most users need less of it."""

    name: str

    def simulated(self) -> Simulator:
        """Return what can be played on a model; EOPNOTSUPP where the kernel is real."""


def exists(cgroups: ContainerReader, place: Place) -> bool:
    """Whether the container is there in its tree; Unseen where no mount could show it."""
    try:
        cgroups.children(place)
    except Unseen:
        raise
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as err:
        if err.errno != errno.ENAMETOOLONG:
            raise
        return False
    return True
