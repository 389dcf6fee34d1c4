"""The interfaces of a backend: small protocols for what a kernel with cgroups offers. Texts go in
and out.

A backend has all of them; a function asks only for those that it needs. Every method raises OSError
with errno and filename, the same on the kernel and on the model, so that the two can be compared.
For a container that no mount shows, that is Unseen. PcontError is raised only if the backend as a
whole cannot be used.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

from pcont.kernel.types import (
    WAITING,
    AssignedIds,
    Controller,
    NamespaceSpec,
    Owner,
    Place,
    Snapshot,
    Task,
    Tree,
    TreeRequest,
    Waiting,
)
from pcont.tables.control_file import Subsystem
from pcont.tables.rules import Machine
from pcont.values import Ids

if TYPE_CHECKING:
    from pcont.kernel.types import Surveyed
    from pcont.trust.workplace import Workplace


class ProcessTree(Protocol):
    """The descendants of a process.

    `complete`: no descendant can be missing. `adopted`: descendants that have another parent now,
    and for which the kernel did not report the process that started them.
    """

    complete: bool
    adopted: set[int]

    def __call__(self, thorough: bool = False) -> set[int]:
        """Return the descendants that exist now; `thorough`: with those that are being forked."""


class Simulator(Protocol):
    """What can be simulated on a model: tasks that do not exist, and changes of the machine.

    A refusal is the OSError that the kernel would raise for such a task. All methods but `spawn`
    and the last four raise ESRCH if there is no such task, EPERM for a real task of this machine,
    and EBUSY for a frozen task.
    """

    @property
    def notified(self) -> Sequence[tuple[str, str]]:
        """The release agents that a kernel would have run, each with its argument."""

    @property
    def parameters(self) -> Mapping[str, int]:
        """The parameters of subsystems, which hold for the whole machine."""

    def spawn(self, name: str = "simulated", uid: int | None = None) -> int:
        """Start a child of init in the root of every hierarchy; returns its id.

        `uid`: its user (default: the caller's).
        """

    def fork(self, task: int) -> int:
        """fork(2): start a child in the containers of its parent; return its id."""

    def thread(self, task: int) -> int:
        """clone(2) of one more thread; return its id."""

    def container_clone(self, subsystem: str, task: int) -> str:
        """Create the container `node_PID` below the task's container of a subsystem, and move the
        task into it.

        Returns its path; empty if the subsystem is not bound, or if the simulated kernel does not
        do this.
        """

    def exit(self, task: int, thread: bool = False) -> None:
        """exit(2) of a process with all its threads, or of one thread.

        The first thread stays as a zombie while there are others.
        """

    def work(self, task: int, user: int, system: int = 0, cpu: int | None = None) -> None:
        """Charge CPU time to a task; `user` and `system` are nanoseconds. Raises OSError (EINVAL)
        for a CPU that it may not use.
        """

    def open_one(self, task: int) -> int:
        """Open a file in the task's process; returns its number. Later children hold it, too.
        Raises OSError (ENFILE) at the limit.
        """

    def close_one(self, task: int, file: int) -> None:
        """Close a file of the task's process. Raises OSError (EBADF) if the process does not hold
        it.
        """

    def plug(self, cpus: Ids, nodes: Ids) -> None:
        """Put exactly these CPUs and memory nodes online. Raises OSError (EINVAL) for an
        empty set.
        """

    def mount_cpuset(self, point: str) -> None:
        """Mount a file system of the old type `cpuset` at `point`: cpuset alone, with bare file
        names and its own release agent.
        """

    def module(self, name: str, text: str | None = None) -> str:
        """Return the value of a parameter in /sys/module. If `text` is given, write that first.

        Raises OSError (ENOENT) for a parameter that the kernel lacks, and WriteRefused for a
        refused text.
        """

    def proc_file(self, file: str) -> str:
        """Return the text of a file of /proc about hierarchies, given its path below /proc. Raises
        OSError (ENOENT, ESRCH).
        """


class Enforcer(Protocol):
    """The eBPF programs that pcont loads into the kernel: they count and limit what the kernel does
    not.

    The programs of a subsystem work in one tree, for the containers that the subsystem is bound to
    and for their descendants.
    """

    def check(self, label: str) -> None:
        """Raise Unsupported, with a hint, if the kernel cannot run the programs for the file or
        subsystem `label`.
        """

    def trees(self) -> dict[str, str]:
        """Return the id of the tree in which the programs of each loaded subsystem work."""

    def is_bound(self, subsystem: str, root: Place) -> bool:
        """Return whether the programs are bound to this container."""

    def start(self, subsystem: str, root: Place) -> None:
        """Bind a subsystem to one more container; load its programs before the first one.

        Raises OSError (EBUSY) if they already work in another tree.
        """

    def stop(self, subsystem: str, root: Place) -> None:
        """Unbind one container; unload the programs after the last one. Counters are discarded."""

    def values(self, place: Place, subsystem: str) -> dict[str, int]:
        """Return the counters and limits of a container by control file, with the inputs of
        computed files.

        Empty if no programs work and the subsystem can do without them.
        """

    def set(self, place: Place, file: str, value: int) -> None:
        """Set a limit of a container. Raises OSError (EOPNOTSUPP) if no programs work, LimitReached
        if the kernel's map is full.
        """

    def hold(self, place: Place) -> None:
        """Refuse again to remove a container that open files are charged to."""

    def uncounted(self) -> dict[str, int]:
        """Return how many opens were refused because they could not be counted, by the reason."""


class Birth(Protocol):
    """How the process of a command is started.

    `is_init`: it is the first process of a pid namespace. `note`: a note for the user.
    """

    is_init: bool
    note: str

    def fork(self) -> int:
        """Fork: returns 0 in the new process, its pid in this one. Raises OSError if the kernel
        refuses.
        """

    def enter_namespaces(self) -> None:
        """Make or join the namespaces that the new process enters after it was attached.

        Raises OSError if the kernel refuses.
        """


class ReleaseQueue(Protocol):
    """The reports of a kernel about containers that have become empty, one queue a hierarchy."""

    @property
    def attended(self) -> bool:
        """Whether the kernel starts a process for each report. If not, the next pcont command
        handles the report.
        """

    def program(self, tree: str) -> str:
        """Return the release agent that reports to pcont; it exists while it is the agent."""

    def programs(self) -> dict[str, bool]:
        """Return the hierarchies that have such an agent on disk, and whether it still works."""

    def keeper(self, tree: str) -> str:
        """Return the directory of another pcont installation that handles the reports of a
        hierarchy.

        Empty if there is none, or if that installation no longer exists.
        """

    def forget(self, tree: str) -> None:
        """Remove the agent and the reports of a hierarchy that no longer exists."""

    def reported(self) -> list[str]:
        """Return the hierarchies with reports that no command has handled."""

    def taken(self, tree: str) -> AbstractContextManager[list[str]]:
        """Take the reported paths, in the order of the events.

        Paths that are still in the list at the end of the block are reported again, and all of them
        if the block raises. Raises Busy where another process has taken them.
        """

    def notify(self, program: str, path: str) -> None:
        """Run the user's release agent for a container, and wait a while for its end."""


class Trees(Protocol):
    """Which hierarchies the kernel has."""

    def trees(self) -> tuple[Tree, ...]:
        """Return every active hierarchy, mounted or not."""


class ContainerReader(Protocol):
    """What can be read of a container: all that a rule or an explanation needs."""

    def has(self, place: Place) -> bool:
        """Return True if the container exists. Raises FileNotFoundError if it does not.

        Call `exists`, which returns False then.
        """

    def children(self, place: Place) -> list[str]:
        """Return the names of the containers directly below, sorted."""

    def count_children(self, place: Place) -> int:
        """Return how many containers are directly below, at a cost that does not depend on the
        number.
        """

    def names_in_use(self, place: Place, names: Sequence[str]) -> set[str]:
        """Return those of the names that no new container directly below can have: containers or
        control files have them.
        """

    def survey(self, place: Place, files: Sequence[str]) -> list[Surveyed]:
        """Return the containers directly below, sorted, each with the texts of these files."""

    def files(self, place: Place) -> dict[str, bool]:
        """Return the control files by their prefixed names, and whether each is ever writable."""

    def read(self, place: Place, file: str) -> str:
        """Return the whole text of a control file."""

    def attributes(self, place: Place) -> dict[str, str]:
        """Return the attributes that pcont stores on a container, text by name without the
        prefix.
        """

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

    def write(self, place: Place, file: str, text: str) -> None:
        """One write(2); WriteRefused where the file could be opened and the text was refused."""

    def enter(self, place: Place, tasks: Iterable[int], file: str = "") -> Iterator[int]:
        """Write task ids into a container one right after the other; yields those that have
        entered.

        `file`: `tasks` or `cgroup.procs`. By default each task moves alone if it can; on cgroup v2,
        the process of a thread that cannot. A task that has exited is left out. Raises WriteRefused
        at the first refusal.
        """

    def set_attribute(self, place: Place, name: str, text: str | None) -> None:
        """Set an attribute that pcont stores on a container; None removes it."""

    def snapshot(self, place: Place, files: Iterable[str], others: Iterable[str]) -> Snapshot:
        """Return the texts of control files, the attributes and the owners of the container.

        `others`: all its other control files, of which only the owners are needed. Files that
        cannot be read are left out of the texts.
        """

    def owners(self, place: Place) -> dict[str, Owner]:
        """Return the owners of a container by file name; "" stands for the directory itself."""

    def set_owners(self, place: Place, owners: Mapping[str, Owner]) -> None:
        """Set the owners of the container and its files, as `owners` returned them."""


class Driver(Containers, Trees, Protocol):
    """One kind of cgroups (v1, v2) as the rest of pcont sees it.

    Each tree has one driver, and the trees of one hierarchy may have different ones.
    """

    def membership(self, task: int) -> dict[str, str]:
        """Return the path of a task's container by tree id. Raises ProcessLookupError if there is
        no such task.

        An exiting task is in the root of each tree.
        """

    def thawing(self, place: Place) -> AbstractContextManager[None]:
        """For the block, ensure that the container is thawed if this process is killed."""

    def kill(self, place: Place, pids: Iterable[int], number: int) -> Iterator[int]:
        """Signal those of the processes that are in the container; yield each one signalled."""

    def may_change(self, place: Place) -> bool:
        """Whether this process may create containers in a container and move tasks into it."""

    def stray(self, place: Place) -> dict[str, str]:
        """Return the attributes that look like pcont's but are not trusted, by full name.

        Another user has forged them, or an older pcont has left them.
        """

    def mend(self, place: Place) -> None:
        """Remove stray attributes, and update the copies of attributes for other users."""


class Subsystems(Protocol):
    """Which controllers and subsystems there are, and what is known of their files."""

    def controllers(self) -> tuple[Controller, ...]:
        """Return every controller that the kernel lists."""

    def virtual_subsystems(self) -> tuple[str, ...]:
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
        """Return a task. Raises ProcessLookupError if there is none."""

    def threads(self, pid: int) -> list[int]:
        """Return the ids of all threads of the task's process. Raises ProcessLookupError if there
        is none.
        """

    def membership(self, task: int) -> dict[str, str]:
        """Return the path of a task's container by tree id, for the trees of all drivers.

        Raises ProcessLookupError if there is no such task. An exiting task is in the root of each
        tree.
        """

    def family(self, pid: int) -> AbstractContextManager[ProcessTree]:
        """Track a process and its descendants while the context is open."""

    def assigned_ids(self) -> AssignedIds | None:
        """Return which task ids the kernel has assigned; None if it does not report that."""

    def affinity(self, task: int) -> Ids:
        """sched_getaffinity(2) of one thread."""

    def set_affinity(self, task: int, cpus: Ids) -> None:
        """sched_setaffinity(2) of one thread."""

    def may_move(self, task: int) -> bool:
        """Return whether this process may move a task: it has the task's user, or is root.

        See __cgroup1_procs_write() in kernel/cgroup/cgroup-v1.c. Raises ProcessLookupError if there
        is no such task.
        """


class Namespaces(Protocol):
    """Namespaces of new processes, and those that are pinned by a name."""

    def namespaces(self) -> tuple[str, ...]:
        """Return the kinds of namespaces that a new process can get, by their names in
        /proc/PID/ns.
        """

    def separate(self, spec: NamespaceSpec) -> Birth:
        """Return how to start a process in new namespaces."""

    def join(self, name: str) -> Birth:
        """Return how to start a process in pinned namespaces. Raises FileNotFoundError for an
        unknown pin.
        """

    def pins(self) -> dict[str, dict[str, str]]:
        """Return the pins by name; for each, the file that keeps the namespace, by kind."""

    def may_join(self, files: Mapping[str, str]) -> bool:
        """Return whether this process may open the files of a pin. `files`: the paths by kind, as
        in `pins`.
        """

    def pin_path(self, name: str, kind: str = "") -> str:
        """Return the path of the file of a pin; without a kind, of the pin's directory."""

    def pin(self, name: str, task: int, kinds: Iterable[str]) -> None:
        """Pin namespaces of a task under a name. Raises FileExistsError if the name is taken."""

    def unpin(self, name: str) -> None:
        """Remove a pin, even an incomplete one. Raises FileNotFoundError if there is no
        such pin.
        """


class Host(Protocol):
    """This machine, the privileges of this process, and the directories for pcont's own files."""

    def machine(self) -> Machine:
        """Return the CPUs and memory nodes of this machine."""

    def privileged(self) -> bool:
        """Whether this process has CAP_SYS_ADMIN."""

    def may_mount(self) -> bool:
        """Whether this process has CAP_SYS_ADMIN in the first user namespace, as mount(2) asks."""

    def has_systemd(self) -> bool:
        """Whether systemd is the init process: it has containers of cgroup v2 for its units."""

    def delegated(self) -> Sequence[str]:
        """Return the files of a container of cgroup v2 that a user gets with the container."""

    def environment(self) -> dict[str, str]:
        """Return environment variables for COMMAND: a pcont in it then uses this backend, too."""

    def exclusive(self, waiting: Waiting = WAITING) -> AbstractContextManager[None]:
        """Lock out every other pcont command that changes something, for the block.

        Raises Busy at the time-out of `waiting`.
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
    def enforcer(self) -> Enforcer:
        """The BPF programs of pcont in this kernel."""

    @property
    def releases(self) -> ReleaseQueue:
        """The containers that the kernel has reported as empty."""


class TasksInside(ContainerReader, Tasks, Protocol):
    """Containers and the tasks in them, to be read."""


class PopulatedContainers(Containers, Tasks, Protocol):
    """Containers and the tasks in them, to be read and changed."""


class MountedContainers(ContainerReader, Mounts, Protocol):
    """Containers, and how their hierarchies are mounted."""


class CgroupState(Driver, Tasks, Subsystems, Host, Programs, Protocol):
    """Containers with all that rules, virtual files and explanations depend on."""


class Backend(CgroupState, Mounts, Namespaces, Protocol):
    """A kernel with cgroups, whole: the real one, or the model. Most users need less of it."""

    name: str

    def simulated(self) -> Simulator:
        """Return the simulator of a model. Raises OSError (EOPNOTSUPP) on a real kernel."""
