"""What only the model runs for a subsystem: counters, effects of writes, and charges.

A kernel does all this itself. The tables of `subsys` describe files and rules, which every reader
uses; a `Behaviour` makes the model answer as the kernel does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pcont.tables.control_file import ControlFile
from pcont.tables.rules import ModelCgroup, Violation

# Asked before a fork. It may also count the fork, or the refusal.
ForkRule = Callable[[ModelCgroup], "Violation | None"]


class FileBehaviour(NamedTuple):
    """How the model reads and writes one control file.

    `derived` returns the value that a read shows; without it, a read shows what was written.
    `effect` runs after a write has stored its value.
    """

    derived: Callable[[ModelCgroup], Any] | None = None
    effect: Callable[[ModelCgroup], None] | None = None


@dataclass(frozen=True)
class Behaviour:
    """What the model does for one subsystem, beside storing what is written.

    `files`: for each control file that is more than a stored value, how it is read and written.
    `fork`: rules that the model asks, in order, before a task forks; the first violation is the
    errno of the fork. `on_fork`: called with the parent's container after a fork succeeded.
    `on_enter`: called with a container after a task was added to it, at a fork too.
    `on_leave`: called with a container after a task has left it or ended.
    `own_time`: CPU time is charged to the task's own container only, and not to its ancestors.
    `parameters`: files below /sys/module that belong to the subsystem and hold for the machine.
    """

    files: Mapping[str, FileBehaviour] = field(default_factory=dict)
    fork: tuple[ForkRule, ...] = ()
    on_fork: Callable[[ModelCgroup], None] | None = None
    on_enter: Callable[[ModelCgroup], None] | None = None
    on_leave: Callable[[ModelCgroup], None] | None = None
    own_time: bool = False
    parameters: tuple[ControlFile, ...] = ()


NO_BEHAVIOUR = Behaviour()
