"""cpuset in the model: effective lists, the CPUs of tasks, new children, and hotplug."""

from __future__ import annotations

from pcont.subsys.cpuset import CPU_EXCLUSIVE, CPUS, MEM_EXCLUSIVE, MEMS
from pcont.tables.behaviour import Behaviour, FileBehaviour
from pcont.tables.interface import Interface
from pcont.tables.rules import ModelCgroup
from pcont.values import Ids

_LISTS = (CPUS, MEMS)


def _cpus(site: ModelCgroup) -> Ids:
    found: Ids = site.value(CPUS)
    return found


def _clone(parent: ModelCgroup, child: ModelCgroup) -> None:
    """Copy the lists of the parent, unless a sibling is exclusive."""
    flags = (CPU_EXCLUSIVE, MEM_EXCLUSIVE)
    if any(sibling.value(flag) for sibling in parent.children() for flag in flags):
        return
    for file in _LISTS:
        child.store(file, parent.value(file))


def _unplug(site: ModelCgroup) -> ModelCgroup | None:
    """Remove from the lists what the parent lacks. If no CPU or no node is left, return the parent
    that takes the tasks.

    kernel/cgroup/cpuset.c: hotplug_update_tasks_legacy(), remove_tasks_in_empty_cpuset().
    """
    assert site.parent
    for file in _LISTS:
        site.store(file, site.value(file) & site.parent.value(file))
    if _admits(site):
        return None
    return next(one for one in site.parent.upwards() if _admits(one))


def _admits(site: ModelCgroup) -> bool:
    """Return whether a container has both CPUs and memory nodes; the root always has."""
    return all(site.value(file) for file in _LISTS)


def _unplug_2006(site: ModelCgroup) -> ModelCgroup | None:
    """Remove from the lists what the parent lacks. A list that would become empty becomes the
    parent's.
    """
    assert site.parent
    for file in _LISTS:
        above = site.parent.value(file)
        site.store(file, site.value(file) and (site.value(file) & above or above))
    return None


def _effective_cpus(site: ModelCgroup) -> Ids:
    return _cpus(site) & site.machine.cpus


def _effective_mems(site: ModelCgroup) -> Ids:
    found: Ids = site.value(MEMS) & site.machine.nodes
    return found


_V1 = Behaviour(
    cpus=_cpus,
    on_clone=_clone,
    on_hotplug=_unplug,
    legacy_agent="/sbin/cpuset_release_agent",
    files={
        CPUS: FileBehaviour(root_value=lambda machine: machine.cpus),
        MEMS: FileBehaviour(root_value=lambda machine: machine.nodes),
        "cpuset.effective_cpus": FileBehaviour(derived=_effective_cpus),
        "cpuset.effective_mems": FileBehaviour(derived=_effective_mems),
    },
)

BEHAVIOURS = {
    Interface.V1: _V1,
    Interface.V2006: _V1._replace(
        on_hotplug=_unplug_2006, files={file: _V1.files[file] for file in _LISTS}
    ),
}
