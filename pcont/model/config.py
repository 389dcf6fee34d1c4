"""The kernel and the machine that a model plays: what all parts of the model share."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field

from pcont.model.dialects import Dialect
from pcont.tables.rules import Machine


@dataclass
class ModelConfig:
    """The dialect, the machine, the clock, and what holds for the machine as a whole.

    `clock` returns seconds. `uid`: the user of this process, as the model sees it. `parameters`:
    the values of the files below /sys/module, by name. `notified`: the release agents that a
    kernel would have run, each with the path that it would have been given.
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
