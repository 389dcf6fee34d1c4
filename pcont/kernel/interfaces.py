"""What a backend is: the few things that a kernel with cgroups offers, text in and out.

Every verb raises OSError with errno and filename, on the kernel and on the model alike: that is
what makes the two comparable. It is Unseen for a container that no mount shows. PcontError is for
what makes a backend as a whole unusable.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator, Mapping, Sequence
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


class Backend(Protocol):
    """A kernel with cgroups: the real one, or the model."""

    name: str

    @property
    def meter(self) -> Enforcer:
        """What pcont has in this kernel itself."""

    @property
    def releases(self) -> ReleaseQueue:
        """What it tells of containers that have become empty."""

    def controllers(self) -> tuple[Controller, ...]:
        """Every controller that the kernel lists."""

    def kept(self) -> tuple[str, ...]:
        """The subsystems that pcont keeps, as this kernel lacks them."""

    def table(self, name: str) -> Subsystem | None:
        """What is known of a subsystem and its files, by no name the core's; None: no table."""

    def trees(self) -> tuple[Tree, ...]:
        """Every active v1 hierarchy, mounted or not."""

    def machine(self) -> Machine:
        """The CPUs and memory nodes of this machine."""

    def privileged(self) -> bool:
        """Whether this process has CAP_SYS_ADMIN."""

    def environment(self) -> dict[str, str]:
        """What a command needs in its environment so that its own pcont drives the same kernel."""

    def turn(self, waiting: Waiting = WAITING) -> AbstractContextManager[None]:
        """Hold off every other pcont command that changes something, while this one does.

        Raises Busy at the timeout of `waiting`.
        """

    def mount(self, request: TreeRequest, point: str, source: str) -> None:
        """mount(2) of type cgroup at an existing directory."""

    def umount(self, point: str) -> None:
        """umount2(2)."""

    def occupied(self, directory: str, entries: bool) -> str:
        """Why nothing should be mounted there: a mount, or (if asked) entries; else empty.

        ENOTDIR where it is a file, or would be below one.
        """

    def in_the_way(self, point: str) -> tuple[str, str]:
        """What keeps a mount from being unmounted, and what to do; empty where nothing is seen."""

    def copies(self, tree: str) -> list[tuple[int, str]]:
        """The processes that keep a hierarchy mounted in other mount namespaces, and where.

        One for each namespace.
        """

    def missing(self, directory: str) -> list[str]:
        """The directory and those above it that are not there yet, outermost first."""

    def make_directory(self, directory: str) -> None:
        """mkdir(2) of a mount point."""

    def remove_directory(self, directory: str) -> None:
        """rmdir(2) of a mount point."""

    def default_directory(self, name: str) -> str:
        """Where a hierarchy is mounted when nobody says where."""

    def resolve(self, directory: str) -> str:
        """The directory without symbolic links."""

    def make(self, place: Place) -> None:
        """mkdir(2)."""

    def remove(self, place: Place, force: bool = False) -> None:
        """rmdir(2); `force`: although files are charged to it that are still open."""

    def rename(self, place: Place, name: str) -> None:
        """rename(2) of a container, which stays below its parent."""

    def children(self, place: Place) -> list[str]:
        """The names of the containers directly below, sorted."""

    def files(self, place: Place) -> dict[str, bool]:
        """The control files by their prefixed names, and whether each can be written at all."""

    def read(self, place: Place, file: str) -> str:
        """The whole text of a control file."""

    def write(self, place: Place, file: str, text: str) -> None:
        """One write(2); WriteRefused where the file could be opened and the text was refused."""

    def enter(self, place: Place, tasks: Iterable[int]) -> Iterator[int]:
        """Write tasks into a container one right after the other; yields those that are in.

        Tasks that have ended are left out; WriteRefused for the first that is refused.
        """

    def attributes(self, place: Place) -> dict[str, str]:
        """pcont's own facts about a container, by name without the prefix."""

    def owners(self, place: Place) -> dict[str, Owner]:
        """Whose the container and its files are: the directory itself is the empty name."""

    def set_owners(self, place: Place, owners: Mapping[str, Owner]) -> None:
        """Make them theirs again."""

    def set_attribute(self, place: Place, name: str, text: str | None) -> None:
        """Keep a fact with a container; None removes it."""

    def stray(self, place: Place) -> dict[str, str]:
        """Return attributes that look like pcont's and are not believed, by their full names.

        Another user has forged them, or an older pcont has left them.
        """

    def mend(self, place: Place) -> None:
        """Remove what is stray; the copies for other users become like the facts."""

    def relied_on(self) -> dict[str, str]:
        """Files and directories that only root should be able to change, and what each is for."""

    def spelled(self, place: Place, file: str) -> str:
        """What a control file is called here, however a hierarchy is mounted (`noprefix`)."""

    def show(self, place: Place, file: str = "") -> str:
        """The place as a path that a person can find."""

    def task(self, task: int) -> Task:
        """What is known of a task; ESRCH where there is none."""

    def membership(self, task: int) -> dict[str, str]:
        """The container of a task in every tree, by the tree's id; ESRCH where there is no task.

        The root of each for a task that is ending.
        """

    def threads(self, pid: int) -> list[int]:
        """The ids of all threads of the process that the task belongs to; ESRCH if none."""

    def family(self, pid: int) -> AbstractContextManager[ProcessTree]:
        """A process with all that descends from it, for as long as somebody asks."""

    def thawing(self, place: Place) -> AbstractContextManager[None]:
        """Should this process die in the block, the container is thawed all the same."""

    def journals(self) -> str:
        """The directory for journals of new commands; empty if no journal is written."""

    def workplace(self) -> Workplace:
        """Where lock and journals of this user are, and what is wrong with it."""

    def namespaces(self) -> tuple[str, ...]:
        """The kinds that a process can have of its own."""

    def separate(self, apart: NamespaceSpec) -> Birth:
        """How a process comes to be that has some."""

    def join(self, name: str) -> Birth:
        """How a process comes to be in those that are pinned by a name; ENOENT where none are."""

    def pins(self) -> dict[str, dict[str, str]]:
        """The namespaces that are pinned, by name and kind: the file that keeps each."""

    def may_join(self, files: Mapping[str, str]) -> bool:
        """Whether this process may open the files of a pin."""

    def may_mount(self) -> bool:
        """Whether this process has CAP_SYS_ADMIN in the first user namespace, as mount(2) asks."""

    def may_move(self, task: int) -> bool:
        """Whether this process may move a task, which is its user's or it is root's.

        See __cgroup1_procs_write() in kernel/cgroup/cgroup-v1.c. ESRCH where there is no task.
        """

    def may_change(self, place: Place) -> bool:
        """Whether this process may create containers in a container and move tasks into it."""

    def pin_path(self, name: str, kind: str = "") -> str:
        """The file that would keep one of them; without a kind, what holds all of them."""

    def pin(self, name: str, task: int, kinds: Iterable[str]) -> None:
        """Keep those of a task by a name; EEXIST where it is taken."""

    def unpin(self, name: str) -> None:
        """Let go of them; ENOENT where there is no such name. What was half done goes, too."""

    def kill(self, place: Place, pids: Iterable[int], number: int) -> Iterator[int]:
        """A signal for those of the processes that are in that container; yields who has had it."""

    def affinity(self, task: int) -> Ids:
        """sched_getaffinity(2) of one thread."""

    def set_affinity(self, task: int, cpus: Ids) -> None:
        """sched_setaffinity(2) of one thread."""

    def simulated(self) -> Simulator:
        """What can be played; EOPNOTSUPP where the kernel is real."""


def exists(backend: Backend, place: Place) -> bool:
    """Whether the container is there in its tree; Unseen where no mount could show it."""
    try:
        backend.children(place)
    except Unseen:
        raise
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as err:
        if err.errno != errno.ENAMETOOLONG:
            raise
        return False
    return True
