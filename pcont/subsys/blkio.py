"""blkio: limits and weights of block I/O, device by device.

The kernel's admin-guide/cgroup-v1/blkio-controller.rst (block/blk-throttle.c, bfq-cgroup.c,
blk-ioprio.c). The patch set of 2006 had no such subsystem.

The table explains what a kernel refuses; the model has the controller on cgroup v2 only.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable
from errno import EINVAL, ENODEV, EOPNOTSUPP, ERANGE

from pcont.tables.rules import Rule, Site, Violation
from pcont.values import Codec, size_meant

WEIGHT, WEIGHTS = "blkio.bfq.weight", "blkio.bfq.weight_device"
CLASS, RESET = "blkio.prio.class", "blkio.reset_stats"
_CLASSES = ("no-change", "promote-to-rt", "restrict-to-be", "idle", "none-to-rt")

_LINE = re.compile(r"\s*([0-9]{1,9}:[0-9]{1,9})\s+([0-9]{1,20})\s*", re.ASCII)
_DEVICE = re.compile(r"\s*([0-9]{1,9}:[0-9]{1,9})\s", re.ASCII)
_WEIGHT = re.compile(
    r"\s*(?:default\s+)?([0-9]{1,20})\s*|\s*[0-9]+:[0-9]+\s+(default|[0-9]{1,20})\s*",
    re.ASCII,
)

_Numbers = dict[str, int]


class _Rates:
    """The codec of lines with a device and a number. A write has one line."""

    takes = "MAJOR:MINOR of a disk and a number, as in '8:0 1048576'; 0 removes the limit"

    def parse(self, text: str) -> _Numbers:
        found = [(_LINE.fullmatch(one), one) for one in text.splitlines()]
        wrong = next((one for match, one in found if not match), None)
        if wrong is not None:
            raise ValueError(_as_read(wrong))
        return {match[1]: int(match[2]) for match, _ in found if match}

    def show(self, value: _Numbers) -> str:
        return "\n".join(f"{device} {number}" for device, number in value.items())


def _as_read(text: str) -> str:
    """Return how the kernel reads a number that is followed by other characters, which it
    ignores.
    """
    found = re.match(r"(\s*[0-9]+:[0-9]+\s+)([0-9]+)", text, re.ASCII)
    return f"the kernel reads {text.strip()!r} as {found[0].strip()}" if found else ""


class _Weights:
    """The codec of blkio.bfq.weight_device: lines with `default` or a device, and a weight."""

    takes = "default and a weight, or MAJOR:MINOR and a weight or default, as in '8:0 500'"

    def parse(self, text: str) -> str:
        for one in text.splitlines() or [text]:
            if not _WEIGHT.fullmatch(one):
                raise ValueError("")
        return text

    def show(self, value: str) -> str:
        return value


# What is counted for each device, by the policies `throttle` and `bfq`.
COUNTERS = {
    "io_service_bytes": "bytes of I/O by device and kind",
    "io_serviced": "operations of I/O by device and kind",
    "io_service_time": "nanoseconds of service by device and kind",
    "io_wait_time": "nanoseconds in the queue by device and kind",
    "io_merged": "requests that were merged by device and kind",
    "io_queued": "requests in the queue by device and kind",
}
RATES: Codec = _Rates()
WEIGHTS_BY_DEVICE: Codec = _Weights()


def _device_of(text: str) -> str:
    found = _DEVICE.match(f"{text} ")
    return found[1] if found else ""


def on_a_disk(file: str) -> Rule:
    """Return the rule that a limit names an existing whole disk, not a partition."""

    def rule(now: Site, wanted: Site) -> Violation | None:
        for device in devices_in(wanted.value(file)):
            if not os.path.exists(f"/sys/dev/block/{device}"):
                reason = f"there is no block device {device}"
            elif os.path.exists(f"/sys/dev/block/{device}/partition"):
                disk = _read(f"/sys/dev/block/{device}/../dev")
                reason = f"{device} is a partition, and limits are those of the disk, {disk}"
            else:
                continue
            return Violation(ENODEV, reason, "lsblk -d -o NAME,MAJ:MIN lists the disks")
        return None

    return rule


def devices_in(value: Iterable[str] | str) -> list[str]:
    """Return the devices that a value names: a text of lines that begin with one, or a mapping by
    device.
    """
    if isinstance(value, str):
        return [device for one in value.splitlines() if (device := _device_of(one))]
    return list(value)


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii") as stream:
            return stream.read().strip()
    except OSError:
        return "which has another number"


def a_weight(file: str, most: int = 1000, refused: int = ERANGE) -> Rule:
    """Return the rule that a weight is between 1 and `most`. `refused`: the kernel's errno."""

    def rule(now: Site, wanted: Site) -> Violation | None:
        value = wanted.value(file)
        words = [str(value)] if isinstance(value, int) else re.findall(r"\S+$", value, re.MULTILINE)
        if all(word == "default" or 1 <= int(word) <= most for word in words):
            return None
        return Violation(refused, f"a weight is between 1 and {most}; 100 is the default")

    return rule


def with_bfq(now: Site, wanted: Site) -> Violation | None:
    """Check that the scheduler of each named disk is bfq: no other scheduler has weights."""
    for device in devices_in(wanted.value(WEIGHTS)):
        scheduler = f"/sys/dev/block/{device}/queue/scheduler"
        if "[bfq]" not in _read(scheduler):
            reason = f"the scheduler of {device} is not bfq, and only bfq has weights"
            return Violation(EOPNOTSUPP, reason, f"modprobe bfq; echo bfq > {scheduler}")
    return None


def a_class(file: str) -> Rule:
    """Return the rule that the I/O priority policy is one of the kernel's names."""

    def rule(now: Site, wanted: Site) -> Violation | None:
        if wanted.value(file).strip() in _CLASSES:
            return None
        return Violation(EINVAL, f"a policy is one of {', '.join(_CLASSES)}")

    return rule


def rate_meant(site: Site, text: str) -> str:
    """Return the line for the kernel: `/dev/sda 1M` in numbers, `max` as 0; empty if unclear."""
    words = text.split(None, 1)
    device = _number_of(words[0]) if words else ""
    if not device or len(words) < 2:
        return ""
    size = size_meant(words[1])
    bytes = int(size[:-1] if size[-1:].isalpha() else size or 0)
    power = "KMGTPE".find(size[-1:]) + 1 if size[-1:].isalpha() else 0
    return f"{device} {0 if bytes < 0 else bytes << 10 * power}" if size else ""


def _number_of(word: str) -> str:
    if re.fullmatch("[0-9]+:[0-9]+", word):
        return word
    try:
        found = os.stat(os.path.join("/dev", word))
    except (OSError, ValueError):
        return ""
    number = f"{os.major(found.st_rdev)}:{os.minor(found.st_rdev)}"
    return number if stat.S_ISBLK(found.st_mode) else ""
