"""seats: a container has so many seats, and who finds none does not enter."""

from __future__ import annotations

from errno import EINVAL, ENOSPC

from pcont.tables.control_file import ControlFile, Subsystem
from pcont.tables.rules import Entry, Site, Violation
from pcont.values import INTEGER, LIMIT

TOTAL, TAKEN = "seats.total", "seats.taken"


def taken(site: Site) -> int:
    """Whoever is inside has a seat."""
    return len(site.value("tasks").split())


def at_least_as_many_as_taken(now: Site, wanted: Site) -> Violation | None:
    """Nobody loses his seat."""
    total = wanted.value(TOTAL)
    if total is None or total >= taken(now):
        return None
    return Violation(EINVAL, f"{taken(now)} seats are taken", "let somebody leave first")


def one_is_free(entry: Entry) -> Violation | None:
    """The rule of can_attach(): it is asked before a task enters that is not inside."""
    site = entry.site
    total = site.value(TOTAL)
    if total is None or taken(site) < total:
        return None
    return Violation(ENOSPC, f"all {total} seats of {site.path} are taken", f"set {TOTAL}")


TABLE = Subsystem(
    name="seats",
    help="how many tasks may sit down in a container",
    files=(
        ControlFile(
            TOTAL,
            "how many seats there are, or max",
            LIMIT,
            writable=True,
            default=None,
            rules=(at_least_as_many_as_taken,),
            shown=True,
        ),
        ControlFile(TAKEN, "how many of them are taken", INTEGER, computed=taken),
    ),
    entry=(one_is_free,),
)
