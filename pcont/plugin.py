"""What another package uses to bring a subsystem to pcont.

Such a package has a `Subsystem`, and names it by an entry point of the group `pcont.subsys`. pcont
then knows it by the name of the entry point: `pcont mount -o NAME`. `examples/seats` is one.

A `Subsystem` has control files (`ControlFile`), whose values pcont stores with each container, and
rules. A rule is a function without side effects that returns None, or a `Violation`: the errno, a
sentence with the facts, and what to do. Rules get a container as a `Site`:

* a rule of a control file gets the site as it is, and as it would be with the new value;
* a rule of `Subsystem.entry` gets an `Entry`: the task, where it is, and the site that it enters;
* a rule of `Subsystem.making` gets the site in which a container is created, and the `Mover`;
* a rule of `Subsystem.removal` gets the site that is removed.

A control file has parts for what only some files need: `Access` (where it exists, whether it can be
written), `Creation` (its value in a new container), `Undo`, `Virtual` (a value that is computed)
and `Advice` (what pcont says about a refused text). `Listed` says when listings show it.

If `VirtualSubsystem.requires` names a controller of the kernel, its `derived_limits` returns what
the files of that controller must read (`Follows`), so that the kernel enforces the values.

The `type` of a control file is a `Codec`: how its text is read and written.
"""

from __future__ import annotations

from pcont.tables.control_file import (
    Access,
    Advice,
    ControlFile,
    Creation,
    Listed,
    Subsystem,
    Undo,
    Virtual,
    VirtualSubsystem,
)
from pcont.tables.rules import (
    Entry,
    EntryRule,
    Fix,
    Follows,
    Machine,
    MakingRule,
    Mover,
    RemovalRule,
    Rule,
    Site,
    Violation,
    Where,
)
from pcont.values import (
    BYTES,
    FLAG,
    ID_LIST,
    INT_FLAG,
    INTEGER,
    LIMIT,
    SIGNED,
    TEXT,
    UNSIGNED,
    WORD,
    Codec,
    Ids,
)

__all__ = [
    "BYTES",
    "FLAG",
    "ID_LIST",
    "INTEGER",
    "INT_FLAG",
    "LIMIT",
    "SIGNED",
    "TEXT",
    "UNSIGNED",
    "WORD",
    "Access",
    "Advice",
    "Codec",
    "ControlFile",
    "Creation",
    "Entry",
    "EntryRule",
    "Fix",
    "Follows",
    "Ids",
    "Listed",
    "Machine",
    "MakingRule",
    "Mover",
    "RemovalRule",
    "Rule",
    "Site",
    "Subsystem",
    "Undo",
    "Violation",
    "Virtual",
    "VirtualSubsystem",
    "Where",
]
