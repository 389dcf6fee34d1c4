"""doctor: report what this host can do with cgroups, what prevents more, and what to change."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from shlex import quote
from typing import TYPE_CHECKING

from pcont.errors import NotFound, Unseen, Unsupported, shortened
from pcont.hierarchy.container import Hierarchy
from pcont.hierarchy.presence import check_seen, how_to_mount
from pcont.hierarchy.registry import Registry
from pcont.kernel.types import UNIFIED, Place
from pcont.ops import hotplug, recover, trusted
from pcont.ops.listing import tree, uncounted
from pcont.records import ContainerNode, Finding
from pcont.session import Session
from pcont.subsys import numfiles, numtasks

if TYPE_CHECKING:
    from pcont.kernel.interfaces import Driver


def examine(session: Session) -> list[Finding]:
    """Return all findings; problems have advice."""
    registry = session.registry()
    return [
        *_rights(session, registry),
        *recover.journal_findings(session),
        *_controllers(registry),
        *_unmounted(registry),
        *_freezer(registry),
        *_kept_enabled(session, registry),
        *uncounted(session.backend),
        *trusted.trust_findings(session, registry),
        *hotplug.hotplug_findings(session, registry),
        *(_programs(session) if session.backend.virtual_subsystems() else ()),
        *(finding for one in registry.ties for finding in _tie(session, one)),
    ]


def _rights(session: Session, registry: Registry) -> Iterator[Finding]:
    """Report what this caller may change, by what it can write: user namespaces have root, too."""
    backend = session.backend
    if backend.name != "cgroupfs":
        yield Finding(
            "note", "backend", f"this is the {backend.name}: commands change nothing on this host"
        )
        return
    mounted = [Place.at(one) for one in registry.trees if one.mounted]
    if backend.may_mount() and all(map(backend.may_change, mounted)):
        yield Finding("ok", "rights", "root: you may change everything")
        return
    user = "root of a user namespace" if os.geteuid() == 0 else "not root"
    own = [f"{top.tree}:{top.path}" for root in mounted for top in _delegated(backend, root)]
    if own:
        named = shortened(own)
        text = f"{user}: you may change {named}; mounts and other changes are refused (exit 4)"
        yield Finding("ok", "rights", text, f"pcont create {quote(own[0].rstrip('/'))}/NAME")
    else:
        yield Finding(
            "note",
            "rights",
            f"{user}: reading works, changes are refused (exit 4)",
            "sudo pcont …, or rehearse with pcont --backend model …",
        )


def _delegated(backend: Driver, root: Place) -> Iterator[Place]:
    """Yield the topmost containers that this caller may change."""
    waiting = [root]
    while waiting:
        place = waiting.pop()
        with contextlib.suppress(OSError):
            if backend.may_change(place):
                yield place
            else:
                waiting += map(place.child, reversed(backend.children(place)))


def _controllers(registry: Registry) -> Iterator[Finding]:
    enabled = [one for one in registry.controllers if one.enabled]
    bound = [name for tree in registry.v1_trees for name in tree.controllers]
    free = [one.name for one in enabled if one.name not in bound and not one.unified]
    on_v2 = [one.name for one in enabled if one.unified]
    unified = [*map(registry.name_in_v2, on_v2)]
    off = [one.name for one in registry.controllers if not one.enabled]
    if bound:
        yield Finding("ok", "cgroup v1", f"bound: {', '.join(bound)}", "mount --tie ties these")
    if free:
        yield Finding("ok", "cgroup v1", f"free: {', '.join(free)}", "mount -o takes these")
    if unified:
        yield Finding(
            "note",
            "cgroup v2",
            f"in use by v2: {', '.join(unified)}",
            "mount -o with --name uses these; v1 takes them only with --force",
        )
        yield from _users(registry, on_v2)
    if off:
        yield Finding(
            "note",
            "kernel",
            f"switched off at boot: {', '.join(off)}",
            "take cgroup_disable= off the kernel's command line",
        )
    if not bound and not free:
        advice = "boot with systemd.unified_cgroup_hierarchy=0"
        level = "problem"
        if UNIFIED in registry.by_id:
            level, advice = "note", f"list the containers of v2: pcont tree unified:/; or {advice}"
        yield Finding(level, "cgroup v1", "no controller is bound or free", advice)


def _users(registry: Registry, names: Sequence[str]) -> Iterator[Finding]:
    """Report what uses controllers of cgroup v2, so that v1 cannot have them."""
    from pcont.ops.users_of_v2 import users_of  # only cgroup v2 needs it

    for one in users_of(registry, names):
        them = "it" if len(one.controllers) == 1 else "them"
        has = f"{one.name} has {', '.join(one.controllers)}: v1 cannot take {them}"
        yield Finding("note", "cgroup v2", has)


def _unmounted(registry: Registry) -> Iterator[Finding]:
    for one in registry.trees:
        if not one.mounted:
            held = "; its controllers cannot be bound elsewhere" if one.controllers else ""
            text = f"{one.id} is active but not mounted{held}"
            yield Finding("problem", "hierarchy", text, how_to_mount(registry.backend, one))


def _freezer(registry: Registry) -> Iterator[Finding]:
    if registry.holders(["freezer"]):
        yield Finding("ok", "freezer", "bound to a v1 hierarchy: ties include it")
    elif "freezer" in registry.known_subsystems():
        yield Finding("note", "freezer", "in no v1 hierarchy", "pcont mount -o freezer")


def _kept_enabled(session: Session, registry: Registry) -> Iterator[Finding]:
    """Report controllers of cgroup v2 that systemd may disable."""
    if UNIFIED in registry.by_id:
        from pcont.ops import umbrella  # only cgroup v2 needs it

        yield from umbrella.umbrella_findings(session, registry)


def _programs(session: Session) -> Iterator[Finding]:
    """Report subsystems that need programs in the kernel."""
    try:
        session.backend.enforcer.check(f"{numfiles.NUMFILES}, like {numtasks.RATE},")
    except Unsupported as err:
        yield Finding("note", "BPF", err.what, err.hint)
    else:
        yield Finding("ok", "BPF", f"{numfiles.NUMFILES} and {numtasks.RATE} can be enforced")


def _tie(session: Session, one: Hierarchy) -> Iterator[Finding]:
    try:
        check_seen(session.backend, one)
        (top,) = tree(session, f"{one.name}:/")
    except NotFound as err:
        yield Finding("problem", one.name, err.what, err.hint)
        return
    except Unseen as err:
        text = f"{err.filename}: {err.strerror}"
        yield Finding("problem", one.name, text, f"pcont mount --name {one.name} MOUNTPOINT")
        return
    partial = list(_partial(top))
    if partial:
        named = shortened(partial)
        yield Finding(
            "note",
            one.name,
            f"{len(partial)} containers are in some of its trees only: {named}",
            "if another program made them, leave them: mount --tie --at hides them",
        )
    else:
        yield Finding("ok", one.name, f"{len(one.members)} trees with the same containers")


def _partial(node: ContainerNode) -> Iterator[str]:
    if node.missing:
        yield node.path
    for child in node.children:
        yield from _partial(child)
