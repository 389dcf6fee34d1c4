"""Hierarchies with subsystems of cgroup v2: ties of a home and a container of cgroup v2."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pcont import api as library
from pcont.kernel.types import LEAF_NAME, UNIFIED, Place
from tests.conftest import elsewhere
from tests.contract.conftest import (
    KERNEL_ALONE,
    V2_ALONE,
    Jobs,
    Pcont,
    Top,
    clear,
    command_line,
    threads_of,
)
from tests.waiting import eventually

Start = Callable[..., int]
NEEDED = ("cpu", "cpuset", "memory", "pids")
UMBRELLA = "/pcont"


class Plain(Pcont):
    """The command line without --backend, which would take controllers for v1."""

    def library(self) -> library.Pcont:
        return library.open()


def plain_line(request: pytest.FixtureRequest, tmp_path: Path, dialect: str) -> Pcont:
    """The command line without --backend on a mount of cgroup2, or that of a model."""
    if request.param == "model":
        pcont = command_line("model", tmp_path, "--dialect", dialect)
        pcont.ok("sim", "machine", "--cpus", "0-3", "--nodes", "0-1")
        return pcont
    request.getfixturevalue("cgroup2")
    return Plain(())


def v2(pcont: Pcont) -> Top:
    """The root of cgroup v2."""
    return Top(pcont, UNIFIED, "")


def point(pcont: Pcont, path: str = "/") -> str:
    """The directory of a container of cgroup v2."""
    return pcont.backend().show(Place(UNIFIED, path))


def has(pcont: Pcont, path: str) -> bool:
    return v2(pcont).exists(path)


def read(pcont: Pcont, path: str, file: str) -> str:
    return v2(pcont).text(path, file, of_root=True).strip()


def enabled(pcont: Pcont, path: str) -> set[str]:
    return {*read(pcont, path, "cgroup.subtree_control").split()}


# The tests enable controllers in the root of cgroup v2, so no other program may use it, and v1 may
# have none of the controllers.
@pytest.fixture(params=V2_ALONE)
def plain(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pcont]:
    """The command line without --backend, where cgroup v2 has the controllers NEEDED and no
    container. That of the model has the option.
    """
    pcont = plain_line(request, tmp_path, "v2")
    if lacking := {*NEEDED} - {*read(pcont, "/", "cgroup.controllers").split()}:
        elsewhere(f"v2 has no {', '.join(lacking)}")
    before = enabled(pcont, "/")
    yield pcont
    assert not has(pcont, UMBRELLA)
    for name in enabled(pcont, "/") - before:
        v2(pcont).write("/", "cgroup.subtree_control", f"-{name}", of_root=True)


only_kernel_here = pytest.mark.parametrize("plain", [KERNEL_ALONE], indirect=True)


def mounted(pcont: Pcont, name: str, subsystems: str, *more: str) -> Iterator[Jobs]:
    pcont.ok("mount", "-o", subsystems, "--name", name, *more)
    yield Jobs(pcont, name, {})
    clear(pcont, name)
    umount(pcont, name)


def umount(pcont: Pcont, name: str) -> None:
    """Unmount a hierarchy, after the killed children of this process are no longer in it."""

    def is_done() -> bool:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        return pcont("umount", name).status == 0

    assert eventually(is_done)


@pytest.fixture
def jobs(plain: Pcont, name: str) -> Iterator[Jobs]:
    """A threaded hierarchy. A test that starts tasks asks for it last: it kills them."""
    yield from mounted(plain, name, "cpuset,cpuacct,pids")


def on_v2(jobs: Jobs, path: str = "") -> str:
    """The path in cgroup v2 of a container of the hierarchy."""
    return f"{UMBRELLA}/{jobs.name}{path}"


def places(jobs: Jobs, task: int) -> tuple[str, str]:
    """Where a task is in the hierarchy: in the home, and in cgroup v2."""
    paths = jobs.pcont.paths(task)
    return paths[f"name={jobs.name}"], paths[UNIFIED].removeprefix(on_v2(jobs))


def test_a_mount_makes_a_home_and_a_container_of_v2(plain: Pcont, name: str) -> None:
    words = ("mount", "-o", "cpuset,cpuacct", "--name", name)
    lines = plain.ok("mount", "--dry-run", *words[1:]).splitlines()
    assert f"mkdir {point(plain, f'{UMBRELLA}/{name}')}" in lines
    assert f"echo +cpuset > {point(plain, UMBRELLA)}/cgroup.subtree_control" in lines
    assert not has(plain, UMBRELLA)
    printed = plain.ok(*words)
    assert printed.startswith(f"{name}\t/")
    assert plain.ok(*words) == printed, "the same is the same"
    plain.ok("mount", "--tie", *words[1:])
    for path in ("/", UMBRELLA, f"{UMBRELLA}/{name}"):
        assert enabled(plain, path) == {"cpuset"}
    rows = json.loads(plain.ok("hierarchies", "--json"))["result"]
    (row,) = [row for row in rows if row["name"] == name]
    assert row["subsystems"] == ["cpuset", "cpuacct"]
    assert [(tree["id"], tree["at"]) for tree in row["trees"]] == [
        (f"name={name}", "/"),
        (UNIFIED, f"{UMBRELLA}/{name}"),
    ]
    assert f"{name}\t2 trees with the same containers" in plain.ok("doctor")
    umount(plain, name)
    assert not has(plain, UMBRELLA)
    assert name not in plain.ok("hierarchies")


def test_another_set_of_that_name_is_refused(jobs: Jobs) -> None:
    said = jobs.pcont.fails(5, "mount", "-o", "cpuset", "--name", jobs.name)
    assert f"{jobs.name} exists, and has -o cpuset,cpuacct,pids" in said
    assert f", with the root unified:{on_v2(jobs)}\n" in said
    said = jobs.pcont.fails(5, "mount", "-o", "pids,cpuset,cpuacct", "--name", "other")
    assert f"are already one hierarchy: {jobs.name}" in said
    jobs.pcont.ok("mount", "-o", "pids,cpuset,cpuacct", "--name", jobs.name)


def test_a_hierarchy_of_v2_needs_a_name(plain: Pcont, tmp_path: Path) -> None:
    said = plain.fails(6, "mount", "-o", "cpuset")
    assert "pcont mount -o cpuset --name" in said
    plain.fails(7, "mount", "-o", "cpuset", "--name", "cpuset")
    assert not has(plain, UMBRELLA)
    plain.ok("mount", "-o", "cpuset", str(tmp_path / "here"))
    assert has(plain, f"{UMBRELLA}/here")
    plain.ok("umount", "here")


def test_the_same_tasks_are_in_one_hierarchy_of_v2(jobs: Jobs, plain: Pcont) -> None:
    said = plain.fails(5, "mount", "-o", "cpu", "--name", "more")
    assert f"a task is in one container of cgroup v2, and {jobs.name} uses it for cpuset" in said
    assert f"pcont bind {jobs.name} cpu" in said
    assert "make a hierarchy for other tasks: pcont mount -o cpu --name more --at /more" in said
    assert "pcont bind" not in plain.fails(5, "mount", "-o", "memory", "--name", "more")
    inside = on_v2(jobs, "/x")
    plain.fails(5, "mount", "-o", "cpu", "--name", "more", "--at", inside)
    assert not has(jobs.pcont, inside)
    assert "more" not in plain.ok("hierarchies")


def test_at_chooses_another_place(jobs: Jobs, plain: Pcont, name: str, start: Start) -> None:
    other = f"{name}-at"
    words = ("mount", "-o", "cpuset,pids", "--name", other, "--at", f"/{other}/x")
    plain.ok(*words)
    plain.ok(*words)
    plain.ok("create", f"{other}:/a", "-s", "cpuset.cpus=1")
    task = start()
    plain.ok("attach", f"{other}:/a", str(task))
    assert plain.paths(task)[UNIFIED] == f"/{other}/x/a"
    assert plain.affinity(task) == "1"
    plain.ok("rm", "--kill", f"{other}:/a")
    umount(plain, other)
    assert not has(jobs.pcont, f"/{other}")
    assert has(jobs.pcont, UMBRELLA)


def test_new_containers_are_threaded_and_have_the_controllers(jobs: Jobs) -> None:
    jobs.pcont.ok("create", "-p", jobs.at("/a/b"), "-s", "cpuset.cpus=1", "-s", "pids.max=9")
    assert read(jobs.pcont, on_v2(jobs, "/a"), "cgroup.type") == "threaded"
    assert read(jobs.pcont, on_v2(jobs, "/a/b"), "cgroup.type") == "threaded"
    assert enabled(jobs.pcont, on_v2(jobs, "/a")) == {"cpuset", "pids"}
    assert read(jobs.pcont, on_v2(jobs, "/a/b"), "pids.max") == "9"
    found = {*jobs.pcont.ok("get", jobs.at("/a/b")).splitlines()}
    assert {"pids.max=9", "cpuset.cpus=1", "auto_delete=0", "cgroup.type=threaded"} <= found
    jobs.pcont.ok("create", jobs.at("/a/c"), jobs.at("/a/b/d"), jobs.at("/e"))
    assert read(jobs.pcont, on_v2(jobs, "/a/b/d"), "cgroup.type") == "threaded"
    assert jobs.pcont.children(jobs.at("/a")) == ["b", "c"]


def test_a_container_without_lists_takes_tasks(jobs: Jobs, start: Start) -> None:
    """It uses those of its parent, so that nothing is to be said about it."""
    made = jobs.pcont("create", "-p", jobs.at("/a/b"), "-s", "pids.max=9")
    assert (made.status, made.out, made.err) == (0, "", "")
    jobs.pcont.ok("attach", jobs.at("/a/b"), str(start()))


def test_a_container_made_by_mkdir_is_completed(jobs: Jobs, start: Start) -> None:
    jobs.pcont.ok("create", jobs.at("/a"))
    made = on_v2(jobs, "/x")
    for path in (made, f"{made}/y"):
        v2(jobs.pcont).mkdir(path)
    assert read(jobs.pcont, on_v2(jobs, "/x"), "cgroup.type") == "domain invalid"
    assert "is partial" in jobs.pcont.fails(3, "attach", jobs.at("/x"), str(os.getpid()))
    lines = jobs.pcont.ok(
        "create", "--dry-run", "-p", jobs.at("/x/y"), jobs.at("/x/z")
    ).splitlines()
    assert lines.count(f"echo threaded > {point(jobs.pcont, made)}/cgroup.type") == 1
    jobs.pcont.ok("create", "-p", jobs.at("/x/y"))
    assert read(jobs.pcont, on_v2(jobs, "/x/y"), "cgroup.type") == "threaded"
    task = start()
    jobs.pcont.ok("attach", jobs.at("/x/y"), str(task))
    assert places(jobs, task) == ("/x/y", "/x/y")
    jobs.pcont.ok("rm", "--kill", "-r", jobs.at("/x"))
    assert not has(jobs.pcont, made)


def test_processes_and_threads_move_in_both_trees(jobs: Jobs, start: Start) -> None:
    jobs.pcont.ok("create", "-p", jobs.at("/a/b"), jobs.at("/c"), "-s", "cpuset.cpus=1")
    task = start(threads=3)
    _, second, third = threads_of(task)
    said = jobs.pcont.fails(6, "attach", "--thread", jobs.at("/a"), str(second))
    assert "cgroup v2 moves a thread without its process only within a threaded" in said
    assert places(jobs, second)[0] == "/"
    jobs.pcont.ok("attach", jobs.at("/a/b"), str(task))
    assert {places(jobs, one) for one in threads_of(task)} == {("/a/b", "/a/b")}
    assert jobs.pcont.affinity(task) == "1"
    jobs.pcont.ok("attach", "--thread", jobs.at("/c"), str(second))
    assert places(jobs, second) == ("/c", "/c")
    assert places(jobs, third) == ("/a/b", "/a/b")
    jobs.pcont.ok("attach", "--thread", jobs.at("/"), str(third))
    assert places(jobs, third) == ("/", "")
    rows = json.loads(jobs.pcont.ok("ps", jobs.at("/c"), "--json"))["result"]
    assert [row["id"] for row in rows] == [second]
    (row,) = [
        row
        for row in json.loads(jobs.pcont.ok("where", str(task), "--json"))["result"]
        if row["hierarchy"] == jobs.name
    ]
    assert (row["container"], row["state"]) == ("/a/b", "in")
    jobs.pcont.ok("attach", jobs.at("/"), str(task))
    assert {places(jobs, one) for one in threads_of(task)} == {("/", "")}


def test_the_root_of_a_threaded_hierarchy_has_its_tasks_itself(jobs: Jobs, start: Start) -> None:
    """The kernel admits tasks and threaded controllers together, so that there is no leaf."""
    task = start(threads=2)
    jobs.pcont.ok("attach", jobs.at("/"), str(task))
    assert not has(jobs.pcont, on_v2(jobs, "/pcont.tasks"))
    jobs.pcont.ok("bind", jobs.name, "cpu")
    jobs.pcont.ok("create", "-p", jobs.at("/a/b"))
    jobs.pcont.ok("attach", "--thread", jobs.at("/a/b"), str(threads_of(task)[1]))
    assert [places(jobs, one) for one in threads_of(task)] == [("/", ""), ("/a/b", "/a/b")]


def test_a_child_below_is_left_alone_by_an_attach_to_the_root(jobs: Jobs, start: Start) -> None:
    jobs.pcont.ok("create", jobs.at("/a"))
    with subprocess.Popen(
        ["sh", "-c", "sleep 600 & echo $!; wait"], stdout=subprocess.PIPE, text=True
    ) as shell:
        assert shell.stdout
        child = int(shell.stdout.readline())
        jobs.pcont.ok("attach", jobs.at("/a"), str(child))
        jobs.pcont.ok("attach", jobs.at("/"), str(shell.pid))
        assert places(jobs, shell.pid) == ("/", "")
        assert places(jobs, child) == ("/a", "/a")
        os.kill(child, signal.SIGKILL)


def test_all_or_none_of_the_tasks_are_attached(jobs: Jobs, start: Start) -> None:
    """v2 refuses single threads from outside after the home has taken them."""
    jobs.pcont.ok("create", jobs.at("/a"), jobs.at("/b"))
    inside, outside = start(threads=2), start(threads=2)
    jobs.pcont.ok("attach", jobs.at("/a"), str(inside))
    tasks = [str(threads_of(one)[1]) for one in (inside, outside)]
    jobs.pcont.fails(6, "attach", "--thread", jobs.at("/b"), *tasks)
    assert places(jobs, int(tasks[0])) == ("/a", "/a")
    assert places(jobs, int(tasks[1]))[0] == "/"


def test_a_move_takes_all_and_freezes(jobs: Jobs, start: Start) -> None:
    jobs.pcont.ok("create", jobs.at("/a"), jobs.at("/b"))
    tasks = [start(threads=2), start()]
    for task in tasks:
        jobs.pcont.ok("attach", jobs.at("/a"), str(task))
    lines = jobs.pcont.ok("move", "--dry-run", jobs.at("/a"), jobs.at("/b")).splitlines()
    assert lines[0] == f"echo 1 > {point(jobs.pcont, on_v2(jobs, '/a'))}/cgroup.freeze"
    jobs.pcont.ok("move", jobs.at("/a"), jobs.at("/b"))
    everything = [one for task in tasks for one in threads_of(task)]
    assert {places(jobs, one) for one in everything} == {("/b", "/b")}
    assert jobs.pcont.get(jobs.at("/a"), "freezer.state") == "THAWED"
    jobs.pcont.ok("set", jobs.at("/b"), "freezer.state=FROZEN")
    assert eventually(lambda: "frozen 1" in read(jobs.pcont, on_v2(jobs, "/b"), "cgroup.events"))
    jobs.pcont.ok("set", jobs.at("/b"), "freezer.state=THAWED")


def test_settings_by_the_names_of_v1(jobs: Jobs) -> None:
    jobs.pcont.ok("create", jobs.at("/a"))
    jobs.pcont.ok("set", jobs.at("/a"), "cpus=1", "pids.max=7", "notify_on_release=1")
    assert jobs.pcont.get(jobs.at("/a"), "cpuset.effective_cpus") == "1"
    assert jobs.pcont.get(jobs.at("/a"), "notify_on_release") == "1"
    jobs.pcont.ok("create", jobs.at("/b"), "-s", "cgroup.clone_children=1", "-s", "auto_delete=1")
    assert jobs.pcont.get(jobs.at("/b"), "cgroup.clone_children") == "1"
    assert jobs.pcont.get(jobs.at("/a"), "cpuacct.usage") == "0"
    jobs.pcont.fails(6, "set", jobs.at("/a"), "cpuacct.usage=0")
    jobs.pcont.fails(7, "set", jobs.at("/a"), "pids.max=8", "notify_on_release=x")
    assert jobs.pcont.get(jobs.at("/a"), "pids.max") == "7"
    said = jobs.pcont.fails(3, "set", jobs.at("/a"), "memory.max=1G")
    assert f"{jobs.name} has no memory" in said


@only_kernel_here
def test_run_starts_a_command_in_both_trees(jobs: Jobs) -> None:
    out = jobs.pcont.ok("run", "--create", jobs.at("/x/y"), "--", "cat", "/proc/self/cgroup")
    paths = dict(line.split(":", 1) for line in out.splitlines())
    assert paths["0"] == f":{on_v2(jobs, '/x/y')}"
    assert f"name={jobs.name}:/x/y" in paths.values()


def test_a_clone_makes_a_container_below(jobs: Jobs, start: Start) -> None:
    jobs.pcont.ok("create", jobs.at("/a"))
    task = start()
    jobs.pcont.ok("attach", jobs.at("/a"), str(task))
    jobs.pcont.ok("clone", jobs.at("/"), "--pid", str(task))
    assert places(jobs, task) == (f"/a/node_{task}",) * 2


def test_rm_kills_and_evicts(jobs: Jobs, start: Start) -> None:
    jobs.pcont.ok("create", "-p", jobs.at("/a/b"), jobs.at("/c"))
    killed, evicted = start(threads=2), start(threads=2)
    jobs.pcont.ok("attach", jobs.at("/a/b"), str(killed))
    jobs.pcont.ok("attach", jobs.at("/c"), str(evicted))
    assert "are in it" in jobs.pcont.fails(5, "rm", jobs.at("/c"))
    jobs.pcont.ok("rm", "--evict", jobs.at("/c"))
    assert {places(jobs, one) for one in threads_of(evicted)} == {("/", "")}
    jobs.pcont.ok("rm", "-r", "--kill", jobs.at("/a"))
    assert not has(jobs.pcont, on_v2(jobs, "/a"))
    os.kill(evicted, signal.SIGKILL)


def test_removals_are_undone(jobs: Jobs, tmp_path: Path) -> None:
    jobs.pcont.ok("create", "-p", jobs.at("/a/b"), "-s", "cpuset.cpus=1", "-s", "auto_delete=0")
    file = tmp_path / "lines"
    file.write_text(f"rm -r {jobs.at('/a')}\ncreate {jobs.at('/c')}\nrm {jobs.at('/none')}\n")
    jobs.pcont.fails(3, "batch", "--atomic", str(file))
    assert jobs.pcont.children(jobs.at("/")) == ["a"]
    assert read(jobs.pcont, on_v2(jobs, "/a/b"), "cgroup.type") == "threaded"
    assert read(jobs.pcont, on_v2(jobs, "/a/b"), "cpuset.cpus") == "1"
    assert enabled(jobs.pcont, on_v2(jobs, "/a")) == {"cpuset", "pids"}


def test_a_container_is_removed_with_its_last_task(jobs: Jobs, start: Start) -> None:
    jobs.pcont.ok("create", "-p", jobs.at("/a/b"))
    jobs.pcont.ok("set", jobs.at("/a/b"), "auto_delete=1")
    jobs.pcont.ok("run", jobs.at("/a/b"), "--", "true")
    # The model removes it when a command looks.
    assert eventually(lambda: jobs.pcont.children(jobs.at("/a")) == [])
    assert eventually(lambda: not has(jobs.pcont, on_v2(jobs, "/a/b")))


@only_kernel_here
def test_the_release_agent_of_the_home_runs(jobs: Jobs, tmp_path: Path) -> None:
    said, agent = tmp_path / "said", tmp_path / "agent"
    agent.write_text(f'#!/bin/sh\necho "$1" >> {said}\n')
    agent.chmod(0o755)
    jobs.pcont.ok("set", jobs.at("/"), f"release_agent={agent}", "notify_on_release=1")
    jobs.pcont.ok("create", jobs.at("/a"))
    jobs.pcont.ok("run", jobs.at("/a"), "--", "true")
    assert eventually(lambda: said.exists() and said.read_text() == "/a\n")


def test_it_stays_active_with_containers(jobs: Jobs, start: Start) -> None:
    jobs.pcont.ok("create", jobs.at("/a"), "-s", "cpuset.cpus=1")
    task = start()
    jobs.pcont.ok("attach", jobs.at("/a"), str(task))
    assert "stays active" in jobs.pcont("umount", jobs.name).err
    assert jobs.pcont.affinity(task) == "1"
    assert "active, not mounted" in jobs.pcont.ok("hierarchies")
    jobs.pcont.fails(5, "mount", "-o", "cpuset", "--name", jobs.name)
    jobs.pcont.ok("mount", "-o", "cpuset,cpuacct,pids", "--name", jobs.name)
    assert places(jobs, task) == ("/a", "/a")
    jobs.pcont.ok("rm", "--kill", jobs.at("/a"))


def test_the_tasks_of_a_hierarchy_that_is_not_mounted_are_in_no_other_one(
    jobs: Jobs, plain: Pcont
) -> None:
    jobs.pcont.ok("create", jobs.at("/a"))
    jobs.pcont.ok("umount", jobs.name)
    inside = ("--at", on_v2(jobs, "/x"))
    for more in ((), inside):
        said = plain.fails(5, "mount", "-o", "cpu", "--name", "more", *more)
        assert f"{jobs.name}, which is active but not mounted, uses unified:{on_v2(jobs)}" in said
        assert f"pcont mount --name {jobs.name}" in said
    for other in mounted(plain, "more", "cpu", "--at", "/more"):
        plain.ok("create", other.at("/b"))
    jobs.pcont.ok("mount", "--name", jobs.name)
    assert jobs.pcont.children(jobs.at("/")) == ["a"]


def test_what_others_need_is_kept(plain: Pcont, name: str) -> None:
    plain.ok("mount", "-o", "cpuset", "--name", name)
    plain.ok("create", f"unified:{UMBRELLA}/kept")
    plain.ok("umount", name)
    assert not has(plain, f"{UMBRELLA}/{name}")
    assert has(plain, f"{UMBRELLA}/kept")
    plain.ok("rm", "-r", f"unified:{UMBRELLA}")


def test_a_mount_that_fails_leaves_nothing(plain: Pcont, name: str) -> None:
    before = enabled(plain, "/")
    plain.ok("create", f"unified:{UMBRELLA}")
    v2(plain).write(UMBRELLA, "cgroup.max.descendants", "0", of_root=True)
    said = plain.fails(8, "mount", "-o", "cpuset,pids", "--name", name)
    assert "the limit of 0 containers" in said
    assert enabled(plain, "/") == before
    assert enabled(plain, UMBRELLA) == set()
    assert name not in plain.ok("hierarchies")
    plain.ok("rm", f"unified:{UMBRELLA}")


@only_kernel_here
def test_one_hierarchy_of_both_kinds(plain: Pcont, name: str, start: Start) -> None:
    for jobs in mounted(plain, name, "cpuset,devices"):
        rows = json.loads(plain.ok("hierarchies", "--json"))["result"]
        (row,) = [row for row in rows if row["name"] == name]
        assert [tree["id"] for tree in row["trees"]] == [f"name={name}", "devices", UNIFIED]
        plain.ok("create", jobs.at("/a"), "-s", "cpuset.cpus=1", "-s", "devices.deny=a")
        task = start()
        plain.ok("attach", jobs.at("/a"), str(task))
        assert plain.paths(task)["devices"] == "/a"
        assert places(jobs, task) == ("/a", "/a")
    assert "devices" not in plain.trees()


@only_kernel_here
def test_devices_are_mounted_for_v1(plain: Pcont, name: str) -> None:
    plain.ok("mount", "-o", "devices", "--name", name)
    assert f"devices,name={name}" in plain.trees()
    plain.ok("umount", name)


def test_a_subsystem_is_bound_and_unbound_in_use(jobs: Jobs, start: Start) -> None:
    jobs.pcont.ok("create", "-p", jobs.at("/a/b"), jobs.at("/c"), "-s", "pids.max=50")
    task = start(threads=2)
    jobs.pcont.ok("attach", jobs.at("/a/b"), str(task))
    jobs.pcont.ok("attach", jobs.at("/"), str(start()))
    before = {
        path: enabled(jobs.pcont, path) for path in ("/", UMBRELLA, on_v2(jobs), on_v2(jobs, "/a"))
    }
    lines = jobs.pcont.ok("bind", "--dry-run", jobs.name, "cpu").splitlines()
    assert lines[0] == f"echo +cpu > {point(jobs.pcont)}/cgroup.subtree_control"
    bad = ("-s", "/a/b:cpu.weight=20000")
    jobs.pcont.fails(7, "bind", jobs.name, "cpu", *bad)
    assert {path: enabled(jobs.pcont, path) for path in before} == before
    jobs.pcont.ok("bind", jobs.name, "cpu", "-s", "/a/b:cpu.weight=50")
    assert {path: enabled(jobs.pcont, path) - before[path] for path in before} == {
        path: {"cpu"} for path in before
    }
    assert read(jobs.pcont, on_v2(jobs, "/a/b"), "cpu.weight") == "50"
    jobs.pcont.ok("create", jobs.at("/a/b/d"), "-s", "cpu.shares=512")
    assert "already has cpu" in jobs.pcont.fails(5, "bind", jobs.name, "cpu")
    assert {places(jobs, one) for one in threads_of(task)} == {("/a/b", "/a/b")}

    ceasing = jobs.pcont("unbind", jobs.name, "pids", "--dry-run")
    assert (
        f"echo -pids > {point(jobs.pcont, on_v2(jobs, '/a'))}/cgroup.subtree_control" in ceasing.out
    )
    assert read(jobs.pcont, on_v2(jobs, "/a/b"), "pids.max") == "50"
    found = jobs.pcont("unbind", jobs.name, "pids", "--yes")
    assert found.status == 0, found.err
    assert f"{jobs.at('/a/b')} pids.max=50" in found.out + found.err
    assert "pids.max" not in jobs.pcont.backend().files(Place(UNIFIED, on_v2(jobs, "/a/b")))
    assert "pids" not in enabled(jobs.pcont, on_v2(jobs)) | enabled(jobs.pcont, UMBRELLA)
    assert "pids" not in jobs.pcont.ok("hierarchies").split(f"{jobs.name}\t")[1].split("\t")[0]
    assert {places(jobs, one) for one in threads_of(task)} == {("/a/b", "/a/b")}


def test_what_needs_whole_processes_is_not_bound_to_a_threaded_hierarchy(jobs: Jobs) -> None:
    said = jobs.pcont.fails(6, "bind", jobs.name, "memory")
    assert f"{jobs.name} is threaded, and memory does not support threads" in said
    assert "memory" not in enabled(jobs.pcont, "/")


def test_a_hierarchy_gets_its_part_of_v2_later(plain: Pcont, name: str, start: Start) -> None:
    for jobs in mounted(plain, name, "none"):
        plain.ok("create", "-p", jobs.at("/a/b"))
        task = start(threads=2)
        plain.ok("attach", jobs.at("/a"), str(task))
        plain.ok("attach", "--thread", jobs.at("/a/b"), str(threads_of(task)[1]))
        plain.ok("bind", name, "cpuset,cpuacct", "-s", "/a/b:cpuset.cpus=1")
        assert [places(jobs, one) for one in threads_of(task)] == [("/a", "/a"), ("/a/b", "/a/b")]
        assert plain.affinity(threads_of(task)[1]) == "1"
        plain.ok("create", jobs.at("/a/b/c"), "-s", "cpuset.cpus=0-1")
        plain.ok("unbind", name, "cpuset,cpuacct", "--yes")
        assert not has(plain, UMBRELLA)
        assert plain.paths(task)[UNIFIED] == "/"
        assert plain.paths(task)[f"name={name}"] == "/a"
        assert plain.children(jobs.at("/a/b")) == ["c"]


def test_memory_is_bound_to_containers_with_children_and_tasks(
    plain: Pcont, name: str, start: Start
) -> None:
    """The tasks are in the leaf of a container that enables memory for its children."""
    for jobs in mounted(plain, name, "none"):
        plain.ok("create", "-p", jobs.at("/a/b"))
        task, other = start(threads=2), start()
        plain.ok("attach", jobs.at("/a"), str(task))
        plain.ok("attach", jobs.at("/a/b"), str(other))
        leaf = f"{point(plain)}{on_v2(jobs, '/a')}/{LEAF_NAME}".replace("//", "/")
        assert f"mkdir {leaf}" in plain.ok("--dry-run", "bind", name, "memory").splitlines()
        plain.ok("bind", name, "memory", "-s", "/a/b:memory.max=64M")
        assert [places(jobs, one) for one in (task, other)] == [("/a", "/a"), ("/a/b", "/a/b")]
        assert read(plain, on_v2(jobs, f"/a/{LEAF_NAME}"), "cgroup.procs") == str(task)
        plain.ok("unbind", name, "memory", "--yes")
        assert plain.paths(task)[UNIFIED] == "/"


def test_memory_is_not_bound_to_processes_with_threads_in_several_containers(
    plain: Pcont, name: str, start: Start
) -> None:
    for jobs in mounted(plain, name, "none"):
        plain.ok("create", jobs.at("/a"), jobs.at("/b"))
        task = start(threads=2)
        thread = str(threads_of(task)[1])
        plain.ok("attach", "--thread", jobs.at("/a"), thread)
        for words in (("--dry-run", "bind"), ("bind",)):
            said = plain.fails(5, *words, name, "memory")
            assert f"the threads of process {task} are in different containers" in said
            assert f"pcont attach {name}:/a {task}" in said
        assert not has(plain, UMBRELLA)
        plain.ok("attach", jobs.at("/a"), str(task))
        plain.ok("bind", name, "memory")
        assert [places(jobs, one) for one in threads_of(task)] == [("/a", "/a")] * 2


def test_a_bind_that_cannot_end_is_undone(
    plain: Pcont, name: str, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process whose threads another program has put into different containers since."""
    monkeypatch.setattr("pcont.ops.unified.check_whole", lambda *words: None)
    monkeypatch.setattr("pcont.steps.mirror.MIRROR_PATIENCE", 0.5)
    for jobs in mounted(plain, name, "none"):
        plain.ok("create", jobs.at("/a"), jobs.at("/b"))
        task = start(threads=2)
        plain.ok("attach", jobs.at("/a"), str(task))
        plain.ok("attach", "--thread", jobs.at("/b"), str(threads_of(task)[1]))
        said = plain.fails(8, "bind", name, "memory")
        assert "NOT RESTORED" not in said
        assert plain.paths(task)[UNIFIED] == "/"
        assert not has(plain, UMBRELLA)


def test_a_hierarchy_with_memory_has_whole_processes(plain: Pcont, name: str, start: Start) -> None:
    for jobs in mounted(plain, name, "memory,cpuacct"):
        plain.ok("create", "-p", jobs.at("/a/b"), "-s", "memory.limit_in_bytes=64M")
        assert read(plain, on_v2(jobs, "/a/b"), "cgroup.type") == "domain"
        assert read(plain, on_v2(jobs, "/a/b"), "memory.max") == str(64 << 20)
        task = start(threads=2)
        plain.ok("attach", jobs.at("/a/b"), str(task))
        assert {places(jobs, one) for one in threads_of(task)} == {("/a/b", "/a/b")}
        plain.ok("create", jobs.at("/a/c"))
        said = plain.fails(6, "attach", "--thread", jobs.at("/a/c"), str(threads_of(task)[1]))
        assert "cgroup v2 moves a thread without its process only within a threaded" in said
        plain.ok("bind", name, "pids")
        assert read(plain, on_v2(jobs, "/a/b"), "pids.max") == "max"


def test_containers_with_whole_processes_have_children_and_tasks(
    plain: Pcont, name: str, start: Start
) -> None:
    for jobs in mounted(plain, name, "memory,pids"):
        plain.ok("create", jobs.at("/a"), "-s", "memory.max=64M")
        first, second = start(threads=2), start()
        plain.ok("attach", jobs.at("/a"), str(first))
        plain.ok("attach", jobs.at("/"), str(second))
        plain.ok("create", "-p", jobs.at("/a/b/c"), "-s", "pids.max=5")
        assert {places(jobs, one) for one in threads_of(first)} == {("/a", "/a")}
        assert places(jobs, second) == ("/", "")
        plain.ok("move", jobs.at("/a"), jobs.at("/a/b"))
        assert {places(jobs, one) for one in threads_of(first)} == {("/a/b", "/a/b")}
        assert plain.children(jobs.at("/")) == ["a"]
        plain.ok("attach", jobs.at("/a/b/c"), str(second))
        plain.ok("unbind", name, "pids", "--yes")
        assert enabled(plain, on_v2(jobs, "/a")) == {"memory"}
        assert places(jobs, second) == ("/a/b/c", "/a/b/c")
        plain.ok("rm", "-r", "--kill", jobs.at("/a"))


def test_io_is_the_name_of_blkio(plain: Pcont, name: str) -> None:
    for words in ("blkio", "blkio,cpuset"):
        said = plain.fails(6, "mount", "-o", words, "--name", name)
        assert "cgroup v2 calls blkio io" in said
    (row,) = [line for line in plain.ok("doctor").splitlines() if "in use by v2" in line]
    assert "cpu, io, memory" in row, "mount -o takes these names"
    assert "blkio" not in row
    for jobs in mounted(plain, name, "io,memory"):
        plain.ok("create", jobs.at("/a"))
        assert {*read(plain, on_v2(jobs, "/a"), "cgroup.controllers").split()} == {"io", "memory"}
        assert "io:/" in plain.fails(3, "create", "blkio:/x")


def test_all_subsystems_are_one_hierarchy(plain: Pcont, name: str) -> None:
    for jobs in mounted(plain, name, "all"):
        rows = json.loads(plain.ok("hierarchies", "--json"))["result"]
        (row,) = [row for row in rows if row["name"] == name]
        v1 = {"cpuacct", "freezer"} if v2(plain).is_model else {"cpuacct", "freezer", "devices"}
        assert {*NEEDED, "io"} | v1 <= {*row["subsystems"]}
        plain.ok("create", "-p", jobs.at("/a/b"))
        assert {*NEEDED} <= {*read(plain, on_v2(jobs, "/a/b"), "cgroup.controllers").split()}


@only_kernel_here
def test_a_member_of_each_kind_with_a_controller(plain: Pcont, name: str, start: Start) -> None:
    """v1 has pids, which is a member as it is; cgroup v2 has cpuset."""
    forced = Pcont(("--backend", "cgroupfs"))
    forced.ok("mount", "-o", "pids")
    for jobs in mounted(plain, name, "cpuset,pids"):
        rows = json.loads(plain.ok("hierarchies", "--json"))["result"]
        (row,) = [row for row in rows if row["name"] == name]
        assert [tree["id"] for tree in row["trees"]] == [f"name={name}", "pids", UNIFIED]
        plain.ok("create", "-p", jobs.at("/a/b"), "-s", "cpuset.cpus=1", "-s", "pids.max=9")
        task = start(threads=2)
        plain.ok("attach", jobs.at("/a"), str(task))
        plain.ok("attach", "--thread", jobs.at("/a/b"), str(threads_of(task)[1]))
        assert plain.paths(threads_of(task)[1])["pids"] == "/a/b"
        assert [places(jobs, one) for one in threads_of(task)] == [("/a", "/a"), ("/a/b", "/a/b")]
        plain.ok("move", jobs.at("/a/b"), jobs.at("/"))
        assert plain.paths(threads_of(task)[1])["pids"] == "/"
    umount(forced, "pids")


def test_a_list_that_was_empty_is_emptied_again_around_threads(jobs: Jobs, start: Start) -> None:
    jobs.pcont.ok("create", jobs.at("/a"), jobs.at("/b"))
    task = start(threads=3)
    jobs.pcont.ok("attach", jobs.at("/a"), str(task))
    jobs.pcont.ok("attach", "--thread", jobs.at("/b"), str(threads_of(task)[1]))
    said = jobs.pcont.fails(7, "set", jobs.at("/a"), "cpuset.cpus=1", "notify_on_release=x")
    assert "NOT RESTORED" not in said
    assert read(jobs.pcont, on_v2(jobs, "/a"), "cpuset.cpus") == ""
    assert [places(jobs, one)[1] for one in threads_of(task)] == ["/a", "/b", "/a"]
    assert jobs.pcont.backend().children(Place(UNIFIED, on_v2(jobs))) == ["a", "b"]


def test_a_mount_restores_the_root_that_another_program_has_removed(jobs: Jobs) -> None:
    backend = jobs.pcont.backend()
    with backend.exclusive():
        backend.remove(Place(UNIFIED, on_v2(jobs)))
        backend.remove(Place(UNIFIED, UMBRELLA))
    for words in (
        *(("create", jobs.at("/a")), ("create", "-p", jobs.at("/a"))),
        *(("bind", jobs.name, "memset"), ("unbind", "--yes", jobs.name, "cpuset")),
    ):
        said = jobs.pcont.fails(3, *words)
        assert f"{jobs.at('/')} is partial: it is missing in unified" in said
        assert f"pcont mount --name {jobs.name}" in said
    jobs.pcont.ok("mount", "--name", jobs.name)
    jobs.pcont.ok("create", jobs.at("/a"), "-s", "cpuset.cpus=1")
    assert read(jobs.pcont, on_v2(jobs, "/a"), "cgroup.type") == "threaded"


def test_a_root_that_is_removed_is_created_with_a_container_below_it(jobs: Jobs) -> None:
    backend = jobs.pcont.backend()
    with backend.exclusive():
        backend.remove(Place(UNIFIED, on_v2(jobs)))
    said = jobs.pcont("create", "-p", jobs.at("/"), jobs.at("/a/b"))
    assert (said.status, said.err) == (0, "")
    assert read(jobs.pcont, on_v2(jobs, "/a/b"), "cgroup.type") == "threaded"


def test_numtasks_derives_the_limits_of_v2(plain: Pcont, name: str, start: Start) -> None:
    for jobs in mounted(plain, name, "numtasks,cpuset"):
        plain.ok("set", jobs.at("/"), "total_numtasks=1000")
        plain.ok("create", jobs.at("/a"), "-s", "numtasks.shares=max_shares=10")
        plain.ok("create", jobs.at("/a/b"), "-s", "numtasks.shares=max_shares=50")
        limits = [read(plain, on_v2(jobs, path), "pids.max") for path in ("", "/a", "/a/b")]
        assert limits == ["1000", "100", "50"]
        plain.ok("attach", jobs.at("/a/b"), str(start(threads=3)))
        assert "Current usage 3" in plain.get(jobs.at("/a"), "numtasks.stats")
        plain.fails(7, "set", jobs.at("/a"), "numtasks.shares=max_shares=200")
        plain.ok("set", jobs.at("/"), "total_numtasks=500")
        assert read(plain, on_v2(jobs, "/a/b"), "pids.max") == "25"
        plain.ok("unbind", name, "numtasks", "--yes")
        assert read(plain, on_v2(jobs, "/a/b"), "pids.max") == "max"
        plain.ok("bind", name, "numtasks", "-s", "/a:numtasks.shares=max_shares=20")
        assert "max_shares=20" in plain.get(jobs.at("/a"), "numtasks.shares")
    assert "numtasks" not in plain.backend().attributes(Place(UNIFIED)).get("kept", "")


def test_the_files_of_memset_are_other_names_of_those_of_cpuset(plain: Pcont, name: str) -> None:
    for jobs in mounted(plain, name, "memset"):
        plain.ok("create", "-p", jobs.at("/a/b"), "-s", "memset.mems=1")
        found = [key for key in plain("get", jobs.at("/"), "--json").json if "memset." in key]
        words = ("cpus_follow", "effective_mems", "memory_migrate", "mems")
        assert found == [f"memset.{word}" for word in words]
        assert read(plain, on_v2(jobs, "/a/b"), "cpuset.mems") == "1"
        assert plain.get(jobs.at("/a"), "memset.effective_mems") == "0-1"
        plain.ok("set", jobs.at("/a"), "mems=0")
        assert plain.get(jobs.at("/a"), "memset.effective_mems") == "0"
        assert plain.get(jobs.at("/a"), "memset.memory_migrate") == "1"
        plain.ok("set", jobs.at("/a"), "memset.memory_migrate=1")
        for setting in ("memset.memory_migrate=0", "memset.mems=999"):
            plain.fails(7, "set", jobs.at("/a"), setting)
        assert "this machine has no memory nodes 9" in plain.fails(
            7, "set", jobs.at("/a"), "memset.mems=9", "memset.memory_migrate=1"
        )
        said = plain.fails(6, "set", jobs.at("/a"), "memset.mem_hardwall=1", "memset.mems=1")
        assert "cgroup v2 has no hardwall of memory nodes" in said
        assert plain.get(jobs.at("/a"), "memset.mems") == "0"
        plain.fails(6, "get", jobs.at("/a"), "memset.memory_pressure")
        plain.fails(3, "get", jobs.at("/a"), "memset.cpus_follow")


def test_with_memset_alone_the_kernel_gives_the_cpus_of_the_parent(
    plain: Pcont, name: str, start: Start
) -> None:
    for jobs in mounted(plain, name, "memset"):
        plain.ok("create", jobs.at("/a"), jobs.at("/b"))
        assert plain.get(jobs.at("/"), "memset.cpus_follow") == "1"
        assert read(plain, on_v2(jobs, "/a"), "cpuset.cpus") == ""
        task = start()
        plain.ok("attach", jobs.at("/a"), str(task))
        assert plain.affinity(task) == "0-3"
        said = plain.fails(7, "set", jobs.at("/a"), "memset.mems=1", "notify_on_release=x")
        assert "NOT RESTORED" not in said
        assert read(plain, on_v2(jobs, "/a"), "cpuset.mems") == ""
        plain.ok("set", jobs.at("/a"), "cpuset.cpus=1")
        assert plain.affinity(task) == "1"
        assert plain.ok("gc", "-n", name) == ""
        said = plain.fails(5, "bind", name, "cpuset")
        assert f"add cpuset to memset: pcont set {name}:/ memset.cpus_follow=0" in said


def test_memset_is_bound_and_unbound_like_the_others(jobs: Jobs, start: Start) -> None:
    pcont, name = jobs.pcont, jobs.name
    pcont.ok("create", jobs.at("/a"))
    pcont.ok("attach", jobs.at("/a"), str(start()))
    pcont.ok("bind", name, "memset", "-s", "/a:memset.mems=1")  # beside its cpuset
    assert pcont.get(jobs.at("/"), "memset.cpus_follow") == "0"
    assert read(pcont, on_v2(jobs, "/a"), "cpuset.mems") == "1"
    assert "memset requires cpuset" in pcont.fails(5, "unbind", name, "cpuset", "--yes")
    said = pcont.fails(5, "mount", "-o", "memset", "--name", "other")
    assert f"{name} uses it for cpuset, " in said
    for other in mounted(pcont, "other", "memset", "--at", "/other"):
        pcont.ok("create", other.at("/x"), "-s", "memset.mems=0")
    pcont.ok("unbind", name, "memset", "--yes")
    pcont.fails(3, "get", jobs.at("/a"), "memset.mems")
    assert "memset" not in pcont.backend().attributes(Place(UNIFIED)).get("kept", "")
    assert read(pcont, on_v2(jobs, "/a"), "cpuset.mems") == "1"


def test_a_hierarchy_gets_memset_with_cpuset_later(plain: Pcont, name: str, start: Start) -> None:
    for jobs in mounted(plain, name, "none"):
        plain.ok("create", "-p", jobs.at("/a/b"))
        task = start()
        plain.ok("attach", jobs.at("/a/b"), str(task))
        plain.ok("bind", name, "memset", "-s", "/a:memset.mems=0")
        assert places(jobs, task) == ("/a/b", "/a/b")
        assert plain.get(jobs.at("/a/b"), "memset.effective_mems") == "0"
        assert plain.get(jobs.at("/"), "memset.cpus_follow") == "1"
        plain.ok("unbind", name, "memset,cpuset", "--yes")
        assert not has(plain, UMBRELLA)
