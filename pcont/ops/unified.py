"""The part of a hierarchy that is in cgroup v2: its subsystems, its root, and how that is made.

A hierarchy of cgroup v2 is a tie. Its home is a named tree of v1, as that of every tie. Its member
is the tree of cgroup v2, by default from the container UMBRELLA/NAME downwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from shlex import quote
from typing import TYPE_CHECKING

from pcont import subsys
from pcont.bases import NamedTuple
from pcont.errors import Busy, Unsupported
from pcont.hierarchy.container import MODE_DOMAIN, MODE_THREADED, Hierarchy, Member, Tie, as_made_at
from pcont.hierarchy.presence import how_to_mount
from pcont.hierarchy.registry import Registry
from pcont.kernel.paths import below, join, overlap
from pcont.kernel.refusals import exists
from pcont.kernel.types import UNIFIED, Place, Tree
from pcont.ops.containers import Planner, beneath
from pcont.ops.enabling import UMBRELLA
from pcont.ops.mount_request import MountRequest, lineage, refuse_virtual
from pcont.session import Session
from pcont.steps.disable import DisableControllers, ResetSettings
from pcont.steps.leaf import is_made
from pcont.steps.removal import RemoveContainer
from pcont.steps.tasks import live_task, live_threads, tasks_in
from pcont.subsys.v2.core import IMPLICIT, needs_processes
from pcont.transaction.step import Step

if TYPE_CHECKING:
    from pcont.kernel.interfaces import Backend, TasksInside


class Share(NamedTuple):
    """What a new hierarchy has in cgroup v2: `names` of subsystems, its root `at`, and its `mode`,
    MODE_THREADED or MODE_DOMAIN.
    """

    names: tuple[str, ...]
    at: str
    mode: str


def served(
    session: Session, registry: Registry, names: Iterable[str], tie: bool
) -> tuple[str, ...]:
    """Return those of the subsystems that a new hierarchy has in cgroup v2.

    It has none there if none of them is a controller of cgroup v2: v1 takes those. v1 takes all of
    them if the caller named the backend and did not ask for a `tie`.
    """
    found = _offered(registry, names)
    if {*found} <= {*IMPLICIT} or (session.chosen and not tie):
        return ()
    return found


def _offered(registry: Registry, names: Iterable[str]) -> tuple[str, ...]:
    """Return those of the subsystems that cgroup v2 can give to a hierarchy: its controllers, and
    those that it has without a controller, if v1 has not bound them.
    """
    bound = {name for one in registry.v1_trees for name in one.controllers}
    offered = {*registry.v2_controllers, *IMPLICIT} - bound
    return tuple(name for name in names if name in offered)


def mode_of(names: Iterable[str]) -> str:
    """Return MODE_THREADED if single threads can have all of these subsystems, otherwise
    MODE_DOMAIN.
    """
    return MODE_DOMAIN if needs_processes(names) else MODE_THREADED


def share_of(session: Session, registry: Registry, request: MountRequest) -> Share | None:
    """Return what a new hierarchy has in cgroup v2; None if it has nothing there.

    Raises Busy if another hierarchy has the same tasks there.
    """
    names = served(session, registry, request.controllers, tie=True)
    if not names:
        return None
    refuse_virtual(request.virtual, names)
    name = request.name
    words = f"mount -o {','.join(request.subsystems)} --name {name} --at /{name}"
    return _new_share(registry, names, request.at, name, words)


def _new_share(registry: Registry, names: tuple[str, ...], at: str, name: str, words: str) -> Share:
    """Return what the hierarchy `name` gets in cgroup v2. Raises Busy if another hierarchy has the
    same tasks there. `words`: the command that makes the hierarchy at a place of its own.
    """
    there = at if at != "/" else join(UMBRELLA, name)
    for one in registry.ties:
        member = one.unified_member
        same = one.tie is not None and at == one.tie.at == "/"
        if member and one.name != name and (same or overlap(there, member.at)):
            raise _in_use(one, names, words)
    for tree in registry.v1_trees:
        if tree.name not in ("", name) and not tree.mounted:
            _refuse_beside(registry, tree, at, there)
    return Share(names, there, mode_of(names))


def _refuse_beside(registry: Registry, tree: Tree, at: str, there: str) -> None:
    """Raise Busy if a new hierarchy at `there` would have the tasks of another hierarchy, the home
    of which is not mounted. pcont cannot read the settings of that hierarchy, but it sees its
    container in UMBRELLA.
    """
    theirs = Place(UNIFIED, join(UMBRELLA, tree.name))
    if (at == "/" or overlap(there, theirs.path)) and exists(registry.backend, theirs):
        raise Busy(
            f"a task is in one container of cgroup v2, and {tree.name}, which is active but not "
            f"mounted, uses {theirs.shown}",
            hint=how_to_mount(registry.backend, tree),
        )


def to_bind(session: Session, registry: Registry, one: Hierarchy, names: Iterable[str]) -> Share:
    """Return what `bind` adds to a hierarchy in cgroup v2; its names are empty if that is nothing.

    Raises Unsupported for a subsystem that a threaded hierarchy cannot have, and Busy if another
    hierarchy has the same tasks there.
    """
    at, member = one.tie.at if one.tie else "/", one.unified_member
    if member is None:
        found = served(session, registry, names, tie=False)
        words = f"mount -o {','.join(found)} --name NAME --at /NAME"
        return _new_share(registry, found, at, one.name, words) if found else Share((), "", "")
    found = _offered(registry, names)
    whole = needs_processes(found) if member.mode == MODE_THREADED else []
    if whole:
        raise Unsupported(
            f"{one.name} is threaded, and {', '.join(whole)} does not support threads",
            hint=f"make another hierarchy: pcont mount -o {','.join(whole)} --name NAME --at /NAME",
        )
    return Share(found, member.at, member.mode)


def check_whole(
    backend: TasksInside, one: Hierarchy, members: Iterable[Member], homes: Iterable[Place]
) -> None:
    """Raise Busy if the threads of a process are in different containers of the home (`homes`: all
    but its root), and one of the new members moves whole processes.
    """
    if not any(member.mode == MODE_DOMAIN for member in members):
        return
    for home in homes:
        inside = tasks_in(backend, home)
        for pid in sorted({known.pid for task in inside if (known := live_task(backend, task))}):
            for thread in live_threads(backend, pid):
                if thread.id not in inside and not _is_inside(backend, home, thread.id):
                    raise Busy(
                        f"the threads of process {pid} are in different containers of {one.name}, "
                        "and cgroup v2 moves whole processes",
                        hint=f"move all of them to one container first: pcont attach "
                        f"{quote(f'{one.name}:{home.path}')} {pid}",
                    )


def _is_inside(backend: TasksInside, place: Place, task: int) -> bool:
    """Return whether a task is in a container; True if it has ended."""
    try:
        return backend.membership(task).get(place.tree) == place.path
    except ProcessLookupError:
        return True


def served_in(one: Hierarchy, share: Share) -> tuple[str, ...]:
    """Return the subsystems that a hierarchy has in cgroup v2 after `share` was added."""
    member = one.unified_member
    return (*share.names, *(member.tree.controllers if member else ()))


def with_share(session: Session, registry: Registry, tie: Tie, share: Share) -> Tie:
    """Return a tie with cgroup v2 as one more member."""
    found = tie._replace(
        trees=(*tie.trees, UNIFIED),
        unified_at=share.at if share.at != tie.at else "",
        mode=share.mode,
    )
    root = registry.unified_member(found).place("/")
    way = lineage(root.root, root.path)
    # The containers above the root belong to the tie only if it is at a place of its own.
    made = [one for one in way if not exists(session.backend, one)] if tie.at != "/" else [root]
    return found._replace(made_at=(*tie.made_at, *as_made_at(made)))


def _in_use(one: Hierarchy, names: Sequence[str], words: str) -> Busy:
    """Return the error for a hierarchy with the tasks of another one in cgroup v2."""
    member = one.unified_member
    assert member
    elsewhere = f"make a hierarchy for other tasks: pcont {words}"
    new = [name for name in names if name not in one.subsystems]
    suits = new and not (member.mode == MODE_THREADED and needs_processes(new))
    bind = f"pcont bind {one.name} {','.join(new)}; or " if suits else ""
    return Busy(
        f"a task is in one container of cgroup v2, and {one.name} uses it for "
        f"{', '.join(_on_v2(one))}",
        hint=f"{bind}{elsewhere}",
    )


def share_steps(session: Session, member: Member) -> list[Step]:
    """Return the steps that make the root of a hierarchy in cgroup v2, and enable its controllers
    from the root of the tree downwards.
    """
    planner = Planner(session.backend, inherit=False)
    plan_root(planner, member)
    return planner.steps


def plan_root(planner: Planner, member: Member) -> None:
    """Plan the root of a hierarchy in cgroup v2, with its controllers.

    Those of a threaded hierarchy are enabled for the children at once: tasks may enter the root
    all the same.
    """
    tree = member._replace(at="/", mode="")
    root = Hierarchy(UNIFIED, (), (tree,), needed=member.tree.controllers).container(member.at)
    is_threaded = member.mode == MODE_THREADED
    planner.without_leaf.update(root.places if is_threaded else ())
    planner.create(root, parents=True)
    if is_threaded:
        planner.enable_for_children(root)


def _on_v2(one: Hierarchy) -> list[str]:
    """Return the subsystems that a hierarchy has in cgroup v2."""
    others = [name for member in one.members if not member.mode for name in member.subsystems]
    return [name for name in one.subsystems if name not in others and not subsys.is_virtual(name)]


def member_going(one: Hierarchy, names: Iterable[str]) -> list[Member]:
    """Return the member of cgroup v2, if a hierarchy without these subsystems has nothing there."""
    member = one.unified_member
    return [member] if member and {*_on_v2(one)} <= {*names} else []


def members_changed(one: Hierarchy, going: Sequence[Member]) -> list[Member]:
    """Return the members `going`, and the one of cgroup v2."""
    member = one.unified_member
    return [*going, *([member] if member and member not in going else [])]


def disabling(session: Session, one: Hierarchy, names: Sequence[str]) -> list[Step]:
    """Return the steps that end the limits of subsystems in the part of a hierarchy that is in
    cgroup v2, the deepest containers first.
    """
    member = one.unified_member
    mine = [name for name in member.tree.controllers if name in names] if member else []
    if not (member and mine):
        return []
    root, backend = member.place("/"), session.backend
    action = f"unbind {', '.join(mine)} from {one.name}"
    above = root.parent
    # Nothing else relies on what UMBRELLA enables.
    alone = above.path == UMBRELLA and backend.children(above) == [root.name]
    tops = [above] if alone and not _is_pin(backend, root.root) else []
    top = Hierarchy(one.name, (), (member,)).container("/")
    inside = [place for _, found in beneath(backend, top, [root]) for place in found]
    steps: list[Step] = [
        DisableControllers(place, mine, action) for place in (*inside, root, *tops)
    ]
    return steps if tops else [*steps, ResetSettings(root, mine, action)]


def umbrella_steps(session: Session, one: Hierarchy, removed: Iterable[Place]) -> list[Step]:
    """Return the step that removes UMBRELLA after these containers of the hierarchy, if nothing
    else needs it.
    """
    member, backend = one.unified_member, session.backend
    if member is None or below(member.at, UMBRELLA) is None:
        return []
    place = member.place("/").elsewhere(UMBRELLA)
    gone = {*removed}
    if not exists(backend, place) or _is_pin(backend, place.root):
        return []
    left = [name for name in backend.children(place) if place.child(name) not in gone]
    if left or backend.read(place, "tasks").strip():
        return []
    return [RemoveContainer(place, f"remove {place.shown}")]


def _is_pin(backend: Backend, root: Place) -> bool:
    """Return whether containers that pcont has made beside UMBRELLA may rely on it: it keeps
    systemd from disabling controllers in the root.
    """
    if not backend.has_systemd():
        return False
    beside = [root.child(name) for name in backend.children(root) if f"/{name}" != UMBRELLA]
    return any(is_made(backend, place) for place in beside)
