"""Parameters of controllers: files below /sys/module, with one value for the whole machine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from errno import EINVAL, ENOENT

from pcont.bases import NamedTuple
from pcont.kernel.refusals import refuse, refuse_text
from pcont.model.cgroups import Node
from pcont.model.config import ModelConfig
from pcont.model.hierarchies import Hierarchies
from pcont.model.placement import TaskPlacement
from pcont.tables.control_file import ControlFile
from pcont.tables.rules import Machine, Proposed


class ParameterSite(NamedTuple):
    """The parameters as a rule sees them. The value `tasks` is the number of all tasks."""

    root: Node
    values: Mapping[str, int]

    @property
    def path(self) -> str:
        return self.root.path

    @property
    def shown(self) -> str:
        return self.path

    @property
    def word(self) -> str:
        return self.path

    @property
    def parent(self) -> None:
        return None

    @property
    def machine(self) -> Machine:
        return self.root.machine

    def children(self) -> Iterable[Node]:
        return ()

    def value(self, file: str) -> int:
        return self.values[file]

    def populated(self) -> bool:
        return self.root.populated()


class Parameters:
    """Reads and writes the parameters."""

    def __init__(
        self, config: ModelConfig, hierarchies: Hierarchies, placement: TaskPlacement
    ) -> None:
        self._config, self._hierarchies, self._placement = config, hierarchies, placement
        config.parameters = {row.name: row.default for row in self._rows()} | config.parameters

    def _rows(self) -> Iterable[ControlFile]:
        return (row for one in self._hierarchies.unbound.behaviours for row in one.parameters)

    def module(self, name: str, text: str | None = None) -> str:
        """Return the text of a parameter. If `text` is given, write that first. Raises OSError
        (ENOENT, EINVAL).
        """
        row = next((row for row in self._rows() if row.name == name), None)
        if row is None:
            refuse(ENOENT, name)
        if text is not None:
            self._write(row, text)
        return str(row.type.show(self._config.parameters[name]))

    def _write(self, row: ControlFile, text: str) -> None:
        subsystem = row.name.partition(".")[0]
        try:
            wanted = row.type.parse(text)
        except ValueError as err:
            refuse_text(EINVAL, row.name, err)
        root = self._hierarchies.holding(subsystem).root
        values = {**self._config.parameters, "tasks": self._placement.count()}
        now = ParameterSite(root, values)
        for rule in row.rules:
            if violation := rule(now, Proposed(now, row.name, wanted)):
                refuse_text(violation.errno, row.name)
        self._config.parameters[row.name] = wanted
        root.run_effect(row.name)
