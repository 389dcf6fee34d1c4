"""The driver of cgroup v2: one tree. Its containers are directories below a cgroup2 mount.

It answers to the names by which the rest of pcont reads tasks and freezes containers (`tasks`,
`freezer.state`), which v2 has in other files. It makes system calls through
kernel.system_calls.CgroupFiles.

The kernel accepts no task in a container that enables controllers for its children. The tasks of
such a container are in its leaf (`Place.leaf`), which the driver shows as a part of the container.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import chain
from typing import TYPE_CHECKING, Any

from pcont.kernel.mounted import MountedTrees
from pcont.kernel.paths import is_outside
from pcont.kernel.proc_text import memberships, mount_lines
from pcont.kernel.refusals import WriteRefused, exists, refuse_text
from pcont.kernel.types import LEAF_NAME, UNIFIED, Mount, Place, Tree, without_leaf

if TYPE_CHECKING:
    from pcont.kernel.proc_text import Membership, MountLine
    from pcont.kernel.system_calls import MountTable

_FILESYSTEM = "cgroup2"
_CONTROLLERS, _TYPE, _FREEZE, _EVENTS = (
    *("cgroup.controllers", "cgroup.type", "cgroup.freeze", "cgroup.events"),
)
_PROCESSES, _THREADS = "cgroup.procs", "cgroup.threads"
_TASKS = "tasks"
_STATE, _SELF, _PARENT = "freezer.state", "freezer.self_freezing", "freezer.parent_freezing"
# The kernel's file for each of the other names.
_FILES = {_TASKS: _THREADS, _STATE: _FREEZE, _SELF: _FREEZE, _PARENT: _FREEZE}
_WANTED = {"THAWED": "0", "FROZEN": "1"}
_ABSENT = (errno.ENOENT, errno.ENODEV)  # ENODEV: it was removed while it was open


class UnifiedTree(Tree):
    """The tree of cgroup v2. Its controllers are those that its root has: they are read when they
    are first asked for.
    """

    _offered: Callable[[], tuple[str, ...]] = staticmethod(lambda: ())

    @property
    def controllers(self) -> tuple[str, ...]:
        return self._offered()

    def _replace(self, **changes: Any) -> UnifiedTree:
        return _unified(super()._replace(**changes).mounts, self._offered)


def _unified(mounts: tuple[Mount, ...], offered: Callable[[], tuple[str, ...]]) -> UnifiedTree:
    tree = UnifiedTree(UNIFIED, 0, (), "", mounts)
    tree._offered = offered
    return tree


class V2Driver(MountedTrees):
    """The driver (MountedDriver) of cgroup v2."""

    filesystem = _FILESYSTEM

    # The hierarchy

    def _found(self, table: MountTable, seen: Sequence[MountLine]) -> tuple[Tree, ...]:
        self._offered: tuple[str, ...] | None = None
        # What is rooted above the root of a cgroup namespace shows no path that is known in here.
        mounts = {
            line.point: Mount(line.point, line.root, writable="ro" not in line.flags)
            for line in seen
            if not is_outside(line.root)
        }
        return (_unified(tuple(mounts.values()), self._controllers),) if mounts else ()

    def _controllers(self) -> tuple[str, ...]:
        """Return the controllers of the root; none if it cannot be read."""
        if self._offered is None:
            self._offered = ()
            with contextlib.suppress(OSError):
                self._offered = tuple(self.read(Place(UNIFIED), _CONTROLLERS).split())
        return self._offered

    def points_in(self, mountinfo: str, tree: str) -> list[str]:
        """Return the directories at which a process, given its mountinfo, has cgroup v2 mounted."""
        return [line.point for line in mount_lines(mountinfo) if line.type == _FILESYSTEM]

    # Containers

    def read(self, place: Place, file: str) -> str:
        if file in (_STATE, _SELF, _PARENT):
            return self._freezer(place, file)
        if file in (_TASKS, _PROCESSES):
            return self._list(place, file)
        return super().read(place, file)

    def _list(self, place: Place, file: str) -> str:
        """Return the tasks or processes of a container, with those in its leaf."""
        try:
            found = super().read(place, file)
        except OSError as err:
            # The kernel lists the processes of a threaded container in the root of its subtree.
            if file != _PROCESSES or err.errno != errno.EOPNOTSUPP:
                raise
            return self._leaders(place)
        if place.is_root or place.is_leaf:
            return found
        try:
            return found + super().read(place.leaf, file)
        except OSError as err:
            if err.errno not in _ABSENT:
                raise
            return found

    def _leaders(self, place: Place) -> str:
        """Return the processes of the threads in a container, as cgroup.procs lists them."""
        found = set()
        for thread in self.read(place, _THREADS).split():
            with contextlib.suppress(ProcessLookupError):
                found.add(self._proc.task(int(thread)).pid)
        return "".join(f"{pid}\n" for pid in sorted(found))

    def _freezer(self, place: Place, file: str) -> str:
        """Return what the freezer of v1 would show."""
        wanted = super().read(place, _FREEZE).strip()
        if file == _SELF:
            return f"{wanted}\n"
        if file == _PARENT:
            return f"{int(self._is_frozen_above(place))}\n"
        if "frozen 1" in super().read(place, _EVENTS).splitlines():
            return "FROZEN\n"
        return "FREEZING\n" if wanted == "1" else "THAWED\n"

    def _is_frozen_above(self, place: Place) -> bool:
        above = place.parent
        while not above.is_root:
            if super().read(above, _FREEZE).strip() == "1":
                return True
            above = above.parent
        return False

    def children(self, place: Place) -> list[str]:
        return [name for name in super().children(place) if name != LEAF_NAME]

    def count_children(self, place: Place) -> int:
        found = super().count_children(place)
        hidden = found and not place.is_leaf and exists(self, place.leaf)
        return found - bool(hidden)

    def remove(self, place: Place, force: bool = False) -> None:
        try:
            super().remove(place, force)
        except OSError as err:
            if err.errno != errno.EBUSY or super().children(place) != [LEAF_NAME]:
                raise
            super().remove(place.leaf)
            super().remove(place, force)

    def _in_use(self, place: Place) -> bool:
        # cgroup.threads lists the last thread of a process while it exits, cgroup.procs does not.
        return bool(place.is_root or super().children(place)) or any(
            map(self._is_alive, map(int, self.read(place, _THREADS).split()))
        )

    def _is_alive(self, task: int) -> bool:
        try:
            return not self._proc.task(task).exited
        except ProcessLookupError:
            return False

    def write(self, place: Place, file: str, text: str) -> None:
        if file == _STATE:
            if text.strip() not in _WANTED:
                refuse_text(errno.EINVAL, self.path(place, file))
            text = _WANTED[text.strip()]
        elif file in (_SELF, _PARENT):
            refuse_text(errno.EINVAL, self.path(place, file))
        try:
            self._files.write(self.path(place, file), text)
        except WriteRefused as err:
            if file not in (_TASKS, _PROCESSES) or not self._is_for_leaf(place, err):
                raise
            self._files.write(self.path(place.leaf, file), text)

    def enter(self, place: Place, tasks: Iterable[int], file: str = "") -> Iterator[int]:
        """Write task ids into a container; yields those that have entered.

        The kernel moves single threads inside of a threaded subtree only. From elsewhere, the whole
        process of a thread moves. If the kernel refuses tasks because the container enables
        controllers for its children, they enter its leaf, if it has one.
        """
        if file or not self._takes_threads(place):
            yield from self._enter_whole(place, iter(tasks), file or _PROCESSES)
            return
        for task in tasks:
            try:
                yield from self._files.write_tasks(self.path(place, _THREADS), [task])
            except WriteRefused as err:
                if err.errno != errno.EOPNOTSUPP:
                    raise
                yield from self._files.write_tasks(self.path(place, _PROCESSES), [task])

    def _enter_whole(self, place: Place, tasks: Iterator[int], file: str) -> Iterator[int]:
        last: list[int] = []

        def noted() -> Iterator[int]:
            for task in tasks:
                last[:] = [task]
                yield task

        try:
            yield from self._files.write_tasks(self.path(place, file), noted())
        except WriteRefused as err:
            if not self._is_for_leaf(place, err):
                raise
            yield from self._files.write_tasks(self.path(place.leaf, file), chain(last, tasks))

    def _is_for_leaf(self, place: Place, err: WriteRefused) -> bool:
        """Return whether a task that the kernel refused can enter the leaf instead."""
        return err.errno == errno.EBUSY and not place.is_leaf and exists(self, place.leaf)

    def _takes_threads(self, place: Place) -> bool:
        try:
            return super().read(place, _TYPE).strip() != "domain"
        except FileNotFoundError:
            return place.is_root  # it has no cgroup.type

    def thawing(self, place: Place) -> AbstractContextManager[None]:
        return self._files.write_if_killed(self.path(place, _FREEZE), b"0")

    # Tasks

    def membership(self, task: int) -> dict[str, str]:
        return self.paths_in(task, memberships(self._proc.of(task, "cgroup")))

    def paths_in(self, task: int, rows: Iterable[Membership]) -> dict[str, str]:
        """Return the path of a task's container, given the lines of its /proc/PID/cgroup.

        The kernel shows an exiting task in the container that it was in.
        """
        path = next((path for number, _, path in rows if not number), None)
        if path is None:
            return {}
        return {UNIFIED: without_leaf(UNIFIED, self._without_mark(UNIFIED, path))}

    # Paths

    def _bare(self, tree: str, mount: Mount, file: str) -> str:
        return _FILES.get(file, file)
