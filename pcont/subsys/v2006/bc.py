"""bc in 2006 (patch semantics, 5): BeanCounters, with one resource, the number of open files.

The root is counted, too; what is charged keeps a container from being removed.
"""

from __future__ import annotations

from dataclasses import replace

from pcont.subsys import numfiles
from pcont.subsys.numfiles import BARRIER, FAILCNT, HELD, LIMIT, MAXHELD, MINHELD, MOST
from pcont.subsys.v2006.values import DECIMAL, less_than
from pcont.tables.control_file import ControlFile, Subsystem
from pcont.tables.rules import Site, Violation


def _counter(file: str) -> ControlFile:
    help = numfiles.TABLE.by_name[file].help
    return ControlFile(file, help, DECIMAL)


def _bound(file: str) -> ControlFile:
    row = numfiles.TABLE.by_name[file]
    return ControlFile(
        file,
        row.help,
        DECIMAL,
        writable=True,
        default=row.default,
        root_default=MOST,
        rules=row.rules,
        longest=less_than(64),
    )


def all_closed(site: Site) -> Violation | None:
    """An open file keeps the container that it is charged to, whoever holds it (5.3)."""
    breach = numfiles.all_closed(site)
    return replace(breach, hint="it can be removed when they are closed") if breach else None


TABLE = Subsystem(
    name="bc",
    help="how many files may be open",
    removal=(all_closed,),
    files=(
        _counter(HELD),
        _counter(MAXHELD),
        _counter(MINHELD),
        _bound(BARRIER),
        _bound(LIMIT),
        _counter(FAILCNT),
    ),
)
