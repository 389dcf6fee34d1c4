"""memory on cgroup v1: its control files."""

from __future__ import annotations

from pcont.subsys.memory import (
    HIERARCHY,
    MEMORY_LIMIT,
    MEMORY_USAGE,
    MIGRATE,
    OOM_CONTROL,
    SWAP_LIMIT,
    SWAP_USAGE,
    SWAPPINESS,
    TCP_LIMIT,
    a_swappiness,
    above_memory_in_use,
    always_hierarchical,
    an_oom_switch,
    limits_agree,
    no_moving_of_charges,
)
from pcont.tables.control_file import Access, ControlFile, Creation, Subsystem, Undo
from pcont.tables.limits import ROOT_UNLIMITED, byte_limit, counters
from pcont.values import UNSIGNED


def _counters(prefix: str, noun: str) -> tuple[ControlFile, ...]:
    return counters(prefix, f"bytes of {noun} in use here and below", f"of {noun} so far")


TABLE = Subsystem(
    name="memory",
    help="limits of memory",
    files=(
        byte_limit(
            MEMORY_LIMIT,
            "maximum of memory that tasks may use here and below",
            limits_agree(MEMORY_LIMIT),
            above_memory_in_use(MEMORY_LIMIT, MEMORY_USAGE),
            root_fixed=ROOT_UNLIMITED,
        ),
        byte_limit(
            SWAP_LIMIT,
            "maximum of memory and swap together; never below limit_in_bytes",
            limits_agree(SWAP_LIMIT),
            above_memory_in_use(SWAP_LIMIT, SWAP_USAGE),
            root_fixed=ROOT_UNLIMITED,
        ),
        byte_limit(
            "memory.soft_limit_in_bytes",
            "what memory is reduced to when the machine runs short",
        ),
        byte_limit(
            "memory.kmem.limit_in_bytes",
            "without effect since Linux 6.1: limit_in_bytes counts kernel memory",
            root_fixed=ROOT_UNLIMITED,
            limit=False,
        ),
        byte_limit(
            TCP_LIMIT,
            "maximum of memory for TCP buffers",
            above_memory_in_use(TCP_LIMIT, "memory.kmem.tcp.usage_in_bytes"),
            root_fixed=ROOT_UNLIMITED,
        ),
        *_counters("memory.", "memory"),
        *_counters("memory.memsw.", "memory and swap"),
        *_counters("memory.kmem.", "kernel memory"),
        *_counters("memory.kmem.tcp.", "TCP buffers"),
        ControlFile(
            SWAPPINESS,
            "how readily memory is swapped out, 0 to 200",
            UNSIGNED,
            default=60,
            rules=(a_swappiness,),
            access=Access(writable=True),
            creation=Creation(passed_on=True),
        ),
        ControlFile(
            OOM_CONTROL,
            "1: tasks that run out of memory wait and are not killed",
            default="oom_kill_disable 0\nunder_oom 0\noom_kill 0",
            rules=(an_oom_switch,),
            access=Access(
                writable=True, root_fixed="the root container has no limit to run out of"
            ),
            creation=Creation(passed_on=True),
            undo=Undo(write_back=lambda text, now: [(OOM_CONTROL, text.split()[1])]),
        ),
        ControlFile(
            HIERARCHY,
            "always 1: limits hold for the containers below, too",
            UNSIGNED,
            default=1,
            rules=(always_hierarchical,),
            access=Access(writable=True),
        ),
        ControlFile(
            MIGRATE,
            "what memory moves with a task: 1 anonymous, 2 mapped files, 3 both",
            UNSIGNED,
            default=0,
            rules=(no_moving_of_charges,),
            access=Access(writable=True),
        ),
        ControlFile(
            "memory.force_empty",
            "any write frees what can be freed, such as page cache",
            access=Access(writable=True, root_fixed="the root container cannot be emptied"),
            undo=Undo(lasting=True),
        ),
        ControlFile("memory.stat", "what the memory is used for, in bytes"),
        ControlFile("memory.numa_stat", "pages by memory node"),
        ControlFile("memory.pressure_level", "for cgroup.event_control only"),
        ControlFile("memory.kmem.slabinfo", "always empty since Linux 5.9"),
    ),
)
