"""blkio on cgroup v1: its control files."""

from __future__ import annotations

from pcont.subsys.blkio import (
    CLASS,
    COUNTERS,
    RATES,
    RESET,
    WEIGHT,
    WEIGHTS,
    WEIGHTS_BY_DEVICE,
    a_class,
    a_weight,
    on_a_disk,
    rate_meant,
    with_bfq,
)
from pcont.tables.control_file import (
    Access,
    Advice,
    ControlFile,
    Listed,
    Subsystem,
    Undo,
    line_by_line,
)
from pcont.tables.rules import Where
from pcont.values import TEXT, UNSIGNED


def _rates_again(file: str, text: str, now: str) -> list[tuple[str, str]]:
    """The lines that were there, and 0 for each device that was not."""
    before, others = RATES.parse(text), RATES.parse(now)
    writes = [f"{device} 0" for device in others if device not in before]
    writes += [f"{device} {number}" for device, number in before.items()]
    return [(file, one) for one in writes]


def _rate(name: str, help: str) -> ControlFile:
    file = f"blkio.throttle.{name}_device"
    return ControlFile(
        file,
        help,
        RATES,
        default={},
        rules=(on_a_disk(file),),
        listed=Listed.IF_SET,
        access=Access(writable=True),
        undo=Undo(write_back=lambda text, now: _rates_again(file, text, now), many=True),
        advice=Advice(strict=True, mend=rate_meant),
    )


def _counters() -> tuple[ControlFile, ...]:
    return tuple(
        ControlFile(f"blkio.{policy}.{word}{below}", f"{help}{', with those below' * bool(below)}")
        for policy in ("throttle", "bfq")
        for word, help in COUNTERS.items()
        for below in ("", "_recursive")
    )


TABLE = Subsystem(
    name="blkio",
    help="limits and weights of block I/O",
    files=(
        _rate("read_bps", "maximum of bytes read per second, for a disk"),
        _rate("write_bps", "maximum of bytes written per second, for a disk"),
        _rate("read_iops", "maximum of reads per second, for a disk"),
        _rate("write_iops", "maximum of writes per second, for a disk"),
        ControlFile(
            # A write forgets the weights of single devices.
            WEIGHT,
            "weight of I/O where the scheduler is bfq, 1 to 1000",
            UNSIGNED,
            default=100,
            rules=(a_weight(WEIGHT),),
            listed=Listed.IF_SET,
            access=Access(writable=True, where=Where.NOT_ON_ROOT),
            undo=Undo(written_to=WEIGHTS),
        ),
        ControlFile(
            WEIGHTS,
            "weight of I/O on single disks where the scheduler is bfq",
            WEIGHTS_BY_DEVICE,
            default="default 100",
            rules=(a_weight(WEIGHTS), with_bfq, on_a_disk(WEIGHTS)),
            access=Access(writable=True, where=Where.NOT_ON_ROOT),
            undo=line_by_line(WEIGHTS),  # the default comes first: it is set for every device
        ),
        ControlFile(
            CLASS,
            "how the kernel changes the I/O priorities that tasks ask for",
            TEXT,
            default="no-change",
            rules=(a_class(CLASS),),
            listed=Listed.IF_SET,
            access=Access(writable=True, where=Where.NOT_ON_ROOT),
        ),
        ControlFile(
            RESET,
            "writing any number resets the statistics",
            UNSIGNED,
            default=0,
            access=Access(writable=True),
            undo=Undo(lasting=True),
        ),
        *_counters(),
    ),
)
