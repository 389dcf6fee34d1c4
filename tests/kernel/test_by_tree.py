"""A kernel with cgroups of two kinds: each tree has its driver."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from pcont.kernel.by_tree import DriverByTree
from pcont.kernel.proc_text import Membership
from pcont.kernel.system_calls import MountedDriver, MountTable
from pcont.kernel.types import Place, Tree


class Kind:
    """A driver that has one tree, and remembers what it was asked for."""

    def __init__(self, *ids: str) -> None:
        self.ids, self.asked = list(ids), list[object]()

    def trees_in(self, table: MountTable) -> tuple[Tree, ...]:
        self.asked.append("trees")
        return tuple(Tree(id, number, ()) for number, id in enumerate(self.ids, 1))

    def paths_in(self, task: int, rows: Iterable[Membership]) -> dict[str, str]:
        return {id: f"/{id}/{task}{path}" for id in self.ids for _, _, path in rows}

    def read(self, place: Place, file: str) -> str:
        if place.tree not in self.ids:
            raise FileNotFoundError(place.tree)
        self.asked.append((place.tree, file))
        return f"{file} of {place.tree}"

    def forget(self) -> None:
        self.asked.append("forget")


class OneLine:
    """A /proc in which each task has one line, and that counts how often it is read."""

    def __init__(self) -> None:
        self.read = 0

    def of(self, task: int, file: str) -> str:
        self.read += 1
        return "1:freezer:/a\n"


@pytest.fixture
def kinds() -> tuple[Kind, Kind]:
    return Kind("freezer", "name=jobs"), Kind("unified")


@pytest.fixture
def both(kinds: tuple[Kind, Kind]) -> DriverByTree:
    drivers: list[MountedDriver] = [*kinds]  # type: ignore[list-item]
    return DriverByTree(OneLine(), *drivers)  # type: ignore[arg-type]


def test_a_container_is_read_by_the_driver_of_its_tree(
    both: DriverByTree, kinds: tuple[Kind, Kind]
) -> None:
    for tree in ("unified", "freezer", "name=jobs"):
        assert both.read(Place(tree, "/a"), "tasks") == f"tasks of {tree}"
    assert kinds[0].asked == ["trees", ("freezer", "tasks"), ("name=jobs", "tasks")]
    assert kinds[1].asked == ["trees", ("unified", "tasks")]


def test_the_number_of_a_tree_is_read_again_only_after_a_mount(
    both: DriverByTree, kinds: tuple[Kind, Kind]
) -> None:
    assert [both.number(tree) for tree in ("name=jobs", "unified", "freezer")] == [2, 1, 1]
    assert kinds[0].asked == ["trees"]
    kinds[0].ids.insert(0, "late")
    assert both.number("late") == 1
    kinds[0].ids.insert(0, "later")
    both.forget()
    assert both.number("late") == 2
    assert both.number("blkio") == 0


def test_a_task_is_in_trees_of_every_kind(both: DriverByTree) -> None:
    assert both.membership(7) == {
        "freezer": "/freezer/7/a",
        "name=jobs": "/name=jobs/7/a",
        "unified": "/unified/7/a",
    }
    assert [tree.id for tree in both.trees()] == ["freezer", "name=jobs", "unified"]


def test_a_tree_that_is_mounted_later_is_found(
    both: DriverByTree, kinds: tuple[Kind, Kind]
) -> None:
    assert both.read(Place("freezer"), "tasks")
    kinds[1].ids.append("late")
    assert both.read(Place("late"), "tasks") == "tasks of late"


def test_an_unknown_tree_is_not_found(both: DriverByTree) -> None:
    with pytest.raises(FileNotFoundError, match="blkio"):
        both.read(Place("blkio"), "tasks")


def test_what_is_known_of_mounts_is_forgotten_by_every_driver(
    both: DriverByTree, kinds: tuple[Kind, Kind]
) -> None:
    both.read(Place("unified"), "tasks")
    both.forget()
    assert [one.asked[-1] for one in kinds] == ["forget", "forget"]
    kinds[0].ids.append("unified")
    kinds[1].ids.clear()
    assert both.read(Place("unified"), "tasks")
    assert kinds[0].asked[-1] == ("unified", "tasks")
