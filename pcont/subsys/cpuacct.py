"""cpuacct: how much CPU time the tasks of a container have used, descendants included.

Nanoseconds, where V6 had milliseconds of the container's own tasks (patch semantics, 3).
`cpuacct.usage` takes only the value 0, which resets it.
"""

from __future__ import annotations

from errno import EINVAL

from pcont.tables.control_file import ControlFile, Subsystem
from pcont.tables.rules import Site, Violation
from pcont.values import INTEGER, TEXT, UNSIGNED, Codec


def only_zero(now: Site, wanted: Site) -> Violation | None:
    """The counter can be reset, not set."""
    if wanted.value("cpuacct.usage") != 0:
        return Violation(EINVAL, "the counter takes only 0, which resets it")
    return None


def _counter(name: str, help: str, type: Codec = TEXT) -> ControlFile:
    return ControlFile(f"cpuacct.{name}", help, type)


TABLE = Subsystem(
    name="cpuacct",
    help="CPU time used, in nanoseconds",
    files=(
        _counter("stat", "user and system time, in ticks of 10 ms"),
        ControlFile(
            "cpuacct.usage",
            "nanoseconds of CPU time used so far; 0 resets it",
            UNSIGNED,
            writable=True,
            default=0,
            rules=(only_zero,),
            lasting=True,
            shown=True,
        ),
        _counter("usage_all", "per CPU: user and system nanoseconds"),
        _counter("usage_percpu", "nanoseconds, one number per CPU"),
        _counter("usage_percpu_sys", "nanoseconds in the kernel, one number per CPU"),
        _counter("usage_percpu_user", "nanoseconds in user space, one number per CPU"),
        _counter("usage_sys", "nanoseconds in the kernel", INTEGER),
        _counter("usage_user", "nanoseconds in user space", INTEGER),
    ),
)
