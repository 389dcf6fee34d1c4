"""`pcont.open()` on model and kernel: a verb does what its command does, and returns the same."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

import pcont as library
from pcont.errors import (
    BadValue,
    Busy,
    Cancelled,
    CommandNotFound,
    Denied,
    NotFound,
    UsageProblem,
)
from pcont.records import Started
from tests.contract.conftest import Jobs, Pcont, eventually, starts_empty, threads_of
from tests.json_docs import fields_of_record


@pytest.fixture
def k(jobs: Jobs) -> Iterator[library.Pcont]:
    """The library over the backend that has the hierarchy of the main job."""
    with jobs.pcont.library() as it:
        yield it


def printed(pcont: Pcont, *words: str) -> Any:
    """What a command prints with --json."""
    return json.loads(pcont.ok(*words, "--json"))["result"]


def as_json(result: Any) -> Any:
    """What --json would print of a record."""
    return json.loads(json.dumps(fields_of_record(result)))


# What is there


@pytest.mark.parametrize("verb", ["subsys", "hierarchies", "doctor", "pins", "recover"])
def test_a_verb_returns_what_its_command_prints(jobs: Jobs, k: library.Pcont, verb: str) -> None:
    jobs.pcont.ok("create", jobs.at("/a"))
    assert as_json(getattr(k, verb)()) == printed(jobs.pcont, verb)


def without_time(values: dict[str, Any]) -> dict[str, Any]:
    """The values of control files that do not change while a task runs."""
    return {key: value for key, value in values.items() if not key.startswith("cpuacct.")}


def test_verbs_of_a_place_return_what_their_commands_print(
    jobs: Jobs, k: library.Pcont, start: Callable[..., int]
) -> None:
    place, pid = k.place(jobs.at("/a")).create(inherit=True), start()
    assert place.attach(pid).moved == 1
    (shown,) = printed(jobs.pcont, "tree", jobs.at("/a"))
    node = as_json(place.tree())
    for one in (node, shown):
        one["settings"] = without_time(one["settings"])
    assert node == shown
    assert node["tasks"] == 1
    assert eventually(lambda: place.ps()[0].state == "S")  # it has begun to sleep
    assert as_json(place.ps()) == printed(jobs.pcont, "ps", jobs.at("/a"))
    assert as_json(k.where(pid)) == printed(jobs.pcont, "where", str(pid))
    values = without_time({one.key: one.value for one in place.get()})
    assert values == without_time(printed(jobs.pcont, "get", jobs.at("/a")))
    assert "notify_on_release" in values
    (ours,) = [one for one in k.hierarchies() if one.name == jobs.name]
    assert ours.tied == (len(ours.trees) > 1)


# Containers and settings


def test_what_one_makes_the_other_sees(jobs: Jobs, k: library.Pcont) -> None:
    made = k.create(jobs.at("/a"), jobs.at("/a/b"), inherit=True, settings={"notify_on_release": 0})
    assert made == [jobs.at("/a"), jobs.at("/a/b")]
    assert jobs.pcont.get(jobs.at("/a/b"), "notify_on_release") == "0"
    jobs.pcont.ok("rm", jobs.at("/a/b"))
    assert k.place(jobs.at("/a")).tree().children == ()
    assert k.rm(jobs.at("/a"), jobs.at("/never"), missing_ok=True) == [jobs.at("/a")]


def test_containers_are_created_all_or_none(jobs: Jobs, k: library.Pcont) -> None:
    k.create(jobs.at("/old"))
    with pytest.raises(Busy) as caught:
        k.create(jobs.at("/a"), jobs.at("/old"))
    assert caught.value.errno_name == "EEXIST"
    assert [child.name for child in k.tree(jobs.at("/"))[0].children] == ["old"]


def test_settings_are_written_all_or_none(jobs: Jobs, k: library.Pcont) -> None:
    place = k.place(jobs.at("/a")).create(inherit=True)
    before = place.value("notify_on_release")
    with pytest.raises(BadValue):
        place.set({"notify_on_release": 1 - int(before), "cpuset.cpus": "none"})
    assert place.value("notify_on_release") == before
    assert place.set({"notify_on_release": True}) == ["notify_on_release"]
    assert jobs.pcont.get(jobs.at("/a"), "notify_on_release") == "1"


def test_a_dry_run_plans_what_the_command_plans(jobs: Jobs, k: library.Pcont) -> None:
    plan = k.using(dry_run=True)
    plan.create(jobs.at("/a"), inherit=True)
    words = ("create", "-i", jobs.at("/a"), "--dry-run")
    assert plan.planned == jobs.pcont.ok(*words).splitlines()
    assert len(plan.planned) >= 1
    assert k.tree(jobs.at("/"))[0].children == ()


def test_a_container_in_use_is_removed_with_its_tasks_or_without(
    jobs: Jobs, k: library.Pcont, start: Callable[..., int]
) -> None:
    pid = start()
    for options in ({"evict": True}, {"kill": True}):
        place = k.place(jobs.at("/a")).create(inherit=True)
        place.attach(pid)
        with pytest.raises(Busy):
            place.rm()
        assert place.rm(**options) == [jobs.at("/a")]
    assert k.rm(jobs.at("/a"), missing_ok=True) == []


# Tasks


def test_processes_move_with_all_their_threads(
    jobs: Jobs, k: library.Pcont, start: Callable[..., int]
) -> None:
    k.create(jobs.at("/a"), jobs.at("/b"), inherit=True)
    pid, other = start(3), start()
    ids = threads_of(pid)
    assert k.attach(jobs.at("/a"), pid, other, tree=True).moved == 2
    assert sorted(one.id for one in k.ps(jobs.at("/a"))) == sorted([*ids, other])
    assert k.move(jobs.at("/a"), jobs.at("/b")).moved == 4
    assert k.ps(jobs.at("/a")) == []
    (row,) = [one for one in k.where(pid) if one.hierarchy == jobs.name]
    assert (row.container, row.state) == ("/b", "in")


def test_a_range_and_a_list_may_have_ids_of_no_task(
    jobs: Jobs, k: library.Pcont, start: Callable[..., int]
) -> None:
    notes: list[str] = []
    place = k.using(warn=notes.append).place(jobs.at("/a")).create(inherit=True)
    pid, ended = start(), start()
    os.kill(ended, signal.SIGKILL)
    os.waitid(os.P_PID, ended, os.WEXITED | os.WNOWAIT)
    assert place.attach(f"{pid}-{pid}", listed=[ended]).moved == 1
    assert any("ended" in note for note in notes)
    with pytest.raises(NotFound):
        place.attach(ended)


def test_what_is_protected_needs_force(jobs: Jobs, k: library.Pcont) -> None:
    k.create(jobs.at("/a"), inherit=True)
    with pytest.raises(Denied) as caught:
        k.using(dry_run=True).attach(jobs.at("/a"), 1)
    assert caught.value.hint == "using(force=True) does it"
    assert k.using(dry_run=True, force=True).attach(jobs.at("/a"), 1).stragglers == 0


# Commands


def test_run_waits_and_returns_the_status(jobs: Jobs, k: library.Pcont) -> None:
    announced: list[Started] = []
    ended = k.run(jobs.at("/a"), ["sh", "-c", "exit 3"], create=True, started=announced.append)
    assert (ended.place, ended.status) == (jobs.at("/a"), 3)
    assert announced == [Started(jobs.at("/a"), ended.pid)]
    assert ended.pid != os.getpid()
    assert k.place(jobs.at("/a")).tree().path == "/a"  # it is kept
    ended = k.place(jobs.at("/a")).run(["sh", "-c", "kill -TERM $$"])
    assert ended.status == 128 + signal.SIGTERM


def test_run_removes_the_container_if_it_is_to_delete_itself(jobs: Jobs, k: library.Pcont) -> None:
    assert k.run(jobs.at("/a"), ["true"], create=True, auto_delete=True).status == 0
    assert eventually(lambda: not k.tree(jobs.at("/"))[0].children)


def test_run_refuses_a_command_that_does_not_exist_before_any_change(
    jobs: Jobs, k: library.Pcont
) -> None:
    with pytest.raises(CommandNotFound):
        k.run(jobs.at("/a"), ["pcont-has-no-such-command"], create=True)
    assert k.tree(jobs.at("/"))[0].children == ()


def test_a_dry_run_of_run_starts_nothing(jobs: Jobs, k: library.Pcont) -> None:
    plan = k.using(dry_run=True)
    assert plan.run(jobs.at("/a"), ["false"], create=True).pid == 0
    assert plan.planned[-1] == "exec false"
    assert k.tree(jobs.at("/"))[0].children == ()


def test_run_may_replace_this_process(jobs: Jobs, k: library.Pcont) -> None:
    k.create(jobs.at("/a"), inherit=True)
    pid = os.fork()
    if pid == 0:
        try:
            k.run(jobs.at("/a"), ["sh", "-c", 'test "$$" = "$0"', str(os.getpid())], replace=True)
        finally:
            os._exit(70)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_clone_makes_a_container_for_a_command_and_removes_it(jobs: Jobs, k: library.Pcont) -> None:
    k.create(jobs.at("/a"), inherit=True)
    ended = k.clone(jobs.at("/a"), ["sh", "-c", "exit 4"])
    assert (ended.place, ended.status) == (jobs.at(f"/a/node_{ended.pid}"), 4)
    assert k.tree(jobs.at("/a"))[0].children == ()
    kept = k.clone(jobs.at("/a"), ["true"], keep=True)
    assert [child.name for child in k.tree(jobs.at("/a"))[0].children] == [f"node_{kept.pid}"]


def test_clone_moves_a_process_into_a_container_of_its_own(
    jobs: Jobs, k: library.Pcont, start: Callable[..., int]
) -> None:
    k.create(jobs.at("/a"), inherit=True)
    pid = start()
    assert k.clone(jobs.at("/a"), pid=pid) == jobs.at(f"/a/node_{pid}")
    assert [one.id for one in k.ps(jobs.at(f"/a/node_{pid}"))] == [pid]


def test_clone_takes_a_process_or_a_command(jobs: Jobs, k: library.Pcont) -> None:
    with pytest.raises(UsageProblem):
        k.clone(jobs.at("/"), [])


# Hierarchies


def test_a_hierarchy_is_mounted_and_unmounted(pcont: Pcont, name: str) -> None:
    with pcont.library() as k:
        done = k.mount("none", name=name)
        assert done.hierarchy == name
        assert (name, done.mountpoint) in [(one.name, one.mountpoint) for one in k.hierarchies()]
        k.umount(done.mountpoint)
        assert name not in [one.name for one in k.hierarchies()]
        with pytest.raises(NotFound):
            k.umount(name)


@pytest.fixture
def plain(pcont: Pcont, name: str) -> Iterator[str]:
    """A hierarchy without controllers, with a container; pids has a tree of its own."""
    free = starts_empty(pcont)
    if free:
        pcont.ok("mount", "-o", "pids")
    pcont.ok("mount", "-o", "none", "--name", name)
    pcont.ok("create", f"{name}:/{name}")
    yield f"{name}:/{name}"
    pcont.ok("rm", f"{name}:/{name}")
    pcont.ok("umount", name)
    if free:
        pcont.ok("umount", "pids")


def test_a_subsystem_is_bound_and_unbound_if_the_caller_agrees(
    pcont: Pcont, plain: str, name: str
) -> None:
    asked: list[str] = []

    def refuse(ceasing: Sequence[str]) -> bool:
        asked.extend(ceasing)
        return False

    with pcont.library() as k:
        assert k.bind(name, ["pids"], settings={f"/{name}:pids.max": 7}) == ("pids",)
        assert k.value(plain, "pids.max") == 7
        with pytest.raises(Cancelled):
            k.unbind(name, "pids", confirm=refuse)
        assert asked == [f"{plain} pids.max=7"]
        assert k.value(plain, "pids.max") == 7
        done = k.unbind(name, ["pids"])
        assert (done.subsystems, done.ceased) == (("pids",), (f"{plain} pids.max=7",))
        with pytest.raises(NotFound):
            k.value(plain, "pids.max")


def test_pinned_namespaces_are_joined_and_unpinned(pcont: Pcont, name: str) -> None:
    with pcont.library() as k:
        k.mount("none", name=name)
        try:
            k.clone(name, ["true"], ns=["uts"], pin=name)
            assert [one.kind for one in k.pins() if one.name == name] == ["uts"]
            assert k.run(name, ["true"], join=name).status == 0
            assert k.unpin(name) == [name]
            assert name not in [one.name for one in k.pins()]
        finally:
            k.umount(name)


def test_gc_removes_what_no_task_has_entered(pcont: Pcont, name: str) -> None:
    with pcont.library() as k:
        k.mount("none", name=name)
        place = k.place(f"{name}:/a").create(settings={"auto_delete": 1})
        assert [(one.done, one.what) for one in k.gc(name)] == [("removed", str(place))]
        with pytest.raises(NotFound, match="has no cpuset"):
            k.gc(name, cpus=True)
        k.umount(name)


# Many at once


def test_a_signal_undoes_the_verb_and_raises_interrupted(jobs: Jobs, k: library.Pcont) -> None:
    def progress(done: int, of: int) -> None:
        if done == 1:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(library.Interrupted) as caught:
        k.using(progress=progress).create(jobs.at("/a"), jobs.at("/b"), jobs.at("/c"))
    assert (caught.value.number, caught.value.undone, caught.value.left) == (
        signal.SIGINT,
        True,
        [],
    )
    assert k.tree(jobs.at("/"))[0].children == ()


def test_a_timeout_ends_the_wait_for_another_program(jobs: Jobs, k: library.Pcont) -> None:
    holds, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        with jobs.pcont.backend().exclusive():
            holds.set()
            let_go.wait()

    other = threading.Thread(target=hold)
    other.start()
    try:
        holds.wait()
        with pytest.raises(Busy, match="another pcont command is at work"):
            k.using(timeout=0).create(jobs.at("/a"))
    finally:
        let_go.set()
        other.join()
    assert k.create(jobs.at("/a")) == [jobs.at("/a")]
