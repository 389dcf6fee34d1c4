"""cpuset and memset: two subsystems in V5, one controller in the kernel.

A hierarchy has both, or one of them. If it has only memset, each container has the CPUs of its
parent.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from shlex import quote
from typing import TYPE_CHECKING

from pcont.errors import Busy
from pcont.hierarchy.container import Container, Hierarchy
from pcont.hierarchy.registry import OptionString, Registry
from pcont.kernel.paths import overlap
from pcont.kernel.refusals import vanishing, within_reach
from pcont.kernel.types import Place
from pcont.steps.write import Setting
from pcont.subsys import cpuset
from pcont.subsys.cpuset import CPUSET
from pcont.subsys.memset import CPUS_FOLLOW, MEMSET
from pcont.virtual.bindings import virtual_roots
from pcont.virtual.files import ControlFiles
from pcont.virtual.site import LiveSite

if TYPE_CHECKING:
    from pcont.kernel.interfaces import CgroupState

ONE = f"{CPUSET} and {MEMSET} are one controller of the kernel"

CpusetMemset = frozenset[str]


def asked_for(options: OptionString, names: Iterable[str]) -> CpusetMemset:
    """Return which of cpuset and memset an option string names.

    `names` are all subsystems that the string means. cpuset is left out if it is there only because
    memset requires it.
    """
    chosen = {CPUSET, MEMSET} & set(names)
    return frozenset(
        chosen if {*options.words} & {CPUSET, "all"} or MEMSET not in chosen else {MEMSET}
    )


def bound(backend: CgroupState, one: Hierarchy) -> CpusetMemset:
    """Return which of cpuset and memset the user bound to a hierarchy."""
    chosen = {CPUSET, MEMSET} & set(one.subsystems)
    for member in one.members:
        if MEMSET in chosen and cpus_follow(backend, member.place("/")):
            return frozenset({MEMSET})
    return frozenset(chosen)


def cpus_follow(backend: CgroupState, place: Place) -> bool:
    """Return whether memset is bound without cpuset: then each container has its parent's CPUs."""
    root = virtual_roots(backend, place).get(MEMSET) if CPUSET in place.controllers else None
    with contextlib.suppress(FileNotFoundError):
        return root is not None and ControlFiles(backend).stored(root, CPUS_FOLLOW) == "1\n"
    return False  # another program has removed the root


def how_to_have_both(backend: CgroupState, one: Hierarchy) -> str:
    """Return the hint that adds cpuset to memset; empty if memset is not alone."""
    alone = bound(backend, one) == {MEMSET}
    return f"add {CPUSET} to {MEMSET}: pcont set {one.name}:/ {CPUS_FOLLOW}=0" * alone


def attributes_as_root_with_both(
    backend: CgroupState, container: Container
) -> Iterator[tuple[Place, str, str]]:
    """Return the attributes that make the container a root with both, for processes in it."""
    for place in container.places:
        if MEMSET in virtual_roots(backend, place) and not cpus_follow(backend, place):
            yield place, CPUS_FOLLOW, "0"


def refuse_beside(registry: Registry, chosen: CpusetMemset, at: str, name: str) -> None:
    """Raise Busy if another hierarchy has a different half, and some container would be in both.

    `at` and `name` are those of the hierarchy that is to have `chosen`. Kernel hierarchies without
    a name are skipped: they are parts of ties. Two hierarchies of cgroup v2 have no container in
    common (ops/unified.py).
    """
    # Name a tie rather than its members.
    for one in sorted(registry.hierarchies, key=lambda one: one.tie is None) if chosen else ():
        there = bound(registry.backend, one)
        independent = bool(one.tie or one.members[0].tree.name or MEMSET in there)
        if not there or there == chosen or one.name == name or not independent:
            continue
        top = one.tie.at if one.tie else "/"
        if overlap(at, top) and not _is_on_v2(one):
            raise Busy(
                f"{ONE}, and {one.name} has {_said(there)}, not {_said(chosen)}",
                hint="bind both to one hierarchy, or unmount the other: "
                f"pcont umount {quote(one.name)}",
            )


def _is_on_v2(one: Hierarchy) -> bool:
    """Return whether a hierarchy has cpuset in cgroup v2."""
    member = one.unified_member
    return member is not None and CPUSET in member.tree.controllers


def _said(chosen: CpusetMemset) -> str:
    return " and ".join(sorted(chosen)) if len(chosen) > 1 else f"{min(chosen)} alone"


def narrowed(backend: CgroupState, one: Hierarchy) -> Iterator[Setting]:
    """Yield the settings that give containers the CPUs of their parents again, parents first.

    A CPU that goes offline and comes back is missing below the root; a container made by mkdir has
    none. On cgroup v2, a container without a list of its own has those of its parent.
    """
    made = one.tie.made if one.tie else []
    for member in one.members:
        root = member.place("/")
        if root.is_unified or not cpus_follow(backend, root):
            continue
        cpus: dict[Place, str] = {}
        for place in (*(at for at in made if at.tree == root.tree), *_below(backend, root)):
            # Another program may remove a container at any time.
            with vanishing():
                above = cpus.get(place.parent) or backend.read(place.parent, cpuset.CPUS)
                cpus[place] = above
                if above.strip() and backend.read(place, cpuset.CPUS) != above:
                    yield Setting(place, cpuset.CPUS, above.strip())


def _below(backend: CgroupState, root: Place) -> Iterator[Place]:
    """Yield the containers below a root of memset, parents first, except those of other roots."""
    waiting = [LiveSite(ControlFiles(backend), root, root, MEMSET)]
    while waiting:
        site = waiting.pop()
        with within_reach():
            children = [child for child in site.children() if isinstance(child, LiveSite)]
            yield from (child.place for child in children)
            waiting += children
