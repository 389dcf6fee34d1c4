"""What the files of cgroup v2 answer to any program: types, controllers, limits and values.

Other tests of the contract are about commands. These read and write the files themselves.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator

import pytest

from pcont.backend_cgroupfs import Cgroupfs
from pcont.backend_model import SMALL, Model
from pcont.kernel.interfaces import Backend
from pcont.kernel.types import UNIFIED, Place
from pcont.model.dialects import DIALECTS
from tests.conftest import elsewhere
from tests.contract.conftest import V2_ALONE, threads_of
from tests.waiting import eventually

Start = Callable[..., int]


class Machine:
    """A kernel with cgroup v2, or a model of it: paths, files and errnos.

    `processes`: starts a process with so many threads, and returns their ids.
    """

    def __init__(self, backend: Backend, processes: Callable[[int], list[int]]) -> None:
        self.backend, self.processes = backend, processes
        self.tasks: list[int] = []
        self.made: list[str] = []

    def read(self, path: str, file: str) -> str:
        try:
            return self.backend.read(place(path), file)
        except OSError as err:
            return f"[{name_of(err)}]"

    def write(self, path: str, file: str, text: str) -> str:
        return self.tried(lambda: self.backend.write(place(path), file, text or "\n"))

    def mkdir(self, *paths: str) -> str:
        """Make containers; returns what the last one answers."""
        answers = [self.tried(lambda path=path: self.backend.make(place(path))) for path in paths]  # type: ignore[misc]
        self.made += [path for path, said in zip(paths, answers, strict=True) if said == "ok"]
        return answers[-1]

    def rmdir(self, path: str) -> str:
        return self.tried(lambda: self.backend.remove(place(path)))

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

    def process(self, threads: int = 1) -> list[int]:
        """The threads of a new process."""
        found = self.processes(threads)
        self.tasks += found[:1]
        return found

    def task(self, path: str = "/") -> int:
        """A new process in a container."""
        (task,) = self.process()
        assert self.write(path, "cgroup.procs", str(task)) == "ok"
        return task

    def where(self, task: int) -> str:
        return self.backend.membership(task)[UNIFIED]

    def clear(self) -> None:
        """Move all tasks to the root, and remove the containers."""
        for task in self.tasks:
            self.write("/", "cgroup.procs", str(task))
        for path in reversed(self.made):
            assert self.rmdir(path) in ("ok", "ENOENT"), path
        if words := self.read("/", "cgroup.subtree_control").split():
            assert self.write("/", "cgroup.subtree_control", f"-{' -'.join(words)}") == "ok"


def place(path: str) -> Place:
    return Place(UNIFIED, path)


def name_of(err: OSError) -> str:
    name = errno.errorcode[err.errno or 0]
    return "EOPNOTSUPP" if name == "ENOTSUP" else name


def modelled() -> Machine:
    """A new model."""
    model = Model(SMALL, dialect=DIALECTS["v2"], clock=lambda: 0.0)

    def begin(threads: int) -> list[int]:
        first = model.simulator.spawn()
        return [first, *(model.simulator.thread(first) for _ in range(threads - 1))]

    return Machine(model, begin)


@pytest.fixture(params=V2_ALONE)
def machine(request: pytest.FixtureRequest, start: Start) -> Iterator[Machine]:
    if request.param == "model":
        yield modelled()
        return
    request.getfixturevalue("cgroup2")
    found = Machine(Cgroupfs(), lambda threads: threads_of(start(threads=threads)))
    assert found.read("/", "cgroup.subtree_control") == ""
    yield found
    found.clear()


def needs_6_12(machine: Machine) -> None:
    """Skip what Linux 6.1 answers otherwise."""
    if isinstance(machine.backend, Cgroupfs) and os.uname().release.startswith("6.1."):
        elsewhere("Linux 6.1 answers otherwise")


# Threaded containers


def test_tasks_over_controllers_for_threads_make_a_threaded_root(machine: Machine) -> None:
    machine.enable("/", "cpu", "memory", "pids")
    machine.mkdir("/m", "/m/c")
    machine.enable("/m", "pids")
    task = machine.task("/m")
    assert machine.read("/m", "cgroup.type") == "domain threaded\n"
    assert machine.read("/m/c", "cgroup.type") == "domain invalid\n"
    (other,) = machine.process()
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
    assert eventually(lambda: machine.read("/d/e", "cgroup.events") == "populated 0\nfrozen 0\n")
    for path in ("/d/e/g", "/d/e", "/d/f"):
        assert machine.rmdir(path) == "ok"
    assert machine.read("/d", "cgroup.type") == "domain\n"


def test_threaded_children_follow_a_container_that_becomes_threaded(machine: Machine) -> None:
    machine.mkdir("/d", "/d/p", "/d/p/c", "/d/q")
    (task,) = machine.process()
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


def test_a_process_is_killed_where_its_first_thread_is(machine: Machine) -> None:
    machine.mkdir("/d", "/d/a", "/d/a/b", "/d/a/b/c")
    machine.write("/d/a/b/c", "cgroup.type", "threaded")
    machine.write("/d/a", "cgroup.type", "threaded")
    first, second = machine.process(threads=2)
    machine.write("/d/a", "cgroup.procs", str(first))
    assert machine.write("/d/a/b/c", "cgroup.threads", str(second)) == "ok"
    assert machine.read("/d/a/b", "cgroup.type") == "domain invalid\n"
    assert machine.write("/d/a/b", "cgroup.kill", "1") == "ok"
    assert machine.where(second) == "/d/a/b/c"
    assert machine.write("/d", "cgroup.kill", "1") == "ok"
    assert eventually(lambda: machine.read("/d", "cgroup.events").startswith("populated 0"))


def test_a_thread_moves_within_its_subtree_only(machine: Machine) -> None:
    machine.mkdir("/j", "/j/a", "/j/b", "/o", "/k", "/k/a")
    for path in ("/j/a", "/j/b", "/k/a"):
        machine.write(path, "cgroup.type", "threaded")
    process, thread = machine.process(threads=2)
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


def test_a_container_may_have_the_name_of_a_file(machine: Machine) -> None:
    machine.mkdir("/a", "/a/pids.max", "/a/pids.nope", "/a/cpu.pressure.x")
    assert machine.write("/", "cgroup.subtree_control", "+memory +pids") == "EEXIST"
    assert machine.read("/", "cgroup.subtree_control") == ""
    assert machine.write("/", "cgroup.subtree_control", "+memory") == "ok"
    assert machine.rmdir("/a/pids.max") == "ok"
    machine.made.remove("/a/pids.max")  # it is a file from here on
    assert machine.write("/", "cgroup.subtree_control", "+pids") == "ok"
    assert machine.mkdir("/a/pids.max") == "EEXIST"


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


def test_a_moving_task_counts_twice_if_its_limits_differ(machine: Machine) -> None:
    machine.enable("/", "pids")
    machine.mkdir("/m", "/m/a", "/m/b")
    task = machine.task("/m/a")
    assert machine.write("/m/b", "cgroup.procs", str(task)) == "ok"
    assert machine.read("/m", "pids.peak") == "1\n"
    machine.enable("/m", "pids")
    assert machine.read("/m", "pids.peak") == "2\n"
    assert machine.write("/m/a", "cgroup.procs", str(task)) == "ok"
    assert machine.read("/m", "pids.current") == machine.read("/m/a", "pids.peak") == "1\n"


def test_counts_of_controllers_are_those_of_the_kernel(machine: Machine) -> None:
    needs_6_12(machine)
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


# The weights of the nice values from -20 on.
WEIGHTS = (
    *(8668, 7007, 5516, 4519, 3544, 2847, 2271, 1827, 1460, 1164, 932, 744, 596, 479, 381, 305),
    *(244, 194, 155, 125, 100, 80, 64, 51, 41, 33, 27, 21, 17, 13, 11, 8, 7, 5, 4, 4, 3, 2, 2, 1),
)


def test_each_nice_value_has_its_weight(machine: Machine) -> None:
    machine.enable("/", "cpu")
    machine.mkdir("/c")
    for nice, weight in enumerate(WEIGHTS, -20):
        machine.write("/c", "cpu.weight.nice", str(nice))
        assert machine.read("/c", "cpu.weight") == f"{weight}\n", nice
        assert machine.read("/c", "cpu.weight.nice") == f"{nice}\n"


def test_a_new_container_has_counted_nothing(machine: Machine) -> None:
    needs_6_12(machine)
    machine.enable("/", "cpu", "hugetlb")
    machine.mkdir("/c")
    assert machine.read("/c", "cpu.stat.local") == "throttled_usec 0\n"
    for file in ("current", "rsvd.current"):
        assert machine.read("/c", f"hugetlb.2MB.{file}") == "0\n"
    assert machine.read("/c", "hugetlb.2MB.events") == "max 0\n"


def test_a_weight_has_two_names(machine: Machine) -> None:
    needs_6_12(machine)
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
    needs_6_12(machine)
    machine.enable("/", "cpuset")
    machine.mkdir("/s", "/s/t")
    machine.enable("/s", "cpuset")
    machine.write("/s", "cpuset.cpus", "0-1")
    machine.write("/s/t", "cpuset.cpus", "2-3")
    task = machine.task("/s/t")

    def check(path: str, file: str, text: str, answer: str, *cpus: int) -> None:
        assert machine.write(path, file, text) == answer
        assert sorted(machine.backend.affinity(task)) == list(cpus), (path, file, text)

    assert machine.read("/s/t", "cpuset.cpus.effective") == "0-1\n"
    check("/s/t", "cpuset.cpus", "1,3", "ok", 1)
    check("/s/t", "cpuset.cpus", "\n", "ENOSPC", 1)
    check("/s", "cpuset.cpus", "\n", "ENOSPC", 1)
    machine.backend.set_affinity(task, frozenset({1, 2}))
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


@pytest.mark.parametrize("first", ["/all", "/two"])
def test_tasks_keep_their_cpus_without_cpuset_if_the_first_one_does(
    machine: Machine, first: str
) -> None:
    needs_6_12(machine)
    machine.enable("/", "cpuset")
    machine.mkdir(first)
    machine.mkdir(*{"/all", "/two"} - {first})
    tasks = [machine.task(path) for path in ("/all", "/two")]
    machine.write("/two", "cpuset.cpus", "0-1")
    machine.write("/", "cgroup.subtree_control", "-cpuset")
    cpus = [sorted(machine.backend.affinity(task)) for task in tasks]
    assert cpus == [[0, 1, 2, 3], [0, 1] if first == "/all" else [0, 1, 2, 3]]
    # Nor does it get others where the container has those of the root.
    machine.enable("/", "cpuset")
    machine.write("/all", "cgroup.procs", str(tasks[1]))
    assert sorted(machine.backend.affinity(tasks[1])) == cpus[1]


def test_a_partition_that_can_have_no_cpus_is_invalid(machine: Machine) -> None:
    needs_6_12(machine)
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


def test_pressure_can_be_switched_off(machine: Machine) -> None:
    machine.mkdir("/p", "/p/q")
    machine.write("/p", "cgroup.pressure", "0")
    assert machine.read("/p", "cpu.pressure") == "[ENOENT]"
    assert machine.read("/p/q", "cpu.pressure").startswith("some avg10=0.00")
    there = [file for file in machine.backend.files(place("/p")) if "pressure" in file]
    assert there == ["cgroup.pressure"]
    assert machine.read("/p", "cpu.stat").startswith("usage_usec ")
    machine.write("/p", "cgroup.pressure", "1")
    assert machine.write("/p", "cpu.pressure", "some 150000 2000000") == "ok"
