"""Track the tasks of the model: from when they are known, the CPU time that they use, and their
exit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pcont.kernel.types import UNIFIED, Place, without_leaf
from pcont.linux.procfs import CpuTime
from pcont.model.cgroups import Node, PlacedTask
from pcont.model.config import ModelConfig
from pcont.model.hierarchies import Hierarchies
from pcont.model.open_files import FileAccounts
from pcont.model.placement import TaskPlacement
from pcont.values import Ids


class Lifetimes:
    """Adds tasks to the model, charges the CPU time that they use, and removes those that have
    exited.
    """

    def __init__(
        self,
        config: ModelConfig,
        placement: TaskPlacement,
        hierarchies: Hierarchies,
        files: FileAccounts,
    ) -> None:
        self._config, self._hierarchies, self._files = config, hierarchies, files
        self._placement, self._tasks = placement, placement.tasks

    def adopt(self, task: int) -> PlacedTask:
        """Return the record of a task, created if needed. A new thread is in the containers of its
        process.
        """
        known = self._placement.known
        if task not in known:
            live = self._placement.task(task)
            leader = known.get(live.pid)
            cpus = leader.cpus if leader else self.root_cpus()
            one = PlacedTask(task, live.pid, live.start, cpus, self._tasks.cpu_time(task))
            known[task] = self._placement.live[task] = one
            for node in dict(leader.nodes).values() if leader else ():
                one.nodes[node.tree.number] = node
                node.enter(task)
        return known[task]

    def root_cpus(self) -> Ids:
        """Return the CPUs of tasks that were never moved: they are in the roots."""
        tree = self._hierarchies.unified
        if tree and tree.cpus and tree.root.facts:
            return tree.cpus(tree.root)
        return self._config.machine.cpus

    # CPU time

    def charge(self, task: PlacedTask, now: CpuTime) -> None:
        """Charge the CPU time that a live task has used since the model last looked. `now`: what it
        has used since its start.
        """
        user, system = now.user - task.charged.user, now.system - task.charged.system
        task.charged = now
        if user or system:
            self.account(task, now.cpu, user, system)

    def account(self, task: PlacedTask, cpu: int, user: int, system: int) -> None:
        """Charge CPU time of a task to the containers that count it. `user`, `system`:
        nanoseconds.
        """
        cpu %= self._config.machine.cpu_limit
        for on_run, tree in self._hierarchies.hooks(lambda one: one.on_run):
            on_run(task.nodes.get(tree.number, tree.root), cpu, user, system)

    # Ends

    def remove_exited(self) -> None:
        """Charge CPU time of all live tasks, and remove those that have exited."""
        self.remove_exited_of(self._placement.live.values())

    def remove_exited_of(self, tasks: Iterable[PlacedTask]) -> None:
        """Charge CPU time of these live tasks, and remove those that have exited."""
        placement = self._placement
        for one in [
            one for one in placement.dying if not placement.is_frozen(one, when_killed=True)
        ]:
            self._end(one)
        for task in list(tasks):
            if self._has_gone(task):
                del placement.live[task.id]
                self._forget(task)

    def _has_gone(self, task: PlacedTask) -> bool:
        """Return whether a live task has exited; if not, charge the CPU time that it has used."""
        try:
            live, now = self._placement.timed(task)
            if live.exited or live.start != task.start:
                return True
            self.charge(task, now)
        except ProcessLookupError:
            return True
        return False

    def _forget(self, task: PlacedTask) -> None:
        del self._placement.known[task.id]
        for node in task.nodes.values():
            node.leave(task.id)
        if task.id not in self._tasks.simulated:
            self._files.close_all(task.id)

    def kill(self, place: Place, pids: Iterable[int]) -> Iterator[int]:
        """Kill processes in a container; yields the ids of those that were in it.

        A real process is not killed: the model treats it as exited.
        """
        there = self._processes_in(place)
        for pid in pids:
            if pid in there:
                self._kill(self._placement.threads_of(pid))
                yield pid

    def _processes_in(self, place: Place) -> set[int]:
        """Return the processes that cgroup.procs of a container and its leaf list; none if it was
        removed.
        """
        placement = self._placement
        try:
            node = self._hierarchies.node(place)
        except FileNotFoundError:
            return set()
        self.remove_exited_of(placement.live_below(node))
        leaf = node.leaf if node.tree.leaf_name else None
        lists = [placement.listed(one, "cgroup.procs") for one in (node, leaf) if one]
        return {int(pid) for text in lists for pid in text.split()}

    def kill_below(self, node: Node) -> None:
        """Kill all processes in a container and below it, as a write of cgroup.kill.

        As in the kernel, a process is killed if its first thread is there. If that has exited, it
        is killed if another thread is there, as in Linux 6.12.117 (not in 6.18.44).
        """
        known, number = self._placement.known, node.tree.number
        with_processes = self._placement.with_processes
        nodes = {each for one in node.all() for each in (one, *with_processes(one))}
        for pid in {known[task].pid for one in nodes for task in one.tasks}:
            first = None if self._tasks.is_zombie(pid) else known.get(pid)
            if first is None or first.nodes.get(number) in nodes:
                self._kill(self._placement.threads_of(pid))

    def _kill(self, tasks: Iterable[int]) -> None:
        placement = self._placement
        for task in tasks:
            if self._tasks.is_simulated(task):
                self.die(task)
            else:
                placement.ended[task] = self._tasks.task(task).start
        self.remove_exited_of([placement.live[task] for task in tasks if task in placement.live])

    def membership(self, task: int) -> dict[str, str]:
        """Return the path of a task's container by tree id. Raises ProcessLookupError."""
        placement = self._placement
        if task in placement.live:
            self.remove_exited_of([placement.live[task]])
        if task not in placement.live:
            placement.task(task)
        found = {tree.id: placement.path_of(task, tree) for tree in self._hierarchies.active}
        if UNIFIED in found:
            found[UNIFIED] = without_leaf(UNIFIED, found[UNIFIED])
        return found

    def die(self, task: int) -> None:
        """End a simulated task. A task that v1's freezer has frozen ends when it is thawed."""
        if self._placement.is_frozen(task, when_killed=True):
            self._placement.dying.add(task)
        elif not self._tasks.is_zombie(task):
            self._end(task)

    def _end(self, task: int) -> None:
        self._placement.dying.discard(task)
        one = self._placement.known[task]
        if one.pid == task:
            for node in one.nodes.values():
                node.to_zombie(task)
        else:
            self._forget(one)
        self._tasks.end(task)
        if self._tasks.is_over(one.pid):
            self._files.close_all(one.pid)
            if self._tasks.waited:
                self.reap(one.pid)

    def reap(self, pid: int) -> None:
        """Remove a simulated zombie process, because its parent has waited for it."""
        for node in self._placement.known.pop(pid).nodes.values():
            node.reap(pid)
        self._tasks.remove(pid)
