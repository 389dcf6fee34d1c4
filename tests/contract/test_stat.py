"""stat: what a container has used, and the load that it is."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import elsewhere
from tests.contract.conftest import Jobs, Pcont, eventually, new_top, only_kernel
from tests.contract.memory_holder import Holder, holder, tree_lines  # noqa: F401
from tests.contract.memory_holder import stat as first_row


def stat(jobs: Jobs, path: str, window: float) -> dict[str, dict[str, Any]]:
    """The rows by the CPU, None being all of them."""
    rows = jobs.pcont("stat", jobs.at(path), "--window", str(window), "--json").json
    return {"all" if row["cpu"] is None else str(row["cpu"]): row for row in rows}


def test_a_busy_task_is_a_load_of_its_container_and_those_above(jobs: Jobs) -> None:
    jobs.pcont.ok("create", "-p", "-i", jobs.at("/a/b"), jobs.at("/c"))
    jobs.pcont.ok("set", jobs.at("/a/b"), "cpuset.cpus=1")
    busy = subprocess.Popen(["sh", "-c", "while :; do :; done"])
    try:
        jobs.pcont.ok("attach", jobs.at("/a/b"), str(busy.pid))
        assert eventually(lambda: stat(jobs, "/a/b", 0.5)["all"]["load"] > 0)
        assert eventually(lambda: stat(jobs, "/a", 0.5)["all"]["load"] > 0)
        loads = [stat(jobs, path, 0.1) for path in ("/a/b", "/a")]
        idle = stat(jobs, "/c", 0.1)
    finally:
        busy.kill()
        busy.wait()
    for load in loads:
        assert load["all"]["load"] >= load["1"]["load"] >= 0
        assert load["all"]["used"] == load["all"]["user"] + load["all"]["system"] > 0
        assert load["all"]["user"] > load["all"]["system"]  # it makes no system calls
        assert load["all"]["used"] == sum(row["used"] for cpu, row in load.items() if cpu != "all")
    assert idle["all"]["load"] == idle["all"]["used"] == 0


def test_the_load_is_a_key_that_is_measured_where_it_is_named(jobs: Jobs) -> None:
    jobs.pcont.ok("create", "-p", "-i", jobs.at("/a/b"), jobs.at("/c"))
    busy = subprocess.Popen(["sh", "-c", "while :; do :; done"])
    try:
        jobs.pcont.ok("attach", jobs.at("/a/b"), str(busy.pid))
        words = ("cpuacct.load", "--window", "0.5")
        assert eventually(lambda: float(jobs.pcont.ok("get", jobs.at("/a"), *words)) > 0)
        assert jobs.pcont.ok("get", jobs.at("/c"), *words) == "0.0\n"
        both = jobs.pcont("get", jobs.at("/c"), "auto_delete", *words, "--json").json
        assert both == {"auto_delete": 0, "cpuacct.load": 0.0}
    finally:
        busy.kill()
        busy.wait()
    assert "cpuacct.load" not in jobs.pcont.ok("get", jobs.at("/a"))
    jobs.pcont.fails(2, "get", jobs.at("/a"), "cpuacct.load", "--window", "0")
    jobs.pcont.fails(4, "set", jobs.at("/a"), "cpuacct.load=1")


def test_without_a_window_stat_does_not_wait_and_knows_no_load(jobs: Jobs) -> None:
    jobs.pcont.ok("create", jobs.at("/a"))
    assert {row["load"] for row in stat(jobs, "/a", 0).values()} == {None}
    first = jobs.pcont.ok("stat", jobs.at("/a"), "--window", "0").splitlines()[0]
    assert first == "all\t-\t0\t0\t0"
    jobs.pcont.fails(2, "stat", jobs.at("/a"), "--window", "-1")


@pytest.mark.quick
def test_it_takes_cpuacct(pcont: Pcont, name: str) -> None:
    pcont.ok("mount", "-o", "none", "--name", name)
    error = pcont.fails(3, "stat", f"{name}:/", "--json")
    assert json.loads(error)["error"]["hint"] == f"pcont bind {name} cpuacct"
    pcont.ok("umount", name)


@pytest.mark.guest
@only_kernel
def test_v1_counts_kills_by_container_and_stat_adds_them_up(
    pcont: Pcont,
    name: str,
    holder: Callable[[], Holder],  # noqa: F811
) -> None:
    (memory,) = (one for one in pcont.library().subsys() if one.name == "memory")
    if memory.unified:
        elsewhere("v1 has no memory")
    with new_top(pcont, "memory", name) as top:
        pcont.ok("create", top.at("/a"), "-s", "memory.limit_in_bytes=32M")
        hog = holder()
        pcont.ok("attach", top.at("/a"), str(hog.pid))
        hog.take_too_much(64)
        for path in ("", "/a"):
            row = first_row(pcont, top.at(path))
            assert (row["used"], row["oom"], row["oom_kill"]) == (None, None, 1)
            assert row["memory_max"] >= 1
        (line,) = pcont.ok("stat", top.at("/a")).splitlines()
        assert line == f"memory\t{row['memory_max']}\t-\t1"
        pcont.fails(3, "get", top.at("/a"), "cpuacct.load")
        shown = tree_lines(pcont, top.at())
        assert "memory.oom_control=oom_kill 1" in shown[top.at("/a")]
        assert "oom_kill" not in " ".join(shown[top.at()])
        pcont.ok("set", top.at("/a"), "memory.force_empty=1")
