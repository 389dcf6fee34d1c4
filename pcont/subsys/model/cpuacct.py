"""cpuacct in the model: the files add up the CPU time that the model has charged."""

from __future__ import annotations

from pcont.tables.behaviour import Behaviour, FileBehaviour
from pcont.tables.interface import Interface
from pcont.tables.rules import ModelCgroup

TICK = 10_000_000  # nanoseconds in a unit of cpuacct.stat: USER_HZ is 100
_MILLISECOND = 1_000_000
USER, SYSTEM = 0, 1


def total(site: ModelCgroup, *kinds: int) -> int:
    """Return the CPU time of a container in nanoseconds. `kinds`: USER, SYSTEM or both."""
    return sum(times[kind] for times in site.times.values() for kind in kinds)


def _by_cpu(*kinds: int) -> FileBehaviour:
    """Return the behaviour of a file with one number for each possible CPU, each followed by a
    blank.
    """

    def derived(site: ModelCgroup) -> str:
        used = site.times
        numbers = [
            sum(used.get(cpu, (0, 0))[kind] for kind in kinds)
            for cpu in range(site.machine.cpu_limit)
        ]
        return "".join(f"{number} " for number in numbers)

    return FileBehaviour(derived=derived)


def _all(site: ModelCgroup) -> str:
    used = site.times
    rows = [(cpu, *used.get(cpu, (0, 0))) for cpu in range(site.machine.cpu_limit)]
    return "\n".join(["cpu user system", *(" ".join(map(str, row)) for row in rows)])


def _stat(site: ModelCgroup) -> str:
    return f"user {total(site, USER) // TICK}\nsystem {total(site, SYSTEM) // TICK}"


def charge(site: ModelCgroup, cpu: int, user: int, system: int) -> None:
    """Charge CPU time to a container and to its ancestors."""
    for one in site.upwards():
        one.add_time(cpu, user, system)


def _rebind(source: ModelCgroup, target: ModelCgroup) -> None:
    target.times, source.times = source.times, {}


BEHAVIOURS = {
    Interface.V1: Behaviour(
        on_run=charge,
        on_rebind=_rebind,
        files={
            "cpuacct.stat": FileBehaviour(derived=_stat),
            "cpuacct.usage": FileBehaviour(
                derived=lambda site: total(site, USER, SYSTEM),
                effect=lambda site: site.times.clear(),
            ),
            "cpuacct.usage_all": FileBehaviour(derived=_all),
            "cpuacct.usage_percpu": _by_cpu(USER, SYSTEM),
            "cpuacct.usage_percpu_sys": _by_cpu(SYSTEM),
            "cpuacct.usage_percpu_user": _by_cpu(USER),
            "cpuacct.usage_sys": FileBehaviour(derived=lambda site: total(site, SYSTEM)),
            "cpuacct.usage_user": FileBehaviour(derived=lambda site: total(site, USER)),
        },
    ),
    Interface.V2006: Behaviour(  # milliseconds, rounded down
        on_run=lambda site, cpu, user, system: site.add_time(cpu, user, system),
        on_rebind=_rebind,
        files={
            "cpuacct.usage": FileBehaviour(
                derived=lambda site: total(site, USER, SYSTEM) // _MILLISECOND
            )
        },
    ),
}
