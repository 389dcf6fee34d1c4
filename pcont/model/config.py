"""The kernel and the machine that a model simulates: settings that all parts of the model share."""

from __future__ import annotations

import os
from collections.abc import Callable

from pcont.model.dialects import Dialect
from pcont.tables.rules import Machine


class ModelConfig:
    """The settings of a model: the dialect, the machine, the clock, and values for the whole
    machine.

    `clock`: returns seconds. `uid`: the user id of this process in the model. `parameters`: the
    values of the files below /sys/module, by name. `notified`: the release agents that a kernel
    would have run, each with its argument, by number. `directories`: those that exist in the model
    only. `pinned`: the kinds of the pinned namespaces, by the name of the pin.
    """

    __slots__ = (
        *("clock", "dialect", "directories", "machine", "notified", "parameters", "pinned", "uid"),
    )

    def __init__(self, dialect: Dialect, machine: Machine, clock: Callable[[], float]) -> None:
        self.dialect, self.machine, self.clock = dialect, machine, clock
        self.uid = os.geteuid()
        self.parameters: dict[str, int] = {}
        self.notified: dict[int, tuple[str, str]] = {}
        self.directories: set[str] = set()
        self.pinned: dict[str, tuple[str, ...]] = {}

    def parameter(self, name: str) -> int:
        """Return the value of a parameter. Raises KeyError if there is none of this name."""
        if name not in self.parameters:
            rows = self.dialect.behaviour(name.partition(".")[0]).parameters
            self.parameters |= {row.name: row.default for row in rows}
        return self.parameters[name]

    def notify(self, agent: str, path: str) -> None:
        """Record that a kernel would have run a release agent."""
        self.notified[len(self.notified)] = (agent, path)

    def privileged(self) -> bool:
        """Return whether this process counts as root."""
        return self.uid == 0 or not self.dialect.owners
