"""What a kernel with cgroups has: controllers, trees, mounts, places, tasks, owners, namespaces."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from shlex import quote

from pcont.kernel.paths import below, check_path, join
from pcont.tags import on_disk


@dataclass(frozen=True)
class Waiting:
    """How a command waits for the lock.

    `command`: what waiting commands report of this one while it holds the lock. `note` is called
    with each note for the user. `look` is called once before the wait, if there is one.
    """

    timeout: float | None = None
    command: str = ""
    note: Callable[[str], None] = lambda text: None
    look: Callable[[], None] = lambda: None


WAITING = Waiting()


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
    """Return the source of a mount by pcont: how many directories it made, and the mount point."""
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


@lru_cache(maxsize=256)
def words_of(id: str) -> tuple[tuple[str, ...], str]:
    """The controllers and the name in the id of a v1 hierarchy, as /proc/PID/cgroup has it."""
    words = id.split(",")
    name = next((word[5:] for word in words if word.startswith("name=")), "")
    return tuple(word for word in words if word and not word.startswith("name=")), name


@on_disk("Place", "tree", "path")
@dataclass(frozen=True)
class Place:
    """A container in one tree: the tree's id and a path from its root.

    `spelling`: how the user names it; where that is not known, the tree's id is a SELECTOR.
    `whole` is the tree itself. A place that was read from a journal or an attribute has only the
    id: then `controllers` are those that the id of a v1 hierarchy lists.
    """

    tree: str
    path: str = "/"
    spelling: Spelling | None = field(default=None, compare=False, repr=False)
    whole: Tree | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        check_path(self.path)

    @classmethod
    def at(cls, tree: Tree, path: str = "/", spelling: Spelling | None = None) -> Place:
        """The container at a path of a tree."""
        return cls(tree.id, path, spelling, tree)

    @property
    def is_root(self) -> bool:
        return self.path == "/"

    @property
    def root(self) -> Place:
        """The root of its tree, named by the tree's id."""
        return Place(self.tree, "/", None, self.whole)

    @property
    def parent(self) -> Place:
        """The container above; the root's is the root."""
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
        """The same for hints: one word of a shell."""
        return quote(self.shown)

    @property
    def controllers(self) -> tuple[str, ...]:
        """The controllers of its tree."""
        return self.whole.controllers if self.whole else words_of(self.tree)[0]

    def child(self, name: str) -> Place:
        return self.elsewhere(join(self.path, name))

    def elsewhere(self, path: str) -> Place:
        """The container at another path of the same tree, spelled alike."""
        return Place(self.tree, path, self.spelling, self.whole)


# namespaces(7), as `clone --ns` and /proc/PID/ns call them.
NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts")


@dataclass(frozen=True)
class IdRange:
    """`count` user or group ids of a user namespace, and their ids outside of it."""

    inside: int
    outside: int
    count: int


@dataclass(frozen=True)
class NamespaceSpec:
    """The kinds of namespaces that a new process has of its own.

    `uids` and `gids` map ids of a user namespace; without these, the caller is its root.
    """

    kinds: tuple[str, ...]
    uids: tuple[IdRange, ...] = ()
    gids: tuple[IdRange, ...] = ()


@on_disk("Owner", "uid", "gid", "mode")
@dataclass(frozen=True)
class Owner:
    """The owner and the mode of a file."""

    uid: int
    gid: int
    mode: int


ZOMBIE = "ZX"  # the states of a task that has ended and was not waited for


@dataclass(frozen=True)
class Task:
    """A task (thread) as /proc/TID/stat and status have it.

    `pid` is its process, `state` the letter of ps(1), `kernel` whether it is a kernel thread,
    `fixed` whether the kernel never moves it. `start` is the clock tick since boot at which it
    began: no other task ever has this id and start. `ending`: it is exiting, which may take seconds
    on a busy machine. Until then it is in its containers, and cannot fork. The kernel accepts a
    write that moves it, and does not move it (cgroup_migrate_add_task(), kernel/cgroup/cgroup.c).
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
        """Whether this thread has ended or is ending; a zombie is in no container either.

        Other threads of its process may be alive (steps.tasks.live_threads).
        """
        return self.ending or self.state in ZOMBIE
