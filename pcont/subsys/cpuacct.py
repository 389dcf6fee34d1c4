"""cpuacct: how much CPU time the tasks of a container have used, descendants included.

Nanoseconds, where V6 had milliseconds of the container's own tasks (patch semantics, 3).
`cpuacct.usage` takes only the value 0, which resets it.
"""

from __future__ import annotations

from errno import EINVAL

from pcont.tables.rules import Site, Violation


def only_zero(now: Site, wanted: Site) -> Violation | None:
    """Check that the value is 0: a write can only reset the counter."""
    if wanted.value("cpuacct.usage") != 0:
        return Violation(EINVAL, "the counter takes only 0, which resets it")
    return None
