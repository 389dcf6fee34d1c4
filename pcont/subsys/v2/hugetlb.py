"""hugetlb on cgroup v2: its control files.

The kernel's admin-guide/cgroup-v2.rst, section HugeTLB (mm/hugetlb_cgroup.c).
"""

from __future__ import annotations

from collections.abc import Iterator

from pcont.subsys.hugetlb import SIZES
from pcont.subsys.v2.rows import counter, limit_in_bytes, max_bytes
from pcont.subsys.v2.values import KEYED
from pcont.tables.control_file import BELOW_ROOT, ControlFile, Subsystem
from pcont.tables.face import NotServed, Translation
from pcont.values import INTEGER

_NO_PEAK = NotServed("cgroup v2 does not keep the maximum of huge pages in use")


def _files(page: str) -> Iterator[ControlFile]:
    for prefix, noun in ((f"hugetlb.{page}.", "used"), (f"hugetlb.{page}.rsvd.", "reserved")):
        yield max_bytes(f"{prefix}max", f"maximum of bytes of pages of {page} that may be {noun}")
        yield ControlFile(
            f"{prefix}current",
            f"bytes of pages of {page} that are {noun}",
            INTEGER,
            access=BELOW_ROOT,
        )
    for word, where in (("events", "here and below"), ("events.local", "of the container itself")):
        help = f"max N: the limit of pages of {page} {where} was reached"
        yield ControlFile(f"hugetlb.{page}.{word}", help, KEYED, access=BELOW_ROOT)
    yield ControlFile(f"hugetlb.{page}.numa_stat", "bytes in use by memory node", access=BELOW_ROOT)


def _faces(page: str) -> Iterator[tuple[str, Translation | NotServed]]:
    for prefix in (f"hugetlb.{page}.", f"hugetlb.{page}.rsvd."):
        yield f"{prefix}limit_in_bytes", limit_in_bytes(f"{prefix}max")
        yield f"{prefix}usage_in_bytes", counter(f"{prefix}current")
        yield f"{prefix}max_usage_in_bytes", _NO_PEAK
    yield f"hugetlb.{page}.failcnt", counter(f"hugetlb.{page}.events", "max")
    yield (
        f"hugetlb.{page}.rsvd.failcnt",
        NotServed("cgroup v2 does not count refused reservations"),
    )


TABLE = Subsystem(
    name="hugetlb",
    help="limits of huge pages",
    files=tuple(row for page in SIZES for row in _files(page)),
    faces=dict(face for page in SIZES for face in _faces(page)),
)
