"""Dialect v6, the patch set of 2006 as it was posted: its check list, and what a user sees of it.

Numbers are those of the sections of the patch's semantics.
"""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from pcont.backend_model import Model, StoredModel
from pcont.cli import main
from pcont.errors import Unsupported
from pcont.kernel.refusals import WriteRefused
from pcont.kernel.types import Place, TreeRequest
from pcont.linux.proc import Proc
from pcont.model.dialects import V6, V6_NS, Dialect
from pcont.subsys.numfiles import MOST_FILES
from pcont.tables.rules import Machine
from tests.model.test_simulator import refused
from tests.test_backend_model import alive

FOUR = Machine(frozenset(range(4)), frozenset(range(2)), cpu_limit=8)
BOTH = "cpuacct,cpuset"
USER = 1000


class Machine2006(Model):
    """A machine of four CPUs without tasks, and a clock that the test sets."""

    def __init__(self, proc: str, dialect: Dialect = V6) -> None:
        self.time = 1000.0
        super().__init__(FOUR, Proc(proc), dialect=dialect, clock=lambda: self.time)
        self.config.uid = 0  # root, whichever user runs the tests

    def mount_options(self, options: str, point: str = "") -> None:
        """mount -t container -o OPTIONS; nothing at all without a word."""
        point = point or f"/dev/{options or 'all'}"
        self.make_directory(point)
        self.mount(TreeRequest(tuple(options.split(",")) if options else ()), point, "x")

    def line(self, number: int) -> str:
        """The line of a slot in /proc/containers."""
        lines = self.simulator.proc_file("containers").splitlines()
        return next(line for line in lines if line.startswith(f"{number}: topcount"))


@pytest.fixture
def model(tmp_path: Path) -> Machine2006:
    return Machine2006(str(tmp_path))


def writes(model: Model, place: Place, **values: str) -> None:
    for file, text in values.items():
        model.write(place, file.replace("__", "."), text)


def make(model: Model, place: Place, cpus: str = "0-3", mems: str = "0-1") -> Place:
    """A cpuset that can be entered."""
    model.make(place)
    writes(model, place, cpus=cpus, mems=mems)
    return place


def enter(model: Model, place: Place, *tasks: int) -> None:
    for task in tasks:
        model.write(place, "tasks", str(task))


def tasks(model: Model, place: Place) -> list[int]:
    return [int(task) for task in model.read(place, "tasks").split()]


def stats(model: Model, place: Place) -> list[int]:
    """Usage, successes, failures and fork rate failures."""
    return [int(row.rsplit(" ", 1)[1]) for row in model.read(place, "numtasks.stats").splitlines()]


def answer(model: Model, place: Place, file: str, text: str) -> int:
    """The errno of a write, 0 where it goes well."""
    try:
        model.write(place, file, text)
    except WriteRefused as err:
        return err.errno or 0
    return 0


# The check list (9)


def test_point_1_mounting(model: Machine2006) -> None:
    model.mount_options("cpuset,cpuacct", "/one")
    model.mount_options("cpuacct,cpuset", "/two")
    (tree,) = model.trees()
    assert (tree.number, tree.id) == (1, BOTH)
    assert [mount.point for mount in tree.mounts] == ["/one", "/two"]
    refused(errno.EBUSY, model.mount_options, "cpuset")
    refused(errno.EBUSY, model.mount_options, "")
    refused(errno.ENOENT, model.mount_options, "foo")
    refused(errno.EINVAL, model.mount_options, "cpuset,,bc")


def test_point_2_a_fourth_hierarchy(model: Machine2006) -> None:
    for name in ("cpuset", "cpuacct", "numtasks"):
        model.mount_options(name)
    refused(errno.ENOSPC, model.mount_options, "bc")
    assert [tree.number for tree in model.trees()] == [1, 2, 3]


def test_point_3_attaching(model: Machine2006) -> None:
    model.mount_options("cpuset")
    a, task = Place("cpuset", "/a"), model.simulator.spawn()
    model.make(a)
    refused(errno.ENOSPC, model.write, a, "tasks", str(task))
    model.write(a, "cpus", "0")
    refused(errno.ENOSPC, model.write, a, "tasks", str(task))
    model.write(a, "mems", "0")
    model.write(a, "tasks", str(task))
    refused(errno.EIO, model.write, a, "tasks", "x")
    refused(errno.ESRCH, model.write, a, "tasks", "77")
    model.config.uid = USER
    refused(errno.EACCES, model.write, a, "tasks", str(model.simulator.spawn(uid=0)))
    model.write(a, "tasks", str(model.simulator.spawn()))


def test_point_3_0_moves_the_writer() -> None:
    model = Model(FOUR, dialect=V6)
    model.make_directory("/m")
    model.mount(TreeRequest(("cpuset",)), "/m", "x")
    a = make(model, Place("cpuset", "/a"))
    model.config.uid = USER
    model.write(a, "tasks", "0")
    assert model.membership(os.getpid()) == {"cpuset": "/a"}


def test_point_4_removing(model: Machine2006) -> None:
    model.mount_options("cpuacct")
    a, b, task = Place("cpuacct", "/a"), Place("cpuacct", "/a/b"), model.simulator.spawn()
    model.make(a)
    enter(model, a, task)
    refused(errno.EBUSY, model.remove, a)
    model.make(b)
    model.simulator.exit(task)
    refused(errno.EBUSY, model.remove, a)
    model.remove(b)
    model.remove(a)


def test_point_5_what_stays_after_umount(model: Machine2006) -> None:
    model.mount_options("cpuset", "/m")
    model.make(Place("cpuset", "/a"))
    model.umount("/m")
    assert "bits=2 containers=2 (cpuset) s_active=1" in model.line(1)
    model.mount_options("cpuset", "/m")
    assert model.children(Place("cpuset")) == ["a"]
    model.remove(Place("cpuset", "/a"))
    model.umount("/m")
    assert model.line(1) == "1: topcount=1 bits=0 containers=1 ()"


def test_point_6_which_releases_are_notified(model: Machine2006) -> None:
    model.mount_options("cpuacct")
    root, a, b = (Place("cpuacct", path) for path in ("/", "/a", "/a/b"))
    model.write(root, "release_agent", "/agent")
    for place in (a, b):
        model.make(place)
        model.write(place, "notify_on_release", "1")
    assert model.simulator.notified == []
    one, two = model.simulator.spawn(), model.simulator.spawn()
    enter(model, b, one, two)
    model.simulator.exit(one)
    assert model.simulator.notified == []
    model.simulator.exit(two)
    assert model.simulator.notified == [("/agent", "/a/b")]
    model.remove(b)
    assert model.simulator.notified[1:] == [("/agent", "/a")]


def test_point_7_the_flag_goes_to_children(model: Machine2006) -> None:
    model.mount_options("cpuacct")
    a = Place("cpuacct", "/a")
    model.make(a)
    model.make(a.child("older"))
    model.write(a, "notify_on_release", "1")
    model.make(a.child("younger"))
    assert model.read(a.child("older"), "notify_on_release") == "0\n"
    assert model.read(a.child("younger"), "notify_on_release") == "1\n"


def test_point_8_the_rules_of_cpuset(model: Machine2006) -> None:
    model.mount_options("cpuset")
    a = make(model, Place("cpuset", "/a"), "0-2")
    b = make(model, a.child("b"), "1")
    refused(errno.EACCES, model.write, b, "cpu_exclusive", "1")
    model.write(a, "cpu_exclusive", "1")
    model.write(b, "cpu_exclusive", "1")
    c = a.child("c")
    model.make(c)
    refused(errno.EINVAL, model.write, c, "cpus", "1-2")
    refused(errno.EBUSY, model.write, a, "cpus", "0")
    refused(errno.EACCES, model.write, b, "cpus", "3")
    refused(errno.EACCES, model.write, Place("cpuset"), "cpus", "0-3")
    refused(errno.EACCES, model.write, Place("cpuset"), "mems", "0")
    refused(errno.ENOSPC, model.write, c, "cpus", "6-7")


def test_point_9_cpu_time(model: Machine2006) -> None:
    model.mount_options("cpuacct")
    root, a, b = (Place("cpuacct", path) for path in ("/", "/a", "/b"))
    model.make(a)
    model.make(b)
    task = model.simulator.spawn()
    enter(model, a, task)
    model.simulator.work(task, 1_500_000_000, 500_000_000)
    enter(model, b, task)
    model.simulator.work(task, 1_000_999_999)
    assert [model.read(place, "cpuacct.usage") for place in (a, b, root)] == ["2000", "1000", "0"]
    refused(errno.EINVAL, model.write, a, "cpuacct.usage", "0")


def test_point_10_a_limit_from_shares(model: Machine2006) -> None:
    model.mount_options("numtasks")
    a, task = Place("numtasks", "/a"), model.simulator.spawn()
    model.make(a)
    model.write(a, "numtasks.shares", "max_shares=1")
    enter(model, a, task)
    children = [model.simulator.fork(task) for _ in range(11)]
    for child in children:
        model.simulator.exit(child)
    model.simulator.module("numtasks.total_numtasks", "1000")
    children = [model.simulator.fork(task) for _ in range(9)]
    refused(errno.ENOSPC, model.simulator.fork, task)
    assert stats(model, a)[0] == 10
    assert stats(model, a)[2] == 1
    enter(model, a, model.simulator.spawn())
    assert stats(model, a)[0] == 11
    model.simulator.exit(children.pop())
    refused(errno.ENOSPC, model.simulator.fork, task)
    model.simulator.exit(children.pop())
    model.simulator.fork(task)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/b", "min_shares=50"),
        ("/", "child_shares_divisor=50"),
        ("/b", "max_shares=101"),
        ("/b", "min_shares=20,max_shares=10"),
        ("/b", "max_shares=10\n"),
        ("/b", "min_shares=-2"),
        ("/b", "child_shares_divisor=-3"),
        ("/b", "min_shares=x"),
        ("/b", "shares=1"),
        ("/b", "res=a,res=b"),
    ],
)
def test_point_11_shares_that_are_refused(model: Machine2006, path: str, text: str) -> None:
    model.mount_options("numtasks")
    for name in ("/a", "/b"):
        model.make(Place("numtasks", name))
    model.write(Place("numtasks", "/a"), "numtasks.shares", "min_shares=60")
    place = Place("numtasks", path)
    before = model.read(place, "numtasks.shares")
    refused(errno.EINVAL, model.write, place, "numtasks.shares", text)
    assert model.read(place, "numtasks.shares") == before


def test_point_12_the_fork_rate(model: Machine2006) -> None:
    model.mount_options("numtasks")
    a, b = Place("numtasks", "/a"), Place("numtasks", "/b")
    one, two = model.simulator.spawn(), model.simulator.spawn()
    for place, task in ((a, one), (b, two)):
        model.make(place)
        enter(model, place, task)
    model.simulator.module("numtasks.forkrate_interval", "10")
    model.simulator.module("numtasks.forkrate", "3")
    for _ in range(3):
        model.simulator.fork(one)
    refused(errno.ENOSPC, model.simulator.fork, one)
    assert stats(model, a)[2:] == [0, 1]
    model.simulator.fork(two)
    model.time += 10
    refused(errno.ENOSPC, model.simulator.fork, one)
    model.time += 1
    model.simulator.fork(one)


def test_a_new_rate_starts_a_new_period_in_the_root_of_the_hierarchy_alone(
    model: Machine2006,
) -> None:
    """4.7: the patch misses the periods of other containers."""
    model.mount_options("numtasks")
    a, inside, outside = Place("numtasks", "/a"), model.simulator.spawn(), model.simulator.spawn()
    model.make(a)
    enter(model, a, inside)
    model.simulator.module("numtasks.forkrate_interval", "10")
    for again in range(2):
        model.simulator.module("numtasks.forkrate", "1")
        model.simulator.fork(outside)
        refused(errno.ENOSPC, model.simulator.fork, outside)
        if not again:
            model.simulator.fork(inside)
        refused(errno.ENOSPC, model.simulator.fork, inside)


def test_point_13_open_files(model: Machine2006) -> None:
    model.mount_options("bc")
    a = Place("bc", "/a")
    model.make(a)
    assert [model.read(a, f"bc.numfiles.{one}") for one in ("barrier", "limit")] == [
        "256\n",
        "512\n",
    ]
    user, root = model.simulator.spawn(uid=USER), model.simulator.spawn(uid=0)
    enter(model, a, user, root)
    writes(model, a, bc__numfiles__barrier="2", bc__numfiles__limit="3")
    model.simulator.open_one(user)
    model.simulator.open_one(user)
    refused(errno.ENFILE, model.simulator.open_one, user)
    values = [model.read(a, f"bc.numfiles.{one}") for one in ("held", "maxheld", "failcnt")]
    assert values == ["2\n", "2\n", "1\n"]
    model.simulator.open_one(root)
    refused(errno.ENFILE, model.simulator.open_one, root)
    refused(errno.EINVAL, model.write, a, "bc.numfiles.barrier", "4")
    refused(errno.EINVAL, model.write, a, "bc.numfiles.barrier", "1\n")
    refused(errno.EINVAL, model.write, a, "bc.numfiles.held", "0")


def test_point_14_a_file_stays_where_it_was_opened(model: Machine2006) -> None:
    model.mount_options("bc")
    a, b = Place("bc", "/a"), Place("bc", "/b")
    model.make(a)
    model.make(b)
    task = model.simulator.spawn()
    enter(model, a, task)
    file = model.simulator.open_one(task)
    enter(model, b, task)
    assert model.read(a, "bc.numfiles.held") == "1\n"
    assert model.read(b, "bc.numfiles.held") == "0\n"
    child = model.simulator.fork(task)
    model.simulator.exit(task)
    refused(errno.EBUSY, model.remove, a)
    model.simulator.close_one(child, file)
    assert model.read(a, "bc.numfiles.held") == "0\n"
    model.remove(a)


def test_point_15_a_fork_between_two_moves(model: Machine2006) -> None:
    model.mount_options("cpuacct")
    model.mount_options("numtasks")
    for tree in ("cpuacct", "numtasks"):
        for name in ("/old", "/new"):
            model.make(Place(tree, name))
    task = model.simulator.spawn()
    for tree in ("cpuacct", "numtasks"):
        enter(model, Place(tree, "/old"), task)
    enter(model, Place("cpuacct", "/new"), task)
    child = model.simulator.fork(task)
    enter(model, Place("numtasks", "/new"), task)
    assert model.membership(child) == {"cpuacct": "/new", "numtasks": "/old"}


# Mounting, and what stays (1.2, 1.3)


def test_no_word_and_all_mean_every_subsystem(model: Machine2006) -> None:
    model.mount_options("", "/one")
    model.mount_options("all", "/two")
    model.mount_options("all,bc,bc", "/three")
    (tree,) = model.trees()
    assert tree.id == "numtasks,cpuacct,cpuset,bc"
    assert len(tree.mounts) == 3
    refused(errno.ENOENT, model.mount_options, "all,nonesuch", "/four")


def test_the_old_file_system_is_cpuset_alone_with_its_agent(model: Machine2006) -> None:
    model.mount_options("cpuset", "/one")
    model.write(Place("cpuset"), "release_agent", "/agent")
    model.make_directory("/dev/cpuset")
    model.simulator.mount_cpuset("/dev/cpuset")
    assert len(model.trees()[0].mounts) == 2
    assert model.read(Place("cpuset"), "release_agent") == "/sbin/cpuset_release_agent\n"
    for point in ("/one", "/dev/cpuset"):
        model.umount(point)
    model.mount_options("cpuset,bc", "/two")
    refused(errno.EBUSY, model.simulator.mount_cpuset, "/dev/cpuset")


def test_hierarchies_have_no_names(model: Machine2006) -> None:
    model.make_directory("/m")
    refused(errno.ENOENT, model.mount, TreeRequest(("bc",), "jobs"), "/m", "x")
    later = TreeRequest(("bc",), more=("clone_children",))
    refused(errno.ENOENT, model.mount, later, "/m", "x")
    refused(errno.ENOENT, model.mount_options, "none")


def test_a_slot_that_is_free_again_is_taken_first(model: Machine2006) -> None:
    for name in ("cpuset", "cpuacct", "numtasks"):
        model.mount_options(name)
    model.umount("/dev/cpuacct")
    model.mount_options("bc")
    assert {tree.id: tree.number for tree in model.trees()} == {"cpuset": 1, "bc": 2, "numtasks": 3}


def test_an_overlap_with_what_is_only_active_is_busy(model: Machine2006) -> None:
    model.mount_options("cpuset,bc", "/m")
    model.make(Place("cpuset,bc", "/a"))
    model.umount("/m")
    refused(errno.EBUSY, model.mount_options, "cpuset")


def test_the_state_of_roots_stays_with_the_subsystems(model: Machine2006) -> None:
    task = model.simulator.spawn()
    model.simulator.work(task, 1_000_000_000)
    for _ in range(5):
        model.simulator.open_one(task)
    model.mount_options("cpuacct,bc", "/m")
    root = Place("cpuacct,bc")
    assert model.read(root, "cpuacct.usage") == "1000"
    assert model.read(root, "bc.numfiles.held") == "5\n"
    writes(model, root, bc__numfiles__barrier="7", notify_on_release="1")
    model.simulator.work(task, 1_000_000_000)
    model.umount("/m")
    model.simulator.work(task, 1_000_000_000)
    model.mount_options("cpuacct", "/m")
    model.mount_options("bc", "/n")
    assert model.read(Place("cpuacct"), "cpuacct.usage") == "3000"
    assert model.read(Place("bc"), "bc.numfiles.barrier") == "7\n"
    assert model.read(Place("bc"), "notify_on_release") == "0\n"


# Files (1.4)


def test_the_files_are_those_of_2006_by_their_names(model: Machine2006) -> None:
    model.mount_options("")
    root = Place("numtasks,cpuacct,cpuset,bc")
    model.make(root.child("a"))
    names = [model.spelled(root, file) for file in model.files(root.child("a"))]
    assert sorted(names) == sorted(
        [
            *("tasks", "notify_on_release", "auto_delete", "cpus", "mems", "cpu_exclusive"),
            *("mem_exclusive", "memory_migrate", "memory_pressure", "memory_spread_page"),
            *("memory_spread_slab", "cpuacct.usage", "numtasks.shares", "numtasks.stats"),
            *(
                f"bc.numfiles.{one}"
                for one in ("held", "maxheld", "minheld", "barrier", "limit", "failcnt")
            ),
        ]
    )
    assert set(model.files(root)) - set(model.files(root.child("a"))) == {
        "release_agent",
        "cpuset.memory_pressure_enabled",
    }
    assert model.show(root, "cpuset.cpus") == "/dev/all/cpus"
    refused(errno.EEXIST, model.make, root.child("cpus"))
    model.make(root.child("cpuset.effective_cpus"))


@pytest.mark.parametrize(
    ("text", "flag"), [("1", "1"), ("7\n", "1"), ("0", "0"), ("x", "0"), ("", "0"), ("-1", "0")]
)
@pytest.mark.parametrize("file", ["notify_on_release", "auto_delete", "memory_migrate"])
def test_flags_are_read_leniently(model: Machine2006, file: str, text: str, flag: str) -> None:
    model.mount_options("cpuset")
    a = Place("cpuset", "/a")
    model.make(a)
    model.write(a, file, "0" if flag == "1" else "1")
    model.write(a, file, text)
    assert model.read(a, file) == f"{flag}\n"


def test_a_container_with_children_is_not_empty(model: Machine2006) -> None:
    model.mount_options("cpuacct")
    root, a, task = Place("cpuacct"), Place("cpuacct", "/a"), model.simulator.spawn()
    writes(model, root, release_agent="/agent", notify_on_release="1")
    model.make(a)
    model.make(a.child("b"))
    enter(model, a, task)
    enter(model, root, task)
    model.simulator.exit(task)
    assert model.simulator.notified == []  # and the root never is


def test_the_release_agent_is_kept_as_it_was_written(model: Machine2006) -> None:
    model.mount_options("cpuacct")
    root, a = Place("cpuacct"), Place("cpuacct", "/a")
    assert model.read(root, "release_agent") == "\n"
    model.write(root, "release_agent", "/agent\n")
    assert model.read(root, "release_agent") == "/agent\n\n"
    model.make(a)
    model.write(a, "notify_on_release", "1")
    task = model.simulator.spawn()
    enter(model, a, task)
    model.simulator.exit(task)
    assert model.simulator.notified == []  # there is no program of that name
    model.write(root, "release_agent", "x" * 4095)
    refused(errno.E2BIG, model.write, root, "release_agent", "x" * 4096)
    refused(errno.ENOENT, model.read, a, "release_agent")


@pytest.mark.parametrize(
    ("file", "most"),
    [
        ("tasks", 4095),
        ("notify_on_release", 4095),
        ("numtasks.shares", 4095),
        ("numtasks.stats", 4095),
        ("cpus", 148),
        ("cpu_exclusive", 148),
        ("bc.numfiles.limit", 63),
    ],
)
def test_what_is_too_long_is_e2big(model: Machine2006, file: str, most: int) -> None:
    model.mount_options("")
    a = Place("numtasks,cpuacct,cpuset,bc", "/a")
    model.make(a)
    assert answer(model, a, file, "y" * most) != errno.E2BIG
    refused(errno.E2BIG, model.write, a, file, "y" * (most + 1))


def test_the_tasks_of_a_container_are_its_threads_in_order(model: Machine2006) -> None:
    model.mount_options("cpuacct")
    a, task = Place("cpuacct", "/a"), model.simulator.spawn()
    model.make(a)
    thread, child = model.simulator.thread(task), model.simulator.fork(task)
    enter(model, a, child, thread)
    assert model.read(a, "tasks") == f"{thread}\n{child}\n"
    assert model.membership(task) == {"cpuacct": "/"}


# /proc (1.5)


def test_proc_containers(model: Machine2006) -> None:
    model.mount_options("cpuset,cpuacct")
    model.mount_options("bc")
    a = make(model, Place(BOTH, "/a"))
    make(model, a.child("b"))
    task = model.simulator.spawn()
    model.simulator.spawn()
    enter(model, a, task)
    assert model.simulator.proc_file("containers") == (
        "Hierarchies:\n"
        "0: topcount=1 bits=8 containers=1 ()\n"
        "1: topcount=2 bits=6 containers=3 (cpuacct, cpuset) s_active=3\n"
        "2: topcount=3 bits=1 containers=1 (bc) s_active=1\n"
        "3: topcount=1 bits=0 containers=1 ()\n"
        "Subsystems:\n"
        "0: name=bc hierarchy=2\n"
        "1: name=cpuset hierarchy=1\n"
        "2: name=cpuacct hierarchy=1\n"
        "3: name=numtasks hierarchy=0\n"
    )


def test_proc_pid_container_and_cpuset(model: Machine2006) -> None:
    task = model.simulator.spawn()
    assert model.simulator.proc_file(f"{task}/container") == ""
    assert model.simulator.proc_file(f"{task}/cpuset") == "/\n"
    model.mount_options("bc")
    model.mount_options("cpuset,cpuacct", "/m")
    a = make(model, Place(BOTH, "/jobs"))
    enter(model, make(model, a.child("a")), task)
    model.umount("/m")
    assert model.simulator.proc_file(f"{task}/container") == "bc:/\ncpuacct,cpuset:/jobs/a\n"
    assert model.simulator.proc_file(f"{task}/cpuset") == "/jobs/a\n"
    refused(errno.ENOENT, model.simulator.proc_file, f"{task}/cgroup")
    refused(errno.ENOENT, model.simulator.proc_file, "cgroups")
    refused(errno.ESRCH, model.simulator.proc_file, "77/container")


def test_proc_pid_container_goes_by_slots_and_not_by_age(model: Machine2006) -> None:
    task = model.simulator.spawn()
    model.mount_options("bc")
    model.mount_options("cpuset")
    model.umount("/dev/bc")
    model.mount_options("cpuacct")
    assert model.simulator.proc_file(f"{task}/container") == "cpuacct:/\ncpuset:/\n"


# Attaching (1.7)


@pytest.mark.parametrize("form", ["{}", " {}", "{}\n", "{} junk", "{},5"])
def test_the_first_number_counts_and_nothing_behind_it(model: Machine2006, form: str) -> None:
    model.mount_options("cpuacct")
    a, task = Place("cpuacct", "/a"), model.simulator.spawn()
    model.make(a)
    model.write(a, "tasks", form.format(task))
    assert tasks(model, a) == [task]


@pytest.mark.parametrize("text", ["", "\n", "x1", "-"])
def test_no_number_is_eio(model: Machine2006, text: str) -> None:
    model.mount_options("cpuacct")
    refused(errno.EIO, model.write, Place("cpuacct"), "tasks", text)


def test_a_task_that_has_ended_is_esrch(model: Machine2006) -> None:
    model.mount_options("cpuacct")
    task = model.simulator.spawn()
    model.simulator.exit(task)
    for text in (str(task), "-1"):
        refused(errno.ESRCH, model.write, Place("cpuacct"), "tasks", text)


def test_a_zombie_is_esrch(model: Machine2006) -> None:
    model.mount_options("cpuacct")
    task, model.tasks.waited = model.simulator.spawn(), False
    model.simulator.exit(task)
    assert model.task(task).state == "Z"
    refused(errno.ESRCH, model.write, Place("cpuacct"), "tasks", str(task))


def test_only_numbers_have_a_container_in_proc(model: Machine2006) -> None:
    for file in ("x/container", "x/cpuset", "container", "9" * 5000 + "/container"):
        refused(errno.ENOENT, model.simulator.proc_file, file)


def test_threads_of_the_kernel_are_moved_like_others(tmp_path: Path) -> None:
    """In 2006 the kernel does not check PF_NO_SETAFFINITY, with which it refuses a move today."""
    alive(tmp_path, 7)
    stat = tmp_path / "7/stat"
    stat.write_text(stat.read_text().replace(" -1 0 ", f" -1 {0x04000000} ", 1))
    model = Machine2006(str(tmp_path))
    assert model.tasks.task(7).fixed
    model.mount_options("cpuacct")
    model.make(Place("cpuacct", "/a"))
    model.write(Place("cpuacct", "/a"), "tasks", "7")
    assert model.membership(7) == {"cpuacct": "/a"}


def test_the_owner_is_asked_before_the_subsystems(model: Machine2006) -> None:
    model.mount_options("cpuset")
    a = Place("cpuset", "/a")
    model.make(a)
    model.config.uid = USER
    refused(errno.EACCES, model.write, a, "tasks", str(model.simulator.spawn(uid=0)))
    refused(errno.ENOSPC, model.write, a, "tasks", str(model.simulator.spawn(uid=USER)))


def test_writing_an_id_again_renews_the_cpus(model: Machine2006) -> None:
    """2.4: the kernel does not apply new CPUs to the tasks inside."""
    model.mount_options("cpuset")
    a, task = make(model, Place("cpuset", "/a"), "0-1"), model.simulator.spawn()
    enter(model, a, task)
    model.write(a, "cpus", "2")
    assert model.affinity(task) == {0, 1}
    enter(model, a, task)
    assert model.affinity(task) == {2}
    assert tasks(model, a) == [task]


def test_the_cpus_come_from_cpuset_wherever_it_stands_among_the_subsystems(
    model: Machine2006,
) -> None:
    """The order is numtasks, cpuacct, cpuset, bc."""
    model.mount_options("numtasks,cpuset,bc", "/m")
    (tree,) = model.trees()
    a, task = make(model, Place(tree.id, "/a"), "1,3"), model.simulator.spawn()
    enter(model, a, task)
    assert model.affinity(task) == {1, 3}


# auto_delete (6.4)


def test_auto_delete_goes_up_as_far_as_it_is_set_and_after_the_agent(model: Machine2006) -> None:
    model.mount_options("cpuacct")
    root, a = Place("cpuacct"), Place("cpuacct", "/a")
    model.write(root, "release_agent", "/agent")
    refused(errno.ENOENT, model.read, root, "auto_delete")
    model.make(a)
    model.write(a, "auto_delete", "1")
    b = a.child("b")
    model.make(b)
    assert model.read(b, "auto_delete") == "1\n"
    model.write(b, "notify_on_release", "1")
    assert model.children(a) == ["b"]
    task = model.simulator.spawn()
    enter(model, b, task)
    enter(model, root, task)
    assert model.children(root) == []
    assert model.simulator.notified == [("/agent", "/a/b")]


def test_auto_delete_waits_for_the_containers_below(model: Machine2006) -> None:
    model.mount_options("cpuacct")
    root, a, task = Place("cpuacct"), Place("cpuacct", "/a"), model.simulator.spawn()
    model.make(a)
    model.make(a.child("b"))
    model.write(a, "auto_delete", "1")
    enter(model, a, task)
    enter(model, root, task)
    assert model.children(root) == ["a"]
    model.remove(a.child("b"))
    assert model.children(root) == []


def test_auto_delete_does_not_wait_for_killed_tasks(tmp_path: Path) -> None:
    alive(tmp_path, 7)
    model, root, a = Machine2006(str(tmp_path)), Place("cpuacct"), Place("cpuacct", "/a")
    model.mount_options("cpuacct")
    model.make(a)
    model.write(a, "auto_delete", "1")
    model.write(a, "tasks", "7")
    list(model.kill(a, [7], 9))
    assert model.children(root) == []


def test_auto_delete_waits_for_the_last_open_file(model: Machine2006) -> None:
    model.mount_options("bc")
    a, task = Place("bc", "/a"), model.simulator.spawn()
    model.make(a)
    model.write(a, "auto_delete", "1")
    enter(model, a, task)
    file = model.simulator.open_one(task)
    enter(model, Place("bc"), task)
    assert model.children(Place("bc")) == ["a"]
    model.simulator.close_one(task, file)
    assert model.children(Place("bc")) == []


def test_auto_delete_keeps_a_container_with_tasks_when_its_last_file_is_closed(
    model: Machine2006,
) -> None:
    model.mount_options("bc")
    a, task = Place("bc", "/a"), model.simulator.spawn()
    model.make(a)
    model.write(a, "auto_delete", "1")
    enter(model, a, task)
    model.simulator.close_one(task, model.simulator.open_one(task))
    assert tasks(model, a) == [task]


def test_auto_delete_takes_no_other_container_than_the_one_that_is_free_of_files(
    model: Machine2006,
) -> None:
    model.mount_options("bc")
    a, task = Place("bc", "/a"), model.simulator.spawn()
    for place in (a, Place("bc", "/b")):
        model.make(place)
        model.write(place, "auto_delete", "1")
    enter(model, a, task)
    file = model.simulator.open_one(task)
    enter(model, Place("bc"), task)
    model.simulator.close_one(task, file)
    assert model.children(Place("bc")) == ["b"]


def test_a_file_may_be_closed_after_the_hierarchy_that_it_was_charged_in(
    model: Machine2006,
) -> None:
    model.mount_options("bc")
    task = model.simulator.spawn()
    file = model.simulator.open_one(task)
    model.umount("/dev/bc")
    model.simulator.close_one(task, file)
    model.mount_options("bc")
    assert model.read(Place("bc"), "bc.numfiles.held") == "0\n"


def test_open_files_keep_a_container_by_force_or_without(model: Machine2006) -> None:
    """`--force` is not of 2006: pcont can only discard charges that it counts itself."""
    model.mount_options("bc")
    a, task = Place("bc", "/a"), model.simulator.spawn()
    model.make(a)
    enter(model, a, task)
    model.simulator.open_one(task)
    enter(model, Place("bc"), task)
    for force in (False, True):
        refused(errno.EBUSY, model.remove, a, force)


# cpuset (2)


@pytest.mark.parametrize("file", ["cpus", "mems"])
@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("", errno.EINVAL),
        ("\n", errno.EINVAL),
        ("x", errno.EINVAL),
        ("1-0", errno.EINVAL),
        ("0,,1", errno.EINVAL),
        ("0 1", errno.EINVAL),
        ("1024", errno.ERANGE),
        ("5", errno.ENOSPC),
    ],
)
def test_lists_that_are_refused(model: Machine2006, file: str, text: str, number: int) -> None:
    model.mount_options("cpuset")
    a = make(model, Place("cpuset", "/a"))
    refused(number, model.write, a, file, text)


def test_the_highest_number_is_that_of_the_kernel(model: Machine2006) -> None:
    model.mount_options("cpuset")
    a = make(model, Place("cpuset", "/a"))
    refused(errno.ENOSPC, model.write, a, "cpus", "7")
    refused(errno.ERANGE, model.write, a, "cpus", "8")
    refused(errno.ENOSPC, model.write, a, "mems", "1023")


def test_a_list_is_cut_down_to_what_is_online(model: Machine2006) -> None:
    model.mount_options("cpuset")
    a = make(model, Place("cpuset", "/a"), "2-7\n", "1,5")
    assert (model.read(a, "cpus"), model.read(a, "mems")) == ("2-3\n", "1\n")


def test_a_new_cpuset_has_nothing_but_the_spread_flags(model: Machine2006) -> None:
    model.mount_options("cpuset")
    root = Place("cpuset")
    assert [model.read(root, f"{one}_exclusive") for one in ("cpu", "mem")] == ["1\n", "1\n"]
    writes(model, root, memory_spread_page="1", memory_migrate="1")
    a = Place("cpuset", "/a")
    model.make(a)
    values = {file: model.read(a, file).strip() for file in model.files(a)}
    assert {file for file, value in values.items() if value not in ("", "0")} == {
        "cpuset.memory_spread_page"
    }
    assert (values["cpuset.cpus"], values["cpuset.mems"]) == ("", "")


def test_the_pressure_cannot_be_written_and_the_meter_is_the_roots(model: Machine2006) -> None:
    model.mount_options("cpuset")
    a = make(model, Place("cpuset", "/a"))
    refused(errno.EACCES, model.write, a, "memory_pressure", "0")
    model.write(Place("cpuset"), "memory_pressure_enabled", "1")
    refused(errno.ENOENT, model.read, a, "memory_pressure_enabled")


def test_exclusive_flags_go_from_the_top_and_come_off_from_the_bottom(model: Machine2006) -> None:
    model.mount_options("cpuset")
    a = make(model, Place("cpuset", "/a"), "0-1", "0")
    b = make(model, a.child("b"), "0", "0")
    for place in (a, b):
        model.write(place, "mem_exclusive", "1")
    refused(errno.EBUSY, model.write, a, "mem_exclusive", "0")
    refused(errno.EINVAL, make, model, a.child("c"), "1", "0")


def test_cpus_that_go_leave_a_cpuset_those_of_its_parent(model: Machine2006) -> None:
    model.mount_options("cpuset")
    a, task = make(model, Place("cpuset", "/a"), "2-3"), model.simulator.spawn()
    enter(model, a, task)
    model.simulator.plug(frozenset({0, 1, 2}), frozenset({0}))
    assert model.read(a, "cpus") == "2\n"
    model.simulator.plug(frozenset({0, 1}), frozenset({0}))
    assert model.read(a, "cpus") == "0-1\n"
    assert tasks(model, a) == [task]


def test_a_cpuset_that_has_no_cpus_yet_gets_none_when_others_go(model: Machine2006) -> None:
    model.mount_options("cpuset")
    a = Place("cpuset", "/a")
    model.make(a)
    model.simulator.plug(frozenset({0, 1}), frozenset({0}))
    assert (model.read(a, "cpus"), model.read(a, "mems")) == ("\n", "\n")


# cpuacct (3)


def test_cpu_time_is_a_containers_own_and_goes_with_it(model: Machine2006) -> None:
    model.mount_options("cpuacct")
    root, a, task = Place("cpuacct"), Place("cpuacct", "/a"), model.simulator.spawn()
    model.make(a)
    b = a.child("b")
    model.make(b)
    enter(model, b, task)
    model.simulator.work(task, 3_000_000_000)
    enter(model, root, task)
    assert model.read(a, "cpuacct.usage") == "0"
    model.remove(b)
    assert [model.read(place, "cpuacct.usage") for place in (a, root)] == ["0", "0"]


# numtasks (4)


def test_shares_are_shown_in_one_line_and_keep_what_is_not_said(model: Machine2006) -> None:
    model.mount_options("numtasks")
    a = Place("numtasks", "/a")
    model.make(a)
    line = "res=numtasks,min_shares={},max_shares={},child_shares_divisor={}\n"
    assert model.read(a, "numtasks.shares") == line.format(-3, -3, 100)
    model.write(a, "numtasks.shares", "min_shares=0x10,,max_shares=020")
    assert model.read(a, "numtasks.shares") == line.format(16, 16, 100)
    model.write(a, "numtasks.shares", "min_shares=-1,child_shares_divisor=7,res=whatever\n")
    assert model.read(a, "numtasks.shares") == line.format(16, 16, 7)


def test_the_stats_are_four_lines_and_a_reset_names_a_resource(model: Machine2006) -> None:
    model.mount_options("numtasks")
    task = model.simulator.spawn()
    root = Place("numtasks")
    assert model.read(root, "numtasks.stats") == (
        "numtasks: Current usage 1\n"
        "numtasks: Number of successes 1\n"
        "numtasks: Number of failures 0\n"
        "numtasks: Number of forkrate failures 0\n"
    )
    model.simulator.fork(task)
    assert stats(model, root)[:2] == [2, 2]
    model.write(root, "numtasks.stats", "res=numtasks")
    refused(errno.EINVAL, model.write, root, "numtasks.stats", "numtasks")


def test_limits_are_parts_of_parts_and_only_the_own_one_is_tested(model: Machine2006) -> None:
    model.mount_options("numtasks")
    a = Place("numtasks", "/a")
    b, c = a.child("b"), a.child("c")
    for place in (a, b, c):
        model.make(place)
    model.simulator.module("numtasks.total_numtasks", "100")
    model.write(a, "numtasks.shares", "max_shares=4")
    model.write(b, "numtasks.shares", "max_shares=50")
    task, other = model.simulator.spawn(), model.simulator.spawn()
    enter(model, b, task)
    model.simulator.fork(task)
    refused(errno.ENOSPC, model.simulator.fork, task)  # half of 4
    enter(model, c, other)
    for _ in range(9):
        model.simulator.fork(other)  # don't care, whatever is above
    enter(model, a, other)
    refused(errno.ENOSPC, model.simulator.fork, other)


def test_tasks_are_borrowed_where_nothing_is_unused(model: Machine2006) -> None:
    model.mount_options("numtasks")
    a = Place("numtasks", "/a")
    model.make(a)
    model.simulator.module("numtasks.total_numtasks", "100")
    model.write(a, "numtasks.shares", "min_shares=2")
    played = [model.simulator.spawn() for _ in range(3)]
    enter(model, a, *played)
    assert stats(model, a)[:2] == [3, 2]
    assert stats(model, Place("numtasks"))[0] == 1
    more = [model.simulator.spawn(), model.simulator.spawn()]
    enter(model, a, *more)
    assert stats(model, Place("numtasks"))[0] == 3
    for task in more:
        model.simulator.exit(task)
    assert stats(model, Place("numtasks"))[0] == 1
    for task in played:
        model.simulator.exit(task)
    assert [stats(model, place)[0] for place in (a, Place("numtasks"))] == [0, 0]


def test_what_a_removed_child_had_reserved_is_free_again(model: Machine2006) -> None:
    model.mount_options("numtasks")
    a, b = Place("numtasks", "/a"), Place("numtasks", "/b")
    model.make(a)
    model.make(b)
    model.write(a, "numtasks.shares", "min_shares=60")
    model.remove(a)
    model.write(b, "numtasks.shares", "min_shares=100")


def test_the_parameters_hold_for_the_machine_and_are_checked(model: Machine2006) -> None:
    for name in ("total_numtasks", "forkrate", "forkrate_interval"):
        refused(errno.EINVAL, model.simulator.module, f"numtasks.{name}", "0")
        refused(errno.EINVAL, model.simulator.module, f"numtasks.{name}", "x")
        refused(errno.EINVAL, model.simulator.module, f"numtasks.{name}", "-1")
    assert model.simulator.module("numtasks.total_numtasks") == model.simulator.module(
        "numtasks.forkrate"
    )
    assert model.simulator.module("numtasks.forkrate_interval") == "1"
    refused(errno.ENOENT, model.simulator.module, "bc.total")
    for _ in range(3):
        model.simulator.spawn()
    refused(errno.EINVAL, model.simulator.module, "numtasks.total_numtasks", "3")
    assert model.simulator.module("numtasks.total_numtasks", "4\n") == "4"


def test_a_parameter_is_an_int_of_c(model: Machine2006) -> None:
    name = "numtasks.forkrate"
    for text, number in (
        *(("0x1F\n", 31), ("017", 15), ("12 monkeys", 12)),
        *((f"{1 << 64 | 5}", 5), (f"-{(1 << 64) - 5}", 5), ("2147483647", 2147483647)),
    ):
        assert model.simulator.module(name, text) == str(number)
    for text in ("", "x", "08", "0x", "-", " 1", "2147483648", "-2147483648", "-2147483649"):
        refused(errno.EINVAL, model.simulator.module, name, text)
    assert model.simulator.module(name) == "2147483647"


def test_forks_are_tested_though_numtasks_is_bound_nowhere(model: Machine2006) -> None:
    task = model.simulator.spawn()
    model.simulator.module("numtasks.forkrate", "1")
    model.simulator.fork(task)
    refused(errno.ENOSPC, model.simulator.fork, task)
    model.simulator.module("numtasks.forkrate", "1")  # a new period for the root
    model.simulator.fork(task)
    model.mount_options("numtasks")
    assert stats(model, Place("numtasks"))[3] == 1


def test_a_period_goes_on_when_others_are_bound(model: Machine2006) -> None:
    task = model.simulator.spawn()
    model.simulator.module("numtasks.forkrate", "1")
    model.simulator.fork(task)
    model.mount_options("cpuacct")
    refused(errno.ENOSPC, model.simulator.fork, task)


def test_a_refused_fork_has_used_up_one_of_the_period(model: Machine2006) -> None:
    model.mount_options("numtasks")
    a, task = Place("numtasks", "/a"), model.simulator.spawn()
    model.make(a)
    enter(model, a, task)
    model.simulator.module("numtasks.total_numtasks", "100")
    model.write(a, "numtasks.shares", "max_shares=1")
    model.simulator.module("numtasks.forkrate", "1")
    refused(errno.ENOSPC, model.simulator.fork, task)
    refused(errno.ENOSPC, model.simulator.fork, task)
    assert stats(model, a)[2:] == [1, 1]


# bc (5)


def test_the_root_may_open_what_a_long_can_hold(model: Machine2006) -> None:
    model.mount_options("bc")
    root = Place("bc")
    assert model.read(root, "bc.numfiles.barrier") == f"{MOST_FILES}\n"
    refused(errno.EINVAL, model.write, root, "bc.numfiles.limit", str(MOST_FILES + 1))
    refused(errno.EINVAL, model.write, root, "bc.numfiles.limit", "0x10")
    for file in ("held", "maxheld", "minheld", "failcnt"):
        refused(errno.EINVAL, model.write, root, f"bc.numfiles.{file}", "0")


def test_limits_below_what_is_held_leave_the_files_open(model: Machine2006) -> None:
    model.mount_options("bc")
    a, task = Place("bc", "/a"), model.simulator.spawn(uid=USER)
    model.make(a)
    model.make(a.child("b"))
    enter(model, a, task)
    files = [model.simulator.open_one(task) for _ in range(3)]
    writes(model, a, bc__numfiles__barrier="1")
    refused(errno.ENFILE, model.simulator.open_one, task)
    assert model.read(a, "bc.numfiles.held") == "3\n"
    for file in files:
        model.simulator.close_one(task, file)
    values = [model.read(a, f"bc.numfiles.{one}") for one in ("held", "maxheld", "minheld")]
    assert values == ["0\n", "3\n", "0\n"]
    assert model.read(a.child("b"), "bc.numfiles.barrier") == "256\n"
    refused(errno.EBADF, model.simulator.close_one, task, files[0])


def test_parents_are_neither_charged_nor_asked(model: Machine2006) -> None:
    model.mount_options("bc")
    a = Place("bc", "/a")
    b, task = a.child("b"), model.simulator.spawn(uid=USER)
    model.make(a)
    model.make(b)
    writes(model, a, bc__numfiles__barrier="0")
    enter(model, b, task)
    model.simulator.open_one(task)
    assert model.read(a, "bc.numfiles.held") == "0\n"


def test_a_container_with_an_open_file_is_notified_too_early_and_once(model: Machine2006) -> None:
    """1.9: the kernel ignores references for the notification; the last close sends none."""
    model.mount_options("bc")
    root, a, task = Place("bc"), Place("bc", "/a"), model.simulator.spawn()
    model.write(root, "release_agent", "/agent")
    model.make(a)
    model.write(a, "notify_on_release", "1")
    enter(model, a, task)
    file = model.simulator.open_one(task)
    enter(model, root, task)
    assert model.simulator.notified == [("/agent", "/a")]
    refused(errno.EBUSY, model.remove, a)
    model.simulator.close_one(task, file)
    assert len(model.simulator.notified) == 1


# container_clone (6.1, 6.2) and the rules of ns (6.2, 6.3)


def test_a_clone_is_a_child_that_looks_like_its_parent(model: Machine2006) -> None:
    model.mount_options("cpuset,bc")
    tree = "cpuset,bc"
    a, task = make(model, Place(tree, "/a"), "1", "0"), model.simulator.spawn()
    model.write(a, "notify_on_release", "1")
    enter(model, a, task)
    thread = model.simulator.thread(task)
    path = model.simulator.container_clone("bc", task)
    assert path == f"/a/node_{task}"
    node = Place(tree, path)
    assert (model.read(node, "cpus"), model.read(node, "mems")) == ("1\n", "0\n")
    assert model.read(node, "notify_on_release") == "1\n"
    assert (tasks(model, node), tasks(model, a)) == ([task], [thread])
    assert model.simulator.container_clone("cpuset", task) == f"{path}/node_{task}"


def test_a_clone_where_nothing_is_bound_does_nothing(model: Machine2006) -> None:
    task = model.simulator.spawn()
    model.mount_options("cpuset")
    assert (
        model.simulator.container_clone("bc", task)
        == model.simulator.container_clone("ns", task)
        == ""
    )
    assert model.children(Place("cpuset")) == []
    refused(errno.ENOENT, model.simulator.container_clone, "foo", task)


def test_a_clone_that_exists_is_refused(model: Machine2006) -> None:
    model.mount_options("cpuset")
    task = model.simulator.spawn()
    make(model, Place("cpuset", f"/node_{task}"))
    refused(errno.EEXIST, model.simulator.container_clone, "cpuset", task)
    assert model.membership(task) == {"cpuset": "/"}


def test_beside_an_exclusive_sibling_a_clone_stays_empty_and_is_left(model: Machine2006) -> None:
    model.mount_options("cpuset")
    writes(model, make(model, Place("cpuset", "/x"), "0"), cpu_exclusive="1")
    task = model.simulator.spawn()
    refused(errno.ENOSPC, model.simulator.container_clone, "cpuset", task)
    node = Place("cpuset", f"/node_{task}")
    assert (model.read(node, "cpus"), tasks(model, node)) == ("\n", [])
    model.remove(node)


def test_in_ns_a_task_only_goes_down_into_what_is_empty(tmp_path: Path) -> None:
    model = Machine2006(str(tmp_path), V6_NS)
    model.mount_options("ns")
    a, b = Place("ns", "/a"), Place("ns", "/b")
    model.make(a)
    model.make(b)
    one, two = model.simulator.spawn(uid=USER), model.simulator.spawn(uid=USER)
    enter(model, a, one)
    refused(errno.EPERM, model.write, a, "tasks", str(two))
    refused(errno.EPERM, model.write, b, "tasks", str(one))
    refused(errno.EPERM, model.write, Place("ns"), "tasks", str(one))
    model.config.uid = USER
    refused(errno.EPERM, model.write, b, "tasks", str(two))
    refused(errno.EPERM, model.make, a.child("c"))
    root = model.simulator.spawn(uid=0)
    assert model.simulator.container_clone("ns", root) == f"/node_{root}"
    assert model.simulator.container_clone("ns", root) == f"/node_{root}/node_{root}"
    assert "4: name=ns hierarchy=1\n" in model.simulator.proc_file("containers")


def test_in_ns_a_container_is_empty_when_its_task_has_ended(tmp_path: Path) -> None:
    alive(tmp_path, 7)
    model = Machine2006(str(tmp_path), V6_NS)
    model.mount_options("ns")
    a, two = Place("ns", "/a"), model.simulator.spawn()
    model.make(a)
    enter(model, a, 7)
    shutil.rmtree(tmp_path / "7")
    assert list(model.enter(a, [two])) == [two]


# The state


def test_all_of_it_is_there_in_the_next_command(tmp_path: Path) -> None:
    file = str(tmp_path / "state.json")
    model = StoredModel(file, "v6")
    tree = "numtasks,cpuset,bc"
    a = Place(tree, "/a")
    with model.exclusive():
        model.make_directory("/m")
        model.mount(TreeRequest(("numtasks", "cpuset", "bc")), "/m", "x")
        make(model, a, "0", "0")
        writes(model, a, auto_delete="1", numtasks__shares="max_shares=1")
        task = model.simulator.spawn()
        model.simulator.work(task, 7_000_000)
        enter(model, a, task)
        child, opened = model.simulator.fork(task), model.simulator.open_one(task)
        model.simulator.module("numtasks.forkrate", "5")
    model = StoredModel(file)
    assert model.config.dialect is V6
    assert (stats(model, a), tasks(model, a)) == ([2, 0, 0, 0], [task, child])
    assert model.read(a, "bc.numfiles.held") == "1\n"
    assert model.simulator.module("numtasks.forkrate") == "5"
    with model.exclusive():
        model.simulator.exit(child)
        enter(model, Place(tree), task)
        assert model.children(Place(tree)) == ["a"]
        model.simulator.close_one(task, opened)
        assert model.children(Place(tree)) == []
        model.umount("/m")
        model.make_directory("/c")
        model.mount(TreeRequest(("cpuacct",)), "/c", "x")
    assert StoredModel(file, "v6").read(Place("cpuacct"), "cpuacct.usage") == "7"


@pytest.mark.parametrize(("has", "asked"), [("v6", "v1"), ("v1", "v6")])
def test_a_state_of_another_dialect_is_refused_and_kept(
    tmp_path: Path, has: str, asked: str
) -> None:
    file = tmp_path / "state.json"
    model = StoredModel(str(file), has)
    with model.exclusive():
        model.make_directory("/m")
    before = file.read_bytes()
    with pytest.raises(Unsupported, match=f"has dialect {has}, not {asked}"):
        StoredModel(str(file), asked)
    assert file.read_bytes() == before


# The command line


def test_what_is_refused_has_its_exit_status(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = ["--backend", "model", "--state", str(tmp_path / "state.json")]

    def pcont(line: str) -> int:
        return main([*state, *line.split()])

    assert pcont("--dialect v6 mount -o cpuset /1") == 0
    assert pcont("mount -o cpuacct /2") == pcont("mount -o numtasks /3") == 0
    assert pcont("mount -o bc /4") == 8
    assert pcont("mount -o bc --name jobs /4") == 3
    assert pcont("--dialect v1 hierarchies") == 6
    assert pcont("sim mount-cpuset /dev/cpuset") == pcont("umount /dev/cpuset --foreign") == 0
    assert pcont("create cpuset:/a") == 0
    assert pcont("set cpuset:/a cpus=x") == 7
    capsys.readouterr()
    assert pcont("get cpuset:/a mems memory_migrate") == 0
    assert capsys.readouterr().out == "mems=\nmemory_migrate=0\n"
    assert pcont("sim fork --count 2") == pcont("create -i cpuset:/b") == 0
    assert pcont("sim thread 5000000") == 0
    capsys.readouterr()
    assert pcont("attach -n cpuset:/b 5000000") == 0
    assert capsys.readouterr().out == "".join(
        f"echo {one} > /1/b/tasks\n" for one in (5000000, 5000002)
    )
    assert pcont("attach cpuset:/b 5000000") == 0
    assert pcont("get cpuset:/b tasks") == 0
    assert capsys.readouterr().out == "5000000\n5000002\n"
    assert pcont("rm --kill cpuset:/b") == 0
    assert pcont("where 5000002") == 3


def test_a_dialect_is_the_models(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--backend", "cgroupfs", "--dialect", "v6", "hierarchies"]) == 2
    assert "--dialect needs --backend model" in capsys.readouterr().err
