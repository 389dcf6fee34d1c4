"""Faces: where an interface has the value of a KEY that another interface has in a file of that
name.

A `Face` is a file, or a field of a file, in some unit. A `Translation` computes the value from one
or more files, and says what to write into them. A `NotServed` says why there is no such value.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from pcont.bases import NamedTuple
from pcont.tables.rules import Rule


class Face(NamedTuple):
    """Where one interface of a kernel has the value that users name by a KEY.

    `file`: the control file of that interface. `field`: the first word of the line that has the
    value, for a file of `NAME VALUE` lines; empty if the whole file is the value. `unit`: how many
    units of the KEY one unit of the file is: 1000 for a KEY in nanoseconds and a file in
    microseconds.

    >>> Face("cpu.stat", "usage_usec", 1000).read("usage_usec 12\\nuser_usec 5\\n")
    '12000\\n'
    """

    file: str
    field: str = ""
    unit: int = 1

    def read(self, text: str) -> str:
        """Return the KEY's text, given that of the file. LookupError if it lacks the field."""
        if self.field:
            lines = (line.partition(" ") for line in text.splitlines())
            found = [value for name, _, value in lines if name == self.field]
            if not found:
                raise LookupError(f"{self.file} has no {self.field}")
            text = f"{found[0]}\n"
        return text if self.unit == 1 else f"{int(text) * self.unit}\n"

    def written(self, text: str) -> str:
        """Return the text to write into the file for a KEY's text.

        ValueError if that cannot be written: a field of a file, a text that is no number, or a
        number that is no multiple of the unit.
        """
        if self.field:
            raise ValueError(f"{self.field} of {self.file} can only be read")
        if self.unit == 1:
            return text
        number, rest = divmod(int(text), self.unit)
        if rest:
            raise ValueError(f"{text.strip()} is no multiple of {self.unit}")
        return f"{number}\n"


class FaceSource(Protocol):
    """A container as a Translation reads it."""

    def text(self, file: str) -> str:
        """Return the text of a control file. Raises OSError."""

    def attribute(self, name: str) -> str:
        """Return what pcont has stored with the container; empty if nothing is."""

    def populated(self) -> bool:
        """Return whether a task is in this container or in a descendant."""


class Translation(NamedTuple):
    """How one interface of a kernel has the value that users name by a KEY, in another format.

    `file`: the control file with the value; the container has the KEY if it has this file.
    `show`: returns the KEY's text. `write`: returns the writes for a KEY's text, as pairs of file
    and text, in their order; it raises ValueError for a text that has no meaning here. Without it,
    the KEY can only be read, and `read_only` says why. `rules`: the checks of a value, as in
    ControlFile, if they hold on this interface too. `kept_as`: the attribute in which pcont stores
    what was written, because several texts have the same meaning here; `write` returns its text
    under this name.
    """

    file: str
    show: Callable[[FaceSource], str]
    write: Callable[[str, FaceSource], list[tuple[str, str]]] | None = None
    read_only: str = ""
    rules: tuple[Rule, ...] = ()
    kept_as: str = ""


def read_only_face(face: Face, why: str = "") -> Translation:
    """Return a face of which the KEY can only be read. `why`: as `Translation.read_only`."""
    return Translation(face.file, lambda source: face.read(source.text(face.file)), read_only=why)


class NotServed(NamedTuple):
    """Why one interface of a kernel has nothing that means the same as a KEY.

    `reason`: a sentence. `hint`: what can be used in place of it.
    """

    reason: str
    hint: str = ""


KeyFace = Face | Translation | NotServed


def file_of_face(face: KeyFace | None) -> str:
    """Return the file that has the value of a KEY; empty without a face, and if the interface has
    no such value.
    """
    return face.file if isinstance(face, Face | Translation) else ""
