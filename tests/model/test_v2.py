"""The dialect v2 of the model answers as Linux 6.12 does.

tests/data/v2/6.12.json is what tests/subsys/v2_record.py recorded in a guest. The scenes below were
played in the same guest, with the same answers.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pcont.backend_model import SMALL, Model
from pcont.kernel.types import UNIFIED, Place, TreeRequest
from pcont.model.dialects import DIALECTS
from tests.subsys.v2_record import THREADED, plain

RECORD = json.loads((Path(__file__).parents[1] / "data" / "v2" / "6.12.json").read_text())
DISK = "253:7"
TASK_FILES = ("cgroup.procs", "cgroup.threads")

# Where pcont knowingly refuses what the kernel misreads, and one refusal with another errno.
MISREAD = {
    *(("cpu.max", "max x"), ("cpu.max", "1000 1000 1000"), ("rdma.max", "")),
    *(("memory.max", ""), ("memory.max", "99999999999999999999")),
}


class Machine:
    """A model of cgroup v2, as other programs use it: by paths, files and errnos."""

    def __init__(self) -> None:
        self.model = Model(SMALL, dialect=DIALECTS["v2"], clock=lambda: 0.0)
        self.sim = self.model.simulator

    def read(self, path: str, file: str) -> str:
        try:
            return self.model.read(place(path), file)
        except OSError as err:
            return f"[{name_of(err)}]"

    def write(self, path: str, file: str, text: str) -> str:
        return self.tried(lambda: self.model.write(place(path), file, text or "\n"))

    def mkdir(self, *paths: str) -> str:
        return self.tried(lambda: list(map(self.model.make, map(place, paths))))

    def rmdir(self, path: str) -> str:
        return self.tried(lambda: self.model.remove(place(path)))

    def tried(self, act: Callable[[], object]) -> str:
        """What an act answers: ok, or the name of the errno."""
        try:
            act()
        except OSError as err:
            return name_of(err)
        return "ok"

    def enable(self, path: str, *names: str) -> None:
        words = " ".join(f"+{name}" for name in names)
        assert self.write(path, "cgroup.subtree_control", words) == "ok"

    def task(self, path: str = "/") -> int:
        """A new process in a container."""
        task = self.sim.spawn()
        assert self.write(path, "cgroup.procs", str(task)) == "ok"
        return task

    def where(self, task: int) -> str:
        return self.model.membership(task)[UNIFIED]


def place(path: str) -> Place:
    return Place(UNIFIED, path)


def name_of(err: OSError) -> str:
    name = errno.errorcode[err.errno or 0]
    return "EOPNOTSUPP" if name == "ENOTSUP" else name


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def recorded(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """The containers of the record, on a machine with one disk."""
    monkeypatch.setattr("os.path.exists", lambda path: path == f"/sys/dev/block/{DISK}")
    words = machine.read("/", "cgroup.controllers").split()
    machine.enable("/", *words)
    machine.mkdir("/top")
    machine.enable("/top", *words)
    machine.mkdir("/top/domain", "/top/threadedroot", "/top/domain/plain")
    machine.mkdir("/top/threadedroot/threaded")
    machine.write("/top/threadedroot/threaded", "cgroup.type", "threaded")
    machine.enable("/top/threadedroot", *(word for word in words if word in THREADED))
    machine.mkdir("/top/threadedroot/invalid")
    return machine


PATHS = {
    "root": "/",
    "domain": "/top/domain",
    "plain": "/top/domain/plain",
    "threadedroot": "/top/threadedroot",
    "threaded": "/top/threadedroot/threaded",
    "invalid": "/top/threadedroot/invalid",
}


@pytest.mark.parametrize("kind", PATHS)
def test_a_container_has_the_files_and_texts_of_the_kernel(recorded: Machine, kind: str) -> None:
    expected, path = RECORD["containers"][kind], PATHS[kind]
    found = recorded.model.files(place(path))
    assert found == {file: bool(int(mode, 8) & 0o200) for file, (mode, _) in expected.items()}
    for file, (_, text) in expected.items():
        # The driver reads the processes of a threaded container, and disks have counters.
        if (file, kind) in (("cgroup.procs", "threaded"), ("io.stat", "root")):
            continue
        if kind != "root" or file not in TASK_FILES:
            assert plain(file, recorded.read(path, file)) == text, file


WRITES = [
    pytest.param(section, one, id=f"{section}-{one[0][0]}={one[0][1]!r}-{index}")
    for section in ("writes", "with a task", "threaded")
    for index, one in enumerate(RECORD[section])
    if (one[0][0], one[0][1]) not in MISREAD
]


@pytest.mark.parametrize(("section", "tries"), WRITES)
def test_each_write_answers_as_the_kernel(
    recorded: Machine, section: str, tries: list[list[str]]
) -> None:
    is_threaded = section == "threaded"
    path = f"/top{'/threadedroot' if is_threaded else ''}/tried"
    recorded.mkdir(path)
    if is_threaded:
        recorded.write(path, "cgroup.type", "threaded")
    if section == "with a task":
        recorded.task(path)
    for file, text, answer, then in tries:
        assert recorded.write(path, file, text.replace("DEV", DISK)) == answer
        if not (is_threaded and file == "cgroup.procs"):
            assert plain(file, recorded.read(path, file)).replace(DISK, "DEV") == then


# Threaded containers


def test_tasks_over_controllers_for_threads_make_a_threaded_root(machine: Machine) -> None:
    machine.enable("/", "cpu", "memory", "pids")
    machine.mkdir("/m", "/m/c")
    machine.enable("/m", "pids")
    task = machine.task("/m")
    assert machine.read("/m", "cgroup.type") == "domain threaded\n"
    assert machine.read("/m/c", "cgroup.type") == "domain invalid\n"
    other = machine.sim.spawn()
    assert machine.write("/m/c", "cgroup.procs", str(other)) == "EOPNOTSUPP"
    assert machine.write("/m", "cgroup.subtree_control", "+memory") == "EOPNOTSUPP"
    assert machine.write("/m", "cgroup.subtree_control", "+cpu") == "ok"
    assert machine.write("/", "cgroup.procs", str(task)) == "ok"
    assert machine.read("/m", "cgroup.type") == "domain\n"
    assert machine.write("/m/c", "cgroup.procs", str(other)) == "ok"
    assert machine.write("/m", "cgroup.procs", str(task)) == "EBUSY"


def test_a_threaded_container_below_the_root_loses_what_threads_cannot_have(
    machine: Machine,
) -> None:
    machine.enable("/", "cpu", "memory", "pids")
    machine.mkdir("/x")
    machine.write("/x", "memory.max", "64M")
    machine.write("/x", "pids.max", "9")
    assert machine.write("/x", "cgroup.type", "threaded") == "ok"
    assert machine.read("/x", "memory.max") == "[ENOENT]"
    assert machine.read("/x", "pids.max") == "9\n"
    assert machine.read("/x", "cgroup.controllers") == "cpu pids\n"
    machine.mkdir("/x/y")
    assert machine.read("/x/y", "cgroup.type") == "domain invalid\n"
    assert machine.read("/x/y", "cgroup.controllers") == ""
    task = machine.task("/x")
    assert str(task) in machine.read("/", "cgroup.procs").split()
    assert str(task) not in machine.read("/", "cgroup.threads").split()
    assert machine.read("/x", "cgroup.threads") == f"{task}\n"
    for text, answer in (("1", "EOPNOTSUPP"), ("0", "ERANGE"), ("x", "EINVAL")):
        assert machine.write("/x", "cgroup.kill", text) == answer
    for file in ("cgroup.procs", "cgroup.threads"):
        assert machine.write("/x/y", file, str(task)) == "EOPNOTSUPP"
    for text, answer in (("+pids", "ENOENT"), ("-pids", "ok"), ("", "ok")):
        assert machine.write("/x/y", "cgroup.subtree_control", text) == answer
    for text, answer in (("threaded", "ok"), ("threaded", "ok"), ("domain", "EINVAL")):
        assert machine.write("/x/y", "cgroup.type", text) == answer
    assert machine.write("/x/y", "cgroup.threads", str(task)) == "ok"
    assert machine.rmdir("/x/y") == "EBUSY"


def test_tasks_keep_siblings_from_becoming_threaded(machine: Machine) -> None:
    machine.enable("/", "cpu", "memory", "pids")
    machine.mkdir("/d", "/d/e", "/d/f")
    task = machine.task("/d/e")
    for path in ("/d/e", "/d/f"):
        assert machine.write(path, "cgroup.type", "threaded") == "EOPNOTSUPP"
    machine.write("/", "cgroup.procs", str(task))
    assert machine.write("/d/f", "cgroup.type", "threaded") == "ok"
    assert machine.read("/d/e", "cgroup.type") == "domain invalid\n"
    machine.mkdir("/d/e/g")
    assert machine.write("/d/e/g", "cgroup.type", "threaded") == "EOPNOTSUPP"
    for path in ("/d/e", "/d/e/g"):
        assert machine.write(path, "cgroup.type", "threaded") == "ok"
    assert machine.write("/d", "cgroup.procs", str(task)) == "ok"
    assert machine.write("/d", "cgroup.subtree_control", "+pids +cpu") == "ok"
    assert machine.write("/d/e", "cgroup.threads", str(task)) == "ok"
    assert machine.read("/d", "cgroup.procs") == f"{task}\n"
    assert machine.read("/d", "cgroup.threads") == ""
    assert machine.read("/d", "pids.current") == "1\n"
    assert machine.read("/d", "cgroup.events") == "populated 1\nfrozen 0\n"
    assert machine.write("/d", "cgroup.kill", "1") == "ok"
    assert machine.read("/d/e", "cgroup.events") == "populated 0\nfrozen 0\n"
    for path in ("/d/e/g", "/d/e", "/d/f"):
        assert machine.rmdir(path) == "ok"
    assert machine.read("/d", "cgroup.type") == "domain\n"


def test_threaded_children_follow_a_container_that_becomes_threaded(machine: Machine) -> None:
    machine.mkdir("/d", "/d/p", "/d/p/c", "/d/q")
    task = machine.sim.spawn()
    machine.write("/d/p/c", "cgroup.type", "threaded")
    assert machine.read("/d/p", "cgroup.type") == "domain threaded\n"
    machine.write("/d/q", "cgroup.type", "threaded")
    assert machine.read("/d/p", "cgroup.type") == "domain invalid\n"
    assert machine.read("/d/p/c", "cgroup.type") == "threaded\n"
    assert machine.write("/d/p/c", "cgroup.procs", str(task)) == "EOPNOTSUPP"
    assert machine.write("/d/p", "cgroup.type", "threaded") == "ok"
    assert machine.write("/d/p/c", "cgroup.procs", str(task)) == "ok"


def test_a_threaded_container_is_valid_below_one_that_is_not(machine: Machine) -> None:
    machine.mkdir("/d", "/d/g", "/d/g/p", "/d/g/p/c")
    machine.write("/d/g/p/c", "cgroup.type", "threaded")
    machine.write("/d/g", "cgroup.type", "threaded")
    assert machine.read("/d/g/p", "cgroup.type") == "domain invalid\n"
    assert machine.read("/d/g/p/c", "cgroup.type") == "threaded\n"
    task = machine.task("/d/g/p/c")
    assert machine.where(task) == "/d/g/p/c"
    assert machine.read("/d", "cgroup.procs") == f"{task}\n"


def test_a_thread_moves_within_its_subtree_only(machine: Machine) -> None:
    machine.mkdir("/j", "/j/a", "/j/b", "/o", "/k", "/k/a")
    for path in ("/j/a", "/j/b", "/k/a"):
        machine.write(path, "cgroup.type", "threaded")
    process = machine.sim.spawn()
    thread = machine.sim.thread(process)
    assert machine.write("/j/a", "cgroup.threads", str(process)) == "EOPNOTSUPP"
    assert machine.write("/j/a", "cgroup.procs", str(thread)) == "ok"
    assert (machine.where(process), machine.where(thread)) == ("/j/a", "/j/a")
    for path, answer in (
        ("/j/b", "ok"),
        ("/j", "ok"),
        ("/o", "EOPNOTSUPP"),
        ("/k/a", "EOPNOTSUPP"),
    ):
        assert machine.write(path, "cgroup.threads", str(thread)) == answer
    assert (machine.where(process), machine.where(thread)) == ("/j/a", "/j")
    assert machine.write("/k/a", "cgroup.procs", str(process)) == "ok"
    assert (machine.where(process), machine.where(thread)) == ("/k/a", "/k/a")


# Controllers


@pytest.mark.parametrize(
    ("text", "answer", "then"),
    [
        ("+foo", "EINVAL", "cpu pids\n"),
        ("+pids\t+cpu", "EINVAL", "cpu pids\n"),
        ("+pids -pids", "ok", "cpu\n"),
        (" +cpu  -cpu +cpu \n", "ok", "cpu pids\n"),
        ("+cpuacct", "EINVAL", "cpu pids\n"),
        ("-memory", "ok", "cpu pids\n"),
        ("+perf_event", "ENOENT", "cpu pids\n"),
        ("-perf_event", "ok", "cpu pids\n"),
        ("-foo", "EINVAL", "cpu pids\n"),
        ("+", "EINVAL", "cpu pids\n"),
        ("+memory +hugetlb", "ENOENT", "cpu pids\n"),
        ("+hugetlb -nope", "EINVAL", "cpu pids\n"),
        ("-cpu +hugetlb", "EBUSY", "cpu pids\n"),
        ("+hugetlb -pids", "ENOENT", "cpu pids\n"),
    ],
)
def test_controllers_are_checked_in_the_order_of_the_kernel(
    machine: Machine, text: str, answer: str, then: str
) -> None:
    machine.enable("/", "cpu", "memory", "pids")
    machine.mkdir("/m", "/m/c")
    machine.enable("/m", "cpu", "pids")
    machine.enable("/m/c", *("cpu", "pids") if answer != "ok" else ("cpu",))
    if text == " +cpu  -cpu +cpu \n":
        machine.write("/m/c", "cgroup.subtree_control", "-cpu")
    assert machine.write("/m", "cgroup.subtree_control", text) == answer
    assert machine.read("/m", "cgroup.subtree_control") == then


def test_a_disabled_controller_forgets_settings(machine: Machine) -> None:
    machine.enable("/", "pids", "memory", "cpu")
    machine.mkdir("/a")
    for file, text in (("pids.max", "5"), ("memory.max", "1M"), ("cpu.weight", "7")):
        machine.write("/a", file, text)
    assert machine.write("/", "cgroup.subtree_control", "-pids -memory -cpu") == "ok"
    assert machine.read("/a", "pids.max") == "[ENOENT]"
    machine.enable("/", "pids", "memory", "cpu")
    texts = [machine.read("/a", file) for file in ("pids.max", "memory.max", "cpu.weight")]
    assert texts == ["max\n", "max\n", "100\n"]


def test_tasks_are_counted_from_when_pids_is_enabled(machine: Machine) -> None:
    machine.enable("/", "pids")
    machine.mkdir("/m", "/m/c")
    task = machine.task("/m/c")
    machine.sim.exit(machine.sim.fork(task))
    machine.enable("/m", "pids")
    assert machine.read("/m/c", "pids.current") == machine.read("/m/c", "pids.peak") == "1\n"


def test_a_limit_counts_the_forks_that_it_refuses(machine: Machine) -> None:
    machine.enable("/", "pids")
    machine.mkdir("/i", "/i/j", "/i/j/k")
    machine.enable("/i", "pids")
    machine.write("/i", "pids.max", "1")
    task = machine.task("/i/j/k")
    assert machine.tried(lambda: machine.sim.fork(task)) == "EAGAIN"
    for file in ("pids.events", "pids.events.local"):
        assert machine.read("/i", file) == "max 1\n"
        assert machine.read("/i/j", file) == "max 0\n"
    assert machine.read("/i", "pids.peak") == "1\n"
    assert machine.read("/i/j", "pids.peak") == "2\n"


def test_counts_of_controllers_are_those_of_the_kernel(machine: Machine) -> None:
    machine.enable("/", "cpu", "cpuset", "memory", "pids", "io")
    machine.mkdir("/p", "/p/q")
    machine.enable("/p", "pids")
    found = [dict(map(str.split, machine.read(path, "cgroup.stat").splitlines())) for path in
             ("/p", "/p/q")]  # fmt: skip
    assert [one["nr_descendants"] for one in found] == ["1", "0"]
    names = ("cpuset", "memory", "perf_event", "hugetlb", "pids")
    counts = ["".join(one[f"nr_subsys_{name}"] for name in names) for one in found]
    assert counts == ["11202", "00101"]


def test_limits_of_containers(machine: Machine) -> None:
    machine.enable("/", "memory")
    machine.mkdir("/l")
    machine.write("/l", "cgroup.max.depth", "0")
    assert machine.mkdir("/l/a") == "EAGAIN"
    machine.write("/l", "cgroup.max.depth", "1")
    assert [machine.mkdir(f"/l/{name}") for name in ("a", "a/b", "a")] == ["ok", "EAGAIN", "EEXIST"]
    assert [machine.mkdir(f"/l/{name}") for name in ("cgroup.procs", "memory.max", "tasks")] == [
        "EEXIST",
        "EEXIST",
        "ok",
    ]
    machine.rmdir("/l/tasks")
    machine.write("/l", "cgroup.max.descendants", "1")
    assert machine.mkdir("/l/c") == "EAGAIN"
    assert machine.rmdir("/l/memory.max") == "ENOTDIR"


# Values


def test_a_weight_has_two_names(machine: Machine) -> None:
    machine.enable("/", "cpu")
    machine.mkdir("/c")
    for weight, nice in ((200, -3), (10000, -20), (1, 19), (3, 16), (59, 2), (100, 0)):
        machine.write("/c", "cpu.weight", str(weight))
        assert machine.read("/c", "cpu.weight") == f"{weight}\n"
        assert machine.read("/c", "cpu.weight.nice") == f"{nice}\n"
    nices = {-20: 8668, -10: 932, -5: 305, -1: 125, 0: 100, 1: 80, 5: 33, 10: 11, 15: 4, 18: 2}
    for nice, weight in nices.items():
        machine.write("/c", "cpu.weight.nice", str(nice))
        assert machine.read("/c", "cpu.weight") == f"{weight}\n"
        assert machine.read("/c", "cpu.weight.nice") == f"{nice}\n"
    machine.write("/c", "cpu.idle", "1")
    assert machine.read("/c", "cpu.weight") == "1\n"
    assert machine.read("/c", "cpu.weight.nice") == "19\n"
    machine.write("/c", "cpu.idle", "0")
    assert machine.read("/c", "cpu.weight") == "100\n"


def test_a_burst_is_not_above_the_quota(machine: Machine) -> None:
    machine.enable("/", "cpu")
    machine.mkdir("/c")
    steps = (
        *(("cpu.max", "50000", "ok"), ("cpu.max.burst", "60000", "EINVAL")),
        *(("cpu.max.burst", "20000", "ok"), ("cpu.max", "10000", "EINVAL")),
        *(("cpu.max", "max", "ok"), ("cpu.max.burst", "60000", "ok")),
        *(("cpu.max", "10000", "EINVAL"), ("cpu.max.burst", "0", "ok")),
        ("cpu.max", "10000 20000", "ok"),
    )
    for file, text, answer in steps:
        assert machine.write("/c", file, text) == answer
    assert machine.read("/c", "cpu.max") == "10000 20000\n"


def test_the_cpus_of_tasks_follow_the_effective_lists(machine: Machine) -> None:
    machine.enable("/", "cpuset")
    machine.mkdir("/s", "/s/t")
    machine.enable("/s", "cpuset")
    machine.write("/s", "cpuset.cpus", "0-1")
    machine.write("/s/t", "cpuset.cpus", "2-3")
    task = machine.task("/s/t")

    def check(path: str, file: str, text: str, answer: str, *cpus: int) -> None:
        assert machine.write(path, file, text) == answer
        assert sorted(machine.model.affinity(task)) == list(cpus), (path, file, text)

    assert machine.read("/s/t", "cpuset.cpus.effective") == "0-1\n"
    check("/s/t", "cpuset.cpus", "1,3", "ok", 1)
    check("/s/t", "cpuset.cpus", "\n", "ENOSPC", 1)
    check("/s", "cpuset.cpus", "\n", "ENOSPC", 1)
    machine.model.set_affinity(task, frozenset({1, 2}))
    check("/s", "cpuset.cpus", "0-3", "ok", 1)
    check("/s/t", "cpuset.cpus", "2", "ok", 2)
    check("/s/t", "cpuset.cpus", "2-3", "ok", 2)
    check("/s/t", "cpuset.cpus", "0,3", "ok", 0, 3)
    check("/s", "cgroup.subtree_control", "-cpuset", "ok", 1, 2)
    check("/s", "cgroup.subtree_control", "+cpuset", "ok", 1, 2)
    assert machine.read("/s/t", "cpuset.cpus") == "\n"
    check("/s", "cpuset.cpus", "3", "ok", 3)
    check("/", "cgroup.procs", str(task), "ok", 1, 2)
    check("/s", "cpuset.cpus", "\n", "ok", 1, 2)
    machine.write("/s", "cpuset.mems", "1")
    assert machine.read("/s/t", "cpuset.mems.effective") == "1\n"


def test_a_partition_that_can_have_no_cpus_is_invalid(machine: Machine) -> None:
    machine.enable("/", "cpuset")
    machine.mkdir("/s", "/s/t")
    machine.enable("/s", "cpuset")
    machine.write("/s", "cpuset.cpus.exclusive", "1")
    machine.write("/s/t", "cpuset.cpus.exclusive", "2")
    assert machine.write("/s", "cpuset.cpus.partition", "root") == "ok"
    assert machine.read("/s", "cpuset.cpus.partition") == "root\n"
    machine.write("/s", "cpuset.cpus.partition", "member")
    machine.write("/s/t", "cpuset.cpus.partition", "root")
    why = "Invalid cpu list in cpuset.cpus.exclusive"
    assert machine.read("/s/t", "cpuset.cpus.partition") == f"root invalid ({why})\n"


# Freezing, ends, and what is shown


def test_frozen_tasks_are_killed(machine: Machine) -> None:
    machine.mkdir("/f", "/f/g")
    machine.write("/f", "cgroup.freeze", "1")
    for path in ("/f", "/f/g"):
        assert machine.read(path, "cgroup.events") == "populated 0\nfrozen 1\n"
    assert machine.read("/f/g", "cgroup.freeze") == "0\n"
    machine.mkdir("/f/h")
    assert machine.read("/f/h", "cgroup.events") == "populated 0\nfrozen 1\n"
    task = machine.task("/f/g")
    assert machine.tried(lambda: machine.sim.fork(task)) == "EBUSY"
    assert machine.read("/f/g", "cgroup.events") == "populated 1\nfrozen 1\n"
    machine.write("/f", "cgroup.kill", "1")
    assert machine.tried(lambda: machine.model.task(task)) == "ESRCH"
    assert machine.read("/f", "cgroup.events") == "populated 0\nfrozen 1\n"


def test_a_zombie_is_shown_where_it_was(machine: Machine) -> None:
    machine.enable("/", "pids")
    machine.mkdir("/z")
    machine.model.tasks.waited = False
    task = machine.task("/z")
    machine.sim.exit(task)
    for file in TASK_FILES:
        assert machine.read("/z", file) == ""
    assert machine.read("/z", "cgroup.events") == "populated 0\nfrozen 0\n"
    assert machine.read("/z", "pids.current") == "1\n"
    assert machine.where(task) == "/z"
    for path in ("/z", "/"):
        assert machine.write(path, "cgroup.procs", str(task)) == "ok"
    assert machine.write("/", "cgroup.threads", str(task)) == "EOPNOTSUPP"
    assert machine.where(task) == "/z"
    assert machine.rmdir("/z") == "ok"


def test_pressure_can_be_switched_off(machine: Machine) -> None:
    machine.mkdir("/p", "/p/q")
    machine.write("/p", "cgroup.pressure", "0")
    assert machine.read("/p", "cpu.pressure") == "[ENOENT]"
    assert machine.read("/p/q", "cpu.pressure").startswith("some avg10=0.00")
    there = [file for file in machine.model.files(Place(UNIFIED, "/p")) if "pressure" in file]
    assert there == ["cgroup.pressure"]
    machine.write("/p", "cgroup.pressure", "1")
    assert machine.write("/p", "cpu.pressure", "some 150000 2000000") == "ok"


def test_cpu_time_stays_when_a_container_is_removed(machine: Machine) -> None:
    machine.enable("/", "cpu")
    machine.mkdir("/a", "/a/b")
    task = machine.task("/a/b")
    machine.sim.work(task, 2_000_000, 1_000_000)
    machine.sim.exit(task)
    machine.rmdir("/a/b")
    expected = "usage_usec 3000\nuser_usec 2000\nsystem_usec 1000\nnice_usec 0\nnr_periods 0\n"
    assert machine.read("/a", "cpu.stat").startswith(expected)


def test_proc_shows_v2_last(machine: Machine) -> None:
    machine.model.make_directory("/m")
    machine.model.mount(TreeRequest(("freezer",), "cold"), "/m", "cold")
    machine.mkdir("/a")
    task = machine.task("/a")
    assert machine.sim.proc_file(f"{task}/cgroup") == "1:freezer,name=cold:/\n0::/a\n"
    lines = machine.sim.proc_file("cgroups").splitlines()
    assert "cpuset\t0\t2\t1" in lines
    assert "freezer\t1\t1\t1" in lines
    assert [tree.id for tree in machine.model.trees()] == ["freezer,name=cold", UNIFIED]
    assert [tree.number for tree in machine.model.trees()] == [1, 0]


@pytest.mark.parametrize("names", [("pids",), ("cpuset", "cpuacct"), ("memory",)])
def test_a_controller_of_v2_is_not_mounted_as_v1(machine: Machine, names: tuple[str, ...]) -> None:
    machine.model.make_directory("/m")
    assert machine.tried(lambda: machine.model.mount(TreeRequest(names), "/m", "x")) == "EINVAL"


def test_the_tree_of_v2_stays_when_it_is_unmounted(machine: Machine) -> None:
    machine.mkdir("/a")
    task = machine.task("/a")
    machine.model.umount("/sys/fs/cgroup")
    assert machine.model.trees() == ()
    assert machine.sim.proc_file(f"{task}/cgroup") == "0::/a\n"
