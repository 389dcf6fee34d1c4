"""bind and unbind: one more tree for a hierarchy in use, or one less, all or nothing."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Callable, Iterator

import pytest

from tests.contract.conftest import Jobs, Pcont, starts_empty, threads_of
from tests.contract.test_attach import FORKING


@pytest.fixture
def plain(pcont: Pcont, name: str) -> Iterator[Jobs]:
    """A hierarchy without controllers, with two containers; what pids and cpuset have is there."""
    separate = ["cpuset", "pids"] if starts_empty(pcont) else []
    for controller in separate:
        pcont.ok("mount", "-o", controller)
    pcont.ok("mount", "-o", "none", "--name", name)
    pcont.ok("create", "-p", f"{name}:/{name}/a", f"{name}:/{name}/b/c")
    yield Jobs(pcont, name, {})
    pcont.ok("rm", "-r", "--kill", f"{name}:/{name}")
    pcont.ok("umount", name)
    for controller in separate:
        pcont.ok("umount", controller)


def at(jobs: Jobs, path: str) -> str:
    return f"{jobs.name}:/{jobs.name}{path}"


def path_in(jobs: Jobs, tree: str, task: int) -> str:
    return jobs.pcont.paths(task)[tree].removeprefix(f"/{jobs.name}")


def row(jobs: Jobs) -> dict[str, object]:
    rows = jobs.pcont("hierarchies", "--json").json
    found: dict[str, object] = next(one for one in rows if one["name"] == jobs.name)
    return found


@pytest.mark.quick
def test_bound_and_unbound_with_tasks_inside(plain: Jobs, start: Callable[..., int]) -> None:
    first, second = start(threads=3), start()
    plain.pcont.ok("attach", at(plain, "/a"), str(first))
    plain.pcont.ok("attach", at(plain, "/b/c"), str(second))
    words = ("-i", "-s", "pids.max=100", "-s", f"/{plain.name}/a:pids.max=7")
    bound = plain.pcont("bind", "--json", plain.name, "pids,cpuset", *words)
    assert bound.status == 0, bound.err
    assert bound.json == row(plain)["subsystems"] == ["cpuset", "pids"]
    for tree in ("pids", "cpuset"):
        assert all(path_in(plain, tree, task) == "/a" for task in threads_of(first))
        assert path_in(plain, tree, second) == "/b/c"
    assert plain.pcont.get(at(plain, "/a"), "pids.max") == "7"
    assert plain.pcont.get(at(plain, "/b"), "pids.max") == "100"
    assert plain.pcont("where", "--json", str(second)).json

    result = plain.pcont("unbind", "--json", plain.name, "pids", "--yes")
    assert result.status == 0, result.err
    ceased = result.json["ceased"]
    assert f"{at(plain, '/a')} pids.max=7" in ceased
    assert not any("cpuset" in line for line in ceased)
    assert row(plain)["subsystems"] == ["cpuset"]
    assert plain.pcont.paths(first)["pids"] == "/"
    assert path_in(plain, "cpuset", first) == "/a"
    plain.pcont.ok("unbind", plain.name, "cpuset", "--yes")
    assert row(plain)["tied"] is False
    assert path_in(plain, f"name={plain.name}", second) == "/b/c"


def test_an_empty_cpuset_admits_no_task_and_nothing_is_bound(
    plain: Jobs, start: Callable[..., int]
) -> None:
    pid = start()
    plain.pcont.ok("attach", at(plain, "/b/c"), str(pid))
    before = plain.pcont.paths(pid), plain.pcont.affinity(pid)
    err = plain.pcont.fails(7, "bind", plain.name, "pids,cpuset")
    assert "ENOSPC" in err
    assert "everything before it was undone" in err
    assert (plain.pcont.paths(pid), plain.pcont.affinity(pid)) == before
    assert row(plain)["subsystems"] == []
    assert plain.pcont("get", f"pids:/{plain.name}").status == 3


@pytest.mark.quick
def test_a_setting_that_is_refused_binds_nothing(plain: Jobs) -> None:
    plain.pcont.fails(7, "bind", plain.name, "pids,cpuset", "-i", "-s", "cpuset.cpus=4096")
    plain.pcont.fails(3, "bind", plain.name, "pids", "-s", "cpuset.cpus=0")
    plain.pcont.fails(3, "bind", plain.name, "pids", "-s", "/nope:pids.max=1")
    plain.pcont.fails(2, "bind", plain.name, "pids", "-s", "nope:pids.max=1")
    assert row(plain)["subsystems"] == []
    assert plain.pcont("get", f"pids:/{plain.name}").status == 3


def test_what_cannot_be_bound_or_unbound(plain: Jobs) -> None:
    plain.pcont.ok("bind", plain.name, "pids")
    assert "already has pids" in plain.pcont.fails(5, "bind", plain.name, "pids")
    assert "known:" in plain.pcont.fails(3, "bind", plain.name, "nope")
    plain.pcont.fails(7, "bind", plain.name, "none")
    plain.pcont.fails(3, "bind", "nope", "pids")
    assert "no home" in plain.pcont.fails(6, "bind", "pids", "cpuset")
    assert "has no cpuset" in plain.pcont.fails(3, "unbind", plain.name, "cpuset", "--yes")
    assert "pass --yes" in plain.pcont.fails(2, "unbind", plain.name, "pids")
    assert row(plain)["subsystems"] == ["pids"]
    plain.pcont.ok("unbind", plain.name, "pids", "--yes")


@pytest.mark.parametrize(
    ("answer", "status", "left"),
    [
        ("y\n", 0, []),
        ("yes\n" * 9, 0, []),
        ("n\n", 1, ["pids"]),
        ("\n", 1, ["pids"]),
        ("", 2, ["pids"]),
    ],
    ids=["y", "yes yes", "n", "an empty line", "nothing"],
)
def test_the_answer_to_unbind_is_a_line_of_standard_input(
    plain: Jobs, monkeypatch: pytest.MonkeyPatch, answer: str, status: int, left: list[str]
) -> None:
    plain.pcont.ok("bind", plain.name, "pids")
    monkeypatch.setattr("sys.stdin", io.StringIO(answer))
    said = plain.pcont("unbind", plain.name, "pids").err
    monkeypatch.setattr("sys.stdin", io.StringIO(answer))
    assert row(plain)["subsystems"] == left
    assert ("cancelled: nothing was unbound" in said) is (status == 1)
    if left:
        plain.pcont.fails(status, "unbind", plain.name, "pids")
        plain.pcont.ok("unbind", plain.name, "pids", "--yes")


def test_what_was_never_set_is_no_limit_that_is_lost(plain: Jobs) -> None:
    there = {one.name for one in plain.pcont.library().subsys() if one.bound is not None}
    words = ",".join(sorted({"cpu", "memory", "devices", "blkio", "freezer", "pids"} & there))
    plain.pcont.ok("bind", plain.name, words)
    plain.pcont.ok("set", at(plain, "/b/c"), "pids.max=7")
    answer = plain.pcont("unbind", plain.name, words, "--yes", "--json").json
    assert answer["ceased"] == [f"{at(plain, '/b/c')} pids.max=7"]


def test_what_shares_a_tree_is_unbound_with_it(jobs: Jobs) -> None:
    jobs.pcont.ok("create", "-i", jobs.at("/a"))
    if jobs.tree("cpuset") == "cpuset":
        jobs.pcont.ok("unbind", jobs.name, "cpuset", "--yes")
        assert row(jobs)["subsystems"] == ["cpuacct"]
        jobs.pcont.ok("bind", jobs.name, "cpuset", "-i")
    else:
        assert "one hierarchy of the kernel" in jobs.pcont.fails(
            5, "unbind", jobs.name, "cpuset", "--yes"
        )
    assert set(row(jobs)["subsystems"]) == {"cpuset", "cpuacct"}  # type: ignore[call-overload]


def test_a_container_that_is_made_later_is_in_every_tree(plain: Jobs) -> None:
    plain.pcont.ok("bind", plain.name, "pids")
    plain.pcont.ok("create", at(plain, "/later"), "-s", "pids.max=5")
    assert plain.pcont.get(f"pids:/{plain.name}/later", "pids.max") == "5"
    plain.pcont.ok("rm", at(plain, "/later"))
    plain.pcont.ok("unbind", plain.name, "pids", "--yes")
    assert plain.pcont("get", f"pids:/{plain.name}").status == 3


@pytest.mark.parametrize(
    "pcont", [pytest.param("cgroupfs", id="kernel", marks=pytest.mark.kernel)], indirect=True
)
def test_children_that_are_forked_during_the_bind_are_in_step(plain: Jobs) -> None:
    """The model does not see the forks of live tasks."""
    shell = subprocess.Popen(["sh", "-c", FORKING])
    try:
        plain.pcont.ok("attach", at(plain, "/a"), str(shell.pid))
        for _ in range(5):
            plain.pcont.ok("bind", plain.name, "pids,cpuset", "-i")
            rows = plain.pcont("ps", "--json", at(plain, "/a")).json
            assert all(one["missing"] == [] for one in rows), rows
            plain.pcont.ok("unbind", plain.name, "pids,cpuset", "--yes")
    finally:
        plain.pcont.ok("rm", "--kill", at(plain, "/a"))
        shell.wait()
        plain.pcont.ok("create", at(plain, "/a"))


@pytest.mark.parametrize(
    "jobs",
    [
        pytest.param(("model", "tied"), id="model-tied"),
        pytest.param(("cgroupfs", "tied"), id="kernel-tied", marks=pytest.mark.kernel),
    ],
    indirect=True,
)
def test_what_stands_in_the_root_of_a_tie_leaves_with_it(
    jobs: Jobs, start: Callable[..., int]
) -> None:
    pid = start()
    jobs.pcont.ok("attach", jobs.at("/"), str(pid))
    assert jobs.pcont.paths(pid)["cpuset"] == f"/{jobs.name}"
    jobs.pcont.ok("unbind", jobs.name, "cpuset", "--yes")
    assert jobs.pcont.paths(pid)["cpuset"] == "/"
    assert jobs.pcont("get", f"cpuset:/{jobs.name}").status == 3
    jobs.pcont.ok("bind", jobs.name, "cpuset", "-i")
