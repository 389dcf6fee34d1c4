"""subsys/pids: limits as the kernel reads them, and the tasks that are counted, over the model."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from errno import EINVAL, ENOENT, errorcode

import pytest

from pcont.backend_model import Model
from pcont.kernel.refusals import WriteRefused
from pcont.kernel.types import Place, TreeRequest
from pcont.subsys.v1.pids import TABLE

ROOT, A, B, C = (Place("pids", path) for path in ("/", "/a", "/a/b", "/a/c"))
FILES = ("pids.max", "pids.current", "pids.peak", "pids.events")

THREADED = """
import threading, time
for _ in range(2):
    threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
print(flush=True)
time.sleep(600)
"""


@pytest.fixture
def model() -> Model:
    """A container with two children."""
    model = Model()
    model.make_directory("/cg")
    model.mount(TreeRequest(("pids",)), "/cg", "pcont")
    for place in (A, B, C):
        model.make(place)
    return model


@pytest.fixture
def start() -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Start a process of three threads; it is killed after the test."""
    running: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        process = subprocess.Popen([sys.executable, "-c", THREADED], stdout=subprocess.PIPE)
        running.append(process)
        assert process.stdout
        process.stdout.readline()
        return process

    yield start
    for process in running:
        with process:
            process.kill()


def outcome(model: Model, text: str) -> str:
    """The name of the errno with which a limit is refused, or what is read afterwards."""
    before = model.read(A, "pids.max")
    try:
        model.write(A, "pids.max", text)
    except WriteRefused as err:
        assert model.read(A, "pids.max") == before
        return errorcode[err.errno or 0]
    return model.read(A, "pids.max").rstrip("\n")


def counts(model: Model, *places: Place) -> list[tuple[int, int]]:
    """How many tasks each has, and had at the most."""
    read = [[model.read(place, f"pids.{file}") for file in ("current", "peak")] for place in places]
    return [(int(now), int(most)) for now, most in read]


@pytest.mark.parametrize(
    ("text", "result"),
    [
        *(("0", "0"), ("1", "1"), ("max", "max"), ("4194304", "4194304")),
        *((" max \n", "max"), ("7\n\n", "7"), (" 7", "7"), ("+5", "5")),
        *(("0x10", "16"), ("010", "8"), ("-0", "0")),
        *(("4194305", "EINVAL"), ("-1", "EINVAL"), ("MAX", "EINVAL"), ("x", "EINVAL")),
        *(("1 2", "EINVAL"), ("\n", "EINVAL"), ("9223372036854775807", "EINVAL")),
        *(("9223372036854775808", "ERANGE"), ("18446744073709551615", "ERANGE")),
        ("-9223372036854775809", "ERANGE"),
    ],
)
def test_a_limit_is_what_the_kernel_takes_for_one(model: Model, text: str, result: str) -> None:
    """Tried on Linux 6.1 and 6.18."""
    assert outcome(model, text) == result


def test_a_new_container_has_no_limit_whatever_its_parent_has(model: Model) -> None:
    model.write(A, "pids.max", "5")
    model.make(A.child("new"))
    assert model.read(A.child("new"), "pids.max") == "max\n"
    assert not any(row.creation.inherit or row.creation.passed_on for row in TABLE.files)


def test_threads_are_counted_in_every_container_above(
    model: Model, start: Callable[[], subprocess.Popen[bytes]]
) -> None:
    process = start()
    model.write(B, "cgroup.procs", str(process.pid))
    assert counts(model, A, B, C) == [(3, 3), (3, 3), (0, 0)]
    model.write(A, "cgroup.procs", str(start().pid))
    assert counts(model, A, B) == [(6, 6), (3, 3)]


def test_a_task_that_moves_between_children_is_twice_in_their_parent_for_a_moment(
    model: Model, start: Callable[[], subprocess.Popen[bytes]]
) -> None:
    """Tried on Linux 6.1 and 6.18: the peak shows it, task by task."""
    process = start()
    model.write(B, "cgroup.procs", str(process.pid))
    model.write(B, "cgroup.procs", str(process.pid))
    assert counts(model, A, B) == [(3, 3), (3, 3)]
    model.write(C, "cgroup.procs", str(process.pid))
    assert counts(model, A, B, C) == [(3, 4), (0, 3), (3, 3)]


def test_a_task_that_ended_or_left_is_no_longer_counted(
    model: Model, start: Callable[[], subprocess.Popen[bytes]]
) -> None:
    one, other = start(), start()
    for process in (one, other):
        model.write(B, "cgroup.procs", str(process.pid))
    with one:
        one.kill()
    assert counts(model, A, B) == [(3, 6), (3, 6)]
    model.write(ROOT, "cgroup.procs", str(other.pid))
    assert counts(model, A, B) == [(0, 6), (0, 6)]


def test_a_thread_that_came_later_is_counted_when_it_is_looked_at(
    model: Model, start: Callable[[], subprocess.Popen[bytes]]
) -> None:
    process = start()
    first, *later = model.threads(process.pid)
    model.write(B, "tasks", str(first))
    assert counts(model, B) == [(1, 1)]
    model.set_affinity(later[0], frozenset({0}))
    assert counts(model, A, B) == [(2, 2), (2, 2)]


def test_the_limit_is_for_forks_and_not_for_attached_tasks(
    model: Model, start: Callable[[], subprocess.Popen[bytes]]
) -> None:
    model.write(A, "pids.max", "0")
    model.write(B, "cgroup.procs", str(start().pid))
    assert counts(model, A) == [(3, 3)]
    assert model.read(A, "pids.events") == model.read(B, "pids.events") == "max 0\n"


@pytest.mark.parametrize("file", FILES[1:])
def test_the_others_can_only_be_read(model: Model, file: str) -> None:
    assert not model.files(A)[file]
    with pytest.raises(WriteRefused) as caught:
        model.write(A, file, "0")
    assert caught.value.errno == EINVAL


@pytest.mark.parametrize("file", FILES)
def test_the_root_has_none_of_the_files(model: Model, file: str) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        model.read(ROOT, file)
    assert caught.value.errno == ENOENT


def test_the_files_are_those_of_the_kernel() -> None:
    """As Linux 6.1 and 6.18 have them on cgroup v1; pids.events.local is for v2 only."""
    assert tuple(row.name for row in TABLE.files) == FILES
    assert not TABLE.entry
