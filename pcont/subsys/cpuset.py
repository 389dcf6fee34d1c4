"""cpuset: which CPUs and memory nodes the tasks of a container may use.

The rules are those of the kernel's validate_change() for cgroup v1 (kernel/cgroup/cpuset.c), in
its order; the errno of each is the patch's, but for the empty list, which was an error in 2006
and is refused today only where tasks are inside (patch semantics, 2.3).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from errno import EACCES, EBUSY, EINVAL, ENOSPC, ERANGE

from pcont.tables.rules import Entry, Fix, Rule, Site, Violation
from pcont.values import ID_LIST, Ids

CPUSET = "cpuset"
CPUS, MEMS = "cpuset.cpus", "cpuset.mems"
CPU_EXCLUSIVE, MEM_EXCLUSIVE = "cpuset.cpu_exclusive", "cpuset.mem_exclusive"
RELAX = "cpuset.sched_relax_domain_level"
_HIGHEST_LEVEL = 5  # admin-guide/cgroup-v1/cpusets.rst, 1.8
ROOT_HAS_ALL_ONLINE = "the root container always has everything that is online"
_KINDS = ((CPUS, CPU_EXCLUSIVE, "CPUs"), (MEMS, MEM_EXCLUSIVE, "memory nodes"))


def _list(ids: Iterable[int]) -> str:
    return ID_LIST.show(ids) or "none"


def no_so_large(noun: str, there: Ids) -> str:
    """Return the reason to give for a number that the machine cannot have."""
    return f"this machine has no {noun} with so large a number; online: {_list(there)}"


def no_such(noun: str, ids: Ids, there: Ids) -> str:
    """Return the reason to give for numbers that the machine does not have. `there`: those that are
    online.
    """
    return f"this machine has no {noun} {_list(ids)}; online: {_list(there)}"


def online(file: str, noun: str) -> Rule:
    """Return the rule that a list only has CPUs or nodes that are online."""

    def rule(now: Site, wanted: Site) -> Violation | None:
        machine = now.machine
        there: Ids = machine.cpus if file == CPUS else machine.nodes
        limit = machine.cpu_limit if file == CPUS else machine.node_limit
        missing = wanted.value(file) - there
        if not missing:
            return None
        errno = ERANGE if max(missing) >= limit else EINVAL
        return Violation(errno, no_such(noun, missing, there))

    return rule


def around_children(now: Site, wanted: Site) -> Violation | None:
    """Check that the lists still include those of every child."""
    for child in now.children():
        for ids, flag, noun in _KINDS:
            missing = child.value(ids) - wanted.value(ids)
            if missing:
                return Violation(
                    EBUSY, f"the child {child.path} still uses the {noun} {_list(missing)}"
                )
            if child.value(flag) and not wanted.value(flag):
                return Violation(EBUSY, f"the child {child.path} has {flag}=1")
    return None


def inside_parent(now: Site, wanted: Site) -> Violation | None:
    """Check that the parent's lists include those of the container."""
    parent = now.parent
    if parent is None:
        return None
    for ids, flag, noun in _KINDS:
        lacking = wanted.value(ids) - parent.value(ids)
        if lacking:
            return Violation(
                EACCES,
                f"the parent {parent.path} lacks the {noun} {_list(lacking)}; "
                f"it has: {_list(parent.value(ids))}",
                ""
                if wanted.value(ids) & parent.value(ids)
                else f"set {ids} of {parent.path} first",
                _instead(now, ids, wanted.value(ids) & parent.value(ids)),
            )
        if wanted.value(flag) and not parent.value(flag):
            return Violation(
                EACCES,
                f"the parent {parent.path} is not exclusive itself",
                fixes=(Fix(parent.path, ((flag, "1"),)),),
            )
    return None


def _instead(site: Site, ids: str, choice: Ids) -> tuple[Fix, ...]:
    return (Fix(site.path, ((ids, _list(choice)),)),) if choice else ()


def apart_from_siblings(now: Site, wanted: Site) -> Violation | None:
    """Check that an exclusive list does not overlap with a sibling's."""
    for sibling in now.parent.children() if now.parent else ():
        for ids, flag, noun in _KINDS:
            exclusive = wanted.value(flag) or sibling.value(flag)
            # There may be many siblings: the cheap checks come first.
            if not exclusive or sibling.path == now.path:
                continue
            if shared := wanted.value(ids) & sibling.value(ids):
                owner = sibling.path if sibling.value(flag) else "this container"
                return Violation(
                    EINVAL,
                    f"the sibling {sibling.path} overlaps in the {noun} {_list(shared)}, "
                    f"and {owner} has {flag}=1",
                    f"take the {noun} {_list(shared)} from one of them, or clear {flag}",
                )
    return None


def _tasks_keep_some(now: Site, wanted: Site) -> Violation | None:
    """Check that a container with tasks does not get an empty list."""
    for ids, _flag, noun in _KINDS:
        if now.value(ids) and not wanted.value(ids) and now.populated():
            return Violation(ENOSPC, f"tasks are inside, and {ids} would have no {noun} left")
    return None


NESTED: tuple[Rule, ...] = (around_children, inside_parent, _tasks_keep_some, apart_from_siblings)


def has_cpus_and_nodes(entry: Entry) -> Violation | None:
    """Check that the container has CPUs and memory nodes for a task that enters."""
    return lacks_cpus_or_nodes(entry.site)


def lacks_cpus_or_nodes(site: Site) -> Violation | None:
    """Return why no task can enter a container, with settings that would help."""
    empty = [ids for ids in (CPUS, MEMS) if not site.value(ids)]
    if not empty:
        return None
    return Violation(
        ENOSPC,
        f"{' and '.join(empty)} of {site.path} {'are' if len(empty) > 1 else 'is'} empty, "
        "and a task may enter only a cpuset that has both CPUs and memory nodes",
        fixes=tuple(_filling(site)),
    )


def _filling(site: Site) -> Iterator[Fix]:
    """Yield settings that fill the empty lists of a container, ancestors first."""
    way = [site]
    while (above := way[-1].parent) and not (above.value(CPUS) and above.value(MEMS)):
        way.append(above)
    for each in reversed(way):
        empty = [ids for ids in (MEMS, CPUS) if not each.value(ids)]
        if empty:
            yield Fix(each.path, tuple((ids, _offer(each, ids)) for ids in empty))


def _offer(site: Site, ids: str) -> str:
    """Return the list of the nearest ancestor whose list is not empty."""
    above = site.parent
    while above and not above.value(ids):
        above = above.parent
    return _list(above.value(ids)) if above else ""


def a_level(now: Site, wanted: Site) -> Violation | None:
    """Check the level of scheduler domains; the machine may allow fewer."""
    if -1 <= wanted.value(RELAX) <= _HIGHEST_LEVEL:
        return None
    return Violation(EINVAL, f"levels go from -1 to {_HIGHEST_LEVEL} at the most")
