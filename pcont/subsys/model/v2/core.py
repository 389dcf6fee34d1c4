"""The files of every container of cgroup v2 in the model: types, controllers, freezing, CPU time.

The rules about threaded containers are those of kernel/cgroup/cgroup.c; each function names its
model there. What Linux 6.12 answers is in tests/data/v2.
"""

from __future__ import annotations

from collections.abc import Iterator
from errno import EOPNOTSUPP

from pcont.subsys.freezer import FROZEN, PARENT, SELF, STATE, THAWED
from pcont.subsys.model import cpuacct
from pcont.subsys.model.freezer import frozen_if
from pcont.subsys.model.pids import counting
from pcont.subsys.model.v2 import cpuset
from pcont.subsys.v1 import core as v1_core
from pcont.subsys.v1 import freezer as v1_freezer
from pcont.subsys.v2.core import (
    CONTROL,
    CONTROLLERS,
    FOR_THREADS,
    FREEZE,
    INT_MAX,
    INVALID,
    KILL,
    MAX_DEPTH,
    MAX_DESCENDANTS,
    OFFERED,
    PRESSURE,
    STAT,
    THREADED,
    TYPE,
    changes,
    no_tasks,
)
from pcont.tables.behaviour import Alias, Behaviour, ContainerKind, FileBehaviour
from pcont.tables.control_file import ControlFile
from pcont.tables.rules import ModelCgroup, Violation

# Facts of a container. DOMAIN: of a threaded one, the level of the container to which its resources
# are charged (dom_cgrp); the root is level 0. CHILDREN: how many children are threaded.
_DOMAIN, _CHILDREN = "cgroup.domain", "cgroup.threaded"


# Types


def _is_threaded(site: ModelCgroup) -> bool:
    return _DOMAIN in site.facts


def _domain(site: ModelCgroup) -> ModelCgroup:
    """Return the container to which the resources of a container are charged: usually itself."""
    if not _is_threaded(site):
        return site
    return [*site.upwards()][-1 - site.facts[_DOMAIN]]


def _level(site: ModelCgroup) -> int:
    return len([*site.upwards()]) - 1


def _enabled(site: ModelCgroup) -> list[str]:
    """Return the controllers that a container enables for its children."""
    found: list[str] = site.written(CONTROL).split()
    return found


def _is_thread_root(site: ModelCgroup) -> bool:
    """Return whether a container is the root of a threaded subtree (cgroup_is_thread_root())."""
    if _is_threaded(site):
        return False
    if site.facts.get(_CHILDREN, 0):
        return True
    return any(name in FOR_THREADS for name in _enabled(site)) and site.inside() > 0


def _is_valid_domain(site: ModelCgroup) -> bool:
    """Return whether a container can have tasks as a domain (cgroup_is_valid_domain())."""
    above = site.parent
    while above:
        if _is_threaded(above) or (above.parent and _is_thread_root(above)):
            return False
        above = above.parent
    return not _is_threaded(site)


def _type(site: ModelCgroup) -> str:
    if _is_threaded(site):
        return THREADED
    if not _is_valid_domain(site):
        return INVALID
    return f"domain {THREADED}" if _is_thread_root(site) else "domain"


def _become_threaded(site: ModelCgroup, wanted: object) -> None:
    """As cgroup_enable_threaded(): threaded descendants get the same domain."""
    assert site.parent
    if _is_threaded(site):
        return
    level = _level(_domain(site.parent))
    for one in site.all():
        if one is site or _is_threaded(one):
            one.facts[_DOMAIN] = level
    site.parent.facts[_CHILDREN] = site.parent.facts.get(_CHILDREN, 0) + 1


def _no_domain(site: ModelCgroup, wanted: object) -> int:
    """Refuse to make a container threaded if its tasks would be in a domain that has none."""
    if site.parent is None or _is_threaded(site):
        return 0
    return 0 if _is_valid_domain(_domain(site.parent)) else EOPNOTSUPP


def _enables_nothing(site: ModelCgroup, text: str) -> int:
    """Refuse to enable controllers below a domain that can have no tasks."""
    on, _ = changes(text.split(), _enabled(site))
    return EOPNOTSUPP if on and not _is_valid_domain(_domain(site)) else 0


def _forget_threaded(site: ModelCgroup) -> None:
    """Count one threaded child less, after a container was removed."""
    if site.parent and _is_threaded(site):
        site.parent.facts[_CHILDREN] -= 1
        if not site.parent.facts[_CHILDREN]:
            del site.parent.facts[_CHILDREN]


# Tasks


def _vet(source: ModelCgroup, target: ModelCgroup, whole: bool) -> Violation | None:
    """As cgroup_attach_permissions(), without the permissions."""
    if not _is_valid_domain(_domain(target)):
        return Violation(EOPNOTSUPP, f"{target.path} cannot have tasks")
    if violation := no_tasks(target):
        return violation
    if whole or _domain(source) is _domain(target):
        return cpuset.no_cpus(source, target)
    return Violation(EOPNOTSUPP, f"{source.path} and {target.path} are not in one threaded subtree")


def _processes(site: ModelCgroup) -> Iterator[ModelCgroup]:
    """Yield the containers whose processes cgroup.procs of a container lists: the container itself
    and, if it is the root of a threaded subtree, each threaded container in that subtree.

    The kernel refuses to read cgroup.procs in a threaded container. The driver reads the processes
    of the threads in it, so this yields nothing.
    """
    if _is_threaded(site):
        return
    yield site
    if site.parent is None or _is_thread_root(site):
        threaded = [one for one in site.all() if _is_threaded(one)]
        yield from (one for one in threaded if _domain(one) is site)


def _stay_counted(source: ModelCgroup, target: ModelCgroup) -> bool:
    return next(counting(source), None) is next(counting(target), None)


# Controllers


def _offered(site: ModelCgroup) -> list[str]:
    """Return the controllers that a container has (cgroup_control())."""
    if site.parent is None:
        return [*site.controllers]
    names = _enabled(site.parent)
    return [one for one in names if one in FOR_THREADS] if _is_threaded(site) else names


def _shows(site: ModelCgroup, row: ControlFile) -> bool:
    name, _, word = row.name.partition(".")
    if name == "cgroup":
        return True
    if row.access.always:
        return word != "pressure" or site.written(PRESSURE) == 1
    return name in _offered(site)


def _keep_offered(site: ModelCgroup) -> None:
    """Enable for the children only what a container has (cgroup_propagate_control())."""
    there, offered = _enabled(site), _offered(site)
    if not {*there} <= {*offered}:
        site.store(CONTROL, " ".join(one for one in there if one in offered))


def _control(site: ModelCgroup, text: str) -> None:
    """Enable controllers for the children, and disable others (cgroup_subtree_control_write())."""
    before = _enabled(site)
    on, off = changes(text.split(), before)
    now = [one for one in site.controllers if one in on or (one in before and one not in off)]
    site.store(CONTROL, " ".join(now))
    for child in site.children() if on or off else ():
        has = _offered(child)
        for name in off:
            child.disable(name)
        for name in (one for one in on if one in has):
            child.enable(name)


# What is shown


def _stat(site: ModelCgroup) -> str:
    there = [*site.all()]
    having = [_having(one) for one in there]
    counts = [(f"nr_subsys_{name}", sum(name in one for one in having)) for name in CONTROLLERS]
    dying = [("nr_dying_descendants", 0), *((f"nr_dying_subsys_{one}", 0) for one in CONTROLLERS)]
    lines = [("nr_descendants", len(there) - 1), *counts, *dying]
    return "\n".join(f"{name} {number}" for name, number in lines)


def _having(site: ModelCgroup) -> set[str]:
    return {*_offered(site), "perf_event"}


_frozen = frozen_if(FREEZE, 1)


def _events(site: ModelCgroup) -> str:
    return f"populated {int(site.populated())}\nfrozen {int(_frozen(site))}"


def _limit(file: str) -> FileBehaviour:
    """Return the behaviour of a limit of containers: the highest number is no limit."""

    def write(site: ModelCgroup, wanted: int | None) -> None:
        site.store(file, None if wanted == INT_MAX else wanted)

    return FileBehaviour(write=write)


BEHAVIOUR = Behaviour(
    frozen=_frozen,
    on_run=cpuacct.charge,
    kind=ContainerKind(
        shows=_shows,
        aliases={
            "tasks": Alias("cgroup.threads", v1_core.TABLE.by_name["tasks"]),
            **{one: Alias(FREEZE, v1_freezer.TABLE.by_name[one]) for one in (STATE, SELF, PARENT)},
        },
        vet=_vet,
        takes_threads=lambda site: site.parent is None or _type(site) != "domain",
        processes=_processes,
        domain=_domain,
        stays_counted=_stay_counted,
        has=lambda site, name: name in _offered(site),
        on_removed=_forget_threaded,
        on_rebound=_keep_offered,
        kills_frozen=True,
        keeps_zombies=True,
    ),
    files={
        TYPE: FileBehaviour(derived=_type, write=_become_threaded, refuses=_no_domain),
        OFFERED: FileBehaviour(derived=lambda site: " ".join(_offered(site)), lines=True),
        CONTROL: FileBehaviour(
            write=_control,
            refuses=_enables_nothing,
            confines=cpuset.affected,
            moves=True,
            lines=True,
        ),
        MAX_DEPTH: _limit(MAX_DEPTH),
        MAX_DESCENDANTS: _limit(MAX_DESCENDANTS),
        STAT: FileBehaviour(derived=_stat),
        "cgroup.events": FileBehaviour(derived=_events),
        KILL: FileBehaviour(write=lambda site, wanted: None, kills=True, hidden=True),
        STATE: FileBehaviour(
            derived=lambda site: FROZEN if _frozen(site) else THAWED,
            write=lambda site, wanted: site.store(FREEZE, int(wanted == FROZEN)),
        ),
        SELF: FileBehaviour(derived=lambda site: site.written(FREEZE)),
        PARENT: FileBehaviour(derived=lambda site: int(_frozen(site.parent))),
    },
)
