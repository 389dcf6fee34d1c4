"""mount of an existing hierarchy: mount its missing trees, or one more view of it."""

from __future__ import annotations

from collections.abc import Sequence
from shlex import quote

from pcont import subsys
from pcont.errors import Busy, Denied
from pcont.hierarchy.container import Hierarchy, Member
from pcont.hierarchy.presence import is_active
from pcont.kernel.interfaces import CgroupState
from pcont.kernel.types import Place, Tree, TreeRequest
from pcont.ops import cpuset_memset
from pcont.ops.mount_request import (
    MountRequest,
    agent_steps,
    check_apart,
    kept_steps,
    mount_steps,
    point_of,
    refuse_unified,
)
from pcont.ops.tie import lineage, make_roots
from pcont.records import Mounted
from pcont.session import Session
from pcont.subsys.cpuset import CPUSET
from pcont.subsys.memset import MEMSET
from pcont.transaction.step import Step


def complete(
    session: Session, tree: Tree, wish: MountRequest, *, known: bool, tie: bool
) -> Mounted:
    """Mount the missing parts of the hierarchy with this tree: the tree itself, members of its tie.

    If the tree is mounted and the request names no other point, nothing changes; no setting is
    reset. `known`: the request names the subsystems that the hierarchy has, and for a `tie` its
    root. Raises Busy if the hierarchy has others.
    """
    points = [mount.point for mount in tree.mounts]
    here = tree.mounted and wish.point in ("", *points)
    steps = (
        [] if here else mount_steps(session, TreeRequest(tree.controllers, tree.name), wish.point)
    )
    found = _checked(session, tree, wish, known, tie) if tree.mounted else None
    with session.staged(steps):
        # Until it is mounted, its contents are not known.
        if not (found or session.dry_run):
            found = _checked(session, tree, wish, known, tie)
        elif not found and (known or tie):
            session.planned.append(
                f"# not known: what {wish.name or tree.id} has, until it is mounted; "
                "pcont refuses other subsystems than these"
            )
        if found:
            _mount_members(session, found, steps)
        session.carry_out(agent_steps(wish, tree.id))
    name = found.name if found else wish.name or ",".join(tree.controllers)
    return Mounted(name, (wish.point or points[0]) if here else point_of(steps))


def _checked(session: Session, tree: Tree, wish: MountRequest, known: bool, tie: bool) -> Hierarchy:
    """Return the hierarchy; raises Busy or Denied if it differs from the request."""
    one = session.registry().rooted_in(tree.id)
    assert one
    back = one.members[0].tree
    if (wish.release_agent or wish.notify) and not all(mount.ours for mount in back.mounts):
        raise Denied(
            f"pcont did not mount {one.name}, and does not replace its release agent here",
            hint=f"pcont set {quote(one.name)}:/ {' '.join(_as_settings(wish))}",
        )
    if _is_asked_for(session.backend, one, wish, known, tie):
        return one
    has = f"-o {','.join(one.subsystems) or 'none'}"
    has += f" --tie --at {one.tie.at}" if one.tie else ""
    if tree.mounted:
        state, hint = "exists", "show where it is mounted"
    else:
        state, hint = "was unmounted with containers in it", "mount it as it is"
    hint += f": pcont mount --name {quote(one.name)}"
    raise Busy(f"{one.name} {state}, and has {has}", hint=hint)


def _as_settings(wish: MountRequest) -> list[str]:
    """Return the request for the release agent as words of `pcont set`."""
    agent = [f"release_agent={quote(wish.release_agent)}"] if wish.release_agent else []
    return [*agent, *["notify_on_release=1"] * wish.notify]


def _is_asked_for(
    backend: CgroupState, one: Hierarchy, wish: MountRequest, known: bool, tie: bool
) -> bool:
    if known:
        return has_the_set(backend, one, wish, tie)
    if not tie:
        return True
    return one.tie is not None and wish.at in ("", one.tie.at)


def has_the_set(backend: CgroupState, one: Hierarchy, wish: MountRequest, tie: bool) -> bool:
    """Return whether a hierarchy has the subsystems and the root of the request."""
    if cpuset_memset.bound(backend, one) != wish.halves:
        return False
    if tie or one.tie:
        same = tie and one.tie is not None and one.tie.at == wish.at
        return same and set(one.subsystems) == set(wish.subsystems)
    (member,) = one.members
    if set(member.tree.controllers) != set(wish.controllers) or set(wish.kept) - set(member.kept):
        return False
    return bool(wish.controllers) or wish.name in ("", member.tree.name)


def _mount_members(session: Session, one: Hierarchy, before: Sequence[Step]) -> None:
    """Mount the members of a tie that are not mounted.

    A member that the kernel has removed is created again, with the container of --at.
    """
    missing = [member for member in one.members[1:] if not member.tree.mounted]
    fresh = [member for member in missing if not is_active(member.tree)]
    names = [name for member in fresh for name in member.tree.controllers]
    refuse_unified(session, session.registry(), names)
    steps: list[Step] = []
    for member in missing:
        steps += mount_steps(session, TreeRequest(member.tree.controllers, member.tree.name))
    check_apart([*before, *steps])
    session.carry_out(steps)
    for member in fresh:
        _equip(session, one, member)


def _equip(session: Session, one: Hierarchy, member: Member) -> None:
    """Give a new member what the tie has there: its root, and subsystems that pcont provides."""
    backend, tree = session.backend, member.tree
    make_roots(session, lineage(Place.at(tree), member.at))
    kept = [name for name in one.subsystems if subsys.is_kept(name) and subsys.over(name)]
    has = frozenset({CPUSET, MEMSET} & set(one.subsystems))
    roots = [Place.at(one.members[0].tree), member.place("/")]
    mine = [name for name in kept if subsys.over(name) in tree.controllers]
    session.carry_out(kept_steps(backend, mine, roots, one.name, has))
    if backend.children(roots[0]):
        session.warn(
            f"{tree.id} was removed before: it lacks the containers of {one.name} "
            f"(pcont create completes each one)"
        )
