"""cpuset on cgroup v2 in the model: effective lists, partitions, and the CPUs of tasks."""

from __future__ import annotations

from collections.abc import Callable
from errno import ENOSPC
from typing import cast

from pcont.subsys import EXCLUSIVE, PARTITION
from pcont.subsys.cpuset import CPUS, MEMS
from pcont.subsys.partitions import (
    CHECKED,
    COMPUTED,
    INVALID_CPUS,
    MEMBER,
    NO_CPU,
    REFUSED_LIST,
    Cpuset,
    check_hotplug,
    follows,
    invalid,
    isolated,
    marked,
    reason_of,
    refused_list,
    written,
)
from pcont.subsys.v2.cpuset import (
    CPUS_EFFECTIVE,
    CPUS_ISOLATED,
    EXCLUSIVE_EFFECTIVE,
    MEMS_EFFECTIVE,
)
from pcont.tables.behaviour import Behaviour, FileBehaviour
from pcont.tables.rules import Follows, ModelCgroup, Violation
from pcont.values import Ids

# A fact of the root: exclusive CPUs or a partition were written somewhere. Before, no container
# depends on its siblings.
_IN_USE = "cpuset.partitions"


def _root(site: ModelCgroup) -> ModelCgroup:
    return [*site.upwards()][-1]


def _in_use(site: ModelCgroup) -> bool:
    return _IN_USE in _root(site).facts


def _listed(site: ModelCgroup, file: str, online: Ids) -> Ids:
    """Return the part of a list that the parent has; without such a part, it is the parent's."""
    if site.parent is None:
        return online
    above = _listed(site.parent, file, online)
    found: Ids = (site.written(file) & above if site.has(file) else above) or above
    return found


def cpus(site: ModelCgroup) -> Ids:
    """Return the CPUs in force. In a container without cpuset, they are those of the parent."""
    if not _in_use(site):
        return _listed(site, CPUS, site.machine.cpus)
    return Cpuset(site).effective()


def _mems(site: ModelCgroup) -> Ids:
    return _listed(site, MEMS, site.machine.nodes)


def lists(site: ModelCgroup) -> tuple[Ids, Ids]:
    """Return the CPUs and the memory nodes in force."""
    return cpus(site), _mems(site)


def _isolated(site: ModelCgroup) -> Ids:
    return isolated(Cpuset(site)) if _in_use(site) else NO_CPU


def _apply(found: list[Follows]) -> None:
    for one in found:
        site, text = cast(ModelCgroup, one.site), one.text
        if reason_of(text) == "" and REFUSED_LIST in site.facts:
            text = invalid(text.split()[0], INVALID_CPUS)
        else:
            site.facts.pop(REFUSED_LIST, None)
        site.facts.pop(COMPUTED, None)
        site.store(PARTITION, text)


def _write(file: str) -> Callable[[ModelCgroup, object], None]:
    def write(site: ModelCgroup, wanted: object) -> None:
        if file != CPUS and wanted != site.written(file):
            _root(site).facts[_IN_USE] = 1
        if _in_use(site):
            one = written(site, file, wanted)
            for child in marked(one, CHECKED):
                child.facts.pop(REFUSED_LIST, None)
            _apply(follows(one))
            for other in marked(one, COMPUTED):
                other.facts[COMPUTED] = 1
        if file != PARTITION:
            site.store(file, wanted)

    return write


def _refused(site: ModelCgroup, wanted: object) -> None:
    """Note the error of a list that was refused, and show it if the partition is invalid."""
    one = Cpuset(site)
    reason = None if wanted else refused_list(site)
    if reason and (one.is_valid or one.is_stale):
        site.facts[REFUSED_LIST] = 1
    if reason and one.is_invalid:
        site.store(PARTITION, invalid(one.kind, reason))


def affected(site: ModelCgroup) -> ModelCgroup:
    """Return the container in and below which the CPUs of tasks may change."""
    return _root(site) if _in_use(site) else site


def _hotplug(site: ModelCgroup) -> None:
    if site.has(PARTITION) and site.written(PARTITION) != MEMBER:
        _apply(check_hotplug(site))


def _freed(site: ModelCgroup) -> ModelCgroup | None:
    is_partition = site.has(PARTITION) and site.written(PARTITION) != MEMBER
    return _root(site) if is_partition else None


def _holder(site: ModelCgroup) -> ModelCgroup:
    """Return the container whose CPUs a container has: itself, or the nearest one above."""
    return next(one for one in site.upwards() if one.parent is None or one.has(CPUS))


def no_cpus(source: ModelCgroup, target: ModelCgroup) -> Violation | None:
    """Return why a task cannot come to a container: partitions below it have all its CPUs."""
    if not _in_use(target) or _holder(source) is _holder(target) or cpus(target):
        return None
    return Violation(ENOSPC, f"{target.path} has no CPU")


BEHAVIOUR = Behaviour(
    cpus=cpus,
    lists=lists,
    on_hotplug=_hotplug,
    freed=_freed,
    files={
        CPUS: FileBehaviour(confines=affected, write=_write(CPUS), refused=_refused),
        EXCLUSIVE: FileBehaviour(confines=_root, write=_write(EXCLUSIVE)),
        PARTITION: FileBehaviour(confines=_root, write=_write(PARTITION)),
        CPUS_EFFECTIVE: FileBehaviour(derived=cpus),
        MEMS_EFFECTIVE: FileBehaviour(derived=_mems),
        EXCLUSIVE_EFFECTIVE: FileBehaviour(derived=lambda site: Cpuset(site).exclusive()),
        CPUS_ISOLATED: FileBehaviour(derived=_isolated),
    },
)
