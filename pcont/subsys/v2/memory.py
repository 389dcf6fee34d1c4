"""memory on cgroup v2: its control files.

The kernel's admin-guide/cgroup-v2.rst, section Memory (mm/memcontrol.c).
"""

from __future__ import annotations

import re
from errno import EAGAIN, EINVAL

from pcont.subsys.v2.rows import NO_RESET, counter, limit_in_bytes, max_bytes
from pcont.subsys.v2.values import KEYED
from pcont.tables.control_file import (
    BELOW_ROOT,
    SETTING_BELOW_ROOT,
    Access,
    ControlFile,
    Listed,
    Subsystem,
    Undo,
)
from pcont.tables.face import FaceSource, NotServed, Translation
from pcont.tables.rules import Site, Violation, any_text, on_or_off
from pcont.values import INTEGER, SIGNED, whole_pages

MEM_MAX, MEM_CURRENT, MEM_PEAK = "memory.max", "memory.current", "memory.peak"
MEM_EVENTS, SWAP_CURRENT = "memory.events", "memory.swap.current"
RECLAIM, OOM_GROUP = "memory.reclaim", "memory.oom.group"
_TO_RECLAIM = re.compile(
    r"(0[xX][0-9a-fA-F]+|[0-9]+)[KMGTPEkmgtpe]?(\s+swappiness=(1?[0-9]?[0-9]|200|max))?"
)


def _switch(word: str, help: str, default: int, access: Access = SETTING_BELOW_ROOT) -> ControlFile:
    file = f"memory.{word}"
    return ControlFile(
        file,
        help,
        SIGNED,
        default=default,
        rules=(on_or_off(file),),
        listed=Listed.IF_SET,
        access=access,
    )


def _peak(word: str, help: str) -> ControlFile:
    """Return the row of a highest usage. A write resets it, for the open file only."""
    return ControlFile(
        f"memory.{word}",
        help,
        INTEGER,
        access=SETTING_BELOW_ROOT._replace(read_as=any_text),
        undo=Undo(lasting=True),
    )


def _as_much_as_asked(now: Site, wanted: Site) -> Violation | None:
    """Explain that not all of the memory to reclaim could be reclaimed."""
    if not whole_pages(wanted.value(RECLAIM).split()[0]):
        return None
    reason = f"only a part could be reclaimed; {MEM_CURRENT} is {now.value(MEM_CURRENT)}"
    return Violation(EAGAIN, reason, sure=False)


def _amount(now: Site, wanted: Site) -> Violation | None:
    """Check that the text is a number of bytes, and perhaps a swappiness."""
    if _TO_RECLAIM.fullmatch(wanted.value(RECLAIM).strip()):
        return None
    reason = f"{RECLAIM} takes a number of bytes, as in 100M, and perhaps swappiness=0 to 200"
    return Violation(EINVAL, reason)


def _events(word: str, help: str) -> ControlFile:
    return ControlFile(f"memory.{word}", help, KEYED, access=BELOW_ROOT)


def _number(word: str, help: str) -> ControlFile:
    return ControlFile(f"memory.{word}", help, INTEGER, access=BELOW_ROOT)


# The KEYs of cgroup v1


_NO_SUM = NotServed(
    "cgroup v2 limits swap separately from memory, not the sum of both", "memory.swap.max limits it"
)
_NO_KERNEL = NotServed("cgroup v2 counts kernel memory in memory.current, with one limit for all")


def _both(source: FaceSource) -> str:
    return f"{int(source.text(MEM_CURRENT)) + int(source.text(SWAP_CURRENT))}\n"


TABLE = Subsystem(
    name="memory",
    help="limits of memory",
    faces={
        "memory.limit_in_bytes": limit_in_bytes(MEM_MAX),
        "memory.usage_in_bytes": counter(MEM_CURRENT),
        "memory.max_usage_in_bytes": counter(MEM_PEAK),
        "memory.failcnt": counter(MEM_EVENTS, "max"),
        "memory.soft_limit_in_bytes": NotServed(
            "cgroup v2 has no soft limit", "memory.high slows down, memory.low protects"
        ),
        "memory.memsw.usage_in_bytes": Translation(SWAP_CURRENT, _both, read_only=NO_RESET),
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
        max_bytes("memory.min", "bytes that the kernel never reclaims", 0, order=30),
        max_bytes("memory.low", "bytes that the kernel reclaims last", 0, order=30),
        max_bytes("memory.high", "bytes above which tasks are slowed down and memory is reclaimed"),
        max_bytes(
            "memory.max", "maximum of bytes here and below; above it tasks are killed", order=60
        ),
        max_bytes("memory.swap.high", "bytes of swap above which tasks are slowed down"),
        max_bytes("memory.swap.max", "maximum of bytes of swap here and below"),
        max_bytes("memory.zswap.max", "maximum of bytes of compressed swap in memory"),
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
