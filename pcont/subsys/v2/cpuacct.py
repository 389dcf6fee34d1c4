"""cpuacct on cgroup v2: CPU time is counted in every container, and cpu.stat shows it.

The kernel's admin-guide/cgroup-v2.rst, section CPU (kernel/cgroup/rstat.c).
"""

from __future__ import annotations

from pcont.subsys.v2.values import KEYED
from pcont.tables.control_file import Subsystem
from pcont.tables.face import Face, FaceSource, NotServed, Translation, read_only_face

_TICK = 10_000  # microseconds, of the unit in which /proc counts
_BY_CPU = NotServed(
    "cgroup v2 does not count CPU time by CPU",
    "a v1 hierarchy with cpuacct can be mounted beside v2: pcont mount -o cpuacct --name NAME",
)
_NO_RESET = "cgroup v2 cannot reset CPU time"


def _time(field: str) -> Translation:
    """Return a counter in nanoseconds."""
    return read_only_face(Face("cpu.stat", field, 1000), _NO_RESET)


def _ticks(source: FaceSource) -> str:
    found = KEYED.parse(source.text("cpu.stat"))
    user, system = (found[name] // _TICK for name in ("user_usec", "system_usec"))
    return f"user {user}\nsystem {system}\n"


TABLE = Subsystem(
    name="cpuacct",
    help="CPU time used, in nanoseconds",
    files=(),
    faces={
        "cpuacct.usage": _time("usage_usec"),
        "cpuacct.usage_user": _time("user_usec"),
        "cpuacct.usage_sys": _time("system_usec"),
        "cpuacct.stat": Translation("cpu.stat", _ticks, read_only=_NO_RESET),
        "cpuacct.usage_all": _BY_CPU,
        "cpuacct.usage_percpu": _BY_CPU,
        "cpuacct.usage_percpu_sys": _BY_CPU,
        "cpuacct.usage_percpu_user": _BY_CPU,
    },
)
