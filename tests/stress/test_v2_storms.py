"""Controllers are enabled in a container of cgroup v2 whose tasks fork all the time.

`make nightly` runs them in a guest: under emulation beside other work, a storm can leave pcont no
CPU time. `PCONT_SPILLS=40x100`: a hundred times with 40 lineages.
"""

from __future__ import annotations

import os

import pytest

from pcont.kernel.types import LEAF_NAME, UNIFIED
from tests.contract.conftest import KERNEL_ALONE, Jobs, Top
from tests.contract.test_v2 import directory
from tests.contract.test_v2_controllers import bare, controlled  # noqa: F401
from tests.contract.test_v2_hierarchies import has, jobs, on_v2, plain  # noqa: F401
from tests.stress import Storm, running

pytestmark = pytest.mark.guest

WIDTH, TIMES = map(int, os.environ.get("PCONT_SPILLS", "20x2").split("x"))


@pytest.mark.parametrize("time", range(TIMES))
def test_a_spill_loses_no_task_of_a_storm(compiler: None, bare: Top, time: int) -> None:  # noqa: F811
    """All lineages are in the leaf, at once and after more forks, and none is frozen."""
    storm = Storm(WIDTH)
    with running(storm):
        bare.pcont.ok("attach", bare.at(), str(storm.root))
        storm.go()
        bare.pcont.ok("create", bare.at("/a"), "-s", "memory.max=64M")
        in_leaf = f"{bare.path}/{LEAF_NAME}"
        own = directory(bare) / "cgroup.procs"
        for _ in range(2):
            assert own.read_text() == ""
            assert [one and one[UNIFIED] for one in storm.paths()] == [in_leaf] * WIDTH
            assert storm.goes_on()
        assert bare.pcont.get(bare.at(), "cgroup.freeze") == "0"
        bare.pcont.ok("rm", "-r", "--kill", bare.at("/a"))


@pytest.mark.parametrize("time", range(TIMES))
def test_a_failed_spill_returns_a_storm(compiler: None, bare: Top, time: int) -> None:  # noqa: F811
    storm = Storm(WIDTH)
    with running(storm):
        bare.pcont.ok("attach", bare.at(), str(storm.root))
        storm.go()
        said = bare.pcont.fails(7, "create", bare.at("/a"), "-s", "memory.max=x")
        assert "NOT RESTORED" not in said
        assert [one and one[UNIFIED] for one in storm.paths()] == [bare.path] * WIDTH
        assert storm.goes_on()
        assert not (directory(bare) / LEAF_NAME).exists()


def in_both(jobs: Jobs, storm: Storm) -> set[tuple[str, str]]:  # noqa: F811
    """Where the lineages are: in the home, and in cgroup v2."""
    found = [one for one in storm.paths() if one]
    assert len(found) == WIDTH
    home = f"name={jobs.name}"
    return {(one[home], one[UNIFIED].removeprefix(on_v2(jobs))) for one in found}


@pytest.mark.parametrize("plain", [KERNEL_ALONE], indirect=True)
@pytest.mark.parametrize("time", range(TIMES))
def test_a_storm_moves_in_a_threaded_hierarchy(
    compiler: None,
    jobs: Jobs,  # noqa: F811
    time: int,
) -> None:
    jobs.pcont.ok("create", jobs.at("/a"), jobs.at("/b"))
    storm = Storm(WIDTH)
    with running(storm):
        jobs.pcont.ok("attach", jobs.at("/a"), str(storm.root))
        storm.go()
        for source, target in (("/a", "/b"), ("/b", "/a")):
            result = jobs.pcont("move", jobs.at(source), jobs.at(target), "--json")
            assert result.status == 0, result.err
            assert result.json["strategy"] == "freeze"
            for _ in range(2):
                assert in_both(jobs, storm) == {(target, target)}
                assert storm.goes_on()
            assert jobs.pcont.get(jobs.at(source), "tasks") == ""
        jobs.pcont.ok("rm", "--kill", jobs.at("/a"))
        assert not has(jobs.pcont, on_v2(jobs, "/a"))


@pytest.mark.parametrize("plain", [KERNEL_ALONE], indirect=True)
@pytest.mark.parametrize("time", range(TIMES))
def test_a_subsystem_is_bound_to_a_storm(
    compiler: None,
    jobs: Jobs,  # noqa: F811
    time: int,
) -> None:
    jobs.pcont.ok("create", "-p", jobs.at("/a/b"))
    storm = Storm(WIDTH)
    with running(storm):
        jobs.pcont.ok("attach", jobs.at("/a"), str(storm.root))
        storm.go()
        jobs.pcont.ok("bind", jobs.name, "cpu", "-s", "/a:cpu.weight=50")
        jobs.pcont.ok("unbind", jobs.name, "pids,cpuset,cpuacct", "--yes")
        assert in_both(jobs, storm) == {("/a", "/a")}
        assert storm.goes_on()
        jobs.pcont.ok("unbind", jobs.name, "cpu", "--yes")
        assert {one and one[UNIFIED] for one in storm.paths()} == {"/"}
        jobs.pcont.ok("bind", jobs.name, "cpuset,pids")
        assert in_both(jobs, storm) == {("/a", "/a")}
        assert storm.goes_on()
        jobs.pcont.ok("rm", "-r", "--kill", jobs.at("/a"))
