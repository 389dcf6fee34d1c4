"""umount: unmount a hierarchy. If it has containers, the kernel keeps it active (patch semantics,
1.3).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from shlex import quote
from typing import TYPE_CHECKING

from pcont import subsys
from pcont.errors import Busy, Denied, NotFound, UsageProblem
from pcont.hierarchy.container import Hierarchy, Member
from pcont.hierarchy.presence import brings_back, check_seen, refuse_unified_tree
from pcont.hierarchy.registry import Registry
from pcont.kernel.paths import below
from pcont.kernel.refusals import exists
from pcont.kernel.types import UNIFIED, Mount, Place, Tree
from pcont.ops.listing import count_containers
from pcont.session import Session, checks_first
from pcont.steps.enforcement import StopEnforcement
from pcont.steps.mounts import RemoveDirectory, UmountTree
from pcont.steps.removal import RemoveContainer
from pcont.steps.write import Setting, WriteFiles
from pcont.steps.xattr import SetXattr
from pcont.tables.control_file import Subsystem
from pcont.transaction.step import Step
from pcont.virtual.bindings import (
    BINDINGS,
    NO_TIE,
    Binding,
    binding_lines,
    bindings_in,
    without_holder,
)
from pcont.virtual.files import ControlFiles, following
from pcont.virtual.site import LiveSite

if TYPE_CHECKING:
    from pcont.kernel.interfaces import CgroupState, ContainerReader


@checks_first
def umount(session: Session, target: str, *, foreign: bool = False) -> None:
    """Unmount a hierarchy, or the one view of it at a mount point.

    A hierarchy with containers stays active, and mounting the same set shows it again; one without
    ends. Of a tie, only what pcont mounted is unmounted. Raises Denied for mounts of others, Busy
    for one in use, or one that the kernel does not release.
    """
    with session.exclusive() as registry:
        if target.startswith(("/", "./", "../")):
            one, mounts = _at_point(session, registry, target)
        else:
            one = registry.find(target)
            mounts = list(one.members[0].tree.mounts)
            if not one.tie and len(one.members) > 1:
                raise UsageProblem(f"{target} is several hierarchies: umount takes one")
        refuse_unified_tree(one, "unmount")
        tree = one.members[0].tree
        if not mounts:
            raise NotFound(f"{one.name} is not mounted")
        mounts = _allowed(one, mounts, foreign)
        last = len(mounts) == len(tree.mounts)
        if last and not one.tie:
            _need_untied(registry, tree)
        count = count_containers(registry, Place.at(tree))
        children = count != 1
        removes_tree = last and not children
        if removes_tree:
            check_seen(session.backend, one, inactive=False)
        steps = (
            stop_steps(session.backend, one, one.controllers, empty=True) if removes_tree else []
        )
        steps += _tie_steps(session, registry, one, children) if one.tie and last else []
        steps += _umount_steps(tree, mounts, last)
        session.carry_out(_deepest_first(steps))
        if last and children:
            session.warn(_stays(one, count))


def _at_point(session: Session, registry: Registry, target: str) -> tuple[Hierarchy, list[Mount]]:
    point = session.backend.resolve(os.path.abspath(target))
    for one in registry.hierarchies:
        mounts = [mount for mount in one.members[0].tree.mounts if mount.point == point]
        if mounts:
            return one, mounts
    raise NotFound(
        "no hierarchy is mounted there", path=target, hint="list the mounts: pcont hierarchies"
    )


def _allowed(one: Hierarchy, mounts: list[Mount], foreign: bool) -> list[Mount]:
    ours = [mount for mount in mounts if mount.ours or foreign]
    if ours:
        return ours
    raise Denied(
        f"{one.name} was not mounted by pcont",
        path=mounts[0].point,
        hint=f"pcont umount --foreign {quote(mounts[0].point)}",
    )


def _need_untied(registry: Registry, tree: Tree) -> None:
    for tie in registry.ties:
        if tree.id in (member.tree.id for member in tie.members):
            raise Busy(f"{tree.id} is part of {tie.name}", hint=f"pcont umount {tie.name}")


def _stays(one: Hierarchy, count: int | None) -> str:
    """Return the note on a hierarchy that has containers; the root does not count."""
    below = "containers" if count is None else f"{count - 1} container{'s' * (count != 2)}"
    again = brings_back(one.members[0].tree)
    return f"{one.name} stays active with its {below}; mount it again: {again}"


def _tie_steps(session: Session, registry: Registry, one: Hierarchy, stays: bool) -> list[Step]:
    """Return the steps for a tie: its containers of --at that pcont made, its mounted members."""
    trees = [member.tree.id for member in one.members[1:]]
    steps: list[Step] = [] if stays else virtual_unbind_steps(session, one, one.subsystems)
    steps += [] if stays else root_steps(session, registry, one, trees)
    for member in one.members[1:]:
        umounts = member_steps(session, registry, one, member)
        steps += umounts
        tree = member.tree
        if umounts and stays and count_containers(registry, Place.at(tree)) != 1:
            session.warn(f"{tree.id} stays active; mount it again: {brings_back(tree)}")
    return steps


def root_steps(
    session: Session, registry: Registry, one: Hierarchy, trees: Iterable[str]
) -> list[Step]:
    """Return the steps that remove the containers of --at that pcont made in these trees.

    Those that another tie uses are kept.
    """
    assert one.tie
    steps: list[Step] = []
    trees = [*trees]
    for place in reversed(one.tie.made):
        going = {step.place for step in steps if isinstance(step, RemoveContainer)}
        mine = place.tree in trees and not needed(registry, one, place)
        if mine and _can_go(session, place, going):
            steps.append(RemoveContainer(place, f"remove {place.tree}:{place.path}"))
    if UNIFIED in trees:
        removed = [step.place for step in steps if isinstance(step, RemoveContainer)]
        from pcont.ops.unified import umbrella_steps  # only cgroup v2 needs it

        steps += umbrella_steps(session, one, removed)
    return steps


def virtual_unbind_steps(session: Session, one: Hierarchy, names: Iterable[str]) -> list[Step]:
    """Return the steps that unbind virtual subsystems, unless another hierarchy holds them.

    The limits that follow from them no longer hold, and their settings are discarded.
    """
    backend = session.backend
    steps: list[Step] = []
    for member in one.members:
        root = member.place("/")
        going = [name for name in names if name in member.virtual]
        if not going:
            continue
        found = _without(backend, one, member, going)
        action = f"unbind {', '.join(going)}"
        for name in going:
            if not _is_held(found, name, root):
                steps += _reset_steps(backend, name, root, action)
        steps.append(SetXattr(root.root, BINDINGS, binding_lines(found), action))
    return steps


def _without(
    backend: ContainerReader, one: Hierarchy, member: Member, names: Iterable[str]
) -> list[Binding]:
    """Return the bindings of a tree without those that only this hierarchy holds."""
    holder = one.name if member is not one.members[0] else NO_TIE
    return without_holder(bindings_in(backend, member.tree.id), member.place("/"), names, holder)


def _is_held(found: Iterable[Binding], name: str, root: Place) -> bool:
    return any(item.name == name and item.root == root and item.holders for item in found)


def stop_steps(
    backend: ContainerReader, one: Hierarchy, names: Sequence[str], empty: bool = False
) -> list[Step]:
    """Return the steps that end the programs of the unbound subsystems.

    They are the last steps, unless the hierarchy is empty: then they can be undone. Programs that
    another hierarchy uses continue.
    """
    return [
        StopEnforcement(name, member.place("/"), f"unbind {name}", empty)
        for member in one.members
        for name in names
        if name in member.virtual and subsys.is_enforced(name)
        if not _is_held(_without(backend, one, member, names), name, member.place("/"))
    ]


def _reset_steps(backend: CgroupState, name: str, root: Place, action: str) -> Iterator[Step]:
    """Yield the steps that reset the limits which pcont derived from a subsystem's settings, and
    remove its attributes.
    """
    table = subsys.by_key(name)
    assert table
    top = LiveSite(ControlFiles(backend), root, root, name)
    for place, file, _ in following(table, top):
        row = subsys.row(file)
        if row and file in ControlFiles(backend).stored_names(place):
            yield WriteFiles([Setting(place, file, row.type.show(row.default))], action)
    for place in _places(top):
        for file in table.by_name:
            if file in backend.attributes(place):
                yield SetXattr(place, file, None, action)


def _places(site: LiveSite) -> Iterator[Place]:
    waiting = [site]
    while waiting:
        one = waiting.pop()
        yield one.place
        waiting += one.children()


def virtual_values(backend: CgroupState, one: Hierarchy, names: Iterable[str]) -> Iterator[str]:
    """Yield the settings of subsystems that pcont provides, as PLACE KEY=VALUE."""
    for member in one.members:
        root = member.place("/")
        for name in names:
            table = subsys.by_key(name) if name in member.virtual else None
            top = LiveSite(ControlFiles(backend), root, root, name)
            for place in _places(top) if table else ():
                path = member.inside(place.path)
                values = backend.attributes(place).items()
                found = [(file, text) for file, text in values if table and file in table.by_name]
                found += _enforced_values(backend, table, place, root) if table else []
                yield from (f"{one.name}:{path} {file}={text}" for file, text in found)


def _enforced_values(
    backend: CgroupState, table: Subsystem, place: Place, root: Place
) -> Iterator[tuple[str, str]]:
    """Yield the values of programs in the kernel that differ from the defaults."""
    for row in table.files:
        if row.virtual.enforced and row.access.writable and row.access.where.holds(place == root):
            text = ControlFiles(backend).stored(place, row.name).rstrip("\n")
            if text != row.type.show(row.begins(place == root)):
                yield row.name, text


def needed(registry: Registry, one: Hierarchy, place: Place) -> bool:
    """Return whether another tie has its root at or below a container."""
    return any(
        member.tree.id == place.tree and below(member.at, place.path) is not None
        for tie in _others(registry, one)
        for member in tie.members
    )


def _others(registry: Registry, one: Hierarchy) -> list[Hierarchy]:
    return [tie for tie in registry.ties if tie.name != one.name]


def member_steps(
    session: Session, registry: Registry, one: Hierarchy, member: Member, lingers: bool = False
) -> list[Step]:
    """Return the steps that unmount what pcont mounted for a tie, unless another tie uses it."""
    assert one.tie
    tree = member.tree
    ours = [mount for mount in tree.mounts if mount.ours]
    if tree.id not in one.tie.mounted or not ours:
        return []
    if any(tree.id == each.tree.id for tie in _others(registry, one) for each in tie.members[1:]):
        session.warn(f"{tree.id} stays mounted: another tie uses it")
        return []
    return _umount_steps(tree, ours, len(ours) == len(tree.mounts), lingers)


def _can_go(session: Session, place: Place, going: set[Place]) -> bool:
    backend = session.backend
    if not exists(backend, place):
        return False
    inside = [name for name in backend.children(place) if place.child(name) not in going]
    if inside or backend.read(place, "tasks").strip():
        session.warn(f"{backend.show(place)} is kept: tasks or containers are in it")
        return False
    return True


def _deepest_first(steps: Sequence[Step]) -> list[Step]:
    """Order the steps: each mount before those that contain it; steps before the mounts stay first.

    Each mount keeps its directories, which are removed after it.
    """
    before: list[Step] = []
    mounts: list[tuple[int, list[Step]]] = []
    for step in steps:
        if isinstance(step, UmountTree):
            mounts.append((_depth(step.mount), [step]))
        else:
            (mounts[-1][1] if isinstance(step, RemoveDirectory) else before).append(step)
    mounts.sort(key=lambda one: one[0], reverse=True)
    return [*before, *(step for _, group in mounts for step in group)]


def _depth(mount: Mount) -> int:
    return mount.point.count("/")


def _umount_steps(tree: Tree, mounts: list[Mount], last: bool, lingers: bool = False) -> list[Step]:
    steps: list[Step] = []
    mounts = sorted(mounts, key=_depth, reverse=True)
    for mount in mounts:
        action = f"unmount {tree.id} from {mount.point}"
        steps.append(UmountTree(tree, mount, last and mount is mounts[-1], action, lingers))
        steps += [RemoveDirectory(directory, action) for directory in mount.made]
    return steps
