"""What the operations answer: facts in base units; `--json` shows them as they are."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SubsystemRow:
    """A subsystem, the kernel's or kept by pcont; `bound`: to which hierarchy, None where free."""

    name: str
    enabled: bool
    bound: str | None
    unified: bool
    mounts: tuple[str, ...]
    help: str


@dataclass(frozen=True)
class TreeRow:
    """A member of a hierarchy. `mounts` is empty where the tree is active but not mounted."""

    id: str
    at: str
    mounts: tuple[str, ...]
    ours: bool


@dataclass(frozen=True)
class HierarchyRow:
    """A hierarchy. `containers` counts the root, None where it cannot be reached."""

    name: str
    subsystems: tuple[str, ...]
    trees: tuple[TreeRow, ...]
    containers: int | None
    tied: bool
    mounted: bool
    mountpoint: str | None


@dataclass(frozen=True)
class Value:
    """A control file's value: a number where the table says so, else the kernel's text."""

    key: str
    value: int | float | str


@dataclass(frozen=True)
class TaskRow:
    """A task in a container. `missing`: the trees in which it is elsewhere."""

    id: int
    pid: int
    name: str
    state: str
    user: str
    command: str
    missing: tuple[str, ...]


@dataclass(frozen=True)
class WhereRow:
    """Where a task is in one hierarchy.

    `state`: "in" a container; "outside": in a container of some tree that the hierarchy has not;
    "split": in different containers of it. `paths` has the path in each tree, `elsewhere` the
    threads of its process that are in another container, by path.
    """

    hierarchy: str
    container: str | None
    state: str
    paths: dict[str, str]
    elsewhere: dict[str, int]


@dataclass(frozen=True)
class ContainerNode:
    """A container in a listing, with those below it. `missing`: trees where it is not."""

    name: str
    path: str
    tasks: int
    settings: dict[str, str]
    missing: tuple[str, ...]
    children: tuple[ContainerNode, ...]


@dataclass(frozen=True)
class CpuRow:
    """CPU time that was used on one CPU, None for all of them together, in nanoseconds.

    `load`: the percentage of one CPU that was used within the window, None where it is not known.
    """

    cpu: int | None
    load: float | None
    used: int
    user: int
    system: int


@dataclass(frozen=True)
class PinRow:
    """A namespace that is pinned by a name, its kind, and the file that keeps it."""

    name: str
    kind: str
    file: str


@dataclass(frozen=True)
class BeanRow:
    """What is charged to a container of a resource, and what may be: a row of user_beancounters."""

    container: str
    resource: str
    held: int
    maxheld: int
    barrier: int
    limit: int
    failcnt: int


@dataclass
class Outcome:
    """How a move went.

    `strategy`: "freeze", where the tasks stood still meanwhile, or "converge". `rounds`: how often
    it was looked who is left; `stragglers`: how many were moved after the first time.
    """

    moved: int = 0
    rounds: int = 0
    strategy: str = "converge"
    seconds: float = 0.0
    stragglers: int = 0


@dataclass(frozen=True)
class Unbound:
    """What was unbound, which settings hold no more, and what the kernel keeps for a while yet."""

    subsystems: tuple[str, ...]
    ceased: tuple[str, ...]
    lingering: tuple[str, ...]


@dataclass(frozen=True)
class Recovered:
    """What became of a command that died.

    `outcome`: "undone", or "finished" where its last act had begun. `left`: what could not be put
    back.
    """

    command: str
    outcome: str
    left: tuple[str, ...] = ()


@dataclass(frozen=True)
class Notified:
    """A release agent that would have been run, and the container that it was told of."""

    agent: str
    container: str


@dataclass(frozen=True)
class Collected:
    """What `gc` has done: a container was "removed", or something of the kernel's "restored"."""

    done: str
    what: str


@dataclass(frozen=True)
class Finding:
    """What `doctor` found: `state` is "ok", "note" or "problem"."""

    state: str
    subject: str
    finding: str
    advice: str = ""
