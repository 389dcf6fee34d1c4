"""Places: containers of one tree, which they hold."""

from __future__ import annotations

import pytest

from pcont.kernel.types import Mount, Place, Spelling, Tree, words_of

UNIFIED = Tree("unified", 0, ("cpuset", "pids"))


def test_a_place_has_the_controllers_of_its_tree_whatever_the_id_says() -> None:
    assert Place.at(UNIFIED, "/a").controllers == ("cpuset", "pids")


def test_a_place_that_was_read_from_a_journal_has_those_that_its_id_lists() -> None:
    assert Place("cpu,cpuacct,name=x", "/a").controllers == ("cpu", "cpuacct")
    assert Place("name=x").controllers == ()


@pytest.mark.parametrize(
    "other",
    [
        Place.at(UNIFIED, "/b").parent.child("a"),
        Place.at(UNIFIED).elsewhere("/a"),
        Place.at(UNIFIED, "/a/b").parent,
        Place.at(UNIFIED, "/x").root.child("a"),
    ],
    ids=["child", "elsewhere", "parent", "root"],
)
def test_other_places_of_a_tree_hold_it_as_well(other: Place) -> None:
    assert (other, other.whole) == (Place("unified", "/a"), UNIFIED)


def test_places_are_the_same_however_their_tree_is_mounted() -> None:
    mounted = Tree("unified", 0, ("cpuset", "pids"), mounts=(Mount("/m"),))
    assert {Place.at(mounted, "/a")} == {Place.at(UNIFIED, "/a")} == {Place("unified", "/a")}


def test_the_root_is_named_by_the_tree_and_other_places_as_the_user_typed_it() -> None:
    place = Place.at(UNIFIED, "/a", Spelling("jobs:/a", "/a", selector="jobs"))
    assert place.root.shown == "unified:/"
    assert place.elsewhere("/a/b").shown == "jobs:/a/b"


def test_the_words_of_an_id_are_controllers_and_a_name() -> None:
    assert words_of("cpu,cpuacct,name=x") == (("cpu", "cpuacct"), "x")
    assert words_of("name=systemd") == ((), "systemd")


@pytest.mark.parametrize("count", ["9" * 5000, "99999", "٣", "-1", "x", ""])
def test_a_mount_source_with_an_impossible_number_names_no_directories(count: str) -> None:
    assert Mount("/a/b", source=f"pcont:{count}:/a/b").made == []
    assert Mount("/a/b", source="pcont:2:/a/b").made == ["/a/b", "/a"]
