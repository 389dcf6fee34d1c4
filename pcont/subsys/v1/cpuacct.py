"""cpuacct on cgroup v1: its control files."""

from __future__ import annotations

from pcont.subsys.cpuacct import only_zero
from pcont.tables.control_file import Access, ControlFile, Listed, Subsystem, Undo
from pcont.values import INTEGER, TEXT, UNSIGNED, Codec


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
            default=0,
            rules=(only_zero,),
            listed=Listed.ALWAYS,
            access=Access(writable=True),
            undo=Undo(lasting=True),
        ),
        _counter("usage_all", "per CPU: user and system nanoseconds"),
        _counter("usage_percpu", "nanoseconds, one number per CPU"),
        _counter("usage_percpu_sys", "nanoseconds in the kernel, one number per CPU"),
        _counter("usage_percpu_user", "nanoseconds in user space, one number per CPU"),
        _counter("usage_sys", "nanoseconds in the kernel", INTEGER),
        _counter("usage_user", "nanoseconds in user space", INTEGER),
    ),
)
