"""mount --tie: one hierarchy over several of the kernel's, with a home that remembers them."""

from __future__ import annotations

from pcont.backend import Place, TreeRequest, exists
from pcont.errors import Busy
from pcont.hierarchy import TIE, Registry, Tie
from pcont.ops.containers import create_steps
from pcont.ops.wishes import (
    Mounted,
    Wish,
    agent_steps,
    check_name,
    mount_steps,
    point_of,
    refuse_unified,
)
from pcont.session import Session
from pcont.steps import Step
from pcont.steps.containers import Mark
from pcont.steps.mounts import find

FREEZER = "freezer"


def mount_tie(session: Session, registry: Registry, wish: Wish) -> Mounted:
    """A home of pcont's own, and as members the kernel hierarchies that have what was asked for."""
    backend = session.backend
    home = TreeRequest((), wish.name)
    if find(backend, home):
        return _revive(session, registry, wish, home)
    check_name(registry, wish.name)
    holders = registry.holders(_members_wanted(registry, wish))
    bound = {name for tree in holders for name in tree.controllers}
    free = [name for name in _members_wanted(registry, wish) if name not in bound]
    refuse_unified(session, registry, free)
    steps = mount_steps(backend, home, wish.point)
    point = point_of(steps)
    for name in free:
        steps += mount_steps(backend, TreeRequest((name,)))
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
    home_place = Place(f"name={wish.name}")
    steps.append(Mark(home_place, TIE, tie.dump(), f"tie {wish.name}"))
    with session.staged(steps + agent_steps(wish, home_place.tree)):
        _make_roots(session, made)
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
    singles = [registry.find(place.tree.split(",")[0]).container(place.path) for place in made]
    session.carry_out(create_steps(session.backend, *singles, parents=False))


def _revive(session: Session, registry: Registry, wish: Wish, home: TreeRequest) -> Mounted:
    """Mount a home that was unmounted with containers in it, and see whether it is this tie."""
    if any(tree.name == wish.name and tree.mounted for tree in registry.trees):
        check_name(registry, wish.name)
    steps = mount_steps(session.backend, home, wish.point)
    with session.staged(steps):
        if not session.dry_run:
            _rejoin(session, wish)
    return Mounted(wish.name, point_of(steps))


def _rejoin(session: Session, wish: Wish) -> None:
    """Mount what else belongs to a home that is back; Busy where it is another tie."""
    back = next((one for one in session.registry().ties if one.name == wish.name), None)
    if back is None or back.tie is None:
        raise Busy(f"{wish.name} is a hierarchy already, and no tie", hint="choose another --name")
    if set(back.subsystems) != set(wish.controllers) or back.tie.at != wish.at:
        has = f"-o {','.join(back.subsystems)} --at {back.tie.at}"
        raise Busy(
            f"{wish.name} was unmounted with containers in it, and is another tie: {has}",
            hint=f"pcont mount --tie --name {wish.name} {has}",
        )
    steps: list[Step] = []
    for member in back.members[1:]:
        if not member.tree.mounted:
            request = TreeRequest(member.tree.controllers, member.tree.name)
            steps += mount_steps(session.backend, request)
    session.carry_out([*steps, *agent_steps(wish, f"name={wish.name}")])
