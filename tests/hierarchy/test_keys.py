"""keys: which control file a KEY means, and what is said of one that means none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pcont.backend_cgroupfs import Cgroupfs
from pcont.backend_model import Model
from pcont.errors import BadValue, NotFound, UsageProblem
from pcont.hierarchy.container import TIE, Container, Tie
from pcont.hierarchy.keys import (
    file_of,
    files_of,
    find_files,
    near,
    owners,
    split_assignments,
    unknown,
)
from pcont.hierarchy.registry import Registry
from pcont.kernel.types import Place, TreeRequest
from pcont.ops import settings
from pcont.session import Session
from pcont.virtual.files import ControlFiles
from tests.subsys.test_v2_tables import RECORD
from tests.test_backend_cgroupfs import Host


@pytest.fixture
def model() -> Model:
    """cpuset and cpuacct each on its own, a tie over both, and a container in all of it."""
    model = Model()
    home = Place("name=jobs")
    for tree, request in (
        ("cpuset", TreeRequest(("cpuset",))),
        ("cpuacct", TreeRequest(("cpuacct",))),
        (home.tree, TreeRequest((), "jobs")),
    ):
        model.make_directory(f"/cg/{tree}")
        model.mount(request, f"/cg/{tree}", "pcont")
        model.make(Place(tree, "/a"))
    trees = ("cpuset", "cpuacct")
    model.set_attribute(home, TIE, Tie(trees, trees).dump())
    return model


def with_file(model: Model, tree: str, file: str) -> Model:
    """The same containers on a kernel where a controller brings one more file to its tree."""

    class Kernel(Model):
        def files(self, place: Place) -> dict[str, bool]:
            extra = {file: True} if place.tree == tree else {}
            return {**super().files(place), **extra}

    other = Kernel()
    vars(other).update(vars(model))
    return other


def place(model: Model, text: str = "jobs:/a") -> Container:
    return Registry(model).place(text)


# KEY=VALUE


def test_the_first_equals_sign_splits_and_a_value_may_be_empty() -> None:
    assert split_assignments(["cpus=0-1", "release_agent=/a=b", "mems="]) == [
        ("cpus", "0-1"),
        ("release_agent", "/a=b"),
        ("mems", ""),
    ]
    assert split_assignments([]) == []


@pytest.mark.parametrize("word", ["cpus", "=1", "", "="])
def test_a_word_without_key_or_equals_sign_is_a_usage_problem(word: str) -> None:
    with pytest.raises(UsageProblem, match="not of the form KEY=VALUE"):
        split_assignments(["mems=0", word])


def test_one_value_for_a_file_by_whichever_name(model: Model) -> None:
    hierarchy = place(model).hierarchy
    pairs = [("cpus", "0"), ("mems", "0"), ("tasks", "1")]
    assert files_of(hierarchy, pairs) == ["cpuset.cpus", "cpuset.mems", "tasks"]
    for doubled in ("cpus", "cpuset.cpus"):
        with pytest.raises(UsageProblem, match=r"one value for a key: cpuset\.cpus"):
            files_of(hierarchy, [*pairs, (doubled, "0")])
    with pytest.raises(UsageProblem, match="one value for a key: a, b"):
        files_of(hierarchy, [("b", ""), ("a", ""), ("b", ""), ("a", "")])


def test_at_most_one_value_that_cannot_be_undone(model: Model) -> None:
    """Of memory's files, failcnt is a second counter that can only be reset."""
    other = with_file(model, "cpuset", "memory.failcnt")
    session = Session(other)
    settings.assign(session, "jobs:/a", ["cpuacct.usage=0", "cpus=0"])
    with pytest.raises(UsageProblem, match="cannot be undone once written: at most one"):
        settings.assign(session, "jobs:/a", ["cpuacct.usage=0", "cpus=1", "memory.failcnt=0"])
    assert other.read(Place("cpuset", "/a"), "cpuset.cpus") == "0\n"


# Bare names


@pytest.mark.parametrize(
    ("key", "file"),
    [
        ("cpus", "cpuset.cpus"),
        ("mems", "cpuset.mems"),
        ("cpu_exclusive", "cpuset.cpu_exclusive"),
        ("memory_migrate", "cpuset.memory_migrate"),
        ("cpuset.cpus", "cpuset.cpus"),
        ("tasks", "tasks"),
        ("usage", "usage"),
        ("nonsense", "nonsense"),
    ],
)
def test_the_names_of_2006_are_understood(model: Model, key: str, file: str) -> None:
    assert file_of(place(model).hierarchy, key) == file


def test_a_bare_name_is_understood_only_where_its_subsystem_is(model: Model) -> None:
    assert file_of(place(model, "cpuacct:/a").hierarchy, "cpus") == "cpus"


def test_a_bare_name_that_two_subsystems_have_is_ambiguous(model: Model) -> None:
    # No two tables share a name today: cpuset twice stands for two that do.
    one = place(model, "cpuset:/a").hierarchy
    twice = one._replace(members=one.members * 2)
    with pytest.raises(BadValue, match=r"'cpus' could be cpuset\.cpus or cpuset\.cpus"):
        file_of(twice, "cpus")
    assert file_of(twice, "cpuset.cpus") == "cpuset.cpus"


# Where a file is


@pytest.mark.parametrize(
    ("file", "trees"),
    [
        ("cpuset.cpus", ["cpuset"]),
        ("cpuacct.usage", ["cpuacct"]),
        ("tasks", ["name=jobs", "cpuset", "cpuacct"]),
        ("cgroup.procs", ["name=jobs", "cpuset", "cpuacct"]),
        ("cgroup.clone_children", ["name=jobs", "cpuset", "cpuacct"]),
        ("notify_on_release", ["name=jobs"]),
        ("release_agent", ["name=jobs"]),
        ("memory.limit_in_bytes", []),
    ],
)
def test_a_file_belongs_to_the_trees_that_have_its_subsystem(
    model: Model, file: str, trees: list[str]
) -> None:
    assert [one.tree for one in owners(place(model), file)] == trees


def test_a_list_of_hierarchies_has_no_home_so_each_has_its_own_flags(model: Model) -> None:
    container = place(model, "cpuset,cpuacct:/a")
    assert [one.tree for one in owners(container, "notify_on_release")] == ["cpuset", "cpuacct"]


def test_a_key_is_found_where_it_is(model: Model) -> None:
    file, places = find_files(ControlFiles(model), place(model), "cpus")
    assert (file, places) == ("cpuset.cpus", {Place("cpuset", "/a"): "\n"})
    file, places = find_files(ControlFiles(model), place(model, "jobs:/"), "release_agent")
    assert (file, places) == ("release_agent", {Place("name=jobs"): None})


def test_a_file_of_the_root_is_not_found_below(model: Model) -> None:
    with pytest.raises(NotFound, match="jobs:/a has no file 'release_agent'"):
        find_files(ControlFiles(model), place(model), "release_agent")


def test_a_core_file_that_one_controller_brings_is_found_there(model: Model) -> None:
    """As memory does with its event_control."""
    other = with_file(model, "cpuacct", "cgroup.event_control")
    file, places = find_files(ControlFiles(other), place(other), "cgroup.event_control")
    assert (file, places) == ("cgroup.event_control", {Place("cpuacct", "/a"): None})


# What is near


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("cpuset.cpu", "cpuset.cpus"),
        ("cpuset.mem", "cpuset.mems"),
        ("cpuacct.useage", "cpuacct.usage"),
        ("cpu", "cpus"),
        ("taks", "tasks"),
        ("notify_on_releas", "notify_on_release"),
    ],
)
def test_an_unknown_key_gets_the_nearest_as_a_hint(model: Model, key: str, nearest: str) -> None:
    with pytest.raises(NotFound) as caught:
        find_files(ControlFiles(model), place(model), key)
    assert f"has no file {key!r}" in caught.value.what
    assert nearest in caught.value.hint.removeprefix("near: ").split(", ")


def test_a_key_of_a_subsystem_that_is_elsewhere_says_so(model: Model) -> None:
    for key in ("memory.limit_in_bytes", "cpuset.cpus"):
        with pytest.raises(NotFound) as caught:
            find_files(ControlFiles(model), place(model, "cpuacct:/a"), key)
        prefix = key.partition(".")[0]
        assert f"does not have {prefix}" in caught.value.hint


def test_only_a_key_that_the_freezer_serves_is_said_to_be_there(model: Model) -> None:
    container = place(model, "cpuset:/a")
    files = ["cgroup.procs", "tasks"]
    assert "does not have freezer" in unknown(container, "cgroup.freeze", files).hint
    assert unknown(container, "cgroup.event_control", files).hint == "near: cgroup.procs"


@pytest.fixture
def bare_v2(tmp_path: Path) -> Cgroupfs:
    """cgroup v2 made of files: its one container has the files of one without a controller."""
    host = Host(tmp_path)
    host.mounts(host.line("v2", "rw", type="cgroup2"))
    top = host.point("v2")
    (top / "cgroup.controllers").write_text("cpu memory\n")
    (top / "a").mkdir()
    for name in json.loads(RECORD.read_text())["containers"]["plain"]:
        (top / "a" / name).write_text("")
    return host.backend()


@pytest.mark.parametrize(
    ("key", "name"), [("cpu.max", "cpu"), ("cpu.cfs_quota_us", "cpu"), ("memory.max", "memory")]
)
def test_a_key_of_a_controller_that_is_not_enabled_says_so(
    bare_v2: Cgroupfs, key: str, name: str
) -> None:
    """A container always has some files of cpu and memory, such as cpu.stat.local."""
    with pytest.raises(NotFound) as caught:
        find_files(ControlFiles(bare_v2), Registry(bare_v2).place("unified:/a"), key)
    assert f"{name} is not enabled for the children of unified:/" in caught.value.what
    assert caught.value.hint == f"pcont set unified:/ cgroup.subtree_control=+{name}"


def test_a_key_like_no_other_gets_a_hint_with_the_list(model: Model) -> None:
    assert unknown(place(model), "zzzzqqq", ["tasks"]).hint == "pcont get jobs:/a"


def test_at_most_three_are_near_the_most_alike_first() -> None:
    known = ["cpuset.cpus", "cpuset.mems", "cpuset.cpu_exclusive", "cpuset.effective_cpus", "tasks"]
    hint = near("cpuset.cpux", known)
    assert hint.startswith("near: cpuset.cpus")
    assert hint.count(",") <= 2
    assert near("zzz", known) == ""


def test_a_part_of_a_name_is_near_where_nothing_else_is() -> None:
    assert near("pro", ["cgroup.procs", "tasks", "cpuset.cpus"]) == "near: cgroup.procs"
