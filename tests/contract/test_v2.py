"""The containers of cgroup v2: the same commands as on v1, and what is refused."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pcont.kernel.types import UNIFIED
from tests.conftest import elsewhere
from tests.contract.conftest import Top, threads_of
from tests.waiting import eventually

Start = Callable[..., int]
LIMITS = ("cgroup.max.depth", "cgroup.max.descendants")


def directory(top: Top, path: str = "") -> Path:
    """The directory of a container."""
    return Path(top.pcont.backend().show(top.place(path)))


def is_in(top: Top, task: int) -> str:
    """The path of a task's container, below that of the test."""
    return top.pcont.paths(task)[UNIFIED].removeprefix(top.path)


def test_the_hierarchy_is_one_more_row(v2: Top) -> None:
    rows = json.loads(v2.pcont.ok("hierarchies", "--json"))["result"]
    (row,) = [row for row in rows if row["name"] == UNIFIED]
    mount = str(directory(v2).parent)
    assert row["mountpoint"] == mount
    assert row["trees"] == [{"id": UNIFIED, "at": "/", "mounts": [mount], "ours": False}]
    offered = v2.text("", "cgroup.controllers", of_root=True).split()
    assert row["subsystems"] == offered
    assert row["containers"] >= 2
    assert rows[-1] == row, "v1 comes first"


def test_a_task_is_in_one_more_row(v2: Top, start: Start) -> None:
    task = start()
    v2.pcont.ok("attach", v2.at(), str(task))
    rows = json.loads(v2.pcont.ok("where", str(task), "--json"))["result"]
    (row,) = [row for row in rows if row["hierarchy"] == UNIFIED]
    assert (row["container"], row["state"], row["paths"]) == (v2.path, "in", {UNIFIED: v2.path})


def test_a_directory_below_the_mount_is_a_place(v2: Top, monkeypatch: pytest.MonkeyPatch) -> None:
    there = directory(v2)
    v2.pcont.ok("create", f"{there}/a")
    assert v2.pcont.children(v2.at()) == ["a"]
    if v2.is_model:
        return  # its directories are not those of the machine
    monkeypatch.chdir(there)
    assert v2.pcont.get("./a", "cgroup.type") == "domain"
    said = v2.pcont.fails(5, "create", "./a")
    assert "create ./a: it exists already" in said


def test_get_prints_the_files_of_the_kernel(v2: Top) -> None:
    lines = v2.pcont.ok("get", v2.at()).splitlines()
    found = {line.partition("=")[0] for line in lines}
    there = set(v2.pcont.backend().files(v2.place()))
    assert found == there - {"cgroup.procs", "cgroup.threads", "cgroup.kill", "memory.reclaim"}
    assert {"cgroup.type=domain", "cgroup.freeze=0", "cgroup.max.depth=max"} <= set(lines)


def test_get_prints_each_key_as_it_was_typed(v2: Top) -> None:
    lines = v2.pcont.ok("get", v2.at(), "freezer.state", "cgroup.freeze").splitlines()
    assert lines == ["freezer.state=THAWED", "cgroup.freeze=0"]
    rows = json.loads(v2.pcont.ok("get", "--json", v2.at(), "freezer.state"))["result"]
    assert rows == {"freezer.state": "THAWED"}


def test_a_container_is_created_with_its_parents_and_settings(v2: Top) -> None:
    said = v2.pcont.fails(3, "create", v2.at("/a/b"))
    assert f"pcont create -p {v2.at('/a/b')}" in said
    v2.pcont.ok("create", "-p", v2.at("/a/b"), "-s", "cgroup.max.depth=3")
    assert v2.pcont.get(v2.at("/a/b"), "cgroup.max.depth") == "3"
    assert v2.pcont.get(v2.at("/a"), "cgroup.max.depth") == "max"
    said = v2.pcont.fails(5, "create", v2.at("/cgroup.procs"))
    assert "control file" in said


def test_a_refused_setting_leaves_no_container(v2: Top) -> None:
    said = v2.pcont.fails(7, "create", v2.at("/a"), v2.at("/b"), "-s", "cgroup.freeze=2")
    assert "it takes 0 or 1" in said
    assert v2.pcont.children(v2.at()) == []


@pytest.mark.parametrize(
    ("key", "value", "limit"),
    [
        ("cgroup.max.depth", "1", "the limit of 1 levels below {top} is reached"),
        ("cgroup.max.descendants", "1", "the limit of 1 containers below {top} is reached"),
    ],
)
def test_the_limits_of_containers_are_explained(v2: Top, key: str, value: str, limit: str) -> None:
    v2.pcont.ok("create", v2.at("/a"))
    v2.pcont.ok("set", v2.at(), f"{key}={value}")
    for words in (("--dry-run", "create"), ("create",)):
        said = v2.pcont.fails(8, *words, v2.at("/a/b"))
        assert limit.format(top=v2.at()) in said
        assert f"pcont set {v2.at()} {key}=2" in said
    v2.pcont.ok("set", v2.at(), f"{key}=2")
    v2.pcont.ok("create", v2.at("/a/b"))


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("cgroup.freeze", "2", "it takes 0 or 1, not 2"),
        ("cgroup.freeze", "x", "a number"),
        ("cgroup.kill", "0", "it takes 1, not 0"),
        ("cgroup.pressure", "2", "it takes 0 or 1, not 2"),
        ("cgroup.max.depth", "-1", "it takes 0 to 2147483647, or max"),
        ("cgroup.max.descendants", "x", "a number, or max"),
        ("cgroup.type", "domain", "the file takes threaded"),
        ("cgroup.subtree_control", "pids", "write +NAME"),
        ("cgroup.events", "1", "it can only be read"),
    ],
)
def test_a_refused_value_is_explained(v2: Top, key: str, value: str, reason: str) -> None:
    before = v2.pcont.get(v2.at(), key) if key != "cgroup.kill" else ""
    other = next(one for one in LIMITS if one != key)
    assert reason in v2.pcont.fails(7, "set", v2.at(), f"{other}=5", f"{key}={value}")
    assert key == "cgroup.kill" or v2.pcont.get(v2.at(), key) == before
    assert v2.pcont.get(v2.at(), other) == "max"


def test_a_controller_that_the_parent_does_not_enable_is_explained(v2: Top) -> None:
    said = v2.pcont.fails(3, "set", v2.at(), "cgroup.subtree_control=+perf_event")
    assert "perf_event is always enabled" in said
    offered = v2.text("", "cgroup.controllers", of_root=True).split()
    enabled = v2.text("", "cgroup.subtree_control", of_root=True).split()
    for name in sorted({*offered} - {*enabled})[:1]:
        said = v2.pcont.fails(3, "set", v2.at(), f"cgroup.subtree_control=+{name}")
        assert f"{name} is not enabled for the children of unified:/" in said
        assert f"pcont set unified:/ cgroup.subtree_control=+{name}" in said


def test_a_process_is_attached_with_its_threads(v2: Top, start: Start) -> None:
    task = start(threads=3)
    v2.pcont.ok("create", v2.at("/a"))
    v2.pcont.ok("attach", v2.at("/a"), str(task))
    assert {is_in(v2, one) for one in threads_of(task)} == {"/a"}
    rows = json.loads(v2.pcont.ok("ps", v2.at("/a"), "--json"))["result"]
    assert [row["id"] for row in rows] == threads_of(task)
    (node,) = json.loads(v2.pcont.ok("tree", v2.at(), "--json"))["result"]
    assert [child["tasks"] for child in node["children"]] == [3]


def test_tasks_are_attached_all_or_none(v2: Top, start: Start, tmp_path: Path) -> None:
    first, second = start(threads=2), start()
    v2.pcont.ok("create", v2.at("/a"), v2.at("/b"))
    v2.pcont.ok("attach", v2.at("/a"), str(first))
    v2.pcont.fails(7, "attach", v2.at("/b"), str(first), str(second), "2")
    file = tmp_path / "lines"
    file.write_text(f"attach {v2.at('/b')} {first} {second}\nrm {v2.at('/none')}\n")
    assert "everything before it was undone" in v2.pcont.fails(3, "batch", "--atomic", str(file))
    assert {is_in(v2, one) for one in threads_of(first)} == {"/a"}
    assert v2.pcont.paths(second)[UNIFIED] == "/"


def test_a_single_thread_does_not_leave_its_process(v2: Top, start: Start) -> None:
    task = threads_of(start(threads=2))[1]
    for words in (("--dry-run", "attach"), ("attach",)):
        said = v2.pcont.fails(6, *words, "--thread", v2.at(), str(task))
        assert "cgroup v2 moves a thread without its process only within a threaded" in said
    assert v2.pcont.fails(6, "set", v2.at(), f"cgroup.threads={task}")
    v2.pcont.ok("set", v2.at(), f"cgroup.procs={task}")
    assert is_in(v2, task) == ""


def test_all_tasks_of_a_container_are_moved(v2: Top, start: Start) -> None:
    tasks = [start(threads=2), start()]
    v2.pcont.ok("create", v2.at("/a"), v2.at("/b"))
    v2.pcont.ok("attach", v2.at("/a"), *map(str, tasks))
    planned = v2.pcont.ok("--dry-run", "move", v2.at("/a"), v2.at("/b")).splitlines()
    writes = [f"echo {task} > {directory(v2, '/b')}/cgroup.procs" for task in sorted(tasks)]
    switches = [f"{directory(v2, path)}/cgroup.freeze" for path in ("/a", "/b")]
    on, off = ([f"echo {value} > {one}" for one in switches] for value in (1, 0))
    assert planned == [*on, *writes, *reversed(off)]
    v2.pcont.ok("move", v2.at("/a"), v2.at("/b"))
    assert {is_in(v2, one) for task in tasks for one in threads_of(task)} == {"/b"}
    assert [v2.pcont.get(v2.at(path), "cgroup.freeze") for path in ("/a", "/b")] == ["0", "0"]
    assert "frozen 0" in v2.pcont.ok("get", v2.at("/b"), "cgroup.events")


def test_a_target_with_other_tasks_is_not_frozen(v2: Top, start: Start) -> None:
    v2.pcont.ok("create", "-p", v2.at("/a"), v2.at("/b/c"), v2.at("/d"))
    for path in ("/a", "/b/c", "/d"):
        v2.pcont.ok("attach", v2.at(path), str(start()))
    for target in ("/b", "/d"):
        planned = v2.pcont.ok("--dry-run", "move", v2.at("/a"), v2.at(target))
        assert planned.count("cgroup.freeze") == 2
        assert f"{directory(v2, target)}/cgroup.freeze" not in planned


def test_frozen_tasks_are_not_thawed_by_a_move(v2: Top, start: Start) -> None:
    v2.pcont.ok("create", v2.at("/a"), v2.at("/b"))
    v2.pcont.ok("attach", v2.at("/a"), str(start()))
    v2.pcont.ok("set", v2.at("/a"), "cgroup.freeze=1")
    said = v2.pcont.fails(5, "move", v2.at("/a"), v2.at("/b"))
    assert f"pcont set {v2.at('/a')} cgroup.freeze=0" in said
    v2.pcont.ok("set", v2.at("/b"), "cgroup.freeze=1")
    v2.pcont.ok("move", v2.at("/a"), v2.at("/b"))
    assert v2.pcont.get(v2.at("/a"), "cgroup.freeze") == "1"


def test_a_container_in_use_is_not_removed(v2: Top, start: Start) -> None:
    v2.pcont.ok("create", "-p", v2.at("/a/b"))
    assert "containers are in it: b" in v2.pcont.fails(5, "rm", v2.at("/a"))
    task = start()
    v2.pcont.ok("attach", v2.at("/a/b"), str(task))
    assert f"tasks are in it: {task}" in v2.pcont.fails(5, "rm", "-r", v2.at("/a"))
    assert v2.pcont.children(v2.at("/a")) == ["b"]


def test_tasks_are_evicted(v2: Top, start: Start) -> None:
    task = start(threads=2)
    v2.pcont.ok("create", "-p", v2.at("/a/b"))
    v2.pcont.ok("attach", v2.at("/a/b"), str(task))
    v2.pcont.ok("rm", "-r", "--evict", v2.at("/a"))
    assert {is_in(v2, one) for one in threads_of(task)} == {""}


@pytest.mark.parametrize("frozen", [False, True])
def test_tasks_are_killed(v2: Top, start: Start, frozen: bool) -> None:
    inside, above = start(threads=2), start()
    v2.pcont.ok("create", "-p", v2.at("/a/b"))
    v2.pcont.ok("attach", v2.at("/a/b"), str(inside))
    v2.pcont.ok("attach", v2.at(), str(above))
    if frozen:
        v2.pcont.ok("set", v2.at(), "cgroup.freeze=1")
    v2.pcont.ok("rm", "-r", "--kill", v2.at("/a"))
    assert v2.is_killed(inside)
    assert is_in(v2, above) == ""
    v2.pcont.ok("set", v2.at(), "cgroup.freeze=0")


def test_removals_are_undone_with_settings(v2: Top, tmp_path: Path) -> None:
    v2.pcont.ok("create", v2.at("/a"), v2.at("/b"), "-s", "cgroup.max.depth=2")
    v2.mkdir("/b/in")
    said = v2.pcont.fails(5, "rm", v2.at("/a"), v2.at("/b"))
    assert "containers are in it: in" in said
    lines = [f"rm {v2.at('/a')}", f"create {v2.at('/c')}", f"rm {v2.at('/b')}"]
    file = tmp_path / "lines"
    file.write_text("".join(f"{line}\n" for line in lines))
    v2.pcont.fails(5, "batch", "--atomic", str(file))
    assert v2.pcont.children(v2.at()) == ["a", "b"]
    assert v2.pcont.get(v2.at("/a"), "cgroup.max.depth") == "2"


def test_a_command_runs_in_a_container(v2: Top) -> None:
    show = ("--", "cat", "/proc/self/cgroup")
    for words in (("run", v2.at()), ("run", "--create", v2.at("/a/b"))):
        path = v2.path + words[-1].removeprefix(v2.at())
        assert v2.is_model or f"0::{path}\n" in v2.pcont.ok(*words, *show)
        assert not v2.is_model or v2.pcont.ok(*words, "--", "true") == ""
    v2.pcont.ok("run", "--create", "--auto-delete", v2.at("/c"), "--", "true")
    assert v2.pcont.children(v2.at()) == ["a"]


def test_pcont_does_not_freeze_or_kill_itself(v2: Top) -> None:
    v2.pcont.ok("attach", v2.at(), str(os.getpid()))
    try:
        for setting in ("cgroup.freeze=1", "cgroup.kill=1"):
            said = v2.pcont.fails(4, "--force", "set", v2.at(), setting)
            assert f"it has PID {os.getpid()}, which pcont needs" in said
        v2.pcont.fails(4, "rm", "--kill", v2.at())
    finally:
        v2.pcont.ok("attach", "unified:/", str(os.getpid()))
    assert v2.pcont.get(v2.at(), "cgroup.freeze") == "0"


def test_the_time_of_a_container_is_shown_in_one_row(v2: Top) -> None:
    v2.pcont.ok("create", v2.at("/a"), v2.at("/b"))
    busy = subprocess.Popen(["sh", "-c", "while :; do :; done"])
    try:
        v2.pcont.ok("attach", v2.at("/a"), str(busy.pid))
        words = ("get", v2.at("/a"), "cpuacct.load", "--window", "0.5")
        assert eventually(lambda: _stat(v2, "")[0]["load"] > 0)
        assert eventually(lambda: float(v2.pcont.ok(*words)) > 0)
        (row,) = _stat(v2, "/a")
    finally:
        busy.kill()
        busy.wait()
    assert (row["cpu"], row["used"]) == (None, row["user"] + row["system"])
    assert row["user"] > row["system"]
    assert [(row["cpu"], row["used"]) for row in _stat(v2, "/b")] == [(None, 0)]


def _stat(top: Top, path: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = top.pcont("stat", top.at(path), "--window", "0.2", "--json").json
    return rows


def test_a_refused_create_shows_the_directory(v2: Top) -> None:
    v2.pcont.ok("set", v2.at(), "cgroup.max.depth=0")
    said = v2.pcont.fails(8, "create", v2.at("/a"))
    assert f"at: {v2.pcont.backend().show(v2.place('/a'))}" in said


def test_get_prints_the_key_as_it_was_asked_for(v2: Top) -> None:
    found = v2.pcont.ok("get", v2.at(), "freezer.state", "cgroup.freeze")
    assert found.splitlines() == ["freezer.state=THAWED", "cgroup.freeze=0"]


def test_a_refused_move_names_the_file_that_was_written_last(
    v2: Top, start: Callable[..., int]
) -> None:
    v2.mkdir("/a")
    v2.mkdir("/b")
    v2.write("/b", "cgroup.type", "threaded")
    said = v2.pcont.fails(6, "attach", v2.at("/a"), str(start()))
    assert f"at: {v2.pcont.backend().show(v2.place('/a'), 'cgroup.procs')}" in said


def test_rm_lists_the_tasks_by_number(v2: Top, start: Callable[..., int]) -> None:
    tasks = sorted(start() for _ in range(3))
    v2.pcont.ok("create", v2.at("/a"))
    for task in reversed(tasks):
        v2.pcont.ok("attach", v2.at("/a"), str(task))
    said = v2.pcont.fails(5, "rm", v2.at("/a"))
    assert f"tasks are in it: {', '.join(map(str, tasks))}\n" in said


def test_a_zombie_is_in_no_container(v2: Top) -> None:
    v2.pcont.ok("create", v2.at("/a"))
    task = os.fork()
    if task == 0:
        signal.pause()
        os._exit(0)
    v2.pcont.ok("attach", v2.at("/a"), str(task))
    os.kill(task, signal.SIGKILL)
    assert eventually(lambda: v2.pcont.backend().task(task).exited)
    assert v2.pcont.ok("ps", v2.at("/a")) == ""
    assert eventually(lambda: v2.pcont.backend().task(task).state == "Z")
    v2.pcont.ok("rm", v2.at("/a"))
    # The model forgets a process of the machine when it ends.
    assert v2.is_model or is_in(v2, task) == "/a", "without the mark of a removed container"
    v2.pcont.fails(3, "attach", v2.at(), str(task))
    os.waitpid(task, 0)


@pytest.mark.parametrize(
    ("key", "instead"),
    [
        ("notify_on_release", "release agent"),
        ("auto_delete", "release agent"),
        ("release_agent", "release agent"),
        ("cgroup.clone_children", "cgroup v1"),
    ],
)
def test_a_key_of_v1_is_refused_with_the_reason(v2: Top, key: str, instead: str) -> None:
    for words in (("get", v2.at(), key), ("set", v2.at(), f"{key}=1")):
        said = v2.pcont.fails(6, *words)
        assert f"cannot have {key}" in said
        assert "cgroup v" in said
        assert instead in said


def test_a_controller_that_v1_has_is_not_in_v2(v2: Top) -> None:
    if "memory" in v2.text("", "cgroup.controllers", of_root=True).split():
        elsewhere("v2 has memory")
    for words in (("get", v2.at(), "memory.max"), ("set", v2.at(), "memory.max=64M")):
        assert "cgroup v2 does not have memory on this machine" in v2.pcont.fails(3, *words)


@pytest.mark.parametrize(
    "words",
    [
        "umount unified",
        "umount --foreign unified",
        "bind unified pids",
        "unbind --yes unified pids",
        "clone unified:/ --pid {own}",
    ],
)
def test_what_is_not_done_on_v2_is_refused(v2: Top, words: str) -> None:
    assert "cgroup v2" in v2.pcont.fails(6, *words.format(own=os.getpid()).split())


def test_the_name_of_the_hierarchy_is_reserved(v2: Top) -> None:
    assert "reserved" in v2.pcont.fails(7, "mount", "-o", "none", "--name", UNIFIED)


# Threaded containers


@pytest.fixture
def threaded(v2: Top) -> Top:
    """The container of the test with two threaded children."""
    v2.pcont.ok("create", v2.at("/a"), v2.at("/b"), "-s", "cgroup.type=threaded")
    return v2


def test_children_become_threaded(threaded: Top) -> None:
    assert threaded.pcont.get(threaded.at(), "cgroup.type") == "domain threaded"
    assert threaded.pcont.get(threaded.at("/a"), "cgroup.type") == "threaded"
    assert "cgroup.type=threaded" in threaded.pcont.ok("tree", threaded.at())
    said = threaded.pcont.fails(7, "set", threaded.at("/a"), "cgroup.type=domain")
    assert "a threaded container cannot become a domain again" in said


def test_threads_are_apart_in_a_threaded_subtree(threaded: Top, start: Start) -> None:
    task = start(threads=3)
    first, *others = threads_of(task)
    threaded.pcont.ok("attach", threaded.at("/a"), str(task))
    threaded.pcont.ok("attach", "--thread", threaded.at("/b"), str(others[0]))
    assert [is_in(threaded, one) for one in (first, *others)] == ["/a", "/b", "/a"]
    assert re.findall(r"^\d+", threaded.pcont.ok("ps", threaded.at("/b")), re.M) == [str(others[0])]
    row = threaded.pcont.ok("where", str(task)).splitlines()[-1]
    assert f"1×{threaded.path}/b" in row
    threaded.pcont.ok("move", threaded.at("/a"), threaded.at("/b"))
    assert {is_in(threaded, one) for one in threads_of(task)} == {"/b"}


def test_threads_return_to_where_they_were(threaded: Top, start: Start, tmp_path: Path) -> None:
    task = start(threads=2)
    first, second = threads_of(task)
    threaded.pcont.ok("attach", threaded.at("/a"), str(task))
    threaded.pcont.ok("attach", "--thread", threaded.at("/b"), str(second))
    file = tmp_path / "lines"
    file.write_text(f"attach {threaded.at()} {task}\nrm {threaded.at('/none')}\n")
    threaded.pcont.fails(3, "batch", "--atomic", str(file))
    assert [is_in(threaded, one) for one in (first, second)] == ["/a", "/b"]


def test_the_processes_of_threaded_containers_are_killed(threaded: Top, start: Start) -> None:
    task = start(threads=2)
    threaded.pcont.ok("attach", threaded.at("/a"), str(task))
    threaded.pcont.ok("rm", "--kill", threaded.at("/a"))
    assert threaded.is_killed(task)


def test_a_process_with_threads_in_several_containers_is_killed(
    threaded: Top, start: Start
) -> None:
    task = start(threads=2)
    threaded.pcont.ok("attach", threaded.at("/a"), str(task))
    threaded.pcont.ok("attach", "--thread", threaded.at("/b"), str(threads_of(task)[1]))
    threaded.pcont.ok("rm", "-r", "--kill", threaded.at())
    assert threaded.is_killed(task)
    threaded.pcont.ok("create", threaded.at())


def test_a_plain_child_of_a_threaded_container_takes_no_tasks(threaded: Top, start: Start) -> None:
    threaded.pcont.ok("create", threaded.at("/a/c"))
    task = start()
    threaded.pcont.ok("attach", threaded.at("/a"), str(task))
    for words in (("--dry-run", "attach"), ("attach",)):
        said = threaded.pcont.fails(6, *words, threaded.at("/a/c"), str(task))
        assert f"pcont set {threaded.at('/a/c')} cgroup.type=threaded" in said
    threaded.pcont.ok("set", threaded.at("/a/c"), "cgroup.type=threaded")
    threaded.pcont.ok("attach", threaded.at("/a/c"), str(task))
