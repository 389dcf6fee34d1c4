"""attach: whole processes or single threads, into every tree or into none."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from pcont.kernel.types import Place
from pcont.linux.proc import Proc
from pcont.values import Ids
from tests.conftest import IN_GUEST
from tests.contract.conftest import Jobs, Pcont, eventually, starts_empty, threads_of


def inside(jobs: Jobs, task: int) -> str | None:
    rows = json.loads(jobs.pcont.ok("where", str(task), "--json"))["result"]
    return str(next(row for row in rows if row["hierarchy"] == jobs.name)["container"])


@pytest.mark.quick
def test_a_process_moves_with_all_its_threads(jobs: Jobs, start: Callable[..., int]) -> None:
    pid = start(threads=50)
    jobs.pcont.ok("create", "-i", jobs.at("/a"), "-s", "cpus=1")
    assert jobs.pcont.ok("attach", jobs.at("/a"), str(pid)) == ""
    tasks = threads_of(pid)
    assert len(tasks) == 50
    for tree in ("cpuset", "cpuacct"):
        home = f"/{jobs.name}/a" if jobs.tree(tree) == tree else "/a"
        assert {jobs.pcont.paths(task)[jobs.tree(tree)] for task in tasks} == {home}
    assert {jobs.pcont.affinity(task) for task in tasks} == {"1"}
    assert len(jobs.pcont.ok("ps", jobs.at("/a")).splitlines()) == 50


@pytest.mark.quick
def test_one_thread_moves_alone(jobs: Jobs, start: Callable[..., int]) -> None:
    pid = start(threads=5)
    jobs.pcont.ok("create", "-i", jobs.at("/a"))
    chosen = threads_of(pid)[3]
    jobs.pcont.ok("attach", "--thread", jobs.at("/a"), str(chosen))
    assert inside(jobs, chosen) == "/a"
    assert all(inside(jobs, task) != "/a" for task in threads_of(pid) if task != chosen)
    assert jobs.pcont.get(jobs.at("/a"), "tasks") == str(chosen)


def test_any_thread_stands_for_its_process(jobs: Jobs, start: Callable[..., int]) -> None:
    pid = start(threads=3)
    jobs.pcont.ok("create", "-i", jobs.at("/a"))
    jobs.pcont.ok("attach", jobs.at("/a"), str(threads_of(pid)[2]))
    assert {inside(jobs, task) for task in threads_of(pid)} == {"/a"}


def test_what_is_no_task(jobs: Jobs) -> None:
    jobs.pcont.ok("create", "-i", jobs.at("/a"))
    ended = subprocess.Popen(["true"])
    ended.wait()
    said = jobs.pcont.fails(3, "attach", jobs.at("/a"), str(ended.pid))
    assert "ESRCH" in said
    for text in ("x", "0", "-1", "1.5", ""):
        jobs.pcont.fails(2, "attach", jobs.at("/a"), "--", text)


def test_a_zombie_has_ended(jobs: Jobs) -> None:
    jobs.pcont.ok("create", "-i", jobs.at("/a"))
    zombie = subprocess.Popen(["true"])
    os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
    said = jobs.pcont.fails(3, "attach", jobs.at("/a"), str(zombie.pid))
    zombie.wait()
    assert "zombie" in said


@contextlib.contextmanager
def ending() -> Iterator[int]:
    """A process on its way out, which takes it seconds: each of these sockets waits for RCU."""
    sockets = "from socket import *\nfor _ in range(200): socket(AF_PACKET, SOCK_RAW).detach()"
    with subprocess.Popen([sys.executable, "-c", sockets]) as process:
        assert eventually(lambda: Proc().task(process.pid).exited)
        yield process.pid


@pytest.mark.kernel
def test_a_process_that_is_ending_is_not_said_to_have_moved(kernel: Pcont, name: str) -> None:
    """The kernel would take the order, and let it be where it is."""
    kernel.ok("mount", "-o", "none", "--name", name)
    kernel.ok("create", f"{name}:/a")
    with ending() as pid:
        said = kernel.fails(3, "attach", f"{name}:/a", str(pid))
        assert "is ending" in said
        assert kernel.paths(pid)[f"name={name}"] == "/"
    kernel.ok("rm", f"{name}:/a")
    kernel.ok("umount", name)


ENDINGS = 100 if IN_GUEST else 400


@pytest.mark.kernel
def test_a_task_that_ends_leaves_all_hierarchies_at_once(kernel: Pcont, name: str) -> None:
    """A reader rarely looks at the moment at which it has left only some of them."""
    names = [f"{name}-{number}" for number in range(4)]
    for one in names:
        kernel.ok("mount", "-o", "none", "--name", one)
        kernel.ok("create", f"{one}:/a")
    backend, seen = kernel.backend(), Counter[frozenset[str]]()
    for _ in range(ENDINGS):
        begin, beginning = os.pipe()
        with subprocess.Popen(["sh", "-c", "read word"], stdin=begin) as process:
            os.close(begin)
            for one in names:
                backend.write(Place(f"name={one}", "/a"), "tasks", str(process.pid))
            os.close(beginning)
            paths = {"/a"}
            while paths != {"/"}:
                there = backend.membership(process.pid)
                paths = {there[f"name={one}"] for one in names}
                seen[frozenset(paths)] += 1
    for one in names:
        kernel.ok("rm", f"{one}:/a")
        kernel.ok("umount", one)
    assert seen.keys() == {frozenset({"/a"}), frozenset({"/"})}, seen


@pytest.mark.quick
def test_one_of_several_that_is_not_there_moves_none(jobs: Jobs, start: Callable[..., int]) -> None:
    jobs.pcont.ok("create", "-i", jobs.at("/a"))
    first = start()
    ended = subprocess.Popen(["true"])
    ended.wait()
    before = jobs.pcont.paths(first)
    jobs.pcont.fails(3, "attach", jobs.at("/a"), str(first), str(ended.pid))
    assert jobs.pcont.paths(first) == before


@pytest.mark.parametrize("given", [[], ["cpus=0"], ["mems=0"]])
@pytest.mark.quick
def test_an_empty_cpuset_admits_no_task_and_says_what_is_missing(
    jobs: Jobs, start: Callable[..., int], given: list[str]
) -> None:
    words = [word for setting in given for word in ("-s", setting)]
    jobs.pcont.ok("create", jobs.at("/a"), *words)
    pid = start()
    before = jobs.pcont.paths(pid)
    said = jobs.pcont.fails(7, "attach", jobs.at("/a"), str(pid))
    missing = [key for key in ("cpus", "mems") if f"{key}=0" not in given]
    assert all(f"cpuset.{key}" in said for key in missing)
    assert "hint: pcont set " in said
    assert "create -i" not in said
    assert "ENOSPC" in said
    assert "space left" not in said
    assert jobs.pcont.paths(pid) == before


def test_a_container_that_is_not_there(jobs: Jobs, start: Callable[..., int]) -> None:
    said = jobs.pcont.fails(3, "attach", jobs.at("/no"), str(start()))
    assert f"pcont tree {jobs.name}" in said
    jobs.pcont.ok("create", jobs.at("/batch"))
    assert f"near: {jobs.at('/batch')}" in jobs.pcont.fails(3, "get", jobs.at("/bacth"))


def test_a_dry_run_moves_no_task(jobs: Jobs, start: Callable[..., int]) -> None:
    jobs.pcont.ok("create", "-i", jobs.at("/a"))
    pid = start()
    before = jobs.pcont.paths(pid)
    reported = jobs.pcont.ok("attach", "-n", jobs.at("/a"), str(pid))
    assert f"echo {pid} > " in reported
    assert jobs.pcont.paths(pid) == before


def test_pid_1_is_protected(jobs: Jobs) -> None:
    jobs.pcont.ok("create", "-i", jobs.at("/a"))
    assert "--force" in jobs.pcont.fails(4, "attach", jobs.at("/a"), "1")


def test_a_kernel_thread_that_refuses_is_reported_as_such(pcont: Pcont, name: str) -> None:
    """kthreadd cannot be moved, even in a hierarchy that admits every other task."""
    pcont.ok("mount", "-o", "none", "--name", name)
    try:
        pcont.ok("create", f"{name}:/a")
        said = pcont.fails(7, "attach", f"{name}:/a", "2")
        assert "kernel thread" in said
        assert "kthreadd" in said
        assert "EINVAL" in said
    finally:
        pcont.ok("rm", f"{name}:/a")
        pcont.ok("umount", name)


@pytest.fixture
def two(pcont: Pcont, name: str) -> Iterator[tuple[str, str]]:
    """Two hierarchies apart, with /b refusing in the second to be tried: cpuacct, and cpuset."""
    bound = ["cpuset", "cpuacct"] if starts_empty(pcont) else []
    for controller in bound:
        pcont.ok("mount", "-o", controller)
    trees = ("cpuacct", "cpuset")
    for tree in trees:
        pcont.ok("create", "-i", f"{tree}:/{name}")
        pcont.ok("create", "-i", f"{tree}:/{name}/old")
        pcont.ok("create", f"{tree}:/{name}/new")
    yield trees
    for tree in trees:
        pcont.ok("rm", "-r", "--kill", f"{tree}:/{name}")
    for controller in bound:
        pcont.ok("umount", controller)


def test_threads_that_were_apart_are_apart_again_after_a_refusal(
    pcont: Pcont, two: tuple[str, str], name: str, start: Callable[..., int]
) -> None:
    """50 threads, some in a second container and with an affinity of their own.

    cpuset would refuse before anything was moved; so the process goes through the step as it
    would if the refusing tree came second.
    """
    from pcont.errors import BadValue
    from pcont.steps.attach import Attach
    from pcont.transaction.step import carry_out

    pid = start(threads=50)
    tasks = threads_of(pid)
    backend = pcont.backend()
    for task in tasks[10:20]:
        pcont.ok("attach", "--thread", f"cpuset,cpuacct:/{name}/old", str(task))
    for task in tasks[15:30]:
        with backend.exclusive():
            backend.set_affinity(task, frozenset({task % 2}))
    before = {task: (pcont.paths(task), pcont.affinity(task)) for task in tasks}

    pcont.fails(7, "attach", f"cpuset,cpuacct:/{name}/new", str(pid))
    assert {task: (pcont.paths(task), pcont.affinity(task)) for task in tasks} == before

    pcont.ok("set", f"cpuset:/{name}/new", "cpus=0", "mems=0")
    backend = pcont.backend()
    step = Attach(pid, [Place("cpuset", f"/{name}/new"), Place("cpuacct", f"/{name}/x")], "x")
    with backend.exclusive(), pytest.raises(Exception, match="ENOENT") as caught:
        carry_out(backend, [step])
    assert not isinstance(caught.value, BadValue)
    assert {task: (pcont.paths(task), pcont.affinity(task)) for task in tasks} == before


def test_a_second_process_that_is_refused_brings_the_first_one_back(
    pcont: Pcont, two: tuple[str, str], name: str, start: Callable[..., int]
) -> None:
    from pcont.errors import NotFound
    from pcont.steps.attach import Attach
    from pcont.transaction.step import carry_out

    first, second = start(threads=4), start()
    backend = pcont.backend()
    affinity: Ids = frozenset({1})
    with backend.exclusive():
        backend.set_affinity(first, affinity)
    before = {task: (pcont.paths(task), pcont.affinity(task)) for task in threads_of(first)}
    good, bad = Place("cpuset", f"/{name}/old"), Place("cpuset", f"/{name}/none")
    steps = [Attach(first, [good], "first"), Attach(second, [bad], "second")]
    with backend.exclusive(), pytest.raises(NotFound):
        carry_out(backend, steps)
    after = {task: (pcont.paths(task), pcont.affinity(task)) for task in threads_of(first)}
    assert after == before


def test_many_processes_of_several_containers_go_back_each_to_its_own(
    jobs: Jobs, start: Callable[..., int]
) -> None:
    """So many that pcont reads the lists of the containers. Threads of one process are apart."""
    from pcont.errors import NotFound
    from pcont.hierarchy.registry import Registry
    from pcont.steps.attach import Attach
    from pcont.transaction.step import carry_out

    jobs.pcont.ok("create", "-i", *(jobs.at(path) for path in ("/a", "/b", "/c")))
    some, others = ([start() for _ in range(45)] for _ in range(2))
    apart, together = start(threads=5), start(threads=80)
    jobs.pcont.ok("attach", jobs.at("/a"), *map(str, some), str(apart), str(together))
    jobs.pcont.ok("attach", jobs.at("/b"), *map(str, others))
    jobs.pcont.ok("attach", "--thread", jobs.at("/b"), str(threads_of(apart)[2]))
    pids = [*some, *others, apart, together]
    tasks = [task for pid in pids for task in threads_of(pid)]
    backend = jobs.pcont.backend()
    with backend.exclusive():
        for task in (others[3], threads_of(together)[7]):
            backend.set_affinity(task, frozenset({1}))
    before = {task: (jobs.pcont.paths(task), jobs.pcont.affinity(task)) for task in tasks}

    backend = jobs.pcont.backend()
    places = Registry(backend).place(jobs.at("/c")).places
    step = Attach(pids[0], places, "x", also=dict.fromkeys(pids[1:], "x"))
    lost = Attach(pids[0], [place.parent.child("none") for place in places], "y")
    with backend.exclusive(), pytest.raises(NotFound):
        carry_out(backend, [step, lost])
    after = {task: (jobs.pcont.paths(task), jobs.pcont.affinity(task)) for task in tasks}
    assert after == before

    jobs.pcont.ok("attach", jobs.at("/c"), *map(str, pids))
    assert {inside(jobs, task) for task in tasks[:3] + tasks[-3:]} == {"/c"}
    assert len(jobs.pcont.get(jobs.at("/c"), "tasks").split()) == len(tasks)


FORKING = "while :; do for i in 1 2 3 4 5 6 7 8; do sleep 0.05 & done; wait; done"


@pytest.mark.parametrize(
    "jobs",
    [
        pytest.param(("cgroupfs", "tied"), id="kernel-tied", marks=pytest.mark.kernel),
        pytest.param(("cgroupfs", "single"), id="kernel-single", marks=pytest.mark.guest),
    ],
    indirect=True,
)
def test_children_that_are_forked_during_the_attach_are_in_step(jobs: Jobs) -> None:
    """A process that forks all the time: no child of it is left between two trees."""
    jobs.pcont.ok("create", "-i", jobs.at("/a"), jobs.at("/b"))
    shell = subprocess.Popen(["sh", "-c", FORKING])
    try:
        for number in range(12 if IN_GUEST else 40):
            jobs.pcont.ok("attach", jobs.at(("/a", "/b")[number % 2]), str(shell.pid))
            for path in ("/a", "/b"):
                rows = json.loads(jobs.pcont.ok("ps", "--json", jobs.at(path)))["result"]
                assert all(row["missing"] == [] for row in rows), rows
    finally:
        jobs.pcont.ok("rm", "--kill", jobs.at("/a"), jobs.at("/b"))
        shell.wait()


def test_a_task_that_ends_during_the_attach_is_a_note(
    jobs: Jobs, start: Callable[..., int]
) -> None:
    """It ends after the first look: the test uses the library, to act between the two."""
    from pcont.hierarchy.registry import Registry
    from pcont.session import Session
    from pcont.steps.attach import Attach

    jobs.pcont.ok("create", "-i", jobs.at("/a"))
    victim = subprocess.Popen(["sleep", "600"])
    notes: list[str] = []
    session = Session(jobs.pcont.backend(), warn=notes.append)
    with session.exclusive():
        places = Registry(session.backend).place(jobs.at("/a")).places
        step = Attach(victim.pid, places, "attach")
        victim.kill()
        victim.wait()
        session.carry_out([step])
    assert notes == [f"task {victim.pid} ended while it was being moved"]


@pytest.mark.parametrize(
    "pcont", [pytest.param("cgroupfs", id="kernel", marks=pytest.mark.kernel)], indirect=True
)
def test_a_rollback_moves_no_other_task(pcont: Pcont, two: tuple[str, str], name: str) -> None:
    """A worker of the process forks in the target all the while: its children stay there."""
    from pcont.errors import NotFound
    from pcont.steps.attach import Attach
    from pcont.transaction.step import carry_out

    parent = subprocess.Popen(["sh", "-c", f"sh -c '{FORKING}' & echo $!; wait"], stdout=-1)
    assert parent.stdout
    worker = int(parent.stdout.readline())
    backend = pcont.backend()
    good, bad = Place("cpuset", f"/{name}/old"), Place("cpuset", f"/{name}/none")
    try:
        pcont.ok("attach", f"cpuset:/{name}/old", str(worker))
        # The children that it had before stay where they are, and end sooner or later.
        root = pcont.paths(parent.pid)["cpuset"]
        assert eventually(lambda: worker not in map(_parent, _tasks(pcont, root)))
        for _ in range(10):
            first, second = (Attach(parent.pid, [place], "x") for place in (good, bad))
            with backend.exclusive(), pytest.raises(NotFound):
                carry_out(backend, [first, second])
            assert pcont.paths(parent.pid)["cpuset"] == root
            assert worker not in map(_parent, _tasks(pcont, root))
    finally:
        pcont("rm", "--kill", f"cpuset:/{name}/old")
        subprocess.run(["pkill", "-KILL", "-P", str(worker)], check=False)
        for pid in (worker, parent.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        parent.stdout.close()
        parent.wait()


def _tasks(pcont: Pcont, path: str) -> list[int]:
    return [int(task) for task in pcont.backend().read(Place("cpuset", path), "tasks").split()]


def _parent(task: int) -> int:
    """Its parent; 0 if the task has ended."""
    try:
        with open(f"/proc/{task}/stat") as stream:
            return int(stream.read().rpartition(") ")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def test_a_task_may_call_itself_anything(jobs: Jobs) -> None:
    script = (
        "import ctypes, time; ctypes.CDLL(None).prctl(15, {!r}); print(flush=True); time.sleep(600)"
    )
    for name in (b"\rTgid:", b"\x1cTgid: 1", b"a) S 1 1 (b", b"\xff\xfe", b"x\ny"):
        process = subprocess.Popen(
            [sys.executable, "-c", script.format(name)], stdout=subprocess.PIPE
        )
        try:
            assert process.stdout
            process.stdout.readline()
            jobs.pcont.ok("create", "-p", "-i", jobs.at("/a"))
            jobs.pcont.ok("attach", jobs.at("/a"), str(process.pid))
            assert len(jobs.pcont.ok("ps", jobs.at("/a")).splitlines()) == 1
            assert json.loads(jobs.pcont.ok("ps", "--json", jobs.at("/a")))["result"]
        finally:
            process.kill()
            process.wait()
            process.stdout.close()  # type: ignore[union-attr]


def test_evict_leaves_a_task_alone_where_it_is_elsewhere(
    pcont: Pcont, two: tuple[str, str], name: str, start: Callable[..., int]
) -> None:
    pid = start(threads=3)
    pcont.ok("attach", f"cpuset:/{name}/old", str(pid))
    pcont.ok("attach", f"cpuacct:/{name}/new", str(pid))
    pcont.ok("rm", "--evict", f"cpuset,cpuacct:/{name}/new")
    for task in threads_of(pid):
        assert pcont.paths(task)["cpuset"] == f"/{name}/old"
        assert pcont.paths(task)["cpuacct"] == f"/{name}"
    for tree in two:
        pcont.ok("create", f"{tree}:/{name}/new")
