"""What a backend is: the few things that a kernel with cgroups offers, text in and out.

Every verb raises OSError with errno and filename, on the kernel and on the model alike: that is
what makes the two comparable. It is Unseen for a container that no mount shows. PcontError is for
what makes a backend as a whole unusable.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from shlex import quote
from typing import NoReturn, Protocol

from pcont.errors import BadWord, Unseen
from pcont.lock import Waiting as Waiting
from pcont.tables import Machine, Subsystem
from pcont.tags import on_disk
from pcont.values import Ids
from pcont.workplace import Workplace

WAITING = Waiting()


def refuse(number: int, where: str) -> NoReturn:
    """Raise what the kernel answers: OSError with an errno and a filename."""
    raise OSError(number, os.strerror(number), where)


class WriteRefused(OSError):
    """The file could be opened for writing, so the caller may; what was written was refused."""


@dataclass(frozen=True)
class Controller:
    """A line of /proc/cgroups. `number` 0: bound to no v1 hierarchy; `unified`: v2 offers it."""

    name: str
    number: int
    enabled: bool
    unified: bool = False


@on_disk("Mount", "point", "root", "prefixed", "source", "writable")
@dataclass(frozen=True)
class Mount:
    """Where a tree can be reached; `root` is the path in the tree that is seen there.

    `source` is the first word of a line of mount(8): pcont leaves there what it has to know.
    """

    point: str
    root: str = "/"
    prefixed: bool = True
    source: str = ""

    writable: bool = True

    @property
    def ours(self) -> bool:
        """Whether pcont mounted it; a bind mount inherits the source, and is another point."""
        return self.source.startswith("pcont:") and self.source.split(":", 2)[-1] == self.point

    @property
    def made(self) -> list[str]:
        """The directories of the mount point that pcont made, innermost first."""
        count = self.source.split(":")[1] if self.ours else ""
        found, point = [], self.point
        for _ in range(int(count) if count.isdecimal() else 0):
            found.append(point)
            point = os.path.dirname(point)
        return found


def source(point: str, made: int) -> str:
    """The source of a mount of pcont's: how many directories it made, and where it mounted."""
    return f"pcont:{made}:{point}"


@on_disk("Tree", "id", "number", "controllers", "name", "mounts")
@dataclass(frozen=True)
class Tree:
    """One hierarchy of the kernel. `id` is its middle field in /proc/PID/cgroup."""

    id: str
    number: int
    controllers: tuple[str, ...]
    name: str = ""
    mounts: tuple[Mount, ...] = ()

    @property
    def mounted(self) -> bool:
        """Active hierarchies need not be mounted."""
        return bool(self.mounts)


@on_disk("TreeRequest", "controllers", "name", "more")
@dataclass(frozen=True)
class TreeRequest:
    """What to mount: controllers, a name, or both.

    `more` are other options of a mount, which count for a new hierarchy only.
    """

    controllers: tuple[str, ...] = ()
    name: str = ""
    more: tuple[str, ...] = ()

    @property
    def options(self) -> str:
        """The option string of mount(8)."""
        words = [*(self.controllers or ["none"]), *self.more]
        return ",".join([*words, f"name={self.name}"] if self.name else words)


@dataclass(frozen=True)
class Spelling:
    """How the user has typed a PLACE: messages name that container, and those around it, alike.

    `typed` is the PLACE, `path` the path that it means in its hierarchy. Other paths follow a
    `selector`, or are below the `directory` that shows the container `root`; with a `start` they
    are relative to that directory. `at` is the container of a tree that is the hierarchy's root.
    """

    typed: str
    path: str
    selector: str = ""
    directory: str = ""
    root: str = "/"
    start: str = ""
    at: str = "/"

    def of(self, path: str) -> str:
        """The PLACE that means a path of the hierarchy; empty where there is none."""
        if path == self.path:
            return self.typed
        if self.selector:
            return f"{self.selector}:{path}"
        seen = below(path, self.root)
        return "" if seen is None else self._in_the_directory(seen)

    def _in_the_directory(self, seen: str) -> str:
        there = join(self.directory, seen)
        if not self.start:
            return there
        relative = os.path.relpath(there, self.start)
        return relative if "/" in relative or relative in (".", "..") else f"./{relative}"

    def of_tree(self, path: str) -> str:
        """The same for a path of a tree."""
        inside = below(path, self.at)
        return "" if inside is None else self.of(inside)


@on_disk("Place", "tree", "path")
@dataclass(frozen=True)
class Place:
    """A container in one tree: the tree's id and a path from its root.

    `spelling`: how the user names it; where that is not known, the tree's id is a SELECTOR.
    """

    tree: str
    path: str = "/"
    spelling: Spelling | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        check_path(self.path)

    @property
    def is_root(self) -> bool:
        return self.path == "/"

    @property
    def parent(self) -> Place:
        """The container above; the root's is the root."""
        return replace(self, path=self.path.rpartition("/")[0] or "/")

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def shown(self) -> str:
        """The PLACE for messages, as the user would type it."""
        typed = self.spelling.of_tree(self.path) if self.spelling else ""
        return typed or f"{self.tree}:{self.path}"

    @property
    def word(self) -> str:
        """The same for hints: one word of a shell."""
        return quote(self.shown)

    @property
    def controllers(self) -> list[str]:
        """The words of the tree's id: its controllers, and its name as `name=x`."""
        return self.tree.split(",")

    def child(self, name: str) -> Place:
        return replace(self, path=join(self.path, name))


def join(base: str, path: str) -> str:
    """`path` below `base`, both as paths of containers."""
    return "/" + "/".join(word for word in f"{base}/{path}".split("/") if word)


def below(path: str, base: str) -> str | None:
    """A path as seen from a container at or above it, `/` being that container; None elsewhere."""
    if base == "/":
        return path
    if path == base or path.startswith(f"{base}/"):
        return path[len(base) :] or "/"
    return None


def is_outside(path: str) -> bool:
    """Whether a path leads out of the root of this cgroup namespace (cgroup_namespaces(7))."""
    return path == "/.." or path.startswith("/../")


def check_path(path: str) -> None:
    """Refuse, before anything is touched, what could leave the hierarchy or break a line."""
    if "\n" in path or "\0" in path:
        raise BadWord(f"a container's name must not contain a newline or NUL: {path!r}")
    if not path.startswith("/"):
        raise BadWord(f"a container's path must start with a slash: {path!r}")
    if any(word in (".", "..") for word in path.split("/")):
        raise BadWord(f"a container's path must not contain '.' or '..': {path!r}")


# namespaces(7), as `clone --ns` and /proc/PID/ns call them.
NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts")


@dataclass(frozen=True)
class IdRange:
    """So many user or group ids of a user namespace, and which they are outside."""

    inside: int
    outside: int
    count: int


@dataclass(frozen=True)
class Apart:
    """What a process is to have of its own: kinds of namespaces.

    `uids` and `gids`: who is who in a user namespace; without these, the caller is its root.
    """

    kinds: tuple[str, ...]
    uids: tuple[IdRange, ...] = ()
    gids: tuple[IdRange, ...] = ()


@on_disk("Owner", "uid", "gid", "mode")
@dataclass(frozen=True)
class Owner:
    """Who owns a file, and its mode."""

    uid: int
    gid: int
    mode: int


ZOMBIE = "ZX"  # the states of a task that has ended and was not waited for


@dataclass(frozen=True)
class Task:
    """A task (thread) as /proc/TID/stat and status have it.

    `pid` is its process, `state` the letter of ps(1), `kernel` whether it is a kernel thread,
    `fixed` whether it may never be moved. `start` is the clock tick since boot at which it began:
    with the id it names one task for good. `ending`: it is on its way out, which may take seconds
    where CPUs are scarce. It is still in its containers, and forks no more; the kernel takes an
    order to move it, and does not (cgroup_migrate_add_task() in kernel/cgroup/cgroup.c).
    """

    id: int
    pid: int
    parent: int
    name: str
    state: str
    kernel: bool
    fixed: bool
    start: int
    ending: bool = False

    @property
    def gone(self) -> bool:
        """Whether this thread has ended or is ending; a zombie has left its containers, too.

        Its process may have other threads that are alive (steps.who).
        """
        return self.ending or self.state in ZOMBIE


class Family(Protocol):
    """The processes that descend from one. `complete`: none can have been missed.

    `adopted`: those of it by all that is known, of which nobody told who started them.
    """

    complete: bool
    adopted: set[int]

    def __call__(self, thorough: bool = False) -> set[int]:
        """Those that are there now; `thorough`: also whoever is just being forked."""


class Simulated(Protocol):
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


class Meter(Protocol):
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


class Releases(Protocol):
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
    def meter(self) -> Meter:
        """What pcont has in this kernel itself."""

    @property
    def releases(self) -> Releases:
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

    def family(self, pid: int) -> AbstractContextManager[Family]:
        """A process with all that descends from it, for as long as somebody asks."""

    def thawing(self, place: Place) -> AbstractContextManager[None]:
        """Should this process die in the block, the container is thawed all the same."""

    def journals(self) -> str:
        """The directory for journals of new commands; empty if no journal is written."""

    def workplace(self) -> Workplace:
        """Where lock and journals of this user are, and what is wrong with it."""

    def namespaces(self) -> tuple[str, ...]:
        """The kinds that a process can have of its own."""

    def separate(self, apart: Apart) -> Birth:
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

    def simulated(self) -> Simulated:
        """What can be played; EOPNOTSUPP where the kernel is real."""


MOUNTED_THERE = "something is mounted there"
NOT_EMPTY = "the directory is not empty"


def mounts_inside(mounts: Sequence[Mount]) -> tuple[str, str]:
    """That these mounts keep the one above them from being unmounted, and what to do."""
    more = f", and {len(mounts) - 1} more" if len(mounts) > 1 else ""
    last, command = mounts[-1], "pcont umount" if mounts[-1].ours else "umount"
    return f"{last.point} is mounted inside{more}", f"{command} {quote(last.point)}"


def processes_inside(pid: int, name: str, what: str, others: int) -> tuple[str, str]:
    """That processes keep a mount busy, and what to do; `what`: what the first one has there."""
    more = f", and {others} more processes are in it" if others else ""
    hint = f"end process {pid}, or change its directory (cd /); then try again"
    return f"process {pid} ({name}) has {what} there{more}", hint


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


@contextlib.contextmanager
def vanishing() -> Iterator[None]:
    """A container may be removed during the block; one that no mount shows raises Unseen."""
    try:
        yield
    except Unseen:
        raise
    except FileNotFoundError:
        pass


@contextlib.contextmanager
def within_reach() -> Iterator[None]:
    """As `vanishing`, for a walk that only looks: it passes over a container that is too deep.

    Who may create containers can nest them until the kernel takes their paths no more.
    """
    try:
        with vanishing():
            yield
    except OSError as err:
        if err.errno != errno.ENAMETOOLONG:
            raise


BACKENDS = {
    "cgroupfs": "pcont.backend_cgroupfs:Cgroupfs",
    "model": "pcont.model_store:StoredModel",
}


def open_backend(
    name: str = "cgroupfs", state: str | None = None, dialect: str | None = None
) -> Backend:
    """The backend of that name, with what pcont keeps; the file of the model, and its dialect."""
    module, _, factory = BACKENDS[name].partition(":")
    opened = getattr(importlib.import_module(module), factory)
    with_kept = importlib.import_module("pcont.kept").with_kept
    with_auto_delete = importlib.import_module("pcont.release").with_auto_delete
    backend: Backend = with_auto_delete(
        with_kept(opened(state, dialect) if name == "model" else opened())
    )
    return backend
