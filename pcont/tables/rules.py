"""The words in which a subsystem is described: control files, their rules, and what a rule sees."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from pcont.tables.charges import Charges
from pcont.values import TEXT, Codec, Ids


@dataclass(frozen=True)
class Machine:
    """The CPUs and memory nodes that are online; numbers from the limits on cannot be written.

    `most_cpus` and `node_limit` are what the kernel was built for.
    """

    cpus: Ids
    nodes: Ids
    cpu_limit: int
    node_limit: int = 1024  # MAX_NUMNODES of Debian's kernels
    most_cpus: int = 8192  # NR_CPUS of the same


def a_page(machine: Machine) -> int:
    """How many bytes a control file takes at the most, where nothing else is said."""
    return 4096


def any_text(machine: Machine) -> Codec:
    """How a file is read that any write resets."""
    return TEXT


class Where(enum.Enum):
    """In which containers of a hierarchy a file exists."""

    EVERYWHERE = "everywhere"
    ROOT = "root"
    NOT_ON_ROOT = "not on the root"

    def holds(self, is_root: bool) -> bool:
        """Whether the file is there, in the root or in another container."""
        return self is Where.EVERYWHERE or (self is Where.ROOT) == is_root


class Site(Protocol):
    """A container as a rule sees it: its values, and the containers around it."""

    @property
    def path(self) -> str:
        """The container's path in its hierarchy; `/` is the root."""

    @property
    def shown(self) -> str:
        """Its PLACE for a reason, as the user would type it."""

    @property
    def word(self) -> str:
        """The same for a hint: one word of a shell."""

    @property
    def parent(self) -> Site | None:
        """The container above, None for the root."""

    @property
    def machine(self) -> Machine:
        """The machine that the hierarchy is on."""

    def children(self) -> Iterable[Site]:
        """The containers directly below."""

    def value(self, file: str) -> Any:
        """The value of a control file, read by its codec."""

    def populated(self) -> bool:
        """Whether a task is in this container or below it."""


class Counted(Site, Protocol):
    """A container in which something is counted that no control file shows by itself."""

    @property
    def facts(self) -> Mapping[str, int]:
        """What is counted here, by the subsystem and a word; what nobody counts is not in it."""


class ModelCgroup(Counted, Protocol):
    """A container of the model, which also knows what was written, and what happened in it."""

    @property
    def parent(self) -> ModelCgroup | None:
        """The container above, None for the root."""

    def children(self) -> Iterable[ModelCgroup]:
        """The containers directly below."""

    @property
    def count(self) -> int:
        """How many tasks are in this container and below it."""

    @property
    def most(self) -> int:
        """The most that there ever were at one time."""

    @property
    def refused(self) -> int:
        """How many forks of tasks in this container were refused."""

    @property
    def facts(self) -> dict[str, int]:
        """What is counted here, which may be changed."""

    def inside(self) -> int:
        """How many tasks are in this container itself."""

    def parameter(self, name: str) -> int:
        """A parameter of a subsystem's, which holds for the whole machine."""

    def now(self) -> int:
        """Milliseconds of a clock that does not stand still."""

    def reach(self, count: int) -> None:
        """So many tasks there are, or would have been but for a refusal further up."""

    def refuse(self) -> None:
        """A fork was refused here."""

    def written(self, file: str) -> Any:
        """Return the value that was written into a file, or its default."""

    def store(self, file: str, value: Any) -> None:
        """Store a value as if it had been written, without rules and effects."""

    def upwards(self) -> Iterable[ModelCgroup]:
        """Yield the container itself and its ancestors."""

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


@dataclass(frozen=True)
class Proposed:
    """A site as it would be with one value changed; everything else is the site's own."""

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


@dataclass(frozen=True)
class Fix:
    """What to set instead: control files and their values, of the container at a path."""

    path: str
    values: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Violation:
    """A rule that is broken: the kernel's errno, the sentence that names the facts, what to do.

    `fixes` are settings that would help, one container after another. They become commands that can
    be pasted, in front of `hint`. If `sure` is False, the rule can say why the kernel refused, but
    not whether it will refuse.
    """

    errno: int
    reason: str
    hint: str = ""
    fixes: tuple[Fix, ...] = ()
    sure: bool = True


@dataclass(frozen=True)
class Mover:
    """The process that moves a task: the writer of `tasks`, which may be the task itself.

    `path`: the container that it is in; `privileged`: whether it has CAP_SYS_ADMIN.
    """

    task: int
    path: str
    privileged: bool


@dataclass(frozen=True)
class Entry:
    """A task that is about to enter a container, as a rule sees it: can_attach() of the patch.

    `site`: the container, without the task. `origin`: the path of the one that the task is in.
    """

    site: Site
    task: int
    origin: str
    mover: Mover


# A rule is given the container as it is and as it is wanted, and answers with what is broken.
# The model asks the rules before it changes anything, in the order of the table, as the kernel
# does. Over real cgroups the kernel alone decides, and the rules are asked afterwards, why.
# What a task must be given to enter, and a container to be removed, is asked of it as it is.
Rule = Callable[[Site, Site], "Violation | None"]


EntryRule = Callable[[Entry], "Violation | None"]


RemovalRule = Callable[[Site], "Violation | None"]


# Given the container in which another one is to be made.
MakingRule = Callable[[Site, Mover], "Violation | None"]


class Follows(NamedTuple):
    """What a file of the kernel's must read, and where."""

    site: Site
    file: str
    text: str
