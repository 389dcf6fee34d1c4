"""net_cls: mark the packets of a container's tasks with a class, for tc(8) and iptables(8).

The kernel's admin-guide/cgroup-v1/net_cls.rst. The patch set of 2006 had no such subsystem.

The table explains what a kernel refuses; the model does not have the controller.
"""

from __future__ import annotations

import re

from pcont.tables.rules import Site
from pcont.values import Codec, integer


class _ClassId:
    """The codec of a 32-bit number. It refuses a larger one, which the kernel would truncate."""

    takes = "a number, as in 0x00100001 for the class 10:1 of tc"

    def parse(self, text: str) -> int:
        number = integer(text, 0)
        if number >= 1 << 32:
            raise ValueError(f"the kernel reads {text.strip()} as {number % (1 << 32)}")
        return number

    def show(self, value: int) -> str:
        return str(value)


def class_meant(site: Site, text: str) -> str:
    """Return the number of a class that is written as in tc, `10:1`; empty for other texts."""
    found = re.fullmatch("([0-9a-fA-F]{1,4}):([0-9a-fA-F]{0,4})", text.strip())
    return f"0x{int(found[1], 16):04x}{int(found[2] or '0', 16):04x}" if found else ""


CLASS_ID: Codec = _ClassId()
