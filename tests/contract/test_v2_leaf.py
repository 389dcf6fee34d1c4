"""Tasks of a container of cgroup v2 that enables controllers: its leaf has them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pcont.kernel.types import LEAF_NAME
from tests.contract.conftest import Top, only_kernel_alone, threads_of
from tests.contract.test_v2 import directory, is_in
from tests.contract.test_v2_controllers import all_enabled, bare, controlled  # noqa: F401
from tests.waiting import eventually

Start = Callable[..., int]


def in_leaf(top: Top, path: str = "") -> set[int]:
    """The processes in the leaf of a container; none without a leaf."""
    leaf = f"{path}/{LEAF_NAME}"
    return itself(top, leaf) if top.exists(leaf) else set()


def itself(top: Top, path: str = "") -> set[int]:
    """The processes in the directory of a container."""
    backend, found = top.pcont.backend(), set()
    for task in top.text(path, "cgroup.threads").split():
        with contextlib.suppress(ProcessLookupError):  # it has ended since
            found.add(backend.task(int(task)).pid)
    return found


def processes(top: Top, path: str = "") -> set[int]:
    rows = json.loads(top.pcont.ok("ps", top.at(path), "--json"))["result"]
    return {row["pid"] for row in rows}


@pytest.fixture
def parent(bare: Top) -> Top:  # noqa: F811
    """A container that enables memory for its child /a."""
    bare.pcont.ok("create", bare.at("/a"), "-s", "memory.max=64M")
    return bare


# Attach


def test_a_task_enters_the_leaf(parent: Top, start: Start) -> None:
    task, other = start(threads=2), start()
    planned = parent.pcont.ok("--dry-run", "attach", parent.at(), str(task)).splitlines()
    there = directory(parent)
    assert planned == [f"mkdir {there}/{LEAF_NAME}", f"echo {task} > {there}/cgroup.procs"]
    parent.pcont.ok("attach", parent.at(), str(task))
    assert in_leaf(parent) == {task}
    assert is_in(parent, task) == ""
    parent.pcont.ok("attach", parent.at(), str(other))
    assert in_leaf(parent) == processes(parent) == {task, other}
    tasks = {*threads_of(task), other}
    assert {int(one) for one in parent.pcont.get(parent.at(), "tasks").split()} == tasks


def test_the_leaf_is_no_container(parent: Top, start: Start) -> None:
    parent.pcont.ok("attach", parent.at(), str(start()))
    assert parent.pcont.children(parent.at()) == ["a"]
    assert parent.below() == [parent.at(), parent.at("/a")]
    rows = json.loads(parent.pcont.ok("hierarchies", "--json"))["result"]
    (count,) = [row["containers"] for row in rows if row["name"] == "unified"]
    assert count == len(parent.pcont.ok("tree", "unified:/").splitlines())
    for words in ("create {}", "rm {}", "get {}", "create -p {}/x"):
        said = parent.pcont.fails(2, *words.format(parent.at(f"/{LEAF_NAME}")).split())
        assert f"the tasks of {parent.at()}" in said
    said = parent.pcont.fails(2, "get", f"{directory(parent)}/{LEAF_NAME}")
    assert LEAF_NAME in said


def test_a_container_of_another_program_gets_no_leaf(parent: Top, start: Start) -> None:
    parent.mkdir("/foreign")
    parent.write("/foreign", "cgroup.subtree_control", "+memory")
    task = start()
    for words in (("--dry-run", "attach"), ("attach",)):
        said = parent.pcont.fails(5, *words, parent.at("/foreign"), str(task))
        assert f"memory is enabled for the children of {parent.at('/foreign')}, so tasks" in said
    assert not parent.exists(f"/foreign/{LEAF_NAME}")


def test_a_refused_attach_leaves_no_leaf(parent: Top, start: Start, tmp_path: Path) -> None:
    task = start()
    before = parent.pcont.paths(task)
    file = tmp_path / "lines"
    file.write_text(f"attach {parent.at()} {task}\nrm {parent.at('/none')}\n")
    parent.pcont.fails(3, "batch", "--atomic", str(file))
    assert parent.pcont.paths(task) == before
    assert not parent.exists(f"/{LEAF_NAME}")


@only_kernel_alone
def test_a_command_runs_in_the_leaf(parent: Top) -> None:
    script = ("--", "cat", "/proc/self/cgroup")
    assert f"0::{parent.path}/{LEAF_NAME}\n" in parent.pcont.ok("run", parent.at(), *script)


def test_tasks_are_evicted_into_the_leaf_of_the_parent(parent: Top, start: Start) -> None:
    task = start()
    parent.pcont.ok("attach", parent.at("/a"), str(task))
    parent.pcont.ok("rm", "--evict", parent.at("/a"))
    assert in_leaf(parent) == {task}
    assert is_in(parent, task) == ""


def test_tasks_leave_the_leaf(parent: Top, start: Start) -> None:
    task, other = start(), start()
    parent.pcont.ok("attach", parent.at(), str(task), str(other))
    parent.pcont.ok("attach", parent.at("/a"), str(task))
    assert (in_leaf(parent), itself(parent, "/a")) == ({other}, {task})
    parent.pcont.ok("move", parent.at(), parent.at("/a"))
    assert (in_leaf(parent), itself(parent, "/a")) == (set(), {task, other})


def test_a_container_is_removed_with_its_leaf(parent: Top, start: Start) -> None:
    parent.pcont.ok("create", "-p", parent.at("/b/c"), "-s", "memory.max=64M")
    parent.pcont.ok("attach", parent.at("/b"), str(start()))
    parent.pcont.fails(5, "rm", parent.at("/b"))
    parent.pcont.ok("rm", parent.at("/b/c"))
    said = parent.pcont.fails(5, "rm", parent.at("/b"))
    assert "tasks are in it" in said
    parent.pcont.ok("rm", "--kill", parent.at("/b"))
    assert parent.pcont.children(parent.at()) == ["a"]


def test_a_removal_is_undone_with_the_tasks_of_the_leaf(
    parent: Top, start: Start, tmp_path: Path
) -> None:
    task = start()
    parent.pcont.ok("create", "-p", parent.at("/b/c"), "-s", "memory.max=64M")
    parent.pcont.ok("attach", parent.at("/b"), str(task))
    file = tmp_path / "lines"
    file.write_text(
        f"rm -r --evict {parent.at('/b')}\ncreate {parent.at('/d')}\nrm {parent.at('/none')}\n"
    )
    said = parent.pcont.fails(3, "batch", "--atomic", str(file))
    assert "NOT RESTORED" not in said
    assert parent.pcont.children(parent.at()) == ["a", "b"]
    assert in_leaf(parent, "/b") == {task}
    assert parent.pcont.get(parent.at("/b/c"), "memory.max") == str(64 << 20)
    assert not parent.exists(f"/{LEAF_NAME}")


@only_kernel_alone
def test_the_owner_of_a_container_may_move_the_tasks_of_its_leaf(parent: Top, start: Start) -> None:
    for name in ("", "cgroup.procs", "cgroup.threads"):
        os.chown(directory(parent) / name, 1000, 1000)
    parent.pcont.ok("attach", parent.at(), str(start()))
    leaf = directory(parent) / LEAF_NAME
    owners = [(leaf / name).stat().st_uid for name in ("", "cgroup.procs", "cgroup.threads")]
    assert owners == [1000] * 3
    assert (leaf / "cgroup.freeze").stat().st_uid == 0


# Spill


def test_tasks_of_the_parent_make_way_for_controllers(bare: Top, start: Start) -> None:  # noqa: F811
    task = start(threads=3)
    bare.pcont.ok("attach", bare.at(), str(task))
    assert itself(bare) == {task}, "a container without controllers has its tasks itself"
    there = directory(bare)
    planned = bare.pcont.ok("--dry-run", "create", bare.at("/a"), "-s", "memory.max=64M")
    assert planned.splitlines() == [
        f"echo +memory > {there.parent}/cgroup.subtree_control",
        f"mkdir {there}/{LEAF_NAME}",
        f"echo 1 > {there}/cgroup.freeze",
        f"echo {task} > {there}/{LEAF_NAME}/cgroup.procs",
        f"echo 0 > {there}/cgroup.freeze",
        f"echo +memory > {there}/cgroup.subtree_control",
        f"mkdir {there}/a",
        f"echo 64M > {there}/a/memory.max",
    ]
    bare.pcont.ok("create", bare.at("/a"), "-s", "memory.max=64M")
    assert (in_leaf(bare), itself(bare), is_in(bare, task)) == ({task}, set(), "")
    assert bare.pcont.get(bare.at(), "cgroup.freeze") == "0"
    assert bare.pcont.get(bare.at("/a"), "memory.max") == str(64 << 20)


@pytest.mark.parametrize("setting", ["memory.max=x", "pids.max=x"])
def test_a_spill_is_undone(bare: Top, start: Start, setting: str) -> None:  # noqa: F811
    task = start(threads=2)
    bare.pcont.ok("attach", bare.at(), str(task))
    said = bare.pcont.fails(7, "create", bare.at("/a"), "-s", setting)
    assert "NOT RESTORED" not in said
    assert itself(bare) == {task}
    assert not bare.exists(f"/{LEAF_NAME}")
    assert all_enabled(bare, "/", bare.path) == [set(), set()]
    assert bare.pcont.children(bare.at()) == []


def test_a_spill_leaves_a_frozen_container_frozen(bare: Top, start: Start) -> None:  # noqa: F811
    task = start()
    bare.pcont.ok("attach", bare.at(), str(task))
    bare.pcont.ok("set", bare.at(), "cgroup.freeze=1")
    bare.pcont.ok("create", bare.at("/a"), "-s", "memory.max=64M")
    assert in_leaf(bare) == {task}
    assert bare.pcont.get(bare.at(), "cgroup.freeze") == "1"
    bare.pcont.ok("set", bare.at(), "cgroup.freeze=0")


def test_pcont_spills_itself(bare: Top) -> None:  # noqa: F811
    """A command in the container cannot freeze it."""
    words = [*bare.pcont.words, "create", bare.at("/a"), "-s", "memory.max=64M"]
    command = [sys.executable, "-m", "pcont", *words]
    bare.pcont.ok("run", bare.at(), "--", *command)
    assert bare.pcont.get(bare.at("/a"), "memory.max") == str(64 << 20)
    assert bare.exists(f"/{LEAF_NAME}")


@only_kernel_alone
def test_the_limits_of_a_container_hold_for_its_leaf(parent: Top) -> None:
    """D2 of what was seen: nothing is counted twice, and the events are those of the container."""
    parent.pcont.ok("set", parent.at(), "memory.max=32M", "memory.swap.max=0")
    hog = [sys.executable, "-c", "x = bytearray(100 << 20); print('alive')"]
    assert parent.pcont("run", parent.at(), "--", *hog).status == -signal.SIGKILL
    events = parent.pcont.get(parent.at(), "memory.events").split()
    assert int(events[events.index("oom") + 1]) >= 1
    assert parent.exists(f"/{LEAF_NAME}")


FORKING = """
import os, sys, time
os.write(1, b"on\\n")
while True:
    pid = os.fork()
    if pid:
        os._exit(0)
    os.setsid()
    time.sleep(0.002)
"""


@only_kernel_alone
def test_a_spill_loses_no_task_of_lineages_that_fork(bare: Top) -> None:  # noqa: F811
    words = [
        "-m",
        "pcont",
        *bare.pcont.words,
        "run",
        bare.at(),
        "--",
        sys.executable,
        "-c",
        FORKING,
    ]
    lineages = [
        subprocess.Popen([sys.executable, *words], stdout=subprocess.PIPE) for _ in range(5)
    ]
    for one in lineages:
        assert one.stdout
        with one.stdout:
            one.stdout.readline()
        one.wait()
    bare.pcont.ok("create", bare.at("/a"), "-s", "memory.max=64M")
    assert itself(bare) == set()
    assert eventually(lambda: len(in_leaf(bare)) >= 5)


def test_a_leaf_that_is_there_is_used_again(bare: Top, start: Start) -> None:  # noqa: F811
    """Without controllers tasks enter the container itself, although it has a leaf."""
    bare.pcont.ok("create", bare.at("/a"), "-s", "memory.max=64M")
    first, second = start(), start()
    bare.pcont.ok("attach", bare.at(), str(first))
    bare.pcont.ok("rm", bare.at("/a"))
    bare.pcont.ok("set", bare.at(), "cgroup.subtree_control=-memory")
    bare.pcont.ok("attach", bare.at(), str(second))
    assert (in_leaf(bare), itself(bare)) == ({first}, {second})
    words = ("create", bare.at("/a"), "-s", "memory.max=64M")
    assert "mkdir" not in bare.pcont.ok("--dry-run", *words).partition("cgroup.freeze")[0]
    bare.pcont.ok(*words)
    assert (in_leaf(bare), itself(bare)) == ({first, second}, set())
