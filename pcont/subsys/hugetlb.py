"""hugetlb: limits of huge pages, for each page size of the machine.

The kernel's admin-guide/cgroup-v1/hugetlb.rst (mm/hugetlb_cgroup.c). The patch set of 2006 had no
such subsystem.

The table explains what a kernel refuses; the model has the controller on cgroup v2 only.
"""

from __future__ import annotations

from errno import EBUSY

from pcont.tables.rules import Rule, Site, Violation
from pcont.values import size

# The page sizes of all architectures; a machine has two or three of them.
SIZES = (
    *("64KB", "1MB", "2MB", "4MB", "8MB", "16MB", "32MB", "256MB", "512MB"),
    *("1GB", "2GB", "16GB"),
)


def above_pages_in_use(limit: str, usage: str) -> Rule:
    """Return the rule that the limit is not below the huge pages in use."""

    def rule(now: Site, wanted: Site) -> Violation | None:
        if wanted.value(limit) >= now.value(usage):
            return None
        return Violation(
            EBUSY,
            f"{size(now.value(usage))} of huge pages are in use ({usage}), and "
            f"{size(wanted.value(limit))} is less",
            "end or move the tasks that use them first",
        )

    return rule
