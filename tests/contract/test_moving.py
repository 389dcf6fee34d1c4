"""move, attach --tree, recover and --timeout, where nothing forks: storms are elsewhere."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.contract.conftest import ON_THE_HOST, Jobs, Pcont, eventually, threads_of


@pytest.fixture
def pair(jobs: Jobs) -> Jobs:
    """Two containers that can be entered."""
    jobs.pcont.ok("create", "-i", jobs.at("/a"), jobs.at("/b"))
    return jobs


def paths(jobs: Jobs, task: int) -> set[str]:
    """The containers of the hierarchy where a task is, in any tree."""
    top = "" if jobs.tree("cpuset") != "cpuset" else f"/{jobs.name}"
    found = jobs.pcont.paths(task)
    return {found[jobs.tree(one)].removeprefix(top) for one in jobs.controllers}


def test_move_takes_every_task_and_says_how(pair: Jobs, start: Callable[..., int]) -> None:
    pids = [start(), start(threads=3)]
    pair.pcont.ok("attach", pair.at("/a"), *map(str, pids))
    result = pair.pcont("move", "--json", pair.at("/a"), pair.at("/b"))
    assert result.status == 0, result.err
    assert result.json["moved"] == 4
    tied = pair.tree("cpuset") == "cpuset"  # and a tie has the freezer
    assert result.json["strategy"] == ("freeze" if tied else "converge")
    assert result.json["stragglers"] == 0
    for pid in pids:
        assert all(paths(pair, task) == {"/b"} for task in threads_of(pid))
    assert pair.pcont("ps", "--json", pair.at("/a")).json == []


def test_move_takes_one_thread_where_one_is_inside(pair: Jobs, start: Callable[..., int]) -> None:
    pid = start(threads=3)
    first, second, third = threads_of(pid)
    pair.pcont.ok("attach", "--thread", pair.at("/a"), str(second))
    pair.pcont.ok("move", pair.at("/a"), pair.at("/b"))
    assert paths(pair, second) == {"/b"}
    assert {"/a", "/b"} & (paths(pair, first) | paths(pair, third)) == set()


def test_move_says_how_on_request_and_nothing_else(pair: Jobs, start: Callable[..., int]) -> None:
    pair.pcont.ok("attach", pair.at("/a"), str(start()))
    quiet = pair.pcont("move", pair.at("/a"), pair.at("/b"))
    reported = pair.pcont("move", "-v", pair.at("/b"), pair.at("/a"))
    assert (quiet.out, quiet.err, reported.out) == ("", "", "")
    assert "1 moved in " in reported.err


def test_a_move_that_is_refused_leaves_every_task(pair: Jobs, start: Callable[..., int]) -> None:
    pid = start(threads=2)
    pair.pcont.ok("attach", pair.at("/a"), str(pid))
    pair.pcont.ok("create", pair.at("/none"))
    before = [(pair.pcont.paths(task), pair.pcont.affinity(task)) for task in threads_of(pid)]
    err = pair.pcont.fails(7, "move", pair.at("/a"), pair.at("/none"))
    assert "ENOSPC" in err
    assert "cpuset.cpus" in err
    after = [(pair.pcont.paths(task), pair.pcont.affinity(task)) for task in threads_of(pid)]
    assert after == before


def test_a_task_that_was_there_at_the_first_look_is_not_late(
    pair: Jobs, start: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many rounds it takes: here each round moves one task."""
    monkeypatch.setattr("pcont.steps.converge.FRESH", 0.0)
    monkeypatch.setattr("pcont.kernel.types._FREEZER", "none")
    pid = start(threads=12)
    pair.pcont.ok("attach", pair.at("/a"), str(pid))
    result = pair.pcont("move", "--json", pair.at("/a"), pair.at("/b"))
    assert result.status == 0, result.err
    assert result.json["strategy"] == "converge"
    assert result.json["rounds"] == 12
    assert (result.json["moved"], result.json["stragglers"]) == (12, 0)


def test_undo_leaves_the_tasks_that_were_in_the_target(
    pair: Jobs, start: Callable[..., int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Also if the move took many rounds, and if only some threads of a process moved."""
    monkeypatch.setattr("pcont.steps.converge.FRESH", 0.0)
    monkeypatch.setattr("pcont.kernel.types._FREEZER", "none")
    there, parted = start(threads=2), start(threads=3)
    moved = [start(), start(threads=40)]
    pair.pcont.ok("attach", pair.at("/b"), str(there))
    pair.pcont.ok("attach", pair.at("/a"), *map(str, moved))
    _first, second, third = threads_of(parted)
    pair.pcont.ok("attach", "--thread", pair.at("/a"), str(second))
    pair.pcont.ok("attach", "--thread", pair.at("/b"), str(third))
    everything = [task for pid in (there, parted, *moved) for task in threads_of(pid)]
    before = {task: pair.pcont.paths(task) for task in everything}
    lines = tmp_path / "lines"
    lines.write_text(f"move {pair.at('/a')} {pair.at('/b')}\nrm {pair.at('/nope')}\n")
    pair.pcont.fails(3, "batch", "--atomic", str(lines))
    assert {task: pair.pcont.paths(task) for task in everything} == before


def test_what_cannot_be_moved(pair: Jobs) -> None:
    a, b = pair.at("/a"), pair.at("/b")
    assert "both the source and the target" in pair.pcont.fails(2, "move", a, a)
    assert "root container" in pair.pcont.fails(4, "move", pair.at("/"), b)
    pair.pcont.fails(3, "move", a, pair.at("/nope"))
    other = f"{pair.tree('cpuacct').split(',')[0]}:/"
    if pair.tree("cpuset") == "cpuset":
        assert "different hierarchies" in pair.pcont.fails(2, "move", a, other)


@pytest.mark.parametrize(
    "jobs",
    [
        pytest.param(("model", "tied"), id="model-tied"),
        pytest.param(("cgroupfs", "tied"), id="kernel-tied", marks=ON_THE_HOST),
    ],
    indirect=True,
)
def test_a_frozen_container_is_not_thawed_by_moving(pair: Jobs, start: Callable[..., int]) -> None:
    pair.pcont.ok("attach", pair.at("/a"), str(start()))
    pair.pcont.ok("set", pair.at("/a"), "freezer.state=FROZEN")
    assert "frozen" in pair.pcont.fails(5, "move", pair.at("/a"), pair.at("/b"))
    pair.pcont.ok("set", pair.at("/b"), "freezer.state=FROZEN")
    pair.pcont.ok("move", pair.at("/a"), pair.at("/b"))
    assert pair.pcont.get(pair.at("/b"), "freezer.self_freezing") == "1"
    assert eventually(lambda: pair.pcont.get(pair.at("/b"), "freezer.state") == "FROZEN")
    assert len(pair.pcont("ps", "--json", pair.at("/b")).json) == 1
    pair.pcont.ok("set", pair.at("/b"), "freezer.state=THAWED")


def test_a_dry_run_of_a_move_tells_each_write(pair: Jobs, start: Callable[..., int]) -> None:
    pid = start()
    pair.pcont.ok("attach", pair.at("/a"), str(pid))
    reported = pair.pcont("move", "-n", "--json", pair.at("/a"), pair.at("/b"))
    writes = _would(reported.out)
    (row,) = (one for one in pair.pcont("hierarchies", "--json").json if one["name"] == pair.name)
    if "freezer" in [tree["id"] for tree in row["trees"]]:
        assert re.fullmatch("echo FROZEN > .*/a/freezer.state", writes.pop(0))
        assert re.fullmatch("echo THAWED > .*/a/freezer.state", writes.pop())
    assert writes
    assert all(line.startswith(f"echo {pid} > ") for line in writes)
    assert paths(pair, pid) == {"/a"}


def _would(out: str) -> list[str]:
    found: list[str] = json.loads(out)["would"]
    return found


FAMILY = """
import os, sys, time
for _ in range(3):
    if os.fork() == 0:
        if os.fork() == 0:
            time.sleep(600)
        time.sleep(600)
print("ready", flush=True)
time.sleep(600)
"""


@contextmanager
def family() -> Iterator[tuple[int, set[int]]]:
    """A process with three children and three grandchildren."""
    import psutil

    command = [sys.executable, "-c", FAMILY]
    with subprocess.Popen(command, stdout=-1, text=True, start_new_session=True) as process:
        try:
            top = psutil.Process(process.pid)
            assert eventually(lambda: len(top.children(recursive=True)) == 6)
            yield process.pid, {one.pid for one in top.children(recursive=True)}
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def test_attach_tree_takes_all_that_descends(pair: Jobs, start: Callable[..., int]) -> None:
    alone = start()
    with family() as (top, others):
        result = pair.pcont("attach", "--tree", "--json", pair.at("/a"), str(top))
        assert result.status == 0, result.err
        assert all(paths(pair, pid) == {"/a"} for pid in (top, *others))
        assert result.json["moved"] == 7
        assert "/a" not in paths(pair, alone)
        # Without --tree, it is the process.
        pair.pcont.ok("attach", pair.at("/b"), str(top))
        assert paths(pair, top) == {"/b"}
        assert all(paths(pair, pid) == {"/a"} for pid in others)
        pair.pcont.ok("rm", "--kill", pair.at("/a"), pair.at("/b"))


def test_attach_tree_that_is_refused_leaves_all_of_it(pair: Jobs) -> None:
    pair.pcont.ok("create", pair.at("/none"))
    with family() as (top, others):
        before = {pid: pair.pcont.paths(pid) for pid in (top, *others)}
        pair.pcont.fails(7, "attach", "--tree", pair.at("/none"), str(top))
        assert {pid: pair.pcont.paths(pid) for pid in (top, *others)} == before
        assert "cannot be combined" in pair.pcont.fails(
            2, "attach", "--tree", "--thread", pair.at("/a"), str(top)
        )


# Taking turns, and crashes


def test_a_turn_is_waited_for_no_longer_than_one_says(pair: Jobs) -> None:
    words = [sys.executable, "-c", HOLDER, *pair.pcont.words]
    with subprocess.Popen(words, stdin=-1, stdout=-1, text=True) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "mine\n"
        err = pair.pcont.fails(5, "create", "--timeout", "0.1", pair.at("/c"))
        assert f"process {holder.pid}" in err
        assert "/c" not in pair.pcont.ok("tree", pair.at("/"))
        holder.communicate("done\n")
    pair.pcont.ok("create", "--timeout", "0", pair.at("/c"))


HOLDER = """
import sys
from pcont.kernel.open import open_backend
words = sys.argv[1:]
backend = open_backend("model", words[3]) if "model" in words else open_backend()
with backend.exclusive():
    print("mine", flush=True)
    sys.stdin.readline()
"""


def test_there_is_nothing_to_recover_from(pair: Jobs) -> None:
    assert pair.pcont("recover", "--json").json == []


DYING = """
import os, signal, sys
from pcont.backend_cgroupfs import Cgroupfs
make, left = Cgroupfs.make, [2]
def dying(self, place):
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    left[0] -= 1
    make(self, place)
Cgroupfs.make = dying
from pcont.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    "jobs",
    [pytest.param(("cgroupfs", "tied"), id="kernel-tied", marks=pytest.mark.kernel)],
    indirect=True,
)
@pytest.mark.parametrize("how", ["recover", "the next command"])
@pytest.mark.quick
def test_what_a_killed_command_has_made_is_undone(jobs: Jobs, how: str) -> None:
    words = [sys.executable, "-c", DYING, *jobs.pcont.words, "create", jobs.at("/dead")]
    died = subprocess.run(words, capture_output=True, text=True)
    assert died.returncode == -signal.SIGKILL
    assert _somewhere(jobs.pcont, "dead")
    (line,) = [one for one in _would(jobs.pcont.ok("recover", "-n", "--json")) if "/dead" in one]
    assert "create" in line
    assert _somewhere(jobs.pcont, "dead")
    if how == "recover":
        (row,) = jobs.pcont("recover", "--json").json
        assert (row["outcome"], row["left"]) == ("undone", [])
        assert "/dead" in row["command"]
    else:
        result = jobs.pcont("create", jobs.at("/next"))
        assert result.status == 0
        assert "recovered from a crash of" in result.err
    assert not _somewhere(jobs.pcont, "dead")
    assert jobs.pcont("recover", "--json").json == []


def _somewhere(pcont: Pcont, name: str) -> bool:
    """Whether any tree has a container of that name, below a top one of these tests."""
    from pcont.kernel.types import Place

    backend = pcont.backend()
    for tree in backend.trees():
        for top in backend.children(Place(tree.id)) if tree.mounted else ():
            if top == name or (
                top.startswith("pct") and name in backend.children(Place(tree.id, f"/{top}"))
            ):
                return True
    return False


@pytest.mark.parametrize(
    "jobs",
    [pytest.param(("cgroupfs", "tied"), id="kernel-tied", marks=pytest.mark.kernel)],
    indirect=True,
)
def test_no_task_stays_frozen_when_a_mover_dies(jobs: Jobs, start: Callable[..., int]) -> None:
    """Also where its whole process group is killed."""
    jobs.pcont.ok("create", "-i", jobs.at("/a"), jobs.at("/b"))
    pid = start()
    jobs.pcont.ok("attach", jobs.at("/a"), str(pid))
    words = [sys.executable, "-c", MOVER, *jobs.pcont.words]
    mover = subprocess.Popen(
        [*words, "move", jobs.at("/a"), jobs.at("/b")], stdout=-1, text=True, start_new_session=True
    )
    assert mover.stdout
    assert mover.stdout.readline() == "frozen\n"
    assert jobs.pcont.get(jobs.at("/a"), "freezer.state") in ("FREEZING", "FROZEN")
    os.killpg(mover.pid, signal.SIGKILL)
    mover.wait()
    mover.stdout.close()
    began = time.monotonic()
    assert eventually(lambda: jobs.pcont.get(jobs.at("/a"), "freezer.state") == "THAWED")
    assert time.monotonic() - began < 60
    jobs.pcont.ok("recover")
    assert jobs.pcont.paths(pid)[jobs.tree("cpuset")].endswith("/a")


MOVER = """
import sys, time
from pcont.backend_cgroupfs import Cgroupfs
def enter(self, place, tasks, file):
    print("frozen", flush=True)
    time.sleep(600)
Cgroupfs.enter = enter
from pcont.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    "jobs",
    [pytest.param(("cgroupfs", "tied"), id="kernel-tied", marks=pytest.mark.kernel)],
    indirect=True,
)
def test_a_mover_below_the_source_does_not_freeze_itself(
    jobs: Jobs, start: Callable[..., int]
) -> None:
    jobs.pcont.ok("create", "-p", "-i", jobs.at("/a/kid"), jobs.at("/b"))
    pid = start()
    jobs.pcont.ok("attach", jobs.at("/a"), str(pid))
    words = [sys.executable, "-m", "pcont", *jobs.pcont.words]
    inside = ["run", jobs.at("/a/kid"), "--", *words, "move", "--json"]
    moved = subprocess.run(
        [*words, *inside, jobs.at("/a"), jobs.at("/b")], capture_output=True, text=True
    )
    assert moved.returncode == 0, moved.stderr
    assert '"strategy": "converge"' in moved.stdout
    assert paths(jobs, pid) == {"/b"}


def test_no_task_is_killed_for_an_impossible_removal(pair: Jobs, start: Callable[..., int]) -> None:
    pair.pcont.ok("create", "-i", pair.at("/a/kid"))
    pid = start()
    pair.pcont.ok("attach", pair.at("/a"), str(pid))
    for how in ("--kill", "--evict"):
        err = pair.pcont.fails(5, "rm", how, pair.at("/a"))
        assert "containers are in it: kid" in err
    assert paths(pair, pid) == {"/a"}
