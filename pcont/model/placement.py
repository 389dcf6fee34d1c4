"""Which containers tasks are in: those that the model knows, and in the roots all others of this
machine.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from typing import cast

from pcont.kernel.types import Task
from pcont.linux.proc import no_task
from pcont.linux.procfs import CpuTime
from pcont.model.cgroups import ModelTree, Node, PlacedTask
from pcont.model.config import ModelConfig
from pcont.model.tasks import TaskTable
from pcont.tables.rules import Mover


class TaskPlacement:
    """The tasks that the model knows, and their containers.

    `known`: by id, every task that was attached, read or simulated. `live`: those that are real
    tasks of this machine, for which the model checks whether they have exited. `ended`: real tasks
    that the model has killed, by id with their start times. `dying`: simulated tasks that were
    killed while frozen; they end when they are thawed.
    """

    def __init__(self, config: ModelConfig, tasks: TaskTable) -> None:
        self._config = config
        self.tasks = tasks
        self.known: dict[int, PlacedTask] = {}
        self.live: dict[int, PlacedTask] = {}
        self.ended: dict[int, int] = {}
        self.dying: set[int] = set()

    # What is known of a task

    def task(self, task: int) -> Task:
        """Return a task. Raises ProcessLookupError if there is none."""
        found = self.tasks.task(task)
        if task in self.ended:
            self._check_ended(found)
        if found.fixed and not self._config.dialect.fixed:
            return found._replace(fixed=False)
        return found

    def timed(self, task: PlacedTask) -> tuple[Task, CpuTime]:
        """Return a real task and its CPU time. Raises ProcessLookupError if there is none."""
        found, used = self.tasks.proc.timed(task.id, task.pid)
        if task.id in self.ended:
            self._check_ended(found)
        return found, used

    def _check_ended(self, found: Task) -> None:
        """Raise ProcessLookupError if the model has killed a real task, and it is not frozen."""
        if self.ended[found.id] == found.start and not self.is_frozen(found.id, when_killed=True):
            raise no_task(found.id)

    def is_frozen(self, task: int, when_killed: bool = False) -> bool:
        """Return whether a task is frozen. `when_killed`: in a way that it cannot exit before it is
        thawed.
        """
        for node in self.nodes_of(task).values():
            frozen = node.tree.frozen
            ends = when_killed and node.tree.kind.kills_frozen
            if frozen and task in node.tasks and not ends and frozen(node):
                return True
        return False

    def threads(self, pid: int) -> list[int]:
        """Return the thread ids of the task's process. Raises ProcessLookupError if there
        is none.
        """
        if pid in self.ended:
            self.task(pid)
        return self.tasks.threads(pid)

    def threads_of(self, pid: int) -> list[int]:
        """Return the thread ids of a process; empty if it has exited."""
        with contextlib.suppress(ProcessLookupError):
            return self.threads(pid)
        return []

    def _live_threads_of(self, pid: int) -> list[int]:
        """Return the thread ids of a process, without the first one if that is a zombie.

        `pid`: the first thread of a live process, or any thread of a simulated one.
        """
        simulated = self.tasks.simulated
        return [
            one
            for one in self.threads_of(pid)
            if (one != pid and one not in simulated) or not self.tasks.has_ended(one)
        ]

    def count(self) -> int:
        """Return the number of all tasks of the machine."""
        return sum(1 for pid in self.tasks.processes() for _ in self.threads_of(pid))

    # Tasks and containers

    def load_zombies(self) -> None:
        """Load all zombies of a stored state, before a container is removed that has some: the
        state has them by the path of their container, which a new container may get.
        """
        for task in self.tasks.zombies():
            self.known.get(task)

    def nodes_of(self, task: int) -> dict[int, Node]:
        """Return the containers that a task was attached to, by the number of the tree."""
        known = self.known.get(task)
        return known.nodes if known else {}

    def path_of(self, task: int, tree: ModelTree) -> str:
        """Return the path of a task's container in a tree."""
        node = self.nodes_of(task).get(tree.number)
        if node is None:
            return "/"
        if not self.tasks.is_zombie(task):
            return node.path
        # v1 shows a zombie in the roots, v2 where it was, even if that container was removed
        # (kernel/cgroup/cgroup.c, proc_cgroup_show()).
        return node.path if tree.kind.keeps_zombies else "/"

    def mover(self, tree: ModelTree) -> Mover:
        """Return this process as a rule sees it when it moves a task or creates a container."""
        pid = os.getpid()
        return Mover(pid, self.path_of(pid, tree), self._config.privileged())

    def inside(self, node: Node) -> set[int]:
        """Return the ids of the tasks in a container itself that have not exited."""
        return {*node.tasks, *(() if node.parent else self._elsewhere(node.tree))}

    def _elsewhere(self, tree: ModelTree) -> set[int]:
        """Return the tasks that were never moved in a tree, and so are in its root."""
        found = {task for pid in self.tasks.processes() for task in self._live_threads_of(pid)}
        return {one for one in found if tree.number not in self.nodes_of(one)}

    def listed(self, node: Node, file: str) -> str:
        """Return the text of a file that lists tasks."""
        if file != "cgroup.procs":
            tasks = self.inside(node)
        elif nodes := [*self.with_processes(node)]:
            tasks = {task for one in nodes for task in self._leaders_in(one)}
            tasks.update(self._headless_in(node))
        else:
            known = self.known
            tasks = {known[task].pid if task in known else task for task in self.inside(node)}
        return "".join(f"{task}\n" for task in sorted(tasks))

    def _leaders_in(self, node: Node) -> Iterator[int]:
        """Yield each process that has its first thread in a container."""
        known = self.known
        yield from (
            task for task in self.inside(node) if task not in known or known[task].pid == task
        )

    def _headless_in(self, node: Node) -> Iterator[int]:
        """Yield each process of a domain that has live threads, but whose first thread has exited
        (css_task_iter_advance()). The first thread may have been in a threaded container that was
        removed.
        """
        tree, tasks, domain = node.tree, self.tasks, node.tree.kind.domain
        for task in tasks.zombies() if domain and (node.zombies or not node.parent) else ():
            where = self.nodes_of(task).get(tree.number, tree.root)
            if domain and domain(where) is node and not tasks.is_over(task):
                yield task

    def with_processes(self, node: Node) -> Iterable[Node]:
        """Return the containers that cgroup.procs of a container covers: it lists a process if the
        first thread is in one of them. Empty if it lists the process of every thread in the
        container itself.
        """
        processes = node.tree.kind.processes
        return cast("Iterable[Node]", processes(node)) if processes else ()

    # Live tasks, which may have ended or used CPU time since the model last looked

    def live_in(self, node: Node) -> list[PlacedTask]:
        """Return the real tasks in a container itself."""
        return [self.live[task] for task in node.tasks & self.live.keys()]

    def live_below(self, node: Node) -> Iterable[PlacedTask]:
        """Return the real tasks that a container counts; for a root, also those that were never
        moved.
        """
        if node.parent is None:
            return self.live.values()
        if not node.nodes:
            return self.live_in(node)
        where = ((task, task.nodes.get(node.tree.number)) for task in self.live.values())
        return (task for task, at in where if at and node in at.upwards())
