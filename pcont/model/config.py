"""The kernel and the machine that a model simulates: settings that all parts of the model share."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field

from pcont.model.dialects import Dialect
from pcont.tables.rules import Machine


@dataclass
class ModelConfig:
    """The settings of a model: the dialect, the machine, the clock, and values for the whole
    machine.

    `clock`: returns seconds. `uid`: the user id of this process in the model. `parameters`: the
    values of the files below /sys/module, by name. `notified`: the release agents that a kernel
    would have run, each with its argument.
    """

    dialect: Dialect
    machine: Machine
    clock: Callable[[], float]
    uid: int = field(default_factory=os.geteuid)
    parameters: dict[str, int] = field(default_factory=dict)
    notified: list[tuple[str, str]] = field(default_factory=list)

    def privileged(self) -> bool:
        """Return whether this process counts as root."""
        return self.uid == 0 or not self.dialect.owners
