"""The hierarchies of a model: which there are, where they are mounted, and what a Place means."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from errno import ENOENT, ENOTDIR

from pcont.errors import Unseen
from pcont.kernel.paths import join
from pcont.kernel.refusals import refuse
from pcont.kernel.types import Controller, Mount, Place, Tree
from pcont.model.cgroups import ModelTree, Node, Residents
from pcont.model.config import ModelConfig
from pcont.tables.behaviour import Behaviour
from pcont.tables.rules import ModelCgroup

OnRun = Callable[[ModelCgroup, int, int, int], None]


class Hierarchies:
    """The hierarchies, and the mounts by which they can be reached.

    `active`: the hierarchies that exist, mounted or not. `unbound`: the values of all controllers
    that are bound to none of them. `stacks`: what is mounted at each point, the uppermost last.
    `open`: the number of open files, by the point of the mount. `enforced`: the subsystems for
    which pcont's BPF programs would be loaded, each with its tree.
    """

    def __init__(self, config: ModelConfig, residents: Residents) -> None:
        self._config, self._residents = config, residents
        self.active: list[ModelTree] = []
        self.stacks: dict[str, list[ModelTree]] = {}
        self.open: Counter[str] = Counter()
        self.next_number = 1
        self.enforced: dict[str, ModelTree] = {}
        self.unbound = self.unbound_tree()

    # Hierarchies

    def unbound_tree(self) -> ModelTree:
        """Return a new tree of all controllers of the dialect."""
        return self.new_tree(0, self._config.dialect.controllers)

    def new_tree(self, number: int, controllers: tuple[str, ...], name: str = "") -> ModelTree:
        """Return a new tree; it is not yet active."""
        return ModelTree(self._config, self._residents, number, controllers, name)

    def trees(self) -> tuple[Tree, ...]:
        """Return every active hierarchy."""
        return tuple(
            Tree(one.id, one.number, one.controllers, one.name, tuple(self.uncovered(one)))
            for one in self.active
        )

    def controllers(self) -> tuple[Controller, ...]:
        """Return every controller of the dialect, with the number of its hierarchy."""
        numbers = {name: tree.number for tree in self.active for name in tree.controllers}
        names = self._config.dialect.controllers
        return tuple(Controller(name, numbers.get(name, 0), True) for name in names)

    def holding(self, name: str) -> list[ModelTree]:
        """Return the tree that a subsystem is bound to, else the tree of the unbound ones."""
        bound = [tree for tree in self.active if name in tree.controllers]
        return bound or [self.unbound]

    def kernels(self) -> Iterator[tuple[str, Behaviour]]:
        """Yield the controllers of the dialect, and what the model does for each."""
        return zip(self.unbound.controllers, self.unbound.behaviours, strict=True)

    def counting_time(self) -> Iterator[tuple[OnRun, ModelTree]]:
        """Yield what counts CPU time, and in which tree."""
        for name, behaviour in self.kernels():
            if behaviour.on_run:
                for tree in self.holding(name):
                    yield behaviour.on_run, tree

    def enforcing(self) -> list[tuple[Behaviour, ModelTree]]:
        """Return what the model does in place of pcont's BPF programs, and in which trees."""
        dialect = self._config.dialect
        return [(dialect.behaviour(name), tree) for name, tree in self.enforced.items()]

    # Mounts

    def uncovered(self, tree: ModelTree) -> list[Mount]:
        """Return the mounts by which a tree can be reached: the uppermost one of each point."""
        found: dict[str, Mount] = {}
        for one in tree.mounts:
            if self.stacks[one.point][-1] is tree and not self._is_hidden(one.point):
                found[one.point] = one
        return list(found.values())

    def _is_hidden(self, point: str) -> bool:
        """Return whether a later mount at a parent directory hides the point."""
        is_later = False
        for one in self.stacks:
            if is_later and point.startswith(f"{one}/"):
                return True
            is_later = is_later or one == point
        return False

    def mounted_inside(self, point: str) -> list[str]:
        """Return the points that are inside of what is mounted at a point."""
        points = list(self.stacks)
        later = points[points.index(point) + 1 :]
        return [one for one in later if one.startswith(f"{point}/")]

    @contextlib.contextmanager
    def opened(self, tree: ModelTree) -> Iterator[None]:
        """A file of the tree is open during the block, so that its mount is busy."""
        point = self.uncovered(tree)[0].point
        self.open[point] += 1
        try:
            yield
        finally:
            self.open[point] -= 1

    # Containers by their places

    def tree(self, id: str) -> ModelTree:
        """Return a tree by its id; ENOENT, and Unseen where no mount shows it."""
        for tree in self.active:
            if tree.id == id:
                if self.uncovered(tree):
                    return tree
                raise Unseen(id)
        refuse(ENOENT, id)

    def node(self, place: Place) -> Node:
        """Return a container; ENOENT, and ENOTDIR below a control file."""
        node = self.tree(place.tree).root
        for word in place.path.split("/"):
            if not word:
                continue
            if word not in node.nodes:
                refuse(ENOTDIR if node.has(word) else ENOENT, self.show(place))
            node = node.nodes[word]
        return node

    def exists(self, place: Place) -> bool:
        """Return whether a container exists; Unseen where no mount shows it."""
        try:
            self.node(place)
        except Unseen:
            raise
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def spelled(self, place: Place, file: str) -> str:
        """Return the name that a control file has in the directory of a container."""
        return self.tree(place.tree).spelled(file)

    def show(self, place: Place, file: str = "") -> str:
        """Return a container, or a file of it, as a path."""
        for tree in self.active:
            if tree.id == place.tree and self.uncovered(tree):
                return self.shown_in(tree, place.path, file)
        base = f"{place.tree}:"
        return base + join(place.path, file) if (place.path, file) != ("/", "") else base

    def shown_in(self, tree: ModelTree, path: str, file: str) -> str:
        """Return a container of a mounted tree, or a file of it, as a path."""
        base, file = self.uncovered(tree)[0].point, tree.spelled(file)
        return base + join(path, file) if (path, file) != ("/", "") else base
