"""The rows of a table: control files, and subsystems with their rules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from errno import EINVAL
from typing import Any

from pcont.tables.rules import (
    Counted,
    EntryRule,
    Follows,
    Machine,
    MakingRule,
    RemovalRule,
    Rule,
    Site,
    Where,
    a_page,
)
from pcont.values import TEXT, Codec


@dataclass(frozen=True)
class ControlFile:
    """One control file: a row of a subsystem's table.

    `name` is the file's name as cgroup v1 spells it, `v6` the name of 2006 where it was another.
    `order`: among several keys of one `set`, lower ones are written first. `lasting`: a write
    cannot be undone (a reset or a trigger). `inherit`: `create -i` and `clone` copy it.
    `moves_affinity`: a write changes the CPU affinity of the tasks inside. `shown`: listings show
    it. `passed_on`: the kernel gives it to new children.
    `root_fixed`: why the root's cannot be written at all, whatever is written (EACCES in the model;
    EINVAL for the controllers that the model does not have).
    `kept`: every container has it, and not by the kernel: pcont keeps it.
    `joined`: what is meant by a value, given the one that is there. `computed`: in a subsystem that
    pcont keeps, how it comes by a value that is not what was written.
    `told_by`: the file that says what was written, where this one shows something else.
    `told`: the writes, of file and text, that make this file read as it did, given that text and
    what it reads now; needed where writing back the text is not enough.
    `many`: a write changes one entry of several, so that one command may have several values.
    `strict`: the kernel misreads some values that it takes, so pcont refuses what `type` refuses.
    `mend`: the value that a refused text most likely means, empty where that is not known.
    `larger`: what to say of a number that is larger than any that the kernel has there.
    `kept_as`: pcont keeps what it writes as an attribute of this name, too: the kernel takes out of
    the value what goes offline.
    `limit`: listings show it where it is set to something else than a new container has.
    `stands_for`: in a subsystem that pcont keeps, the file of the controller below that has the
    value, and this is only another name of it: it exists where that does.
    `metered`: in a subsystem that pcont keeps, the value is in the hands of programs that pcont has
    in the kernel, which count and enforce.
    `read_as`: how a kernel reads what is written, where that depends on the machine. `longest`: so
    many bytes can be written at the most, and more are E2BIG, whatever they are. `end`: what stands
    behind the value that is read; `read_only`: the errno of a write where there can be none.
    """

    name: str
    help: str
    type: Codec = TEXT
    v6: str = ""
    writable: bool = False
    where: Where = Where.EVERYWHERE
    default: Any = ""
    root_default: Any = None
    root_fixed: str = ""
    rules: tuple[Rule, ...] = ()
    order: int = 50
    lasting: bool = False
    inherit: bool = False
    moves_affinity: bool = False
    passed_on: bool = False
    read_as: Callable[[Machine], Codec] | None = None
    longest: Callable[[Machine], int] = a_page
    end: str = "\n"
    read_only: int = EINVAL
    shown: bool = False
    kept: bool = False
    joined: Callable[[Any, Any], Any] | None = None
    computed: Callable[[Counted], Any] | None = None
    stands_for: str = ""
    metered: bool = False
    told_by: str = ""
    told: Callable[[str, str], list[tuple[str, str]]] | None = None
    many: bool = False
    strict: bool = False
    mend: Callable[[Site, str], str] | None = None
    larger: Callable[[Machine], str] | None = None
    limit: bool = False
    kept_as: str = ""

    def begins(self, is_root: bool) -> Any:
        """The value where nobody has written one: in the root, or in another container."""
        return self.root_default if is_root and self.root_default is not None else self.default


@dataclass(frozen=True)
class Subsystem:
    """What can be bound to a hierarchy: its control files, and who may make and enter containers.

    `may_refuse`: an attach can fail here, so that it is tried here first.
    `removal`: what a container must be like to be removed, beside having no tasks and no children.

    One that pcont keeps itself may stand on a controller of the kernel, `over`, and have rules for
    `making` containers. `follows`: what that controller's files must read for what is kept, given
    the root; the order is that of the writes.
    """

    name: str
    help: str
    files: tuple[ControlFile, ...]
    entry: tuple[EntryRule, ...] = ()
    making: tuple[MakingRule, ...] = ()
    removal: tuple[RemovalRule, ...] = ()
    may_refuse: bool = False
    over: str = ""
    follows: Callable[[Site], Iterable[Follows]] | None = None
    by_name: Mapping[str, ControlFile] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_name", {row.name: row for row in self.files})

    @property
    def metered(self) -> bool:
        """Whether programs of pcont's in the kernel do the work."""
        return any(row.metered for row in self.files)
