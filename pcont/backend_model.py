"""The model: an in-memory simulation of cgroup v1, driven by the tables, which answers with the
kernel's errnos.

Real tasks of this machine can be attached. Nothing happens to them: a frozen one runs on, and the
model does not see their forks. The model charges the CPU time that they use when it is asked, and
removes their zombies at once, also from pids.current. Simulated tasks fork, run and exit on
request. Release agents do not run; the model records what would run.

The parts are in `model/`. This module combines them into a Backend.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from errno import EPERM
from functools import cached_property
from typing import TYPE_CHECKING

from pcont import subsys
from pcont.errors import from_oserror
from pcont.kernel.refusals import refuse
from pcont.kernel.survey import look_at_each
from pcont.kernel.types import (
    WAITING,
    AssignedIds,
    Controller,
    NamespaceSpec,
    Owner,
    Place,
    Snapshot,
    Surveyed,
    Task,
    Tree,
    TreeRequest,
    Waiting,
)
from pcont.linux.proc import Proc, this_machine
from pcont.model.cgroups import ModelTree, Node
from pcont.model.config import ModelConfig
from pcont.model.containers import ModelContainers
from pcont.model.control_files import ModelControlFiles
from pcont.model.dialects import DIALECTS, V1, Dialect
from pcont.model.hierarchies import Hierarchies
from pcont.model.lifetimes import Lifetimes
from pcont.model.open_files import FileAccounts, OpenFiles
from pcont.model.pages import ANOTHER
from pcont.model.placement import TaskPlacement
from pcont.model.store import Store, default_file
from pcont.model.tasks import TaskTable
from pcont.tables.control_file import Subsystem
from pcont.tables.rules import Machine
from pcont.values import Ids

if TYPE_CHECKING:
    from pcont.kernel.interfaces import Birth, Enforcer, ProcessTree, ReleaseQueue, Simulator
    from pcont.model.affinity import Affinity
    from pcont.model.attach import Attaching
    from pcont.model.enforcer import ModelEnforcer
    from pcont.model.mounts import ModelMounts
    from pcont.model.namespaces import ModelNamespaces
    from pcont.model.simulator import ModelSimulator
    from pcont.trust.workplace import Workplace

# What Linux 6.12 lists in /sys/kernel/cgroup/delegate.
DELEGATED = (
    *("cgroup.procs", "cgroup.threads", "cgroup.subtree_control"),
    *("memory.oom.group", "memory.reclaim"),
)
SMALL = Machine(frozenset(range(4)), frozenset(range(2)), cpu_limit=4)


class Model:
    """The Backend of the model, for one dialect (kernel to simulate).

    `machine`: its CPUs and memory nodes. `proc`: where real tasks are read. `clock`: returns
    seconds.
    """

    name = "model"

    def __init__(
        self,
        machine: Machine = SMALL,
        proc: Proc | None = None,
        dialect: Dialect = V1,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.config = config = ModelConfig(dialect, machine, clock)
        self.tasks = TaskTable(proc or Proc())
        self.placement = placement = TaskPlacement(config, self.tasks)
        self.hierarchies = hierarchies = Hierarchies(config, placement)
        self.open_files = OpenFiles()
        self.file_accounts = FileAccounts(hierarchies, self.open_files)
        self.lifetimes = Lifetimes(config, placement, hierarchies, self.file_accounts)
        self.containers = ModelContainers(
            hierarchies,
            placement,
            self.lifetimes,
            self.file_accounts,
            lambda: self.affinities,
        )
        self.control_files = ModelControlFiles(
            config,
            hierarchies,
            placement,
            self.lifetimes,
            lambda: self.attaching,
            lambda: self.affinities,
        )

    # The parts that most commands do not use: each is imported when it is first used.

    @cached_property
    def affinities(self) -> Affinity:
        from pcont.model.affinity import Affinity

        return Affinity(self.config, self.placement, self.lifetimes)

    @cached_property
    def attaching(self) -> Attaching:
        from pcont.model.attach import Attaching

        return Attaching(
            self.config, self.hierarchies, self.placement, self.lifetimes, self.affinities
        )

    @cached_property
    def mounts(self) -> ModelMounts:
        from pcont.model.mounts import ModelMounts

        return ModelMounts(
            self.config, self.hierarchies, self.containers, self.open_files, self._tree_ended
        )

    @cached_property
    def namespace_pins(self) -> ModelNamespaces:
        from pcont.model.namespaces import ModelNamespaces

        return ModelNamespaces(self.config)

    @property
    def enforcer(self) -> Enforcer:
        return self._enforcer

    @cached_property
    def _enforcer(self) -> ModelEnforcer:
        from pcont.model.enforcer import ModelEnforcer

        return ModelEnforcer(self.config, self.hierarchies, self.lifetimes, self.file_accounts)

    @cached_property
    def releases(self) -> ReleaseQueue:
        from pcont.model.releases import ModelReleases

        return ModelReleases(
            self.config,
            self.hierarchies,
            self.lifetimes.remove_exited,
            lambda: self.exclusive(),
        )

    @cached_property
    def simulator(self) -> ModelSimulator:
        from pcont.model.simulator import ModelSimulator

        return ModelSimulator(
            self.config,
            self.hierarchies,
            self.placement,
            self.lifetimes,
            self.attaching,
            self.containers,
            self.file_accounts,
            self.mounts,
        )

    def _tree_ended(self, tree: ModelTree) -> None:
        """Discard what belongs to a hierarchy that was removed with its last mount."""
        for task in tree.root.tasks:
            del self.placement.known[task].nodes[tree.number]
        self._enforcer.stop_tree(tree)

    # Host

    def machine(self) -> Machine:
        return self.config.machine

    def privileged(self) -> bool:
        return self.config.privileged()

    def may_mount(self) -> bool:
        return True

    def has_systemd(self) -> bool:
        return False

    def delegated(self) -> Sequence[str]:
        return DELEGATED

    def environment(self) -> dict[str, str]:
        return {"PCONT_BACKEND": self.name}

    def exclusive(self, waiting: Waiting = WAITING) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def journals(self) -> str:
        return ""

    def workplace(self) -> Workplace:
        from pcont.trust.workplace import Workplace

        directory = self.journals()
        return Workplace(directory, (directory,) if directory else (), needed=bool(directory))

    def relied_on(self) -> dict[str, str]:
        return {}

    def simulated(self) -> Simulator:
        return self.simulator

    # Subsystems

    def controllers(self) -> tuple[Controller, ...]:
        return self.hierarchies.controllers()

    def virtual_subsystems(self) -> tuple[str, ...]:
        return subsys.virtual_names() if self.config.dialect.has_virtual else ()

    def table(self, name: str) -> Subsystem | None:
        return self.config.dialect.table(name)

    # Mounts

    def trees(self) -> tuple[Tree, ...]:
        return self.hierarchies.trees()

    def mount(self, request: TreeRequest, point: str, source: str) -> None:
        self.mounts.mount(request, point, source)

    def umount(self, point: str) -> None:
        self.mounts.umount(point)

    def occupied(self, directory: str, entries: bool) -> str:
        return self.mounts.occupied(directory, entries)

    def in_the_way(self, point: str) -> tuple[str, str]:
        return self.mounts.in_the_way(point)

    def copies(self, tree: str) -> list[tuple[int, str]]:
        return []

    def missing(self, directory: str) -> list[str]:
        return self.mounts.missing(directory)

    def make_directory(self, directory: str) -> None:
        self.mounts.make_directory(directory)

    def remove_directory(self, directory: str) -> None:
        self.mounts.remove_directory(directory)

    def default_directory(self, name: str) -> str:
        return self.mounts.default_directory(name)

    def resolve(self, directory: str) -> str:
        return self.mounts.resolve(directory)

    # Containers

    def make(self, place: Place) -> None:
        self.containers.make(place)

    def remove(self, place: Place, force: bool = False) -> None:
        self.containers.remove(place, force)

    def children(self, place: Place) -> list[str]:
        return self.containers.children(place)

    def survey(self, place: Place, files: Sequence[str]) -> list[Surveyed]:
        return look_at_each(self, place, files)

    def count_children(self, place: Place) -> int:
        return self.containers.count_children(place)

    def names_in_use(self, place: Place, names: Sequence[str]) -> set[str]:
        return self.containers.names_in_use(place, names)

    def attributes(self, place: Place) -> dict[str, str]:
        return self.containers.attributes(place)

    def set_attribute(self, place: Place, name: str, text: str | None) -> None:
        self.containers.set_attribute(place, name, text)

    def has(self, place: Place) -> bool:
        return self.containers.has(place)

    def snapshot(self, place: Place, files: Iterable[str], others: Iterable[str]) -> Snapshot:
        texts = {}
        for file in files:
            with contextlib.suppress(OSError):
                texts[file] = self.read(place, file)
        return Snapshot(texts, self.attributes(place), dict(self.node(place).owners))

    def owners(self, place: Place) -> dict[str, Owner]:
        return self.containers.owners(place, self.files(place))

    def set_owners(self, place: Place, owners: Mapping[str, Owner]) -> None:
        if not self.config.privileged():
            refuse(EPERM, self.show(place))
        self.containers.set_owners(place, owners)

    def may_change(self, place: Place) -> bool:
        return True

    def stray(self, place: Place) -> dict[str, str]:
        return {}

    def mend(self, place: Place) -> None:
        """Do nothing: only pcont writes attributes in the model."""

    def files(self, place: Place) -> dict[str, bool]:
        return self.control_files.files(place)

    def read(self, place: Place, file: str) -> str:
        return self.control_files.read(place, file)

    def write(self, place: Place, file: str, text: str) -> None:
        self.control_files.write(place, file, text)

    def spelled(self, place: Place, file: str) -> str:
        return self.hierarchies.spelled(place, file)

    def show(self, place: Place, file: str = "") -> str:
        return self.hierarchies.show(place, file)

    def node(self, place: Place) -> Node:
        """Return the model's container of a place. Raises FileNotFoundError."""
        return self.hierarchies.node(place)

    # Tasks

    def task(self, task: int) -> Task:
        return self.placement.task(task)

    def threads(self, pid: int) -> list[int]:
        return self.placement.threads(pid)

    def membership(self, task: int) -> dict[str, str]:
        return self.lifetimes.membership(task)

    def family(self, pid: int) -> contextlib.AbstractContextManager[ProcessTree]:
        return self.tasks.family(pid)

    def assigned_ids(self) -> AssignedIds | None:
        return self.tasks.proc.assigned_ids()

    def affinity(self, task: int) -> Ids:
        return self.affinities.affinity(task)

    def set_affinity(self, task: int, cpus: Ids) -> None:
        self.affinities.set_affinity(task, cpus)

    def may_move(self, task: int) -> bool:
        return self.attaching.may_move(task)

    def enter(self, place: Place, tasks: Iterable[int], file: str = "") -> Iterator[int]:
        return self.attaching.enter(place, tasks, file)

    def thawing(self, place: Place) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def kill(self, place: Place, pids: Iterable[int], number: int) -> Iterator[int]:
        return self.lifetimes.kill(place, pids)

    # Namespaces

    def namespaces(self) -> tuple[str, ...]:
        return self.namespace_pins.namespaces()

    def separate(self, spec: NamespaceSpec) -> Birth:
        return self.namespace_pins.separate(spec)

    def join(self, name: str) -> Birth:
        return self.namespace_pins.join(name)

    def pins(self) -> dict[str, dict[str, str]]:
        return self.namespace_pins.pins()

    def may_join(self, files: Mapping[str, str]) -> bool:
        return self.namespace_pins.may_join(files)

    def pin_path(self, name: str, kind: str = "") -> str:
        return self.namespace_pins.pin_path(name, kind)

    def pin(self, name: str, task: int, kinds: Iterable[str]) -> None:
        self.namespace_pins.pin(name, task, kinds)

    def unpin(self, name: str) -> None:
        self.namespace_pins.unpin(name)


class ModelInMemory(Model):
    """A new Model of this machine. Its state is lost when the process exits."""

    def __init__(self, dialect: str | None = None) -> None:
        super().__init__(this_machine(), dialect=DIALECTS[dialect or V1.name])


class StoredModel(Model):
    """A Model with its state in a file. Each operation that changes it locks the file, and saves
    what has changed.
    """

    def __init__(self, file: str | None = None, dialect: str | None = None) -> None:
        super().__init__()  # the state has the machine
        # The target of a link, so that commands with different names of a file take the same lock.
        self.file = os.path.realpath(file or default_file())
        self._store = Store(
            self.file, dialect, lambda name: Model(this_machine(), dialect=DIALECTS[name])
        )
        self._depth = 0
        self._load()

    def environment(self) -> dict[str, str]:
        return {**super().environment(), "PCONT_STATE": self.file}

    @contextlib.contextmanager
    def exclusive(self, waiting: Waiting = WAITING) -> Iterator[None]:
        if self._depth:
            yield
            return
        # The lock is a file of its own: another file may replace that of the state.
        with contextlib.ExitStack() as stack:
            try:
                os.makedirs(os.path.dirname(self.file), exist_ok=True)
                from pcont.linux import lock

                stack.enter_context(lock.locked(f"{self.file}.lock", waiting))
            except OSError as err:
                raise from_oserror(err, "keep the model's state", hint=ANOTHER) from err
            self._load()
            self._depth = 1
            try:
                yield
            finally:
                self._depth = 0
                # Also after a failure: what could not be undone remains, as in a kernel.
                self._store.save()

    def _load(self) -> None:
        self._store.load(self)
