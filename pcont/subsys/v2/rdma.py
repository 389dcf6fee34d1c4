"""rdma on cgroup v2: its control files, which are those of cgroup v1.

The kernel's admin-guide/cgroup-v2.rst, section RDMA.
"""

from __future__ import annotations

from pcont.subsys.v1 import rdma

TABLE = rdma.TABLE
