"""hugetlb on cgroup v1: its control files."""

from __future__ import annotations

from collections.abc import Iterator

from pcont.subsys.hugetlb import SIZES, above_pages_in_use
from pcont.tables.control_file import ControlFile, Subsystem
from pcont.tables.limits import ROOT_UNLIMITED, byte_limit, counters


def _files(page: str) -> Iterator[ControlFile]:
    for prefix, noun in ((f"hugetlb.{page}.", "used"), (f"hugetlb.{page}.rsvd.", "reserved")):
        limit, usage = f"{prefix}limit_in_bytes", f"{prefix}usage_in_bytes"
        yield byte_limit(
            limit,
            f"maximum of bytes of pages of {page} that may be {noun}",
            above_pages_in_use(limit, usage),
            root_fixed=ROOT_UNLIMITED,
        )
        yield from counters(prefix, f"bytes of pages of {page} that are {noun}", f"{noun} so far")
    yield ControlFile(f"hugetlb.{page}.numa_stat", "bytes in use by memory node")


TABLE = Subsystem(
    name="hugetlb",
    help="limits of huge pages",
    files=tuple(row for page in SIZES for row in _files(page)),
)
