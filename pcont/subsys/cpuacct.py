"""cpuacct: how much CPU time the tasks of a container have used, descendants included.

Nanoseconds, where V6 had milliseconds of the container's own tasks (patch semantics, 3).
`cpuacct.usage` takes only the value 0, which resets it.
"""

from __future__ import annotations

from errno import EINVAL

from pcont.tables import Breach, ControlFile, Site, Subsystem
from pcont.values import INTEGER, TEXT


def only_zero(now: Site, wanted: Site) -> Breach | None:
    """The counter can be reset, not set."""
    if wanted.value("cpuacct.usage") != 0:
        return Breach(EINVAL, "the counter takes only 0, which resets it")
    return None


def _time(name: str, help: str) -> ControlFile:
    return ControlFile(f"cpuacct.{name}", help, INTEGER, default=0, counter=True)


TABLE = Subsystem(
    name="cpuacct",
    help="CPU time used, in nanoseconds",
    controller="cpuacct",
    files=(
        ControlFile("cpuacct.stat", "user and system time, in ticks of 10 ms", TEXT, counter=True),
        ControlFile(
            "cpuacct.usage",
            "nanoseconds of CPU time used so far; 0 resets it",
            INTEGER,
            writable=True,
            default=0,
            rules=(only_zero,),
            order=90,
            lasting=True,
            counter=True,
            shown=True,
        ),
        ControlFile("cpuacct.usage_all", "per CPU: user and system nanoseconds", counter=True),
        ControlFile("cpuacct.usage_percpu", "nanoseconds, one number per CPU", counter=True),
        ControlFile("cpuacct.usage_percpu_sys", "the same, in the kernel only", counter=True),
        ControlFile("cpuacct.usage_percpu_user", "the same, in user space only", counter=True),
        _time("usage_sys", "nanoseconds spent in the kernel"),
        _time("usage_user", "nanoseconds spent in user space"),
    ),
)
