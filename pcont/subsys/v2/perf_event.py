"""perf_event on cgroup v2: it is enabled in every container, and has no files of its own."""

from __future__ import annotations

from pcont.tables.control_file import Subsystem

TABLE = Subsystem(name="perf_event", help="performance counters by container", files=())
