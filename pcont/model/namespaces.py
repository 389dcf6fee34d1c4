"""Namespaces in the model. It has none, and only stores the names of pins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from errno import EEXIST, ENOENT
from typing import TYPE_CHECKING

from pcont.kernel.paths import join
from pcont.kernel.refusals import refuse
from pcont.kernel.types import NAMESPACES, NamespaceSpec
from pcont.model.config import ModelConfig

if TYPE_CHECKING:
    from pcont.kernel.interfaces import Birth


class ModelNamespaces:
    """Stores the names of pins. Commands run in the namespaces of their caller."""

    def __init__(self, config: ModelConfig) -> None:
        self._config = config

    def namespaces(self) -> tuple[str, ...]:
        """Return the kinds of namespaces that a pin can have."""
        return NAMESPACES

    def separate(self, spec: NamespaceSpec) -> Birth:
        """Return how to start a process in new namespaces: with a plain fork."""
        from pcont.linux.spawn import Plain

        return Plain("the model makes no namespaces: COMMAND has those of its caller")

    def join(self, name: str) -> Birth:
        """Return how to start a process in pinned namespaces: with a plain fork. Raises
        FileNotFoundError for an unknown pin.
        """
        if name not in self._config.pinned:
            refuse(ENOENT, name)
        from pcont.linux.spawn import Plain

        return Plain("the model has no namespaces: COMMAND has those of its caller")

    def pins(self) -> dict[str, dict[str, str]]:
        """Return the pinned namespaces by name and kind."""
        return {
            name: {kind: self.pin_path(name, kind) for kind in sorted(kinds)}
            for name, kinds in sorted(self._config.pinned.items())
        }

    def may_join(self, files: Mapping[str, str]) -> bool:
        """Return True: there is nothing to open."""
        return True

    def pin_path(self, name: str, kind: str = "") -> str:
        """Return the path at which a kernel would have the pin."""
        return join("/run/pcont/ns", f"{name}/{kind}")

    def pin(self, name: str, task: int, kinds: Iterable[str]) -> None:
        """Store the name of a pin. Raises FileExistsError if it exists."""
        if name in self._config.pinned:
            refuse(EEXIST, name)
        self._config.pinned[name] = tuple(kinds)

    def unpin(self, name: str) -> None:
        """Remove the name of a pin. Raises FileNotFoundError if there is none."""
        if self._config.pinned.pop(name, None) is None:
            refuse(ENOENT, name)
