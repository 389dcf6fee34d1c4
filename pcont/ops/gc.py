"""gc: remove containers with auto_delete whose release the kernel could not report."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from pcont.errors import Denied, NotFound
from pcont.hierarchy.container import Hierarchy
from pcont.hierarchy.presence import check_seen, present
from pcont.hierarchy.registry import Registry
from pcont.kernel.refusals import exists, vanishing
from pcont.kernel.types import UNIFIED, Place, Tree
from pcont.ops import cpuset_memset, hotplug, trusted
from pcont.records import Collected
from pcont.session import Session, checks_first
from pcont.steps.reap import attend, flags, repairs
from pcont.steps.removal import removals
from pcont.steps.write import WriteFiles
from pcont.transaction.step import Step
from pcont.virtual import auto_delete

if TYPE_CHECKING:
    from pcont.kernel.interfaces import Backend, CgroupState, ContainerReader, Programs


@checks_first
def gc_cpus(session: Session, selectors: Sequence[str] = ()) -> list[Collected]:
    """Restore the CPUs and memory nodes that containers lost by hotplug; returns what was written.

    `selectors` name the hierarchies; without any, all hierarchies with cpuset are restored.
    """
    with session.exclusive() as registry:
        return list(hotplug.restore_lost_values(session, registry, selectors))


@checks_first
def gc(session: Session, selectors: Sequence[str] = ()) -> list[Collected]:
    """Collect what was missed in hierarchies of this pcont; returns what was removed or restored.

    `selectors` name the hierarchies; without any, pcont collects where there is something to do.
    It removes every empty container with auto_delete, and each one above that becomes empty by
    that; it runs the user's release agent first. It processes the reports of empty containers,
    installs its release agent again if that was changed, and gives containers the CPUs of their
    parents where memset is bound alone. If systemd is the init process, it enables the controllers
    that containers of cgroup v2 rely on, in the root and in UMBRELLA, so that systemd does not
    disable them. Raises Denied for a hierarchy that pcont did not mount, NotFound for one with a
    tree that is not mounted.
    """
    backend = session.backend
    with session.exclusive() as registry:
        chosen = _chosen(session, registry, selectors)
        steps = [step for one in chosen for step in repairs(backend, one.members[0].tree.id)]
        lines = [line for step in steps for line in step.dry_run_lines(backend)]
        session.carry_out(steps)
        found = [Collected("restored", line) for line in lines]
        found += [Collected("restored", line) for one in chosen for line in _cpus(session, one)]
        if not selectors or any(one.unified_member for one in chosen):
            found += _controllers(session, registry)
        found += trusted.mend_steps(session, _trees(registry, chosen if selectors else ()))
        doomed = {one.name: _doomed(backend, one) for one in chosen}
        if session.dry_run:
            for one in chosen:
                session.planned += _dry_run_lines(backend, one, doomed[one.name])
            return []
        if not selectors:
            _forget_the_gone(backend, registry)
    for one in chosen:
        attend(session, one.members[0].tree.id, doomed[one.name])
        home = one.members[0]
        removed = [path for path in doomed[one.name] if not exists(backend, home.place(path))]
        found += [Collected("removed", one.container(path).canonical) for path in removed]
    return found


def _trees(registry: Registry, chosen: Sequence[Hierarchy]) -> list[Tree]:
    """Return the trees of the chosen hierarchies; all trees if none was chosen."""
    if not chosen:
        return list(registry.trees)
    return list({member.tree.id: member.tree for one in chosen for member in one.members}.values())


def _chosen(session: Session, registry: Registry, selectors: Sequence[str]) -> list[Hierarchy]:
    """Return the hierarchies that were named, or without names those with something to collect.

    A note names each hierarchy that is skipped: it has a tree that is not mounted, or another pcont
    collects there.
    """
    if not selectors:
        mounted = [one for one in registry.hierarchies if one.members[0].tree.mounted]
        ours = [one for one in mounted if _is_ours(one) and _has_something(session.backend, one)]
        left = {one.name: why for one in ours if (why := _why_not(session.backend, one))}
        for name, why in left.items():
            session.warn(f"{name} is skipped: {why}")
        return [one for one in ours if one.name not in left]
    found = [registry.find(selector) for selector in selectors]
    for one in found:
        check_seen(registry.backend, one)
        if not _is_ours(one):
            raise Denied(
                f"pcont did not mount {one.name}, and removes nothing there",
                hint="collect in all hierarchies that pcont mounted: pcont gc",
            )
    return list(dict.fromkeys(found))


def _has_something(backend: CgroupState, one: Hierarchy) -> bool:
    """Return whether a hierarchy has auto_delete, reports of empty containers, or lost CPUs."""
    home = one.members[0].tree
    is_reported = home.id in backend.releases.reported()
    if is_reported or any(goes for _, goes in flags(backend, Place.at(home))):
        return True
    return one.mounted and any(True for _ in cpuset_memset.narrowed(backend, one))


def _why_not(backend: Backend, one: Hierarchy) -> str:
    """Return why gc skips a hierarchy that was not named, and what to do; empty if it does not."""
    try:
        check_seen(backend, one)
    except NotFound as err:
        return f"{err}; {err.hint}"
    other = backend.releases.keeper(one.members[0].tree.id)
    return f"the pcont in {other} collects there; pcont gc {one.name} takes over" * bool(other)


def _is_ours(one: Hierarchy) -> bool:
    return auto_delete.is_ours(one.members[0].tree) and bool(one.tie or len(one.members) == 1)


def _doomed(backend: ContainerReader, one: Hierarchy) -> list[str]:
    """Return the paths of empty containers with auto_delete, and of those they leave empty."""
    found: list[str] = []
    for home, goes in flags(backend, Place.at(one.members[0].tree)):
        # Another program may remove it first.
        with vanishing():
            container = one.container(home.path)
            there = [place for place in container.places if exists(backend, place)]
            names = {name for place in there for name in backend.children(place)}
            stay = {name for name in names if container.child(name).path not in found}
            inside = any(backend.read(place, "tasks").strip() for place in there)
            if goes and not container.is_root and not stay and not inside:
                found.append(home.path)
    return found


def _cpus(session: Session, one: Hierarchy) -> Iterator[str]:
    """Give containers the CPUs of their parents again; yields the lines about what was done."""
    for setting in cpuset_memset.narrowed(session.backend, one):
        step = WriteFiles([setting], f"give {setting.place.path} the CPUs of its parent")
        yield from session.attempt(step)


def _controllers(session: Session, registry: Registry) -> Iterable[Collected]:
    """Enable the controllers of cgroup v2 that systemd may disable, or has disabled."""
    if UNIFIED not in registry.by_id:
        return ()
    from pcont.ops import umbrella  # only cgroup v2 needs it

    return umbrella.keep_enabled(session, registry)


def _dry_run_lines(backend: Backend, one: Hierarchy, doomed: Sequence[str]) -> Iterator[str]:
    tree = one.members[0].tree
    agent = auto_delete.agent(backend, tree.id)
    for path in doomed:
        if agent and auto_delete.notifies(backend, Place.at(tree, path)):
            yield f"{agent} {path}"
        container = one.container(path)
        steps: list[Step] = [*removals({container: present(backend, container)})]
        yield from (line for step in steps for line in step.dry_run_lines(backend))


def _forget_the_gone(backend: Programs, registry: Registry) -> None:
    """Forget the programs of hierarchies that no longer exist, for example after a restart."""
    for tree in backend.releases.programs():
        if tree not in registry.by_id:
            backend.releases.forget(tree)
