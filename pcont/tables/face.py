"""Faces: in which file an interface has the value of a KEY, and in which unit."""

from __future__ import annotations

from pcont.bases import NamedTuple


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
