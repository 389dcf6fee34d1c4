"""What the model runs for a controller beside storing values: counters, effects of writes, and
charges.

A kernel does all this itself. The tables of `subsys` describe files and rules for all readers. A
`Behaviour` makes the model answer as the kernel does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

from pcont.bases import NamedTuple
from pcont.tables.charges import Charges
from pcont.tables.control_file import ControlFile
from pcont.tables.rules import Machine, ModelCgroup, Violation
from pcont.values import Ids

# Asked before a fork. It may also count the fork, or the refusal.
ForkRule = Callable[[ModelCgroup], "Violation | None"]


class FileBehaviour(NamedTuple):
    """How the model reads and writes one control file.

    `derived` returns the value that a read shows; without it, a read shows what was written.
    `effect` runs after a write has stored its value.
    `root_value` returns the value of the root container, if the machine decides it.
    `write` carries out a write; without it, the value is stored.
    `confines`: returns the container in and below which a write may change the CPUs of tasks.
    `moves`: a write moves all tasks below the container at once, by `Behaviour.lists`.
    `kills`: a write kills all processes in the container and below it.
    `lines`: the text has any number of lines; without one, it is empty and has no newline.
    `hidden`: the file cannot be read (EINVAL), only written.
    `refused`: called with the container and the value if a rule of the table refused a write.
    `refuses` returns the errno of a write that no rule of the table refuses, given the container
    and the value; 0 if it is accepted.
    """

    derived: Callable[[ModelCgroup], Any] | None = None
    effect: Callable[[ModelCgroup], None] | None = None
    root_value: Callable[[Machine], Any] | None = None
    write: Callable[[ModelCgroup, Any], None] | None = None
    confines: Callable[[ModelCgroup], ModelCgroup] | None = None
    moves: bool = False
    kills: bool = False
    lines: bool = False
    hidden: bool = False
    refused: Callable[[ModelCgroup, Any], None] | None = None
    refuses: Callable[[ModelCgroup, Any], int] | None = None


class Enforcement(NamedTuple):
    """How the model does for a subsystem what pcont's BPF programs do in a kernel.

    `values` returns what is counted for a container and what it may have, by control file or fact.
    `set` changes what a container may have; it returns False if nothing is counted there.
    `bind` and `unbind` are called with a container when the subsystem is bound to it, and unbound.
    `is_bound` returns whether the subsystem is bound to a container itself. A subsystem without it
    is bound once for each hierarchy.
    `end` is called with each container of the hierarchy when the last binding ends.
    """

    values: Callable[[ModelCgroup], dict[str, int]] = lambda site: {}
    set: Callable[[ModelCgroup, str, int], bool] = lambda site, file, value: False
    bind: Callable[[ModelCgroup], None] = lambda site: None
    unbind: Callable[[ModelCgroup], None] = lambda site: None
    is_bound: Callable[[ModelCgroup], bool] | None = None
    end: Callable[[ModelCgroup], None] = lambda site: None


NO_ENFORCEMENT = Enforcement()


class Alias(NamedTuple):
    """Another name by which a driver reads and writes a file, although no directory has it.

    `file`: the file of the kernel. `row`: how the text of the other name is read and written.
    """

    file: str
    row: ControlFile


class ContainerKind(NamedTuple):
    """How the containers of an interface differ from those of cgroup v1, whatever is bound.

    `shows`: returns whether a container has a file of the tables; without it, `Access` decides.
    `aliases`: other names of files, which the driver of the interface accepts.
    `vet`: asked once for each write of a task id, also if the task is in the container already.
    It gets the container that the task is in, the target, and whether the whole process moves.
    `takes_threads`: returns whether the driver tries to move a single thread into a container
    before it moves the whole process. Without it, a write of `tasks` moves one task.
    `processes`: returns the containers that cgroup.procs of a container covers: it lists a process
    if the first thread is in one of them. Without it, or if it returns none, cgroup.procs lists the
    process of every thread in the container itself.
    `domain`: returns the container to whose processes those of a container belong.
    `stays_counted`: returns whether pids counts a task in the same container before and after a
    move from one container to another. Otherwise, and without it, a moving task counts twice.
    `has`: returns whether a container has a controller; without it, every container has all.
    `on_removed`: called with a container that was removed.
    `on_rebound`: called with the root after the controllers of the tree have changed.
    `kills_frozen`: SIGKILL ends a frozen task at once; otherwise when it is thawed.
    `keeps_zombies`: a zombie is shown in the container that it was in; otherwise in the root.
    """

    shows: Callable[[ModelCgroup, ControlFile], bool] | None = None
    aliases: Mapping[str, Alias] = MappingProxyType({})
    vet: Callable[[ModelCgroup, ModelCgroup, bool], Violation | None] | None = None
    takes_threads: Callable[[ModelCgroup], bool] | None = None
    processes: Callable[[ModelCgroup], Iterable[ModelCgroup]] | None = None
    domain: Callable[[ModelCgroup], ModelCgroup] | None = None
    stays_counted: Callable[[ModelCgroup, ModelCgroup], bool] | None = None
    has: Callable[[ModelCgroup, str], bool] | None = None
    on_removed: Callable[[ModelCgroup], None] | None = None
    on_rebound: Callable[[ModelCgroup], None] | None = None
    kills_frozen: bool = False
    keeps_zombies: bool = False


KIND_OF_V1 = ContainerKind()


class Behaviour(NamedTuple):
    """What the model does for one subsystem, beside storing what is written.

    `files`: for each control file that is more than a stored value, how it is read and written.
    `parameters`: files below /sys/module that belong to the subsystem and hold for the machine.
    `enforcement`: what the model does if pcont provides the subsystem by programs in the kernel.

    Tasks. `fork`: rules that the model asks, in order, before a task forks; the first violation is
    the errno of the fork. `on_fork`: called with the parent's container after a fork succeeded.
    `on_enter`: called with a container after a task was added to it, at a fork too.
    `on_leave`: called with a container after a task has left it or ended.
    `on_run`: called when a task in a container has used a CPU: its number, and nanoseconds of user
    and of system time.
    `frozen`: returns whether the tasks of a container are frozen.
    `cpus`: returns the CPUs on which the tasks of a container may run. `lists`: tasks that move
    together get the CPUs of their new container only if `lists` returns something else for it than
    for the container that the first of them was in; without it, always.
    `account`: returns the charges for a file that a task in a container opens; None: not counted.

    Containers. `on_clone`: called with a parent and its new child that begins with values of the
    parent (cgroup.clone_children). `on_empty`: called with a container, not a root, that has lost
    its last task or child. `on_closed`: called with a container whose last open file was closed.
    `on_rebind`: called with the root in which the subsystem was, and the root that it has now.
    `on_hotplug`: called with each container but the root, parents first, when CPUs or memory nodes
    went offline or online; returns the container to which its tasks move, None if they stay.
    `on_enabled`, `on_disabled`: called with a container for which cgroup v2 has enabled the
    controller, or disabled it.

    `freed`: returns the container in and below which tasks may have other CPUs after a container
    was removed; None if they have the same.

    `kind`: of the core only: how containers differ from those of cgroup v1.
    `not_built`: what the names of files begin with that the simulated kernel is built without.
    `legacy_agent`: set if the subsystem was a file system of its own before cgroups. Its mount has
    bare file names and this release agent, and /proc/PID/NAME shows a task's container.
    """

    files: Mapping[str, FileBehaviour] = MappingProxyType({})
    parameters: tuple[ControlFile, ...] = ()
    enforcement: Enforcement = NO_ENFORCEMENT
    fork: tuple[ForkRule, ...] = ()
    on_fork: Callable[[ModelCgroup], None] | None = None
    on_enter: Callable[[ModelCgroup], None] | None = None
    on_leave: Callable[[ModelCgroup], None] | None = None
    on_run: Callable[[ModelCgroup, int, int, int], None] | None = None
    frozen: Callable[[ModelCgroup], bool] | None = None
    cpus: Callable[[ModelCgroup], Ids] | None = None
    lists: Callable[[ModelCgroup], object] | None = None
    account: Callable[[ModelCgroup], Charges | None] | None = None
    on_clone: Callable[[ModelCgroup, ModelCgroup], None] | None = None
    on_empty: Callable[[ModelCgroup], None] | None = None
    on_closed: Callable[[ModelCgroup], None] | None = None
    on_rebind: Callable[[ModelCgroup, ModelCgroup], None] | None = None
    on_hotplug: Callable[[ModelCgroup], ModelCgroup | None] | None = None
    on_enabled: Callable[[ModelCgroup], None] | None = None
    on_disabled: Callable[[ModelCgroup], None] | None = None
    freed: Callable[[ModelCgroup], ModelCgroup | None] | None = None
    kind: ContainerKind = KIND_OF_V1
    not_built: tuple[str, ...] = ()
    legacy_agent: str = ""


NO_BEHAVIOUR = Behaviour()
