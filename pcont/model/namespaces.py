"""Namespaces in the model: there are none. It only knows the names of those that were pinned."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from errno import EEXIST, ENOENT

from pcont.kernel.interfaces import Birth
from pcont.kernel.paths import join
from pcont.kernel.refusals import refuse
from pcont.kernel.types import NAMESPACES, NamespaceSpec


class ModelNamespaces:
    """The names of pinned namespaces. Commands run in the namespaces of their caller."""

    def __init__(self) -> None:
        self.pinned: dict[str, tuple[str, ...]] = {}

    def namespaces(self) -> tuple[str, ...]:
        """Return the kinds of namespaces."""
        return NAMESPACES

    def separate(self, apart: NamespaceSpec) -> Birth:
        """Return how to start a process: as any other."""
        from pcont.linux.spawn import Plain

        return Plain("the model makes no namespaces: COMMAND has those of its caller")

    def join(self, name: str) -> Birth:
        """Return how to start a process in pinned namespaces: as any other; ENOENT."""
        if name not in self.pinned:
            refuse(ENOENT, name)
        from pcont.linux.spawn import Plain

        return Plain("the model has no namespaces: COMMAND has those of its caller")

    def pins(self) -> dict[str, dict[str, str]]:
        """Return the pinned namespaces by name and kind."""
        return {
            name: {kind: self.pin_path(name, kind) for kind in sorted(kinds)}
            for name, kinds in sorted(self.pinned.items())
        }

    def may_join(self, files: Mapping[str, str]) -> bool:
        """Return True: there is nothing to open."""
        return True

    def pin_path(self, name: str, kind: str = "") -> str:
        """Return the file that would keep a namespace."""
        return join("/run/pcont/ns", f"{name}/{kind}")

    def pin(self, name: str, task: int, kinds: Iterable[str]) -> None:
        """Remember a name; EEXIST."""
        if name in self.pinned:
            refuse(EEXIST, name)
        self.pinned[name] = tuple(kinds)

    def unpin(self, name: str) -> None:
        """Forget a name; ENOENT."""
        if self.pinned.pop(name, None) is None:
            refuse(ENOENT, name)
