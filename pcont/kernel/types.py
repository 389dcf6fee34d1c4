"""The things that a kernel with cgroups has: controllers, trees, mounts, places, tasks, owners,
namespaces.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import lru_cache
from shlex import quote

from pcont.bases import NamedTuple, on_disk
from pcont.kernel.paths import below, check_path, join

PID_MAX = "/proc/sys/kernel/pid_max"
PID_MAX_LIMIT = 1 << 22  # include/linux/threads.h: the highest value that this file takes
_MOST = 4  # digits of the number of directories in a path: PATH_MAX is 4096


UNIFIED = "unified"  # the id of the tree of cgroup v2
LEAF_NAME = "pcont.tasks"
_FREEZER = "freezer"


class Waiting(NamedTuple):
    """How a command waits for the lock.

    `timeout`: seconds until Busy is raised; None for no limit. `command`: what other waiting
    commands report about this one while it holds the lock. `note`: called with each note for the
    user. `before_wait`: called once before the command waits.
    """

    timeout: float | None = None
    command: str = ""
    note: Callable[[str], None] = lambda text: None
    before_wait: Callable[[], None] = lambda: None


WAITING = Waiting()


class Controller(NamedTuple):
    """A line of /proc/cgroups. `number`: the v1 hierarchy that it is bound to, 0 for none.
    `unified`: cgroup v2 offers it. `containers`: the number of containers in its v1 hierarchy,
    with those that were removed and that the kernel has not freed yet, as it does for memory; 0 if
    that is unknown.
    """

    name: str
    number: int
    enabled: bool
    unified: bool = False
    containers: int = 0


@on_disk("Mount", "point", "root", "prefixed", "source", "writable")
class Mount(NamedTuple):
    """A mount of a tree at the directory `point`. `root`: the path in the tree that the directory
    shows.

    `source`: the first word of a line of mount(8), in which pcont records that it made the mount.
    `prefixed`: files of cpuset have the prefix `cpuset.`.
    """

    point: str
    root: str = "/"
    prefixed: bool = True
    source: str = ""

    writable: bool = True

    @property
    def ours(self) -> bool:
        """Whether pcont made this mount. A bind mount of it, which has the same source at another
        point, does not count.
        """
        return self.source.startswith("pcont:") and self.source.split(":", 2)[-1] == self.point

    @property
    def made(self) -> list[str]:
        """The directories of the mount point's path that pcont created, innermost first."""
        count = self.source.split(":")[1] if self.ours else ""
        found, point = [], self.point
        for _ in range(int(count) if _is_count(count) else 0):
            found.append(point)
            point = os.path.dirname(point)
        return found


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _MOST


def source(point: str, made: int) -> str:
    """Return the mount source for a mount by pcont.

    It contains the mount point, and `made`: how many directories of its path pcont created.
    """
    return f"pcont:{made}:{point}"


@on_disk("Tree", "id", "number", "controllers", "name", "mounts")
class Tree(NamedTuple):
    """One hierarchy of the kernel. `id`: its middle field in /proc/PID/cgroup; UNIFIED for cgroup
    v2. `number`: its hierarchy number; 0 for cgroup v2, and for v1 if it is not active.
    """

    id: str
    number: int
    controllers: tuple[str, ...]
    name: str = ""
    mounts: tuple[Mount, ...] = ()

    @property
    def mounted(self) -> bool:
        """Whether the hierarchy is mounted. An active hierarchy need not be."""
        return bool(self.mounts)

    @property
    def is_unified(self) -> bool:
        """Whether it is the hierarchy of cgroup v2."""
        return self.id == UNIFIED


@on_disk("TreeRequest", "controllers", "name", "more")
class TreeRequest(NamedTuple):
    """A hierarchy to mount: controllers, a name, or both.

    `more`: further mount options, which have an effect only if the mount creates the hierarchy.
    """

    controllers: tuple[str, ...] = ()
    name: str = ""
    more: tuple[str, ...] = ()

    def is_met_by(self, tree: Tree) -> bool:
        """Return whether a v1 hierarchy has exactly these controllers and this name."""
        wanted = set(self.controllers), self.name
        return not tree.is_unified and (set(tree.controllers), tree.name) == wanted

    @property
    def options(self) -> str:
        """The value of `mount -o`."""
        words = [*(self.controllers or ["none"]), *self.more]
        return ",".join([*words, f"name={self.name}"] if self.name else words)


class Spelling(NamedTuple):
    """How the user typed a PLACE, so that messages can name this and related containers in the same
    way.

    `typed`: the PLACE. `path`: its path in the hierarchy. Other containers are named with the same
    `selector`, or as paths below `directory`, which shows the container `root`. If `start` is set,
    those are relative to that directory. `at`: the path in the tree of the hierarchy's root (`mount
    --tie --at`).
    """

    typed: str
    path: str
    selector: str = ""
    directory: str = ""
    root: str = "/"
    start: str = ""
    at: str = "/"

    def of(self, path: str) -> str:
        """Return the PLACE for another path of the hierarchy; empty if this spelling cannot name
        it.
        """
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
        """Return the PLACE for a path of the tree; empty if this spelling cannot name it."""
        inside = below(path, self.at)
        return "" if inside is None else self.of(inside)


@lru_cache(maxsize=256)
def words_of(id: str) -> tuple[tuple[str, ...], str]:
    """Return the controllers and the name in the id of a v1 hierarchy, as in /proc/PID/cgroup.

    The id of cgroup v2 contains none.
    """
    words = [] if id == UNIFIED else id.split(",")
    name = next((word[5:] for word in words if word.startswith("name=")), "")
    return tuple(word for word in words if word and not word.startswith("name=")), name


@on_disk("Place", "tree", "path")
class Place:
    """A container in one tree: the tree's id, and the path from the tree's root. It need not exist.

    `spelling`: how the user typed it; without it, messages use the tree's id as the SELECTOR.
    `whole`: the tree, if known. A place from a journal or an attribute has only the id of its tree;
    its `controllers` are then those in the id. Two places are equal if tree and path are; a place
    never changes. Raises BadWord for a path that no container can have.
    """

    __slots__ = ("path", "spelling", "tree", "whole")

    tree: str
    path: str
    spelling: Spelling | None
    whole: Tree | None

    def __init__(
        self,
        tree: str,
        path: str = "/",
        spelling: Spelling | None = None,
        whole: Tree | None = None,
    ) -> None:
        check_path(path)
        self.tree, self.path, self.spelling, self.whole = tree, path, spelling, whole

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Place):
            return NotImplemented
        return self.path == other.path and self.tree == other.tree

    def __hash__(self) -> int:
        return hash((self.tree, self.path))

    def __repr__(self) -> str:
        return f"Place(tree={self.tree!r}, path={self.path!r})"

    @classmethod
    def at(cls, tree: Tree, path: str = "/", spelling: Spelling | None = None) -> Place:
        """Return the container at a path of a tree."""
        return cls(tree.id, path, spelling, tree)

    @classmethod
    def parse(cls, text: str) -> Place:
        """Return the place of a text TREE:PATH. Raises BadWord for a path that no container has."""
        tree, _, path = text.partition(":")
        return cls(tree, path)

    @property
    def text(self) -> str:
        """The place as TREE:PATH, for files."""
        return f"{self.tree}:{self.path}"

    @property
    def is_root(self) -> bool:
        return self.path == "/"

    @property
    def root(self) -> Place:
        """The root container of the tree, which messages name by the tree's id."""
        return Place(self.tree, "/", None, self.whole)

    @property
    def parent(self) -> Place:
        """The parent container; for the root, the root itself."""
        return self.elsewhere(self.path.rpartition("/")[0] or "/")

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
        """The PLACE as one shell word, for commands in hints."""
        return quote(self.shown)

    @property
    def controllers(self) -> tuple[str, ...]:
        """The controllers of its tree."""
        return self.whole.controllers if self.whole else words_of(self.tree)[0]

    @property
    def is_unified(self) -> bool:
        """Whether it is a container of cgroup v2."""
        return self.tree == UNIFIED

    @property
    def can_freeze(self) -> bool:
        """Whether its tree can freeze containers: that of v1's freezer, and that of cgroup v2."""
        return self.is_unified or _FREEZER in self.controllers

    @property
    def leaf(self) -> Place:
        """The child that has the tasks of a container of cgroup v2 which enables controllers for
        its children (`steps.leaf`).
        """
        return self.child(LEAF_NAME)

    @property
    def is_leaf(self) -> bool:
        """Whether it is the leaf of its parent."""
        return self.is_unified and self.name == LEAF_NAME

    def child(self, name: str) -> Place:
        return self.elsewhere(join(self.path, name))

    def elsewhere(self, path: str) -> Place:
        """Return the container at another path of the same tree, with the same spelling."""
        return Place(self.tree, path, self.spelling, self.whole)


def without_leaf(tree: str, path: str) -> str:
    """Return the path of a task's container, given the path of the directory that has the task: a
    container of cgroup v2, or its leaf.
    """
    return path.removesuffix(f"/{LEAF_NAME}") or "/" if tree == UNIFIED else path


# namespaces(7), as `clone --ns` and /proc/PID/ns call them.
NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts")


class IdRange(NamedTuple):
    """A range of `length` ids: the first id `inside` a user namespace, and the first one `outside`
    of it.
    """

    inside: int
    outside: int
    length: int


class NamespaceSpec(NamedTuple):
    """The new namespaces of a process: `kinds`, as in /proc/PID/ns.

    `uids`, `gids`: the id maps of a user namespace. Without them, the caller becomes its root.
    """

    kinds: tuple[str, ...]
    uids: tuple[IdRange, ...] = ()
    gids: tuple[IdRange, ...] = ()


@on_disk("Owner", "uid", "gid", "mode")
class Owner(NamedTuple):
    """Owner, group and mode of a file."""

    uid: int
    gid: int
    mode: int


class Snapshot(NamedTuple):
    """What was read of a container: the texts of control files, its attributes and its owners, each
    by name.
    """

    texts: dict[str, str]
    attributes: dict[str, str]
    owners: dict[str, Owner]


class AssignedIds(NamedTuple):
    """What the kernel has assigned until now: the `last` task id, and how many tasks were `started`
    since boot. `most`: ids are below this number.
    """

    last: int
    started: int
    most: int


class Surveyed(NamedTuple):
    """A container below another one. `texts`: of each file that was asked for, or why it could not
    be read.
    """

    name: str
    has_children: bool
    texts: Sequence[str | OSError]


ZOMBIE = "ZX"  # the states of a task that has ended and was not waited for


class Task(NamedTuple):
    """A task (thread), as /proc/TID/stat and /proc/TID/status show it.

    `pid`: the id of its process. `state`: the letter of ps(1). `kernel`: it is a kernel thread.
    `fixed`: the kernel refuses to move it. `start`: its start time in clock ticks since boot; no
    other task ever has the same id and start time. `ending`: it is exiting, which may take seconds
    on a busy machine. An exiting task is still in its containers, and cannot fork. The kernel
    accepts a write that moves it, but does not move it (cgroup_migrate_add_task(),
    kernel/cgroup/cgroup.c). `threads`: the number of threads of its process; 0 if it is unknown.
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
    threads: int = 0

    @property
    def exited(self) -> bool:
        """Whether this thread has exited or is exiting. A zombie is in no container.

        Other threads of its process may be alive (steps.tasks.live_threads).
        """
        return self.ending or self.state in ZOMBIE
