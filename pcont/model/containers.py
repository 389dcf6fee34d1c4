"""Containers of the model as directories: create, remove and list them, and set their
attributes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from errno import EBUSY, EEXIST, ENAMETOOLONG, ENODATA
from typing import TYPE_CHECKING

from pcont.kernel.paths import join
from pcont.kernel.refusals import refuse
from pcont.kernel.types import Owner, Place
from pcont.model.cgroups import Node
from pcont.model.hierarchies import Hierarchies
from pcont.model.lifetimes import Lifetimes
from pcont.model.open_files import FileAccounts
from pcont.model.placement import TaskPlacement
from pcont.subsys import CLONE_CHILDREN
from pcont.tables.rules import Mover

if TYPE_CHECKING:
    from typing import NoReturn

    from pcont.model.affinity import Affinity

PATH_MAX = 4096  # kernfs has no limit of its own for a name


class ModelContainers:
    """mkdir(2) and rmdir(2) of containers, and their attributes.

    `affinity`: returns what only the removal of some containers needs.
    """

    def __init__(
        self,
        hierarchies: Hierarchies,
        placement: TaskPlacement,
        lifetimes: Lifetimes,
        files: FileAccounts,
        affinity: Callable[[], Affinity],
    ) -> None:
        self._hierarchies, self._files, self._affinity = hierarchies, files, affinity
        self._placement, self._lifetimes = placement, lifetimes

    def make(self, place: Place) -> None:
        """Create a container. Raises OSError as mkdir(2) on a cgroup file system."""
        if place.is_root:
            refuse(EEXIST, self._hierarchies.show(place))
        parent = self._hierarchies.node(place.parent)
        self._check_length(place)
        node = self.create(parent, place.name, self._placement.mover(parent.tree))
        if parent.has(CLONE_CHILDREN) and parent.value(CLONE_CHILDREN):
            self.clone_values(parent, node)

    def create(self, parent: Node, name: str, mover: Mover) -> Node:
        """Create a container and return it. `mover`: the process that creates it.

        Raises OSError (EEXIST) for a name in use, and with the errno of a controller's rule.
        """
        if name in parent.nodes or parent.has(name):
            self._refuse_new(EEXIST, parent, name)
        for rule in (rule for table in parent.tree.tables for rule in table.making):
            if violation := rule(parent, mover):
                self._refuse_new(violation.errno, parent, name)
        node = parent.add(name)
        for row in parent.tree.rows.values():
            if row.creation.passed_on and parent.has(row.name):
                node.values[row.name] = parent.value(row.name)
        return node

    def _refuse_new(self, number: int, parent: Node, name: str) -> NoReturn:
        """Raise the error for a container that cannot be created."""
        place = Place(parent.tree.id, join(parent.path, name))
        refuse(number, self._hierarchies.show(place))

    @staticmethod
    def clone_values(parent: Node, node: Node) -> None:
        """Copy to a new container the values of its parent that controllers copy."""
        for behaviour in parent.tree.behaviours:
            if behaviour.on_clone:
                behaviour.on_clone(parent, node)

    def remove(self, place: Place, force: bool = False) -> None:
        """Remove a container. Raises OSError as rmdir(2); `force`: even if open files are charged
        to it.
        """
        node = self._hierarchies.node(place)
        self._lifetimes.remove_exited_of(self._placement.live_in(node))
        if len(node.nodes) == 1 and node.leaf:
            self.remove(place.leaf)
        held = node.charges.held and not (force and self._files.are_enforced())
        if node.parent is None or node.tasks or node.nodes or held or self._is_mount_point(place):
            refuse(EBUSY, self._hierarchies.show(place))
        if node.charges.held:
            self._files.forget(node.charges)
        if node.zombies:
            self._placement.load_zombies()
        if node.tree.freed and (top := node.tree.freed(node)):
            assert isinstance(top, Node)
            with self._affinity().kept(top):
                node.vanish()
        else:
            node.vanish()

    def _is_mount_point(self, place: Place) -> bool:
        """Return whether something is mounted on the container's directory, in any mount of its
        tree.
        """
        views = [one.point for one in self._hierarchies.tree(place.tree).mounts]
        return any(f"{view}{place.path}" in self._hierarchies.stacks for view in views)

    def _check_length(self, place: Place) -> None:
        shown = self._hierarchies.show(place)
        if len(os.fsencode(shown)) >= PATH_MAX:
            refuse(ENAMETOOLONG, shown)

    def has(self, place: Place) -> bool:
        """Return True. Raises OSError if there is no such container."""
        self._hierarchies.node(place)
        return True

    def children(self, place: Place) -> list[str]:
        """Return the names of the children, sorted; the leaf is none."""
        node = self._hierarchies.node(place)
        return sorted(name for name in node.nodes if name != node.tree.leaf_name)

    def count_children(self, place: Place) -> int:
        """Return the number of the children; the leaf is none."""
        node = self._hierarchies.node(place)
        return len(node.nodes) - (node.tree.leaf_name in node.nodes)

    def names_in_use(self, place: Place, names: Sequence[str]) -> set[str]:
        """Return those of the names that children or control files have."""
        node = self._hierarchies.node(place)
        return {name for name in names if name in node.nodes or node.has(name)}

    def owners(self, place: Place, files: Mapping[str, bool]) -> dict[str, Owner]:
        """Return the owners of a container ("") and of its files, given whether each is writable.
        All are root's unless `set_owners` has changed them.
        """
        node = self._hierarchies.node(place)
        modes = {"": 0o755, **{file: 0o644 if files[file] else 0o444 for file in files}}
        return {name: node.owners.get(name) or Owner(0, 0, mode) for name, mode in modes.items()}

    def set_owners(self, place: Place, owners: Mapping[str, Owner]) -> None:
        """Give a container and its files these owners. The model does not ask them: each of its
        users may change everything.
        """
        node = self._hierarchies.node(place)
        node.owners = {**node.owners, **owners}

    def attributes(self, place: Place) -> dict[str, str]:
        """Return the extended attributes of a container, text by name."""
        return dict(self._hierarchies.node(place).attributes)

    def set_attribute(self, place: Place, name: str, text: str | None) -> None:
        """Set an attribute; None removes it. Raises OSError (ENODATA) if there is none to
        remove.
        """
        node = self._hierarchies.node(place)
        if text is not None:
            node.attributes[name] = text
        elif node.attributes.pop(name, None) is None:
            refuse(ENODATA, self._hierarchies.show(place))
