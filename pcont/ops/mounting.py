"""mount: a hierarchy of the kernel, or one more view of one that is there."""

from __future__ import annotations

import os
from dataclasses import replace

from pcont import release
from pcont.backend import Backend, Place, Tree, TreeRequest, check_path, join
from pcont.errors import Busy, Denied, PcontError, UsageProblem
from pcont.hierarchy import Hierarchy, Registry, how_to_mount
from pcont.ops import halves
from pcont.ops.tying import mount_tie, revive
from pcont.ops.wishes import (
    Wish,
    agent_steps,
    apart,
    check_name,
    kept_steps,
    mount_steps,
    point_of,
    refuse_unified,
    wanted,
    whereabouts,
)
from pcont.records import Mounted
from pcont.session import Session


def mount(
    session: Session,
    options: str | None = None,
    point: str = "",
    *,
    name: str = "",
    release_agent: str = "",
    notify_on_release: bool = False,
    tie: bool = False,
    at: str = "",
    freezer: bool = True,
) -> Mounted:
    """Mount a hierarchy with the subsystems of `options`: "all" (the default), "none" or a list.

    The same set again is the same hierarchy, seen at one more directory. `tie`: over kernel
    hierarchies that are bound already, each on its own; rooted at the container `at` of each, the
    freezer among them unless told otherwise. `release_agent`: the program that is run for
    containers with notify_on_release=1 that become empty; `notify_on_release`: new ones have that.
    Raises Busy for a subsystem that is bound elsewhere, NotFound for an unknown one, BadValue for
    an empty word or an agent that others could replace, Unsupported for what cgroup v2 has.
    """
    if (at or not freezer) and not tie:
        raise UsageProblem("--at and --no-freezer go with --tie")
    check_path(at or "/")
    release.check_agent(release_agent)
    if point:
        point = session.backend.resolve(os.path.abspath(point))
    name = name or (os.path.basename(point) if tie else "")
    with session.turn() as registry:
        lost = next((one for one in registry.trees if one.name == name and not one.mounted), None)
        names = _asked_for(registry, options, point, name, bool(lost), tie)
        words = apart(registry, names)
        root = join("/", at)
        asked = halves.asked_for(registry, "all" if options is None else options, names)
        wish = Wish(*words, name, point, release_agent, root, freezer, asked, notify_on_release)
        if name and lost:
            return revive(session, lost, wish, known=options is not None, tie=tie)
        same = _same(registry, wish, tie)
        if same:
            return _again(session, wish, same)
        # A hierarchy of one subsystem of pcont's is called like it, as those of the kernel's are.
        if not (wish.name or wish.controllers):
            (lent,) = wish.kept
            wish = replace(wish, name=lent)
        return (mount_tie if tie else _mount_fresh)(session, registry, wish)


def _asked_for(
    registry: Registry, options: str | None, point: str, name: str, lost: bool, tie: bool
) -> tuple[str, ...]:
    """The subsystems that the words of the call mean; UsageProblem where they do not fit."""
    controllers = wanted(registry, "all" if options is None else options)
    last = os.path.basename(point)
    if options is None and tie and not lost:
        raise UsageProblem("--tie needs -o SUBSYS,...: which hierarchies are to be tied")
    if options is None and last in controllers and not name:
        raise UsageProblem(f"{last} is a subsystem: -o is missing", hint=f"pcont mount -o {last}")
    kernels, kept = apart(registry, controllers)
    if not name and (tie or not (kernels or len(kept) == 1)):
        raise UsageProblem(
            "this hierarchy needs a name", hint="give --name NAME, or with --tie a MOUNTPOINT"
        )
    return controllers


def _same(registry: Registry, wish: Wish, tie: bool) -> Hierarchy | None:
    """The hierarchy with exactly this set; Busy where it goes by another name."""
    for one in registry.hierarchies:
        if not _has_the_set(registry.backend, one, wish, tie):
            continue
        if wish.name in ("", one.members[0].tree.name):
            return one
        held = f"{', '.join(wish.subsystems)} are one hierarchy already"
        raise Busy(f"{held}: {whereabouts(one)}", hint=f"it is selected by {one.name}:")
    return None


def _has_the_set(backend: Backend, one: Hierarchy, wish: Wish, tie: bool) -> bool:
    """Whether that is what is asked for, by its subsystems and, of a tie, where it is rooted."""
    if halves.bound(backend, one) != wish.halves:
        return False
    if tie or one.tie:
        same = tie and one.tie is not None and one.tie.at == wish.at
        return same and set(one.subsystems) == set(wish.subsystems)
    (member,) = one.members
    if set(member.tree.controllers) != set(wish.controllers) or set(wish.kept) - set(member.kept):
        return False
    return bool(wish.controllers) or wish.name in ("", member.tree.name)


def _again(session: Session, wish: Wish, same: Hierarchy) -> Mounted:
    """One more view of what is there; nothing of it is reset."""
    tree = same.members[0].tree
    asked = wish.release_agent or wish.notify
    if asked and tree.mounted and not all(mount.ours for mount in tree.mounts):
        raise Denied(
            f"{same.name} was mounted by others, and has a release agent of theirs or none",
            hint=f"pcont set {same.name}:/ release_agent=FILE notify_on_release=1",
        )
    points = [mount.point for mount in tree.mounts]
    if wish.point in points or (points and not wish.point):
        session.carry_out(agent_steps(wish, tree.id))
        return Mounted(same.name, wish.point or points[0])
    request = TreeRequest(tree.controllers, tree.name)
    steps = mount_steps(session.backend, request, wish.point)
    session.carry_out([*steps, *agent_steps(wish, tree.id)])
    return Mounted(same.name if tree.mounted else wish.name or same.name, point_of(steps))


def _tree_id(registry: Registry, request: TreeRequest) -> str:
    """How the kernel will spell the hierarchy in /proc/PID/cgroup: controllers in its own order."""
    words = [one.name for one in registry.controllers if one.name in request.controllers]
    return ",".join([*words, f"name={request.name}"] if request.name else words)


def _mount_fresh(session: Session, registry: Registry, wish: Wish) -> Mounted:
    """One hierarchy of the kernel with all that was asked for: exactly the patch."""
    halves.refuse_beside(registry, wish.halves, "/", wish.name)
    holders = registry.holders(wish.controllers)
    if holders:
        raise _busy(registry, wish, holders)
    check_name(registry, wish.name, lent=wish.kept == wish.subsystems == (wish.name,))
    refuse_unified(session, registry, wish.controllers)
    request = TreeRequest(wish.controllers, wish.name)
    steps = mount_steps(session.backend, request, wish.point)
    root = Place(_tree_id(registry, request))
    steps += [
        *kept_steps(session.backend, wish.kept, [root], wish.name, wish.halves),
        *agent_steps(wish, root.tree),
    ]
    session.carry_out(steps)
    return Mounted(wish.name or ",".join(wish.controllers), point_of(steps))


def _busy(registry: Registry, wish: Wish, holders: list[Tree]) -> PcontError:
    singles = {one.members[0].tree.id: one for one in registry.hierarchies}
    who = "; ".join(
        f"{', '.join(sorted(set(tree.controllers) & set(wish.controllers)))} is bound to "
        f"{whereabouts(singles[tree.id])}"
        for tree in holders
    )
    if halves.MEMSET in wish.halves:
        who = f"{who}; {halves.ONE}"
    lost = next((tree for tree in holders if not tree.mounted), None)
    hint = "--tie --name NAME makes one hierarchy over those that are bound already"
    return Busy(
        f"cannot mount {','.join(wish.controllers)} as one hierarchy of the kernel: {who}",
        hint=how_to_mount(lost) if lost else hint,
    )
