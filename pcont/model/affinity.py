"""The CPUs on which the tasks of the model may run: those that they asked for and their cpuset
permits.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from errno import EINVAL
from functools import partial

from pcont.kernel.refusals import refuse
from pcont.model.cgroups import Node, PlacedTask
from pcont.model.config import ModelConfig
from pcont.model.lifetimes import Lifetimes
from pcont.model.placement import TaskPlacement
from pcont.values import Ids


class Affinity:
    """Answers sched_getaffinity(2) and sched_setaffinity(2), and applies the CPU lists of
    containers.
    """

    def __init__(self, config: ModelConfig, placement: TaskPlacement, lifetimes: Lifetimes) -> None:
        self._config, self._placement, self._lifetimes = config, placement, lifetimes

    def affinity(self, task: int) -> Ids:
        """Return the CPUs on which a task may run."""
        self._placement.task(task)
        known = self._placement.known
        return known[task].cpus if task in known else self._lifetimes.root_cpus()

    def set_affinity(self, task: int, cpus: Ids) -> None:
        """Let a task run on these CPUs, as far as its container permits. Raises OSError (EINVAL) if
        none remains.
        """
        one = self._lifetimes.adopt(task)
        may = self._may_use(one)
        if not cpus & may:
            refuse(EINVAL, str(task))
        one.cpus, one.requested = cpus & may, cpus

    def _may_use(self, task: PlacedTask) -> Ids:
        """Return the CPUs of the task's container, or of the nearest parent if its own list is
        empty.
        """
        for node in task.nodes.values():
            if allowed := node.tree.cpus:
                return next(cpus for above in node.upwards() if (cpus := allowed(above)))
        return self._lifetimes.root_cpus()

    def entered(self, task: PlacedTask, node: Node) -> None:
        """Give a task the CPUs of a container that it has entered."""
        if node.tree.cpus:
            self._confine(task, node.tree.cpus(node))

    @contextlib.contextmanager
    def kept(self, node: Node, moved: Node | None = None) -> Iterator[None]:
        """After the block, give the tasks in a container and below it the CPUs that it has changed
        for their containers. `moved`: the container below which it moves all tasks together.
        """
        allowed = node.tree.cpus
        before = {one: allowed(one) for one in node.all() if one.tasks} if allowed else {}
        of_root = allowed(node) if allowed and node.parent is None else None
        seen = partial(_seen_of_first, moved) if moved and allowed else None
        first = seen and seen()
        yield
        # kernel/cgroup/cpuset.c, cpuset_attach(): it looks at the first task only.
        if seen and first and first == seen():
            return
        if allowed and of_root is not None and (now := allowed(node)) != of_root:
            for task in self._placement.known.values():
                # One that was never moved is in the root. A zombie keeps the CPUs that it had.
                was_moved = node.tree.number in task.nodes
                if not was_moved and not self._placement.tasks.is_zombie(task.id):
                    self._confine(task, now)
        for one, cpus in before.items():
            now = allowed(one) if allowed else cpus
            if now != cpus:
                self.changed(one, now)

    def changed(self, node: Node, cpus: Ids) -> None:
        """Give the tasks of a container the CPUs that it has now."""
        for task in node.tasks:
            self._confine(self._placement.known[task], cpus)

    def _confine(self, task: PlacedTask, cpus: Ids) -> None:
        requested = task.requested if self._config.dialect.keeps_requested else None
        task.cpus = (requested & cpus if requested else cpus) or cpus


def _seen_of_first(moved: Node) -> tuple[object, ...]:
    """Return the lists of a container, and of the one with the first task below it; empty if there
    is none.
    """
    lists = moved.tree.lists
    first = next((one for one in moved.all() if one is not moved and one.tasks), None)
    return (lists(moved), lists(first)) if first and lists else ()
