"""rdma: limits of the objects that tasks create on RDMA devices, for each device.

The kernel's admin-guide/cgroup-v1/rdma.rst (kernel/cgroup/rdma.c). The patch set of 2006 had no
such subsystem.

The table explains what a kernel refuses; the model has the controller on cgroup v2 only.
"""

from __future__ import annotations

import os
import re
from errno import ENODEV

from pcont.tables.rules import Site, Violation
from pcont.values import Codec

RDMA_MAX, RDMA_CURRENT = "rdma.max", "rdma.current"
_DEVICES = "/sys/class/infiniband"

_LINE = re.compile(r"\s*(\S+)((?:[\s,]+hca_(?:handle|object)=(?:max|[0-9]{1,20}))*)\s*", re.ASCII)


class _Limits:
    """The codec of lines with a device and its limits. A write has one line, and changes the limits
    in it.
    """

    takes = "a device and limits, as in 'mlx5_0 hca_handle=2 hca_object=2000', max for none"

    def parse(self, text: str) -> dict[str, str]:
        found = [_LINE.fullmatch(one) for one in text.splitlines()]
        if not all(found) or not (found or not text.strip()):
            raise ValueError("")
        for match in found:
            for number in re.findall("=([0-9]+)", match[2] if match else ""):
                if int(number) >= 1 << 31:
                    raise ValueError("")
        return {match[1]: match[2].strip() for match in found if match}

    def show(self, value: dict[str, str]) -> str:
        return "\n".join(f"{name} {limits}" for name, limits in value.items())


RDMA_LIMITS: Codec = _Limits()


def on_a_device(now: Site, wanted: Site) -> Violation | None:
    """Check that the RDMA device exists."""
    there = sorted(os.listdir(_DEVICES)) if os.path.isdir(_DEVICES) else []
    for name in wanted.value(RDMA_MAX) or ("",):
        if name not in there:
            known = f"there are: {', '.join(there)}" if there else "there is none"
            return Violation(ENODEV, f"there is no RDMA device {name!r}; {known}")
    return None
