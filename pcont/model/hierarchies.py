"""The hierarchies of a model and their mounts, and how to find the container of a Place."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from errno import ENOENT, ENOTDIR
from typing import TypeVar

from pcont.errors import Unseen
from pcont.kernel.paths import join
from pcont.kernel.refusals import refuse
from pcont.kernel.types import Controller, Mount, Place, Tree
from pcont.model.cgroups import NUMBER_OF_V2, ModelTree, Node, Residents
from pcont.model.config import ModelConfig
from pcont.tables.behaviour import Behaviour

_Hook = TypeVar("_Hook")


class Hierarchies:
    """The hierarchies of the model, and their mounts.

    `active`: the hierarchies that exist, mounted or not. `unbound`: the values of all controllers
    that are bound to no hierarchy. `stacks`: the hierarchies mounted at each point, the topmost
    last. `open`: the number of open files by mount point. `enforced`: by controller, the tree for
    which pcont's eBPF programs would be loaded.
    """

    def __init__(self, config: ModelConfig, residents: Residents) -> None:
        self._config, self._residents = config, residents
        self.active: list[ModelTree] = []
        self.stacks: dict[str, list[ModelTree]] = {}
        self._uncovered: dict[ModelTree, list[Mount]] = {}
        self.open: Counter[str] = Counter()
        self.next_number = 1
        self.enforced: dict[str, ModelTree] = {}
        self.unbound = self.unbound_tree()
        if config.dialect.v2_point:
            self._mount_v2(config.dialect.v2_point)

    # Hierarchies

    def _mount_v2(self, point: str) -> None:
        """Begin with the tree of cgroup v2, which exists from boot, and mount it."""
        tree = self.new_tree(NUMBER_OF_V2, self._config.dialect.v2)
        tree.mounts.append(Mount(point, source="cgroup2"))
        self.active.append(tree)
        self.stacks[point] = [tree]

    def unbound_tree(self) -> ModelTree:
        """Return a new tree with all controllers of the dialect."""
        return self.new_tree(0, self._config.dialect.controllers)

    def new_tree(self, number: int, controllers: tuple[str, ...], name: str = "") -> ModelTree:
        """Return a new tree, which the caller adds."""
        return ModelTree(self._config, self._residents, number, controllers, name)

    def add(self, tree: ModelTree) -> None:
        """Add a new tree to `active`. That of cgroup v2 stays the last one."""
        self.active.insert(len(self.v1_trees), tree)

    @property
    def v1_trees(self) -> list[ModelTree]:
        """The active hierarchies but that of cgroup v2."""
        return [one for one in self.active if not one.is_unified]

    @property
    def unified(self) -> ModelTree | None:
        """The hierarchy of cgroup v2; None if the dialect has none."""
        return next((one for one in self.active if one.is_unified), None)

    def is_used_in_v2(self, names: Collection[str]) -> bool:
        """Return whether a container of cgroup v2 has one of these controllers, so that v1 cannot
        take it (kernel/cgroup/cgroup.c, rebind_subsystems()). The root does not count.
        """
        tree = self.unified
        has = tree.kind.has if tree else None
        return tree is not None and any(
            has and has(node, name) for node in tree.root.nodes.values() for name in names
        )

    def take_from_v2(self, names: Collection[str]) -> None:
        """Let a hierarchy of v1 have these controllers, and cgroup v2 have them no longer."""
        if tree := self.unified:
            tree.rebind(tuple(name for name in tree.controllers if name not in names))

    def return_to_v2(self, names: Collection[str]) -> None:
        """Let cgroup v2 have these controllers again, of those that it can have."""
        if tree := self.unified:
            there = {*tree.controllers, *names}
            tree.rebind(tuple(name for name in self._config.dialect.v2 if name in there))

    def trees(self) -> tuple[Tree, ...]:
        """Return every active hierarchy; that of cgroup v2 if it is mounted."""
        return tuple(
            Tree(one.id, max(one.number, 0), one.controllers, one.name, tuple(self.uncovered(one)))
            for one in self.active
            if one.mounts or not one.is_unified
        )

    def controllers(self) -> tuple[Controller, ...]:
        """Return every controller of the dialect, with its hierarchy's number and number of
        containers.
        """
        dialect, free = self._config.dialect, self.unified.size if self.unified else 1
        trees = {name: tree for tree in self.v1_trees for name in tree.controllers}
        return tuple(
            Controller(name, trees[name].number, True, containers=trees[name].size)
            if name in trees
            else Controller(name, 0, True, name in dialect.offered, free)
            for name in dialect.listed
        )

    def holding(self, name: str) -> ModelTree:
        """Return the tree that has a controller, or the tree of the unbound controllers."""
        return next((tree for tree in self.active if name in tree.controllers), self.unbound)

    def kernels(self) -> Iterator[tuple[str, Behaviour]]:
        """Yield the controllers of v1 in the dialect, and what the model does for each."""
        return zip(self.unbound.controllers, self.unbound.behaviours, strict=True)

    def hooks(self, hook: Callable[[Behaviour], _Hook | None]) -> Iterator[tuple[_Hook, ModelTree]]:
        """Yield the hooks of one kind that the controllers of v1 and v2 have, each with the tree of
        its controller. `hook`: returns that of a Behaviour.
        """
        for name, behaviour in self.kernels():
            if found := hook(behaviour):
                tree = self.holding(name)
                if not tree.is_unified:  # which has a behaviour of its own
                    yield found, tree
        if unified := self.unified:
            yield from ((found, unified) for one in unified.behaviours if (found := hook(one)))

    def enforcing(self) -> list[tuple[Behaviour, ModelTree]]:
        """Return the behaviours that replace pcont's eBPF programs, each with its tree."""
        dialect = self._config.dialect
        return [(dialect.behaviour(name), tree) for name, tree in self.enforced.items()]

    # Mounts

    def uncovered(self, tree: ModelTree) -> list[Mount]:
        """Return the mounts through which a tree can be reached: those that no other mount
        covers.
        """
        if tree not in self._uncovered:
            top = [one for one in tree.mounts if self.stacks[one.point][-1] is tree]
            found = {one.point: one for one in top if not self._is_hidden(one.point)}
            self._uncovered[tree] = list(found.values())
        return self._uncovered[tree]

    def remounted(self) -> None:
        """Look again at what covers what: `stacks` has changed."""
        self._uncovered.clear()

    def _is_hidden(self, point: str) -> bool:
        """Return whether a later mount at a parent directory hides the point."""
        is_later = False
        for one in self.stacks:
            if is_later and point.startswith(f"{one}/"):
                return True
            is_later = is_later or one == point
        return False

    def mounted_inside(self, point: str) -> list[str]:
        """Return the mount points inside of what is mounted at a point."""
        points = list(self.stacks)
        later = points[points.index(point) + 1 :]
        return [one for one in later if one.startswith(f"{point}/")]

    @contextlib.contextmanager
    def opened(self, tree: ModelTree) -> Iterator[None]:
        """In the block, a file of the tree is open, so that its mount is busy."""
        point = self.uncovered(tree)[0].point
        self.open[point] += 1
        try:
            yield
        finally:
            self.open[point] -= 1

    # Containers by their places

    def tree(self, id: str) -> ModelTree:
        """Return a tree by its id. Raises FileNotFoundError, and Unseen if no mount shows it."""
        for tree in self.active:
            if tree.id == id:
                if self._uncovered.get(tree) or self.uncovered(tree):  # the first saves a call
                    return tree
                raise Unseen(id)
        refuse(ENOENT, id)

    def node(self, place: Place) -> Node:
        """Return a container. Raises FileNotFoundError, and NotADirectoryError below a control
        file.
        """
        node = self.tree(place.tree).root
        for word in place.path.split("/"):
            if not word:
                continue
            if word not in node.nodes:
                refuse(ENOTDIR if node.has(word) else ENOENT, self.show(place))
            node = node.nodes[word]
        return node

    def exists(self, place: Place) -> bool:
        """Return whether a container exists and a mount shows it."""
        try:
            self.node(place)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def spelled(self, place: Place, file: str) -> str:
        """Return the name under which messages show a control file: that in the directory of a
        container, or another name that the driver of cgroup v2 accepts.
        """
        tree = self.tree(place.tree)
        return file if file in tree.aliases else tree.spelled(file)

    def show(self, place: Place, file: str = "") -> str:
        """Return the path of a container, or of a file of it, below a mount."""
        for tree in self.active:
            if tree.id == place.tree and self.uncovered(tree):
                return self.shown_in(tree, place.path, file)
        base = f"{place.tree}:"
        return base + join(place.path, file) if (place.path, file) != ("/", "") else base

    def shown_in(self, tree: ModelTree, path: str, file: str) -> str:
        """Return the path of a container of a mounted tree, or of a file of it."""
        base, file = self.uncovered(tree)[0].point, tree.spelled(file)
        return base + join(path, file) if (path, file) != ("/", "") else base
