"""Check that UMBRELLA keeps systemd from disabling controllers that containers of pcont rely on.

pcont makes UMBRELLA when it enables a controller (ops/enabling.py). A user may remove it later, or
disable controllers in it. `doctor` reports what systemd may disable then, and `gc` enables it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pcont import subsys
from pcont.errors import shortened
from pcont.hierarchy.container import Container, Hierarchy, Member
from pcont.hierarchy.registry import Registry
from pcont.kernel.refusals import exists, vanishing
from pcont.kernel.types import UNIFIED, Place
from pcont.ops.enabling import UMBRELLA, Enabling
from pcont.ops.units import Units
from pcont.records import Collected, Finding
from pcont.session import Session
from pcont.steps.enable import changed_settings
from pcont.steps.leaf import is_made
from pcont.subsys.v2.core import CONTROL

if TYPE_CHECKING:
    from pcont.kernel.interfaces import Backend, CgroupState, ContainerReader


def umbrella_findings(session: Session, registry: Registry) -> Iterator[Finding]:
    """Yield, for `doctor`, the containers with controllers that systemd may disable."""
    found = [*_unkept(session.backend, registry)]
    if found:
        names = ", ".join(dict.fromkeys(name for one in found for name in one.hierarchy.needed))
        some = shortened([one.name for one in found])
        text = f"systemd may disable {names} for {some}: {UMBRELLA} does not keep them enabled"
        yield Finding("problem", "cgroup v2", text, "pcont gc")


def keep_enabled(session: Session, registry: Registry) -> Iterator[Collected]:
    """Enable in UMBRELLA, and where systemd has disabled it, what containers of pcont rely on;
    returns what was written. A note names what the kernel refuses.
    """
    enabling = Enabling(session.backend, set())
    for container in [*_unkept(session.backend, registry)]:
        for step in enabling.steps(container, ()):
            yield from (Collected("restored", line) for line in session.attempt(step))


def _unkept(backend: Backend, registry: Registry) -> Iterator[Container]:
    """Yield the containers of pcont with controllers that UMBRELLA does not enable, these as what
    the hierarchy of the container needs.
    """
    tree = registry.by_id.get(UNIFIED)
    if tree is None or not tree.mounted or not backend.has_systemd():
        return
    root = Place.at(tree)
    pin = root.elsewhere(UMBRELLA)
    kept = _enabled(backend, pin) if exists(backend, pin) else set()
    needed = _of_hierarchies(registry)
    for place in _tops(backend, root, pin):
        names = needed.get(place.path, set()) | _relied_on(backend, place)
        if lacking := tuple(name for name in tree.controllers if name in names - kept):
            yield Hierarchy(UNIFIED, (), (Member(tree),), needed=lacking).container(place.path)


def _of_hierarchies(registry: Registry) -> dict[str, set[str]]:
    """Return the controllers that hierarchies need in cgroup v2, by the paths of their roots."""
    members = [member for one in registry.ties if (member := one.unified_member)]
    return {member.at: {*member.tree.controllers} for member in members}


def _tops(backend: Backend, root: Place, pin: Place) -> Iterator[Place]:
    """Yield the topmost containers that pcont has made, those of UMBRELLA included. What is in the
    containers of systemd is left out.
    """
    units = Units(backend)
    found = [place for name in backend.children(root) if (place := root.child(name)) != pin]
    if exists(backend, pin):
        found += map(pin.child, backend.children(pin))
    for place in found:
        with vanishing():
            if is_made(backend, place) and units.of(place) is None:
                yield place


def _relied_on(backend: CgroupState, place: Place) -> set[str]:
    """Return the controllers that a container enables for its children, or has settings of."""
    found: set[str] = set()
    with vanishing():
        settings = changed_settings(backend, place, _enabled(backend, place.parent))
        found |= {subsys.of(file) for file, _ in settings}
        found |= _enabled(backend, place)
    return found


def _enabled(backend: ContainerReader, place: Place) -> set[str]:
    return {*backend.read(place, CONTROL).split()}
