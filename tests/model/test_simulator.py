"""The simulator of the model: simulated tasks, and machines with any CPUs."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from pcont.backend_model import Model, StoredModel
from pcont.kernel.types import Place, TreeRequest
from pcont.linux.proc import Proc
from pcont.model.tasks import FIRST_SIMULATED_ID
from pcont.ops import attach, containers
from pcont.session import Session
from tests.model_tasks import wait_for
from tests.test_backend_model import mount
from tests.test_backend_model import refused as refusal

CPUSET, PIDS, FREEZER = "cpuset", "pids", "freezer"


@pytest.fixture
def model(tmp_path: Path) -> Model:
    """Three hierarchies on a machine without tasks, each with a container /a."""
    model = Model(proc=Proc(str(tmp_path)))
    for name in (CPUSET, PIDS, FREEZER):
        mount(model, f"/{name}", name)
        model.make(Place(name, "/a"))
    model.write(Place(CPUSET, "/a"), "cpuset.cpus", "0-1")
    model.write(Place(CPUSET, "/a"), "cpuset.mems", "0")
    return model


def refused(number: int, call: Callable[..., object], *given: object) -> None:
    """A call that must fail with this errno."""
    refusal(number, partial(call, *given))


def inside(model: Model, tree: str, path: str = "/a", file: str = "tasks") -> list[int]:
    return [int(task) for task in model.read(Place(tree, path), file).split()]


def enter(model: Model, task: int, *trees: str) -> None:
    for tree in trees:
        model.write(Place(tree, "/a"), "tasks", str(task))


def test_a_new_task_is_in_every_root_and_has_an_id_that_no_kernel_gives(model: Model) -> None:
    task = model.simulator.spawn("httpd", uid=33)
    assert task == FIRST_SIMULATED_ID > 1 << 22
    assert model.membership(task) == dict.fromkeys((CPUSET, PIDS, FREEZER), "/")
    known = model.task(task)
    assert (known.name, known.pid, known.parent, known.state) == ("httpd", task, 1, "S")
    assert inside(model, PIDS, "/") == [task]
    assert model.affinity(task) == frozenset(range(4))


def test_a_child_is_where_its_parent_is_in_every_hierarchy(model: Model) -> None:
    task = model.simulator.spawn()
    enter(model, task, CPUSET, PIDS)
    child = model.simulator.fork(task)
    assert model.membership(child) == {CPUSET: "/a", PIDS: "/a", FREEZER: "/"}
    assert (model.task(child).parent, model.task(child).pid) == (task, child)
    assert model.affinity(child) == {0, 1}
    assert inside(model, PIDS) == inside(model, PIDS, file="cgroup.procs") == [task, child]


def test_a_fork_between_two_writes_leaves_the_child_in_new_and_old(model: Model) -> None:
    """patch-semantics, 7.2: one hierarchy at a time, and no remedy."""
    task = model.simulator.spawn()
    enter(model, task, CPUSET)
    child = model.simulator.fork(task)
    enter(model, task, PIDS)
    assert model.membership(child)[CPUSET] == "/a"
    assert model.membership(child)[PIDS] == "/"


def test_threads_belong_to_their_process(model: Model) -> None:
    task = model.simulator.spawn()
    thread = model.simulator.thread(task)
    assert model.threads(thread) == model.threads(task) == [task, thread]
    assert model.task(thread).pid == task
    model.write(Place(PIDS, "/a"), "cgroup.procs", str(thread))
    assert inside(model, PIDS) == [task, thread]
    assert inside(model, PIDS, file="cgroup.procs") == [task]
    model.write(Place(FREEZER, "/a"), "tasks", str(thread))
    assert model.membership(task)[FREEZER] == "/"
    model.simulator.exit(thread, thread=True)
    assert model.threads(task) == [task]
    model.simulator.exit(task)
    refused(errno.ESRCH, model.task, task)


def test_a_process_outlives_its_first_thread(model: Model) -> None:
    task = model.simulator.spawn()
    thread = model.simulator.thread(task)
    model.simulator.exit(task, thread=True)
    assert model.threads(thread) == [task, thread]
    assert model.task(task).exited
    assert inside(model, PIDS, "/") == [thread]
    another = model.simulator.thread(thread)
    model.simulator.exit(another)
    for one in (task, thread, another):
        refused(errno.ESRCH, model.threads, one)


def test_a_zombie_is_counted_and_in_no_container_until_it_is_reaped(model: Model) -> None:
    """Tried on Linux 6.18 and 6.1: it may be attached anywhere, and stays nowhere."""
    model.tasks.waited = False
    task = model.simulator.spawn()
    enter(model, task, PIDS)
    refused(errno.ECHILD, wait_for, model, task)
    model.simulator.exit(task)
    assert model.task(task).exited
    assert inside(model, PIDS) == []
    assert model.read(Place(PIDS, "/a"), "pids.current") == "1\n"
    assert set(model.membership(task).values()) == {"/"}
    model.write(Place(PIDS, "/a"), "tasks", str(task))
    assert inside(model, PIDS) == []
    model.remove(Place(PIDS, "/a"))
    wait_for(model, task)
    refused(errno.ESRCH, model.task, task)
    refused(errno.ESRCH, wait_for, model, task)


def test_a_zombie_of_a_removed_container_holds_on_to_its_hierarchy(model: Model) -> None:
    """Tried on Linux 6.18. One in the root does not."""
    model.tasks.waited = False
    task, in_root = model.simulator.spawn(), model.simulator.spawn()
    enter(model, task, PIDS)
    model.simulator.exit(task)
    model.simulator.exit(in_root)
    model.remove(Place(PIDS, "/a"))
    model.umount(f"/{PIDS}")
    assert PIDS in model.membership(in_root)
    mount(model, f"/{PIDS}", PIDS)
    wait_for(model, task)
    model.umount(f"/{PIDS}")
    assert PIDS not in model.membership(in_root)


def test_a_zombie_may_be_attached_where_no_task_may_enter(model: Model) -> None:
    """Tried on Linux 6.18: the write succeeds, and ENOSPC is the answer for any other task."""
    model.tasks.waited = False
    zombie, task = model.simulator.spawn(), model.simulator.spawn()
    model.simulator.exit(zombie)
    model.make(Place(CPUSET, "/empty"))
    refused(errno.ENOSPC, model.write, Place(CPUSET, "/empty"), "tasks", str(task))
    for _ in range(2):  # the second time it is there already
        model.write(Place(CPUSET, "/empty"), "tasks", str(zombie))
    assert inside(model, CPUSET, "/empty") == []


def test_used_time_stays_with_the_root_when_cpuacct_gets_another_hierarchy() -> None:
    model = Model()
    mount(model, "/cg", "cpuacct")
    task = model.simulator.spawn()
    model.simulator.work(task, 5, 7)
    model.umount("/cg")
    mount(model, "/both", "cpuacct", "pids")
    assert model.read(Place("cpuacct,pids"), "cpuacct.usage_sys") == "7\n"


def test_of_two_zombies_the_one_that_is_left_counts_and_keeps_nothing(model: Model) -> None:
    model.tasks.waited = False
    ended = [model.simulator.spawn(), model.simulator.spawn()]
    for task in ended:
        enter(model, task, CPUSET, PIDS)
        model.simulator.exit(task)
    wait_for(model, ended[0])
    assert model.read(Place(PIDS, "/a"), "pids.current") == "1\n"
    model.write(Place(CPUSET, "/a"), "cpuset.cpus", "\n")


def test_a_live_task_keeps_the_cpus_when_a_zombie_is_reaped(model: Model) -> None:
    model.tasks.waited = False
    task = model.simulator.spawn()
    enter(model, task, CPUSET)
    child = model.simulator.fork(task)
    model.simulator.exit(child)
    wait_for(model, child)
    refused(errno.ENOSPC, model.write, Place(CPUSET, "/a"), "cpuset.cpus", "\n")


def test_a_zombie_is_not_frozen(model: Model) -> None:
    """Its process ends with the last of the other threads, frozen though its container is."""
    model.tasks.waited = False
    leader = model.simulator.spawn()
    thread = model.simulator.thread(leader)
    enter(model, leader, FREEZER)
    model.simulator.exit(leader, thread=True)
    model.write(Place(FREEZER, "/a"), "freezer.state", "FROZEN")
    model.simulator.exit(thread)
    wait_for(model, leader)
    model.write(Place(FREEZER, "/a"), "freezer.state", "THAWED")
    assert inside(model, FREEZER) == inside(model, FREEZER, "/") == []


def test_a_fork_that_is_refused_above_shows_in_the_peak_below(model: Model) -> None:
    """kernel/cgroup/pids.c, pids_try_charge(): the way up is not taken back for the peak."""
    a, task = Place(PIDS, "/a"), model.simulator.spawn()
    model.make(a.child("b"))
    model.write(a.child("b"), "tasks", str(task))
    model.write(a, "pids.max", "1")
    refused(errno.EAGAIN, model.simulator.fork, task)
    peaks = [model.read(place, "pids.peak") for place in (a, a.child("b"))]
    assert peaks == ["1\n", "2\n"]


def test_a_zombie_may_use_what_is_above_a_cpuset_that_was_emptied(model: Model) -> None:
    """Tried on Linux 6.18: guarantee_online_cpus()."""
    model.tasks.waited = False
    place, task = Place("cpuset", "/a"), model.simulator.spawn()
    for file in ("cpuset.cpus", "cpuset.mems"):
        model.write(place, file, "0")
    model.write(place, "tasks", str(task))
    model.simulator.exit(task)
    model.write(place, "cpuset.cpus", "\n")
    model.set_affinity(task, frozenset({0, 3}))
    assert model.affinity(task) == {0, 3}


def test_a_zombie_keeps_to_the_cpuset_that_was_removed_after_it(model: Model) -> None:
    """Tried on Linux 6.1: its cpuset stays for it as it was."""
    model.tasks.waited = False
    place, task = Place("cpuset", "/a"), model.simulator.spawn()
    for file, text in {"cpuset.cpus": "1-3", "cpuset.mems": "0"}.items():
        model.write(place, file, text)
    model.write(place, "tasks", str(task))
    model.simulator.exit(task)
    model.remove(place)
    model.set_affinity(task, frozenset({0, 1, 3}))
    assert model.affinity(task) == {1, 3}
    refused(errno.EINVAL, model.set_affinity, task, frozenset({0}))


def test_a_task_that_has_ended_is_nowhere_and_has_no_children(model: Model) -> None:
    task = model.simulator.spawn()
    enter(model, task, PIDS)
    child = model.simulator.fork(task)
    model.simulator.exit(task)
    assert model.task(child).parent == 1
    assert inside(model, PIDS) == [child]
    model.simulator.exit(child)
    model.remove(Place(PIDS, "/a"))
    for call in (
        model.simulator.fork,
        model.simulator.thread,
        model.simulator.exit,
        model.membership,
    ):
        refused(errno.ESRCH, call, task)
    assert model.simulator.spawn() not in (task, child)


def test_a_fork_beyond_the_limit_is_refused_and_counted(model: Model) -> None:
    """admin-guide/cgroup-v1/pids.rst; an attach is not refused."""
    a, b = Place(PIDS, "/a"), Place(PIDS, "/a/b")
    model.make(b)
    model.write(a, "pids.max", "2")
    task = model.simulator.spawn()
    model.write(b, "tasks", str(task))
    model.simulator.fork(task)
    refused(errno.EAGAIN, model.simulator.fork, task)
    refused(errno.EAGAIN, model.simulator.thread, task)
    assert model.read(b, "pids.events") == "max 2\n"
    assert model.read(a, "pids.events") == "max 0\n"
    model.write(b, "tasks", str(model.simulator.spawn()))
    assert model.read(a, "pids.current") == "3\n"
    model.write(a, "pids.max", "4")
    model.simulator.fork(task)


def test_a_frozen_task_does_nothing_and_dies_once_it_is_thawed(model: Model) -> None:
    task = model.simulator.spawn()
    enter(model, task, FREEZER)
    a = Place(FREEZER, "/a")
    model.write(a, "freezer.state", "FROZEN")
    for call in (model.simulator.fork, model.simulator.thread, model.simulator.exit):
        refused(errno.EBUSY, call, task)
    refused(errno.EBUSY, model.simulator.work, task, 1)
    list(model.kill(a, [task], 9))
    assert inside(model, FREEZER) == [task]
    model.write(a, "freezer.state", "THAWED")
    assert inside(model, FREEZER) == []
    refused(errno.ESRCH, model.task, task)


def test_work_is_charged_at_once_where_the_task_is() -> None:
    model = Model()
    mount(model, "/cg", "cpuset", "cpuacct")
    task, a = model.simulator.spawn(), Place("cpuset,cpuacct", "/a")
    model.make(a)
    model.write(a, "cpuset.cpus", "2-3")
    model.write(a, "cpuset.mems", "0")
    model.write(a, "tasks", str(task))
    model.simulator.work(task, 5, 7)
    model.simulator.work(task, 1, cpu=3)
    assert model.read(a, "cpuacct.usage_percpu").split() == ["0", "0", "12", "1"]
    assert model.read(a, "cpuacct.usage_sys") == "7\n"
    refused(errno.EINVAL, model.simulator.work, task, 1, 0, 0)


def test_ticks_are_whole_hundredths_of_a_second() -> None:
    model = Model()
    mount(model, "/cg", "cpuacct")
    task = model.simulator.spawn()
    model.simulator.work(task, 100_000_000_000, 19_999_999)
    assert model.read(Place("cpuacct"), "cpuacct.stat") == "user 10000\nsystem 1\n"


def test_sim_refuses_live_tasks() -> None:
    model = Model()
    for call in (model.simulator.fork, model.simulator.thread, model.simulator.exit):
        refused(errno.EPERM, call, os.getpid())
    refused(errno.EPERM, model.simulator.work, os.getpid(), 1)
    refused(errno.ESRCH, model.simulator.work, FIRST_SIMULATED_ID - 1, 1)


def test_a_family_is_moved_with_all_that_descends_from_it(model: Model) -> None:
    task = model.simulator.spawn()
    child = model.simulator.fork(task)
    grandchild, stranger = model.simulator.fork(child), model.simulator.spawn()
    attach.attach(Session(model), "pids:/a", [task], tree=True)
    assert inside(model, PIDS) == [task, child, grandchild]
    assert stranger in inside(model, PIDS, "/")


def test_killing_ends_simulated_tasks() -> None:
    model = Model()
    mount(model, "/cg", PIDS)
    model.make(Place(PIDS, "/a"))
    task = model.simulator.spawn()
    enter(model, task, PIDS)
    child = model.simulator.fork(task)
    containers.remove(Session(model), ["pids:/a"], kill=True)
    for one in (task, child):
        refused(errno.ESRCH, model.task, one)


def test_cpus_that_go_take_their_numbers_along(model: Model) -> None:
    """kernel/cgroup/cpuset.c, hotplug: what comes back is the root's alone."""
    a, task = Place(CPUSET, "/a"), model.simulator.spawn()
    enter(model, task, CPUSET)
    model.simulator.plug(frozenset({1, 2}), frozenset({0}))
    assert model.read(Place(CPUSET), "cpuset.cpus") == "1-2\n"
    assert model.read(a, "cpuset.cpus") == "1\n"
    assert model.affinity(task) == {1}
    model.simulator.plug(frozenset({2, 600}), frozenset({0}))
    assert model.read(a, "cpuset.cpus") == "\n"
    assert model.membership(task)[CPUSET] == "/"
    model.write(a, "cpuset.cpus", "600")
    assert model.read(Place(CPUSET), "cpuset.cpus") == "2,600\n"
    for cpu, number in ((601, errno.ERANGE), (599, errno.EINVAL)):
        refused(number, model.write, a, "cpuset.cpus", str(cpu))
    model.simulator.plug(frozenset({2}), frozenset({0, 5000}))
    for node, number in ((5001, errno.ERANGE), (4999, errno.EINVAL)):
        refused(number, model.write, a, "cpuset.mems", str(node))
    for cpus, nodes in (([], [0]), ([0], [])):
        refused(errno.EINVAL, model.simulator.plug, frozenset(cpus), frozenset(nodes))


def test_the_old_file_system_of_cpusets_has_bare_names_beside_other_hierarchies(
    tmp_path: Path,
) -> None:
    model = Model(proc=Proc(str(tmp_path)))
    mount(model, "/cg", "cpuacct")
    model.make_directory("/dev/cpuset")
    model.simulator.mount_cpuset("/dev/cpuset")
    assert model.show(Place(CPUSET), "cpuset.cpus") == "/dev/cpuset/cpus"


def test_the_old_file_system_shows_a_hierarchy_of_cpuset_as_it_is(tmp_path: Path) -> None:
    model = Model(proc=Proc(str(tmp_path)))
    mount(model, "/cg", "cpuset")
    model.make_directory("/dev/cpuset")
    model.simulator.mount_cpuset("/dev/cpuset")
    model.umount("/cg")
    assert model.show(Place("cpuset"), "cpuset.cpus") == "/dev/cpuset/cpuset.cpus"
    assert model.read(Place("cpuset"), "release_agent") == "\n"


def test_a_task_without_another_cpu_runs_where_the_container_allows(model: Model) -> None:
    inside, outside, nowhere, picky = (model.simulator.spawn() for _ in range(4))
    enter(model, inside, CPUSET)
    model.set_affinity(picky, frozenset({1}))
    for task in (inside, nowhere):
        model.set_affinity(task, frozenset({0}))
    model.simulator.plug(frozenset({1, 2}), frozenset({0}))
    assert [model.affinity(task) for task in (inside, outside, nowhere)] == [{1}, {1, 2}, {1, 2}]
    assert model.affinity(picky) == {1}


def test_what_is_played_is_there_in_the_next_command(tmp_path: Path) -> None:
    file = str(tmp_path / "state.json")
    model = StoredModel(file)
    a = Place(PIDS, "/a")
    with model.exclusive():
        model.make_directory("/cg")
        model.mount(TreeRequest((PIDS,)), "/cg", "pcont")
        model.make(a)
        task = model.simulator.spawn("httpd", uid=33)
        model.write(a, "tasks", str(task))
        thread = model.simulator.thread(task)
        gone = model.simulator.fork(task)
        model.simulator.exit(gone)
        model.write(a, "pids.max", "2")
        refused(errno.EAGAIN, model.simulator.fork, task)
    model = StoredModel(file)
    assert inside(model, PIDS) == [task, thread] == model.threads(task)
    assert model.task(thread).name == "httpd"
    assert model.read(a, "pids.events") == "max 1\n"
    assert model.simulator.spawn() == gone + 1


def test_nothing_is_unpinned_twice(model: Model) -> None:
    model.pin("box", model.simulator.spawn(), ["net"])
    model.unpin("box")
    refused(errno.ENOENT, model.unpin, "box")


def test_a_name_is_pinned_once(model: Model) -> None:
    model.pin("box", model.simulator.spawn(), ["net"])
    refused(errno.EEXIST, model.pin, "box", model.simulator.spawn(), ["uts"])
    assert list(model.pins()["box"]) == ["net"]


def test_without_an_agent_no_run_is_recorded(model: Model) -> None:
    model.write(Place(PIDS, "/a"), "notify_on_release", "1")
    for reported in ([], [("/agent", "/a")]):
        task = model.simulator.spawn()
        enter(model, task, PIDS)
        model.simulator.exit(task)
        assert model.simulator.notified == reported
        model.write(Place(PIDS), "release_agent", "/agent")
