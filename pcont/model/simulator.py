"""Simulated tasks: tasks of the model only, which fork, run, open files and exit on request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from errno import EBUSY, EINVAL, ENOENT, EPERM

from pcont.kernel.refusals import refuse
from pcont.linux.proc import no_task
from pcont.model.attach import Attaching
from pcont.model.cgroups import ModelTree, Node, PlacedTask
from pcont.model.config import ModelConfig
from pcont.model.containers import ModelContainers
from pcont.model.dialects import ANNOUNCED
from pcont.model.hierarchies import Hierarchies
from pcont.model.hotplug import Hotplug
from pcont.model.lifetimes import Lifetimes
from pcont.model.mounts import ModelMounts
from pcont.model.open_files import FileAccounts
from pcont.model.parameters import Parameters
from pcont.model.placement import TaskPlacement
from pcont.model.proc_files import ProcFiles
from pcont.model.tasks import INIT, NO_CPU_TIME
from pcont.tables.behaviour import Behaviour
from pcont.tables.rules import Mover
from pcont.values import Ids


class ModelSimulator:
    """The Simulator of a model (kernel/interfaces.py)."""

    def __init__(
        self,
        config: ModelConfig,
        hierarchies: Hierarchies,
        placement: TaskPlacement,
        lifetimes: Lifetimes,
        attaching: Attaching,
        containers: ModelContainers,
        files: FileAccounts,
        mounts: ModelMounts,
    ) -> None:
        self._config, self._hierarchies, self._files = config, hierarchies, files
        self._placement, self._lifetimes = placement, lifetimes
        self._tasks = placement.tasks
        self._attaching, self._containers = attaching, containers
        self._mounts = mounts
        self._hotplug = Hotplug(config, hierarchies, placement, attaching)
        self._parameters = Parameters(config, hierarchies, placement)
        self._proc_files = ProcFiles(config, hierarchies, placement)

    @property
    def notified(self) -> Sequence[tuple[str, str]]:
        return list(self._config.notified.values())

    @property
    def parameters(self) -> Mapping[str, int]:
        return self._config.parameters

    # Tasks

    def spawn(self, name: str = "simulated", uid: int | None = None) -> int:
        task = self._tasks.process(INIT, name, self._config.uid if uid is None else uid)
        cpus = self._lifetimes.root_cpus()
        self._placement.known[task] = PlacedTask(task, task, 0, cpus, NO_CPU_TIME)
        return task

    def fork(self, task: int) -> int:
        parent = self._forking(task)
        facts = self._tasks.simulated[task]
        child = self._begin(self._tasks.process(parent.pid, facts.name, facts.uid), parent)
        self._files.inherit(parent.pid, child)
        return child

    def thread(self, task: int) -> int:
        parent = self._forking(task)
        return self._begin(self._tasks.thread(task), parent)

    def _forking(self, task: int) -> PlacedTask:
        """Return the simulated task that forks. Raises OSError with the errno of the fork if it may
        not.

        The kernel asks its security modules, and so pcont's eBPF programs, before pids
        (kernel/fork.c, copy_process()).
        """
        parent = self._acting(task)
        found = [(one.fork, node) for one, node in self._enforced(parent)]
        found += [
            (rules, parent.nodes.get(tree.number, tree.root))
            for rules, tree in self._hierarchies.hooks(lambda one: one.fork)
        ]
        for rules, node in found:
            for rule in rules:
                if violation := rule(node):
                    refuse(violation.errno, str(task))
        return parent

    def _enforced(self, task: PlacedTask) -> Iterator[tuple[Behaviour, Node]]:
        """Yield the behaviours that replace pcont's eBPF programs, each with the container that a
        task counts for. A leaf has the tasks of the container above it.
        """
        for behaviour, tree in self._hierarchies.enforcing():
            node = task.nodes.get(tree.number, tree.root)
            above = node.parent if node.name == tree.leaf_name else None
            yield behaviour, above or node

    def _begin(self, task: int, parent: PlacedTask) -> int:
        """Put a new task into the containers of its parent, in every hierarchy at once."""
        pid = self._tasks.simulated[task].pid
        self._placement.known[task] = PlacedTask(
            task, pid, 0, parent.cpus, NO_CPU_TIME, dict(parent.nodes), parent.requested
        )
        for node in parent.nodes.values():
            node.enter(task)
        for behaviour, node in self._enforced(parent):
            if behaviour.on_fork:
                behaviour.on_fork(node)
        return task

    def container_clone(self, subsystem: str, task: int) -> str:
        one = self._acting(task)
        dialect = self._config.dialect
        if subsystem not in (*ANNOUNCED, *dialect.controllers):
            refuse(ENOENT, subsystem)
        for tree in self._hierarchies.active if dialect.clones else ():
            if subsystem in tree.controllers:
                return self._clone_into(tree, one)
        return ""

    def _clone_into(self, tree: ModelTree, one: PlacedTask) -> str:
        """Create a container for a task, and move the task into it; returns its path.

        The container remains if the task may not enter it (patch semantics, 6.2).
        """
        parent = one.nodes.get(tree.number, tree.root)
        mover = Mover(one.id, parent.path, self._tasks.simulated[one.id].uid == 0)
        node = self._containers.create(parent, f"node_{one.pid}", mover)
        self._containers.clone_values(parent, node)
        self._attaching.check_entry(node, one.id, mover, node.path)
        self._attaching.move(one, node)
        return node.path

    def exit(self, task: int, thread: bool = False) -> None:
        self._acting(task)
        for one in [task] if thread else self._tasks.threads(task):
            self._lifetimes.die(one)

    def work(self, task: int, user: int, system: int = 0, cpu: int | None = None) -> None:
        one = self._acting(task)
        if cpu is not None and cpu not in one.cpus:
            refuse(EINVAL, str(task))
        self._lifetimes.account(one, min(one.cpus) if cpu is None else cpu, user, system)

    def open_one(self, task: int) -> int:
        return self._files.open(self._acting(task), self._tasks.simulated[task].uid == 0)

    def close_one(self, task: int, file: int) -> None:
        self._files.close(file, self._acting(task).pid)

    def _acting(self, task: int) -> PlacedTask:
        """Return a simulated task that can act. Raises OSError (EPERM, ESRCH, EBUSY) if it
        cannot.
        """
        if not self._tasks.is_simulated(task):
            self._placement.task(task)
            refuse(EPERM, str(task))
        if self._tasks.is_zombie(task):
            raise no_task(task)
        if self._placement.is_frozen(task):
            refuse(EBUSY, str(task))
        return self._placement.known[task]

    # The machine

    def plug(self, cpus: Ids, nodes: Ids) -> None:
        self._hotplug.plug(cpus, nodes)

    def mount_cpuset(self, point: str) -> None:
        self._mounts.mount_legacy(point)

    def module(self, name: str, text: str | None = None) -> str:
        return self._parameters.module(name, text)

    def proc_file(self, file: str) -> str:
        return self._proc_files.proc_file(file)
