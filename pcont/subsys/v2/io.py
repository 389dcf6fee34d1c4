"""io on cgroup v2: its control files.

The kernel's admin-guide/cgroup-v2.rst, section IO (block/blk-throttle.c, blk-iocost.c,
bfq-cgroup.c, blk-iolatency.c, blk-ioprio.c).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from errno import EINVAL, EOPNOTSUPP, ERANGE

from pcont.subsys import blkio
from pcont.subsys.v2.values import IO_RATES, LATENCIES, Devices
from pcont.tables.control_file import (
    SETTING_BELOW_ROOT,
    Access,
    Advice,
    ControlFile,
    Listed,
    Subsystem,
    Undo,
    line_by_line,
)
from pcont.tables.face import Face, FaceSource, NotServed, Translation
from pcont.tables.rules import Rule, Site, Violation, Where
from pcont.values import TEXT, Codec

IO_MAX, IO_WEIGHT, BFQ_WEIGHT = "io.max", "io.weight", "io.bfq.weight"
IO_CLASS, LATENCY = "io.prio.class", "io.latency"
_LEAST = 2  # the kernel refuses 1, as it does 0
_MEANT = re.compile(rf"({'|'.join(IO_RATES.names)})=(\S+)")

# The files of cgroup v1 for each word of io.max.
THROTTLED = {
    "rbps": "blkio.throttle.read_bps_device",
    "wbps": "blkio.throttle.write_bps_device",
    "riops": "blkio.throttle.read_iops_device",
    "wiops": "blkio.throttle.write_iops_device",
}


def has_numbers(file: str) -> Rule:
    """Return the rule that a line has at least one number besides the device, and none below 2."""

    def rule(now: Site, wanted: Site) -> Violation | None:
        for pairs in wanted.value(file).values():
            if not pairs:
                return Violation(EINVAL, f"the line has no limit; {file} takes {IO_RATES.takes}")
            for word, number in pairs.items():
                if number is not None and number < _LEAST:
                    return Violation(
                        EINVAL if number else ERANGE,
                        f"{word}={number} is no limit that the kernel takes: {_LEAST} is the "
                        "least, and max is no limit",
                    )
        return None

    return rule


def _has_weights(file: str, schedulers: str, hint: str) -> Rule:
    """Return the rule that each named disk has weights. Other disks refuse them."""

    def rule(now: Site, wanted: Site) -> Violation | None:
        found = blkio.devices_in(wanted.value(file))
        if not found:
            return None
        reason = f"{found[0]} has no weights of {file}: {schedulers}"
        return Violation(EOPNOTSUPP, reason, hint.format(device=found[0]), sure=False)

    return rule


def rates_meant(site: Site, text: str) -> str:
    """Return the line for the kernel: `/dev/sda rbps=1M` in numbers; empty if unclear."""
    words = text.split()
    found = [_MEANT.fullmatch(word) for word in words[1:]]
    if not found or not all(found):
        return ""
    line = []
    for match in filter(None, found):
        meant = blkio.rate_meant(site, f"{words[0]} {match[2]}")
        if not meant:
            return ""
        device, number = meant.split()
        line.append(f"{match[1]}={number if int(number) else 'max'}")
    return f"{device} {' '.join(line)}"


def _devices_again(file: str, codec: Codec, words: tuple[str, ...]) -> Undo:
    """Return the Undo of a file with a line for each device: the old lines, and `max` for devices
    that had none.
    """

    def write_back(text: str, now: str) -> list[tuple[str, str]]:
        before: Devices = codec.parse(text)
        there: Devices = codec.parse(now)
        new: Devices = {one: dict.fromkeys(words) for one in there if one not in before}
        return [(file, codec.show({one: pairs})) for one, pairs in {**new, **before}.items()]

    return Undo(write_back=write_back, many=True)


def _weights_again(file: str) -> Undo:
    """Return the Undo of a file of weights: the default first, which some kernels set for every
    device.
    """

    def write_back(text: str, now: str) -> list[tuple[str, str]]:
        before = [line.split()[0] for line in text.splitlines()]
        new = [line.split()[0] for line in now.splitlines() if line.split()[0] not in before]
        return [(file, line) for line in (*(f"{one} default" for one in new), *text.splitlines())]

    return Undo(write_back=write_back, many=True)


def _weight(file: str, help: str, *rules: Rule) -> ControlFile:
    return ControlFile(
        file,
        help,
        blkio.WEIGHTS_BY_DEVICE,
        default="default 100",
        rules=(blkio.on_a_disk(file), *rules),
        listed=Listed.IF_SET,
        access=SETTING_BELOW_ROOT,
        undo=_weights_again(file),
    )


def _of_root(word: str, help: str) -> ControlFile:
    """Return the row of a file that sets up the cost model for the whole machine."""
    file = f"io.cost.{word}"
    return ControlFile(
        file,
        help,
        access=Access(writable=True, where=Where.ROOT),
        undo=line_by_line(file),
    )


# The KEYs of cgroup v1


def _rate_of(
    word: str,
) -> tuple[Callable[[FaceSource], str], Callable[[str, FaceSource], list[tuple[str, str]]]]:
    """Return how one file of blkio.throttle reads and is written by io.max."""

    def show(source: FaceSource) -> str:
        found: Devices = IO_RATES.parse(source.text(IO_MAX))
        return "".join(f"{one} {pairs[word]}\n" for one, pairs in found.items() if pairs[word])

    def write(text: str, source: FaceSource) -> list[tuple[str, str]]:
        lines: dict[str, int] = blkio.RATES.parse(text)
        return [(IO_MAX, f"{one} {word}={number or 'max'}") for one, number in lines.items()]

    return show, write


_COUNTERS = NotServed("cgroup v2 counts I/O in io.stat, in another form", "io.stat is the file")
_NO_WEIGHT = NotServed(
    "weights of cgroup v2 go from 1 to 10000, and need bfq or io.cost",
    f"{IO_WEIGHT} and {BFQ_WEIGHT} are the files",
)

TABLE = Subsystem(
    name="io",
    help="limits and weights of block I/O",
    faces={
        **{file: Translation(IO_MAX, *_rate_of(word)) for word, file in THROTTLED.items()},
        blkio.WEIGHT: _NO_WEIGHT,
        blkio.WEIGHTS: _NO_WEIGHT,
        blkio.CLASS: Face(IO_CLASS),
        blkio.RESET: NotServed("cgroup v2 cannot reset the statistics of I/O"),
        **{
            f"blkio.{policy}.{word}{below}": _COUNTERS
            for policy in ("throttle", "bfq")
            for word in blkio.COUNTERS
            for below in ("", "_recursive")
        },
    },
    files=(
        ControlFile(
            IO_MAX,
            "maximum of bytes and operations per second, for a disk",
            IO_RATES,
            default={},
            rules=(blkio.on_a_disk(IO_MAX), has_numbers(IO_MAX)),
            listed=Listed.IF_SET,
            access=SETTING_BELOW_ROOT,
            undo=_devices_again(IO_MAX, IO_RATES, IO_RATES.names),
            advice=Advice(mend=rates_meant),
        ),
        _weight(
            IO_WEIGHT,
            "weight of I/O, 1 to 10000, where io.cost is on",
            _has_weights(IO_WEIGHT, "io.cost is not on for it", "see io.cost.qos of the root"),
            blkio.a_weight(IO_WEIGHT, 10_000, EINVAL),
        ),
        _weight(
            BFQ_WEIGHT,
            "weight of I/O where the scheduler is bfq, 1 to 1000",
            _has_weights(
                BFQ_WEIGHT,
                "its scheduler is not bfq",
                "modprobe bfq; echo bfq > /sys/dev/block/{device}/queue/scheduler",
            ),
            blkio.a_weight(BFQ_WEIGHT, 1_000, ERANGE),
        ),
        ControlFile(
            LATENCY,
            "target of the latency of I/O in microseconds, for a disk",
            LATENCIES,
            default={},
            rules=(blkio.on_a_disk(LATENCY),),
            listed=Listed.IF_SET,
            access=SETTING_BELOW_ROOT,
            undo=_devices_again(LATENCY, LATENCIES, LATENCIES.names),
        ),
        ControlFile(
            IO_CLASS,
            "how the kernel changes the I/O priorities that tasks ask for",
            TEXT,
            default="no-change",
            rules=(blkio.a_class(IO_CLASS),),
            listed=Listed.IF_SET,
            access=SETTING_BELOW_ROOT,
        ),
        ControlFile("io.stat", "bytes and operations of I/O by device"),
        _of_root("qos", "quality of service of the cost model, by device"),
        _of_root("model", "coefficients of the cost model, by device"),
    ),
)
