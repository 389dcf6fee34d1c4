"""The changes that a write to a control file consists of. Each can be applied and undone alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pcont.bases import NamedTuple
from pcont.kernel.types import Place

if TYPE_CHECKING:
    from pcont.kernel.interfaces import Containers, Programs


class FileWrite(NamedTuple):
    """One write(2) to a control file of the kernel."""

    place: Place
    file: str
    text: str

    def apply(self, backend: Containers) -> None:
        """Write the file. Raises OSError if the kernel refuses."""
        backend.write(self.place, self.file, self.text)


class AttributeChange(NamedTuple):
    """A change of an extended attribute of a container: the new text, or None to remove it."""

    place: Place
    name: str
    text: str | None

    def apply(self, backend: Containers) -> None:
        """Set the attribute, unless it already has this text. Raises OSError."""
        if backend.attributes(self.place).get(self.name) != self.text:
            backend.set_attribute(self.place, self.name, self.text)


class EnforcedValue(NamedTuple):
    """A limit for the eBPF programs that enforce a control file."""

    place: Place
    file: str
    value: int

    def apply(self, backend: Programs) -> None:
        """Set the limit. Raises OSError (EOPNOTSUPP) if no programs are loaded."""
        backend.enforcer.set(self.place, self.file, self.value)


Change = FileWrite | AttributeChange | EnforcedValue
