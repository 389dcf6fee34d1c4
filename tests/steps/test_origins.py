"""Where processes are before a move: by lists of containers, and by single looks."""

from __future__ import annotations

from collections import Counter

import pytest

from pcont.backend_model import Model
from pcont.kernel.types import Place, TreeRequest
from pcont.steps import origins
from pcont.steps.origins import OriginReader, Processes

TREES = ("name=n", "name=m")
TARGETS = [Place(tree, "/new") for tree in TREES]


class Lists(Model):
    """A model that counts how often it reads lists, and how often it looks up where a task is. Its
    lists leave out the task `left_out`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.looks: Counter[str] = Counter()
        self.left_out = 0
        for name in ("n", "m"):
            self.make_directory(f"/{name}")
            self.mount(TreeRequest((), name), f"/{name}", "pcont")
            for path in ("/a", "/b", "/new"):
                self.make(Place(f"name={name}", path))

    def read(self, place: Place, file: str) -> str:
        self.looks["read"] += 1
        lines = super().read(place, file).splitlines(keepends=True)
        return "".join(line for line in lines if line != f"{self.left_out}\n")

    def membership(self, task: int) -> dict[str, str]:
        self.looks["membership"] += 1
        return super().membership(task)

    def spawned(self, path: str, count: int = 1, threads: int = 1) -> list[int]:
        """Start processes in a container of both trees."""
        pids = [self.simulator.spawn() for _ in range(count)]
        for pid in pids:
            for _ in range(threads - 1):
                self.simulator.thread(pid)
            for tree in TREES:
                self.write(Place(tree, path), "cgroup.procs", str(pid))
        return pids

    def origins_of(self, pids: list[int]) -> origins.Origins:
        self.looks.clear()
        return OriginReader(self, TARGETS).read(map(self.task, pids))


@pytest.fixture
def model() -> Lists:
    return Lists()


def paths(path: str) -> dict[str, str]:
    return dict.fromkeys(TREES, path)


def by_path(found: origins.Origins) -> dict[str, set[int]]:
    """The processes by the path of their container."""
    return {some.paths[TREES[0]]: set(some.starts) for some in found.processes}


def test_one_list_of_each_tree_tells_where_all_processes_of_a_container_are(model: Lists) -> None:
    first, second = model.spawned("/a", 200), model.spawned("/b", 100)
    found = model.origins_of(first + second)
    assert by_path(found) == {"/a": set(first), "/b": set(second)}
    assert found.threads == {}
    assert model.looks == {"membership": 2, "read": 2 * len(TREES)}


def test_few_processes_are_looked_up_one_by_one(model: Lists) -> None:
    """The container could have a million tasks."""
    pids = model.spawned("/a", 3)
    assert by_path(model.origins_of(pids)) == {"/a": set(pids)}
    assert model.looks == {"membership": 3}


def test_a_process_that_a_list_leaves_out_is_looked_up(model: Lists) -> None:
    pids = model.spawned("/a", 100)
    model.left_out = pids[50]
    assert by_path(model.origins_of(pids)) == {"/a": set(pids)}
    assert model.looks["membership"] == 2


def test_a_thread_that_a_list_leaves_out_is_looked_up(model: Lists) -> None:
    (pid,) = model.spawned("/a", threads=100)
    model.left_out = model.threads(pid)[50]
    found = model.origins_of([pid])
    assert found.processes == [Processes(paths("/a"), None, {pid: model.task(pid).start})]
    assert model.looks["membership"] == 2


@pytest.mark.parametrize("threads", [3, 100])
def test_threads_that_are_apart_are_found_one_by_one(model: Lists, threads: int) -> None:
    (pid,) = model.spawned("/a", threads=threads)
    alone = model.threads(pid)[-1]
    model.write(Place(TREES[1], "/b"), "tasks", str(alone))
    found = model.origins_of([pid])
    assert found.processes == []
    assert set(found.threads) == set(model.threads(pid))
    assert found.threads[alone].paths == {TREES[0]: "/a", TREES[1]: "/b"}
    assert found.threads[pid].paths == paths("/a")


def test_lists_that_tell_little_are_read_once(model: Lists) -> None:
    """Each process is in a container of its own."""
    pids = []
    for number in range(100):
        for tree in TREES:
            model.make(Place(tree, f"/{number}"))
        pids += model.spawned(f"/{number}")
    found = model.origins_of(pids)
    assert [set(some.starts) for some in found.processes] == [{pid} for pid in pids]
    assert model.looks == {"membership": len(pids), "read": len(TREES)}


def test_a_process_without_its_first_thread_is_found_by_its_threads(model: Lists) -> None:
    (pid,) = model.spawned("/a", threads=3)
    others = model.threads(pid)[1:]
    model.simulator.exit(pid, thread=True)
    found = model.origins_of([pid])
    assert found.processes == []
    assert {task: one.paths for task, one in found.threads.items()} == {
        task: paths("/a") for task in others
    }


def test_one_that_has_ended_is_left_out(model: Lists) -> None:
    pids = model.spawned("/a", 2)
    known = [model.task(pid) for pid in pids]
    model.simulator.exit(pids[0])
    found = OriginReader(model, TARGETS).read(known)
    assert by_path(found) == {"/a": {pids[1]}}
    assert found.threads == {}
