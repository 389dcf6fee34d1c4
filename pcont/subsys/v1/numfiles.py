"""numfiles on cgroup v1: its control files."""

from __future__ import annotations

from pcont.subsys.numfiles import (
    BARRIER,
    FAILCNT,
    FILES_LIMIT,
    HELD,
    MAXHELD,
    MINHELD,
    NUMFILES,
    a_number_of_files,
    all_closed,
    barrier_within_limit,
)
from pcont.tables import charges
from pcont.tables.control_file import Access, ControlFile, Listed, Subsystem, Virtual
from pcont.tables.rules import Where
from pcont.values import INTEGER


def _row(file: str, help: str, default: int = 0) -> ControlFile:
    writable = file in (BARRIER, FILES_LIMIT)
    return ControlFile(
        file,
        help,
        INTEGER,
        default=default,
        rules=(a_number_of_files, barrier_within_limit) if writable else (),
        listed=Listed.ALWAYS if file == HELD else Listed.NEVER,
        access=Access(writable=writable, where=Where.NOT_ON_ROOT),
        virtual=Virtual(enforced=True),
    )


TABLE = Subsystem(
    name=NUMFILES,
    help="how many files may be open",
    removal=(all_closed,),
    files=(
        _row(HELD, "the open files that are charged now"),
        _row(MAXHELD, "maximum of open files that were charged at one time"),
        _row(MINHELD, "always 0: minimum of open files that were charged"),
        _row(
            BARRIER, "how many files may be open; one more fails with ENFILE", charges.NEW_BARRIER
        ),
        _row(
            FILES_LIMIT,
            "how many files may be open for a task with CAP_SYS_ADMIN",
            charges.NEW_LIMIT,
        ),
        _row(FAILCNT, "how often an open was refused by the barrier or the limit"),
    ),
)
