"""subsys, hierarchies, tree, ps and where: they read, and change nothing."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from pcont import signals, subsys
from pcont.errors import NotFound, Unseen, Unsupported, from_oserror
from pcont.hierarchy.container import Container, Hierarchy
from pcont.hierarchy.presence import (
    at_least_partial,
    present,
    required,
    where_to_find,
    with_evidence,
)
from pcont.hierarchy.registry import Registry
from pcont.kernel.refusals import exists, vanishing
from pcont.kernel.types import UNIFIED, ZOMBIE, Controller, Place, Tree
from pcont.ops import task_owners
from pcont.ops.named import ended
from pcont.ops.nodes import NodeReader
from pcont.records import (
    BeanRow,
    ContainerNode,
    Finding,
    HierarchyRow,
    SubsystemRow,
    TaskRow,
    TreeRow,
    WhereRow,
)
from pcont.session import Session
from pcont.steps.tasks import live_thread, live_threads
from pcont.subsys import numfiles
from pcont.virtual.files import ControlFiles

if TYPE_CHECKING:
    from pcont.kernel.interfaces import ContainerReader, Programs


def subsystems(session: Session) -> list[SubsystemRow]:
    """Return every controller of the kernel, and the hierarchy that it is bound to."""
    registry = session.registry()
    rows = [_kernels_row(registry, one) for one in registry.controllers]
    return rows + [_virtual_row(registry, name) for name in session.backend.virtual_subsystems()]


def _kernels_row(registry: Registry, one: Controller) -> SubsystemRow:
    return _subsystem_row(registry, one, registry.holders([one.name]))


def _virtual_row(registry: Registry, name: str) -> SubsystemRow:
    """Return the row of a subsystem that pcont provides; it is enabled if what it requires is."""
    try:
        required = subsys.requires(name)
        if not required and subsys.is_enforced(name):
            registry.backend.enforcer.check(name)
        found = [one for one in registry.controllers if one.name == required]
        known = found[0] if found else Controller("", 0, enabled=not required)
        if known.unified:
            from pcont.ops.mount_request import refuse_virtual  # only cgroup v2 needs it

            refuse_virtual([name], [required])
    except Unsupported as err:
        return SubsystemRow(name, False, None, False, (), err.message)
    return _subsystem_row(registry, known._replace(name=name), registry.keepers(name))


def _subsystem_row(registry: Registry, one: Controller, trees: Sequence[Tree]) -> SubsystemRow:
    return SubsystemRow(
        name=one.name,
        enabled=one.enabled,
        bound=next((tree.id for tree in trees), None),
        unified=one.unified,
        mounts=tuple(mount.point for tree in trees for mount in tree.mounts),
        help=subsys.about(registry.backend.table(one.name)),
        hierarchies=tuple(_users(registry, one)),
    )


def _users(registry: Registry, one: Controller) -> Iterator[str]:
    """Yield the names of the hierarchies that have a subsystem: ties, and those with a name."""
    name = registry.name_in_v2(one.name) if one.unified else one.name
    for each in registry.hierarchies:
        if name in each.subsystems and (each.tie or each.members[0].tree.name):
            yield each.name


def hierarchies(session: Session) -> list[HierarchyRow]:
    """Return every active hierarchy, mounted or not, no matter which program mounted it."""
    registry = session.registry()
    return [_hierarchy_row(registry, one) for one in registry.hierarchies]


def _hierarchy_row(registry: Registry, one: Hierarchy) -> HierarchyRow:
    first = one.members[0].tree
    count = count_containers(registry, Place.at(first)) if first.mounted else None
    return HierarchyRow(
        name=one.name,
        subsystems=one.subsystems,
        trees=tuple(
            TreeRow(
                id=member.tree.id,
                at=member.at,
                mounts=tuple(mount.point for mount in member.tree.mounts),
                ours=any(mount.ours for mount in member.tree.mounts),
            )
            for member in one.members
        ),
        containers=count,
        tied=one.tie is not None,
        mounted=one.mounted,
        mountpoint=first.mounts[0].point if first.mounted else None,
    )


def count_containers(registry: Registry, root: Place) -> int | None:
    """Return the number of containers of a tree; None if no mount shows it.

    The kernel has a number for the hierarchy of a controller. It may contain removed containers, so
    it is only used to end the count: when as many were found, there are no more.
    """
    backend, most = registry.backend, _most_containers(registry, root)
    count, waiting = 1, [root]
    while waiting and count != most:
        signals.beat()
        place = waiting.pop()
        try:
            below = backend.count_children(place)
            count += below
            if below and count != most:
                waiting += map(place.child, backend.children(place))
        except Unseen:
            return None
        except FileNotFoundError:
            count -= 1  # the container was removed
        except OSError:
            return None
    return count


def _most_containers(registry: Registry, root: Place) -> int | None:
    """Return the number that the kernel has for a hierarchy; None if it has none."""
    numbers = {one.name: one.containers for one in registry.controllers}
    return next((numbers[name] for name in root.controllers if numbers.get(name)), None)


def tree(session: Session, place: str = "") -> list[ContainerNode]:
    """Return containers with their numbers of tasks: below a place, or of every hierarchy of pcont.

    If pcont has mounted none, return those of every mounted hierarchy.
    """
    registry = session.registry()
    if place:
        tops = [_top(registry, place)]
        at_least_partial(session.backend, tops[0])
    else:
        tops = [one.container("/") for one in _interesting(registry)]
    return [node for top in tops for node in _nodes(session, top, named=bool(place))]


def _nodes(session: Session, top: Container, named: bool) -> list[ContainerNode]:
    """Return a container with those below it; note one that was not named and cannot be seen."""
    try:
        there = present(session.backend, top)
        found = NodeReader(session.backend, top, there).top()
        if top.places[-1].tree == UNIFIED:
            _note_invalid(session, top, found)
        return [found._replace(name=top.canonical)]
    except (NotFound, Unseen) as err:
        if named:
            raise
        hint = f"; {err.hint}" if isinstance(err, NotFound) else ""
        session.warn(f"{err}{hint}")
        return []


def _note_invalid(session: Session, top: Container, node: ContainerNode) -> None:
    """Warn about partitions of cgroup v2 that the kernel does not make."""
    waiting: list[tuple[ContainerNode, tuple[str, ...]]] = [(node, ())]
    found: list[tuple[tuple[str, ...], str]] = []
    while waiting:
        one, names = waiting.pop()
        text = str(one.settings.get(subsys.PARTITION, ""))
        if "invalid" in text:
            found.append((names, text))
        waiting += [(child, (*names, child.name)) for child in reversed(one.children)]
    for names, text in found:
        from pcont.steps import partitions

        container = top
        for name in names:
            container = container.child(name)
        control = ControlFiles(session.backend)
        session.warn(partitions.note_on_invalid(control, container.places[-1], text))


def beancounters(session: Session, place: str = "") -> list[BeanRow]:
    """Return how many open files are charged to containers: those below a place, or all.

    Raises NotFound if no hierarchy counts open files.
    """
    registry, backend = session.registry(), session.backend
    top = _top(registry, place or f"{numfiles.NUMFILES}:/")
    member = next((one for one in top.hierarchy.members if numfiles.NUMFILES in one.virtual), None)
    if member is None:
        lacking = f"{top.hierarchy.name} has no {numfiles.NUMFILES}"
        raise NotFound(lacking, hint=where_to_find(top.hierarchy, numfiles.NUMFILES))
    required(backend, top)
    rows, waiting = [], [member.place(top.path)]
    while waiting:
        one = waiting.pop()
        with vanishing():  # the container was removed
            waiting += [one.child(name) for name in reversed(backend.children(one))]
            if not one.is_root:
                found = backend.enforcer.values(one, numfiles.NUMFILES)
                container = top.hierarchy.container(member.inside(one.path) or "/")
                rows.append(_bean_row(container, found))
    for finding in uncounted(backend):
        session.warn(f"{finding.finding}; {finding.advice}")
    return rows


def uncounted(backend: Programs) -> list[Finding]:
    """Report open files that were refused because they could not be counted, with advice."""
    if numfiles.NUMFILES not in backend.enforcer.trees():
        return []
    found = backend.enforcer.uncounted()
    return [
        Finding(
            "problem", numfiles.NUMFILES, f"{_opens(times)} refused with ENFILE, as {why}", hint
        )
        for cause, (why, hint) in numfiles.IN_THE_WAY.items()
        if (times := found.get(cause, 0))
    ]


def _opens(times: int) -> str:
    return f"{times} opens were" if times > 1 else "1 open was"


def _bean_row(container: Container, found: Mapping[str, int]) -> BeanRow:
    shown = (
        numfiles.HELD,
        numfiles.MAXHELD,
        numfiles.BARRIER,
        numfiles.FILES_LIMIT,
        numfiles.FAILCNT,
    )
    return BeanRow(container.canonical, numfiles.NUMFILES, *(found[file] for file in shown))


def _top(registry: Registry, place: str) -> Container:
    """Return the container of a place, or the root of a hierarchy."""
    return registry.place(place)


def _interesting(registry: Registry) -> list[Hierarchy]:
    mounted = [one for one in registry.hierarchies if one.members[0].tree.mounted]
    ours = [one for one in mounted if any(m.ours for m in one.members[0].tree.mounts)]
    return ours or mounted


def ps(session: Session, place: str) -> list[TaskRow]:
    """Return the tasks in a container, in any of its trees."""
    container = session.registry().place(place)
    there = at_least_partial(session.backend, container)
    inside = {
        one: set(map(int, session.backend.read(one, "tasks").split()))
        for one in with_evidence(container, there)
    }
    found = []
    for task in sorted(set().union(*inside.values())):
        with contextlib.suppress(ProcessLookupError):
            known = session.backend.task(task)
            # The trees are not read at one moment; the membership of one task is.
            paths = session.backend.membership(task)
            missing = tuple(one.tree for one in inside if paths.get(one.tree) != one.path)
            # v1 shows an exiting task in the root, v2 where it was.
            if len(missing) < len(inside) and (container.is_root or not known.exited):
                person = task_owners.owner_of(known)
                row = (task, known.pid, known.name, known.state, person.user, person.command)
                found.append(TaskRow(*row, missing))
    return found


def where(session: Session, task: int) -> list[WhereRow]:
    """Return the container of a task in every hierarchy.

    A process whose first thread has ended is where its first live thread is. Raises NotFound if the
    task does not exist, or is a zombie without a live thread.
    """
    registry = session.registry()
    backend = session.backend
    try:
        known = live_thread(backend, task) or backend.task(task)
        paths = backend.membership(known.id)
    except ProcessLookupError as err:
        raise from_oserror(err, f"find task {task}") from err
    if known.state in ZOMBIE:
        raise ended(known)
    others = []
    for one in live_threads(backend, task):
        with contextlib.suppress(ProcessLookupError):
            others.append(backend.membership(one.id) if one.id != known.id else paths)
    return [locate(backend, one, paths, others) for one in registry.hierarchies]


def locate(
    backend: ContainerReader,
    one: Hierarchy,
    paths: Mapping[str, str],
    others: Iterable[Mapping[str, str]] = (),
) -> WhereRow:
    """Return where a task with these paths is in a hierarchy: in a container, outside or split."""
    members = [member for member in one.members if member.tree.id in paths]
    inside = [member.inside(paths[member.tree.id]) for member in members]
    state = "in" if inside and None not in inside and len(set(inside)) == 1 else ""
    elsewhere = Counter(
        other[members[0].tree.id]
        for other in others
        if any(other.get(member.tree.id) != paths[member.tree.id] for member in members)
    )
    return WhereRow(
        hierarchy=one.name,
        container=inside[0] if state else None,
        state=state or _apart(backend, one, inside),
        paths={member.tree.id: paths[member.tree.id] for member in members},
        elsewhere=dict(elsewhere),
    )


def _apart(backend: ContainerReader, one: Hierarchy, inside: Iterable[str | None]) -> str:
    """Return split for several containers of the hierarchy, outside if one is not part of it."""
    for path in inside:
        if path is None:
            return "outside"
        container = one.container(path)
        if not all(_may_exist(backend, place) for place in container.places):
            return "outside"
    return "split"


def _may_exist(backend: ContainerReader, place: Place) -> bool:
    """Return whether a container exists, or cannot be seen."""
    try:
        return exists(backend, place)
    except Unseen:
        return True
