"""The primitive changes that a write to a control file comes to; each can be undone on its own."""

from __future__ import annotations

from typing import NamedTuple

from pcont.kernel.interfaces import Containers, Programs
from pcont.kernel.types import Place


class FileWrite(NamedTuple):
    """One write(2) to a control file of the kernel."""

    place: Place
    file: str
    text: str

    def apply(self, backend: Containers) -> None:
        """Write the file; OSError as the kernel answers."""
        backend.write(self.place, self.file, self.text)


class AttributeChange(NamedTuple):
    """The text of an attribute of a container; None removes it."""

    place: Place
    name: str
    text: str | None

    def apply(self, backend: Containers) -> None:
        """Set the attribute, unless it has this text."""
        if backend.attributes(self.place).get(self.name) != self.text:
            backend.set_attribute(self.place, self.name, self.text)


class EnforcedValue(NamedTuple):
    """A value that the programs in the kernel enforce for a container."""

    place: Place
    file: str
    value: int

    def apply(self, backend: Programs) -> None:
        """Hand the value to the programs; EOPNOTSUPP where there are none."""
        backend.meter.set(self.place, self.file, self.value)


Change = FileWrite | AttributeChange | EnforcedValue
