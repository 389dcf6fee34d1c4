"""numtasks: forks that are counted and refused by programs; patch semantics, 4.5 to 4.7, and 9, 12.

On the kernel BPF programs do it, so that it is tried in guests alone.
"""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from errno import EAGAIN
from pathlib import Path
from typing import Any

import pytest

from pcont.backend_model import StoredModel
from pcont.bpf.libbpf import Map
from pcont.bpf.programs import KEY
from pcont.kernel.types import UNIFIED, Place
from tests.contract.conftest import Pcont, command_line
from tests.waiting import eventually

MODEL = pytest.param("model", id="model")
KERNEL = pytest.param("cgroupfs", id="kernel", marks=pytest.mark.guest)
only_kernel = pytest.mark.parametrize("pcont", [KERNEL], indirect=True)
only_v1 = pytest.mark.parametrize("kind", ["v1"], indirect=True)
only_v2 = pytest.mark.parametrize("kind", ["v2"], indirect=True)

PINNED = Path("/sys/fs/bpf/pcont/numtasks")
UNLIMITED = str((1 << 31) - 1)

# What a process of the kernel's tests does: for each line so many forks, or threads, up to the
# first that is refused; or as often as asked, and it tells how many of them were not.
FORKING = """
import os, sys, threading
def fork():
    pid = os.fork()
    if not pid:
        os._exit(0)
    os.waitpid(pid, 0)
def thread():
    one = threading.Thread(target=int)
    try:
        one.start()
    except RuntimeError:
        raise OSError(11, "no thread")
    one.join()
print("ready", flush=True)
for line in sys.stdin:
    what, times, on = line.split()
    done, errno = 0, 0
    for _ in range(int(times)):
        try:
            {"fork": fork, "thread": thread}[what]()
            done += 1
        except OSError as err:
            errno = err.errno
            if on == "until":
                break
    print(done, errno, flush=True)
"""


@pytest.fixture(params=["v1", "v2"])
def kind(request: pytest.FixtureRequest) -> str:
    """The kind of cgroups that have pids."""
    assert isinstance(request.param, str)
    return request.param


@pytest.fixture(params=[MODEL, KERNEL])
def pcont(request: pytest.FixtureRequest, kind: str, tmp_path: Path) -> Pcont:
    """The command line, over the model and over the kernel of a guest."""
    if kind == "v1":
        return command_line(request.param, tmp_path)
    if request.param == "model":
        return command_line(request.param, tmp_path, "--dialect", "v2")
    request.getfixturevalue("cgroup2")
    return Pcont(())  # with --backend, pids would be taken for v1


class Task:
    """A process that forks: played in the model, else a real one."""

    pid: int

    def forks(self, times: int = 1, action: str = "fork") -> tuple[int, int]:
        """How often it could, and the errno of the end."""
        raise NotImplementedError

    def end(self) -> None:
        raise NotImplementedError


class ModelTask(Task):
    """One of the model's."""

    def __init__(self, pcont: Pcont) -> None:
        self._state = pcont.words[3]
        self.pid = int(pcont.ok("sim", "fork"))

    def forks(self, times: int = 1, action: str = "fork") -> tuple[int, int]:
        model, done = StoredModel(self._state), 0
        with model.exclusive():
            try:
                for _ in range(times):
                    child = getattr(model.simulator, action)(self.pid)
                    model.simulator.exit(child, thread=action == "thread")
                    done += 1
            except OSError as err:
                return done, err.errno or 0
        return done, 0

    def end(self) -> None:
        model = StoredModel(self._state)
        with model.exclusive():
            model.simulator.exit(self.pid)


class Real(Task):
    """A process that carries out commands."""

    def __init__(self) -> None:
        command = [sys.executable, "-c", FORKING]
        self._process = subprocess.Popen(command, stdin=-1, stdout=-1, text=True, bufsize=1)
        self.pid = self._process.pid
        assert self._answer() == "ready"

    def _answer(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline().strip()

    def begins(self, times: int, action: str = "fork", on: str = "until") -> None:
        assert self._process.stdin
        self._process.stdin.write(f"{action} {times} {on}\n")

    def ends(self) -> tuple[int, int]:
        done, errno = map(int, self._answer().split())
        return done, errno

    def forks(self, times: int = 1, action: str = "fork") -> tuple[int, int]:
        self.begins(times, action)
        return self.ends()

    def end(self) -> None:
        with self._process:
            self._process.kill()


@dataclass
class Groups:
    """A hierarchy with numtasks, whose root is a container of its own in pids, and its tasks."""

    pcont: Pcont
    name: str
    running: list[Task]
    kind: str = "v1"

    def at(self, path: str = "/") -> str:
        return f"{self.name}:{path}"

    def place(self, path: str = "") -> Place:
        if self.kind == "v2":
            return Place(UNIFIED, f"/pcont/{self.name}{path}")
        return Place("pids", f"/{self.name}{path}")

    def mount(self, name: str, subsystems: str = "numtasks") -> None:
        """Mount a hierarchy. Its root is a container of its own, in which forks are counted."""
        more = ["--tie", "--at", f"/{name}", "--no-freezer"] if self.kind == "v1" else []
        if self.kind == "v2" and name != self.name:
            more = ["--at", f"/{name}"]
        self.pcont.ok("mount", "-o", subsystems, "--name", name, *more)

    def create(self, *paths: str) -> None:
        self.pcont.ok("create", *map(self.at, paths))

    def set(self, path: str, *words: str) -> None:
        self.pcont.ok("set", self.at(path), *words)

    def get(self, path: str, key: str) -> str:
        return self.pcont.get(self.at(path), key)

    def rate(self, path: str, rate: int, interval: int) -> None:
        self.set(path, f"forkrate={rate}", f"forkrate_interval={interval}")

    def task(self, path: str = "") -> Any:
        """A process in a container."""
        task: Task = ModelTask(self.pcont) if "model" in self.pcont.words else Real()
        self.running.append(task)
        if path:
            self.pcont.ok("attach", self.at(path), str(task.pid))
        return task

    def counts(self, path: str) -> dict[str, int]:
        """The numbers of numtasks.stats, by the last words before them."""
        lines = self.get(path, "numtasks.stats").splitlines()
        words = [line.rpartition("numtasks: ")[2].removeprefix("Number of ") for line in lines]
        return {name: int(number) for name, _, number in (one.rpartition(" ") for one in words)}

    def end(self) -> None:
        """None is left, and no zombie, which would hold on to the hierarchy."""
        while self.running:
            self.running.pop().end()

    def clear(self) -> None:
        self.end()
        for row in self.pcont.ok("tree", self.at()).splitlines()[:0:-1]:
            self.pcont.ok("rm", row.partition("\t")[0])


@pytest.fixture
def groups(pcont: Pcont, kind: str, name: str) -> Iterator[Groups]:
    if kind == "v1":
        pcont.ok("mount", "-o", "pids")
    groups = Groups(pcont, name, [], kind)
    groups.mount(name)
    yield groups
    groups.clear()
    ended(groups)


def ended(groups: Groups) -> None:
    """Unmount the hierarchy, after which no program is loaded."""
    pcont = groups.pcont
    assert eventually(lambda: pcont("umount", groups.name).status == 0)
    assert pcont.backend().enforcer.trees() == {}
    if groups.kind == "v1":
        assert eventually(lambda: pcont("umount", "pids").status == 0)
        return
    backend, root = pcont.backend(), Place(UNIFIED)
    with backend.exclusive():
        for name in backend.read(root, "cgroup.subtree_control").split():
            backend.write(root, "cgroup.subtree_control", f"-{name}")


def test_the_rate_holds_for_each_container_by_itself(groups: Groups) -> None:
    """Point 12 of the check list; EAGAIN for ENOSPC."""
    assert "numtasks.forkrate can be enforced" in groups.pcont.ok("doctor")
    groups.create("/a", "/b")
    groups.rate("/", 3, 10)
    one, two = groups.task("/a"), groups.task("/b")
    assert one.forks(4) == (3, EAGAIN)
    assert groups.counts("/a")["forkrate failures"] == 1
    assert groups.counts("/a")["successes"] == 3
    assert groups.counts("/b")["forkrate failures"] == 0
    assert two.forks(3) == (3, 0)
    assert groups.counts("/b") == {
        "Current usage": 1,
        "successes": 3,
        "failures": 0,
        "forkrate failures": 0,
    }


def test_a_period_ends(groups: Groups) -> None:
    groups.create("/a")
    groups.rate("/", 2, 2)
    task = groups.task("/a")
    assert task.forks(3) == (2, EAGAIN)
    time.sleep(2.1)
    assert task.forks(3) == (2, EAGAIN)
    assert groups.counts("/a")["forkrate failures"] == 2


def test_another_rate_begins_another_period(groups: Groups) -> None:
    groups.create("/a", "/b")
    groups.rate("/", 1, 1000)
    one, two = groups.task("/a"), groups.task("/b")
    assert one.forks(2) == two.forks(2) == (1, EAGAIN)
    groups.set("/", "forkrate=2")
    assert one.forks(3) == two.forks(3) == (2, EAGAIN)
    groups.set("/", "forkrate_interval=2000")
    assert one.forks(3) == (2, EAGAIN)
    groups.set("/a", "forkrate=2")
    assert one.forks(3) == (2, EAGAIN)
    assert two.forks(3) == (2, EAGAIN)  # of the period before
    assert two.forks() == (0, EAGAIN)


def test_a_container_has_the_rate_of_the_nearest_one_that_says_one(groups: Groups) -> None:
    groups.create("/a", "/a/b", "/c")
    here, below, other = (groups.task(path) for path in ("/a", "/a/b", "/c"))
    groups.set("/", "forkrate_interval=1000")
    groups.set("/a", "forkrate=1")
    assert here.forks(2) == below.forks(2) == (1, EAGAIN)
    assert other.forks(5) == (5, 0)
    groups.set("/a/b", "forkrate=2")
    assert below.forks(3) == (2, EAGAIN)
    groups.set("/a/b", "forkrate=-3")
    assert below.forks(2) == (1, EAGAIN)
    assert groups.get("/a/b", "forkrate") == "-3"
    groups.set("/a", "forkrate=-3")
    assert here.forks(5) == (5, 0)


def test_what_is_no_rate_is_refused(groups: Groups) -> None:
    groups.create("/a")
    assert [groups.get("/", key) for key in ("forkrate", "forkrate_interval")] == [UNLIMITED, "1"]
    assert [groups.get("/a", key) for key in ("forkrate", "forkrate_interval")] == ["-3", "-3"]
    for path, text in itertools.product(("/", "/a"), ("0", "-1", "-2", "2147483648")):
        for key in ("forkrate", "forkrate_interval"):
            error = groups.pcont.fails(7, "set", groups.at(path), f"{key}={text}")
            assert f"numtasks.{key} is 1 to {UNLIMITED}" in error
    groups.pcont.fails(7, "set", groups.at(), "forkrate=-3")
    assert "the file takes" in groups.pcont.fails(7, "set", groups.at(), "forkrate=x")
    groups.set("/a", "forkrate=-3", "forkrate_interval=-3")


def test_threads_are_counted_like_processes(groups: Groups) -> None:
    groups.create("/a")
    groups.rate("/a", 3, 1000)
    task = groups.task("/a")
    assert task.forks(2, "thread") == (2, 0)
    assert task.forks(2) == (1, EAGAIN)
    assert task.forks(1, "thread") == (0, EAGAIN)
    assert groups.counts("/a")["successes"] == 3
    assert groups.counts("/a")["forkrate failures"] == 2


def test_what_the_rate_refuses_is_not_charged_in_pids(groups: Groups) -> None:
    """And what pids refuses has been one of the period (4.5)."""
    groups.create("/a")
    groups.rate("/a", 2, 1000)
    groups.set("/a", "pids.max=1")
    task = groups.task("/a")
    assert task.forks() == task.forks() == (0, EAGAIN)
    assert groups.counts("/a")["failures"] == 2
    groups.set("/a", "pids.max=max")
    assert task.forks() == (0, EAGAIN)
    counts = {"Current usage": 1, "successes": 0, "failures": 2, "forkrate failures": 1}
    assert groups.counts("/a") == counts
    assert groups.get("/a", "pids.events") == "max 2"
    groups.set("/a", "forkrate=1")
    assert task.forks() == (1, 0)


def test_a_task_that_is_outside_is_not_counted(groups: Groups) -> None:
    outside = f"{'pids' if groups.kind == 'v1' else UNIFIED}:/{groups.name}x"
    groups.pcont.ok("create", outside)
    groups.rate("/", 1, 1000)
    task = groups.task()
    groups.pcont.ok("attach", outside, str(task.pid))
    assert task.forks(10) == (10, 0)
    assert "has no file" in groups.pcont.fails(3, "get", outside, "numtasks.stats")
    groups.pcont.ok("attach", groups.at(), str(task.pid))  # the root of the tie is one of its own
    assert task.forks(10) == (1, EAGAIN)
    assert groups.counts("/")["successes"] == 1
    groups.end()
    groups.pcont.ok("rm", outside)


def test_a_removed_container_comes_back_with_its_rate(groups: Groups) -> None:
    """The second one cannot go, so the first comes back."""
    groups.create("/a", "/b")
    groups.rate("/a", 7, 8)
    groups.task("/b")
    groups.pcont.fails(5, "rm", groups.at("/a"), groups.at("/b"))
    assert [groups.get("/a", key) for key in ("forkrate", "forkrate_interval")] == ["7", "8"]
    groups.end()
    groups.pcont.ok("rm", groups.at("/a"))
    groups.create("/a")
    assert groups.get("/a", "forkrate") == "-3"


def test_a_refused_set_changes_no_rate(groups: Groups) -> None:
    groups.create("/a")
    groups.rate("/a", 7, 8)
    groups.pcont.fails(7, "set", groups.at("/a"), "forkrate=9", "pids.max=-1")
    assert groups.get("/a", "forkrate") == "7"


def test_unmounted_with_containers_it_goes_on(groups: Groups) -> None:
    groups.create("/a")
    groups.rate("/a", 1, 1000)
    task = groups.task("/a")
    assert "stays active" in groups.pcont("umount", groups.name).err
    assert task.forks(2) == (1, EAGAIN)
    groups.pcont.ok("mount", "--name", groups.name)
    assert groups.counts("/a")["forkrate failures"] == 1


def test_two_hierarchies_have_it_in_one_tree_each_for_itself(groups: Groups, name: str) -> None:
    other = f"{name}y"
    groups.mount(other)
    groups.pcont.ok("create", f"{other}:/a", "-s", "forkrate_interval=1000")
    groups.pcont.ok("set", f"{other}:/", "forkrate=2")
    groups.create("/a")
    groups.rate("/", 1, 1000)
    one, two = groups.task("/a"), groups.task()
    groups.pcont.ok("attach", f"{other}:/a", str(two.pid))
    assert one.forks(3) == (1, EAGAIN)
    assert two.forks(3) == (2, EAGAIN)
    two.end()
    groups.running.remove(two)
    groups.pcont.ok("rm", f"{other}:/a")
    groups.pcont.ok("umount", other)
    groups.set("/", "forkrate=3")
    assert one.forks(4) == (3, EAGAIN)


def test_it_is_bound_and_unbound_like_the_others(pcont: Pcont, kind: str, name: str) -> None:
    if kind == "v1":
        pcont.ok("mount", "-o", "pids")
    pcont.ok("mount", "-o", "none", "--name", name)
    pcont.ok("create", "-p", f"{name}:/a/b")
    groups = Groups(pcont, name, [], kind)
    words = ("-s", "/:forkrate=100", "-s", "/a:forkrate=2", "-s", "/a:forkrate_interval=1000")
    pcont.ok("bind", name, "numtasks", *words)
    task = groups.task("/a/b")
    assert task.forks(3) == (2, EAGAIN)
    unbound = pcont("unbind", name, "numtasks", "--yes", "--json").json
    assert unbound["ceased"] == [
        f"{name}:/ numtasks.forkrate=100",
        f"{name}:/a numtasks.forkrate=2",
        f"{name}:/a numtasks.forkrate_interval=1000",
    ]
    assert pcont.backend().enforcer.trees() == {}
    assert task.forks(5) == (5, 0)
    pcont.ok("bind", name, "numtasks")
    assert groups.get("/a", "forkrate") == "-3"
    assert groups.counts("/a/b")["successes"] == 0
    groups.clear()
    ended(groups)


@only_v1
def test_tasks_in_the_root_of_a_tree_are_not_counted(pcont: Pcont) -> None:
    pcont.ok("mount", "-o", "numtasks")
    groups = Groups(pcont, "pids", [])
    groups.rate("/", 1, 1000)
    groups.create("/a")
    task = groups.task("/")
    assert task.forks(10) == (10, 0)
    assert "successes unknown" in groups.get("/", "numtasks.stats")
    pcont.ok("attach", groups.at("/a"), str(task.pid))
    assert task.forks(10) == (1, EAGAIN)
    groups.clear()
    assert eventually(lambda: pcont("umount", "pids").status == 0)
    assert pcont.backend().enforcer.trees() == {}


@only_v2
def test_tasks_in_a_leaf_count_for_its_container(pcont: Pcont, kind: str, name: str) -> None:
    """A hierarchy with memory has leaves: a container with children has its tasks in one."""
    groups = Groups(pcont, name, [], kind)
    groups.mount(name, "numtasks,memory")
    groups.create("/a")
    task = groups.task("/a")
    groups.rate("/a", 4, 1000)
    assert task.forks(2) == (2, 0)
    groups.create("/a/b")
    assert pcont.paths(task.pid)[UNIFIED] == groups.place("/a").path
    backend = pcont.backend()
    assert str(task.pid) in backend.read(groups.place("/a").leaf, "cgroup.procs").split()
    assert task.forks(5) == (2, EAGAIN)
    assert groups.counts("/a")["successes"] == 4
    assert groups.counts("/a")["forkrate failures"] == 1
    groups.set("/a/b", "forkrate=3")
    pcont.ok("attach", groups.at("/a/b"), str(task.pid))
    assert task.forks(5) == (3, EAGAIN)
    groups.clear()
    ended(groups)


@only_v2
def test_a_root_that_another_program_removed_is_bound_again(groups: Groups) -> None:
    backend = groups.pcont.backend()
    with backend.exclusive():
        backend.remove(groups.place())
    groups.pcont.ok("mount", "--name", groups.name)
    groups.create("/a")
    groups.rate("/", 2, 1000)
    assert groups.task("/a").forks(3) == (2, EAGAIN)


def entries(name: str) -> int:
    """How many keys a pinned map has."""
    return len(Map(str(PINNED / name), 0).keys(KEY.size))


@only_kernel
def test_nothing_is_kept_of_removed_containers(groups: Groups) -> None:
    task = groups.task("/")
    for number in range(10):
        path = f"/{number}"
        groups.create(path)
        groups.rate(path, 100, 1)
        groups.pcont.ok("attach", groups.at(path), str(task.pid))
        assert task.forks() == (1, 0)
        groups.pcont.ok("attach", groups.at(), str(task.pid))
        groups.pcont.ok("rm", groups.at(path))
    assert eventually(lambda: [entries(one) for one in ("rates", "counts")] == [1, 0])


@only_kernel
def test_a_user_without_permission_sees_unknown(groups: Groups) -> None:
    groups.create("/a")
    user = Pcont(groups.pcont.words, uid=65534)
    assert "successes unknown" in user.ok("get", groups.at("/a"), "numtasks.stats")
    assert "numtasks.shares" in user.ok("get", groups.at("/a"))
    user.fails(4, "get", groups.at("/a"), "forkrate")


@only_kernel
@pytest.mark.parametrize("moving", [False, True], ids=["at rest", "moving"])
def test_every_fork_is_counted_while_many_fork(groups: Groups, moving: bool) -> None:
    groups.create("/a", "/b")
    tasks, times = [groups.task("/a") for _ in range(4)], 200
    for task in tasks:
        task.begins(times, on="all")
    folders = [groups.pcont.backend().show(groups.place(path)) for path in ("/b", "/a")]
    for folder, task in itertools.product(folders * 50, tasks if moving else ()):
        Path(folder, "cgroup.procs").write_text(str(task.pid))
    assert [task.ends() for task in tasks] == [(times, 0)] * len(tasks)
    successes = [groups.counts(path)["successes"] for path in ("/a", "/b")]
    assert sum(successes) == times * len(tasks)
    assert moving or not successes[1]


@only_kernel
def test_a_rate_is_exact_while_many_fork(groups: Groups) -> None:
    groups.create("/a")
    groups.rate("/a", 100, 1000)
    tasks, times = [groups.task("/a") for _ in range(4)], 100
    for task in tasks:
        task.begins(times, on="all")
    done = [task.ends()[0] for task in tasks]
    assert sum(done) == 100
    counts = groups.counts("/a")
    assert counts["successes"] == 100
    assert counts["forkrate failures"] == times * len(tasks) - 100
    assert groups.get("/a", "pids.events") == "max 0"
