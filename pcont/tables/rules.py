"""The types that rules work with: containers, tasks and the machine as a rule sees them, and its
answer. And the rule that several subsystems have.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping
from errno import EINVAL
from typing import Any, Protocol

from pcont.bases import NamedTuple
from pcont.tables.charges import Charges
from pcont.values import TEXT, Codec, Ids


class Machine(NamedTuple):
    """The CPUs and memory nodes of a machine.

    `cpus` and `nodes` are online. `cpu_limit` and `node_limit`: numbers from these on cannot be
    written into lists. `most_cpus` and `node_limit` are limits of the kernel's configuration.
    """

    cpus: Ids
    nodes: Ids
    cpu_limit: int
    node_limit: int = 1024  # MAX_NUMNODES of Debian's kernels
    most_cpus: int = 8192  # NR_CPUS of the same


def a_page(machine: Machine) -> int:
    """Return how many bytes a write may have, for most control files."""
    return 4096


def any_text(machine: Machine) -> Codec:
    """Return the codec of a file that any write resets: every text will do."""
    return TEXT


class Where(enum.Enum):
    """In which containers of a hierarchy a file exists."""

    EVERYWHERE = "everywhere"
    ROOT = "root"
    NOT_ON_ROOT = "not on the root"

    def holds(self, is_root: bool) -> bool:
        """Return whether the root, or another container, has the file."""
        return self is Where.EVERYWHERE or (self is Where.ROOT) == is_root


class Site(Protocol):
    """A container as a rule sees it: its values, its parent and its children."""

    @property
    def path(self) -> str:
        """The container's path in its hierarchy; `/` is the root."""

    @property
    def shown(self) -> str:
        """The container's PLACE, as the user types it, for the sentence of a Violation."""

    @property
    def word(self) -> str:
        """The same PLACE quoted for a shell, for a hint."""

    @property
    def parent(self) -> Site | None:
        """The parent; None for the root."""

    @property
    def machine(self) -> Machine:
        """The machine that the hierarchy is on."""

    def children(self) -> Iterable[Site]:
        """Yield the children."""

    def value(self, file: str) -> Any:
        """Return the value of a control file, read by its codec."""

    def populated(self) -> bool:
        """Return whether a task is in this container or in a descendant."""


class Counted(Site, Protocol):
    """A container with counts that no control file of the kernel shows."""

    @property
    def facts(self) -> Mapping[str, int]:
        """The counts, by SUBSYSTEM.WORD; a count that nothing keeps is missing."""


class ModelCgroup(Counted, Protocol):
    """A container of the model, as a Behaviour sees it."""

    @property
    def parent(self) -> ModelCgroup | None:
        """The parent; None for the root."""

    def children(self) -> Iterable[ModelCgroup]:
        """Yield the children."""

    @property
    def count(self) -> int:
        """The number of tasks in this container and in its descendants."""

    most: int  # the highest `charged` so far

    @property
    def charged(self) -> int:
        """The number of tasks that pids counts: a zombie stays charged to the containers that
        counted it when it exited.
        """

    def charge_no_zombies(self) -> None:
        """Do not count the zombies that are in this container and its descendants now."""

    @property
    def controllers(self) -> tuple[str, ...]:
        """The controllers of the hierarchy, in the kernel's order."""

    @property
    def refused(self) -> int:
        """The number of forks of tasks in this container that a rule has refused."""

    @property
    def facts(self) -> dict[str, int]:
        """The counts; a Behaviour changes its own."""

    def inside(self) -> int:
        """Return the number of tasks in this container itself."""

    def parameter(self, name: str) -> int:
        """Return the value of a subsystem's parameter, which holds for the machine."""

    def now(self) -> int:
        """Return the time in milliseconds."""

    def reach(self, count: int) -> None:
        """Raise `most` to this number of tasks, also if an ancestor refuses the fork then."""

    def refuse(self) -> None:
        """Add one to `refused`."""

    def written(self, file: str) -> Any:
        """Return the value that was written into a file, or its default."""

    def store(self, file: str, value: Any) -> None:
        """Store a value as if it had been written, without rules and effects."""

    def has(self, file: str) -> bool:
        """Return whether the container has a file."""

    def enable(self, controller: str) -> None:
        """Begin to have a controller of cgroup v2."""

    def disable(self, controller: str) -> None:
        """Lose a controller of cgroup v2, with its settings and counts."""

    def upwards(self) -> Iterable[ModelCgroup]:
        """Yield the container itself and its ancestors."""

    def all(self) -> Iterable[ModelCgroup]:
        """Yield the container itself and its descendants, parents first."""

    # CPU time

    times: dict[int, tuple[int, int]]  # by CPU: nanoseconds of user and of system time

    def add_time(self, cpu: int, user: int, system: int) -> None:
        """Add CPU time in nanoseconds to this container alone."""

    # Open files

    charges: Charges  # those charged to this container, and its limits

    # Containers that become empty

    def is_empty(self) -> bool:
        """Return whether there are neither tasks nor containers in it."""

    def run_agent(self) -> None:
        """Run the release agent of the hierarchy, if there is one, for this container."""

    def vanish(self) -> None:
        """Remove this container, although no command asked for it."""


class Proposed(NamedTuple):
    """A site as it would be after one write; every other value is the site's own."""

    now: Site
    file: str
    wanted: Any

    @property
    def path(self) -> str:
        return self.now.path

    @property
    def shown(self) -> str:
        return self.now.shown

    @property
    def word(self) -> str:
        return self.now.word

    @property
    def parent(self) -> Site | None:
        return self.now.parent

    @property
    def machine(self) -> Machine:
        return self.now.machine

    def children(self) -> Iterable[Site]:
        return self.now.children()

    def value(self, file: str) -> Any:
        return self.wanted if file == self.file else self.now.value(file)

    def populated(self) -> bool:
        return self.now.populated()


class Fix(NamedTuple):
    """Settings that would help: control files and values of the container at a path."""

    path: str
    values: tuple[tuple[str, str], ...]


class Violation(NamedTuple):
    """The refusal of a rule: the kernel's errno, a sentence with the facts, and what to do.

    `fixes` are settings that would help, one container after another. They become commands that can
    be pasted, in front of `hint`. If `sure` is False, the rule can say why the kernel refused, but
    not whether it will refuse.
    """

    errno: int
    reason: str
    hint: str = ""
    fixes: tuple[Fix, ...] = ()
    sure: bool = True


class Mover(NamedTuple):
    """The process that moves a task or creates a container; it may move itself.

    `path`: the container that the process is in. `privileged`: it has CAP_SYS_ADMIN.
    """

    task: int
    path: str
    privileged: bool


class Entry(NamedTuple):
    """A task that is about to enter a container, for rules of `Subsystem.entry`.

    `site`: the container, without the task. `origin`: the path of the task's present container.
    """

    site: Site
    task: int
    origin: str
    mover: Mover


# A rule gets the container as it is and as it would be, and returns None or a Violation.
# The model asks the rules before a write, in the order of the table, as the kernel does. On a real
# kernel pcont asks them only after a refusal, to explain it.
Rule = Callable[[Site, Site], "Violation | None"]


def on_or_off(file: str) -> Rule:
    """Return the rule that the value of a file is 0 or 1."""

    def rule(now: Site, wanted: Site) -> Violation | None:
        return None if wanted.value(file) in (0, 1) else Violation(EINVAL, f"{file} takes 0 or 1")

    return rule


EntryRule = Callable[[Entry], "Violation | None"]


RemovalRule = Callable[[Site], "Violation | None"]


# Given the container in which another one is to be made.
MakingRule = Callable[[Site, Mover], "Violation | None"]


class Follows(NamedTuple):
    """The text that a control file of the kernel must have, and the container."""

    site: Site
    file: str
    text: str
