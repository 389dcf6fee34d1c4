"""The dialect v2 of the model answers as Linux 6.12 does.

tests/data/v2/6.12.json is what tests/subsys/v2_record.py recorded in a guest. What needs simulated
tasks was seen in the same guest; tests/contract/test_v2_kernel.py runs the rest on both.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pcont.backend_model import Model
from pcont.kernel.types import UNIFIED, TreeRequest
from tests.contract.test_v2_kernel import Machine, modelled, place
from tests.model_tasks import wait_for
from tests.subsys.v2_record import THREADED, plain

RECORD = json.loads((Path(__file__).parents[1] / "data" / "v2" / "6.12.json").read_text())
DISK = "253:7"
TASK_FILES = ("cgroup.procs", "cgroup.threads")

# Where pcont knowingly refuses what the kernel misreads, and one refusal with another errno.
MISREAD = {
    *(("cpu.max", "max x"), ("cpu.max", "1000 1000 1000"), ("rdma.max", "")),
    *(("memory.max", ""), ("memory.max", "99999999999999999999")),
}


class Played(Machine):
    """A model, with what its simulator does."""

    def __init__(self) -> None:
        found = modelled()
        super().__init__(found.backend, found.processes)
        assert isinstance(self.backend, Model)
        self.model, self.sim = self.backend, self.backend.simulator


@pytest.fixture
def machine() -> Played:
    return Played()


@pytest.fixture
def recorded(machine: Played, monkeypatch: pytest.MonkeyPatch) -> Played:
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
def test_a_container_has_the_files_and_texts_of_the_kernel(recorded: Played, kind: str) -> None:
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
    recorded: Played, section: str, tries: list[list[str]]
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


# Counts


def test_tasks_are_counted_from_when_pids_is_enabled(machine: Played) -> None:
    machine.enable("/", "pids")
    machine.mkdir("/m", "/m/c")
    task = machine.task("/m/c")
    machine.sim.exit(machine.sim.fork(task))
    machine.enable("/m", "pids")
    assert machine.read("/m/c", "pids.current") == machine.read("/m/c", "pids.peak") == "1\n"


def test_a_limit_counts_the_forks_that_it_refuses(machine: Played) -> None:
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


# Freezing, ends, and what is shown


def test_frozen_tasks_are_killed(machine: Played) -> None:
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


def test_a_zombie_is_shown_where_it_was(machine: Played) -> None:
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
    assert machine.where(task) == "/z"
    assert machine.write("/", "cgroup.threads", str(task)) == "EOPNOTSUPP"


def test_a_process_is_listed_where_its_first_thread_was_until_all_threads_end(
    machine: Played,
) -> None:
    machine.mkdir("/a", "/b")
    machine.model.tasks.waited = False
    first, second = machine.process(threads=2)
    assert machine.write("/a", "cgroup.procs", str(first)) == "ok"
    machine.sim.exit(first, thread=True)
    assert machine.write("/b", "cgroup.procs", str(second)) == "ok"
    assert machine.read("/a", "cgroup.procs") == f"{first}\n"
    assert machine.read("/b", "cgroup.procs") == ""
    assert machine.read("/b", "cgroup.threads") == f"{second}\n"
    machine.sim.exit(second)
    assert machine.read("/a", "cgroup.procs") == ""
    leader, other = machine.process(threads=2)
    machine.sim.exit(leader, thread=True)
    assert str(leader) in machine.read("/", "cgroup.procs").split()
    machine.mkdir("/t")
    machine.write("/t", "cgroup.type", "threaded")
    leader, other = machine.process(threads=2)
    machine.write("/t", "cgroup.procs", str(leader))
    machine.sim.exit(leader, thread=True)
    machine.write("/", "cgroup.threads", str(other))
    assert machine.rmdir("/t") == "ok"
    assert str(leader) in machine.read("/", "cgroup.procs").split()
    machine.sim.exit(other)
    assert str(leader) not in machine.read("/", "cgroup.procs").split()


def test_a_process_is_killed_where_its_first_thread_was(machine: Played) -> None:
    machine.mkdir("/a", "/a/b")
    machine.write("/a/b", "cgroup.type", "threaded")
    machine.model.tasks.waited = False
    first, second = machine.process(threads=2)
    machine.write("/a", "cgroup.procs", str(first))
    machine.write("/a/b", "cgroup.threads", str(second))
    machine.sim.exit(first, thread=True)
    assert list(machine.model.kill(place("/absent"), [first], 9)) == []
    assert list(machine.model.kill(place("/a"), [first], 9)) == [first]
    assert machine.read("/a/b", "cgroup.threads") == ""


def test_a_process_without_its_first_thread_is_killed_where_another_one_is(machine: Played) -> None:
    """Tried on Linux 6.12.117."""
    machine.mkdir("/a", "/b")
    machine.model.tasks.waited = False
    first, second = machine.process(threads=2)
    machine.write("/a", "cgroup.procs", str(first))
    machine.sim.exit(first, thread=True)
    assert machine.write("/b", "cgroup.procs", str(second)) == "ok"
    assert machine.write("/a", "cgroup.kill", "1") == "ok"
    assert machine.where(second) == "/b"
    assert machine.write("/b", "cgroup.kill", "1") == "ok"
    assert machine.read("/b", "cgroup.events") == "populated 0\nfrozen 0\n"


def test_a_zombie_is_not_counted_where_pids_is_enabled_later(machine: Played) -> None:
    machine.enable("/", "pids")
    machine.mkdir("/a", "/a/b")
    machine.model.tasks.waited = False
    tasks = [machine.task("/a/b") for _ in range(3)]
    machine.sim.exit(tasks[0])
    machine.enable("/a", "pids")
    machine.sim.exit(tasks[1])
    seen = [machine.read(path, "pids.current") for path in ("/a", "/a/b")]
    assert seen == ["3\n", "2\n"]
    wait_for(machine.model, tasks[1])
    assert machine.read("/a/b", "pids.current") == "1\n"
    assert machine.write("/a/b", "pids.max", "1") == "ok"
    assert machine.tried(lambda: machine.sim.fork(tasks[2])) == "EAGAIN"
    wait_for(machine.model, tasks[0])
    seen = [machine.read(path, "pids.current") for path in ("/a", "/a/b")]
    assert seen == ["1\n", "1\n"]


def test_a_new_task_in_the_root_has_no_cpus_of_a_partition(machine: Played) -> None:
    machine.enable("/", "cpuset")
    machine.mkdir("/shield")
    machine.write("/shield", "cpuset.cpus", "2-3")
    assert machine.write("/shield", "cpuset.cpus.partition", "root") == "ok"
    assert machine.model.affinity(machine.sim.spawn()) == {0, 1}


def test_tasks_that_enter_together_go_to_the_leaf_as_the_first_one(machine: Played) -> None:
    machine.enable("/", "cpu", "pids")
    machine.mkdir("/a", "/a/b", "/a/pcont.tasks")
    machine.enable("/a", "cpu")
    (one,), (other,), in_child = machine.process(), machine.process(), machine.task("/a/b")
    entering = machine.model.enter(place("/a"), iter([one, other]))
    assert next(entering) == one
    for task in (one, in_child):
        machine.write("/", "cgroup.procs", str(task))
    assert next(entering) == other
    assert machine.read("/a", "cgroup.type") == "domain\n"
    assert machine.read("/a/pcont.tasks", "cgroup.threads") == f"{other}\n"


@pytest.mark.parametrize(("kind", "answer"), [("domain", "ENODEV"), ("threaded", "ENOENT")])
def test_a_task_enters_no_container_after_its_removal(
    machine: Played, kind: str, answer: str
) -> None:
    machine.mkdir("/a")
    if kind != "domain":
        machine.write("/a", "cgroup.type", kind)
    (one,), (other,) = machine.process(), machine.process()
    entering = machine.model.enter(place("/a"), iter([one, other]))
    assert next(entering) == one
    machine.write("/", "cgroup.procs", str(one))
    machine.rmdir("/a")
    assert machine.tried(lambda: next(entering)) == answer


def test_cpu_time_stays_when_a_container_is_removed(machine: Played) -> None:
    machine.enable("/", "cpu")
    machine.mkdir("/a", "/a/b")
    task = machine.task("/a/b")
    machine.sim.work(task, 2_000_000, 1_000_000)
    machine.sim.exit(task)
    machine.rmdir("/a/b")
    expected = "usage_usec 3000\nuser_usec 2000\nsystem_usec 1000\nnice_usec 0\nnr_periods 0\n"
    assert machine.read("/a", "cpu.stat").startswith(expected)


def test_proc_shows_v2_last(machine: Played) -> None:
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
def test_a_controller_of_v2_is_not_mounted_as_v1(machine: Played, names: tuple[str, ...]) -> None:
    machine.model.make_directory("/m")
    assert machine.tried(lambda: machine.model.mount(TreeRequest(names), "/m", "x")) == "EINVAL"


def test_the_tree_of_v2_stays_when_it_is_unmounted(machine: Played) -> None:
    machine.mkdir("/a")
    task = machine.task("/a")
    machine.model.umount("/sys/fs/cgroup")
    assert machine.model.trees() == ()
    assert machine.sim.proc_file(f"{task}/cgroup") == "0::/a\n"
