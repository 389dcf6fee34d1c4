"""Limits of memory: what is killed as it runs out, what stays counted, what stat and tree show."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from pcont.kernel.types import LEAF_NAME
from tests.contract.conftest import Top, only_kernel_alone
from tests.contract.memory_holder import MIB, Holder, holder, stat, tree_lines  # noqa: F401
from tests.contract.test_v2_controllers import bare, controlled  # noqa: F401

Hold = Callable[[], Holder]


def test_without_kills_stat_shows_zeros_and_tree_nothing(bare: Top) -> None:  # noqa: F811
    bare.pcont.ok("create", bare.at("/a"))
    assert "oom_kill" not in stat(bare.pcont, bare.at("/a")), "memory is not enabled"
    assert "memory" not in bare.pcont.ok("stat", bare.at("/a"))
    bare.pcont.ok("set", bare.at("/a"), "memory.max=64M")
    row = stat(bare.pcont, bare.at("/a"))
    assert (row["memory_max"], row["oom"], row["oom_kill"]) == (0, 0, 0)
    last = bare.pcont.ok("stat", bare.at("/a")).splitlines()[-1]
    assert last == "memory\t0\t0\t0"
    assert "oom_kill" not in bare.pcont.ok("tree", bare.at())


@pytest.fixture
def job(bare: Top) -> Top:  # noqa: F811
    """A container of 64 MiB, with a child and a grandchild that have limits of their own. So it has
    its tasks in a leaf, as does its child.
    """
    bare.pcont.ok("set", bare.at(), "memory.max=64M", "memory.swap.max=0")
    bare.pcont.ok("create", "-p", bare.at("/a"), bare.at("/a/b"), "-s", "memory.max=60M")
    return bare


@only_kernel_alone
def test_a_limit_holds_for_tasks_at_every_level_together(
    job: Top,
    holder: Hold,  # noqa: F811
) -> None:
    in_job, in_a, in_b = holder(), holder(), holder()
    for one, path in ((in_job, ""), (in_a, "/a"), (in_b, "/a/b")):
        job.pcont.ok("attach", job.at(path), str(one.pid))
    assert job.exists(f"/{LEAF_NAME}")
    assert job.exists(f"/a/{LEAF_NAME}")
    in_a.take(12)
    in_b.take(12)
    assert int(job.pcont.get(job.at(), "memory.current")) >= 24 * MIB
    in_job.take_too_much(60)  # less than the limit of each container
    assert (in_a.lives, in_b.lives) == (True, True)
    assert 24 * MIB <= int(job.pcont.get(job.at(), "memory.peak")) <= 65 * MIB

    row = stat(job.pcont, job.at())
    assert row["oom_kill"] == 1
    assert row["oom"] >= 1
    assert row["memory_max"] >= 1
    assert stat(job.pcont, job.at("/a"))["oom_kill"] == 0
    assert job.pcont.ok("stat", job.at()).splitlines()[-1].split("\t")[-1] == "1"
    shown = tree_lines(job.pcont, job.at())
    assert "memory.events=oom_kill 1" in shown[job.at()]
    assert not any("oom_kill" in " ".join(shown[job.at(path)]) for path in ("/a", "/a/b"))

    job.pcont.ok("set", job.at("/a/b"), "memory.max=4M")  # below what is in use: a kill at once
    assert in_b.process.wait(60) == -signal.SIGKILL
    kills = [stat(job.pcont, job.at(path))["oom_kill"] for path in ("", "/a", "/a/b")]
    assert kills == [2, 1, 1]
    assert in_a.lives


@only_kernel_alone
def test_the_tasks_of_the_leaf_and_of_the_children_are_killed_together(
    job: Top,
    holder: Hold,  # noqa: F811
) -> None:
    in_job, in_a = holder(), holder()
    job.pcont.ok("set", job.at(), "memory.oom.group=1")
    job.pcont.ok("attach", job.at(), str(in_job.pid))
    job.pcont.ok("attach", job.at("/a"), str(in_a.pid))
    in_job.take_too_much(80)
    assert in_a.process.wait(60) == -signal.SIGKILL
    # The kernel counts the task whose memory was charged once more.
    assert stat(job.pcont, job.at())["oom_kill"] >= 2


@only_kernel_alone
def test_what_was_charged_stays_counted_after_the_leaf_was_removed(job: Top) -> None:
    """tmpfs keeps the memory of a file, and the kernel charges it to the parents of the leaf."""
    files = [Path("/dev/shm") / f"{job.path.strip('/')}-{number}" for number in range(2)]

    def current() -> int:
        return int(job.pcont.get(job.at(), "memory.current"))

    def write(path: str, file: Path) -> None:
        words = ("dd", "if=/dev/zero", f"of={file}", "bs=1M", "count=10", "status=none")
        job.pcont.ok("run", job.at(path), "--", *words)

    try:
        write("", files[0])
        write("/a", files[1])
        assert current() >= 20 * MIB
        job.pcont.ok("rm", "-r", job.at("/a"))
        assert job.pcont.children(job.at()) == []
        assert current() >= 20 * MIB
        job.pcont.backend().remove(job.place("").leaf)
        assert not job.exists(f"/{LEAF_NAME}")
        assert current() >= 20 * MIB
    finally:
        for file in files:
            file.unlink(missing_ok=True)
