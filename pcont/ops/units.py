"""Containers of cgroup v2 that belong to systemd: what pcont refuses there, and what it warns of.

systemd makes a container for each of its units, and decides what is in it. It leaves to others what
is below a unit with Delegate=yes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from shlex import quote
from typing import TYPE_CHECKING

from pcont.bases import NamedTuple
from pcont.errors import FORCE, Denied
from pcont.kernel.types import Place
from pcont.linux import systemd
from pcont.session import Session

if TYPE_CHECKING:
    from pcont.kernel.interfaces import Backend


class Unit(NamedTuple):
    """The container of a unit. `delegated`: systemd leaves to others what is below it."""

    place: Place
    delegated: bool

    @property
    def name(self) -> str:
        # systemd puts a _ before a name that could be the one of a control file.
        return self.place.name.removeprefix("_")

    @property
    def owned(self) -> str:
        """The reason of a refusal."""
        return f"{self.place.shown} belongs to systemd"


class Units:
    """Finds the unit that has a container; none if systemd is not the init process (`is_init`)."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.is_init = backend.has_systemd()
        self._privileged = self.is_init and backend.may_mount()
        self._known: dict[str, Unit | None] = {"/": None}

    def of(self, place: Place) -> Unit | None:
        """Return the nearest unit at or above a container."""
        if not (self.is_init and place.is_unified):
            return None
        lineage = [place]
        while lineage[-1].path not in self._known:
            lineage.append(lineage[-1].parent)
        found = self._known[lineage.pop().path]
        for one in reversed(lineage):
            found = self._known[one.path] = self._own(one) or found
        return found

    def at(self, place: Place) -> Unit | None:
        """Return the unit of which this is the container; None for a container below it."""
        unit = self.of(place)
        return unit if unit and unit.place == place else None

    def closed(self, place: Place) -> Unit | None:
        """Return the unit that has a container, unless systemd has delegated it."""
        unit = self.of(place)
        return None if unit is None or unit.delegated else unit

    def _own(self, place: Place) -> Unit | None:
        delegated = self._attribute(place, systemd.DELEGATE) == "1"
        if delegated or systemd.is_unit(place.name) or self._attribute(place, systemd.INVOCATION):
            return Unit(place, delegated)
        return None

    def _attribute(self, place: Place, name: str) -> str:
        return systemd.attribute(self._backend.show(place), name, self._privileged)


def check_inside(units: Units, place: Place, above: Place, action: str) -> None:
    """Raise Denied for what `place` needs in a container above it, if that belongs to systemd."""
    if unit := units.closed(above):
        raise Denied(f"cannot {action}: {unit.owned}", hint=_elsewhere(units, place, unit))


def _elsewhere(units: Units, place: Place, unit: Unit) -> str:
    """Return the hint how to have a container that systemd does not own."""
    delegating = f"set Delegate=yes in {unit.name}" if not unit.name.endswith(".slice") else ""
    if units.at(place):
        return delegating
    beside = f"pcont create {place.elsewhere(f'/{place.name}').word}"
    return f"{delegating}, or: {beside}" if delegating else beside


def check_untouched(session: Session, places: Iterable[Place], action: str) -> None:
    """Raise Denied, without --force, if one of the containers belongs to systemd."""
    _refuse(session, places, action, Units.closed)


def check_kept(session: Session, places: Iterable[Place]) -> None:
    """Raise Denied, without --force, if one of the containers to remove is that of a unit, or in
    one.
    """
    _refuse(session, places, "remove", lambda units, place: units.at(place) or units.closed(place))


def _refuse(
    session: Session,
    places: Iterable[Place],
    action: str,
    find: Callable[[Units, Place], Unit | None],
) -> None:
    """Raise Denied, without --force, if `find` finds a unit for one of the containers."""
    units = Units(session.backend)
    for place in places if not session.force else ():
        if unit := find(units, place):
            raise Denied(
                f"refusing to {action} {place.shown}: {unit.owned}",
                path=session.backend.show(place),
                hint=FORCE,
            )


def warn_entered(session: Session, places: Iterable[Place]) -> None:
    """Warn about tasks that enter a container of systemd."""
    units = Units(session.backend)
    for place in places:
        if unit := units.closed(place):
            session.warn(f"{unit.owned}: it ends the tasks there when {unit.name} stops")


# The files that systemd 252 writes again on daemon-reload. systemd 257 was seen not to.
_RESTORED = {
    *("cpu.weight", "cpu.weight.nice", "cpu.idle", "cpu.max", "io.weight", "memory.oom.group"),
    *("memory.min", "memory.low", "memory.high", "memory.max", "memory.swap.max", "pids.max"),
    *("cpu.shares", "cpu.cfs_quota_us", "cpu.cfs_period_us", "memory.limit_in_bytes"),
}
# What `systemctl set-property` calls the value of a file. Those of cpuset are lost when systemd
# disables the controller, or gets a value for the unit.
_PROPERTIES = {
    "cpu.weight": "CPUWeight",
    "cpuset.cpus": "AllowedCPUs",
    "cpuset.mems": "AllowedMemoryNodes",
    "memory.min": "MemoryMin",
    "memory.low": "MemoryLow",
    "memory.high": "MemoryHigh",
    "memory.max": "MemoryMax",
    "memory.swap.max": "MemorySwapMax",
    "pids.max": "TasksMax",
}


def warn_set(
    session: Session, places: Iterable[Place], settings: Sequence[tuple[str, str]]
) -> None:
    """Warn about values, pairs of file and text, in the container of a unit."""
    units = Units(session.backend)
    undone = [(file, text) for file, text in settings if file in _RESTORED or file in _PROPERTIES]
    for place in places if undone else ():
        if unit := units.at(place):
            session.warn(
                f"{unit.owned}, which may undo this at the next `systemctl daemon-reload`; "
                f"{_keeping(unit, undone)}"
            )


def _keeping(unit: Unit, settings: Iterable[tuple[str, str]]) -> str:
    """Return how systemd itself has the values: the command, where pcont knows it."""
    words = [word for file, text in settings if (word := _assignment(file, text.strip()))]
    if not words:
        return "values of `systemctl set-property` last"
    return f"to keep it: systemctl set-property {quote(unit.name)} {' '.join(words)}"


def _assignment(file: str, text: str) -> str:
    """Return the property of systemd that has a value, as NAME=VALUE; empty if it is not known."""
    if file == "cpu.max" and (quota := re.fullmatch("([0-9]+)( 100000)?", text)):
        return f"CPUQuota={int(quota[1]) / 1000:g}%"
    if file not in _PROPERTIES or not re.fullmatch("max|[0-9][0-9,-]*[KMGT]?", text):
        return ""
    return f"{_PROPERTIES[file]}={'infinity' if text == 'max' else text}"
