"""cpuacct: how much CPU time the tasks of a container have used, descendants included.

Nanoseconds, where V6 had milliseconds of the container's own tasks (patch semantics, 3).
`cpuacct.usage` takes only the value 0, which resets it.
"""

from __future__ import annotations

from collections.abc import Callable
from errno import EINVAL
from typing import Any

from pcont.tables.control_file import ControlFile, Subsystem
from pcont.tables.rules import ModelCgroup, Site, Violation
from pcont.values import INTEGER, TEXT, UNSIGNED, Codec


def only_zero(now: Site, wanted: Site) -> Violation | None:
    """The counter can be reset, not set."""
    if wanted.value("cpuacct.usage") != 0:
        return Violation(EINVAL, "the counter takes only 0, which resets it")
    return None


USER, SYSTEM = 0, 1
TICK = 10_000_000  # nanoseconds in a unit of cpuacct.stat: USER_HZ is 100


def _total(site: ModelCgroup, *kinds: int) -> int:
    return sum(times[kind] for times in site.used().values() for kind in kinds)


def _by_cpu(site: ModelCgroup, *kinds: int) -> str:
    """One number for each CPU that there could be, each with a blank after it."""
    used = site.used()
    numbers = [
        sum(used.get(cpu, (0, 0))[kind] for kind in kinds) for cpu in range(site.machine.cpu_limit)
    ]
    return "".join(f"{number} " for number in numbers)


def _all(site: ModelCgroup) -> str:
    used = site.used()
    rows = [(cpu, *used.get(cpu, (0, 0))) for cpu in range(site.machine.cpu_limit)]
    return "\n".join(["cpu user system", *(" ".join(map(str, row)) for row in rows)])


def _stat(site: ModelCgroup) -> str:
    return f"user {_total(site, USER) // TICK}\nsystem {_total(site, SYSTEM) // TICK}"


def _counter(
    name: str, help: str, derived: Callable[[ModelCgroup], Any], type: Codec = TEXT
) -> ControlFile:
    return ControlFile(f"cpuacct.{name}", help, type, derived=derived)


TABLE = Subsystem(
    name="cpuacct",
    help="CPU time used, in nanoseconds",
    files=(
        _counter("stat", "user and system time, in ticks of 10 ms", _stat),
        ControlFile(
            "cpuacct.usage",
            "nanoseconds of CPU time used so far; 0 resets it",
            UNSIGNED,
            writable=True,
            default=0,
            rules=(only_zero,),
            lasting=True,
            shown=True,
            derived=lambda site: _total(site, USER, SYSTEM),
            effect=lambda site: site.forget_used(),
        ),
        _counter("usage_all", "per CPU: user and system nanoseconds", _all),
        _counter(
            "usage_percpu",
            "nanoseconds, one number per CPU",
            lambda site: _by_cpu(site, USER, SYSTEM),
        ),
        _counter(
            "usage_percpu_sys",
            "nanoseconds in the kernel, one number per CPU",
            lambda site: _by_cpu(site, SYSTEM),
        ),
        _counter(
            "usage_percpu_user",
            "nanoseconds in user space, one number per CPU",
            lambda site: _by_cpu(site, USER),
        ),
        _counter(
            "usage_sys", "nanoseconds in the kernel", lambda site: _total(site, SYSTEM), INTEGER
        ),
        _counter(
            "usage_user", "nanoseconds in user space", lambda site: _total(site, USER), INTEGER
        ),
    ),
)
