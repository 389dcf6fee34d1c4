"""numtasks in 2006 (patch semantics, 4): ResGroups' shares of the number of tasks."""

from __future__ import annotations

from pcont.subsys.numtasks import (
    INTERVAL,
    RATE,
    RULES,
    SHARES,
    STATS,
    TOTAL,
    Shares,
    SharesCodec,
)
from pcont.subsys.v1.numtasks import TABLE as TABLE_V1
from pcont.subsys.v2006.values import less_than
from pcont.tables.control_file import ControlFile, Subsystem, Virtual
from pcont.tables.face import Face
from pcont.values import PAGE, TEXT


class _SharesV6(SharesCodec):
    """The same, but that a number ends with its last digit."""

    def parse(self, text: str) -> Shares:
        for word in text.split(","):
            if word.endswith("\n") and not word.startswith("res="):
                raise ValueError(f"{word!r} ends with a newline")
        return super().parse(text)


def _limited(row: ControlFile) -> ControlFile:
    return row._replace(access=row.access._replace(longest=less_than(PAGE)), virtual=Virtual())


TABLE = Subsystem(
    name="numtasks",
    help="shares of the number of tasks",
    # In 2006 these three are parameters of the module.
    faces={file: Face(file.partition(".")[2]) for file in (TOTAL, RATE, INTERVAL)},
    files=(
        _limited(TABLE_V1.by_name[SHARES])._replace(type=_SharesV6(), rules=RULES),
        _limited(TABLE_V1.by_name[STATS])._replace(
            help="the tasks here, and the forks that were refused",
            type=TEXT,
        ),
    ),
)
