"""net_cls: packets of a container's tasks carry a class, for tc(8) and iptables(8).

The kernel's admin-guide/cgroup-v1/net_cls.rst. The patch set of 2006 had no such subsystem.

The table explains what a kernel refuses; the model does not have the controller.
"""

from __future__ import annotations

import re

from pcont.tables.control_file import ControlFile, Subsystem
from pcont.tables.rules import Site
from pcont.values import Codec, integer


class _ClassId:
    """A number of 32 bits: the kernel drops what is above them."""

    takes = "a number, as in 0x00100001 for the class 10:1 of tc"

    def parse(self, text: str) -> int:
        number = integer(text, 0)
        if number >= 1 << 32:
            raise ValueError(f"the kernel reads {text.strip()} as {number % (1 << 32)}")
        return number

    def show(self, value: int) -> str:
        return str(value)


def _class_meant(site: Site, text: str) -> str:
    """`10:1` is a class as tc writes it, in hexadecimal numbers of 16 bits."""
    found = re.fullmatch("([0-9a-fA-F]{1,4}):([0-9a-fA-F]{0,4})", text.strip())
    return f"0x{int(found[1], 16):04x}{int(found[2] or '0', 16):04x}" if found else ""


CLASS_ID: Codec = _ClassId()

TABLE = Subsystem(
    name="net_cls",
    help="marks packets for traffic control",
    files=(
        ControlFile(
            "net_cls.classid",
            "the class of the packets that the tasks send; 0 is none",
            CLASS_ID,
            writable=True,
            default=0,
            passed_on=True,
            strict=True,
            mend=_class_meant,
            limit=True,
        ),
    ),
)
