"""memory: limits of the memory that the tasks of a container and of its descendants use.

The kernel's admin-guide/cgroup-v1/memory.rst; the rules are those of mem_cgroup_resize_max()
(mm/memcontrol-v1.c). The patch set of 2006 had no such subsystem.

The table explains what a kernel refuses; the model has the controller on cgroup v2 only.
"""

from __future__ import annotations

from errno import EBUSY, EINVAL

from pcont.tables.rules import Fix, Rule, Site, Violation
from pcont.values import is_unlimited, size

MEMORY_LIMIT, SWAP_LIMIT = "memory.limit_in_bytes", "memory.memsw.limit_in_bytes"
TCP_LIMIT = "memory.kmem.tcp.limit_in_bytes"
MEMORY_USAGE, SWAP_USAGE = "memory.usage_in_bytes", "memory.memsw.usage_in_bytes"
OOM_CONTROL, SWAPPINESS = "memory.oom_control", "memory.swappiness"
HIERARCHY, MIGRATE = "memory.use_hierarchy", "memory.move_charge_at_immigrate"
_MOST_SWAPPINESS = 200
_BOTH = 3  # of memory.move_charge_at_immigrate


def _said(number: int) -> str:
    return "no limit" if is_unlimited(number) else size(number)


def limits_agree(file: str) -> Rule:
    """Return the rule that the limit of memory is not above that of memory and swap together."""

    def rule(now: Site, wanted: Site) -> Violation | None:
        limit, both = wanted.value(MEMORY_LIMIT), wanted.value(SWAP_LIMIT)
        if limit <= both:
            return None
        both_as_wanted = tuple(
            (one, size(wanted.value(file))) for one in (MEMORY_LIMIT, SWAP_LIMIT)
        )
        swap, memory = "is", "would be"
        if file == SWAP_LIMIT:
            swap, memory = memory, swap
        return Violation(
            EINVAL,
            f"{SWAP_LIMIT} (memory and swap together) {swap} {_said(both)}, and cannot be below "
            f"{MEMORY_LIMIT}, which {memory} {_said(limit)}",
            fixes=(Fix(now.path, both_as_wanted),),
        )

    return rule


def above_memory_in_use(limit: str, usage: str) -> Rule:
    """Return the rule that the limit is not below the memory that the kernel cannot free."""

    def rule(now: Site, wanted: Site) -> Violation | None:
        if wanted.value(limit) > now.value(usage) or not now.value(usage):
            return None
        return Violation(
            EBUSY,
            f"{size(now.value(usage) // 4096 * 4096)} are in use ({usage}), and the kernel could "
            f"not free enough for a limit of {_said(wanted.value(limit))}",
            "end or move tasks first, or add swap: their memory stays in use as it is",
            sure=False,
        )

    return rule


def a_swappiness(now: Site, wanted: Site) -> Violation | None:
    """Check that the swappiness is between 0 and 200 (100 before Linux 5.8)."""
    if wanted.value(SWAPPINESS) <= _MOST_SWAPPINESS:
        return None
    return Violation(EINVAL, f"{SWAPPINESS} is between 0 and {_MOST_SWAPPINESS}")


def an_oom_switch(now: Site, wanted: Site) -> Violation | None:
    """Check that the text is 0 or 1, the first number that memory.oom_control shows."""
    if wanted.value(OOM_CONTROL).strip() in ("0", "1"):
        return None
    return Violation(EINVAL, "1: tasks that run out of memory wait; 0: the kernel kills one")


def always_hierarchical(now: Site, wanted: Site) -> Violation | None:
    """Check that the value is 1: since Linux 5.11 limits always include the descendants."""
    if wanted.value(HIERARCHY) == 1:
        return None
    return Violation(EINVAL, "limits hold for the containers below, too; Linux 5.11 fixed it at 1")


def no_moving_of_charges(now: Site, wanted: Site) -> Violation | None:
    """Check that the value is 0: Linux 6.13 removed the feature. Earlier kernels take two bits."""
    if wanted.value(MIGRATE) == 0:
        return None
    return Violation(
        EINVAL,
        "Linux 6.13 removed moving memory along with tasks, and takes 0 only; before, "
        "1 moves anonymous memory, 2 file mappings, 3 both",
        sure=wanted.value(MIGRATE) > _BOTH,
    )
