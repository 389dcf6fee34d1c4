"""bind and unbind: add a tree to a hierarchy in use, or remove one, with all its containers.

This answers the patch's open question (patch semantics, 7.3). To bind a subsystem, pcont mirrors
the containers in a tree of its own, attaches the tasks there, and then lists the tree in the home's
attribute. Unbinding is the reverse. The other trees are not changed, so undo only removes what was
added.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from pcont import subsys
from pcont.errors import BadWord, Busy, Cancelled, NotFound, Unsupported, UsageProblem
from pcont.hierarchy import keys
from pcont.hierarchy.container import MODE_DOMAIN, TIE, Hierarchy, Member, Tie, as_made_at
from pcont.hierarchy.presence import check_root, check_seen, reachable, refuse_unified_tree
from pcont.hierarchy.registry import OptionString, Registry
from pcont.kernel.paths import join
from pcont.kernel.refusals import exists, vanishing
from pcont.kernel.types import UNIFIED, Mount, Place, Tree, TreeRequest
from pcont.ops import cpuset_memset, unified
from pcont.ops.containers import Planner
from pcont.ops.mount_request import (
    lineage,
    mount_steps,
    refuse_unified,
    refuse_virtual,
    requested_subsystems,
    split_virtual,
    virtual_bind_steps,
)
from pcont.ops.umount import (
    member_steps,
    needed,
    root_steps,
    stop_steps,
    virtual_unbind_steps,
    virtual_values,
)
from pcont.records import Unbound
from pcont.session import Session, checks_first
from pcont.steps.mirror import Join, Leave, Pair
from pcont.steps.mounts import UmountTree
from pcont.steps.removal import RemoveContainer
from pcont.steps.write import Setting, WriteFiles
from pcont.steps.xattr import SetXattr
from pcont.subsys.memset import MEMSET
from pcont.transaction.step import Step
from pcont.virtual.files import ControlFiles

if TYPE_CHECKING:
    from pcont.kernel.interfaces import CgroupState, ContainerReader

Pairs = dict[str, list[tuple[str, str]]]


@checks_first
def bind(
    session: Session,
    selector: str,
    words: str,
    *,
    inherit: bool = False,
    settings: Iterable[str] = (),
) -> tuple[str, ...]:
    """Bind subsystems to a hierarchy in use; returns all subsystems that it then has.

    The containers and tasks do not change; the new trees get the same. `inherit`: new containers
    get the settings of their parents. `settings`: [/PATH:]KEY=VALUE for one container, or KEY=VALUE
    for all of them. Raises Busy for a subsystem that is bound already, Unsupported for a hierarchy
    without a home, BadValue if the settings of a container admit none of its tasks.
    """
    with session.exclusive() as registry:
        one = _with_home(registry, selector)
        options = registry.parsed(words)
        names = _wanted(registry, options)
        bound = [name for name in names if name in one.subsystems]
        if set(bound) & set(options.words):
            hint = cpuset_memset.how_to_have_both(session.backend, one)
            raise Busy(f"{one.name} already has {', '.join(bound)}", hint=hint)
        names = tuple(name for name in names if name not in bound)
        if not names:
            raise Busy(f"{one.name} already has all of them")
        controllers, virtual = split_virtual(registry, names)
        had, asked = (
            cpuset_memset.bound(session.backend, one),
            cpuset_memset.asked_for(options, names),
        )
        if asked:
            cpuset_memset.refuse_beside(
                registry, had | asked, one.tie.at if one.tie else "/", one.name
            )
        follow = had | asked == {MEMSET}
        given, later = _split(_given(settings), virtual, controllers)
        share = unified.to_bind(session, registry, one, controllers)
        refuse_virtual(virtual, unified.served_in(one, share))
        rest = [name for name in controllers if name not in share.names]
        there = [tree for tree in registry.holders(rest) if tree not in _trees(one)]
        for tree in there:
            reachable(session.backend, tree)
        held = {name for tree in (*there, *_trees(one)) for name in tree.controllers}
        free = [name for name in rest if name not in held]
        refuse_unified(session, registry, free)
        mounts = [step for name in free for step in mount_steps(session, _alone(name))]
        ids = [*(tree.id for tree in there), *free]
        tie = _extended(session.backend, one, names, ids, free)
        if share.names and not one.unified_member:
            tie = unified.with_share(session, registry, tie, share)
        with session.staged(mounts):
            if session.dry_run:
                # As if they were mounted; what their containers would inherit is not known.
                there += [Tree(name, 0, (name,), mounts=(Mount("/"),)) for name in free]
                inherit, follow = inherit and not free, follow and not free
            else:
                there = [tree for tree in session.registry().trees if tree.id in ids]
            members = [Member(tree, tie.at) for tree in there]
            members += [registry.unified_member(tie)] if share.names else []
            roots = [member.place("/") for member in (*one.members, *members)]
            planner = Planner(session.backend, inherit, follow)
            steps = _mirroring(planner, one, members, given)
            steps += virtual_bind_steps(session.backend, virtual, roots, one.name, had | asked)
            steps += _virtual_settings(session.backend, one, roots, later)
            if tie.trees or one.tie:
                home = Place.at(one.members[0].tree)
                steps.append(SetXattr(home, TIE, tie.dump(), f"bind {', '.join(names)}"))
            session.carry_out(steps)
        return tie.subsystems


def _alone(name: str) -> TreeRequest:
    return TreeRequest((name,))


def _trees(one: Hierarchy) -> list[Tree]:
    return [member.tree for member in one.members]


def _wanted(registry: Registry, options: OptionString) -> tuple[str, ...]:
    names = requested_subsystems(registry, options)
    if not names:
        raise BadWord("none is not a subsystem: name the subsystems to bind or unbind")
    return names


def _given(settings: Iterable[str]) -> Pairs:
    """Group [/PATH:]KEY=VALUE words by the path; the empty path means every container."""
    found: Pairs = {}
    for key, text in keys.split_assignments(settings):
        path, _, key = key.rpartition(":")
        if path and not path.startswith("/"):
            raise UsageProblem(
                f"not a path: {path!r}",
                hint="a setting for one container starts with its path: -s /a:cpuset.cpus=0",
            )
        found.setdefault(path, []).append((key, text))
    return found


def _split(given: Pairs, virtual: Iterable[str], controllers: Iterable[str]) -> tuple[Pairs, Pairs]:
    """Separate settings of kernel files from those of virtual files, all by their full names.

    Another name of a file of these `controllers` is a kernel file: tasks may need it to enter.
    """
    virtual = list(virtual)
    known = subsys.rows(virtual)
    rows = {row.name: row.name for row in known} | dict(keys.other_names(virtual))
    stand_for = {row.name: row.virtual.stands_for for row in known}
    names = {name: file for name, file in stand_for.items() if subsys.of(file) in controllers}
    kernel: Pairs = {}
    ours: Pairs = {}
    for path, pairs in given.items():
        for key, text in pairs:
            found = ours if key in rows and key not in names else kernel
            found.setdefault(path, []).append((names.get(key) or rows.get(key, key), text))
    return kernel, ours


def _virtual_settings(
    backend: ContainerReader, one: Hierarchy, roots: Sequence[Place], given: Pairs
) -> list[Step]:
    """Plan the virtual settings; those of one container override those of all."""
    if not given:
        return []
    paths = list(_below(backend, roots[0]))
    _check_paths(one, given, ["/", *paths])
    settings: list[Setting] = []
    for path in ["/", *paths]:
        wanted_here = {
            **dict(given.get("", []) if path != "/" else []),
            **dict(given.get(path, [])),
        }
        for file, text in wanted_here.items():
            required = subsys.requires(subsys.of(file))
            root = next(root for root in roots if not required or required in root.controllers)
            settings.append(Setting(root.elsewhere(join(root.path, path)), file, text))
    return [WriteFiles(settings, f"set the control files of {one.name}")]


def _check_paths(one: Hierarchy, given: Pairs, paths: Sequence[str]) -> None:
    for path in given:
        if path and path not in paths:
            raise NotFound(f"there is no container {one.name}:{path}")


def _with_home(registry: Registry, selector: str) -> Hierarchy:
    """Return the hierarchy; raises Unsupported if its first tree cannot record what is bound."""
    one = registry.find(selector)
    home = one.members[0].tree
    if not one.tie and len(one.members) > 1:
        raise UsageProblem(f"{selector} is several hierarchies: bind and unbind take one")
    refuse_unified_tree(one, "change what is bound to")
    reachable(registry.backend, home)
    if not home.name or not any(mount.ours for mount in home.mounts):
        raise Unsupported(
            f"{one.name} has no home tree in which pcont could record bound subsystems",
            hint="mount hierarchies with --name NAME, or --tie",
        )
    check_seen(registry.backend, one, inactive=False)
    check_root(registry.backend, one)
    return one


def _extended(
    backend: ContainerReader,
    one: Hierarchy,
    names: Sequence[str],
    ids: Sequence[str],
    free: Sequence[str],
) -> Tie:
    """Return the attribute of the home after the bind."""
    tie = one.tie or Tie(one.subsystems, ())
    made = [
        place
        for id in ids
        for place in lineage(Place(id), tie.at)
        if id in free or not exists(backend, place)
    ]
    return tie._replace(
        subsystems=(*tie.subsystems, *names),
        trees=(*tie.trees, *ids),
        made_at=(*tie.made_at, *as_made_at(made)),
        mounted=(*tie.mounted, *free),
    )


def _mirroring(
    planner: Planner,
    one: Hierarchy,
    members: Sequence[Member],
    given: Pairs,
) -> list[Step]:
    """Create the containers in the new trees and attach the tasks, before the trees are added to
    the tie.
    """
    backend = planner.backend
    home = Place.at(one.members[0].tree)
    needed = members[-1].tree.controllers if members and members[-1].mode else ()
    mirror = one._replace(members=tuple(members), tie=None, needed=needed)
    for member in members:
        if member.mode:
            unified.plan_root(planner, member)
        else:
            roots = Hierarchy(member.tree.id, (), (Member(member.tree),))
            planner.create(roots.container(member.at), parents=True)
    paths = list(_below(backend, home))
    _check_paths(one, given, paths)
    unified.check_whole(backend, one, members, map(home.elsewhere, paths))
    pairs: list[Pair] = []
    for path in paths if members else ():
        container = mirror.container(path)
        # A setting for one container overrides the setting for all.
        wanted_here = {**dict(given.get("", [])), **dict(given.get(path, []))}
        planner.create(container, parents=True, pairs=list(wanted_here.items()))
        pairs += [Pair(home.elsewhere(path), place) for place in container.places]
    action = f"bind {', '.join(member.tree.id for member in members)} to {one.name}"
    affinity = any(subsys.sets_affinity(member.tree.controllers) for member in members)
    # No task is in a new member yet: it can be frozen.
    new = mirror.unified_member if not one.unified_member else None
    if new is None:
        return [*planner.steps, Join(pairs, action, affinity)]
    whole = new.mode == MODE_DOMAIN
    return [*planner.steps, Join(pairs, action, affinity, new.place("/"), whole)]


def _below(backend: ContainerReader, home: Place) -> Iterator[str]:
    """Return the paths of all containers but the root, parents first."""
    waiting = [home]
    while waiting:
        place = waiting.pop()
        if not place.is_root:
            yield place.path
        waiting += [place.child(name) for name in reversed(backend.children(place))]


@checks_first
def unbind(
    session: Session,
    selector: str,
    words: str,
    confirm: Callable[[Sequence[str]], bool] = lambda ceasing: True,
) -> Unbound:
    """Unbind subsystems from a hierarchy in use; the other trees do not change.

    `confirm` is called with the limits that will no longer hold, before anything is changed; raises
    Cancelled if it returns False. Raises Busy for a subsystem that shares a tree of the kernel with
    one that is not unbound, NotFound for one that is not bound.
    """
    one, names, going = _to_unbind(session.registry(), selector, words)
    kernels = [name for name in names if not subsys.is_virtual(name)]
    ceasing = (
        *virtual_values(session.backend, one, names),
        *_ceasing(session.backend, one, unified.members_changed(one, going), kernels),
    )
    # Other commands need not wait for the answer.
    if not session.dry_run and not confirm(ceasing):
        raise Cancelled(f"cancelled: nothing was unbound from {one.name}")
    with session.exclusive() as registry:
        one, names, going = _to_unbind(registry, selector, words)
        steps = virtual_unbind_steps(session, one, names)
        if one.tie:
            steps += _dissolving(session, registry, one, names, going)
            if not any(member.mode for member in going):
                steps += unified.disabling(session, one, names)
        with session.staged(steps):
            trees = [member.tree.id for member in going]
            last = root_steps(session, registry, one, trees) if trees else []
            for member in going:
                last += member_steps(session, registry, one, member, lingers=True)
            last += stop_steps(session.backend, one, names)
            session.carry_out(last)
        lingering = [
            step.tree.id for step in last if isinstance(step, UmountTree) and step.lingering
        ]
        return Unbound(names, ceasing, tuple(lingering))


def _to_unbind(
    registry: Registry, selector: str, words: str
) -> tuple[Hierarchy, tuple[str, ...], list[Member]]:
    one, options = _with_home(registry, selector), registry.parsed(words)
    asked = options.words
    # Keep what the words do not name, even if it was bound with a subsystem that requires it.
    names = tuple(name for name in _wanted(registry, options) if name in asked or "all" in asked)
    return one, names, _going(one, names)


def _going(one: Hierarchy, names: Sequence[str]) -> list[Member]:
    """Return the trees to unbind. Raises Busy if one has another subsystem, too."""
    missing = [name for name in names if name not in one.controllers]
    if missing:
        raise NotFound(
            f"{one.name} has no {', '.join(missing)}", hint=f"it has {','.join(one.subsystems)}"
        )
    home, *others = one.members
    fixed = [name for name in names if name in home.tree.controllers]
    if fixed:
        raise Busy(
            f"{', '.join(fixed)} and the home tree of {one.name} are one hierarchy of the kernel",
            hint=f"pcont umount {one.name}",
        )
    dependent = [name for name in one.controllers if subsys.requires(name) in names]
    if set(dependent) - set(names):
        raise Busy(
            f"{', '.join(dependent)} requires {', '.join(map(subsys.requires, dependent))}",
            hint=f"pcont unbind {one.name} {','.join((*names, *dependent))}",
        )
    v1 = [member for member in others if not member.mode]
    going = [member for member in v1 if set(names) & set(member.tree.controllers)]
    rest = [name for name in one.subsystems if name not in names]
    for member in going:
        shared = [name for name in rest if name in member.tree.controllers]
        if shared:
            raise Busy(
                f"{member.tree.id} is one hierarchy of the kernel: unbind {', '.join(shared)}, too",
                hint=f"pcont unbind {one.name} {','.join(member.tree.controllers)}",
            )
    return [*going, *unified.member_going(one, names)]


def _ceasing(
    backend: CgroupState, one: Hierarchy, going: Iterable[Member], names: Sequence[str]
) -> Iterator[str]:
    """List the settings in these trees that will be lost: those that differ from the root and from
    a new container. In cgroup v2, these are settings of the subsystems `names`.
    """
    for member in going:
        for path in _below(backend, Place.at(one.members[0].tree)):
            place = member.place(path)
            with vanishing():
                for file, writable in ControlFiles(backend).stored_names(place).items():
                    if (
                        subsys.is_setting(file, writable)
                        and file not in subsys.core_table().by_name
                        and (not member.mode or subsys.of(file) in names)
                    ):
                        yield from _set(backend, one, place, path, file)


def _set(backend: CgroupState, one: Hierarchy, place: Place, path: str, file: str) -> Iterator[str]:
    """Return the value of a file, unless it is that of a new container, the root, or the parent."""
    with suppress(OSError):
        text, row = ControlFiles(backend).stored(place, file), subsys.row(file)
        models = [place.elsewhere("/")]
        models += [place.parent] if row and row.creation.passed_on else []
        if not (
            subsys.is_as_new(file, text, False)
            or any(_reads(backend, each, file, text) for each in models)
        ):
            yield f"{one.name}:{path} {file}={text.strip()}".replace("\n", "; ")


def _reads(backend: CgroupState, place: Place, file: str, text: str) -> bool:
    with suppress(OSError):
        return ControlFiles(backend).stored(place, file) == text
    return False


def _dissolving(
    session: Session,
    registry: Registry,
    one: Hierarchy,
    names: Sequence[str],
    going: Sequence[Member],
) -> list[Step]:
    """Take the trees off the list, move all tasks out, and remove the mirrored containers."""
    backend, home = session.backend, Place.at(one.members[0].tree)
    action = f"unbind {', '.join(names)} from {one.name}"
    steps: list[Step] = [SetXattr(home, TIE, _reduced(one, names, going), action)]
    paths = list(_below(backend, home))
    assert one.tie
    for member in going:
        mirrors = [(path, place) for path in paths if exists(backend, place := member.place(path))]
        pairs = [Pair(home.elsewhere(path), place) for path, place in mirrors]
        affinity = subsys.sets_affinity(member.tree.controllers)
        root = Place.at(member.tree)
        way = [root, *lineage(root, member.at)]
        made = [place for place in way if place in one.tie.made]
        others = [place for place in made if not needed(registry, one, place)]
        # In cgroup v2, tasks can always be in the root.
        refuge = root if member.mode else [place for place in way if place not in made][-1]
        steps.append(Leave(pairs, others, refuge, action, affinity))
        steps += [RemoveContainer(place, action) for _, place in reversed(mirrors)]
    return steps


def _reduced(one: Hierarchy, names: Sequence[str], going: Sequence[Member]) -> str | None:
    """Return the attribute of the home after the unbind; None if only the home remains."""
    assert one.tie
    removed = {member.tree.id for member in going}
    tie = one.tie._replace(
        subsystems=tuple(name for name in one.tie.subsystems if name not in names),
        trees=tuple(id for id in one.tie.trees if id not in removed),
        made_at=as_made_at(place for place in one.tie.made if place.tree not in removed),
        mounted=tuple(id for id in one.tie.mounted if id not in removed),
    )
    if UNIFIED in removed:
        tie = tie._replace(unified_at="", mode="")
    return tie.dump() if tie.trees else None
