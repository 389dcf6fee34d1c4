"""misc: limits of scarce resources of a machine, such as ids for encrypted guests (SEV).

The kernel's admin-guide/cgroup-v1/misc.rst (kernel/cgroup/misc.c). The patch set of 2006 had no
such subsystem.

The table explains what a kernel refuses; the model has the controller on cgroup v2 only.
"""

from __future__ import annotations

import re
from errno import EINVAL

from pcont.tables.rules import Site, Violation
from pcont.values import Codec

MISC_MAX, CAPACITY = "misc.max", "misc.capacity"

_LINE = re.compile(r"(\S+) (max|[0-9]{1,20})\s*", re.ASCII)


class _Limits:
    """The codec of misc.max: lines with a resource and a limit. A write has one line."""

    takes = "a resource and a number or max, as in 'sev 2'"

    def parse(self, text: str) -> dict[str, str]:
        found = [_LINE.fullmatch(one) for one in text.splitlines()]
        if not all(found) or (text and not found):
            raise ValueError("")
        return {match[1]: match[2] for match in found if match}

    def show(self, value: dict[str, str]) -> str:
        return "\n".join(f"{name} {limit}" for name, limit in value.items())


MISC_LIMITS: Codec = _Limits()


def a_resource_of_this_machine(now: Site, wanted: Site) -> Violation | None:
    """Check that misc.capacity of the root lists the resource."""
    top = now
    while top.parent:
        top = top.parent
    there = [one.split()[0] for one in top.value(CAPACITY).splitlines()]
    for name in wanted.value(MISC_MAX) or ("",):
        if name not in there:
            known = f"{CAPACITY} has: {', '.join(there)}" if there else f"{CAPACITY} is empty"
            return Violation(EINVAL, f"this machine has no resource {name!r}; {known}")
    return None
