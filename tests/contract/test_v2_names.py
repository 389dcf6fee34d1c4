"""Names of cgroup v2 on v1, and of v1 on v2: served where they mean the same, refused elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from pcont.kernel.types import UNIFIED
from tests.conftest import elsewhere
from tests.contract.conftest import Jobs, Top

# v2's names on v1


def test_cgroup_freeze_is_the_state_of_the_freezer(icebox: Top) -> None:
    at = icebox.at()
    assert icebox.pcont.get(at, "cgroup.freeze") == "0"
    icebox.pcont.ok("create", icebox.at("/b"))
    icebox.pcont.ok("set", at, "cgroup.freeze=1")
    assert icebox.pcont.get(at, "cgroup.freeze") == "1"
    assert icebox.pcont.get(at, "freezer.state") == "FROZEN"
    assert icebox.pcont.get(icebox.at("/b"), "cgroup.freeze") == "0"
    assert icebox.pcont.get(icebox.at("/b"), "cgroup.events") == "populated 0\nfrozen 1"
    icebox.pcont.ok("set", at, "cgroup.freeze=0")
    assert icebox.pcont.get(at, "freezer.state") == "THAWED"


@pytest.mark.parametrize(
    ("text", "errno", "reason"),
    [("2", "ERANGE", "0 or 1"), ("x", "EINVAL", "a number"), ("", "EINVAL", "a number")],
)
def test_cgroup_freeze_takes_0_and_1_as_on_v2(
    icebox: Top, text: str, errno: str, reason: str
) -> None:
    said = icebox.pcont.fails(7, "set", icebox.at(), f"cgroup.freeze={text}")
    assert f"({errno})" in said
    assert reason in said
    assert icebox.pcont.get(icebox.at(), "freezer.state") == "THAWED"


def test_a_dry_run_shows_the_file_of_v1(icebox: Top) -> None:
    lines = icebox.pcont.ok("set", "-n", icebox.at(), "cgroup.freeze=1").splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("echo FROZEN > ")
    assert lines[0].endswith("/freezer.state")
    assert icebox.pcont.get(icebox.at(), "freezer.state") == "THAWED"


def test_a_refusal_restores_what_a_name_of_v2_has_set(icebox: Top) -> None:
    said = icebox.pcont.fails(7, "set", icebox.at(), "cgroup.freeze=1", "freezer.state=WARM")
    assert "WARM" in said
    assert icebox.pcont.get(icebox.at(), "freezer.state") == "THAWED"


def test_a_container_is_created_with_a_name_of_v2(icebox: Top) -> None:
    icebox.pcont.ok("create", icebox.at("/cold"), "-s", "cgroup.freeze=1")
    assert icebox.pcont.get(icebox.at("/cold"), "freezer.state") == "FROZEN"
    said = icebox.pcont.fails(6, "create", icebox.at("/odd"), "-s", "cgroup.type=threaded")
    assert "cgroup v1 has no types of containers" in said
    assert icebox.pcont.children(icebox.at()) == ["cold"]


def test_the_root_has_no_name_that_v2_has_below_it_only(icebox: Top) -> None:
    said = icebox.pcont.fails(3, "get", "freezer:/", "cgroup.freeze")
    assert "only containers below the root have it" in said


def test_populated_counts_tasks_below(jobs: Jobs, start: Callable[..., int]) -> None:
    jobs.pcont.ok("create", "-i", jobs.at("/a"), jobs.at("/a/b"))
    assert jobs.pcont.get(jobs.at("/a"), "cgroup.events").startswith("populated 0\n")
    is_model = "model" in jobs.pcont.words
    task = jobs.pcont.ok("sim", "fork").split()[0] if is_model else str(start())
    jobs.pcont.ok("attach", jobs.at("/a/b"), task)
    for path in ("/a", "/a/b"):
        assert jobs.pcont.get(jobs.at(path), "cgroup.events").startswith("populated 1\n")
    assert jobs.pcont.get(jobs.at("/a/b"), "cgroup.threads").split() == [task]


def test_the_effective_lists_have_the_names_of_v2(jobs: Jobs) -> None:
    if "cpuset" not in jobs.controllers:
        elsewhere("v1 has no cpuset")
    jobs.pcont.ok("create", "-i", jobs.at("/a"))
    for word in ("cpus", "mems"):
        v1_key, v2_key = f"cpuset.effective_{word}", f"cpuset.{word}.effective"
        assert jobs.pcont.get(jobs.at("/a"), v2_key) == jobs.pcont.get(jobs.at("/a"), v1_key)
    said = jobs.pcont.fails(7, "set", jobs.at("/a"), "cpuset.cpus.effective=0")
    assert "it can only be read" in said


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("cpuset.cpus.partition", "cgroup v1 has no partitions"),
        ("cgroup.subtree_control", "the controllers of its hierarchy"),
        ("cgroup.kill", "rm --kill"),
        ("cgroup.max.depth", "no limits of the number of containers"),
    ],
)
def test_a_name_of_v2_without_a_meaning_is_refused(jobs: Jobs, key: str, reason: str) -> None:
    if key.startswith("cpuset") and "cpuset" not in jobs.controllers:
        elsewhere("v1 has no cpuset")
    jobs.pcont.ok("create", "-i", jobs.at("/a"))
    for words in (("get", jobs.at("/a"), key), ("set", jobs.at("/a"), f"{key}=1")):
        assert reason in jobs.pcont.fails(6, *words)


def test_a_name_of_a_controller_that_is_elsewhere_names_it(jobs: Jobs) -> None:
    jobs.pcont.ok("create", "-i", jobs.at("/a"))
    assert "does not have blkio" in jobs.pcont.fails(3, "get", jobs.at("/a"), "io.max")
    assert "does not have memory" in jobs.pcont.fails(3, "get", jobs.at("/a"), "memory.max")


# v1's names on v2


@pytest.fixture
def with_all(v2_alone: Top) -> Iterator[Top]:
    """A container of v2 with all controllers of the machine."""
    words = v2_alone.text("", "cgroup.controllers", of_root=True).split()
    if not {"cpu", "memory", "cpuset"} <= set(words):
        elsewhere("v2 does not have all controllers")
    before = v2_alone.text("", "cgroup.subtree_control", of_root=True).split()
    new = [word for word in words if word not in before]

    def change(sign: str) -> None:
        text = " ".join(f"{sign}{word}" for word in new)
        v2_alone.pcont.ok("set", f"{UNIFIED}:/", f"cgroup.subtree_control={text}")

    change("+")
    yield v2_alone
    change("-")


@pytest.mark.parametrize(
    "key", ["hugetlb.1PB.limit_in_bytes=1", "blkio.prio.class=none-to-rt", "io.prio.class=idle"]
)
def test_a_name_of_v1_for_a_file_that_is_not_there(v2_alone: Top, key: str) -> None:
    """The controller is enabled first, and disabled again."""
    if key.startswith(("blkio", "io")) and not v2_alone.is_model:
        elsewhere("some kernels have io.prio.class")
    said = v2_alone.pcont.fails(3, "set", v2_alone.at(), key)
    assert f"{v2_alone.at()} has no such file" in said
    assert v2_alone.text("/", "cgroup.subtree_control", of_root=True).split() == []


def test_cpu_shares_on_v2(with_all: Top) -> None:
    get, at = with_all.pcont.get, with_all.at()
    assert get(at, "cpu.shares") == "1024"
    for shares, weight in (("1012", "100"), ("2048", "174"), ("512", "59"), ("10240", "639")):
        with_all.pcont.ok("set", at, f"cpu.shares={shares}")
        assert (get(at, "cpu.shares"), get(at, "cpu.weight")) == (shares, weight)
    with_all.pcont.ok("set", at, "cpu.weight=100")
    assert get(at, "cpu.shares") == "1024", "the top of the range"
    with_all.pcont.ok("set", at, "cpu.shares=1")
    assert (get(at, "cpu.shares"), get(at, "cpu.weight")) == ("2", "1")


def test_quota_and_period_of_v1_are_the_words_of_cpu_max(with_all: Top) -> None:
    get, at = with_all.pcont.get, with_all.at()
    assert (get(at, "cpu.cfs_quota_us"), get(at, "cpu.cfs_period_us")) == ("-1", "100000")
    with_all.pcont.ok("set", at, "cpu.cfs_quota_us=50000")
    assert get(at, "cpu.max") == "50000 100000"
    with_all.pcont.ok("set", at, "cpu.cfs_period_us=200000")
    assert get(at, "cpu.max") == "50000 200000"
    with_all.pcont.ok("set", at, "cpu.cfs_quota_us=-1")
    assert get(at, "cpu.max") == "max 200000"
    said = with_all.pcont.fails(7, "set", at, "cpu.cfs_quota_us=60000", "cpu.cfs_period_us=999")
    assert "between 1000 and 1000000" in said
    assert get(at, "cpu.max") == "max 200000"


def test_memory_and_time_of_v1_on_v2(with_all: Top) -> None:
    get, at = with_all.pcont.get, with_all.at()
    assert get(at, "memory.limit_in_bytes") == "9223372036854771712"
    with_all.pcont.ok("set", at, "memory.limit_in_bytes=64M")
    assert get(at, "memory.max") == str(64 << 20)
    with_all.pcont.ok("set", at, "memory.limit_in_bytes=-1")
    assert get(at, "memory.max") == "max"
    assert get(at, "memory.failcnt") == "0"
    micro = int(get(at, "cpu.stat").split()[1])
    assert int(get(at, "cpuacct.usage")) == micro * 1000
    assert get(at, "cpuacct.stat").startswith("user 0\nsystem ")
    assert get(at, "cpuset.effective_cpus") == get(at, "cpuset.cpus.effective")
    assert get(at, "cpuset.memory_migrate") == "1"
    with_all.pcont.ok("set", at, "cpuset.memory_migrate=1")
    said = with_all.pcont.fails(7, "set", at, "cpuset.memory_migrate=0")
    assert "it is always 1 on cgroup v2: the kernel moves the pages when" in said
    with_all.pcont.ok("set", at, "freezer.state=FROZEN")
    assert get(at, "cgroup.freeze") == "1"
    with_all.pcont.ok("set", at, "freezer.state=THAWED")


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ("cpuacct.usage=0", "cannot reset CPU time"),
        ("cpuset.cpu_exclusive=1", "partition"),
        ("memory.memsw.limit_in_bytes=1G", "memory.swap.max"),
        ("memory.soft_limit_in_bytes=1G", "memory.high"),
        ("memory.oom_control=1", "memory.oom.group"),
        ("cpu.rt_runtime_us=1000", "real-time"),
        ("blkio.bfq.weight=100", "io.weight"),
        ("memory.failcnt=0", "cannot reset"),
    ],
)
def test_a_name_of_v1_without_a_meaning_is_refused(
    with_all: Top, setting: str, reason: str
) -> None:
    assert reason in with_all.pcont.fails(6, "set", with_all.at(), setting)


@pytest.mark.parametrize(
    ("setting", "errno", "reason"),
    [
        ("cpu.weight=0", "ERANGE", "goes from 1 to 10000"),
        ("cpu.max=999", "EINVAL", "between 1000"),
        ("pids.max=4194305", "EINVAL", "4194304"),
        ("cpuset.cpus=9999", "ERANGE", "no CPUs 9999; online: 0-3"),
        ("cpuset.mems=9", "EINVAL", "no memory nodes 9"),
        ("memory.max=64MB", "EINVAL", "memory.max=64M"),
        ("memory.oom.group=2", "EINVAL", "0 or 1"),
        ("io.weight=0", "EINVAL", "between 1 and 10000"),
        ("cpuset.cpus.partition=x", "EINVAL", "member, root, isolated"),
    ],
)
def test_a_refused_value_has_its_reason(
    with_all: Top, setting: str, errno: str, reason: str
) -> None:
    said = with_all.pcont.fails(7, "set", with_all.at(), setting)
    assert f"({errno})" in said
    assert reason in said


def test_a_list_with_tasks_is_not_emptied(with_all: Top, start: Callable[..., int]) -> None:
    with_all.pcont.ok("set", with_all.at(), "cpuset.cpus=0-1")
    with_all.pcont.ok("attach", with_all.at(), str(start()))
    said = with_all.pcont.fails(7, "set", with_all.at(), "cpuset.cpus=")
    assert "(ENOSPC)" in said
    assert "it would inherit 0-3" in said
    assert with_all.pcont.get(with_all.at(), "cpuset.cpus") == "0-1"


def test_less_than_asked_is_reclaimed(with_all: Top) -> None:
    said = with_all.pcont.fails(8, "set", with_all.at(), "memory.reclaim=1G")
    assert "only a part could be reclaimed" in said
