"""perf_event: perf(1) counts events of the tasks of a container; it has no files of its own.

perf-record(1), option --cgroup. The patch set of 2006 had no such subsystem.

The table only names it; the model does not have the controller.
"""

from __future__ import annotations

from pcont.tables.control_file import Subsystem

TABLE = Subsystem(name="perf_event", help="performance counters by container", files=())
