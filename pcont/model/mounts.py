"""mount(2) and umount2(2) in the model, and the directories of mount points.

The directories are those of this machine, plus those made in the model. Below the default directory
for hierarchies, only the model's directories exist.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from errno import EBUSY, EINVAL, ENOENT, ENOSPC, ENOTDIR, ENOTEMPTY

from pcont.kernel.busy import MOUNTED_THERE, NOT_EMPTY, mounts_inside
from pcont.kernel.refusals import refuse
from pcont.kernel.types import Mount, Place, TreeRequest
from pcont.model.cgroups import ModelTree, carry
from pcont.model.config import ModelConfig
from pcont.model.containers import ModelContainers
from pcont.model.hierarchies import Hierarchies
from pcont.model.open_files import OpenFiles
from pcont.subsys import AGENT, CLONE_CHILDREN

DEFAULT, BESIDE_V2 = "/sys/fs/cgroup", "/run/cgroup"
# Mount options that set files of the root of a new hierarchy.
AS_MOUNTED = {"clone_children": CLONE_CHILDREN, "release_agent": AGENT}


def _is_default(path: str) -> bool:
    """Return whether a path is below the default directory, where the directories of this machine
    are ignored.
    """
    return path.startswith(f"{DEFAULT}/")


class ModelMounts:
    """Mounts and unmounts hierarchies (kernel/cgroup/cgroup-v1.c, cgroup1_root_to_use()).

    `ended`: called with each hierarchy that is removed with its last mount.
    """

    def __init__(
        self,
        config: ModelConfig,
        hierarchies: Hierarchies,
        containers: ModelContainers,
        files: OpenFiles,
        ended: Callable[[ModelTree], None],
    ) -> None:
        self._config, self._hierarchies = config, hierarchies
        self._containers, self._files, self._ended = containers, files, ended

    # mount(2)

    def mount(self, request: TreeRequest, point: str, source: str) -> None:
        """Mount a hierarchy at an existing directory. Raises OSError as mount(2)."""
        hierarchies = self._hierarchies
        is_directory = self._is_directory(point)
        if not self._is_there(point):
            refuse(ENOENT, point)
        request = self._understood(request, point)
        wanted = set(request.controllers)
        tree = self._reused(request, point)
        if tree is None and self._is_held(wanted):
            refuse(EBUSY, point)
        if not is_directory:
            refuse(ENOTDIR, point)
        stack = hierarchies.stacks.get(point, [])
        if tree and stack[-1:] == [tree]:
            refuse(EBUSY, point)  # fs/namespace.c: the same once more where it is
        tree = tree or self._new(request, point)
        tree.mounts.append(Mount(point, source=source))
        hierarchies.stacks.pop(point, None)  # points are in the order of their uppermost mounts
        hierarchies.stacks[point] = [*stack, tree]
        hierarchies.remounted()

    def _is_held(self, wanted: set[str]) -> bool:
        """Return whether a new hierarchy cannot have these controllers."""
        hierarchies = self._hierarchies
        if any(set(one.controllers) & wanted for one in hierarchies.v1_trees):
            return True
        return bool(self._config.dialect.v2) and hierarchies.is_used_in_v2(wanted)

    def _understood(self, request: TreeRequest, point: str) -> TreeRequest:
        """Return the request with the controllers that its options mean."""
        dialect, words = self._config.dialect, request.controllers
        if not (words or request.name):
            if dialect.nothing:
                refuse(dialect.nothing, point)
            words = dialect.controllers
        if "all" in words and dialect.nothing is None:
            words = (*dialect.controllers, *(word for word in words if word != "all"))
        for word in words:
            if word not in dialect.controllers:
                refuse(dialect.unknown if word else EINVAL, point)
        if (request.name or request.more) and not dialect.named:
            refuse(dialect.unknown, point)
        wanted = tuple(name for name in dialect.controllers if name in words)
        return request._replace(controllers=wanted)

    def _reused(self, request: TreeRequest, point: str) -> ModelTree | None:
        """Return the active hierarchy that matches a request; None if there is none."""
        for tree in self._hierarchies.v1_trees:
            if request.name and tree.name != request.name:
                continue
            if set(tree.controllers) == set(request.controllers):
                return tree
            if request.name:
                refuse(EBUSY, point)
        return None

    def _new(self, request: TreeRequest, point: str) -> ModelTree:
        hierarchies = self._hierarchies
        tree = hierarchies.new_tree(self._number(point), request.controllers, request.name)
        self._files.load()
        carry(hierarchies.unbound.root, tree.root, tree)
        if self._config.dialect.v2:
            hierarchies.take_from_v2(tree.controllers)
        hierarchies.add(tree)
        for word, _, text in (word.partition("=") for word in request.more):
            if file := AS_MOUNTED.get(word):
                tree.root.values[file] = tree.rows[file].type.parse(text or "1")
        return tree

    def _number(self, point: str) -> int:
        """Return the number of a new hierarchy: the next one, or the first free slot. Raises
        OSError (ENOSPC).
        """
        if not self._config.dialect.slots:
            self._hierarchies.next_number += 1
            return self._hierarchies.next_number - 1
        taken = {tree.number for tree in self._hierarchies.active}
        free = [number for number in self._config.dialect.slot_numbers if number not in taken]
        return free[0] if free else refuse(ENOSPC, point)

    def mount_legacy(self, point: str) -> None:
        """Mount a controller as the file system that it was before cgroups (type cpuset)."""
        hierarchies = self._hierarchies
        name, agent = next(
            (name, one.legacy_agent) for name, one in hierarchies.kernels() if one.legacy_agent
        )
        new = all(tree.controllers != (name,) or tree.name for tree in hierarchies.active)
        self.mount(TreeRequest((name,)), point, name)
        tree = hierarchies.stacks[point][-1]
        # Later kernels do both by mount options, which they apply to a new hierarchy only.
        if new or self._config.dialect.bare:
            tree.bare = True
            tree.root.values[AGENT] = agent

    # umount2(2)

    def umount(self, point: str) -> None:
        """Unmount the topmost hierarchy of a point. The last unmount may remove the hierarchy."""
        hierarchies = self._hierarchies
        if point not in hierarchies.stacks:
            refuse(EINVAL, point)
        if hierarchies.open[point] or hierarchies.mounted_inside(point):
            refuse(EBUSY, point)
        *below, tree = hierarchies.stacks.pop(point)
        if below:
            hierarchies.stacks[point] = below
        tree.mounts.remove([mount for mount in tree.mounts if mount.point == point][-1])
        hierarchies.remounted()
        lingers = tree.root.nodes or (self._config.dialect.zombies and tree.root.has_lingering)
        if not (tree.mounts or lingers or tree.is_unified):
            self._files.load()
            hierarchies.active.remove(tree)
            carry(tree.root, hierarchies.unbound.root, tree)
            hierarchies.return_to_v2(tree.controllers)
            self._ended(tree)

    def in_the_way(self, point: str) -> tuple[str, str]:
        """Return what keeps a mount from being unmounted, and a hint."""
        hierarchies = self._hierarchies
        if inside := hierarchies.mounted_inside(point):
            trees = {one: hierarchies.stacks[one][-1] for one in inside}
            mounts = [one for tree in trees.values() for one in tree.mounts]
            return mounts_inside([next(m for m in mounts if m.point == one) for one in inside])
        return ("a file in it is open", "close it") if hierarchies.open[point] else ("", "")

    # Directories

    def _is_directory(self, path: str) -> bool:
        if place := self._container_at(path):
            return self._hierarchies.exists(place)
        if path == DEFAULT or path in self._config.directories:
            return True
        return not _is_default(path) and os.path.isdir(path)

    def _is_there(self, path: str) -> bool:
        if place := self._container_at(path):
            return self._hierarchies.exists(place) or (
                self._hierarchies.exists(place.parent)
                and self._hierarchies.node(place.parent).has(place.name)
            )
        return self._is_directory(path) or (not _is_default(path) and os.path.lexists(path))

    def _container_at(self, path: str) -> Place | None:
        """Return the place of a directory below a mount, whether that container exists or not; None
        elsewhere.
        """
        stacks = self._hierarchies.stacks
        inside = [one for one in stacks if path.startswith(f"{one}/")]
        point = max(inside, key=list(stacks).index, default="")
        return Place(stacks[point][-1].id, path[len(point) :]) if point else None

    def occupied(self, directory: str, entries: bool) -> str:
        """Return why nothing should be mounted at a directory; empty if it is free. `entries`:
        having entries counts, too.
        """
        missing = self.missing(directory)
        there = os.path.dirname(missing[0]) if missing else directory
        if not self._is_directory(there):
            refuse(ENOTDIR, there)
        machines = os.path.ismount(directory) and not _is_default(directory)
        if directory in self._hierarchies.stacks or directory == DEFAULT or machines:
            return MOUNTED_THERE
        return NOT_EMPTY if entries and not missing and self._entries(directory) else ""

    def _entries(self, directory: str) -> bool:
        """Return whether a directory has entries. A container always has its control files."""
        if self._has_inside(directory) or self._container_at(directory):
            return True
        real = not _is_default(directory) and os.path.isdir(directory)
        return real and bool(os.listdir(directory))

    def _has_inside(self, directory: str) -> bool:
        """Return whether the model has a directory or a mount below a directory."""
        made = (*self._config.directories, *self._hierarchies.stacks)
        return any(one.startswith(f"{directory}/") for one in made)

    def missing(self, directory: str) -> list[str]:
        """Return the directory and its parents that do not exist, the outermost first."""
        found: list[str] = []
        while directory and not self._is_there(directory):
            found.insert(0, directory)
            directory = os.path.dirname(directory)
        return found

    def make_directory(self, directory: str) -> None:
        """Create a directory in the model. Below a mount of a hierarchy that creates a
        container.
        """
        if place := self._container_at(directory):
            self._containers.make(place)
        else:
            self._config.directories.add(directory)

    def remove_directory(self, directory: str) -> None:
        """Remove a directory of the model. Raises OSError (ENOTEMPTY, EBUSY)."""
        if place := self._container_at(directory):
            self._containers.remove(place)
            return
        if self._has_inside(directory):
            refuse(ENOTEMPTY, directory)
        if directory in self._hierarchies.stacks:
            refuse(EBUSY, directory)
        self._config.directories.discard(directory)

    def default_directory(self, name: str) -> str:
        """Return the directory where a hierarchy of this name is mounted by default.

        If cgroup v2 is mounted there, a directory would be a container.
        """
        return os.path.join(BESIDE_V2 if DEFAULT in self._hierarchies.stacks else DEFAULT, name)

    def resolve(self, directory: str) -> str:
        """Return the path without `..` and doubled slashes."""
        return os.path.normpath(directory)
