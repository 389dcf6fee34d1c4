"""The rows of a table: control files, and subsystems with their rules.

A row is a `ControlFile`. It has a few fields that every reader uses, and parts that only some rows
need: `Access`, `Creation`, `Undo`, `Virtual` and `Advice`. A part that a row leaves out has its
defaults, so that a reader can always write `row.undo.lasting`.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping
from errno import EINVAL
from typing import Any

from pcont.bases import NamedTuple
from pcont.tables.face import KeyFace
from pcont.tables.rules import (
    Counted,
    EntryRule,
    Follows,
    Machine,
    MakingRule,
    RemovalRule,
    Rule,
    Site,
    Violation,
    Where,
    a_page,
)
from pcont.values import TEXT, Codec


class Listed(enum.Enum):
    """When `pcont tree` shows a control file beside the container."""

    NEVER = "never"
    ALWAYS = "always"
    IF_SET = "if its value is not the one of a new container"


class Access(NamedTuple):
    """Where a file exists, and which texts can be written.

    `writable`: the file can be written; without it, a write fails with the errno `read_only`.
    `where`: in which containers of a hierarchy the file exists.
    `root_fixed`: why the root container's file cannot be written at all; empty if it can. The
    model refuses such a write with EACCES, and kernels with EACCES or EINVAL.
    `read_only`: the errno with which the model refuses a write to a file that is not writable.
    `read_as`: returns the codec by which the kernel reads what is written, if that depends on the
    machine or is not `ControlFile.type`.
    `longest`: returns how many bytes can be written at once; more are E2BIG in the model.
    `merge`: returns the value to store, given the present value and the written one, if a write
    may leave a part of the value unchanged.
    `end`: the text after the value when the file is read.
    `always`: on cgroup v2, the file exists whether or not the subsystem is enabled.
    """

    writable: bool = False
    where: Where = Where.EVERYWHERE
    root_fixed: str = ""
    read_only: int = EINVAL
    read_as: Callable[[Machine], Codec] | None = None
    longest: Callable[[Machine], int] = a_page
    merge: Callable[[Any, Any], Any] | None = None
    end: str = "\n"
    always: bool = False


# Of a file that every container has but the root.
BELOW_ROOT = Access(where=Where.NOT_ON_ROOT)
SETTING_BELOW_ROOT = Access(writable=True, where=Where.NOT_ON_ROOT)


class Creation(NamedTuple):
    """The value in a new container.

    `root_default`: the value in the root, if it is not `ControlFile.default`.
    `inherit`: `pcont create -i` and `pcont clone` copy the parent's value.
    `passed_on`: the kernel itself gives a new container its parent's value.
    """

    root_default: Any = None
    inherit: bool = False
    passed_on: bool = False


class Undo(NamedTuple):
    """How pcont undoes a write, and what a write changes beside the file.

    `lasting`: a write cannot be undone, because it resets or triggers something.
    `written_to`: the file that shows what was written, if this one shows something else.
    `write_back`: returns the writes, of file and text, that make this file read as before, given
    the text of before and the present one; needed if writing the old text back is not enough.
    `many`: a write changes one entry of several, so that one command may have several values.
    `copied_as`: the attribute in which pcont also stores what it writes, because the kernel removes
    from the value what goes offline.
    `moves_affinity`: a write changes the CPU affinity of the tasks inside.
    """

    lasting: bool = False
    written_to: str = ""
    write_back: Callable[[str, str], list[tuple[str, str]]] | None = None
    many: bool = False
    copied_as: str = ""
    moves_affinity: bool = False


def line_by_line(file: str) -> Undo:
    """Return the Undo of a file of which a write changes one line: pcont writes the old lines, one
    by one.
    """
    return Undo(write_back=lambda text, now: [(file, one) for one in text.splitlines()], many=True)


class Virtual(NamedTuple):
    """How pcont provides a file that the kernel does not have.

    `everywhere`: pcont provides the file in every container, whatever is bound to the hierarchy.
    `computed`: returns the value to show, if it is not the value that was written.
    `stands_for`: the file of a kernel's controller that has the value; this row is only another
    name of it, and exists where that file does.
    `enforced`: the value is held by BPF programs that pcont loads, which count and enforce.
    """

    everywhere: bool = False
    computed: Callable[[Counted], Any] | None = None
    stands_for: str = ""
    enforced: bool = False


class Advice(NamedTuple):
    """What pcont says about a text that the kernel refuses or misreads.

    `strict`: the kernel misreads some texts, so pcont refuses what `ControlFile.type` refuses
    before it asks the kernel.
    `mend`: returns the text that a refused one most likely means, empty if that is not known.
    `larger`: returns the reason to give for a number above all that the machine has.
    `unmet`: returns why the kernel does not do what it accepted, given what the file reads after
    the write; None if it does.
    `foreseen`: returns what files of this container and of others read after the kernel has
    accepted a value, as far as that does not follow from what was written to them. It is asked
    before the write, by dry runs.
    """

    strict: bool = False
    mend: Callable[[Site, str], str] | None = None
    larger: Callable[[Machine], str] | None = None
    unmet: Callable[[Site, str], Violation | None] | None = None
    foreseen: Callable[[Site, Any], Iterable[Follows]] | None = None


class ControlFile(NamedTuple):
    """One control file: a row of a subsystem's table.

    `name`: the KEY by which users name the file: SUBSYSTEM.WORD, or a word alone in the core.
    `help`: what the file is, in 10 to 70 characters, for errors and the JSON schema of `get`.
    `type`: the codec of its text; also decides whether JSON shows a number.
    `default`: the value in a new container, if nothing was written.
    `rules`: the kernel's checks of a write, in its order. The model and dry runs ask them before
    the write, and a refused write is explained by them.
    `order`: the place among several files that one command writes; lower ones are first.
    `listed`: when listings show the file.
    """

    name: str
    help: str
    type: Codec = TEXT
    default: Any = ""
    rules: tuple[Rule, ...] = ()
    order: int = 50
    listed: Listed = Listed.NEVER
    access: Access = Access()
    creation: Creation = Creation()
    undo: Undo = Undo()
    virtual: Virtual = Virtual()
    advice: Advice = Advice()

    def reader(self, machine: Machine) -> Codec:
        """Return the codec by which the kernel reads what is written."""
        return self.access.read_as(machine) if self.access.read_as else self.type

    def merged(self, site: Site, written: Any) -> Any:
        """Return the value to store for a written one. Only `merge` reads the present value."""
        merge = self.access.merge
        return merge(site.value(self.name), written) if merge else written

    def begins(self, is_root: bool) -> Any:
        """Return the value of the root, or of another new container, if nothing was written."""
        root = self.creation.root_default
        return root if is_root and root is not None else self.default


class VirtualSubsystem(NamedTuple):
    """What pcont does for a subsystem that it provides itself, beside keeping its files.

    `requires`: the controller of the kernel that must be bound to the same hierarchy.
    `derived_limits`: returns what that controller's files must read for the values below a root,
    in the order of the writes.
    """

    requires: str = ""
    derived_limits: Callable[[Site], Iterable[Follows]] | None = None


NOT_VIRTUAL = VirtualSubsystem()


class Subsystem:
    """One subsystem that can be bound to a hierarchy, as one interface of a kernel has it.

    `name`: the word of `pcont mount -o`; empty for the core, whose files every container has.
    `help`: what it is for, in a few words, for `pcont subsys`.
    `files`: its control files; `by_name` has them by name.
    `entry`, `making`, `removal`: rules for a task that enters a container, for a container that is
    made, and for one that is removed, beside having no tasks and no children.
    `may_refuse`: the kernel may refuse an attach here, so that pcont attaches here first. It is
    always true with rules in `entry`.
    `faces`: for each KEY whose value is not in a file of that name, where this interface has it.
    `virtual`: what pcont does for a subsystem that the kernel does not have.
    """

    def __init__(
        self,
        name: str,
        help: str,
        files: tuple[ControlFile, ...],
        entry: tuple[EntryRule, ...] = (),
        making: tuple[MakingRule, ...] = (),
        removal: tuple[RemovalRule, ...] = (),
        may_refuse: bool = False,
        faces: Mapping[str, KeyFace] | None = None,
        virtual: VirtualSubsystem = NOT_VIRTUAL,
    ) -> None:
        self.name, self.help, self.files = name, help, files
        self.entry, self.making, self.removal = entry, making, removal
        self.may_refuse = may_refuse or bool(entry)
        self.faces: Mapping[str, KeyFace] = faces or {}
        self.virtual = virtual
        self.by_name = {row.name: row for row in files}

    @property
    def enforced(self) -> bool:
        """Whether BPF programs that pcont loads do the work."""
        return any(row.virtual.enforced for row in self.files)
