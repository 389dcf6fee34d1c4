"""hugetlb: limits of huge pages, of each size that a machine has.

The kernel's admin-guide/cgroup-v1/hugetlb.rst (mm/hugetlb_cgroup.c). The patch set of 2006 had no
such subsystem.

The table explains what a kernel refuses; the model does not have the controller.
"""

from __future__ import annotations

from collections.abc import Iterator
from errno import EBUSY

from pcont.tables import Breach, ControlFile, Rule, Site, Subsystem, any_text
from pcont.values import BYTES, INTEGER, NO_LIMIT, size, size_meant

# Those of all architectures; a machine has two or three of them.
SIZES = (
    *("64KB", "1MB", "2MB", "4MB", "8MB", "16MB", "32MB", "256MB", "512MB"),
    *("1GB", "2GB", "16GB"),
)
ROOT_FIXED = "the root container has no limits: set them below"


def above_usage(limit: str, usage: str) -> Rule:
    """Huge pages that are in use are not taken away."""

    def rule(now: Site, wanted: Site) -> Breach | None:
        if wanted.value(limit) >= now.value(usage):
            return None
        return Breach(
            EBUSY,
            f"{size(now.value(usage))} of huge pages are in use ({usage}), and "
            f"{size(wanted.value(limit))} is less",
            "end or move the tasks that use them first",
        )

    return rule


def _bytes_meant(site: Site, text: str) -> str:
    return size_meant(text)


def _files(page: str) -> Iterator[ControlFile]:
    for prefix, what in ((f"hugetlb.{page}.", "used"), (f"hugetlb.{page}.rsvd.", "reserved")):
        limit, usage = f"{prefix}limit_in_bytes", f"{prefix}usage_in_bytes"
        yield ControlFile(
            limit,
            f"maximum of bytes of pages of {page} that may be {what}",
            BYTES,
            writable=True,
            default=NO_LIMIT,
            root_fixed=ROOT_FIXED,
            rules=(above_usage(limit, usage),),
            strict=True,
            mend=_bytes_meant,
            limit=True,
        )
        yield ControlFile(usage, f"bytes of pages of {page} that are {what}", INTEGER, default=0)
        yield ControlFile(
            f"{prefix}max_usage_in_bytes",
            f"maximum of bytes {what} so far; any write resets it",
            INTEGER,
            writable=True,
            default=0,
            read_as=any_text,
            lasting=True,
        )
        yield ControlFile(
            f"{prefix}failcnt",
            "how often the limit was reached; any write resets it",
            INTEGER,
            writable=True,
            default=0,
            read_as=any_text,
            lasting=True,
        )
    yield ControlFile(f"hugetlb.{page}.numa_stat", "bytes in use by memory node")


TABLE = Subsystem(
    name="hugetlb",
    help="limits of huge pages",
    files=tuple(row for page in SIZES for row in _files(page)),
)
