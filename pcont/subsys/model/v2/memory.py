"""memory on cgroup v2 in the model: limits are stored, and no memory is charged."""

from __future__ import annotations

from pcont.subsys.v2.memory import MEM_CURRENT, MEM_EVENTS, MEM_PEAK, RECLAIM, SWAP_CURRENT
from pcont.tables.behaviour import Behaviour, FileBehaviour
from pcont.tables.rules import ModelCgroup

# As in Linux 6.12 without VM events for debugging.
_ON_NODES = (
    *("anon", "file", "kernel_stack", "pagetables", "sec_pagetables", "shmem", "file_mapped"),
    *("file_dirty", "file_writeback", "swapcached", "anon_thp", "file_thp", "shmem_thp"),
    *("inactive_anon", "active_anon", "inactive_file", "active_file", "unevictable"),
    *("slab_reclaimable", "slab_unreclaimable"),
)
_WORKINGS = (
    *("workingset_refault_anon", "workingset_refault_file", "workingset_activate_anon"),
    *("workingset_activate_file", "workingset_restore_anon", "workingset_restore_file"),
    *("workingset_nodereclaim", "pgdemote_kswapd", "pgdemote_direct", "pgdemote_khugepaged"),
    "pgpromote_success",
)
_STAT = (
    *("anon", "file", "kernel", "kernel_stack", "pagetables", "sec_pagetables", "percpu", "sock"),
    *("vmalloc", "shmem", "zswap", "zswapped", *_ON_NODES[6:], "slab", *_WORKINGS),
    *("pgscan", "pgsteal", "pgscan_kswapd", "pgscan_direct", "pgscan_khugepaged"),
    *("pgsteal_kswapd", "pgsteal_direct", "pgsteal_khugepaged", "pgfault", "pgmajfault"),
    *("pgrefill", "pgactivate", "pgdeactivate", "pglazyfree", "pglazyfreed", "swpin_zero"),
    *("swpout_zero", "zswpin", "zswpout", "zswpwb", "thp_fault_alloc", "thp_collapse_alloc"),
    *("thp_swpout", "thp_swpout_fallback", "numa_pages_migrated", "numa_pte_updates"),
    "numa_hint_faults",
)
_EVENTS = ("low", "high", "max", "oom", "oom_kill", "oom_group_kill")


def _none(*names: str) -> FileBehaviour:
    """Return the behaviour of a file that has a count under each name."""
    return FileBehaviour(derived=lambda site: dict.fromkeys(names, 0))


def _by_node(site: ModelCgroup) -> str:
    zeros = " ".join(f"N{node}=0" for node in sorted(site.machine.nodes))
    return "\n".join(f"{name} {zeros}" for name in (*_ON_NODES, *_WORKINGS))


_ZERO = FileBehaviour(derived=lambda site: 0)
# A write resets the peak for the open file only.
_PEAK = FileBehaviour(derived=lambda site: 0, write=lambda site, wanted: None)

BEHAVIOUR = Behaviour(
    files={
        **dict.fromkeys((MEM_CURRENT, SWAP_CURRENT, "memory.zswap.current"), _ZERO),
        **dict.fromkeys((MEM_PEAK, "memory.swap.peak"), _PEAK),
        **dict.fromkeys((MEM_EVENTS, "memory.events.local"), _none(*_EVENTS)),
        "memory.swap.events": _none("high", "max", "fail"),
        "memory.stat": _none(*_STAT),
        "memory.numa_stat": FileBehaviour(derived=_by_node),
        RECLAIM: FileBehaviour(write=lambda site, wanted: None, hidden=True),
    },
)
