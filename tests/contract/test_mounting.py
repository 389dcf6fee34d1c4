"""mount and umount: the patch's rules, and hierarchies that are really gone afterwards."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pcont import subsys
from pcont.kernel.proc_text import unescape
from pcont.kernel.types import Place
from pcont.linux.proc import Proc
from pcont.steps.created import RemoveCreated
from pcont.transaction.undo_log import restore_record
from tests.conftest import IN_GUEST
from tests.contract.conftest import Pcont, eventually, starts_empty


@pytest.fixture(
    params=[
        pytest.param("model", id="model"),
        pytest.param("cgroupfs", id="kernel", marks=pytest.mark.guest),
    ]
)
def bare(request: pytest.FixtureRequest, tmp_path: Path) -> Pcont:
    """The command line where nothing is bound: the model, and the kernel of a guest."""
    if request.param == "model":
        return Pcont(("--backend", "model", "--state", str(tmp_path / "model.json")))
    return Pcont(("--backend", "cgroupfs"))


def rows(pcont: Pcont) -> dict[str, dict[str, object]]:
    found = json.loads(pcont.ok("hierarchies", "--json"))["result"]
    return {row["name"]: row for row in found}


def test_two_subsystems_are_one_hierarchy_of_the_kernel(bare: Pcont, tmp_path: Path) -> None:
    point = str(tmp_path / "dev" / "containers")
    said = bare.ok("mount", "-o", "cpuset,cpuacct", point)
    assert said == f"cpuset,cpuacct\t{point}\n"
    assert bare.trees() == {"cpuset,cpuacct"}
    (row,) = rows(bare).values()
    assert row["subsystems"] == ["cpuset", "cpuacct"]
    assert row["mountpoint"] == point
    bare.ok("umount", point)
    assert rows(bare) == {}
    assert not os.path.exists(tmp_path / "dev")


def test_the_same_set_again_is_the_same_hierarchy(bare: Pcont, tmp_path: Path) -> None:
    first, second = str(tmp_path / "one"), str(tmp_path / "two")
    bare.ok("mount", "-o", "cpuset,cpuacct", first)
    bare.ok("create", "cpuset:/a")
    bare.ok("mount", "-o", "cpuacct,cpuset,cpuacct", second)
    assert len(rows(bare)) == 1
    assert bare.get(f"{second}/a", "cpus") == ""
    assert bare.ok("mount", "-o", "cpuset,cpuacct", second) == f"cpuset,cpuacct\t{second}\n"
    bare.ok("umount", second)
    assert bare.get(f"{first}/a", "cpus") == ""
    bare.ok("rm", "cpuset:/a")
    bare.ok("umount", "cpuset")
    assert rows(bare) == {}


def test_an_overlap_with_another_set_is_busy_and_names_the_hierarchy(bare: Pcont) -> None:
    bare.ok("mount", "-o", "cpuset,cpuacct", "--name", "jobs")
    said = bare.fails(5, "mount", "-o", "cpuset")
    assert "cpuset is bound to jobs at " in said
    assert "--tie" in said
    said = bare.fails(5, "mount", "-o", "cpuset,cpuacct", "--name", "other")
    assert "jobs" in said
    if "model" in bare.words:
        assert "cpuset,cpuacct are already one hierarchy" in said.replace(", ", ",")
    bare.ok("umount", "jobs")


def test_words_that_are_no_subsystems(bare: Pcont) -> None:
    said = bare.fails(3, "mount", "-o", "nosuch")
    assert "known:" in said
    assert "cpuset" in said
    bare.fails(7, "mount", "-o", "cpuset,,cpuacct")
    bare.fails(7, "mount", "-o", "")
    bare.fails(7, "mount", "-o", "none,cpuset", "--name", "x")
    bare.fails(2, "mount", "-o", "none")
    bare.fails(2, "mount", "-o", "cpuset", "--at", "/a")
    bare.fails(2, "mount", "-o", "cpuset", "--no-freezer")
    assert "-o" in bare.fails(2, "mount", "--tie", "--name", "x")
    assert "pcont mount -o cpuset" in bare.fails(2, "mount", "cpuset")
    assert "did you mean cpuset" in bare.fails(2, "umount", "cpuset:/a")
    assert rows(bare) == {}


@pytest.mark.parametrize(
    "called",
    ["cpuset", "all", "none", "bc", ".", "..", "-x", "with blank", "a:b", "a,b", "x" * 64, "ä"],
)
def test_names_that_cannot_be(bare: Pcont, called: str) -> None:
    bare.fails(7, "mount", "-o", "none", "--name", called)
    assert rows(bare) == {}


def test_a_name_of_63_characters_is_the_longest(bare: Pcont, tmp_path: Path) -> None:
    bare.ok("mount", "-o", "none", "--name", "x" * 63, str(tmp_path / "long"))
    assert list(rows(bare)) == ["x" * 63]
    bare.ok("umount", "x" * 63)


def test_umount_with_containers_keeps_the_tree(bare: Pcont, tmp_path: Path) -> None:
    point = str(tmp_path / "m")
    bare.ok("mount", "-o", "cpuset,cpuacct", point)
    bare.ok("create", "-p", "-i", "cpuset:/a/b", "-s", "cpus=1")
    said = bare("umount", "cpuset")
    assert said.status == 0
    assert "stays active" in said.err
    (row,) = rows(bare).values()
    assert (row["mounted"], row["containers"]) == (False, None)
    assert "active, not mounted" in bare.ok("hierarchies")
    assert "not mounted" in bare.fails(3, "get", "cpuset:/a", "cpus")
    bare.fails(5, "mount", "-o", "cpuset")
    bare.ok("mount", "-o", "cpuset,cpuacct", point)
    assert bare.get("cpuset:/a/b", "cpus") == "1"
    bare.ok("rm", "-r", "cpuset:/a")
    bare.ok("umount", "cpuset")
    assert rows(bare) == {}


@pytest.mark.slow
def test_create_remove_and_umount_at_once_never_lingers(bare: Pcont, tmp_path: Path) -> None:
    for _ in range(30 if IN_GUEST else 100):
        bare.ok("mount", "-o", "cpuset,cpuacct", str(tmp_path / "m"))
        bare.ok("create", "-p", "-i", "cpuset:/a/b", "cpuset:/c")
        bare.ok("rm", "-r", "cpuset:/a", "cpuset:/c")
        bare.ok("umount", "cpuset")
        assert bare.trees() == set()


def test_all_means_every_subsystem(bare: Pcont, tmp_path: Path) -> None:
    bare.ok("mount", str(tmp_path / "m"))
    (row,) = rows(bare).values()
    found = json.loads(bare.ok("subsys", "--json"))["result"]
    kernels = [one for one in found if not subsys.is_virtual(one["name"])]
    assert row["subsystems"] == [one["name"] for one in kernels if one["enabled"]]
    bare.ok("umount", str(tmp_path / "m"))
    assert rows(bare) == {}


def test_a_release_agent_can_be_given_at_mount_and_again_later(bare: Pcont, tmp_path: Path) -> None:
    point = str(tmp_path / "m")
    bare.ok("mount", "-o", "cpuacct", "--release-agent", "/bin/true", point)
    assert bare.get("cpuacct:/", "release_agent") == "/bin/true"
    bare.ok("mount", "-o", "cpuacct", "--release-agent", "/bin/false", point)
    assert bare.get("cpuacct:/", "release_agent") == "/bin/false"
    bare.ok("umount", "cpuacct")


def test_a_tie_over_what_is_bound_and_what_is_free(bare: Pcont) -> None:
    bare.ok("mount", "-o", "cpuset")
    bare.ok("mount", "--tie", "--name", "jobs", "-o", "cpuset,cpuacct", "--no-freezer")
    row = rows(bare)["jobs"]
    assert [tree["id"] for tree in row["trees"]] == ["name=jobs", "cpuset", "cpuacct"]  # type: ignore[attr-defined]
    bare.ok("create", "-i", "jobs:/a")
    assert bare.get("cpuset:/a", "cpus") == bare.get("jobs:/", "cpus")
    bare.ok("get", "cpuacct:/a")
    assert "part of jobs" in bare.fails(5, "umount", "cpuset")
    bare.ok("rm", "jobs:/a")
    bare.ok("umount", "jobs")
    assert set(rows(bare)) == {"cpuset"}
    bare.ok("umount", "cpuset")


def test_the_freezer_is_a_member_of_a_tie_unless_it_is_left_out(bare: Pcont) -> None:
    bare.ok("mount", "-o", "cpuacct")
    for more, members in (([], ["cpuacct", "freezer"]), (["--no-freezer"], ["cpuacct"])):
        bare.ok("mount", "--tie", "--name", "jobs", "-o", "cpuacct", *more)
        row = rows(bare)["jobs"]
        assert row["subsystems"] == ["cpuacct"]
        assert [tree["id"] for tree in row["trees"]] == ["name=jobs", *members]  # type: ignore[attr-defined]
        bare.ok("umount", "jobs")
        assert set(rows(bare)) == {"cpuacct"}
    bare.ok("umount", "cpuacct")


def test_a_tie_with_containers_stays_and_comes_back(bare: Pcont) -> None:
    for controller in ("cpuset", "cpuacct"):
        bare.ok("mount", "-o", controller)
    words = ["mount", "--tie", "--name", "jobs", "-o", "cpuset,cpuacct", "--at", "/x"]
    bare.ok(*words)
    bare.ok("create", "-i", "jobs:/a", "-s", "cpus=1")
    noted = bare("umount", "jobs")
    assert noted.status == 0
    assert "stays active" in noted.err
    assert "active but not mounted" in bare.fails(3, "get", "jobs:/a")
    said = bare.fails(5, "mount", "--tie", "--name", "jobs", "-o", "cpuset")
    assert "has -o cpuset,cpuacct --tie --at /x" in said
    bare.fails(5, "mount", "--tie", "--name", "jobs", "-o", "cpuset,cpuacct")
    bare.ok(*words)
    bare.ok("umount", "jobs")
    bare.ok("mount", "--name", "jobs")
    assert bare.get("jobs:/a", "cpus") == "1"
    bare.ok(*words)
    bare.ok("rm", "jobs:/a")
    bare.ok("umount", "jobs")
    assert bare.ok("tree", "cpuset").count("\n") == 1
    for controller in ("cpuset", "cpuacct"):
        bare.ok("umount", controller)


@pytest.mark.quick
def test_a_tie_whose_third_tree_refuses_leaves_nothing(
    pcont: Pcont, name: str, start: Callable[..., int]
) -> None:
    """create over three tied trees, with a value that the third one refuses."""
    bound = ["cpuset", "cpuacct"] if starts_empty(pcont) else []
    for controller in bound:
        pcont.ok("mount", "-o", controller)
    options = ["-o", "cpuset,cpuacct", "--at", f"/{name}", "--no-freezer"]
    pcont.ok("mount", "--tie", "--name", name, *options)
    trees = [tree["id"] for tree in rows(pcont)[name]["trees"]]  # type: ignore[attr-defined]
    refused = {"cpuset": "cpuset.cpus=lots", "cpuacct": "cpuacct.usage=1"}[trees[2]]
    said = pcont.fails(7, "create", f"{name}:/a", "-s", refused)
    assert "EINVAL" in said
    assert "undone" in said
    for tree in trees:
        base = f"/{name}" if tree in ("cpuset", "cpuacct") else "/"
        assert pcont.backend().children(Place(tree, base)) == []
    pcont.ok("umount", name)
    for controller in bound:
        pcont.ok("umount", controller)


def test_a_selector_over_several_is_a_tie_without_a_name(
    pcont: Pcont, name: str, start: Callable[..., int]
) -> None:
    bound = ["cpuset", "cpuacct"] if starts_empty(pcont) else []
    for controller in bound:
        pcont.ok("mount", "-o", controller)
    place = f"cpuset,cpuacct:/{name}"
    pcont.ok("create", "-i", place)
    pid = start()
    pcont.ok("attach", place, str(pid))
    assert {pcont.paths(pid)[tree] for tree in ("cpuset", "cpuacct")} == {f"/{name}"}
    pcont.fails(5, "create", place)
    pcont.ok("rm", "--evict", f"cpuacct,cpuset,cpuacct:/{name}")
    for controller in bound:
        pcont.ok("umount", controller)


@pytest.mark.parametrize("first", ["/both", "/old"])
def test_create_in_two_hierarchies_where_the_second_fails(
    pcont: Pcont, name: str, first: str
) -> None:
    other = f"{name}-b"
    pcont.ok("mount", "-o", "none", "--name", name)
    pcont.ok("mount", "-o", "none", "--name", other)
    pcont.ok("create", f"{other}:/y")
    pcont.fails(5, "create", f"{name}:/x", f"{other}:/y")
    assert pcont.children(name) == []
    pcont.ok("rm", f"{other}:/y")
    pcont.ok("umount", name)
    pcont.ok("umount", other)


@pytest.fixture
def named(pcont: Pcont, name: str, tmp_path: Path) -> Iterator[tuple[Pcont, str, str]]:
    """A hierarchy without controllers, at a directory with a blank in its name."""
    point = str(tmp_path / "with blank" / "m")
    pcont.ok("mount", "-o", "none", "--name", name, point)
    yield pcont, name, point
    pcont.ok("umount", name)


@pytest.mark.quick
def test_a_named_hierarchy_without_controllers(named: tuple[Pcont, str, str]) -> None:
    pcont, name, point = named
    row = rows(pcont)[name]
    assert row["subsystems"] == []
    assert row["mountpoint"] == point
    pcont.ok("create", f"name={name}:/a")
    assert pcont.children(name) == ["a"]
    assert pcont.ok("get", f"{point}/a", "notify_on_release") == "0\n"
    pcont.ok("rm", f"{point}/a/")


def test_the_same_name_again_is_one_more_view(
    named: tuple[Pcont, str, str], tmp_path: Path
) -> None:
    pcont, name, point = named
    view = str(tmp_path / "view")
    pcont.ok("mount", "-o", "none", "--name", name, view)
    pcont.ok("create", f"{view}/a")
    assert pcont.get(f"{point}/a", "notify_on_release") == "0"
    pcont.ok("rm", f"{name}:/a")
    pcont.ok("umount", view)
    assert rows(pcont)[name]["mountpoint"] == point


@pytest.mark.quick
def test_umount_of_a_mount_by_others_is_denied(pcont: Pcont, name: str) -> None:
    if "model" in pcont.words or starts_empty(pcont):
        return
    said = pcont.fails(4, "umount", "cpuset")
    assert "--foreign" in said
    assert os.path.exists("/sys/fs/cgroup/cpuset/cpuset.cpus")


def test_umount_of_what_is_not_mounted(pcont: Pcont) -> None:
    pcont.fails(3, "umount", "/")
    pcont.fails(3, "umount", "no-such-name")


@pytest.mark.kernel
@pytest.mark.quick
def test_the_mount_that_a_person_sees(kernel: Pcont, name: str, tmp_path: Path) -> None:
    point = str(tmp_path / "deep" / "er")
    kernel.ok("mount", "-o", "none", "--name", name, point)
    with open("/proc/self/mountinfo") as stream:
        (line,) = [line for line in stream if f"name={name}" in line]
    assert unescape(line.split()[4]) == point
    assert unescape(line.partition(" - ")[2].split()[1]) == f"pcont:2:{point}"
    kernel.ok("umount", name)
    assert not os.path.exists(tmp_path / "deep")


@pytest.mark.kernel
def test_a_mount_point_in_use_is_busy_and_stays(kernel: Pcont, name: str, tmp_path: Path) -> None:
    point = tmp_path / "m"
    kernel.ok("mount", "-o", "none", "--name", name, str(point))
    handle = os.open(point, os.O_RDONLY)
    try:
        said = kernel.fails(5, "umount", name)
        assert "EBUSY" in said
        assert f"process {os.getpid()} (" in said
        assert f"has {point} open there" in said
        assert name in rows(kernel)
    finally:
        os.close(handle)
    process = subprocess.Popen(["sleep", "600"], cwd=point)
    said = kernel.fails(5, "umount", name)
    assert f"process {process.pid} (sleep) has its working directory there" in said
    process.kill()
    process.wait()
    kernel.ok("umount", name)


@pytest.mark.kernel
def test_a_hierarchy_of_others_is_selected_by_its_name(
    kernel: Pcont, name: str, tmp_path: Path
) -> None:
    point, options = tmp_path / "theirs", f"none,name={name}"
    point.mkdir()
    subprocess.run(["mount", "-t", "cgroup", "-o", options, "theirs", str(point)], check=True)
    try:
        kernel.ok("create", f"{name}:/a")
        assert (point / "a").is_dir()
        assert kernel.ok("mount", "--name", name) == f"name={name}\t{point}\n"
        view = str(tmp_path / "view")
        kernel.ok("mount", "--name", name, view)
        assert kernel.get(f"{view}/a", "notify_on_release") == "0"
        kernel.ok("umount", view)
        kernel.ok("rm", f"name={name}:/a")
        kernel.fails(4, "umount", name)
    finally:
        kernel.ok("umount", "--foreign", name)


def test_a_dry_run_of_a_tie_tells_every_step(pcont: Pcont, name: str) -> None:
    bound = ["cpuset", "cpuacct"] if starts_empty(pcont) else []
    for controller in bound:
        pcont.ok("mount", "-o", controller)
    before = rows(pcont)
    reported = pcont.ok(
        "mount", "-n", "--tie", "--name", name, "-o", "cpuset,cpuacct", "--at", f"/{name}"
    )
    assert f"none,name={name}" in reported
    assert "setfattr" in reported
    assert "mkdir" in reported
    assert rows(pcont) == before
    for controller in bound:
        pcont.ok("umount", controller)


def test_a_directory_in_the_way(pcont: Pcont, name: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    link = tmp_path / "link"
    link.symlink_to(file)
    for point in (file, file / "below", link):
        for more in ([], ["--force"], ["-n"]):
            said = pcont.fails(3, "mount", "-o", "none", "--name", name, *more, str(point))
            assert "ENOTDIR" in said
    assert name not in rows(pcont)


@pytest.fixture
def crowded(tmp_path: Path) -> Path:
    """A directory with something in it."""
    (tmp_path / "crowded" / "below").mkdir(parents=True)
    return tmp_path / "crowded"


def test_a_directory_with_something_in_it_is_covered_by_force_only(
    pcont: Pcont, name: str, crowded: Path
) -> None:
    words = ("mount", "-o", "none", "--name", name)
    (crowded.parent / "link").symlink_to(crowded)
    for point in (crowded, crowded.parent / "link"):
        for more in ([], ["-n"]):
            said = pcont.fails(5, *words, *more, str(point))
            assert "not empty" in said
            assert "--force" in said
    assert name not in rows(pcont)
    assert pcont.ok(*words, "--force", str(crowded)) == f"{name}\t{crowded}\n"
    assert pcont.get(f"{crowded}", "notify_on_release") == "0"
    pcont.ok("umount", name)
    assert os.listdir(crowded) == ["below"]


def test_a_second_view_covers_nothing_either(pcont: Pcont, name: str, crowded: Path) -> None:
    pcont.ok("mount", "-o", "none", "--name", name, str(crowded.parent / "m"))
    for words in (["-o", "none", "--name", name], ["--name", name]):
        assert "not empty" in pcont.fails(5, "mount", *words, str(crowded))
    pcont.ok("create", f"{name}:/a")
    pcont.ok("umount", name)
    assert "not empty" in pcont.fails(5, "mount", "--name", name, str(crowded))
    pcont.ok("mount", "--name", name, "--force", str(crowded))
    pcont.ok("rm", f"{name}:/a")
    pcont.ok("umount", name)


def test_the_home_of_a_tie_covers_nothing_either(bare: Pcont, crowded: Path) -> None:
    bare.ok("mount", "-o", "cpuacct")
    words = ["mount", "--tie", "--name", "jobs", "-o", "cpuacct", "--no-freezer"]
    assert "not empty" in bare.fails(5, *words, str(crowded))
    assert set(rows(bare)) == {"cpuacct"}
    bare.ok("umount", "cpuacct")


def test_a_tie_is_not_mounted_over_its_own_member(bare: Pcont) -> None:
    usual = bare.backend().default_directory("cpuacct")
    for point in (usual, f"{usual}/below"):
        words = ["mount", "--tie", "--name", "jobs", "-o", "cpuacct", "--no-freezer", point]
        assert "another hierarchy of this command" in bare.fails(5, *words)
    assert rows(bare) == {}


def test_the_usual_directory_of_a_member_may_be_in_use(bare: Pcont) -> None:
    usual = bare.backend().default_directory("cpuacct")
    bare.ok("mount", "-o", "none", "--name", "other", usual)
    bare.ok("mount", "-o", "none", "--name", "jobs")
    assert "pcont mount -o cpuacct MOUNTPOINT" in bare.fails(5, "bind", "jobs", "cpuacct")
    assert rows(bare)["jobs"]["subsystems"] == []
    bare.ok("umount", "jobs")
    bare.ok("umount", "other")


def test_a_mount_point_is_absolute_or_starts_with_a_dot(
    pcont: Pcont, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for point in ("here", "../here", ".", "here/below"):
        said = pcont.fails(2, "mount", "-o", "none", "--name", name, point)
        assert f"did you mean {os.path.abspath(point)}" in said
    assert pcont.ok("mount", "-o", "none", "--name", name, "./here") == f"{name}\t{tmp_path}/here\n"
    pcont.ok("umount", "./here")
    assert not (tmp_path / "here").exists()


def test_a_blank_for_a_comma(pcont: Pcont, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    before = os.listdir(tmp_path)
    for words, meant in (
        (["-o", "cpuset", "cpuacct"], "cpuset,cpuacct"),
        (["-o", "cpuset,", "cpuacct"], "cpuset,cpuacct"),
        (["-o", "cpuset", "cpuacct", "freezer"], "cpuset,cpuacct,freezer"),
        (["-o", "cpuset", "cpuacct", "/m"], "cpuset,cpuacct"),
        (["--tie", "--name", "x", "-o", "cpuset", "cpuacct,freezer"], "cpuset,cpuacct,freezer"),
        (["cpuset", "cpuacct"], "cpuset,cpuacct"),
        (["-o", "cpuset", "numtasks"], "cpuset,numtasks"),
    ):
        assert f"did you mean -o {meant}\n" in pcont.fails(2, "mount", *words).replace(":", "\n")
    pcont.fails(2, "mount", "-o", "cpuset", "/a", "/b")
    assert os.listdir(tmp_path) == before


def test_mount_without_a_word_shows_how_it_is_used(pcont: Pcont) -> None:
    for words in ([], ["--force"], ["--notify-on-release"]):
        assert pcont.fails(2, "mount", *words).startswith("Usage: pcont mount")
    assert json.loads(pcont.fails(2, "mount", "--json"))["error"]["code"] == "usage"


def test_umount_takes_the_deepest_mount_first(pcont: Pcont, name: str, tmp_path: Path) -> None:
    point = tmp_path / "m"
    pcont.ok("mount", "-o", "none", "--name", name, str(point))
    pcont.ok("create", f"{name}:/a")
    for view in (point / "a", point / "a" / "a"):
        pcont.ok("mount", "--name", name, "--force", str(view))
    pcont.ok("mount", "--name", name, str(tmp_path / "beside"))
    reported = pcont.ok("umount", "-n", name).splitlines()
    order = [reported.index(f"umount {point}{below}") for below in ("/a/a", "/a", "")]
    assert order == sorted(order)
    pcont.ok("umount", name)
    assert rows(pcont)[f"name={name}"]["mounted"] is False
    pcont.ok("mount", "--name", name)
    pcont.ok("rm", "-r", f"{name}:/a")
    pcont.ok("umount", name)


def test_a_container_with_a_mount_on_it_is_not_removed(
    pcont: Pcont, name: str, tmp_path: Path
) -> None:
    point, other = tmp_path / "m", f"{name}-b"
    pcont.ok("mount", "-o", "none", "--name", name, str(point))
    pcont.ok("create", f"{name}:/a")
    pcont.ok("mount", "-o", "none", "--name", other, "--force", str(point / "a"))
    if "model" in pcont.words:
        said = pcont.fails(5, "rm", f"{name}:/a")
        assert "something is mounted on it (EBUSY)" in said
        assert f"umount {point}/a" in said
    else:
        # The directory shows the root of the other hierarchy, with all tasks of this machine.
        before = rows(pcont)
        for more in ([], ["--evict"], ["--kill"], ["-r"]):
            said = pcont.fails(3, "rm", f"{name}:/a", *more, "--dry-run")
            assert "no mount shows it" in said
        pcont.fails(3, "get", f"{name}:/a", "notify_on_release")
        assert rows(pcont) == before
        view = str(tmp_path / "view")
        pcont.ok("mount", "--name", name, view)
        assert pcont.get(f"{name}:/a", "notify_on_release") == "0"
        assert pcont.ok("ps", f"{name}:/a") == ""
        pcont.ok("umount", view)
    pcont.ok("umount", other)
    pcont.ok("rm", f"{name}:/a")
    pcont.ok("umount", name)


def test_umount_names_the_mount_that_is_inside(pcont: Pcont, name: str, tmp_path: Path) -> None:
    point, other = tmp_path / "m", f"{name}-b"
    pcont.ok("mount", "-o", "none", "--name", name, str(point))
    pcont.ok("mount", "-o", "none", "--name", other, str(point / "inside"))
    said = pcont.fails(5, "umount", name)
    assert f"{point}/inside is mounted inside (EBUSY)" in said
    assert f"hint: pcont umount {point}/inside\n" in said
    pcont.ok("umount", other)
    pcont.ok("umount", name)


def test_a_name_alone_is_that_of_an_existing_hierarchy(
    pcont: Pcont, name: str, tmp_path: Path
) -> None:
    said = pcont.fails(3, "mount", "--name", name)
    assert f"there is no hierarchy {name}" in said
    assert f"pcont mount --name {name} -o " in said
    point = str(tmp_path / "m")
    pcont.ok("mount", "-o", "none", "--name", name, point)
    for _ in range(2):
        assert pcont.ok("mount", "--name", name) == f"{name}\t{point}\n"
    view = str(tmp_path / "view")
    for _ in range(2):
        assert pcont.ok("mount", "--name", name, view) == f"{name}\t{view}\n"
    pcont.ok("umount", view)
    assert f"{name} exists, and has -o none" in pcont.fails(5, "mount", "--name", name, "--tie")
    said = pcont.fails(5, "mount", "--name", name, "-o", "cpuset")
    assert f"{name} exists, and has -o none" in said
    pcont.ok("umount", name)


def test_a_tie_at_another_container_says_so(pcont: Pcont, name: str) -> None:
    bound = ["cpuset", "cpuacct"] if starts_empty(pcont) else []
    for controller in bound:
        pcont.ok("mount", "-o", controller)
    words = ["mount", "--tie", "--name", name, "--no-freezer"]
    pcont.ok(*words, "-o", "cpuset,cpuacct", "--at", f"/{name}")
    has = f"{name} exists, and has -o cpuset,cpuacct --tie --at /{name}\n"
    assert has in pcont.fails(5, *words, "-o", "cpuset,cpuacct", "--at", "/elsewhere")
    assert has in pcont.fails(5, *words, "--at", "/elsewhere")
    assert has in pcont.fails(5, *words, "-o", "cpuacct", "--at", f"/{name}")
    before = rows(pcont)
    for more in (["-o", "cpuacct,cpuset", "--at", f"/{name}"], ["--at", f"/{name}"], []):
        assert pcont.ok(*words, *more).startswith(f"{name}\t")
    assert rows(pcont) == before
    pcont.ok("umount", name)
    for controller in bound:
        pcont.ok("umount", controller)


def test_nothing_is_mounted_over_what_is_there(pcont: Pcont, name: str, tmp_path: Path) -> None:
    point = str(tmp_path / "m")
    pcont.ok("mount", "-o", "none", "--name", name, point)
    for more in ([], ["--force"]):
        said = pcont.fails(5, "mount", "-o", "none", "--name", f"{name}-b", *more, point)
        assert "mounted there" in said
    pcont.ok("umount", name)


@pytest.mark.kernel
def test_the_usual_place_is_not_taken_from_others(kernel: Pcont) -> None:
    """Names like /sys/fs/cgroup/unified: whatever the answer, nothing is mounted over it."""
    before = Proc().text("self/mountinfo")
    points = [line.split()[4] for line in before.splitlines()]
    for point in points:
        base, _, last = point.rpartition("/")
        if base == "/sys/fs/cgroup":
            kernel("mount", "-o", "none", "--name", last)
            assert Proc().text("self/mountinfo") == before, point


@pytest.mark.kernel
def test_a_bind_mount_of_others_is_theirs(kernel: Pcont, name: str, tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    theirs.mkdir()
    kernel.ok("mount", "-o", "none", "--name", name, str(ours))
    subprocess.run(["mount", "--bind", str(ours), str(theirs)], check=True)
    try:
        said = kernel("umount", name)
        assert os.path.ismount(theirs)
        assert said.status == 0
    finally:
        subprocess.run(["umount", str(theirs)], check=True)
    assert theirs.exists()
    assert eventually(lambda: f"name={name}" not in Proc().text("self/cgroup"))


@pytest.mark.kernel
@pytest.mark.parametrize(
    "text",
    [
        b"\xff",
        b"[" * 5000,
        b"{}",
        b'{"at":"/","trees":[1],"subsystems":[]}',
        b'{"at":5,"trees":[],"subsystems":[]}',
        b'{"at":"/../x","trees":[],"subsystems":[]}',
    ],
)
def test_an_attribute_of_another_program_changes_nothing(
    kernel: Pcont, name: str, tmp_path: Path, text: bytes
) -> None:
    point = tmp_path / "m"
    kernel.ok("mount", "-o", "none", "--name", name, str(point))
    os.setxattr(point, "trusted.pcont.tie", text)
    for words in (["hierarchies"], ["where", str(os.getpid())], ["tree", name], ["doctor"]):
        kernel.ok(*words)
    kernel.ok("umount", name)


def test_at_may_be_deep(pcont: Pcont, name: str) -> None:
    bound = ["cpuset", "cpuacct"] if starts_empty(pcont) else []
    for controller in bound:
        pcont.ok("mount", "-o", controller)
    options = ["-o", "cpuset,cpuacct", "--no-freezer"]
    pcont.ok("mount", "--tie", "--name", name, *options, "--at", f"/{name}/deep")
    pcont.ok("create", "-i", f"{name}:/a")
    assert pcont.get(f"cpuset:/{name}/deep/a", "cpus")
    other = f"{name}-b"
    pcont.ok("mount", "--tie", "--name", other, *options, "--at", f"/{name}/deep/a")
    pcont.fails(5, "mount", "--tie", "--name", f"{name}-c", *options, "--at", f"/{name}/deep")
    pcont.ok("umount", other)
    pcont.ok("rm", f"{name}:/a")
    pcont.ok("umount", name)
    for controller in bound:
        pcont.ok("umount", controller)


def test_a_subsystem_is_never_a_tie(pcont: Pcont, name: str, tmp_path: Path) -> None:
    bound = ["cpuset", "cpuacct"] if starts_empty(pcont) else []
    for controller in bound:
        pcont.ok("mount", "-o", controller)
    pcont.ok("mount", "--tie", "--name", name, "-o", "cpuset", "--at", f"/{name}", "--no-freezer")
    point = str(tmp_path / "view")
    assert pcont.ok("mount", "-o", "cpuset", point) == f"cpuset\t{point}\n"
    assert pcont.get(f"{point}/{name}", "cpus")
    pcont.ok("umount", point)
    pcont.ok("umount", name)
    for controller in bound:
        pcont.ok("umount", controller)


@pytest.mark.kernel
def test_a_release_agent_of_others_stays_theirs(kernel: Pcont, tmp_path: Path) -> None:
    if starts_empty(kernel):
        return
    before = kernel.get("cpuset:/", "release_agent")
    said = kernel.fails(4, "mount", "-o", "cpuset", "--release-agent", "/bin/true")
    assert "pcont set" in said
    assert kernel.get("cpuset:/", "release_agent") == before


def test_what_another_tie_uses_stays(bare: Pcont) -> None:
    bare.ok("mount", "--tie", "--name", "one", "-o", "cpuacct", "--no-freezer", "--at", "/1")
    bare.ok("mount", "--tie", "--name", "two", "-o", "cpuacct", "--no-freezer", "--at", "/1/2")
    bare.ok("create", "two:/c")
    noted = bare("umount", "one")
    assert noted.status == 0
    assert "another tie uses it" in noted.err
    assert bare.get("two:/c", "cpuacct.usage") == "0"
    bare.ok("rm", "two:/c")
    bare.ok("umount", "two")
    bare.ok("rm", "cpuacct:/1")
    bare.ok("umount", "cpuacct")
    assert rows(bare) == {}


def test_a_tie_needs_members_that_can_be_seen(bare: Pcont) -> None:
    bare.ok("mount", "-o", "cpuacct")
    bare.ok("create", "cpuacct:/a")
    bare.ok("umount", "cpuacct")
    said = bare.fails(3, "mount", "--tie", "--name", "jobs", "-o", "cpuacct", "--no-freezer")
    assert "pcont mount -o cpuacct" in said
    assert "pcont mount -o cpuacct" in bare.fails(3, "create", "cpuacct:/b")
    bare.ok("mount", "-o", "cpuacct")
    bare.ok("rm", "cpuacct:/a")
    bare.ok("umount", "cpuacct")


@dataclass
class Half:
    """A tie over cpuacct and freezer with a task in a container; freezer's mount is others'."""

    pcont: Pcont
    task: int

    def unmount_freezer(self) -> None:
        """Unmount a member behind the back of the tie."""
        unmount(self.pcont, self.pcont.backend().default_directory("freezer"))

    def paths(self) -> list[str]:
        """Where the task is in the three trees."""
        found = self.pcont.paths(self.task)
        return [found[tree] for tree in ("name=jobs", "cpuacct", "freezer")]


def unmount(pcont: Pcont, point: str) -> None:
    """umount(8), or what comes to that in the model."""
    if "model" not in pcont.words:
        subprocess.run(["umount", point], check=True)
        return
    backend = pcont.backend()
    with backend.exclusive():
        backend.umount(point)


@pytest.fixture
def half(bare: Pcont, start: Callable[..., int]) -> Iterator[Half]:
    for controller in ("cpuacct", "freezer"):
        bare.ok("mount", "-o", controller)
    bare.ok("mount", "--tie", "--name", "jobs", "-o", "cpuacct,freezer", "--at", "/x")
    bare.ok("create", "jobs:/a")
    half = Half(bare, start())
    bare.ok("attach", "jobs:/a", str(half.task))
    yield half
    os.kill(half.task, signal.SIGKILL)
    os.waitpid(half.task, 0)
    bare.ok("mount", "--name", "jobs")
    bare("rm", "jobs:/a")
    bare.ok("umount", "jobs")
    for controller in ("cpuacct", "freezer"):
        bare.ok("umount", controller)


@pytest.mark.parametrize(
    "words",
    [
        "rm --evict jobs:/a",
        "rm --kill jobs:/a",
        "rm -r jobs:/a",
        "unbind jobs freezer --yes",
        "unbind jobs cpuacct --yes",
        "bind jobs pids",
        "create jobs:/b",
        "create -p jobs:/a",
        "get jobs:/a",
        "set jobs:/a notify_on_release=1",
        "attach jobs:/ TASK",
        "move jobs:/a jobs:/",
        "clone jobs --pid TASK",
        "ps jobs:/a",
        "tree jobs",
        "stat jobs:/a",
        "gc jobs",
    ],
)
def test_a_tie_that_cannot_be_seen_as_a_whole_is_left_alone(half: Half, words: str) -> None:
    before = half.paths()
    half.unmount_freezer()
    said = half.pcont.fails(3, *words.replace("TASK", str(half.task)).split())
    assert "its tree freezer is active but not mounted" in said
    assert "pcont mount --name jobs" in said
    assert half.paths() == before == ["/a", "/x/a", "/x/a"]
    half.pcont.ok("mount", "--name", "jobs")
    assert half.pcont.ok("ps", "jobs:/a").split()[0] == str(half.task)
    assert half.pcont.backend().children(Place("freezer", "/x")) == ["a"]


def test_what_cannot_be_seen_is_neither_partial_nor_outside(half: Half) -> None:
    half.unmount_freezer()
    (row,) = [
        one
        for one in half.pcont("where", str(half.task), "--json").json
        if one["hierarchy"] == "jobs"
    ]
    assert (row["state"], row["container"]) == ("in", "/a")
    found = half.pcont("doctor", "--json").json
    (problem,) = [one for one in found if one["subject"] == "jobs"]
    assert "(not mounted: freezer)\n" in half.pcont.ok("hierarchies")
    assert "pcont mount --name jobs" in problem["advice"]
    noted = half.pcont("tree")
    assert noted.status == 0
    assert "a part of jobs is not visible" in noted.err
    assert half.pcont("run", "jobs:/a", "--", "true").status == 125


def test_a_tie_that_cannot_be_seen_as_a_whole_does_not_go(half: Half) -> None:
    half.pcont.ok("rm", "--evict", "jobs:/a")
    half.unmount_freezer()
    assert "pcont mount --name jobs" in half.pcont.fails(3, "umount", "jobs")
    assert rows(half.pcont)["jobs"]["tied"]
    half.pcont.ok("mount", "--name", "jobs")


def test_a_member_that_was_unmounted_is_mounted_again(bare: Pcont) -> None:
    for controller in ("cpuacct", "freezer"):
        bare.ok("mount", "-o", controller)
    bare.ok("mount", "--tie", "--name", "jobs", "-o", "cpuacct,freezer")
    unmount(bare, bare.backend().default_directory("freezer"))
    assert eventually(lambda: "freezer" not in {tree.id for tree in bare.backend().trees()})
    said = bare.fails(3, "create", "jobs:/a")
    assert "its tree freezer was removed" in said
    assert bare.ok("mount", "--name", "jobs").startswith("jobs\t")
    bare.ok("create", "jobs:/a")
    assert bare.get("freezer:/a", "freezer.state") == "THAWED"
    bare.ok("rm", "jobs:/a")
    bare.ok("umount", "jobs")
    for controller in ("cpuacct", "freezer"):
        bare.ok("umount", controller)


def test_what_a_recovery_cannot_see_is_reported(bare: Pcont) -> None:
    bare.ok("mount", "-o", "cpuacct")
    bare.ok("create", "cpuacct:/a")
    unmount(bare, bare.backend().default_directory("cpuacct"))
    left = restore_record(bare.backend(), RemoveCreated(Place("cpuacct", "/a")))
    assert left
    assert "no mount shows it" in left[0]
    bare.ok("mount", "-o", "cpuacct")
    assert restore_record(bare.backend(), RemoveCreated(Place("cpuacct", "/b"))) == []
    bare.ok("rm", "cpuacct:/a")
    bare.ok("umount", "cpuacct")


@pytest.mark.kernel
def test_umount_names_the_process_whose_mount_namespace_has_a_copy(
    kernel: Pcont, name: str, tmp_path: Path
) -> None:
    point = tmp_path / "m"
    kernel.ok("mount", "-o", "none", "--name", name, str(point))
    script = "mount --make-rprivate / && echo ready && exec sleep 600"
    holder = subprocess.Popen(
        ["unshare", "-m", "sh", "-c", script], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout
    assert holder.stdout.readline() == "ready\n"
    said = kernel.fails(5, "umount", name)
    assert f"it is mounted at {point} in the mount namespace of process {holder.pid}" in said
    assert f"hint: nsenter --mount --target {holder.pid} umount {point}\n" in said
    assert rows(kernel)[name]["mountpoint"] == str(point)
    holder.kill()
    holder.communicate()
    kernel.ok("umount", name)


@pytest.mark.kernel
@pytest.mark.host  # below the /proc of a guest is that of the host
def test_without_proc_that_is_said(kernel: Pcont) -> None:
    pcont = f"{sys.executable} -m pcont hierarchies"
    words = ["unshare", "-m", "sh", "-c", f"while umount -l /proc; do :; done; exec {pcont}"]
    result = subprocess.run(words, capture_output=True, text=True, check=False)
    assert result.returncode == 6
    assert "proc is not mounted at /proc" in result.stderr
    assert "hint: mount -t proc proc /proc" in result.stderr


@pytest.mark.kernel
def test_a_proc_without_cgroups_is_not_a_kernel_without_cgroups(
    kernel: Pcont, tmp_path: Path
) -> None:
    pcont = f"{sys.executable} -m pcont hierarchies"
    script = (
        f"while umount -l /proc; do :; done; mount -t proc -o subset=pid proc /proc && exec {pcont}"
    )
    result = subprocess.run(
        ["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, check=False
    )
    assert result.returncode == 6
    assert "subset=pid" in result.stderr


@pytest.mark.kernel
def test_the_hint_of_a_cgroup_namespace_works_in_there(
    kernel: Pcont, name: str, tmp_path: Path
) -> None:
    """What is mounted outside shows nothing of the inside: only a mount of its own does."""
    kernel.ok("mount", "-o", "none", "--name", name)
    kernel.ok("create", f"{name}:/a")
    tasks = f"{kernel.backend().default_directory(name)}/a/tasks"
    script = f"echo $$ > {tasks} && exec unshare -C -m sleep 600"
    holder = subprocess.Popen(["sh", "-c", script])
    own = os.readlink("/proc/self/ns/cgroup")
    assert eventually(lambda: Path(f"/proc/{holder.pid}/comm").read_text() == "sleep\n")
    assert os.readlink(f"/proc/{holder.pid}/ns/cgroup") != own

    def inside(*words: str) -> subprocess.CompletedProcess[str]:
        enter = ["nsenter", "--cgroup", "--mount", "--target", str(holder.pid)]
        command = [*enter, sys.executable, "-m", *words]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    try:
        said = inside("pcont", "get", f"{name}:/", "notify_on_release")
        assert said.returncode == 3
        assert "active but not mounted" in said.stderr
        command = f"pcont mount --name {name} /run/cgroup/{name}"
        assert command in said.stderr
        assert inside(*command.split()).returncode == 0
        assert inside("pcont", "get", f"{name}:/", "notify_on_release").stdout == "0\n"
    finally:
        holder.kill()
        holder.wait()
        Path(f"/run/cgroup/{name}").rmdir()
    kernel.ok("rm", f"{name}:/a")
    assert eventually(lambda: kernel("umount", name).status == 0)
