"""mount --tie: one hierarchy over several of the kernel's, with a home tree that records them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pcont import subsys
from pcont.hierarchy.container import TIE, Tie, as_made_at
from pcont.hierarchy.presence import reachable
from pcont.hierarchy.registry import Registry
from pcont.kernel.refusals import exists
from pcont.kernel.types import UNIFIED, Place, TreeRequest
from pcont.ops import cpuset_memset
from pcont.ops.containers import create_steps
from pcont.ops.mount_request import (
    MountRequest,
    agent_steps,
    check_apart,
    check_name,
    lineage,
    mount_steps,
    point_of,
    refuse_unified,
    virtual_bind_steps,
)
from pcont.records import Mounted
from pcont.session import Session
from pcont.steps.creation import CreateContainer
from pcont.steps.xattr import SetXattr

if TYPE_CHECKING:
    from pcont.ops.unified import Share


def mount_tie(session: Session, registry: Registry, request: MountRequest) -> Mounted:
    """Mount a home tree of pcont, and take kernel hierarchies with the subsystems as members."""
    backend = session.backend
    home = TreeRequest((), request.name)
    check_name(registry, request.name)
    cpuset_memset.refuse_beside(registry, request.cpuset_memset, request.at, request.name)
    share = _share(session, registry, request)
    wanted = _members_wanted(registry, request, share)
    holders = registry.holders(wanted)
    for tree in holders:
        reachable(backend, tree)
    bound = {name for tree in holders for name in tree.controllers}
    free = [name for name in wanted if name not in bound]
    refuse_unified(session, registry, free)
    steps = mount_steps(session, home, request.point)
    point = point_of(steps)
    for name in free:
        steps += mount_steps(session, TreeRequest((name,)))
    check_apart(steps)
    made = [
        place
        for tree in holders
        for place in lineage(Place.at(tree), request.at)
        if not exists(backend, place)
    ]
    made += [place for name in free for place in lineage(Place(name), request.at)]
    tie = Tie(
        request.subsystems,
        (*(tree.id for tree in holders), *free),
        request.at,
        as_made_at(made),
        tuple(free),
    )
    if share:
        from pcont.ops import unified

        tie = unified.with_share(session, registry, tie, share)
    home_place = Place(f"name={request.name}")
    steps.append(SetXattr(home_place, TIE, tie.dump(), f"tie {request.name}"))
    with session.staged(steps + agent_steps(request, home_place.tree)):
        make_roots(session, made)
        if share:
            session.carry_out(unified.share_steps(session, registry.unified_member(tie)))
        roots = [home_place, *(Place(id, request.at) for id in tie.trees if id != UNIFIED)]
        roots += [registry.unified_member(tie).place("/")] if share else []
        session.carry_out(
            virtual_bind_steps(backend, request.virtual, roots, request.name, request.cpuset_memset)
        )
    return Mounted(request.name, point)


def _share(session: Session, registry: Registry, request: MountRequest) -> Share | None:
    """Return what the tie has in cgroup v2; None if it has nothing there."""
    if UNIFIED not in registry.by_id:
        return None
    from pcont.ops import unified  # only cgroup v2 needs it

    return unified.share_of(session, registry, request)


def _members_wanted(registry: Registry, request: MountRequest, share: Share | None) -> list[str]:
    """Return the requested subsystems that v1 has, and the freezer if the host has it for v1.
    cgroup v2 freezes by itself.
    """
    if share:
        return [name for name in request.controllers if name not in share.names]
    names = list(request.controllers)
    has = {one.name for one in registry.controllers if one.enabled and not one.unified}
    if request.freezer and subsys.FREEZER in has and subsys.FREEZER not in names:
        names.append(subsys.FREEZER)
    return names


def make_roots(session: Session, made: list[Place]) -> None:
    """Create the containers that are to be the root of a tie in its member trees (`mount --tie
    --at`).

    Each gets its parent's settings, so that tasks can enter.
    """
    if not made:
        return
    if session.dry_run:
        # The trees do not exist yet, so the inherited settings are not known.
        session.carry_out([CreateContainer(place, "make the root of a tie") for place in made])
        return
    registry = session.registry()
    singles = [registry.find(place.tree.split(",")[0]).container(place.path) for place in made]
    session.carry_out(create_steps(session.backend, *singles, parents=False))
