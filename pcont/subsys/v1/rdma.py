"""rdma on cgroup v1: its control files."""

from __future__ import annotations

from pcont.subsys.rdma import RDMA_CURRENT, RDMA_LIMITS, RDMA_MAX, on_a_device
from pcont.tables.control_file import Access, ControlFile, Listed, Subsystem, line_by_line
from pcont.tables.rules import Where

TABLE = Subsystem(
    name="rdma",
    help="limits of RDMA resources",
    files=(
        ControlFile(
            RDMA_MAX,
            "maximum of handles and objects, for an RDMA device",
            RDMA_LIMITS,
            default={},
            rules=(on_a_device,),
            listed=Listed.IF_SET,
            access=Access(writable=True, where=Where.NOT_ON_ROOT),
            undo=line_by_line(RDMA_MAX),
        ),
        ControlFile(
            RDMA_CURRENT,
            "handles and objects in use, by RDMA device",
            access=Access(where=Where.NOT_ON_ROOT),
        ),
    ),
)
