"""where, ps and tree: in, outside or split; and clone, which needs to know."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from tests.contract.conftest import Jobs, Pcont, starts_empty, threads_of


def row(pcont: Pcont, task: int, hierarchy: str) -> dict[str, object]:
    rows = json.loads(pcont.ok("where", str(task), "--json"))["result"]
    return dict(next(one for one in rows if one["hierarchy"] == hierarchy))


def test_where_lists_every_hierarchy(jobs: Jobs, start: Callable[..., int]) -> None:
    pid = start()
    jobs.pcont.ok("create", "-p", "-i", jobs.at("/a/b"))
    jobs.pcont.ok("attach", jobs.at("/a/b"), str(pid))
    found = row(jobs.pcont, pid, jobs.name)
    assert (found["container"], found["state"]) == ("/a/b", "in")
    rows = json.loads(jobs.pcont.ok("where", str(pid), "--json"))["result"]
    assert {one["hierarchy"] for one in rows} == {
        one["name"] for one in json.loads(jobs.pcont.ok("hierarchies", "--json"))["result"]
    }
    assert f"{jobs.name}\t/a/b\tin\n" in jobs.pcont.ok("where", str(pid))


def test_where_of_an_unknown_task(jobs: Jobs) -> None:
    jobs.pcont.fails(3, "where", "4194305")
    jobs.pcont.fails(2, "where", "me")


def test_threads_elsewhere_are_counted(jobs: Jobs, start: Callable[..., int]) -> None:
    pid = start(threads=4)
    jobs.pcont.ok("create", "-i", jobs.at("/a"), jobs.at("/b"))
    jobs.pcont.ok("attach", jobs.at("/a"), str(pid))
    jobs.pcont.ok("attach", "--thread", jobs.at("/b"), *map(str, threads_of(pid)[2:]))
    found = row(jobs.pcont, pid, jobs.name)
    assert found["container"] == "/a"
    assert list(dict(found["elsewhere"]).values()) == [2]  # type: ignore[call-overload]


@pytest.fixture
def tied(pcont: Pcont, name: str) -> Iterator[Jobs]:
    """A tie without a freezer, at a container of its own."""
    bound = ["cpuset", "cpuacct"] if starts_empty(pcont) else []
    for controller in bound:
        pcont.ok("mount", "-o", controller)
    words = ["--at", f"/{name}", "--no-freezer"]
    pcont.ok("mount", "--tie", "--name", name, "-o", "cpuset,cpuacct", *words)
    pcont.ok("create", "-i", f"{name}:/a", f"{name}:/b")
    yield Jobs(pcont, name, {"cpuset": "cpuset", "cpuacct": "cpuacct"})
    pcont.ok("rm", "-r", "--kill", f"{name}:/a", f"{name}:/b")
    pcont.ok("umount", name)
    for controller in bound:
        pcont.ok("umount", controller)


@pytest.mark.quick
def test_a_task_in_two_containers_of_a_tie_is_split(tied: Jobs, start: Callable[..., int]) -> None:
    pcont, pid = tied.pcont, start()
    pcont.ok("attach", tied.at("/a"), str(pid))
    rehearsed = pcont("attach", "-n", f"cpuset:/{tied.name}/b", str(pid))
    assert f"task {pid} would be split in {tied.name}: " in rehearsed.err
    noted = pcont("attach", f"cpuset:/{tied.name}/b", str(pid))
    assert noted.status == 0
    assert f"task {pid} is now split in {tied.name}: " in noted.err
    assert f"/{tied.name}/b in cpuset" in noted.err
    assert f"pcont attach {tied.at('/a')} {pid} moves all of it there" in noted.err
    found = row(pcont, pid, tied.name)
    assert (found["container"], found["state"]) == (None, "split")
    said = pcont.fails(5, "clone", tied.name, "--pid", str(pid))
    assert f"/{tied.name}/b in cpuset" in said
    assert f"/{tied.name}/a in cpuacct" in said
    assert f"pcont clone {tied.at('/a')} --pid {pid}" in said
    printed = pcont.ok("ps", tied.at("/a"))
    assert "cpuset" in printed.split("\t")[4]
    pcont.ok("attach", tied.at("/a"), str(pid))
    assert row(pcont, pid, tied.name)["container"] == "/a"


def test_a_task_that_is_in_step_after_all_is_not_said_to_be_split(
    tied: Jobs, start: Callable[..., int]
) -> None:
    """Tree by tree it goes where the others are: only what is split is reported."""
    pcont, pid = tied.pcont, start()
    pcont.ok("attach", tied.at("/a"), str(pid))
    for command in ("attach", "set"):
        there = [str(pid)] if command == "attach" else [f"cgroup.procs={pid}"]
        for tree, said in (("cpuset", "split"), ("cpuacct", "split"), (f"name={tied.name}", "")):
            path = "/b" if tree.startswith("name=") else f"/{tied.name}/b"
            answer = pcont(command, f"{tree}:{path}", *there)
            assert answer.status == 0
            assert answer.err.count("split") == bool(said), answer.err
            again = pcont(command, f"{tree}:{path}", *there)
            assert (again.status, again.err) == (0, "")
        pcont.ok("attach", tied.at("/a"), str(pid))


def test_a_move_in_one_tree_reports_how_many_it_has_split(
    tied: Jobs, start: Callable[..., int]
) -> None:
    pcont, pids = tied.pcont, [start(), start()]
    pcont.ok("attach", tied.at("/a"), *map(str, pids))
    a, b = (f"cpuset:/{tied.name}/{path}" for path in "ab")
    moved = pcont("move", a, b)
    assert f"2 tasks are now split in {tied.name}: {pids[0]}, {pids[1]} (pcont where" in moved.err
    evicted = pcont("rm", "--evict", b)
    assert "outside of" in evicted.err or "split in" in evicted.err
    assert f"{tied.at('/b')} is partial now" in evicted.err
    pcont.ok("create", "-i", tied.at("/b"))


def test_what_leaves_another_tie_is_reported(
    tied: Jobs, start: Callable[..., int], name: str
) -> None:
    """Two ties that share a tree: a task is in step in the one that it was attached to last."""
    pcont, pid, other = tied.pcont, start(), f"{name}o"
    words = ["-o", "cpuacct", "--at", f"/{other}", "--no-freezer"]
    pcont.ok("mount", "--tie", "--name", other, *words)
    try:
        pcont.ok("create", f"{other}:/c")
        pcont.ok("attach", tied.at("/a"), str(pid))
        answer = pcont("attach", f"{other}:/c", str(pid))
        assert f"task {pid} is now outside of {tied.name}: " in answer.err
        answer = pcont("attach", tied.at("/a"), str(pid))
        assert f"task {pid} is now outside of {other}: " in answer.err
        answer = pcont("attach", tied.at("/b"), str(pid))
        assert (answer.status, answer.err) == (0, "")  # it has left the other tie before
    finally:
        pcont.ok("rm", "-r", "--evict", f"{other}:/c")
        pcont.ok("umount", other)


def test_a_container_of_one_tree_is_partial_until_the_others_have_it(tied: Jobs) -> None:
    places = [f"{tree}:/{tied.name}/x" for tree in ("cpuset", "cpuacct")]
    notes = [tied.pcont("create", place).err for place in (*places, f"name={tied.name}:/x")]
    assert [f"{tied.at('/x')} is partial now" in note for note in notes] == [True, True, False]
    notes = [tied.pcont("rm", place).err for place in (f"name={tied.name}:/x", *places)]
    assert ["is partial now" in note for note in notes] == [True, True, False]


def test_a_task_that_was_placed_by_others_is_outside(tied: Jobs, start: Callable[..., int]) -> None:
    """Never put into the tie: in the root of its home, and in the members above its root."""
    pcont, pid = tied.pcont, start()
    found = row(pcont, pid, tied.name)
    assert (found["container"], found["state"]) == (None, "outside")
    out = pcont.ok("clone", tied.name, "--pid", str(pid))
    assert out == f"{tied.at(f'/node_{pid}')}\n"
    assert row(pcont, pid, tied.name)["container"] == f"/node_{pid}"
    pcont.ok("rm", "--evict", tied.at(f"/node_{pid}"))


def test_clone_of_a_process_makes_a_child_where_it_is(
    jobs: Jobs, start: Callable[..., int]
) -> None:
    pid = start(threads=3)
    jobs.pcont.ok("create", "-i", jobs.at("/a"), "-s", "cpus=1")
    jobs.pcont.ok("attach", jobs.at("/a"), str(pid))
    assert jobs.pcont.ok("clone", jobs.name, "--pid", str(pid)) == f"{jobs.at(f'/a/node_{pid}')}\n"
    for task in threads_of(pid):
        assert row(jobs.pcont, task, jobs.name)["container"] == f"/a/node_{pid}"
    assert jobs.pcont.get(jobs.at(f"/a/node_{pid}"), "cpuset.cpus") == "1"
    jobs.pcont.ok("clone", f"{jobs.name}:", "--pid", str(pid))
    assert row(jobs.pcont, pid, jobs.name)["container"] == f"/a/node_{pid}/node_{pid}"


def test_clone_where_the_name_exists_is_busy(jobs: Jobs, start: Callable[..., int]) -> None:
    pid = start()
    jobs.pcont.ok("create", "-p", "-i", jobs.at(f"/a/node_{pid}"))
    jobs.pcont.ok("attach", jobs.at("/a"), str(pid))
    said = jobs.pcont.fails(5, "clone", jobs.name, "--pid", str(pid))
    assert f"node_{pid}" in said
    assert row(jobs.pcont, pid, jobs.name)["container"] == "/a"


def test_clone_needs_a_process_or_a_command(jobs: Jobs) -> None:
    jobs.pcont.fails(2, "clone", jobs.name)
    jobs.pcont.fails(2, "clone", jobs.name, "--pid", "x")
    jobs.pcont.fails(3, "clone", jobs.name, "--pid", "4194305")


def test_tree_shows_containers_tasks_and_settings(jobs: Jobs, start: Callable[..., int]) -> None:
    jobs.pcont.ok("create", "-p", "-i", jobs.at("/a/b"), jobs.at("/c"), "-s", "cpus=1")
    jobs.pcont.ok("attach", jobs.at("/a/b"), str(start(threads=3)))
    lines = jobs.pcont.ok("tree", jobs.at("/a")).splitlines()
    assert [line.split("\t")[:2] for line in lines] == [
        [jobs.at("/a"), "tasks=0"],
        [jobs.at("/a/b"), "tasks=3"],
    ]
    assert "cpuset.cpus=1" in lines[1].split("\t")
    assert jobs.pcont.ok("tree", jobs.name).startswith(f"{jobs.at('/')}\t")
    assert jobs.at("/c") in jobs.pcont.ok("tree")
    jobs.pcont.fails(3, "tree", jobs.at("/no"))
    jobs.pcont.fails(3, "tree", "no-such-hierarchy")


def test_ps_shows_name_user_and_command(jobs: Jobs, start: Callable[..., int]) -> None:
    pid = start()
    jobs.pcont.ok("create", "-i", jobs.at("/a"))
    jobs.pcont.ok("attach", jobs.at("/a"), str(pid))
    (found,) = json.loads(jobs.pcont.ok("ps", "--json", jobs.at("/a")))["result"]
    assert (found["id"], found["pid"], found["command"]) == (pid, pid, "sleep 600")
    jobs.pcont.fails(3, "ps", jobs.at("/no"))
