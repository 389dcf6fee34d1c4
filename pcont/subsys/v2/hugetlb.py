"""hugetlb on cgroup v2: its control files.

The kernel's admin-guide/cgroup-v2.rst, section HugeTLB (mm/hugetlb_cgroup.c).
"""

from __future__ import annotations

from collections.abc import Iterator

from pcont.subsys.hugetlb import SIZES
from pcont.subsys.v2.values import BYTE_LIMIT, KEYED, bytes_meant
from pcont.tables.control_file import Access, Advice, ControlFile, Listed, Subsystem
from pcont.tables.face import FaceSource, NotServed, Translation
from pcont.tables.rules import Where
from pcont.values import BYTES, INTEGER, NO_LIMIT

_BELOW = Access(where=Where.NOT_ON_ROOT)
_NO_RESET = "cgroup v2 cannot reset it"
_NO_PEAK = NotServed("cgroup v2 does not keep the maximum of huge pages in use")


def _files(page: str) -> Iterator[ControlFile]:
    for prefix, noun in ((f"hugetlb.{page}.", "used"), (f"hugetlb.{page}.rsvd.", "reserved")):
        yield ControlFile(
            f"{prefix}max",
            f"maximum of bytes of pages of {page} that may be {noun}",
            BYTE_LIMIT,
            default=None,
            listed=Listed.IF_SET,
            access=Access(writable=True, where=Where.NOT_ON_ROOT),
            advice=Advice(strict=True, mend=bytes_meant),
        )
        yield ControlFile(
            f"{prefix}current", f"bytes of pages of {page} that are {noun}", INTEGER, access=_BELOW
        )
    for word, where in (("events", "here and below"), ("events.local", "of the container itself")):
        help = f"max N: the limit of pages of {page} {where} was reached"
        yield ControlFile(f"hugetlb.{page}.{word}", help, KEYED, access=_BELOW)
    yield ControlFile(f"hugetlb.{page}.numa_stat", "bytes in use by memory node", access=_BELOW)


def _limit(file: str) -> Translation:
    """Return the face of limit_in_bytes."""

    def show(source: FaceSource) -> str:
        text = source.text(file).strip()
        return f"{NO_LIMIT if text == 'max' else text}\n"

    def write(text: str, source: FaceSource) -> list[tuple[str, str]]:
        limit: int = BYTES.parse(text)
        return [(file, "max" if limit >= NO_LIMIT else str(limit))]

    return Translation(file, show, write)


def _counter(file: str, field: str = "") -> Translation:
    def show(source: FaceSource) -> str:
        text = source.text(file)
        return f"{KEYED.parse(text)[field]}\n" if field else text

    return Translation(file, show, read_only=_NO_RESET)


def _faces(page: str) -> Iterator[tuple[str, Translation | NotServed]]:
    for prefix in (f"hugetlb.{page}.", f"hugetlb.{page}.rsvd."):
        yield f"{prefix}limit_in_bytes", _limit(f"{prefix}max")
        yield f"{prefix}usage_in_bytes", _counter(f"{prefix}current")
        yield f"{prefix}max_usage_in_bytes", _NO_PEAK
    yield f"hugetlb.{page}.failcnt", _counter(f"hugetlb.{page}.events", "max")
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
