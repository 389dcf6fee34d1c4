"""Attach tasks to containers of the model: the checks of the kernel in its order, and the move
itself.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from errno import EACCES, EBUSY, EINVAL, ENODEV, EOPNOTSUPP, ESRCH

from pcont.kernel.refusals import WriteRefused, refuse_text
from pcont.kernel.types import Place, Task
from pcont.linux.proc import no_task
from pcont.model.affinity import Affinity
from pcont.model.cgroups import ModelTree, Node, PlacedTask
from pcont.model.config import ModelConfig
from pcont.model.hierarchies import Hierarchies
from pcont.model.lifetimes import Lifetimes
from pcont.model.placement import TaskPlacement
from pcont.tables.rules import Entry, Mover


class Attaching:
    """Moves tasks into containers."""

    def __init__(
        self,
        config: ModelConfig,
        hierarchies: Hierarchies,
        placement: TaskPlacement,
        lifetimes: Lifetimes,
        affinity: Affinity,
    ) -> None:
        self._config, self._hierarchies, self._affinity = config, hierarchies, affinity
        self._placement, self._lifetimes = placement, lifetimes
        self._tasks = placement.tasks

    def enter(self, place: Place, tasks: Iterable[int], file: str = "") -> Iterator[int]:
        """Write task ids into a file of a container, one by one; yields those that have entered.

        `file`: `tasks` (the default) or `cgroup.procs`. Tasks that have exited are left
        out. Raises WriteRefused at the first refusal.
        """
        node, where = self._hierarchies.node(place), self._hierarchies.show(place, file or "tasks")
        self._lifetimes.remove_exited()
        whole = file == "cgroup.procs"
        takes_threads = node.tree.kind.takes_threads
        by_thread = not file and takes_threads is not None and takes_threads(node)
        with self._hierarchies.opened(node.tree):
            for task in tasks:
                try:
                    if by_thread:
                        self._write_thread(place, str(task), where)
                    elif node.tree.is_unified:
                        node = self._write_whole(node, str(task), file or "cgroup.procs")
                    else:
                        self.write(node, str(task), whole, where)
                    yield task
                except WriteRefused as err:
                    if err.errno != ESRCH:
                        raise

    def _write_thread(self, place: Place, text: str, where: str) -> None:
        """Write a task id into a container that takes threads, as the driver of cgroup v2 does: it
        opens the file for each task, and moves the process of a task from elsewhere.
        """
        node = self._hierarchies.node(place)
        try:
            self.write(node, text, False, where)
        except WriteRefused as err:
            if err.errno != EOPNOTSUPP:
                raise
            self._write_whole(node, text, "cgroup.procs")

    def _write_whole(self, node: Node, text: str, file: str) -> Node:
        """Write a task id into a file of a container of cgroup v2, or of its leaf. Returns which of
        them the driver keeps open for the next task.
        """
        return self.put(node, text, file, self._hierarchies.shown_in(node.tree, node.path, file))

    def put(self, node: Node, text: str, file: str, where: str) -> Node:
        """Write a text into `tasks` or another such file of a container, or, if the container has
        no tasks itself, into that of its leaf. Returns the one of them that took it.
        """
        whole = file == "cgroup.procs"
        try:
            self.write(node, text, whole, where)
            return node
        except WriteRefused as err:
            leaf = node.leaf if file != "cgroup.threads" else None
            if leaf is None or err.errno != EBUSY:
                raise
            self.write(leaf, text, whole, self._hierarchies.shown_in(leaf.tree, leaf.path, file))
            return leaf

    def may_move(self, task: int) -> bool:
        """Return whether this process may move a task."""
        config = self._config
        return config.privileged() or config.uid in self._tasks.owners(task)

    def write(self, node: Node, text: str, whole: bool, where: str) -> None:
        """Write a text into `tasks` of a container, or into `cgroup.procs` if `whole`.

        Checks in the kernel's order: the number, the task, whether it may be moved at all, whether
        it may enter. Raises WriteRefused. `where`: the path for the error.
        """
        if _is_removed(node):
            refuse_text(ENODEV, where)
        task, known, movers = self._named(text, whole, where)
        if task and not self.may_move(task):
            refuse_text(EACCES, where)
        if vet := node.tree.kind.vet:
            source = self._source(known.pid if whole else known.id, node.tree)
            if violation := vet(source, node, whole):
                refuse_text(violation.errno, where)
        # A task that has ended, or is there already, is not checked (cgroup_migrate_add_task()).
        if not self._config.dialect.again:
            movers = [one for one in movers if self._must_move(one, node, known)]
        for one in movers if any(table.entry for table in node.tree.tables) else ():
            self.check_entry(node, one, self._placement.mover(node.tree), where)
        movers = self._together(movers)
        lists = node.tree.lists if movers else None
        confined = not lists or lists(self._source(movers[0], node.tree)) != lists(node)
        for one in movers:
            with contextlib.suppress(ProcessLookupError):
                self.move(self._lifetimes.adopt(one), node, confined)

    def _source(self, task: int, tree: ModelTree) -> Node:
        return self._placement.nodes_of(task).get(tree.number, tree.root)

    def _named(self, text: str, whole: bool, where: str) -> tuple[int, Task, list[int]]:
        """Return the id that a text has, its task (of 0, this process), and the ids of the tasks
        that move with it.
        """
        dialect = self._config.dialect
        try:
            task = dialect.number(text)
            if not dialect.zombies and self._tasks.has_ended(task):
                raise no_task(task)
            known = self._placement.task(task or os.getpid())
            movers = self._tasks.threads(known.id) if whole else [known.id]
        except (ValueError, OverflowError, ProcessLookupError) as err:
            number = ESRCH if isinstance(err, ProcessLookupError) else dialect.no_number
            refuse_text(number, where, err)
        if known.fixed:
            refuse_text(EINVAL, where)
        return task, known, movers

    def _together(self, tasks: list[int]) -> list[int]:
        """Sort tasks in the order in which the kernel moves them: those in the same containers
        follow each other.

        See cgroup_migrate_add_task() in kernel/cgroup/cgroup.c.
        """
        if len(tasks) < 3:
            return tasks
        groups: dict[tuple[Node, ...], list[int]] = {}
        for task in tasks:
            nodes = self._placement.nodes_of(task)
            places = tuple(nodes.get(tree.number, tree.root) for tree in self._hierarchies.active)
            groups.setdefault(places, []).append(task)
        return [task for group in groups.values() for task in group]

    def check_entry(self, node: Node, task: int, mover: Mover, where: str) -> None:
        """Raise WriteRefused if a rule of the tree refuses the task. `where`: the path for the
        error.
        """
        entry = Entry(node, task, self._placement.path_of(task, node.tree), mover)
        for rule in (rule for table in node.tree.tables for rule in table.entry):
            if violation := rule(entry):
                refuse_text(violation.errno, where)

    def _must_move(self, task: int, node: Node, known: Task) -> bool:
        """Return whether a task must be moved: it is in another container and has not ended.

        `known`: a task that was just read from /proc.
        """
        if self._source(task, node.tree) is node:
            return False
        return known.state != "Z" if task == known.id else not self._tasks.has_ended(task)

    def move(self, task: PlacedTask, node: Node, confined: bool = True) -> None:
        """Move a task into a container, without checking the rules. `confined`: it gets the CPUs of
        the container.
        """
        before = task.nodes.get(node.tree.number)
        if before is node and not self._config.dialect.again:
            return
        if before is not node:
            self._lifetimes.charge(task, self._tasks.cpu_time(task.id))
            # Counted in before it is counted out, in a common parent twice (pids_can_attach()).
            stays_counted = node.tree.kind.stays_counted
            if before and stays_counted and stays_counted(before, node):
                before.leave(task.id)
                before = None
            node.enter(task.id)
            task.nodes[node.tree.number] = node
            if before:
                before.leave(task.id)
        if confined:
            self._affinity.entered(task, node)


def _is_removed(node: Node) -> bool:
    return node.parent is not None and node.parent.nodes.get(node.name) is not node
