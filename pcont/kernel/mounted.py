"""What the drivers of the running kernel share: trees are found by their mounts, and containers are
directories below these.
"""

from __future__ import annotations

import contextlib
import errno
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from pcont.errors import Unseen
from pcont.kernel.paths import below, join
from pcont.kernel.proc_text import MountLine, mount_lines
from pcont.kernel.refusals import exists
from pcont.kernel.retry import Retry
from pcont.kernel.survey import look_at_each
from pcont.kernel.types import Mount, Owner, Place, Snapshot, Surveyed, Tree

if TYPE_CHECKING:
    from pcont.kernel.system_calls import CgroupFiles, MountTable, ProcReader

REMOVED = " (deleted)"
RMDIR_PATIENCE, RMDIR_PAUSE = 1.0, 0.001  # seconds: the limit, and the first pause


class MountTexts:
    """The mounts and the hierarchies of this process (MountTable), each read on first use."""

    def __init__(self, proc: ProcReader) -> None:
        self._proc = proc

    @cached_property
    def lines(self) -> list[MountLine]:
        """The lines of /proc/self/mountinfo."""
        return mount_lines(self._proc.text("self/mountinfo"))

    @cached_property
    def own(self) -> str:
        """The text of /proc/self/cgroup."""
        return self._proc.text("self/cgroup")


class MountedTrees:
    """The base of a driver (MountedDriver): finds the directory of each container.

    A driver names its `filesystem`, and implements `_found`.
    """

    filesystem = ""

    def __init__(self, files: CgroupFiles, proc: ProcReader) -> None:
        self._files, self._proc = files, proc
        self._trees: dict[str, Tree] | None = None
        self._inner: list[str] = []  # the points of what is mounted inside hierarchies
        self._direct: dict[str, tuple[str, Mount]] = {}  # the trees that one mount shows as a whole

    # Hierarchies

    def trees(self) -> tuple[Tree, ...]:
        return self.trees_in(MountTexts(self._proc))

    def trees_in(self, table: MountTable) -> tuple[Tree, ...]:
        """Return the trees of this driver, and remember where they are mounted."""
        lines = table.lines
        seen = [line for line in lines if line.type == self.filesystem and self._is_on_top(line)]
        self._inner = [
            line.point
            for line in lines
            if any(line.point.startswith(f"{one.point}/") for one in seen) and self._is_on_top(line)
        ]
        found = self._found(table, seen)
        self._trees = {tree.id: tree for tree in found}
        self._direct = dict(self._shown_as_a_whole(found))
        return found

    def _found(self, table: MountTable, seen: Sequence[MountLine]) -> tuple[Tree, ...]:
        """Return the trees, given the mounts of this file system that are visible."""
        raise NotImplementedError

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

    def _is_on_top(self, line: MountLine) -> bool:
        return self._files.is_on(line.point, line.device)

    # Containers

    def make(self, place: Place) -> None:
        self._files.mkdir(self.path(place))

    def remove(self, place: Place, force: bool = False) -> None:
        """Remove a container with rmdir(2). Retries EBUSY for a while if it has no tasks and no
        children: the kernel counts exiting tasks.
        """
        path, retry = self.path(place), None
        while True:
            try:
                self._files.rmdir(path)
                return
            except OSError as err:
                retry = retry or Retry(RMDIR_PATIENCE, RMDIR_PAUSE, longest=math.inf)
                if err.errno != errno.EBUSY or retry.is_over or self._in_use(place):
                    raise
            retry.wait()

    def _in_use(self, place: Place) -> bool:
        return bool(place.is_root or self.read(place, "tasks").strip() or self.children(place))

    def has(self, place: Place) -> bool:
        return self._files.is_directory(self.path(place))

    def children(self, place: Place) -> list[str]:
        return self._files.directories(self.path(place))

    def count_children(self, place: Place) -> int:
        return self._files.count_directories(self.path(place))

    def names_in_use(self, place: Place, names: Sequence[str]) -> set[str]:
        return self._files.names_in_use(self.path(place), names)

    def survey(self, place: Place, files: Sequence[str]) -> list[Surveyed]:
        return look_at_each(self, place, files)

    def files(self, place: Place) -> dict[str, bool]:
        return dict(sorted(self._files.modes(self.path(place)).items()))

    def read(self, place: Place, file: str) -> str:
        return self._files.read(self.path(place, file))

    def kill(self, place: Place, pids: Iterable[int], number: int) -> Iterator[int]:
        def inside() -> Iterable[int]:
            return map(int, self.read(place, "cgroup.procs").split())

        yield from self._files.signal_inside(pids, number, inside)

    def attributes(self, place: Place) -> dict[str, str]:
        return self._files.attributes(self.path(place))

    def set_attribute(self, place: Place, name: str, text: str | None) -> None:
        self._files.set_attribute(self.path(place), name, text)

    def stray(self, place: Place) -> dict[str, str]:
        return self._files.stray(self.path(place))

    def mend(self, place: Place) -> None:
        self._files.mend(self.path(place))

    def snapshot(self, place: Place, files: Iterable[str], others: Iterable[str]) -> Snapshot:
        directory, mount = self._reach(place)
        names = {file: self._bare(place.tree, mount, file) for file in files}
        bare = [self._bare(place.tree, mount, file) for file in others]
        return self._files.snapshot(directory, names, bare)

    def owners(self, place: Place) -> dict[str, Owner]:
        return self._files.owners(self.path(place))

    def set_owners(self, place: Place, owners: Mapping[str, Owner]) -> None:
        self._files.set_owners(self.path(place), owners)

    def may_change(self, place: Place) -> bool:
        return self._files.may_write(self.path(place), self.path(place, "tasks"))

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
        return f"{directory}/{self._bare(place.tree, mount, file)}"

    def _bare(self, tree: str, mount: Mount, file: str) -> str:
        """Return the name that a control file has below this mount."""
        return file

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


def _preference(mount: Mount) -> tuple[bool, bool, int]:
    """Return the sort key of a mount: writable mounts first, then prefixed names, then more of the
    tree.
    """
    return not mount.writable, not mount.prefixed, len(mount.root)
