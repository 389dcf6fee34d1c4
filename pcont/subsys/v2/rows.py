"""Rows of control files that several tables of cgroup v2 share, and the faces of KEYs of cgroup v1
for them.
"""

from __future__ import annotations

from pcont.subsys.v2.values import BYTE_LIMIT, bytes_meant
from pcont.tables.control_file import SETTING_BELOW_ROOT, Advice, ControlFile, Listed
from pcont.tables.face import Face, FaceSource, Translation, read_only_face
from pcont.values import BYTES, NO_LIMIT

NO_RESET = "cgroup v2 cannot reset it"


def max_bytes(file: str, help: str, default: int | None = None, order: int = 50) -> ControlFile:
    """Return the row of a number of bytes, or max. The arguments are as in ControlFile."""
    return ControlFile(
        file,
        help,
        BYTE_LIMIT,
        default=default,
        order=order,
        listed=Listed.IF_SET,
        access=SETTING_BELOW_ROOT,
        advice=Advice(strict=True, mend=bytes_meant),
    )


def limit_in_bytes(file: str) -> Translation:
    """Return the face of a limit of cgroup v1, which has a number in place of max."""

    def show(source: FaceSource) -> str:
        text = source.text(file).strip()
        return f"{NO_LIMIT if text == 'max' else text}\n"

    def write(text: str, source: FaceSource) -> list[tuple[str, str]]:
        limit: int = BYTES.parse(text)
        return [(file, "max" if limit >= NO_LIMIT else str(limit))]

    return Translation(file, show, write)


def counter(file: str, field: str = "") -> Translation:
    """Return the face of a counter of cgroup v1, which can be reset there."""
    return read_only_face(Face(file, field), NO_RESET)
