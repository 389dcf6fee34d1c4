"""Find and restore the CPUs and memory nodes that cpusets have lost by hotplug.

The kernel removes a CPU that goes offline from the lists of all v1 cpusets, and does not add it
when it comes online again (kernel/cgroup/cpuset.c, hotplug_update_tasks_legacy()). It keeps no
other list. So `steps.write.WriteFiles` copies each list that it writes into an attribute of the
container; `copied_as` in the file's row names the attribute.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from pcont.bases import NamedTuple
from pcont.errors import NotFound, shortened
from pcont.hierarchy.registry import Registry
from pcont.kernel.refusals import within_reach
from pcont.kernel.types import Place, Tree
from pcont.ops import cpuset_memset
from pcont.records import Collected, Finding
from pcont.session import Session
from pcont.steps.write import Setting, WriteFiles
from pcont.subsys import cpuset
from pcont.subsys.v1.cpuset import TABLE
from pcont.tables.control_file import ControlFile
from pcont.values import ID_LIST, Ids

if TYPE_CHECKING:
    from pcont.kernel.interfaces import CgroupState, ContainerReader

ROWS = tuple(row for row in TABLE.files if row.undo.copied_as)


class LostValue(NamedTuple):
    """A list that lacks ids that pcont has set and that are online again.

    `possible`: those that the parent has, or will have after its own list is restored.
    """

    place: Place
    file: str
    now: Ids
    online: Ids
    possible: Ids

    @property
    def said(self) -> str:
        return f"{self.place.shown} ({self.file} {ID_LIST.show(self.online)})"


def lost_values(backend: CgroupState, trees: Iterable[Tree]) -> list[LostValue]:
    """Yield the lists that lack what pcont has set, parents first."""
    found: list[LostValue] = []
    for tree in trees:
        if tree.mounted and cpuset.CPUSET in tree.controllers:
            for row in ROWS:
                found += _lost(backend, Place.at(tree), row)
    return found


def _lost(backend: CgroupState, root: Place, row: ControlFile) -> Iterator[LostValue]:
    machine = backend.machine()
    there: Ids = machine.cpus if row.name == cpuset.CPUS else machine.nodes
    lists: dict[Place, Ids] = {}
    waiting = [root]
    while waiting:
        place = waiting.pop()
        with within_reach():
            waiting += [place.child(name) for name in reversed(backend.children(place))]
            now: Ids = ID_LIST.parse(backend.read(place, row.name))
            lists[place] = now
            lacking = _copied(backend, place, row) - now
            if place.is_root or not lacking or _follows(backend, place, row):
                continue
            possible = lacking & there & lists.get(place.parent, frozenset())
            lists[place] = now | possible
            yield LostValue(place, row.name, now, lacking & there, possible)


def _copied(backend: ContainerReader, place: Place, row: ControlFile) -> Ids:
    """Return the list that pcont has set; empty if it has set none."""
    try:
        ids: Ids = ID_LIST.parse(backend.attributes(place).get(row.undo.copied_as, ""))
    except (ValueError, OverflowError):
        return frozenset()
    return ids


def _follows(backend: CgroupState, place: Place, row: ControlFile) -> bool:
    """Return whether pcont gives a container the CPUs of its parent (memset without cpuset); `gc`
    restores these.
    """
    return row.name == cpuset.CPUS and cpuset_memset.cpus_follow(backend, place)


def hotplug_findings(session: Session, registry: Registry) -> Iterator[Finding]:
    """Yield, for `doctor`, the containers that gc --cpus can restore."""
    found = [one for one in lost_values(session.backend, registry.v1_trees) if one.online]
    if found:
        some = shortened([one.said for one in found])
        text = f"{len(found)} lists lack CPUs or memory nodes that are online again: {some}"
        yield Finding("problem", "hotplug", text, "pcont gc --cpus")


def restore_lost_values(
    session: Session, registry: Registry, selectors: Sequence[str]
) -> Iterator[Collected]:
    """Write the lost ids into the lists again, parents first; returns what was written.

    If the parent also lacks them, or the kernel refuses, the list of the container does not change:
    a note names it. Raises NotFound for a hierarchy without cpuset.
    """
    for one in lost_values(session.backend, _trees(registry, selectors)):
        if missing := one.online - one.possible:
            parent = one.place.parent.shown
            session.warn(
                f"{parent} itself lacks {ID_LIST.show(missing)}, so {one.said} is not restored"
            )
        if not one.possible:
            continue
        text = ID_LIST.show(one.now | one.possible)
        step = WriteFiles(
            [Setting(one.place, one.file, text)], f"restore {one.said}", requested=False
        )
        yield from (Collected("restored", line) for line in session.attempt(step))


def _trees(registry: Registry, selectors: Sequence[str]) -> list[Tree]:
    """The trees of these hierarchies that have cpuset; all trees without any."""
    found = {tree.id: tree for tree in registry.v1_trees} if not selectors else {}
    for selector in selectors:
        one = registry.find(selector)
        trees = [member.tree for member in one.members]
        with_cpuset = [tree for tree in trees if cpuset.CPUSET in tree.controllers]
        if not with_cpuset:
            raise NotFound(f"{one.name} has no {cpuset.CPUSET}")
        found |= {tree.id: tree for tree in with_cpuset}
    return list(found.values())
