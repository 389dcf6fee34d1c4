"""mount of an existing hierarchy: mount its missing trees, or one more view of it."""

from __future__ import annotations

from collections.abc import Sequence
from shlex import quote
from typing import TYPE_CHECKING

from pcont import subsys
from pcont.errors import Busy, Denied, NotFound
from pcont.hierarchy.container import Hierarchy, Member
from pcont.hierarchy.presence import is_active
from pcont.kernel.refusals import exists
from pcont.kernel.types import Place, Tree, TreeRequest
from pcont.ops import cpuset_memset
from pcont.ops.mount_request import (
    MountRequest,
    agent_steps,
    check_apart,
    lineage,
    mount_steps,
    point_of,
    refuse_unified,
    virtual_bind_steps,
)
from pcont.ops.tie import make_roots
from pcont.records import Mounted
from pcont.session import Session
from pcont.subsys.cpuset import CPUSET
from pcont.subsys.memset import MEMSET
from pcont.transaction.step import Step

if TYPE_CHECKING:
    from pcont.kernel.interfaces import CgroupState


def complete(
    session: Session, tree: Tree, request: MountRequest, *, known: bool, tie: bool
) -> Mounted:
    """Mount the missing parts of the hierarchy with this tree: the tree itself, members of its tie.

    If the tree is mounted and the request names no other point, nothing changes; no setting is
    reset. `known`: the request names the subsystems that the hierarchy has, and for a `tie` its
    root. Raises Busy if the hierarchy has others.
    """
    points = [mount.point for mount in tree.mounts]
    here = tree.mounted and request.point in ("", *points)
    steps = (
        []
        if here
        else mount_steps(session, TreeRequest(tree.controllers, tree.name), request.point)
    )
    found = _checked(session, tree, request, known, tie) if tree.mounted else None
    with session.staged(steps):
        # Until it is mounted, its contents are not known.
        if not (found or session.dry_run):
            found = _checked(session, tree, request, known, tie)
        elif not found and (known or tie):
            session.planned.append(
                f"# not known: what {request.name or tree.id} has, until it is mounted; "
                "pcont refuses other subsystems than these"
            )
        if found:
            _mount_members(session, found, steps)
        session.carry_out(agent_steps(request, tree.id))
    name = found.name if found else request.name or ",".join(tree.controllers)
    return Mounted(name, (request.point or points[0]) if here else point_of(steps))


def _checked(
    session: Session, tree: Tree, request: MountRequest, known: bool, tie: bool
) -> Hierarchy:
    """Return the hierarchy; raises Busy or Denied if it differs from the request."""
    one = session.registry().rooted_in(tree.id)
    assert one
    home = one.members[0].tree
    if (request.release_agent or request.notify) and not all(mount.ours for mount in home.mounts):
        raise Denied(
            f"pcont did not mount {one.name}, and does not replace its release agent here",
            hint=f"pcont set {quote(one.name)}:/ {' '.join(_as_settings(request))}",
        )
    if _is_asked_for(session.backend, one, request, known, tie):
        return one
    has = f"-o {','.join(one.subsystems) or 'none'}{_root_of(one)}"
    if tree.mounted:
        state, hint = "exists", "show where it is mounted"
    else:
        state, hint = "was unmounted with containers in it", "mount it as it is"
    hint += f": pcont mount --name {quote(one.name)}"
    raise Busy(f"{one.name} {state}, and has {has}", hint=hint)


def _root_of(one: Hierarchy) -> str:
    """Return where a tie has its root: as options of mount, or as the container of cgroup v2 that
    it has without them.
    """
    if one.tie is None:
        return ""
    member = one.unified_member
    if member and one.tie.at == "/":
        return f", with the root {member.place('/').shown}"
    return f" --tie --at {one.tie.at}"


def _as_settings(request: MountRequest) -> list[str]:
    """Return the request for the release agent as words of `pcont set`."""
    agent = [f"release_agent={quote(request.release_agent)}"] if request.release_agent else []
    return [*agent, *["notify_on_release=1"] * request.notify]


def _is_asked_for(
    backend: CgroupState, one: Hierarchy, request: MountRequest, known: bool, tie: bool
) -> bool:
    if known:
        return has_the_set(backend, one, request, tie)
    if not tie:
        return True
    return one.tie is not None and request.at in ("", one.tie.at)


def has_the_set(backend: CgroupState, one: Hierarchy, request: MountRequest, tie: bool) -> bool:
    """Return whether a v1 hierarchy has the subsystems and the root of the request."""
    if one.members[0].tree.is_unified:
        return False
    if cpuset_memset.bound(backend, one) != request.cpuset_memset:
        return False
    if tie or one.tie:
        has_root = tie and one.tie is not None and one.tie.at == request.at
        return has_root and set(one.subsystems) == set(request.subsystems)
    (member,) = one.members
    if set(member.tree.controllers) != set(request.controllers) or set(request.virtual) - set(
        member.virtual
    ):
        return False
    return bool(request.controllers) or request.name in ("", member.tree.name)


def _mount_members(session: Session, one: Hierarchy, before: Sequence[Step]) -> None:
    """Mount the members of a tie that are not mounted.

    A member that the kernel has removed is created again, with the container of --at.
    """
    missing = [member for member in one.members[1:] if not member.tree.mounted]
    if any(member.mode for member in missing):
        raise NotFound(
            f"a part of {one.name} is in cgroup v2, which is not mounted",
            hint="mount -t cgroup2 cgroup2 /sys/fs/cgroup",
        )
    inactive = [member for member in missing if not is_active(member.tree)]
    names = [name for member in inactive for name in member.tree.controllers]
    refuse_unified(session, session.registry(), names)
    steps: list[Step] = []
    for member in missing:
        steps += mount_steps(session, TreeRequest(member.tree.controllers, member.tree.name))
    check_apart([*before, *steps])
    session.carry_out(steps)
    for member in inactive:
        _equip(session, one, member)
    if one.unified_member:
        _mend_root(session, one, one.unified_member)


def _mend_root(session: Session, one: Hierarchy, member: Member) -> None:
    """Make the root of a hierarchy in cgroup v2 again, if another program has removed it."""
    if not exists(session.backend, member.place("/")):
        from pcont.ops import unified  # only cgroup v2 needs it

        session.carry_out(unified.share_steps(session, member))
        _bind_virtual(session, one, member)


def _equip(session: Session, one: Hierarchy, member: Member) -> None:
    """Give a new member what the tie has there: its root, and subsystems that pcont provides."""
    tree, home = member.tree, Place.at(one.members[0].tree)
    make_roots(session, lineage(Place.at(tree), member.at))
    _bind_virtual(session, one, member)
    if session.backend.children(home):
        session.warn(
            f"{tree.id} was removed before: it lacks the containers of {one.name} "
            f"(pcont create completes each one)"
        )


def _bind_virtual(session: Session, one: Hierarchy, member: Member) -> None:
    """Bind the subsystems that pcont provides over controllers of a member, to its new root."""
    virtual = [name for name in one.subsystems if subsys.is_virtual(name) and subsys.requires(name)]
    has = frozenset({CPUSET, MEMSET} & set(one.subsystems))
    roots = [Place.at(one.members[0].tree), member.place("/")]
    mine = [name for name in virtual if subsys.requires(name) in member.tree.controllers]
    session.carry_out(virtual_bind_steps(session.backend, mine, roots, one.name, has))
