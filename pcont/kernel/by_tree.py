"""Combine several drivers into one: each call goes to the driver of the place's tree."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from pcont.kernel.mounted import MountTexts
from pcont.kernel.proc_text import memberships
from pcont.kernel.types import Owner, Place, Snapshot, Tree

if TYPE_CHECKING:
    from pcont.kernel.system_calls import MountedDriver, ProcReader
    from pcont.kernel.types import Surveyed


class DriverByTree:
    """The driver (MountedDriver) of a kernel that has cgroups of several kinds."""

    def __init__(self, proc: ProcReader, *drivers: MountedDriver) -> None:
        self._proc_reader, self.drivers = proc, drivers
        self._by_tree: dict[str, tuple[Tree, MountedDriver]] = {}

    def trees(self) -> tuple[Tree, ...]:
        table = MountTexts(self._proc_reader)  # read once for all drivers
        found = [(tree, driver) for driver in self.drivers for tree in driver.trees_in(table)]
        self._by_tree = {tree.id: (tree, driver) for tree, driver in found}
        return tuple(tree for tree, _ in found)

    def forget(self) -> None:
        """Discard cached mounts, before they change."""
        self._by_tree = {}
        for driver in self.drivers:
            driver.forget()

    def driver(self, tree: str) -> MountedDriver:
        """Return the driver of a tree; for an unknown tree any driver, which then raises
        FileNotFoundError.
        """
        found = self._by_tree.get(tree) or self._found(tree)
        return found[1] if found else self.drivers[0]

    def number(self, tree: str) -> int:
        """Return the hierarchy number of a tree; 0 for an unknown tree."""
        found = self._found(tree)
        return found[0].number if found else 0

    def _found(self, tree: str) -> tuple[Tree, MountedDriver] | None:
        if tree not in self._by_tree:
            self.trees()
        return self._by_tree.get(tree)

    def membership(self, task: int) -> dict[str, str]:
        rows = memberships(self._proc_reader.of(task, "cgroup"))
        found: dict[str, str] = {}
        for driver in self.drivers:
            found |= driver.paths_in(task, rows)
        return found

    def path(self, place: Place, file: str = "") -> str:
        """Return the path of a container, or of a file of it. Raises Unseen if no mount
        shows it.
        """
        return self.driver(place.tree).path(place, file)

    def make(self, place: Place) -> None:
        self.driver(place.tree).make(place)

    def remove(self, place: Place, force: bool = False) -> None:
        self.driver(place.tree).remove(place, force)

    def has(self, place: Place) -> bool:
        return self.driver(place.tree).has(place)

    def children(self, place: Place) -> list[str]:
        return self.driver(place.tree).children(place)

    def count_children(self, place: Place) -> int:
        return self.driver(place.tree).count_children(place)

    def names_in_use(self, place: Place, names: Sequence[str]) -> set[str]:
        return self.driver(place.tree).names_in_use(place, names)

    def survey(self, place: Place, files: Sequence[str]) -> list[Surveyed]:
        return self.driver(place.tree).survey(place, files)

    def files(self, place: Place) -> dict[str, bool]:
        return self.driver(place.tree).files(place)

    def read(self, place: Place, file: str) -> str:
        return self.driver(place.tree).read(place, file)

    def write(self, place: Place, file: str, text: str) -> None:
        self.driver(place.tree).write(place, file, text)

    def enter(self, place: Place, tasks: Iterable[int], file: str = "") -> Iterator[int]:
        return self.driver(place.tree).enter(place, tasks, file)

    def kill(self, place: Place, pids: Iterable[int], number: int) -> Iterator[int]:
        yield from self.driver(place.tree).kill(place, pids, number)

    def thawing(self, place: Place) -> AbstractContextManager[None]:
        return self.driver(place.tree).thawing(place)

    def attributes(self, place: Place) -> dict[str, str]:
        return self.driver(place.tree).attributes(place)

    def set_attribute(self, place: Place, name: str, text: str | None) -> None:
        self.driver(place.tree).set_attribute(place, name, text)

    def stray(self, place: Place) -> dict[str, str]:
        return self.driver(place.tree).stray(place)

    def mend(self, place: Place) -> None:
        self.driver(place.tree).mend(place)

    def snapshot(self, place: Place, files: Iterable[str], others: Iterable[str]) -> Snapshot:
        return self.driver(place.tree).snapshot(place, files, others)

    def owners(self, place: Place) -> dict[str, Owner]:
        return self.driver(place.tree).owners(place)

    def set_owners(self, place: Place, owners: Mapping[str, Owner]) -> None:
        self.driver(place.tree).set_owners(place, owners)

    def may_change(self, place: Place) -> bool:
        return self.driver(place.tree).may_change(place)

    def spelled(self, place: Place, file: str) -> str:
        return self.driver(place.tree).spelled(place, file)

    def show(self, place: Place, file: str = "") -> str:
        return self.driver(place.tree).show(place, file)
