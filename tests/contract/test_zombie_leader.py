"""A process whose first thread has ended while others live: daemons that end their main thread.

The kernel shows the first thread as a zombie in the root containers, and moves the others with it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pcont.errors import NotFound
from pcont.kernel.types import Place
from pcont.linux.proc import Proc
from pcont.steps.attach import Attach
from pcont.transaction.step import carry_out
from tests.contract.conftest import Jobs, Pcont, Top, eventually, threads_of

SCRIPT = """
import ctypes, subprocess, sys, threading, time
for _ in range(int(sys.argv[1])):
    threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
child = subprocess.Popen(["sleep", "600"]) if sys.argv[2] == "child" else None
print(child.pid if child else 0, flush=True)
ctypes.CDLL(None).pthread_exit(None)
"""


class Headless:
    """A process with so many live threads and a first one that is a zombie; perhaps a child."""

    def __init__(self, threads: int = 2, child: bool = False) -> None:
        words = [sys.executable, "-c", SCRIPT, str(threads), "child" if child else ""]
        self._process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout
        self.child = int(self._process.stdout.readline())
        self.pid = self._process.pid
        assert eventually(lambda: Proc().task(self.pid).state == "Z")
        self.threads = [task for task in threads_of(self.pid) if task != self.pid]
        assert len(self.threads) == threads

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout
        self._process.stdout.close()
        if self.child:
            os.kill(self.child, 9)


@pytest.fixture
def headless() -> Iterator[Callable[..., Headless]]:
    found: list[Headless] = []

    def begin(threads: int = 2, child: bool = False) -> Headless:
        found.append(Headless(threads, child))
        return found[-1]

    yield begin
    for one in found:
        one.close()


def container(jobs: Jobs, task: int) -> object:
    rows = json.loads(jobs.pcont.ok("where", str(task), "--json"))["result"]
    return next(row for row in rows if row["hierarchy"] == jobs.name)["container"]


def test_its_live_threads_are_attached(jobs: Jobs, headless: Callable[..., Headless]) -> None:
    one = headless()
    jobs.pcont.ok("create", "-i", jobs.at("/a"), "-s", "cpus=1")
    answer = jobs.pcont("attach", "--json", jobs.at("/a"), str(one.pid))
    assert (answer.status, answer.err, answer.json["moved"]) == (0, "", 1)
    assert jobs.pcont.get(jobs.at("/a"), "tasks") == "\n".join(map(str, one.threads))
    assert jobs.pcont.get(jobs.at("/a"), "cgroup.procs") == str(one.pid)
    assert {jobs.pcont.affinity(task) for task in one.threads} == {"1"}
    rows = json.loads(jobs.pcont.ok("ps", "--json", jobs.at("/a")))["result"]
    assert [(row["id"], row["pid"], row["missing"]) for row in rows] == [
        (task, one.pid, []) for task in one.threads
    ]


def test_it_is_where_its_live_threads_are(jobs: Jobs, headless: Callable[..., Headless]) -> None:
    one = headless(threads=3)
    jobs.pcont.ok("create", "-i", jobs.at("/a"), jobs.at("/b"))
    jobs.pcont.ok("attach", jobs.at("/a"), str(one.pid))
    assert container(jobs, one.pid) == "/a"
    jobs.pcont.ok("attach", "--thread", jobs.at("/b"), str(one.threads[2]))
    for task in (one.pid, one.threads[0]):
        rows = json.loads(jobs.pcont.ok("where", str(task), "--json"))["result"]
        row = next(row for row in rows if row["hierarchy"] == jobs.name)
        assert row["container"] == "/a"
        assert list(row["elsewhere"].values()) == [1]  # a zombie is nowhere
    (top,) = json.loads(jobs.pcont.ok("tree", jobs.at("/a"), "--json"))["result"]
    assert top["tasks"] == 2


def test_it_moves_with_its_descendants(jobs: Jobs, headless: Callable[..., Headless]) -> None:
    one = headless(child=True)
    jobs.pcont.ok("create", "-i", jobs.at("/a"))
    answer = jobs.pcont("attach", "--tree", "--json", jobs.at("/a"), str(one.pid))
    assert answer.json["moved"] == 2
    assert {container(jobs, task) for task in (one.pid, one.child, *one.threads)} == {"/a"}


def test_the_zombie_alone_cannot_be_attached(jobs: Jobs, headless: Callable[..., Headless]) -> None:
    one = headless()
    jobs.pcont.ok("create", "-i", jobs.at("/a"))
    said = jobs.pcont.fails(3, "attach", "--thread", jobs.at("/a"), str(one.pid))
    assert "other threads of its process are alive" in said
    jobs.pcont.fails(3, "set", jobs.at("/a"), f"tasks={one.pid}")
    assert jobs.pcont.get(jobs.at("/a"), "tasks") == ""
    jobs.pcont.ok("set", jobs.at("/a"), f"cgroup.procs={one.pid}")
    assert jobs.pcont.get(jobs.at("/a"), "tasks") == "\n".join(map(str, one.threads))


def test_it_is_moved_and_evicted_like_others(jobs: Jobs, headless: Callable[..., Headless]) -> None:
    one = headless()
    jobs.pcont.ok("create", "-p", "-i", jobs.at("/a/b"), jobs.at("/c"))
    jobs.pcont.ok("attach", jobs.at("/c"), str(one.pid))
    assert json.loads(jobs.pcont.ok("move", "--json", jobs.at("/c"), jobs.at("/a/b")))
    assert container(jobs, one.pid) == "/a/b"
    jobs.pcont.ok("rm", "--evict", jobs.at("/a/b"))
    assert container(jobs, one.pid) == "/a"


def test_a_clone_is_made_where_its_live_threads_are(
    jobs: Jobs, headless: Callable[..., Headless]
) -> None:
    one = headless()
    jobs.pcont.ok("create", "-i", jobs.at("/a"))
    jobs.pcont.ok("attach", jobs.at("/a"), str(one.pid))
    made = jobs.pcont.ok("clone", jobs.name, "--pid", str(one.pid))
    assert made == f"{jobs.at(f'/a/node_{one.pid}')}\n"
    assert {container(jobs, task) for task in one.threads} == {f"/a/node_{one.pid}"}


def test_it_is_killed_with_its_container(jobs: Jobs, headless: Callable[..., Headless]) -> None:
    one = headless()
    jobs.pcont.ok("create", "-i", jobs.at("/a"))
    jobs.pcont.ok("attach", jobs.at("/a"), str(one.pid))
    assert f"kill -KILL {one.pid}" in jobs.pcont.ok("rm", "-n", "--kill", jobs.at("/a"))
    jobs.pcont.ok("rm", "--kill", jobs.at("/a"))
    jobs.pcont.fails(3, "where", str(one.pid))


def test_a_refusal_after_it_has_moved_brings_its_threads_back(
    jobs: Jobs, headless: Callable[..., Headless]
) -> None:
    one = headless(threads=3)
    jobs.pcont.ok("create", "-i", jobs.at("/a"), jobs.at("/b"), jobs.at("/c"))
    jobs.pcont.ok("attach", jobs.at("/a"), str(one.pid))
    jobs.pcont.ok("attach", "--thread", jobs.at("/b"), str(one.threads[1]))
    before = {task: jobs.pcont.paths(task) for task in one.threads}
    backend = jobs.pcont.backend()
    tree = jobs.tree("cpuset")
    (path,) = {paths[tree].rpartition("/")[0] for paths in before.values()}
    steps = [Attach(one.pid, [Place(tree, f"{path}/{name}")], "x") for name in ("c", "none")]
    with backend.exclusive(), pytest.raises(NotFound):
        carry_out(backend, steps)
    assert {task: jobs.pcont.paths(task) for task in one.threads} == before


def test_undo_of_a_move_beside_others_brings_its_threads_back(
    jobs: Jobs, headless: Callable[..., Headless], tmp_path: Path
) -> None:
    one, other = headless(), headless()
    jobs.pcont.ok("create", "-i", jobs.at("/a"), jobs.at("/b"))
    jobs.pcont.ok("attach", jobs.at("/a"), str(one.pid))
    jobs.pcont.ok("attach", jobs.at("/b"), str(other.pid))
    lines = tmp_path / "lines"
    lines.write_text(f"move {jobs.at('/a')} {jobs.at('/b')}\nrm {jobs.at('/nope')}\n")
    jobs.pcont.fails(3, "batch", "--atomic", str(lines))
    assert (container(jobs, one.pid), container(jobs, other.pid)) == ("/a", "/b")


def test_a_zombie_without_threads_is_nowhere(jobs: Jobs) -> None:
    zombie = subprocess.Popen(["true"])
    os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
    said = jobs.pcont.fails(3, "where", str(zombie.pid))
    assert "zombie" in said
    zombie.wait()


def test_it_is_cloned_into_a_container_of_ns(
    pcont: Pcont, name: str, headless: Callable[..., Headless]
) -> None:
    """The rules of ns ask where a task is: the zombie is not asked."""
    one = headless()
    pcont.ok("mount", "-o", "ns", "--name", name)
    try:
        first = pcont.ok("clone", name, "--pid", str(one.pid)).strip()
        second = pcont.ok("clone", name, "--pid", str(one.pid)).strip()
        assert second == f"{first}/node_{one.pid}"
        assert {pcont.paths(task)[f"name={name}"] for task in one.threads} == {
            second.partition(":")[2]
        }
    finally:
        one.close()
        pcont.ok("rm", "-r", f"{name}:/node_{one.pid}")
        pcont.ok("umount", name)


def test_the_kernel_lists_its_live_threads_only(
    crowd: Top, headless: Callable[..., Headless]
) -> None:
    one = headless()
    crowd.pcont.ok("attach", crowd.at(), str(one.pid))
    assert crowd.pcont.get(crowd.at(), "pids.current") == "2"
    assert crowd.pcont.paths(one.pid)["pids"] == "/"
    assert crowd.pcont.paths(one.threads[0])["pids"] == crowd.path
    listed = crowd.pcont.get("pids:/", "tasks").split()
    assert str(one.pid) not in listed
