"""Enable the controllers of cgroup v2 that the settings of a container need.

A container has the files of a controller if each container above it enables the controller for its
children. systemd disables controllers in the root that no unit needs, unless a child of the root
enables them for its own children: for that, pcont makes the container UMBRELLA.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from pcont import subsys
from pcont.hierarchy.container import Container
from pcont.kernel.refusals import exists
from pcont.kernel.types import Place
from pcont.ops.units import Units, check_inside
from pcont.subsys.v2.core import CONTROL
from pcont.tables.face import file_of_face
from pcont.tables.interface import Interface
from pcont.transaction.step import Step

if TYPE_CHECKING:
    from pcont.kernel.interfaces import Backend

UMBRELLA = "/pcont"


class Enabling:
    """Plans which controllers to enable where, for the containers of one command.

    `made`: the containers that are yet to be created; the caller adds to them.
    """

    def __init__(self, backend: Backend, made: set[Place]) -> None:
        self.backend, self.made = backend, made
        self._units = Units(backend)
        self._there: dict[Place, set[str]] = {}

    def check_making(self, place: Place, action: str) -> None:
        """Raise Denied for a new container below one of systemd."""
        check_inside(self._units, place, place.parent, action)

    def steps(self, container: Container, files: Collection[str]) -> list[Step]:
        """Return the steps that give a container these files; none on cgroup v1."""
        found: list[Step] = []
        found_in = (_file_of(file) for file in files)
        asked = {subsys.of(file) for file in found_in if not subsys.is_always_on_v2(file)}
        asked.update(container.hierarchy.needed)
        for place in container.places:
            if CONTROL in files:
                check_inside(self._units, place, place, f"set {CONTROL} of {container.name}")
            if place.is_unified and not place.is_root:
                names = [name for name in place.controllers if name in asked]
                found += self._of(place, names, f"enable {', '.join(names)} for {container.name}")
        return found

    def for_children(self, container: Container) -> list[Step]:
        """Return the steps that enable the controllers of a hierarchy for the children of a
        container of cgroup v2, which has them by the `steps` so far.
        """
        found: list[Step] = []
        for place in container.places:
            if place.is_unified:
                names = [one for one in place.controllers if one in container.hierarchy.needed]
                action = f"enable {', '.join(names)} for the children of {container.name}"
                found += self._at(place, names, action, place)
        return found

    def _of(self, place: Place, names: Sequence[str], action: str) -> list[Step]:
        found: list[Step] = []
        for above in _lineage(place) if names else ():
            found += self._at(above, names, action, place)
        pin = place.elsewhere(UMBRELLA)
        # systemd enables what a delegated unit may use.
        if names and place != pin and self._units.is_init and self._units.of(place) is None:
            found += self._pinning(pin, names, action)
        return found

    def _pinning(self, pin: Place, names: Sequence[str], action: str) -> list[Step]:
        """Return the steps that keep systemd from disabling controllers in the root."""
        from pcont.steps.creation import CreateContainer  # few commands need it

        found: list[Step] = []
        if pin not in self.made and not exists(self.backend, pin):
            found.append(CreateContainer(pin, action))
            self.made.add(pin)
        return found + self._at(pin, names, action, pin)

    def _at(self, place: Place, names: Sequence[str], action: str, target: Place) -> list[Step]:
        """Return the step that enables controllers for the children of one container; none if it
        enables them already. `target`: the container that needs them.
        """
        missing = [name for name in names if name not in self._enabled(place)]
        if not missing:
            return []
        from pcont.steps.enable import EnableControllers  # often everything is enabled

        doing = f"enable {', '.join(missing)} for the children of {place.shown}"
        check_inside(self._units, target, place, doing)
        self._enabled(place).update(missing)
        return [*self._spilling(place, action), EnableControllers(place, missing, action)]

    def _spilling(self, place: Place, action: str) -> list[Step]:
        """Return the step that moves the tasks of a container out of the way of its controllers.

        Only a container that pcont has created gets a leaf for them.
        """
        if place.is_root or place in self.made:
            return []
        from pcont.steps.leaf import is_made  # as EnableControllers
        from pcont.steps.spill import Spill

        if not is_made(self.backend, place):
            return []
        return [Spill(place, action)]

    def _enabled(self, place: Place) -> set[str]:
        """Return what a container enables for its children, after the steps so far."""
        if place not in self._there:
            text = "" if place in self.made else self.backend.read(place, CONTROL)
            self._there[place] = {*text.split()}
        return self._there[place]


def _file_of(key: str) -> str:
    """Return the file of cgroup v2 that has the value of a KEY: often itself."""
    return file_of_face(subsys.face(key, Interface.V2)) or key


def _lineage(place: Place) -> list[Place]:
    """Return the containers above a container, the root first."""
    found = [place.parent]
    while not found[0].is_root:
        found.insert(0, found[0].parent)
    return found
