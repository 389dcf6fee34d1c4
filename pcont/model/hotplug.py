"""Hotplug: CPUs and memory nodes of the model go offline and come back."""

from __future__ import annotations

from errno import EINVAL

from pcont.kernel.refusals import refuse
from pcont.model.attach import Attaching
from pcont.model.cgroups import Node, admits, shared
from pcont.model.config import ModelConfig
from pcont.model.hierarchies import Hierarchies
from pcont.model.placement import TaskPlacement
from pcont.tables.rules import Machine
from pcont.values import Ids


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
        """Put exactly these online; EINVAL where one of the lists is empty."""
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
            if "cpuset" in tree.controllers:
                for node in list(tree.root.all())[1:]:
                    self._unplug(node)

    def _unplug(self, node: Node) -> None:
        """The list of a cpuset loses what is not online, and its tasks leave where nothing is left.

        kernel/cgroup/cpuset.c: hotplug_update_tasks_legacy(), remove_tasks_in_empty_cpuset().
        """
        assert node.parent
        for file in ("cpuset.cpus", "cpuset.mems"):
            was, above = node.value(file), node.parent.value(file)
            node.values[file] = shared(was & above)
            if was and not node.values[file] and self._config.dialect.follows_up:
                node.values[file] = above
            elif not node.values[file]:
                nearest = next(one for one in node.parent.upwards() if admits(one))
                for task in list(node.tasks):
                    self._attaching.move(self._placement.known[task], nearest)
        for task in node.tasks:
            self._placement.known[task].cpus = node.value("cpuset.cpus")
