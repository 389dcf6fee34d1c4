"""cpu on cgroup v2 in the model: one weight with two names, and CPU time."""

from __future__ import annotations

from pcont.subsys.cpu import CPU_IDLE
from pcont.subsys.model.cpuacct import SYSTEM, USER, total
from pcont.subsys.v2.cpu import CPU_WEIGHT, WEIGHT_NICE
from pcont.tables.behaviour import Behaviour, FileBehaviour
from pcont.tables.rules import ModelCgroup

# The load of a nice value, from -20 on (kernel/sched/core.c, sched_prio_to_weight).
_LOADS = (
    *(88761, 71755, 56483, 46273, 36291, 29154, 23254, 18705, 14949, 11916),
    *(9548, 7620, 6100, 4904, 3906, 3121, 2501, 1991, 1586, 1277),
    *(1024, 820, 655, 526, 423, 335, 272, 215, 172, 137),
    *(110, 87, 70, 56, 45, 36, 29, 23, 18, 15),
)
_FIRST_NICE, _USUAL_LOAD, _IDLE_LOAD = -20, 1024, 3
_LOAD = "cpu.load"  # a fact of a container; missing: _USUAL_LOAD
_MICROSECOND = 1000


def _rounded(number: int, divisor: int) -> int:
    return (number + divisor // 2) // divisor


def _load(site: ModelCgroup) -> int:
    return site.facts.get(_LOAD, _USUAL_LOAD)


def _weight(site: ModelCgroup) -> int:
    return min(max(_rounded(_load(site) * 100, _USUAL_LOAD), 1), 10_000)


def _set_weight(site: ModelCgroup, weight: int) -> None:
    site.facts[_LOAD] = _rounded(weight * _USUAL_LOAD, 100)


def _nice(site: ModelCgroup) -> int:
    """Return the first nice value after which the distance grows (cpu_weight_nice_read_s64())."""
    distances = [abs(load - _load(site)) for load in _LOADS]
    nearer = [place for place in range(1, len(_LOADS)) if distances[place] >= distances[place - 1]]
    return _FIRST_NICE + (nearer[0] - 1 if nearer else len(_LOADS) - 1)


def _set_nice(site: ModelCgroup, nice: int) -> None:
    site.facts[_LOAD] = _LOADS[nice - _FIRST_NICE]


def _set_idle(site: ModelCgroup, idle: int) -> None:
    """Fix the weight of an idle container; afterwards it is the usual one again."""
    if site.value(CPU_IDLE) != idle:
        site.store(CPU_IDLE, idle)
        site.facts[_LOAD] = _IDLE_LOAD if idle else _USUAL_LOAD


def _stat(site: ModelCgroup) -> dict[str, int]:
    user, system = total(site, USER), total(site, SYSTEM)
    found = {
        "usage_usec": (user + system) // _MICROSECOND,
        "user_usec": user // _MICROSECOND,
        "system_usec": system // _MICROSECOND,
        "nice_usec": 0,
    }
    periods = ("nr_periods", "nr_throttled", "throttled_usec", "nr_bursts", "burst_usec")
    return {**found, **dict.fromkeys(periods if _has_cpu(site) else (), 0)}


def _has_cpu(site: ModelCgroup) -> bool:
    """Return whether the controller is enabled here; the root has none of its other files."""
    return site.parent is None or site.has(CPU_WEIGHT)


BEHAVIOUR = Behaviour(
    not_built=("cpu.uclamp.",),
    files={
        CPU_WEIGHT: FileBehaviour(derived=_weight, write=_set_weight),
        WEIGHT_NICE: FileBehaviour(derived=_nice, write=_set_nice),
        CPU_IDLE: FileBehaviour(write=_set_idle),
        "cpu.stat": FileBehaviour(derived=_stat),
        "cpu.stat.local": FileBehaviour(
            derived=lambda site: {"throttled_usec": 0} if _has_cpu(site) else {}, lines=True
        ),
    },
)
