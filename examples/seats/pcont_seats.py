"""seats: limits how many tasks a container admits; each task in it takes one seat."""

from __future__ import annotations

from errno import EINVAL, ENOSPC

from pcont.plugin import (
    INTEGER,
    LIMIT,
    Access,
    ControlFile,
    Entry,
    Listed,
    Site,
    Subsystem,
    Violation,
    Virtual,
)

TOTAL, TAKEN = "seats.total", "seats.taken"


def taken(site: Site) -> int:
    """Return the number of tasks in a container."""
    return len(site.value("tasks").split())


def at_least_as_many_as_taken(now: Site, proposed: Site) -> Violation | None:
    """Refuse a total that is smaller than the number of tasks inside."""
    total = proposed.value(TOTAL)
    if total is None or total >= taken(now):
        return None
    return Violation(EINVAL, f"{taken(now)} seats are taken", "move tasks out of the container")


def one_is_free(entry: Entry) -> Violation | None:
    """Refuse a task that would enter a full container."""
    site = entry.site
    total = site.value(TOTAL)
    if total is None or taken(site) < total:
        return None
    return Violation(ENOSPC, f"all {total} seats of {site.path} are taken", f"set {TOTAL}")


TABLE = Subsystem(
    name="seats",
    help="how many tasks a container admits",
    files=(
        ControlFile(
            TOTAL,
            "how many seats there are, or max",
            LIMIT,
            default=None,
            rules=(at_least_as_many_as_taken,),
            listed=Listed.ALWAYS,
            access=Access(writable=True),
        ),
        ControlFile(TAKEN, "how many of them are taken", INTEGER, virtual=Virtual(computed=taken)),
    ),
    entry=(one_is_free,),
)
