"""net_prio: the priority of the packets that a container's tasks send, for each network interface.

The kernel's admin-guide/cgroup-v1/net_prio.rst (net/core/netprio_cgroup.c). The patch set of 2006
had no such subsystem.

The table explains what a kernel refuses; the model does not have the controller.
"""

from __future__ import annotations

import os
import re
from errno import ENODEV

from pcont.tables.rules import Site, Violation
from pcont.values import Codec, modulo

MAP = "net_prio.ifpriomap"

_LINE = re.compile(r"\s*(\S{1,15})\s+([0-9]{1,20})\s*", re.ASCII)


class _Priorities:
    """The codec of lines with a network interface and a priority. A write has one line."""

    takes = "the name of an interface and a number, as in 'eth0 5'"

    def parse(self, text: str) -> dict[str, int]:
        found = {}
        for one in text.splitlines():
            match = _LINE.fullmatch(one)
            if not match or int(match[2]) >= 1 << 32:
                raise ValueError(_as_read(one))
            found[match[1]] = int(match[2])
        return found

    def show(self, value: dict[str, int]) -> str:
        return "\n".join(f"{name} {number}" for name, number in value.items())


def _as_read(text: str) -> str:
    """Return how the kernel reads a number that is followed by other characters, which it
    ignores.
    """
    found = re.match(r"\s*(\S+)\s+([0-9]+)", text, re.ASCII)
    if not found:
        return ""
    return f"the kernel reads {text.strip()!r} as {found[1]} {modulo(found[2], 32)}"


PRIORITIES: Codec = _Priorities()


def on_an_interface(now: Site, wanted: Site) -> Violation | None:
    """Check that the network interface exists."""
    there = sorted(os.listdir("/sys/class/net"))
    for name in wanted.value(MAP):
        if name not in there:
            return Violation(ENODEV, f"there is no interface {name}; there are: {', '.join(there)}")
    return None
