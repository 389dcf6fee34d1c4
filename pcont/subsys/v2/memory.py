"""memory on cgroup v2: its control files.

The kernel's admin-guide/cgroup-v2.rst, section Memory (mm/memcontrol.c).
"""

from __future__ import annotations

import re
from errno import EAGAIN, EINVAL

from pcont.subsys.v2.values import BYTE_LIMIT, KEYED, bytes_meant
from pcont.tables.control_file import Access, Advice, ControlFile, Listed, Subsystem, Undo
from pcont.tables.face import FaceSource, NotServed, Translation
from pcont.tables.rules import Rule, Site, Violation, Where, any_text
from pcont.values import BYTES, INTEGER, NO_LIMIT, SIGNED

MEM_MAX, MEM_CURRENT, MEM_PEAK = "memory.max", "memory.current", "memory.peak"
MEM_EVENTS, SWAP_CURRENT = "memory.events", "memory.swap.current"
RECLAIM, OOM_GROUP = "memory.reclaim", "memory.oom.group"
_TO_RECLAIM = re.compile(
    r"(0[xX][0-9a-fA-F]+|[0-9]+)[KMGTPEkmgtpe]?(\s+swappiness=(1?[0-9]?[0-9]|200|max))?"
)
_BELOW = Access(where=Where.NOT_ON_ROOT)
_SETTING = Access(writable=True, where=Where.NOT_ON_ROOT)


def _limit(word: str, help: str, default: int | None = None, order: int = 50) -> ControlFile:
    return ControlFile(
        f"memory.{word}",
        help,
        BYTE_LIMIT,
        default=default,
        order=order,
        listed=Listed.IF_SET,
        access=_SETTING,
        advice=Advice(strict=True, mend=bytes_meant),
    )


def _switch(word: str, help: str, default: int, access: Access = _SETTING) -> ControlFile:
    file = f"memory.{word}"
    return ControlFile(
        file,
        help,
        SIGNED,
        default=default,
        rules=(_on_or_off(file),),
        listed=Listed.IF_SET,
        access=access,
    )


def _on_or_off(file: str) -> Rule:
    """Return the rule that the value is 0 or 1."""

    def rule(now: Site, wanted: Site) -> Violation | None:
        if wanted.value(file) in (0, 1):
            return None
        return Violation(EINVAL, f"{file} takes 0 or 1")

    return rule


def _peak(word: str, help: str) -> ControlFile:
    """Return the row of a highest usage. A write resets it, for the open file only."""
    return ControlFile(
        f"memory.{word}",
        help,
        INTEGER,
        access=_SETTING._replace(read_as=any_text),
        undo=Undo(lasting=True),
    )


def _as_much_as_asked(now: Site, wanted: Site) -> Violation | None:
    """Explain that not all of the memory to reclaim could be reclaimed."""
    reason = f"only a part could be reclaimed; {MEM_CURRENT} is {now.value(MEM_CURRENT)}"
    return Violation(EAGAIN, reason, sure=False)


def _amount(now: Site, wanted: Site) -> Violation | None:
    """Check that the text is a number of bytes, and perhaps a swappiness."""
    if _TO_RECLAIM.fullmatch(wanted.value(RECLAIM).strip()):
        return None
    reason = f"{RECLAIM} takes a number of bytes, as in 100M, and perhaps swappiness=0 to 200"
    return Violation(EINVAL, reason)


def _events(word: str, help: str) -> ControlFile:
    return ControlFile(f"memory.{word}", help, KEYED, access=_BELOW)


def _number(word: str, help: str) -> ControlFile:
    return ControlFile(f"memory.{word}", help, INTEGER, access=_BELOW)


# The KEYs of cgroup v1


def _limit_of_v1(source: FaceSource) -> str:
    text = source.text(MEM_MAX).strip()
    return f"{NO_LIMIT if text == 'max' else text}\n"


def _to_max(text: str, source: FaceSource) -> list[tuple[str, str]]:
    limit: int = BYTES.parse(text)
    return [(MEM_MAX, "max" if limit >= NO_LIMIT else str(limit))]


_NO_RESET = "cgroup v2 cannot reset it"
_NO_SUM = NotServed(
    "cgroup v2 limits swap apart from memory, and not the sum of both", "memory.swap.max limits it"
)
_NO_KERNEL = NotServed("cgroup v2 counts kernel memory in memory.current, with one limit for all")


def _of(file: str, field: str = "") -> Translation:
    """Return the face of a counter of cgroup v1, which can be reset there."""

    def show(source: FaceSource) -> str:
        text = source.text(file)
        return f"{KEYED.parse(text)[field]}\n" if field else text

    return Translation(file, show, read_only=_NO_RESET)


def _both(source: FaceSource) -> str:
    return f"{int(source.text(MEM_CURRENT)) + int(source.text(SWAP_CURRENT))}\n"


TABLE = Subsystem(
    name="memory",
    help="limits of memory",
    faces={
        "memory.limit_in_bytes": Translation(MEM_MAX, _limit_of_v1, _to_max),
        "memory.usage_in_bytes": _of(MEM_CURRENT),
        "memory.max_usage_in_bytes": _of(MEM_PEAK),
        "memory.failcnt": _of(MEM_EVENTS, "max"),
        "memory.soft_limit_in_bytes": NotServed(
            "cgroup v2 has no soft limit", "memory.high slows down, memory.low protects"
        ),
        "memory.memsw.usage_in_bytes": Translation(SWAP_CURRENT, _both, read_only=_NO_RESET),
        "memory.memsw.limit_in_bytes": _NO_SUM,
        "memory.memsw.max_usage_in_bytes": _NO_SUM,
        "memory.memsw.failcnt": _NO_SUM,
        **{
            f"memory.kmem.{word}": _NO_KERNEL
            for tcp in ("", "tcp.")
            for word in (
                *(f"{tcp}limit_in_bytes", f"{tcp}usage_in_bytes"),
                *(f"{tcp}max_usage_in_bytes", f"{tcp}failcnt"),
            )
        },
        "memory.kmem.slabinfo": _NO_KERNEL,
        "memory.swappiness": NotServed(
            "cgroup v2 has no swappiness by container", "memory.swap.max=0 keeps it from swapping"
        ),
        "memory.oom_control": NotServed(
            "the OOM killer cannot be switched off on cgroup v2",
            f"{OOM_GROUP} lets it kill all tasks, {MEM_EVENTS} counts",
        ),
        "memory.use_hierarchy": NotServed("cgroup v2 always counts the containers below"),
        "memory.move_charge_at_immigrate": NotServed(
            "on cgroup v2, memory stays where it was charged when a task moves"
        ),
        "memory.force_empty": NotServed(
            "cgroup v2 cannot free all memory of a container at once", f"{RECLAIM} frees a number"
        ),
        "memory.pressure_level": NotServed(
            "cgroup v2 has no levels of pressure", "memory.pressure is the file"
        ),
    },
    files=(
        # Protections first: a limit may kill at once.
        _limit("min", "bytes that the kernel never reclaims", 0, order=30),
        _limit("low", "bytes that the kernel reclaims last", 0, order=30),
        _limit("high", "bytes above which tasks are slowed down and memory is reclaimed"),
        _limit("max", "maximum of bytes here and below; above it tasks are killed", order=60),
        _limit("swap.high", "bytes of swap above which tasks are slowed down"),
        _limit("swap.max", "maximum of bytes of swap here and below"),
        _limit("zswap.max", "maximum of bytes of compressed swap in memory"),
        _switch(
            "zswap.writeback",
            "1: compressed swap may be written to the swap device",
            1,
            Access(writable=True),
        ),
        _switch("oom.group", "1: if memory runs out, all tasks here and below are killed", 0),
        _number("current", "bytes in use here and below"),
        _number("swap.current", "bytes of swap in use here and below"),
        _number("zswap.current", "bytes of compressed swap in use"),
        _peak("peak", "maximum of bytes in use so far"),
        _peak("swap.peak", "maximum of bytes of swap in use so far"),
        _events("events", "how often limits were reached here and below, tasks killed"),
        _events("events.local", "how often limits of this container itself were reached"),
        _events("swap.events", "how often limits of swap were reached"),
        ControlFile(
            RECLAIM,
            "a number of bytes to reclaim now",
            rules=(_amount, _as_much_as_asked),
            access=Access(writable=True),
            undo=Undo(lasting=True),
        ),
        ControlFile("memory.stat", "what the memory is used for, in bytes", KEYED),
        ControlFile("memory.numa_stat", "bytes by memory node and use"),
    ),
)
