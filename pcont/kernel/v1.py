"""The driver of cgroup v1: its hierarchies are found by their mounts, its containers are
directories below these.

It knows how v1 names files (mount option `noprefix`) and how the kernel shows tasks that are
exiting. It makes system calls through kernel.system_calls.CgroupFiles.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from pcont.kernel.mounted import MountedTrees
from pcont.kernel.paths import is_outside
from pcont.kernel.proc_text import MountLine, controllers, memberships, mount_lines
from pcont.kernel.types import Mount, Place, Tree, words_of

if TYPE_CHECKING:
    from pcont.kernel.proc_text import Membership
    from pcont.kernel.system_calls import CgroupFiles, MountTable, ProcReader
    from pcont.kernel.types import Surveyed

FILESYSTEM = "cgroup"
_THAWED = b"THAWED"


class V1Driver(MountedTrees):
    """The driver (MountedDriver) of cgroup v1.

    `is_core`: returns whether a file has no prefix in any hierarchy. `follow`: called with a tree's
    id and the text that is about to become its release_agent.
    """

    filesystem = FILESYSTEM

    def __init__(
        self,
        files: CgroupFiles,
        proc: ProcReader,
        is_core: Callable[[str], bool],
        follow: Callable[[str, str], object],
    ) -> None:
        super().__init__(files, proc)
        self._is_core, self._follow = is_core, follow
        self._names: list[str] = []

    # Hierarchies

    def trees_in(self, table: MountTable) -> tuple[Tree, ...]:
        """Return the trees of this driver, and remember where they are mounted."""
        self._names = self._known()  # first: it reports a /proc that is not there
        return super().trees_in(table)

    def _found(self, table: MountTable, seen: Sequence[MountLine]) -> tuple[Tree, ...]:
        return trees(table.own, seen, self._names)

    def points_in(self, mountinfo: str, tree: str) -> list[str]:
        """Return the directories at which a process, given its mountinfo, has the hierarchy
        mounted.
        """
        return points(mountinfo, tree, self._known())

    def _known(self) -> list[str]:
        return [one.name for one in controllers(self._proc.cgroups())]

    # Containers

    def survey(self, place: Place, files: Sequence[str]) -> list[Surveyed]:
        directory, mount = self._reach(place)
        if place.tree not in self._direct:  # another mount may cover a child
            return super().survey(place, files)
        return self._files.survey(
            directory, [self._bare(place.tree, mount, file) for file in files]
        )

    def files(self, place: Place) -> dict[str, bool]:
        directory, mount = self._reach(place)
        found = self._files.modes(directory)
        return dict(
            sorted((self._prefixed(place.tree, mount, name), found[name]) for name in found)
        )

    def write(self, place: Place, file: str, text: str) -> None:
        follow = (lambda: self._follow(place.tree, text)) if file == "release_agent" else None
        self._files.write(self.path(place, file), text, follow)

    def enter(self, place: Place, tasks: Iterable[int], file: str = "") -> Iterator[int]:
        return self._files.write_tasks(self.path(place, file or "tasks"), tasks)

    def thawing(self, place: Place) -> AbstractContextManager[None]:
        return self._files.write_if_killed(self.path(place, "freezer.state"), _THAWED)

    # Tasks

    def membership(self, task: int) -> dict[str, str]:
        return self.paths_in(task, memberships(self._proc.of(task, "cgroup")))

    def paths_in(self, task: int, rows: Iterable[Membership]) -> dict[str, str]:
        """Return the path of a task's container by tree id, given the lines of its
        /proc/PID/cgroup.
        """
        found = {tree: self._without_mark(tree, path) for number, tree, path in rows if number}
        roots = sum(path == "/" for path in found.values())
        # A task that ends while the kernel writes the lines is shown in the root from there on
        # (proc_cgroup_show() tests PF_EXITING for each line).
        if 0 < roots < len(found) and self._proc.task(task).exited:
            return dict.fromkeys(found, "/")
        return found

    # Paths

    def _bare(self, tree: str, mount: Mount, file: str) -> str:
        """Return the name of a file below this mount: with `noprefix` the kernel drops
        `cpuset.`.
        """
        if mount.prefixed:
            return file
        prefix, dot, rest = file.partition(".")
        bare = dot and prefix in self._tree(tree).controllers
        return rest if bare else file

    def _prefixed(self, tree: str, mount: Mount, name: str) -> str:
        if mount.prefixed or self._is_core(name):
            return name
        # noprefix is only possible where cpuset is bound alone (kernel/cgroup/cgroup-v1.c).
        return f"{self._tree(tree).controllers[0]}.{name}"


def trees(own: str, seen: Iterable[MountLine], known: Iterable[str]) -> tuple[Tree, ...]:
    """Return the v1 hierarchies.

    `own`: the text of /proc/self/cgroup, which lists the active ones. `seen`: the mounts, which
    tell where they are. `known`: the names of all controllers, to distinguish them from other mount
    options.
    """
    kernel = set(known)
    reachable: dict[str, dict[str, Mount]] = {}
    for line in seen:
        # What is rooted above the root of a cgroup namespace shows no path that is known in here.
        if line.type == FILESYSTEM and not is_outside(line.root):
            key = _key(line.options, kernel)
            prefixed, writable = "noprefix" not in line.options, "ro" not in line.flags
            mount = Mount(line.point, line.root, prefixed, line.source, writable)
            # If two mounts have the same point, the later line hides the earlier mount.
            reachable.setdefault(key, {})[line.point] = mount
    found = []
    for number, tree, _path in memberships(own):
        if number == 0:
            continue
        bound, name = words_of(tree)
        mounts = tuple(reachable.get(_key(tree.split(","), kernel), {}).values())
        found.append(Tree(tree, number, bound, name, mounts))
    return tuple(sorted(found, key=lambda tree: tree.number))


def points(mountinfo: str, tree: str, known: Iterable[str]) -> list[str]:
    """Return the directories at which a mountinfo has a hierarchy. `known`: the names of all
    controllers.
    """
    kernel = set(known)
    key = _key(tree.split(","), kernel)
    seen = [line for line in mount_lines(mountinfo) if line.type == FILESYSTEM]
    return [line.point for line in seen if _key(line.options, kernel) == key]


def selecting(line: MountLine, known: Iterable[str]) -> str:
    """Return the mount options of a mount that select its hierarchy. `known`: the names of all
    controllers.
    """
    kernel = set(known)
    names = [word for word in line.options if word in kernel]
    words = [word for word in line.options if word.startswith("name=")]
    return ",".join([*(names or ["none"] * bool(words)), *words])


def _key(words: Iterable[str], kernel: set[str]) -> str:
    """Return what identifies a hierarchy in a list of mount options: its controllers and
    its name.
    """
    return ",".join(sorted(word for word in words if word in kernel or word.startswith("name=")))
