"""bc in 2006 (patch semantics, 5): BeanCounters, with one resource, the number of open files.

The root is counted, too; what is charged keeps a container from being removed.
"""

from __future__ import annotations

from pcont.subsys import numfiles
from pcont.subsys.numfiles import BARRIER, FAILCNT, FILES_LIMIT, HELD, MAXHELD, MINHELD, MOST_FILES
from pcont.subsys.v1.numfiles import TABLE as TABLE_V1
from pcont.subsys.v2006.values import DECIMAL, less_than
from pcont.tables.control_file import Access, ControlFile, Creation, Subsystem
from pcont.tables.rules import Site, Violation


def _counter(file: str) -> ControlFile:
    help = TABLE_V1.by_name[file].help
    return ControlFile(file, help, DECIMAL)


def _bound(file: str) -> ControlFile:
    row = TABLE_V1.by_name[file]
    return ControlFile(
        file,
        row.help,
        DECIMAL,
        default=row.default,
        rules=row.rules,
        access=Access(writable=True, longest=less_than(64)),
        creation=Creation(root_default=MOST_FILES),
    )


def _all_closed(site: Site) -> Violation | None:
    """Refuse to remove a container that open files are charged to (5.3)."""
    violation = numfiles.all_closed(site)
    return violation._replace(hint="it can be removed when they are closed") if violation else None


TABLE = Subsystem(
    name="bc",
    help="how many files may be open",
    removal=(_all_closed,),
    files=(
        _counter(HELD),
        _counter(MAXHELD),
        _counter(MINHELD),
        _bound(BARRIER),
        _bound(FILES_LIMIT),
        _counter(FAILCNT),
    ),
)
