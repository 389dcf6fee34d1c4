"""cpuset on cgroup v2 in the model: effective lists, and the CPUs of tasks.

A partition takes no CPUs from other containers: the model only shows what was written, and that a
partition is invalid if it cannot have CPUs.
"""

from __future__ import annotations

from collections.abc import Callable

from pcont.subsys.cpuset import CPUS, MEMS
from pcont.subsys.v2.cpuset import CPUS_EFFECTIVE, EXCLUSIVE, MEMS_EFFECTIVE, PARTITION
from pcont.tables.behaviour import Behaviour, FileBehaviour
from pcont.tables.rules import Machine, ModelCgroup
from pcont.values import Ids


def _effective(file: str, online: Callable[[Machine], Ids]) -> Callable[[ModelCgroup], Ids]:
    """Return how to find what is in force: the part of the list that the parent has. Without such
    a part, it is the parent's.
    """

    def derived(site: ModelCgroup) -> Ids:
        if site.parent is None:
            return online(site.machine)
        above = derived(site.parent)
        return (site.written(file) & above if site.has(file) else above) or above

    return derived


_cpus = _effective(CPUS, lambda machine: machine.cpus)
_mems = _effective(MEMS, lambda machine: machine.nodes)


def _exclusive(site: ModelCgroup) -> Ids:
    """Return the exclusive CPUs that a container has from its parent."""
    found: Ids = site.written(EXCLUSIVE)
    if site.parent is None or site.parent.parent is None:
        return found
    return found & _exclusive(site.parent)


def _partition(site: ModelCgroup) -> str:
    kind: str = site.written(PARTITION)
    reason = "" if kind == "member" else _invalid(site)
    return f"{kind} invalid ({reason})" if reason else kind


def _invalid(site: ModelCgroup) -> str:
    """Return why a container cannot be a partition; empty if it can."""
    if not (site.written(CPUS) or site.written(EXCLUSIVE)):
        return f"{CPUS} and {EXCLUSIVE} are empty"
    above = site.parent
    is_top = above is None or above.parent is None
    if is_top or _exclusive(site) or (above and _partition(above) in ("root", "isolated")):
        return ""
    return f"Invalid cpu list in {EXCLUSIVE}"


BEHAVIOUR = Behaviour(
    cpus=_cpus,
    on_hotplug=lambda site: None,
    files={
        CPUS: FileBehaviour(confines=True),
        PARTITION: FileBehaviour(derived=_partition),
        CPUS_EFFECTIVE: FileBehaviour(derived=_cpus),
        MEMS_EFFECTIVE: FileBehaviour(derived=_mems),
        "cpuset.cpus.exclusive.effective": FileBehaviour(derived=_exclusive),
        "cpuset.cpus.isolated": FileBehaviour(derived=lambda site: frozenset()),
    },
)
