"""A machine with both kinds of cgroups: what v1 has not bound, cgroup v2 has."""

from __future__ import annotations

import json
import shlex
import tempfile
from collections.abc import Callable, Iterator
from errno import EBUSY
from pathlib import Path

import pytest

from pcont.kernel.types import UNIFIED, TreeRequest
from tests.conftest import elsewhere
from tests.contract.conftest import V2_ALONE, Jobs, Pcont, Top, eventually
from tests.contract.test_same_script import HERE, printed
from tests.contract.test_v2_hierarchies import (
    enabled,
    has,
    mounted,
    on_v2,
    places,
    plain_line,
    point,
    read,
    umount,
    v2,
)

Start = Callable[..., int]
NEEDED = ("cpuset", "pids")  # those of v2 that the model of v1 has, too


def offered(pcont: Pcont) -> list[str]:
    """The controllers of cgroup v2."""
    return read(pcont, "/", "cgroup.controllers").split()


# The tests take controllers from cgroup v2, so no other program may use it.
@pytest.fixture(params=V2_ALONE)
def hybrid(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pcont]:
    """The command line where v1 has bound nothing, and nothing is enabled in cgroup v2."""
    pcont = plain_line(request, tmp_path, "hybrid")
    if lacking := {*NEEDED} - {*offered(pcont)}:
        elsewhere(f"v2 has no {', '.join(lacking)}")
    before = enabled(pcont, "/"), offered(pcont)
    yield pcont
    for name in enabled(pcont, "/") - before[0]:
        v2(pcont).write("/", "cgroup.subtree_control", f"-{name}", of_root=True)
    assert offered(pcont) == before[1]


@pytest.fixture
def top(hybrid: Pcont, name: str) -> Iterator[Top]:
    """A container of cgroup v2. A test that starts tasks asks for it last: it kills them."""
    top = Top(hybrid, UNIFIED, f"/{name}")
    hybrid.ok("create", top.at())
    yield top
    assert eventually(lambda: hybrid("rm", "-r", "--kill", top.at()).status == 0)


def bound(pcont: Pcont, name: str) -> Iterator[str]:
    """Bind a controller for v1; yields where it is mounted."""
    yield pcont.ok("mount", "-o", name, "--force").split()[1]
    umount(pcont, name)


def of_kernel(pcont: Pcont, name: str) -> tuple[bool, bool]:
    """Whether v1 has bound a controller, and whether cgroup v2 offers it, as /proc has them."""
    (one,) = [one for one in pcont.backend().controllers() if one.name == name]
    return one.number > 0, one.unified


def refused_mount(pcont: Pcont, *names: str) -> int:
    """The errno of mount(2) of these controllers."""
    backend = pcont.backend()
    with tempfile.TemporaryDirectory() as point, backend.exclusive():
        try:
            backend.mount(TreeRequest(names), point, "pct")
        except OSError as err:
            return err.errno or 0
        backend.umount(point)
    return 0


def test_v1_takes_a_controller_and_returns_it(hybrid: Pcont) -> None:
    before = offered(hybrid)
    hybrid.ok("set", "unified:/", "cgroup.subtree_control=+pids +cpuset")
    assert of_kernel(hybrid, "pids") == (False, True)
    for _ in bound(hybrid, "pids"):
        assert offered(hybrid) == [name for name in before if name != "pids"]
        assert enabled(hybrid, "/") == {"cpuset"}, "v1 takes what no container has"
        assert of_kernel(hybrid, "pids") == (True, False)
        said = hybrid.fails(3, "set", "unified:/", "cgroup.subtree_control=+pids")
        assert "cgroup v2 does not have pids here" in said
        hybrid.ok("create", "pids:/a", "-s", "pids.max=7")
        assert not has(hybrid, "/a"), "the name of a controller means v1, if v1 has it"
        hybrid.ok("rm", "pids:/a")
    assert offered(hybrid) == before
    assert enabled(hybrid, "/") == {"cpuset"}, "it does not come back enabled"
    assert of_kernel(hybrid, "pids") == (False, True)


def test_it_is_not_forced_by_the_way(hybrid: Pcont) -> None:
    said = hybrid.fails(6, "mount", "-o", "pids")
    assert "cgroup v2 has pids, and a hierarchy of cgroup v2 needs a name" in said
    assert "--force" in said
    assert "pids" in offered(hybrid)
    said = hybrid("mount", "-o", "pids", "--force").err
    assert "--force takes pids from cgroup v2 for v1" in said
    umount(hybrid, "pids")


def test_io_is_blkio_in_v1(hybrid: Pcont) -> None:
    assert "cgroup v1 calls io blkio" in hybrid.fails(6, "mount", "-o", "io", "--force")
    assert "cgroup v2 calls blkio io" in hybrid.fails(6, "mount", "-o", "blkio")
    assert "io" in offered(hybrid)


def test_v1_cannot_take_what_a_container_of_v2_has(top: Top) -> None:
    top.pcont.ok("create", top.at("/a"))
    for _ in bound(top.pcont, "pids"):
        pass  # without the controller, the containers do not matter
    top.pcont.ok("set", top.at("/a"), "pids.max=5")
    assert refused_mount(top.pcont, "pids") == EBUSY
    for words in (("--dry-run", "mount"), ("mount",)):
        said = top.pcont.fails(5, *words, "-o", "pids", "--force")
        assert f"cannot take pids from cgroup v2: {top.at()} has pids there (EBUSY)" in said
        assert f"find what uses it: pcont tree {top.at()}" in said, "it enables pids for /a"
    said = top.pcont.fails(6, "mount", "-o", "pids")
    assert f"cgroup v2 has pids (in use by {top.at()})" in said
    assert top.pcont.get(top.at("/a"), "pids.max") == "5"
    assert f"{top.at()} has pids: v1 cannot take it" in top.pcont.ok("doctor")
    said = top.pcont.fails(5, "mount", "-o", "pids,cpuset", "--force")
    assert f"cannot take cpuset, pids from cgroup v2: {top.at()} has pids there" in said
    for _ in bound(top.pcont, "cpuset"):
        assert top.pcont.get(top.at("/a"), "pids.max") == "5"
    top.write("", "cgroup.subtree_control", "-pids")
    said = top.pcont.fails(5, "mount", "-o", "pids", "--force")
    (hint,) = [line for line in said.splitlines() if "hint: " in line]
    assert hint.endswith("pcont set unified:/ cgroup.subtree_control=-pids")
    top.pcont.ok(*shlex.split(hint.partition("pcont ")[2]))
    for _ in bound(top.pcont, "pids"):
        pass


def test_a_hierarchy_that_uses_it_is_named(hybrid: Pcont, name: str) -> None:
    for jobs in mounted(hybrid, name, "pids"):
        said = hybrid.fails(5, "mount", "-o", "pids", "--force")
        assert f"cannot take pids from cgroup v2: {name} has pids there" in said
        assert f"pcont unbind {name} pids" in said
        assert f"cgroup v2 has pids (in use by {name})" in hybrid.fails(6, "mount", "-o", "pids")
        assert f"{name} has pids: v1 cannot take it" in hybrid.ok("doctor")
        rows = {row["name"]: row for row in json.loads(hybrid.ok("subsys", "--json"))["result"]}
        assert (rows["pids"]["unified"], rows["pids"]["hierarchies"]) == (True, [name])
        assert rows["cpuset"]["hierarchies"] == []
        lines = hybrid.ok("subsys").splitlines()
        assert [line.split("\t")[1] for line in lines if line.startswith("pids\t")] == [
            f"v2 ({name})"
        ]
        assert jobs.pcont.get(jobs.at("/"), "pids.max") == "max"


def test_what_pcont_provides_is_there_with_what_it_needs(hybrid: Pcont, name: str) -> None:
    """cgroup v2 or v1 has cpuset, and memset is there."""

    def rows() -> dict[str, bool]:
        found = json.loads(hybrid.ok("subsys", "--json"))["result"]
        return {row["name"]: row["enabled"] for row in found}

    assert rows()["memset"]
    assert rows()["numtasks"]
    for jobs in mounted(hybrid, name, "memset"):
        assert hybrid.get(jobs.at("/"), "memset.effective_mems") == "0-1"
        assert f"memset\tv2 ({name})\t" in hybrid.ok("subsys")
    for _ in bound(hybrid, "cpuset"):
        assert rows()["memset"]
        hybrid.ok("mount", "--tie", "-o", "memset", "--name", name, "--at", f"/{name}")
        assert "memset\tcpuset\t" in hybrid.ok("subsys")
        umount(hybrid, name)


def test_what_v1_keeps_does_not_come_back(hybrid: Pcont) -> None:
    """A hierarchy with containers stays active without a mount."""
    hybrid.ok("mount", "-o", "pids", "--force")
    hybrid.ok("create", "pids:/a")
    hybrid.ok("umount", "pids")
    assert "pids" not in offered(hybrid)
    assert refused_mount(hybrid, "pids", "cpuset") == EBUSY
    hybrid.ok("mount", "-o", "pids")
    hybrid.ok("rm", "pids:/a")
    umount(hybrid, "pids")


def test_a_task_is_in_a_container_of_each_kind(top: Top, start: Start) -> None:
    task = start()
    for _ in bound(top.pcont, "cpuset"):
        top.pcont.ok("create", "cpuset:/a", "-s", "cpuset.cpus=1", "-s", "cpuset.mems=0")
        top.pcont.ok("attach", "cpuset:/a", str(task))
        assert top.pcont.affinity(task) == "1"
        top.pcont.ok("attach", top.at(), str(task))
        assert top.pcont.affinity(task) == "1", "cgroup v2 has no cpuset now"
        paths = top.pcont.paths(task)
        assert (paths["cpuset"], paths[UNIFIED]) == ("/a", top.path)
        assert list(paths)[-1] == UNIFIED
        rows = [row.split("\t") for row in top.pcont.ok("where", str(task)).splitlines()]
        assert [row[:2] for row in rows if row[0] in ("cpuset", UNIFIED)] == [
            ["cpuset", "/a"],
            [UNIFIED, top.path],
        ]
        top.pcont.ok("attach", "cpuset:/", str(task))
        top.pcont.ok("rm", "cpuset:/a")
    top.pcont.ok("set", top.at(), "cpuset.cpus=2")
    assert top.pcont.affinity(task) == "2"


def test_one_hierarchy_has_members_of_both_kinds(hybrid: Pcont, name: str, start: Start) -> None:
    """v1 has pids, which is a member as it is; cgroup v2 has cpuset."""
    for _ in bound(hybrid, "pids"):
        for jobs in mounted(hybrid, name, "cpuset,pids"):
            rows = json.loads(hybrid.ok("hierarchies", "--json"))["result"]
            (row,) = [row for row in rows if row["name"] == name]
            assert [tree["id"] for tree in row["trees"]] == [f"name={name}", "pids", UNIFIED]
            hybrid.ok("create", "-p", jobs.at("/a/b"), "-s", "cpuset.cpus=1", "-s", "pids.max=9")
            assert read(hybrid, on_v2(jobs, "/a/b"), "cpuset.cpus") == "1"
            assert hybrid.get("pids:/a/b", "pids.max") == "9"
            task = start(threads=2)
            hybrid.ok("attach", jobs.at("/a/b"), str(task))
            assert hybrid.paths(task)["pids"] == "/a/b"
            assert places(jobs, task) == ("/a/b", "/a/b")
            assert hybrid.affinity(task) == "1"
            hybrid.fails(7, "set", jobs.at("/a/b"), "cpuset.cpus=2", "pids.max=x")
            assert hybrid.affinity(task) == "1"
            hybrid.ok("move", jobs.at("/a/b"), jobs.at("/a"))
            assert hybrid.paths(task)["pids"] == "/a"
            assert places(jobs, task) == ("/a", "/a")
            assert f"{name}\t3 trees with the same containers" in hybrid.ok("doctor")


def test_a_bind_adds_the_other_kind(hybrid: Pcont, name: str, start: Start) -> None:
    for _ in bound(hybrid, "pids"):
        hybrid.ok("mount", "--tie", "-o", "pids", "--name", name, "--no-freezer")
        jobs = Jobs(hybrid, name, {})
        hybrid.ok("create", jobs.at("/a"))
        task = start()
        hybrid.ok("attach", jobs.at("/a"), str(task))
        hybrid.ok("bind", name, "cpuset", "-s", "/a:cpuset.cpus=2")
        assert places(jobs, task) == ("/a", "/a")
        assert hybrid.affinity(task) == "2"
        hybrid.ok("unbind", name, "cpuset", "--yes")
        assert not has(hybrid, on_v2(jobs))
        hybrid.ok("attach", jobs.at("/"), str(task))
        hybrid.ok("rm", jobs.at("/a"))
        umount(hybrid, name)


def test_the_limit_of_v1_holds_beside_v2(top: Top) -> None:
    """A shell that may not fork; on the model, a simulated task."""
    for _ in bound(top.pcont, "pids"):
        top.pcont.ok("create", "pids:/a", "-s", "pids.max=1")
        if top.is_model:
            task = top.pcont.ok("sim", "fork").strip()
            for place in (top.at(), "pids:/a"):
                top.pcont.ok("attach", place, task)
            assert "EAGAIN" in top.pcont.fails(8, "sim", "fork", task)
            top.pcont.ok("sim", "exit", task)
        else:
            ran = top.pcont("run", f"pids,{UNIFIED}:/a", "--", "sh", "-c", "true & wait")
            assert ran.status != 0
        top.pcont.ok("rm", "pids:/a")


def test_the_script_of_a_sysadmin(hybrid: Pcont, name: str, tmp_path: Path) -> None:
    """v1 has cpuset, and cgroup v2 the rest. Each line is that of v1, or of v2 for what v2 has
    (docs/v2.md, "What a script sees").
    """
    expected = (HERE / "sysadmin.hybrid").read_text(encoding="utf-8")
    kept, usual = f"unified:/pcont/{name}", "/sys/fs/cgroup/unified"
    for _ in bound(hybrid, "cpuset"):
        found = printed(hybrid, name, tmp_path)
        # The script kills the job that is in there.
        assert eventually(lambda: hybrid("rm", kept).status == 0)
        hybrid.ok("rm", "unified:/pcont")
        assert found.replace(point(hybrid, "/pcont"), f"{usual}/pcont") == expected
