"""rdma on cgroup v2 in the model: the machine has no such device."""

from __future__ import annotations

from errno import ENODEV

from pcont.subsys.rdma import RDMA_CURRENT, RDMA_MAX
from pcont.tables.behaviour import Behaviour, FileBehaviour

BEHAVIOUR = Behaviour(
    files={
        RDMA_MAX: FileBehaviour(refuses=lambda site, wanted: ENODEV, lines=True),
        RDMA_CURRENT: FileBehaviour(derived=lambda site: "", lines=True),
    }
)
