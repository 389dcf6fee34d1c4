"""The driver of cgroup v1: its hierarchies are found by their mounts, its containers are
directories below these.

It knows how v1 names files (mount option `noprefix`), which of several mounts to use for a
container, and what delays rmdir(2). It makes system calls through kernel.system_calls.CgroupFiles.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from pcont.errors import Unseen
from pcont.kernel.paths import below, is_outside, join
from pcont.kernel.proc_text import MountLine, controllers, memberships, mount_lines
from pcont.kernel.refusals import exists
from pcont.kernel.retry import Retry
from pcont.kernel.types import Mount, Owner, Place, Snapshot, Tree, words_of

if TYPE_CHECKING:
    from pcont.kernel.system_calls import CgroupFiles, ProcReader

FILESYSTEM = "cgroup"
REMOVED = " (deleted)"
RMDIR_PATIENCE, RMDIR_PAUSE = 1.0, 0.001  # seconds: the limit, and the first pause
_THAWED = b"THAWED"


class V1Driver:
    """The driver (MountedDriver) of cgroup v1.

    `is_core`: returns whether a file has no prefix in any hierarchy. `follow`: called with a tree's
    id and the text that is about to become its release_agent.
    """

    def __init__(
        self,
        files: CgroupFiles,
        proc: ProcReader,
        is_core: Callable[[str], bool],
        follow: Callable[[str, str], object],
    ) -> None:
        self._files, self._proc = files, proc
        self._is_core, self._follow = is_core, follow
        self._trees: dict[str, Tree] | None = None
        self._inner: list[str] = []  # the points of what is mounted inside hierarchies
        self._direct: dict[str, tuple[str, Mount]] = {}  # the trees that one mount shows as a whole

    # Hierarchies

    def trees(self) -> tuple[Tree, ...]:
        known = self._known()  # first: it reports a /proc that is not there
        lines = mount_lines(self._proc.text("self/mountinfo"))
        seen = [line for line in lines if line.type == FILESYSTEM and self._is_on_top(line)]
        self._inner = [
            line.point
            for line in lines
            if any(line.point.startswith(f"{one.point}/") for one in seen) and self._is_on_top(line)
        ]
        found = trees(self._proc.text("self/cgroup"), seen, known)
        self._trees = {tree.id: tree for tree in found}
        self._direct = dict(self._shown_as_a_whole(found))
        return found

    def _shown_as_a_whole(self, found: Iterable[Tree]) -> Iterator[tuple[str, tuple[str, Mount]]]:
        """Yield each tree that one mount shows as a whole, with its directory and that mount.

        Another mount inside of it would hide a part.
        """
        for tree in found:
            mount = min(tree.mounts, key=_preference, default=None)
            if mount and mount.root == "/":
                point = mount.point.rstrip("/")
                if not any(one.startswith(f"{point}/") for one in self._inner):
                    yield tree.id, (point, mount)

    def forget(self) -> None:
        """Discard cached mounts, before they change."""
        self._trees = None
        self._direct = {}

    def points_in(self, mountinfo: str, tree: str) -> list[str]:
        """Return the directories at which a process, given its mountinfo, has the hierarchy
        mounted.
        """
        return points(mountinfo, tree, self._known())

    def _known(self) -> list[str]:
        return [one.name for one in controllers(self._proc.cgroups())]

    def _is_on_top(self, line: MountLine) -> bool:
        return self._files.is_on(line.point, line.device)

    # Containers

    def make(self, place: Place) -> None:
        self._files.mkdir(self.path(place))

    def remove(self, place: Place, force: bool = False) -> None:
        """Remove a container with rmdir(2). Retries EBUSY for a while if it has no tasks and no
        children: the kernel counts exiting tasks.
        """
        path = self.path(place)
        retry = Retry(RMDIR_PATIENCE, RMDIR_PAUSE, longest=math.inf)
        while True:
            try:
                self._files.rmdir(path)
                return
            except OSError as err:
                if err.errno != errno.EBUSY or retry.is_over or self._in_use(place):
                    raise
            retry.wait()

    def _in_use(self, place: Place) -> bool:
        return bool(place.is_root or self.read(place, "tasks").strip() or self.children(place))

    def has(self, place: Place) -> bool:
        return self._files.is_directory(self.path(place))

    def children(self, place: Place) -> list[str]:
        return self._files.directories(self.path(place))

    def files(self, place: Place) -> dict[str, bool]:
        directory, mount = self._reach(place)
        found = self._files.modes(directory)
        return dict(
            sorted((self._prefixed(place.tree, mount, name), found[name]) for name in found)
        )

    def read(self, place: Place, file: str) -> str:
        return self._files.read(self.path(place, file))

    def write(self, place: Place, file: str, text: str) -> None:
        follow = (lambda: self._follow(place.tree, text)) if file == "release_agent" else None
        self._files.write(self.path(place, file), text, follow)

    def enter(self, place: Place, tasks: Iterable[int]) -> Iterator[int]:
        yield from self._files.write_tasks(self.path(place, "tasks"), tasks)

    def kill(self, place: Place, pids: Iterable[int], number: int) -> Iterator[int]:
        def inside() -> Iterable[int]:
            return map(int, self.read(place, "cgroup.procs").split())

        yield from self._files.signal_inside(pids, number, inside)

    def thawing(self, place: Place) -> AbstractContextManager[None]:
        return self._files.write_if_killed(self.path(place, "freezer.state"), _THAWED)

    def attributes(self, place: Place) -> dict[str, str]:
        return self._files.attributes(self.path(place))

    def set_attribute(self, place: Place, name: str, text: str | None) -> None:
        self._files.set_attribute(self.path(place), name, text)

    def stray(self, place: Place) -> dict[str, str]:
        return self._files.stray(self.path(place))

    def mend(self, place: Place) -> None:
        self._files.mend(self.path(place))

    def snapshot(self, place: Place, files: Iterable[str]) -> Snapshot:
        directory, mount = self._reach(place)
        names = {file: self._bare(place.tree, mount, file) for file in files}
        calls = self._files
        texts = calls.texts(directory, names)
        return Snapshot(texts, calls.attributes(directory), calls.owners(directory))

    def owners(self, place: Place) -> dict[str, Owner]:
        return self._files.owners(self.path(place))

    def set_owners(self, place: Place, owners: Mapping[str, Owner]) -> None:
        self._files.set_owners(self.path(place), owners)

    def may_change(self, place: Place) -> bool:
        return self._files.may_write(self.path(place), self.path(place, "tasks"))

    # Tasks

    def membership(self, task: int) -> dict[str, str]:
        rows = [row for row in memberships(self._proc.of(task, "cgroup")) if row[0]]
        found = {tree: self._without_mark(tree, path) for _, tree, path in rows}
        roots = sum(path == "/" for path in found.values())
        # A task that ends while the kernel writes the lines is shown in the root from there on
        # (proc_cgroup_show() tests PF_EXITING for each line).
        if 0 < roots < len(found) and self._proc.task(task).exited:
            return dict.fromkeys(found, "/")
        return found

    def _without_mark(self, tree: str, path: str) -> str:
        """Return a path without the ` (deleted)` that the kernel appends for a removed container.

        The text stays if a container with that name exists.
        """
        if not path.endswith(REMOVED):
            return path
        with contextlib.suppress(Unseen):
            if exists(self, Place(tree, path)):
                return path
        return path.removesuffix(REMOVED)

    # Paths

    def spelled(self, place: Place, file: str) -> str:
        return file

    def show(self, place: Place, file: str = "") -> str:
        try:
            return self.path(place, file)
        except OSError:
            return f"{place.tree}:{join(place.path, file)}"

    def path(self, place: Place, file: str = "") -> str:
        """Return the path of a container, or of a file of it. Raises Unseen if no mount
        shows it.
        """
        directory, mount = self._reach(place)
        if not file:
            return directory
        return os.path.join(directory, self._bare(place.tree, mount, file))

    def _reach(self, place: Place) -> tuple[str, Mount]:
        """Return the directory of a place and the mount that it is below. Mounts with prefixed file
        names are preferred.
        """
        if place.tree in self._direct:
            point, mount = self._direct[place.tree]
            return point + place.path if place.path != "/" else point, mount
        tree = self._tree(place.tree)
        for mount in sorted(tree.mounts, key=_preference):
            seen = below(place.path, mount.root)
            if seen is not None:
                directory = mount.point.rstrip("/") + (seen if seen != "/" else "")
                if not self._is_covered(directory, mount.point):
                    return directory, mount
        raise Unseen(f"{tree.id}:{place.path}")

    def _is_covered(self, directory: str, point: str) -> bool:
        """Return whether another mount covers a directory below a mount, so that it shows something
        else.
        """
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


def _preference(mount: Mount) -> tuple[bool, bool, int]:
    """Return the sort key of a mount: writable mounts first, then prefixed names, then more of the
    tree.
    """
    return not mount.writable, not mount.prefixed, len(mount.root)


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
