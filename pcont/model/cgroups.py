"""The containers of the model, as trees of nodes that the rules of the tables can read."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableSet
from functools import cached_property, lru_cache
from shlex import quote
from types import MappingProxyType
from typing import Any, Protocol

from pcont import subsys
from pcont.kernel.types import LEAF_NAME, UNIFIED, Mount, Owner
from pcont.linux.procfs import CpuTime
from pcont.model.config import ModelConfig
from pcont.subsys import AGENT
from pcont.subsys.model import load_behaviour
from pcont.tables.behaviour import (
    KIND_OF_V1,
    Alias,
    Behaviour,
    ContainerKind,
    FileBehaviour,
)
from pcont.tables.charges import Charges
from pcont.tables.control_file import ControlFile, Subsystem
from pcont.tables.interface import Interface
from pcont.tables.rules import Machine, ModelCgroup
from pcont.values import Ids

# The number of cgroup v2's hierarchy is 0 in the kernel. In the model, 0 is the tree of the
# controllers that are bound to no hierarchy.
NUMBER_OF_V2 = -1


def shared(value: Any) -> Any:
    """Return an equal value that all nodes share, to save memory: a list of 512 CPUs takes
    32 KiB. A dict cannot be a key of a cache: it is returned itself.
    """
    return value if isinstance(value, dict) else _shared(value)


@lru_cache(maxsize=256, typed=True)
def _shared(value: Any) -> Any:
    return value


def agent_program(tree: str) -> str:
    """Return the path of the release agent that reports the empty containers of a tree to pcont."""
    return os.path.join("/var/lib/pcont/agents", tree)


class Residents(Protocol):
    """Tells a container which tasks are in it."""

    def listed(self, node: Node, file: str) -> str:
        """Return the text of a file that lists task ids."""

    def inside(self, node: Node) -> set[int]:
        """Return the ids of the tasks in a container that have not exited."""


class PlacedTask:
    """A task that the model knows, with its containers and what has been charged for it.

    `nodes`: its containers, by the number of the tree. `requested`: the CPUs that it asked for with
    sched_setaffinity(2); None if it never did.
    """

    __slots__ = ("charged", "cpus", "id", "nodes", "pid", "requested", "start")

    def __init__(
        self,
        id: int,
        pid: int,
        start: int,
        cpus: Ids,
        charged: CpuTime,
        nodes: dict[int, Node] | None = None,
        requested: Ids | None = None,
    ) -> None:
        self.id, self.pid, self.start = id, pid, start
        self.cpus, self.requested = cpus, requested
        self.charged = charged
        self.nodes: dict[int, Node] = {} if nodes is None else nodes


# Facts of a container, each with the id of a zombie. The first: the zombie is in the container, or
# on cgroup v2 below it; a root of v1 has it for the zombies of removed containers. The second: the
# zombie exited before pids was enabled, so that pids does not count it.
_ZOMBIE, _UNCHARGED = "cgroup.zombie.", "pids.uncharged."


NO_OWNERS: Mapping[str, Owner] = MappingProxyType({})


class Node:
    """A container of the model. `values` has only what was written, and `owners` those that were
    changed, by file name; "" is the directory.

    `count` and `most`: the number of tasks in it and its descendants, now and the highest so far.
    `zombies`: how many of them are zombies, which are in no container any more. `refused`: how many
    forks of its tasks were refused.
    """

    __slots__ = (
        *("attributes", "charges", "count", "facts", "most", "name", "nodes", "parent"),
        *("owners", "refused", "tasks", "times", "tree", "values", "zombies"),
    )

    def __init__(self, tree: ModelTree, name: str, parent: Node | None) -> None:
        self.tree, self.name, self.parent = tree, name, parent
        self.values: dict[str, Any] = {}
        self.attributes: dict[str, str] = {}
        self.owners: Mapping[str, Owner] = NO_OWNERS
        self.nodes: dict[str, Node] = {}
        self.tasks: MutableSet[int] = set()
        self.count = self.most = self.zombies = self.refused = 0
        self.times: dict[int, tuple[int, int]] = {}
        self.charges = Charges()
        self.facts: dict[str, int] = {}

    # The node as a rule sees it (tables.rules.ModelCgroup)

    @property
    def path(self) -> str:
        names: list[str] = []
        node = self
        while node.parent:
            names.insert(0, node.name)
            node = node.parent
        return "/" + "/".join(names)

    @property
    def shown(self) -> str:
        return f"{self.tree.id}:{self.path}"

    @property
    def word(self) -> str:
        return quote(self.shown)

    @property
    def machine(self) -> Machine:
        return self.tree.machine

    @property
    def controllers(self) -> tuple[str, ...]:
        return self.tree.controllers

    def children(self) -> Iterable[Node]:
        return self.nodes.values()

    def value(self, file: str) -> Any:
        row = self.row(file)
        if file in subsys.TASK_FILES:
            return self.tree.residents.listed(self, file)
        how = self.tree.file_behaviours.get(row.name)
        return how.derived(self) if how and how.derived else self.written(row.name)

    def written(self, file: str) -> Any:
        if file in self.values:
            return self.values[file]
        row = self.tree.rows[file]
        return self.tree.root_value(row) if self.parent is None else row.default

    def store(self, file: str, value: Any) -> None:
        self.values[file] = shared(value)

    def populated(self) -> bool:
        return self.count > self.zombies

    def inside(self) -> int:
        return len(self.tree.residents.inside(self))

    def parameter(self, name: str) -> int:
        return self.tree.config.parameter(name)

    def now(self) -> int:
        return int(self.tree.config.clock() * 1000)

    def reach(self, count: int) -> None:
        self.most = max(self.most, count)

    def refuse(self) -> None:
        self.refused += 1

    def run_effect(self, file: str) -> None:
        """Apply the effects of a write to a file, beside storing the value."""
        how = self.tree.file_behaviours.get(file)
        if how and how.effect:
            how.effect(self)

    def has(self, file: str) -> bool:
        """Return whether the container has a file."""
        row, shows = self.tree.rows.get(self.tree.called(file)), self.tree.shows
        if row is None or not row.access.where.holds(self.parent is None):
            return False
        return shows is None or shows(self, row)

    def row(self, file: str) -> ControlFile:
        """Return the row of a file, or of another name of a file. Raises KeyError if the container
        has no such file.
        """
        row, shows = self.tree.rows.get(self.tree.called(file)), self.tree.shows
        if row is None:
            row, shows = self.tree.aliases[file].row, None
        if not row.access.where.holds(self.parent is None) or (shows and not shows(self, row)):
            raise KeyError(file)
        return row

    def enable(self, controller: str) -> None:
        """Begin to have a controller of cgroup v2."""
        if on_enabled := self.tree.behaviour(controller).on_enabled:
            on_enabled(self)

    def disable(self, controller: str) -> None:
        """Lose a controller of cgroup v2, with its settings and counts."""
        if on_disabled := self.tree.behaviour(controller).on_disabled:
            on_disabled(self)
        table = self.tree.table(controller)
        for file in table.by_name if table else ():
            self.values.pop(file, None)
        for fact in [one for one in self.facts if one.startswith(f"{controller}.")]:
            del self.facts[fact]

    def add_time(self, cpu: int, user: int, system: int) -> None:
        before = self.times.get(cpu, (0, 0))
        self.times[cpu] = (before[0] + user, before[1] + system)

    def hold(self, task: int) -> None:
        """Add a task, and count it in this container and in every parent."""
        self.tasks.add(task)
        for node in self.upwards():
            node.count += 1
            node.reach(node.charged if node.zombies else node.count)

    def enter(self, task: int) -> None:
        """Add a task that enters the container, and call the hooks."""
        self.hold(task)
        for behaviour in self.tree.behaviours:
            if behaviour.on_enter:
                behaviour.on_enter(self)

    def leave(self, task: int) -> None:
        """Remove a task that leaves the container, and call the hooks."""
        self.tasks.remove(task)
        for node in self.upwards():
            node.count -= 1
        self._left()

    def _left(self) -> None:
        for behaviour in self.tree.behaviours:
            if behaviour.on_leave:
                behaviour.on_leave(self)
        self.check_release()

    def check_release(self) -> None:
        """Run the hooks for a container that has become empty, if it is empty."""
        if self.parent is not None and self.is_empty() and self.tree.core.on_empty:
            self.tree.core.on_empty(self)

    def is_empty(self) -> bool:
        return not self.tasks and not self.nodes

    def run_agent(self) -> None:
        self.tree.notify(self.path)

    def add(self, name: str) -> Node:
        """Add an empty container below this one, and return it."""
        node = self.nodes[name] = Node(self.tree, name, self)
        self.tree.size += 1
        return node

    def vanish(self) -> None:
        assert self.parent
        del self.parent.nodes[self.name]
        self.tree.size -= 1
        if self.zombies and not self.tree.is_unified:
            root = self.tree.root
            root.facts.update((one, 1) for one in self.facts if one.startswith(_ZOMBIE))
        if on_removed := self.tree.kind.on_removed:
            on_removed(self)
        self.parent.check_release()

    def to_zombie(self, task: int) -> None:
        """Remove a task that has exited, and count it as a zombie."""
        self.tasks.remove(task)
        for node in self.upwards():
            node.zombies += 1
            if self.tree.is_unified or (node is self and node.parent):
                node.facts[f"{_ZOMBIE}{task}"] = 1
        self._left()

    def reap(self, task: int) -> None:
        """Stop counting a zombie that its parent has waited for."""
        for node in self.upwards():
            node.count -= 1
            node.zombies -= 1
            for fact in (_ZOMBIE, _UNCHARGED):
                node.facts.pop(f"{fact}{task}", None)

    @property
    def has_lingering(self) -> bool:
        """Whether a zombie was in a container that has been removed. Only a root of v1 knows."""
        return any(fact.startswith(_ZOMBIE) for fact in self.facts)

    @property
    def charged(self) -> int:
        return self.count - sum(fact.startswith(_UNCHARGED) for fact in self.facts)

    def charge_no_zombies(self) -> None:
        ids = [fact.removeprefix(_ZOMBIE) for fact in self.facts if fact.startswith(_ZOMBIE)]
        self.facts.update(dict.fromkeys([f"{_UNCHARGED}{id}" for id in ids], 1))

    @property
    def leaf(self) -> Node | None:
        """The child that the driver of the interface shows as a part of this container; None
        without it.
        """
        name = self.tree.leaf_name
        return self.nodes.get(name) if name and self.name != name and self.parent else None

    def remaining(self) -> Node:
        """Return the container itself, or the nearest parent that was not removed.

        A zombie counts in the parents of its container, which may be removed before it. The state
        of a model has no removed containers.
        """
        there = self
        for node in self.upwards():
            if node.parent and node.parent.nodes.get(node.name) is not node:
                there = node.parent
        return there

    def all(self) -> Iterator[Node]:
        """Yield the container and its descendants, parents first."""
        waiting = [self]
        while waiting:
            node = waiting.pop()
            yield node
            waiting += reversed(node.nodes.values())

    def upwards(self) -> Iterator[Node]:
        """Yield the container and its ancestors."""
        node: Node | None = self
        while node:
            yield node
            node = node.parent


class ModelTree:
    """A hierarchy of the model: one of the dialect's interface, or that of cgroup v2.

    `id`: as /proc/PID/cgroup has it; UNIFIED for that of cgroup v2. `bare`: its files have names
    without the prefix. `emptied`: the containers that have been reported as empty. `size`: the
    number of its containers. `leaf_name`: the name of the children that are leaves; empty if none
    is.
    """

    def __init__(
        self,
        config: ModelConfig,
        residents: Residents,
        number: int,
        controllers: tuple[str, ...],
        name: str = "",
    ) -> None:
        self.config, self.residents = config, residents
        self.number, self.controllers, self.name = number, controllers, name
        self.is_unified = number == NUMBER_OF_V2
        self.interface = Interface.V2 if self.is_unified else config.dialect.interface
        words = [*controllers, f"name={name}"] if name else controllers
        self.id = UNIFIED if self.is_unified else ",".join(words)
        self.leaf_name = LEAF_NAME if self.is_unified else ""
        self.mounts: list[Mount] = []
        self.emptied: list[str] = []
        self.bare = config.dialect.bare
        self.root = Node(self, "", None)
        self.size = 1

    def rebind(self, controllers: tuple[str, ...]) -> None:
        """Let the tree of cgroup v2 have these controllers. Its containers below the root have none
        of those that it loses.
        """
        if controllers != self.controllers:
            self.controllers = controllers
            for name, one in vars(ModelTree).items():
                if isinstance(one, cached_property):
                    self.__dict__.pop(name, None)
            if on_rebound := self.kind.on_rebound:
                on_rebound(self.root)

    # The tables and behaviours of the controllers are loaded when they are first used.

    def table(self, name: str) -> Subsystem | None:
        """Return the table of a controller; None if there is none. The empty name is the core."""
        return subsys.load(name, self.interface)

    def behaviour(self, name: str) -> Behaviour:
        """Return what the model does for a controller, beside storing what is written."""
        return load_behaviour(name, self.interface)

    @cached_property
    def parts(self) -> tuple[str, ...]:
        """The names of its tables, beside that of the core."""
        always = subsys.ALWAYS_ON_V2 if self.is_unified else ()
        return (*self.controllers, *(name for name in always if name not in self.controllers))

    @cached_property
    def tables(self) -> list[Subsystem]:
        return [table for table in map(self.table, ("", *self.parts)) if table]

    @cached_property
    def rows(self) -> dict[str, ControlFile]:
        """The rows of its control files, by name."""
        files = [row for table in self.tables for row in table.files]
        lacking = self._not_built
        return {
            row.name: row
            for row in files
            if not (row.virtual.everywhere or row.name.startswith(lacking))
        }

    @property
    def _not_built(self) -> tuple[str, ...]:
        """What the names of files begin with that the kernel is built without: only cgroup v2."""
        behaviours = self.behaviours if self.is_unified else ()
        return tuple(word for one in behaviours for word in one.not_built)

    @cached_property
    def core(self) -> Behaviour:
        return self.behaviour("")

    @cached_property
    def shows(self) -> Callable[[ModelCgroup, ControlFile], bool] | None:
        """Returns whether a container has a file of the tables; None if `Access` decides alone."""
        return self.kind.shows

    @cached_property
    def aliases(self) -> Mapping[str, Alias]:
        """Other names of files, which the driver of the interface accepts."""
        return self.kind.aliases

    @cached_property
    def kind(self) -> ContainerKind:
        """How the containers differ from those of cgroup v1."""
        return self.core.kind if self.is_unified else KIND_OF_V1

    @cached_property
    def behaviours(self) -> list[Behaviour]:
        """What the model does for each controller, and on cgroup v2 for the core."""
        names = ("", *self.parts) if self.is_unified else self.parts
        return list(map(self.behaviour, names))

    @cached_property
    def file_behaviours(self) -> dict[str, FileBehaviour]:
        return {file: how for one in self.behaviours for file, how in one.files.items()}

    @cached_property
    def frozen(self) -> Callable[[ModelCgroup], bool] | None:
        """Returns whether the tasks of a container are frozen."""
        return next((one.frozen for one in self.behaviours if one.frozen), None)

    @cached_property
    def cpus(self) -> Callable[[ModelCgroup], Ids] | None:
        """Returns the CPUs on which the tasks of a container may run."""
        return next((one.cpus for one in self.behaviours if one.cpus), None)

    @cached_property
    def lists(self) -> Callable[[ModelCgroup], object] | None:
        """Returns what decides whether tasks that move together get other CPUs."""
        return next((one.lists for one in self.behaviours if one.lists), None)

    @cached_property
    def freed(self) -> Callable[[ModelCgroup], ModelCgroup | None] | None:
        """Returns where tasks may have other CPUs after a container was removed."""
        return next((one.freed for one in self.behaviours if one.freed), None)

    @cached_property
    def prefix(self) -> str:
        """What the full names of files begin with, if their names in the directory lack it."""
        legacy = (name for name in self.parts if self.behaviour(name).legacy_agent)
        return next((f"{name}." for name in legacy), "")

    def called(self, file: str) -> str:
        """Return the full name of a control file, given its full or its bare name."""
        return f"{self.prefix}{file}" if self.bare and f"{self.prefix}{file}" in self.rows else file

    def spelled(self, file: str) -> str:
        """Return the name of a control file in the directory of a container."""
        if file in self.aliases:
            return self.aliases[file].file
        return file.removeprefix(self.prefix) if self.bare and file in self.rows else file

    @property
    def machine(self) -> Machine:
        return self.config.machine

    def notify(self, path: str) -> None:
        """Report an empty container to pcont, or record the release agent that a kernel would run.

        `path`: the path of the container in its hierarchy. An agent whose text ends in a newline is
        not run: in kernels that keep the newline, it is part of the file name.
        """
        agent = self.root.value(AGENT)
        if agent.strip() == agent_program(self.id):
            self.emptied.append(path)
        elif agent and not agent.endswith("\n"):
            self.config.notify(agent, path)

    def root_value(self, row: ControlFile) -> Any:
        """Return the value of a file in the root container if nothing was written."""
        how = self.file_behaviours.get(row.name)
        if how and how.root_value:
            return how.root_value(self.machine)
        return row.begins(is_root=True)


def carry(source: Node, target: Node, tree: ModelTree) -> None:
    """Move the values that controllers have stored in one root to another root: a kernel keeps
    them.
    """
    for table in tree.tables:
        for file in table.by_name if table.name else ():
            if file in source.values:
                target.values[file] = source.values.pop(file)
    for fact in [one for one in source.facts if one.partition(".")[0] in tree.controllers]:
        target.facts[fact] = source.facts.pop(fact)
    for behaviour in tree.behaviours:
        if behaviour.on_rebind:
            behaviour.on_rebind(source, target)
