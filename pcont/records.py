"""What the operations return: facts in base units, and the source of the JSON schema.

`--json` prints the fields as they are. The text beside a field says what it is and its unit;
a tuple lists the words that it can be. `pcont.output.schema` makes the schema of these.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypeGuard

from pcont.bases import NamedTuple

# The value of a control file: a number where the file holds one, else the kernel's text.
Scalar = int | float | str
# What an operation calls with the number of steps that are done, and the number of all steps.
Progress = Callable[[int, int], None]


def is_record(kind: object) -> TypeGuard[type]:
    """Return whether something is a class of this module."""
    return isinstance(kind, type) and kind.__module__ == __name__


def field_names(kind: type) -> list[str]:
    """Return the names of a record's fields in their order."""
    return list(kind.__annotations__)


def as_json(value: Any) -> Any:
    """Return a value as JSON has it: records as objects, also inside of lists and objects.

    Raises TypeError for anything that JSON has no type for.
    """
    if is_record(type(value)):
        return {name: as_json(getattr(value, name)) for name in field_names(type(value))}
    if isinstance(value, list | tuple):
        return [as_json(one) for one in value]
    if isinstance(value, dict):
        return {key: as_json(one) for key, one in value.items()}
    if not (value is None or isinstance(value, str | int | float)):
        raise TypeError(f"{value!r} is not a record")
    return value


class SubsystemRow(NamedTuple):
    """A subsystem of the kernel, or one that pcont provides."""

    name: Annotated[str, "the name that mount -o takes"]
    enabled: Annotated[bool, "false: switched off at boot, or it cannot be used here"]
    bound: Annotated[str | None, "the tree that it is bound to, null where it is free"]
    unified: Annotated[bool, "cgroup v2 has it in use"]
    mounts: Annotated[tuple[str, ...], "the mount points of that tree"]
    help: Annotated[str, "what the subsystem does, or why it cannot be used"]
    hierarchies: Annotated[tuple[str, ...], "the named hierarchies that have it"] = ()


class TreeRow(NamedTuple):
    """A tree of the kernel that is a member of a hierarchy."""

    id: Annotated[str, "the middle field of its line in /proc/PID/cgroup"]
    at: Annotated[str, "the container of the tree that is the hierarchy's root"]
    mounts: Annotated[tuple[str, ...], "mount points, empty where it is active but not mounted"]
    ours: Annotated[bool, "pcont mounted it"]


class HierarchyRow(NamedTuple):
    """An active hierarchy."""

    name: Annotated[str, "the selector that means this hierarchy"]
    subsystems: Annotated[tuple[str, ...], "the subsystems that are bound to it"]
    trees: Annotated[tuple[TreeRow, ...], "its trees, the home first"]
    containers: Annotated[int | None, "how many, the root included; null: cannot be counted"]
    tied: Annotated[bool, "a tie: pcont keeps several trees in step"]
    mounted: Annotated[bool, "each of its trees is mounted"]
    mountpoint: Annotated[str | None, "the first mount point, null where there is none"]


class Mounted(NamedTuple):
    """A hierarchy, and the directory at which it is mounted."""

    hierarchy: Annotated[str, "the selector that means this hierarchy"]
    mountpoint: Annotated[str, "the mount point"]


class Value(NamedTuple):
    """The value of a control file."""

    key: str
    value: Scalar


class TaskRow(NamedTuple):
    """A task in a container."""

    id: Annotated[int, "the id of the task (thread)"]
    pid: Annotated[int, "the id of its process"]
    name: Annotated[str, "the name of the task, as in /proc/PID/comm"]
    state: Annotated[str, "the state letter of ps(1)"]
    user: Annotated[str, "the owner; empty where it cannot be found out"]
    command: Annotated[str, "the command line, or the name where there is none"]
    missing: Annotated[tuple[str, ...], "trees of the hierarchy in which the task is elsewhere"]


class WhereRow(NamedTuple):
    """The position of a task in one hierarchy.

    It is "in" a container, "outside" of the hierarchy's root or of its containers in some tree, or
    "split": in different containers of the hierarchy's trees.
    """

    hierarchy: Annotated[str, "the selector that means this hierarchy"]
    container: Annotated[str | None, "the path of the container, null unless the task is in one"]
    state: Annotated[str, "where the task is", ("in", "outside", "split")]
    paths: Annotated[dict[str, str], "its path in each tree"]
    elsewhere: Annotated[
        dict[str, int], "how many threads of the process are in other containers, by path"
    ]


class ContainerNode(NamedTuple):
    """A container, with those below it."""

    name: Annotated[str, "the last word of the path; of the first node the whole place"]
    path: Annotated[str, "the path in the hierarchy"]
    tasks: Annotated[int, "how many tasks are in the container itself"]
    settings: Annotated[dict[str, Scalar], "the control files that listings show, by key"]
    missing: Annotated[tuple[str, ...], "trees of the hierarchy that lack the container"]
    children: Annotated[tuple[ContainerNode, ...], "the containers directly below"]
    place: Annotated[str, "the container as HIERARCHY:/path"]


class CpuRow(NamedTuple):
    """CPU time that a container and those below it have used."""

    cpu: Annotated[int | None, "the number of the CPU, null: all of them together"]
    load: Annotated[float | None, "percent of one CPU within the window, null: not measured"]
    used: Annotated[int, "nanoseconds, user and system together"]
    user: Annotated[int, "nanoseconds in user space"]
    system: Annotated[int, "nanoseconds in the kernel"]


class UsageRow(NamedTuple):
    """The CPU time of all CPUs together, and what happened at limits of memory.

    `stat` returns it in place of the first CpuRow if the container has memory.
    """

    cpu: Annotated[int | None, "null"]
    load: Annotated[float | None, "as in CpuRow"]
    used: Annotated[int | None, "as in CpuRow; null where the hierarchy has no cpuacct"]
    user: Annotated[int | None, "as in CpuRow; null where the hierarchy has no cpuacct"]
    system: Annotated[int | None, "as in CpuRow; null where the hierarchy has no cpuacct"]
    memory_max: Annotated[int, "how often a limit of memory was reached"]
    oom: Annotated[
        int | None,
        "how often memory ran out at a limit; null on cgroup v1, which does not count it",
    ]
    oom_kill: Annotated[int, "how many tasks the kernel has killed because memory ran out"]


class PinRow(NamedTuple):
    """A pinned namespace."""

    name: Annotated[str, "the name that clone --pin gave it"]
    kind: Annotated[str, "the kind of namespace, as in /proc/PID/ns"]
    file: Annotated[str, "the file that keeps the namespace"]


class BeanRow(NamedTuple):
    """The charges of one resource to a container, as in /proc/user_beancounters."""

    container: Annotated[str, "the container as HIERARCHY:/path"]
    resource: Annotated[str, "numfiles: open files"]
    held: Annotated[int, "how many are charged now"]
    maxheld: Annotated[int, "the maximum number that was charged at one time"]
    barrier: Annotated[int, "how many may be charged"]
    limit: Annotated[int, "how many may be charged to tasks with CAP_SYS_ADMIN"]
    failcnt: Annotated[int, "how often one more was refused"]


class Outcome:
    """How a move went: the numbers of moved and skipped tasks, and how it was done."""

    moved: Annotated[int, "how many tasks were moved"] = 0
    rounds: Annotated[int, "how often pcont looked for tasks that were left"] = 0
    strategy: Annotated[
        str, "whether the tasks were frozen, or moved until none was left", ("freeze", "converge")
    ] = "converge"
    seconds: Annotated[float, "how long it took"] = 0.0
    stragglers: Annotated[int, "how many of these did not exist at the first look"] = 0
    skipped: Annotated[int, "how many kernel threads were skipped, as they cannot be moved"] = 0

    def __init__(
        self,
        moved: int = 0,
        rounds: int = 0,
        strategy: str = "converge",
        seconds: float = 0.0,
        stragglers: int = 0,
        skipped: int = 0,
    ) -> None:
        self.moved, self.rounds, self.strategy = moved, rounds, strategy
        self.seconds, self.stragglers, self.skipped = seconds, stragglers, skipped

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Outcome) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Outcome({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"


class Unbound(NamedTuple):
    """What unbind did."""

    subsystems: Annotated[tuple[str, ...], "the subsystems that were unbound"]
    ceased: Annotated[tuple[str, ...], "the settings that no longer hold, as PLACE KEY=VALUE"]
    lingering: Annotated[tuple[str, ...], "trees that the kernel keeps for a while"]


class Recovered(NamedTuple):
    """The recovery of a command that was killed part-way."""

    command: Annotated[str, "the command line; empty where the journal does not say"]
    outcome: Annotated[
        str,
        "undone: rolled back; finished: completed from its last change on; outdated: the machine "
        "was restarted since; set aside: its damaged journal was renamed; unreadable: that failed",
        ("undone", "finished", "outdated", "set aside", "unreadable"),
    ]
    left: Annotated[
        tuple[str, ...], "what could not be restored; of a damaged journal, the path and the damage"
    ] = ()

    @property
    def sentence(self) -> str:
        """The result as a sentence for the user, without what could not be restored."""
        command = repr(self.command) if self.command else "a command"
        return {
            "undone": f"recovered from a crash of {command}: its changes were rolled back",
            "finished": f"recovered from a crash of {command}: it was completed",
            "outdated": f"{command} was killed before a restart of the machine: nothing to undo",
        }.get(
            self.outcome,
            f"{command} was killed, and its journal is damaged: its changes are not rolled back",
        )


class Notified(NamedTuple):
    """A run of a release agent that the model recorded."""

    agent: Annotated[str, "the program"]
    container: Annotated[str, "the path that it gets as its argument"]


class Collected(NamedTuple):
    """What gc did."""

    done: Annotated[
        str,
        "a container or an attribute was removed, or a setting was restored",
        ("removed", "restored"),
    ]
    what: Annotated[str, "the container as HIERARCHY:/path, the attribute, or the write"]


class Finding(NamedTuple):
    """What doctor found."""

    state: Annotated[str, "how bad it is", ("ok", "note", "problem")]
    subject: Annotated[str, "what it is about"]
    finding: Annotated[str, "the fact"]
    advice: Annotated[str, "what to do about it; empty where there is nothing to do"] = ""


class Started(NamedTuple):
    """A command that run or clone starts: its process is in the container."""

    place: Annotated[str, "the container as HIERARCHY:/path"]
    pid: Annotated[int, "the process, by its id in pcont's pid namespace"]


class Ended(NamedTuple):
    """A command that run or clone waited for."""

    place: Annotated[str, "the container as HIERARCHY:/path"]
    pid: Annotated[int, "the process of the command"]
    status: Annotated[int, "its exit status, 128+N where signal N ended it"]
