"""mount: mount a hierarchy of the kernel, or one more view of an existing one."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from shlex import quote

from pcont.errors import Busy, NotFound, PcontError, Unsupported, UsageProblem
from pcont.hierarchy.presence import how_to_mount
from pcont.hierarchy.registry import REHEARSE, OptionString, Registry
from pcont.kernel.paths import check_path, join
from pcont.kernel.types import UNIFIED, Place, Tree, TreeRequest
from pcont.ops import cpuset_memset
from pcont.ops.mount_request import (
    MountRequest,
    agent_steps,
    check_name,
    mount_steps,
    mountpoint,
    point_of,
    refuse_unified,
    requested_subsystems,
    split_virtual,
    virtual_bind_steps,
    whereabouts,
)
from pcont.ops.remount import complete, has_the_set
from pcont.ops.tie import mount_tie
from pcont.records import Mounted
from pcont.session import Session, checks_first
from pcont.subsys.memset import MEMSET
from pcont.virtual import auto_delete

NOT_SAID = "--tie needs -o SUBSYS,..., the subsystems of the hierarchies to tie"


@checks_first
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
    """Mount a hierarchy with the subsystems of `options`: "all", "none" or a list.

    The same set again is the same hierarchy, seen at one more directory. Without `options`, `name`
    is that of an existing hierarchy, of which what is missing is mounted; without both, all
    subsystems are bound. `point`: an absolute directory, or one that starts with ./; it is empty,
    unless the session forces it. `tie`: over kernel hierarchies that are bound already, each on its
    own; rooted at the container `at` of each, with the freezer unless `freezer` is false.
    `release_agent`: the program that is run for containers with notify_on_release=1 that become
    empty; `notify_on_release`: new ones have that. Raises Busy for a subsystem that is bound
    elsewhere and for a directory in use, NotFound for an unknown subsystem or name, BadValue for an
    empty word or an agent that others could replace, Unsupported for what cgroup v2 has if there is
    no name. With a name, what cgroup v2 has is a tie with a member there (ops/unified.py).
    """
    check_path(at or "/")
    auto_delete.check_agent(release_agent)
    point = mountpoint(session.backend, [point] if point else [], options)
    point = point and session.backend.resolve(point)
    name = name or (os.path.basename(point) if tie else "")
    with session.exclusive() as registry:
        there = _named(registry, name)
        request = MountRequest(
            (), (), name, point, release_agent, at, freezer, frozenset(), notify_on_release
        )
        if options is None and name:
            _check_tie_options(request, tie)
            return _by_name(session, registry, there, request, tie)
        given = registry.parsed("all" if options is None else options)
        names = _asked_for(registry, None if options is None else given, point, name, tie)
        controllers, virtual = split_virtual(registry, names)
        if _is_on_v2(session, registry, there, controllers, tie) and (
            name := name or os.path.basename(point) or _for_v1(session, registry, names)
        ):
            tie, there = True, there or _named(registry, name)
            request = request._replace(name=name)
        _check_tie_options(request, tie)
        asked = cpuset_memset.asked_for(given, names)
        request = request._replace(
            controllers=controllers, virtual=virtual, at=join("/", at), cpuset_memset=asked
        )
        there = there or _same(registry, request, tie)
        if there:
            return complete(session, there, request, known=True, tie=tie)
        # A hierarchy with one subsystem has its name, even if pcont provides the subsystem.
        if not (request.name or request.controllers):
            (lent,) = request.virtual
            request = request._replace(name=lent)
        return (mount_tie if tie else _mount_fresh)(session, registry, request)


def _named(registry: Registry, name: str) -> Tree | None:
    """Return the tree with a name; None if there is none, or the name is empty."""
    return next((one for one in registry.trees if name and one.name == name), None)


def _check_tie_options(request: MountRequest, tie: bool) -> None:
    """Raise UsageProblem for options that only a tie has."""
    if (request.at or not request.freezer) and not tie:
        raise UsageProblem("--at and --no-freezer need --tie")


def _is_on_v2(
    session: Session,
    registry: Registry,
    there: Tree | None,
    controllers: Sequence[str],
    tie: bool,
) -> bool:
    """Return whether a hierarchy has a part in cgroup v2, or a new one is to have it."""
    if UNIFIED not in registry.by_id:
        return False
    from pcont.ops import unified  # only cgroup v2 needs it

    one = registry.rooted_in(there.id) if there else None
    return bool(one and one.unified_member) or bool(
        unified.served(session, registry, controllers, tie)
    )


def _for_v1(session: Session, registry: Registry, names: Sequence[str]) -> str:
    """Return the empty name if subsystems that cgroup v2 has are to be taken for a hierarchy of v1
    without a name, or what they require. Raises Unsupported if that is not forced.
    """
    if session.force:
        return ""
    from pcont.ops.users_of_v2 import in_use_by, users_of  # only cgroup v2 needs it

    controllers, _ = split_virtual(registry, names)
    words, users = ",".join(controllers), users_of(registry, controllers)
    raise Unsupported(
        f"cgroup v2 has {words}{in_use_by(users)}, and a hierarchy of cgroup v2 needs a name",
        hint=f"pcont mount -o {','.join(names)} --name jobs; {REHEARSE}",
    )


def _by_name(
    session: Session, registry: Registry, there: Tree | None, request: MountRequest, tie: bool
) -> Mounted:
    """Mount the missing trees of a hierarchy by its name; raises NotFound if there is none."""
    if there:
        return complete(session, there, request, known=False, tie=tie)
    check_name(registry, request.name)
    words = f"{'--tie ' * tie}--name {request.name} -o {registry.example}"
    hint = f"make one: pcont mount {words}"
    if tie:
        raise UsageProblem(NOT_SAID, hint=hint)
    raise NotFound(f"there is no hierarchy {request.name}", hint=hint)


def _asked_for(
    registry: Registry, options: OptionString | None, point: str, name: str, tie: bool
) -> tuple[str, ...]:
    """Return the request that the arguments mean; raises UsageProblem if they do not fit."""
    controllers = requested_subsystems(registry, options or registry.parsed("all"))
    last = os.path.basename(point)
    if options is None and not (tie or point):
        raise UsageProblem("nothing to mount: -o, --name or MOUNTPOINT is missing")
    if options is None and tie:
        raise UsageProblem(NOT_SAID)
    if options is None and last in controllers:
        raise UsageProblem(f"{last} is a subsystem: -o is missing", hint=f"pcont mount -o {last}")
    kernels, virtual = split_virtual(registry, controllers)
    if not name and (tie or not (kernels or len(virtual) == 1)):
        raise UsageProblem(
            "this hierarchy needs a name", hint="give --name NAME, or with --tie a MOUNTPOINT"
        )
    return controllers


def _same(registry: Registry, request: MountRequest, tie: bool) -> Tree | None:
    """Return the hierarchy with exactly these subsystems; raises Busy if its name differs."""
    for one in registry.hierarchies:
        if not has_the_set(registry.backend, one, request, tie):
            continue
        tree = one.members[0].tree
        if request.name in ("", tree.name):
            return tree
        held = f"{', '.join(request.subsystems)} are already one hierarchy"
        raise Busy(f"{held}: {whereabouts(one)}", hint=f"use it: pcont tree {quote(one.name)}")
    return None


def _tree_id(registry: Registry, tree: TreeRequest) -> str:
    """Return how the kernel will write the hierarchy in /proc/PID/cgroup: in its own order."""
    words = [one.name for one in registry.controllers if one.name in tree.controllers]
    return ",".join([*words, f"name={tree.name}"] if tree.name else words)


def _mount_fresh(session: Session, registry: Registry, request: MountRequest) -> Mounted:
    """Mount one hierarchy of the kernel with all subsystems of the request, as the patch does."""
    cpuset_memset.refuse_beside(registry, request.cpuset_memset, "/", request.name)
    holders = registry.holders(request.controllers)
    if holders:
        raise _busy(registry, request, holders)
    check_name(
        registry, request.name, lent=request.virtual == request.subsystems == (request.name,)
    )
    refuse_unified(session, registry, request.controllers)
    tree = TreeRequest(request.controllers, request.name)
    steps = mount_steps(session, tree, request.point)
    root = Place(_tree_id(registry, tree))
    steps += [
        *virtual_bind_steps(
            session.backend, request.virtual, [root], request.name, request.cpuset_memset
        ),
        *agent_steps(request, root.tree),
    ]
    session.carry_out(steps)
    return Mounted(request.name or ",".join(request.controllers), point_of(steps))


def _example_names() -> Iterator[str]:
    """Return the options for a hint that makes a hierarchy."""
    yield "jobs"
    yield from (f"jobs{number}" for number in itertools.count(2))


def _busy(registry: Registry, request: MountRequest, holders: list[Tree]) -> PcontError:
    singles = {one.members[0].tree.id: one for one in registry.hierarchies}
    holding = "; ".join(
        f"{', '.join(sorted(set(tree.controllers) & set(request.controllers)))} is bound to "
        f"{whereabouts(singles[tree.id])}"
        for tree in holders
    )
    if MEMSET in request.cpuset_memset:
        holding = f"{holding}; {cpuset_memset.ONE}"
    unmounted = next((tree for tree in holders if not tree.mounted), None)
    taken = {tree.name for tree in registry.trees}
    name = request.name or next(one for one in _example_names() if one not in taken)
    words = f"--name {name} -o {','.join(request.subsystems)}"
    hint = f"make one hierarchy over those that are bound already: pcont mount --tie {words}"
    return Busy(
        f"cannot mount {','.join(request.controllers)} as one hierarchy of the kernel: {holding}",
        hint=how_to_mount(registry.backend, unmounted) if unmounted else hint,
    )
