"""numfiles: how many open files a container may have, as BeanCounters had it.

The subsystem `bc` of the patch set of 2006 (patch semantics, 5). The kernel has none: programs that
pcont loads into it count and refuse (pcont/bpf). They count open file
descriptions for the container of the task that opened them, until the last task closes them. Unlike
in 2006, the root is not counted: tasks in the root have no limit and cost no time.
"""

from __future__ import annotations

from errno import EBUSY, EINVAL

from pcont.tables.charges import Charges
from pcont.tables.rules import Site, Violation

NUMFILES = "numfiles"
HELD, MAXHELD, MINHELD, BARRIER, FILES_LIMIT, FAILCNT = (
    f"bc.{NUMFILES}.{word}"
    for word in ("held", "maxheld", "minheld", "barrier", "limit", "failcnt")
)
MOST_FILES = (1 << 63) - 1  # LONG_MAX

# Why a file could not be counted, by the name in numfiles.bpf.c: the reason, and what to do.
IN_THE_WAY = {
    "no_owner": (
        "the table of charged files was full",
        "raise fs.file-max, and unbind and bind numfiles: it then makes room for as many",
    ),
    "no_counts": (
        "the table of containers was full",
        "have fewer containers with open files",
    ),
    "moving": (
        "the task was moved again and again during the open",
        "move tasks less often",
    ),
}


def counted(charges: Charges) -> dict[str, int]:
    """Return charges by the names of the control files. minheld is always 0."""
    return {
        HELD: charges.held,
        MAXHELD: charges.maxheld,
        MINHELD: 0,
        BARRIER: charges.barrier,
        FILES_LIMIT: charges.limit,
        FAILCNT: charges.failcnt,
    }


def a_number_of_files(now: Site, wanted: Site) -> Violation | None:
    """Check that barrier and limit are between 0 and LONG_MAX."""
    bad = [
        one
        for one in (wanted.value(BARRIER), wanted.value(FILES_LIMIT))
        if not 0 <= one <= MOST_FILES
    ]
    return Violation(EINVAL, f"{bad[0]} is no number of files: 0 to {MOST_FILES}") if bad else None


def barrier_within_limit(now: Site, wanted: Site) -> Violation | None:
    """Check that the limit of administrators is not below the barrier of other tasks."""
    barrier, limit = wanted.value(BARRIER), wanted.value(FILES_LIMIT)
    if barrier <= limit:
        return None
    return Violation(
        EINVAL,
        f"the barrier {barrier} is above the limit {limit}",
        f"pcont set {now.word} {BARRIER}={barrier} {FILES_LIMIT}={barrier}",
    )


def all_closed(site: Site) -> Violation | None:
    """Refuse to remove a container that open files are charged to (patch semantics, 5.3)."""
    held = site.value(HELD) if site.parent else 0
    if not held:
        return None
    reason = f"{held} open file{'s are' if held > 1 else ' is'} charged to it"
    return Violation(
        EBUSY, reason, f"remove it, and charge them no more: pcont rm --force {site.word}"
    )
