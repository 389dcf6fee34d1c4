"""memset: which memory nodes the tasks of a container may use, without their CPUs.

V5 of the patch set had split cpuset into two subsystems; V6 dropped that, and the kernel has one
controller (patch semantics, 2.5). So the files of memset are other names of cpuset's files.
Both subsystems are in one hierarchy, or only one of them is bound. If cpuset is not bound, pcont
gives each container the CPUs of its parent.
"""

from __future__ import annotations

MEMSET = "memset"
CPUS_FOLLOW = f"{MEMSET}.cpus_follow"
HALF = (
    *("mems", "effective_mems", "mem_exclusive", "mem_hardwall", "memory_migrate"),
    *("memory_pressure", "memory_pressure_enabled", "memory_spread_page", "memory_spread_slab"),
)
