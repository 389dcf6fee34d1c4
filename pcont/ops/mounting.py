"""mount and umount: hierarchies come and go, by the patch's rules (patch semantics, 1.2, 1.3)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass

from pcont.backend import Backend, Mount, Place, Tree, TreeRequest, check_path, join
from pcont.errors import BadValue, Busy, Denied, NotFound, PcontError, Unsupported, UsageProblem
from pcont.hierarchy import TIE, Hierarchy, Registry, Tie, exists
from pcont.ops.containers import create_steps
from pcont.session import Session
from pcont.steps import Step
from pcont.steps.containers import Mark, Remove
from pcont.steps.mounts import MakeDirectory, MountTree, RemoveDirectory, UmountTree, find
from pcont.steps.settings import Setting, Write

NAME = re.compile(r"[A-Za-z0-9._-]{1,63}")  # kernel/cgroup/cgroup-v1.c, cgroup1_parse_param()
FREEZER = "freezer"


@dataclass(frozen=True)
class Mounted:
    """A hierarchy and the directory where it can be looked into now."""

    hierarchy: str
    mountpoint: str


@dataclass(frozen=True)
class Wish:
    """What the caller of mount asked for, its words checked."""

    controllers: tuple[str, ...]
    name: str
    point: str
    release_agent: str
    at: str
    freezer: bool


def mount(
    session: Session,
    options: str = "all",
    point: str = "",
    *,
    name: str = "",
    release_agent: str = "",
    tie: bool = False,
    at: str = "",
    freezer: bool = True,
) -> Mounted:
    """Mount a hierarchy with the subsystems of `options` ("all", "none" or a comma list).

    The same set again is the same hierarchy, seen at one more directory. `tie`: over kernel
    hierarchies that are bound already, each on its own; rooted at the container `at` of each, the
    freezer among them unless told otherwise. Raises Busy for a subsystem that is bound elsewhere,
    NotFound for an unknown one, BadValue for an empty word, Unsupported for what cgroup v2 has.
    """
    if at and not tie:
        raise UsageProblem("--at goes with --tie")
    if point and not point.startswith("/"):
        point = os.path.abspath(point)
    check_path(at or "/")
    with session.turn() as registry:
        wanted = _wanted(registry, options)
        name = name or (os.path.basename(point.rstrip("/")) if tie else "")
        if not name and (tie or not wanted):
            raise UsageProblem(
                "this hierarchy needs a name", hint="give --name NAME, or with --tie a MOUNTPOINT"
            )
        wish = Wish(wanted, name, point, release_agent, join("/", at), freezer)
        same = _same(registry, wish, tie)
        if same:
            return _again(session, registry, wish, same)
        if tie:
            return _mount_tie(session, registry, wish)
        return _mount_fresh(session, registry, wish)


def _wanted(registry: Registry, options: str) -> tuple[str, ...]:
    """The controllers that the words of an option string ask for, in the kernel's order."""
    words, known = options.split(","), registry.known_subsystems()
    if not all(words):
        raise BadValue(f"there is an empty word in {options!r}")
    unknown = [word for word in words if word not in (*known, "all", "none")]
    if unknown:
        raise NotFound(
            f"no subsystem {', '.join(map(repr, unknown))}", hint=f"known: {', '.join(known)}"
        )
    if "none" in words and len(set(words)) > 1:
        raise BadValue(f"none excludes every other subsystem: {options!r}")
    return tuple(one for one in known if "all" in words or one in words)


def _same(registry: Registry, wish: Wish, tie: bool) -> Hierarchy | None:
    """The hierarchy with exactly this set; Busy where it goes by another name."""
    for one in registry.hierarchies:
        if tie and not one.tie:
            continue
        named = one.members[0].tree.name
        if set(one.subsystems) != set(wish.controllers) or not (wish.controllers or named):
            continue
        if wish.name in ("", named):
            return one
        if wish.controllers:
            held = f"{', '.join(wish.controllers)} are one hierarchy already"
            raise Busy(f"{held}: {_whereabouts(one)}", hint=f"it is selected by {one.name}:")
    return None


def _whereabouts(one: Hierarchy) -> str:
    points = [mount.point for mount in one.members[0].tree.mounts]
    return f"{one.name} " + (f"at {', '.join(points)}" if points else "(active, not mounted)")


def _again(session: Session, registry: Registry, wish: Wish, same: Hierarchy) -> Mounted:
    """One more view of what is there; nothing of it is reset."""
    tree = same.members[0].tree
    points = [mount.point for mount in tree.mounts]
    if wish.point in points or (points and not wish.point):
        session.carry_out(_agent_steps(wish, tree.id))
        return Mounted(same.name, wish.point or points[0])
    request = TreeRequest(tree.controllers, tree.name)
    point = wish.point or session.backend.default_directory(_default_name(request))
    steps = _mount_steps(session.backend, registry, request, point)
    session.carry_out([*steps, *_agent_steps(wish, tree.id)])
    return Mounted(same.name if tree.mounted else wish.name or same.name, point)


def _default_name(request: TreeRequest) -> str:
    return request.name or ",".join(request.controllers)


def _mount_steps(
    backend: Backend, registry: Registry, request: TreeRequest, point: str
) -> list[Step]:
    for tree in registry.trees:
        if any(mount.point == point for mount in tree.mounts):
            raise Busy(f"another hierarchy is mounted there: {tree.id}", path=point)
    missing = backend.missing(point)
    doing = f"mount {request.options} at {point}"
    made: list[Step] = [MakeDirectory(directory, doing) for directory in missing]
    return [*made, MountTree(request, point, doing, made=len(missing))]


def _agent_steps(wish: Wish, tree: str) -> list[Step]:
    # release_agent= as a mount option is ignored on a hierarchy that exists; the file is not.
    if not wish.release_agent:
        return []
    setting = Setting(Place(tree), "release_agent", wish.release_agent)
    return [Write([setting], f"set the release agent of {tree}")]


def _check_name(registry: Registry, name: str) -> None:
    if not name:
        return
    if not NAME.fullmatch(name):
        raise BadValue(
            f"{name!r} is no name for a hierarchy: 1 to 63 letters, digits, dots, dashes and "
            "underscores"
        )
    if name in (*(one.name for one in registry.controllers), "all", "none"):
        raise BadValue(f"{name!r} is taken by a subsystem, or has a meaning of its own")
    taken = next((tree for tree in registry.trees if tree.name == name), None)
    if taken:
        raise Busy(
            f"the name {name} is taken: {taken.id} exists, with other subsystems",
            hint="choose another --name",
        )


def _refuse_unified(session: Session, registry: Registry, wanted: Iterable[str]) -> None:
    """Taking a controller for v1 takes it away from those who count on v2."""
    there = [one.name for one in registry.controllers if one.unified and one.name in set(wanted)]
    if not there:
        return
    what = f"{', '.join(there)}: cgroup v2 is mounted and has it, and pcont has no v2 trees yet"
    if not session.chosen:
        raise Unsupported(
            what, hint="--backend cgroupfs takes it for v1; --backend model rehearses"
        )
    session.warn(f"{', '.join(there)} taken from cgroup v2 for v1, as --backend cgroupfs says")


def _tree_id(registry: Registry, request: TreeRequest) -> str:
    """How the kernel will spell the hierarchy in /proc/PID/cgroup: controllers in its own order."""
    words = [one.name for one in registry.controllers if one.name in request.controllers]
    return ",".join([*words, f"name={request.name}"] if request.name else words)


def _mount_fresh(session: Session, registry: Registry, wish: Wish) -> Mounted:
    """One hierarchy of the kernel with all that was asked for: exactly the patch."""
    holders = registry.holders(wish.controllers)
    if holders:
        raise _busy(registry, wish, holders)
    _check_name(registry, wish.name)
    _refuse_unified(session, registry, wish.controllers)
    request = TreeRequest(wish.controllers, wish.name)
    point = wish.point or session.backend.default_directory(_default_name(request))
    steps = _mount_steps(session.backend, registry, request, point)
    session.carry_out([*steps, *_agent_steps(wish, _tree_id(registry, request))])
    return Mounted(wish.name or ",".join(wish.controllers), point)


def _busy(registry: Registry, wish: Wish, holders: list[Tree]) -> PcontError:
    singles = {one.members[0].tree.id: one for one in registry.hierarchies}
    who = "; ".join(
        f"{', '.join(set(tree.controllers) & set(wish.controllers))} is bound to "
        f"{_whereabouts(singles[tree.id])}"
        for tree in holders
    )
    return Busy(
        f"cannot mount {','.join(wish.controllers)} as one hierarchy of the kernel: {who}",
        hint="--tie --name NAME makes one hierarchy over those that are bound already",
    )


def _mount_tie(session: Session, registry: Registry, wish: Wish) -> Mounted:
    """A home of pcont's own, and as members the kernel hierarchies that have what was asked for."""
    backend = session.backend
    home = TreeRequest((), wish.name)
    point = wish.point or backend.default_directory(wish.name)
    if find(backend, home):
        return _revive(session, registry, wish, home, point)
    _check_name(registry, wish.name)
    holders = registry.holders(_members_wanted(registry, wish))
    bound = {name for tree in holders for name in tree.controllers}
    free = [name for name in _members_wanted(registry, wish) if name not in bound]
    _refuse_unified(session, registry, free)
    steps = _mount_steps(backend, registry, home, point)
    for name in free:
        steps += _mount_steps(
            backend, registry, TreeRequest((name,)), backend.default_directory(name)
        )
    made = [
        place
        for tree in holders
        for place in _lineage(tree.id, wish.at)
        if not exists(backend, place)
    ]
    made += [place for name in free for place in _lineage(name, wish.at)]
    tie = Tie(
        wish.controllers,
        (*(tree.id for tree in holders), *free),
        wish.at,
        tuple(f"{place.tree}:{place.path}" for place in made),
        tuple(free),
    )
    done = session.carry_out(
        [
            *steps,
            Mark(Place(f"name={wish.name}"), TIE, tie.dump(), f"tie {wish.name}"),
            *_agent_steps(wish, f"name={wish.name}"),
        ]
    )
    try:
        _make_roots(session, made)
    except BaseException as err:
        session.take_back(done, err)
        raise
    return Mounted(wish.name, point)


def _members_wanted(registry: Registry, wish: Wish) -> list[str]:
    """What was asked for, and the freezer where the host has one for v1: moves need it."""
    names = list(wish.controllers)
    has = {one.name for one in registry.controllers if one.enabled and not one.unified}
    if wish.freezer and FREEZER in has and FREEZER not in names:
        names.append(FREEZER)
    return names


def _lineage(tree: str, path: str) -> list[Place]:
    words = path.strip("/").split("/") if path != "/" else []
    return [Place(tree, "/" + "/".join(words[: end + 1])) for end in range(len(words))]


def _make_roots(session: Session, made: list[Place]) -> None:
    """The containers of --at, each with its parent's settings, so that it can be entered."""
    if not made:
        return
    if session.dry_run:
        session.planned += [f"mkdir {session.backend.show(place)}" for place in made]
        return
    registry = session.registry()
    steps: list[Step] = []
    for place in made:
        single = registry.find(place.tree.split(",")[0]).container(place.path)
        steps += create_steps(session.backend, single, parents=False)
    session.carry_out(steps)


def _revive(
    session: Session, registry: Registry, wish: Wish, home: TreeRequest, point: str
) -> Mounted:
    """Mount a home that was unmounted with containers in it, and see whether it is this tie."""
    if any(tree.name == wish.name and tree.mounted for tree in registry.trees):
        _check_name(registry, wish.name)
    steps = _mount_steps(session.backend, registry, home, point)
    done = session.carry_out(steps)
    if session.dry_run:
        return Mounted(wish.name, point)
    try:
        registry = session.registry()
        back = next((one for one in registry.ties if one.name == wish.name), None)
        if back is None or set(back.subsystems) != set(wish.controllers):
            has = ", ".join(back.subsystems) if back else "none"
            raise Busy(
                f"{wish.name} was unmounted with containers in it, and has other subsystems: {has}",
                hint=f"pcont mount --tie --name {wish.name} -o {has}",
            )
        again: list[Step] = []
        for member in back.members[1:]:
            if not member.tree.mounted:
                request = TreeRequest(member.tree.controllers, member.tree.name)
                where = session.backend.default_directory(_default_name(request))
                again += _mount_steps(session.backend, registry, request, where)
        session.carry_out([*again, *_agent_steps(wish, f"name={wish.name}")])
    except BaseException as err:
        session.take_back(done, err)
        raise
    return Mounted(wish.name, point)


def umount(session: Session, target: str, *, foreign: bool = False) -> None:
    """Unmount a hierarchy, or the one view of it at a mount point.

    A hierarchy with containers stays active, and mounting the same set again brings it back; one
    without is gone afterwards. Of a tie, only what pcont mounted is unmounted. Raises Denied for
    mounts of others, Busy for one in use, or one that the kernel does not let go of.
    """
    with session.turn() as registry:
        if target.startswith("/"):
            one, mounts = _at_point(session, registry, target)
        else:
            one = registry.find(target)
            mounts = list(one.members[0].tree.mounts)
            if not one.tie and len(one.members) > 1:
                raise UsageProblem(f"{target} is several hierarchies: umount takes one")
        tree = one.members[0].tree
        if not mounts:
            raise NotFound(f"{one.name} is not mounted")
        mounts = _allowed(one, mounts, foreign)
        last = len(mounts) == len(tree.mounts)
        if last and not one.tie:
            _need_untied(registry, tree)
        children = session.backend.children(Place(tree.id))
        steps = _tie_steps(session, one, bool(children)) if one.tie and last else []
        steps += _umount_steps(tree, mounts, last)
        session.carry_out(steps)
        if last and children:
            session.warn(_stays(one, len(children)))


def _at_point(session: Session, registry: Registry, target: str) -> tuple[Hierarchy, list[Mount]]:
    point = session.backend.resolve(target)
    for one in registry.hierarchies:
        mounts = [mount for mount in one.members[0].tree.mounts if mount.point == point]
        if mounts:
            return one, mounts
    raise NotFound(
        "no hierarchy is mounted there", path=target, hint="pcont hierarchies lists the mounts"
    )


def _allowed(one: Hierarchy, mounts: list[Mount], foreign: bool) -> list[Mount]:
    ours = [mount for mount in mounts if mount.ours or foreign]
    if ours:
        return ours
    raise Denied(
        f"{one.name} was not mounted by pcont",
        path=mounts[0].point,
        hint="umount --foreign does it all the same",
    )


def _need_untied(registry: Registry, tree: Tree) -> None:
    for tie in registry.ties:
        if tree.id in (member.tree.id for member in tie.members):
            raise Busy(f"{tree.id} is part of {tie.name}", hint=f"pcont umount {tie.name} first")


def _stays(one: Hierarchy, count: int) -> str:
    words = f"-o {','.join(one.subsystems) or 'none'}"
    name = one.members[0].tree.name
    words += f" --name {name}" if name else ""
    words += " --tie" if one.tie else ""
    return (
        f"{one.name} stays active, for it has containers ({count} below its root); "
        f"pcont mount {words} brings it back"
    )


def _tie_steps(session: Session, one: Hierarchy, stays: bool) -> list[Step]:
    """What goes with a tie: the containers of --at that pcont made, the members it mounted."""
    assert one.tie
    steps: list[Step] = []
    for text in reversed(one.tie.made_at) if not stays else ():
        place = Place(*text.split(":", 1))
        if _can_go(session, place, {step.place for step in steps if isinstance(step, Remove)}):
            steps.append(Remove(place, f"remove {text}"))
    for member in one.members[1:]:
        if member.tree.id in one.tie.mounted and member.tree.mounted:
            steps += _umount_steps(member.tree, list(member.tree.mounts), True)
    return steps


def _can_go(session: Session, place: Place, going: set[Place]) -> bool:
    backend = session.backend
    if not exists(backend, place):
        return False
    inside = [name for name in backend.children(place) if place.child(name) not in going]
    if inside or backend.read(place, "tasks").strip():
        session.warn(f"{backend.show(place)} stays: tasks or containers are in it")
        return False
    return True


def _umount_steps(tree: Tree, mounts: list[Mount], last: bool) -> list[Step]:
    steps: list[Step] = []
    for mount in mounts:
        doing = f"unmount {tree.id} from {mount.point}"
        steps.append(UmountTree(tree, mount, last and mount is mounts[-1], doing))
        steps += [RemoveDirectory(directory, doing) for directory in mount.made]
    return steps
