"""Hotplug: take CPUs and memory nodes of the model offline, and online again."""

from __future__ import annotations

from collections.abc import Callable
from errno import EINVAL

from pcont.kernel.refusals import refuse
from pcont.model.attach import Attaching
from pcont.model.cgroups import ModelTree, Node, shared
from pcont.model.config import ModelConfig
from pcont.model.hierarchies import Hierarchies
from pcont.model.placement import TaskPlacement
from pcont.tables.rules import Machine, ModelCgroup
from pcont.values import Ids

OnHotplug = Callable[[ModelCgroup], ModelCgroup | None]


class Hotplug:
    """Changes which CPUs and memory nodes are online."""

    def __init__(
        self,
        config: ModelConfig,
        hierarchies: Hierarchies,
        placement: TaskPlacement,
        attaching: Attaching,
    ) -> None:
        self._config, self._hierarchies = config, hierarchies
        self._placement, self._attaching = placement, attaching

    def plug(self, cpus: Ids, nodes: Ids) -> None:
        """Put exactly these CPUs and nodes online. Raises OSError (EINVAL) if one of the lists is
        empty.
        """
        if not (cpus and nodes):
            refuse(EINVAL, "the machine")
        before = self._config.machine
        self._config.machine = Machine(
            cpus,
            nodes,
            max(before.cpu_limit, *(cpu + 1 for cpu in cpus)),
            max(before.node_limit, max(nodes) + 1),
        )
        for task in self._placement.known.values():
            task.cpus = shared(task.cpus & cpus or cpus)
        for tree in self._hierarchies.active:
            for behaviour in tree.behaviours:
                if behaviour.on_hotplug:
                    self._update(tree, behaviour.on_hotplug)

    def _update(self, tree: ModelTree, on_hotplug: OnHotplug) -> None:
        """Update the containers of a tree; move tasks to the container that the hook returns."""
        for node in list(tree.root.all())[1:]:
            if target := on_hotplug(node):
                assert isinstance(target, Node)
                for task in list(node.tasks):
                    self._attaching.move(self._placement.known[task], target)
            if tree.cpus:
                for task in node.tasks:
                    self._placement.known[task].cpus = tree.cpus(node)
