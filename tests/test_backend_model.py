"""backend_model: what no kernel can be asked, which tests/contract/test_backend.py asks of both."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pcont.backend_model import Model
from pcont.errors import Unseen
from pcont.kernel.refusals import WriteRefused
from pcont.kernel.types import Place, TreeRequest
from pcont.linux.proc import Proc
from pcont.model.dialects import like

BOTH = "cpuset,cpuacct"
ROOT, A, B = Place(BOTH), Place(BOTH, "/a"), Place(BOTH, "/a/b")


def mount(model: Model, point: str, *controllers: str, name: str = "") -> None:
    model.make_directory(point)
    model.mount(TreeRequest(controllers, name), point, "pcont")


@pytest.fixture
def model() -> Model:
    """One hierarchy with both subsystems, and a container that can be entered."""
    model = Model()
    mount(model, "/cg", "cpuset", "cpuacct")
    model.make(A)
    model.write(A, "cpuset.cpus", "0-1")
    model.write(A, "cpuset.mems", "0")
    return model


def refused(number: int, call: Callable[[], object]) -> OSError:
    """What a call that must fail with this errno raises."""
    with pytest.raises(OSError, match=r"\S") as caught:
        call()
    assert caught.value.errno == number, errno.errorcode.get(caught.value.errno or 0)
    assert caught.value.filename
    return caught.value


def refused_text(number: int, model: Model, place: Place, file: str, text: str) -> None:
    """A write that must fail with this errno, as the kernel's opinion of the text."""
    assert isinstance(refused(number, lambda: model.write(place, file, text)), WriteRefused)


def points(model: Model) -> dict[str, list[str]]:
    return {tree.id: [mount.point for mount in tree.mounts] for tree in model.trees()}


def test_a_mount_at_a_parent_directory_hides_an_earlier_one(model: Model) -> None:
    mount(model, "/m/a", "pids")
    assert model.children(Place("pids")) == []
    mount(model, "/m", name="over")
    with pytest.raises(Unseen):
        model.children(Place("pids"))
    model.umount("/m")
    assert model.children(Place("pids")) == []


def test_a_mount_hides_an_earlier_one_below_it_whatever_was_mounted_between(model: Model) -> None:
    for point, name in (("/x/y", "below"), ("/z", "beside"), ("/x", "over")):
        mount(model, point, name=name)
    with pytest.raises(Unseen):
        model.children(Place("name=below"))
    assert model.children(Place("name=beside")) == []


def test_a_mount_on_top_of_a_hidden_one_is_seen(model: Model) -> None:
    for point, name in (("/x/y", "below"), ("/x", "over"), ("/x/y", "again")):
        mount(model, point, name=name)
    assert model.show(Place("name=again"), "tasks") == "/x/y/tasks"


def test_a_directory_that_has_another_is_not_removed(model: Model) -> None:
    for directory in ("/d", "/d/e"):
        model.make_directory(directory)
    refused(errno.ENOTEMPTY, lambda: model.remove_directory("/d"))
    for directory in ("/d/e", "/d"):
        model.remove_directory(directory)


def test_a_directory_below_which_something_is_mounted_is_not_removed(
    model: Model, tmp_path: Path
) -> None:
    point = tmp_path / "below"
    point.mkdir()
    model.mount(TreeRequest((), "below"), str(point), "pcont")
    refused(errno.ENOTEMPTY, lambda: model.remove_directory(str(tmp_path)))


def test_a_fresh_model_has_nothing_bound() -> None:
    model = Model()
    assert model.trees() == ()
    assert [(one.name, one.number) for one in model.controllers()] == [
        ("cpuset", 0),
        ("cpuacct", 0),
        ("freezer", 0),
        ("pids", 0),
    ]


def test_hierarchies_are_numbered_as_they_come() -> None:
    model = Model()
    mount(model, "/one", "cpuset", "cpuacct")
    mount(model, "/two", "cpuacct", "cpuset")
    assert points(model) == {BOTH: ["/one", "/two"]}
    assert [one.number for one in model.controllers()] == [1, 1, 0, 0]


def test_a_hierarchy_that_came_anew_is_empty_and_has_another_number(model: Model) -> None:
    number = model.trees()[0].number
    model.remove(A)
    model.umount("/cg")
    mount(model, "/cg", "cpuset", "cpuacct")
    assert model.children(ROOT) == []
    assert model.trees()[0].number != number


def test_missing_directories_are_named_outermost_first(model: Model) -> None:
    assert model.missing("/cg/x/y") == ["/cg/x", "/cg/x/y"]
    assert model.missing("/cg") == model.missing("/") == []


def test_attributes_are_kept_as_they_were(model: Model) -> None:
    model.set_attribute(A, "k", "v")
    model.attributes(A)["k"] = "other"
    assert model.attributes(A) == {"k": "v"}


# Tasks


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start processes that are killed after the test."""
    running: list[subprocess.Popen[bytes]] = []

    def start(*command: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(command or ("sleep", "600"), stdout=subprocess.PIPE)
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.wait()
        assert process.stdout
        process.stdout.close()


@pytest.fixture
def sleeper(start: Callable[..., subprocess.Popen[bytes]]) -> int:
    return start().pid


def tasks(model: Model, place: Place, file: str = "tasks") -> list[int]:
    return [int(word) for word in model.read(place, file).split()]


THREADED = """
import threading, time
threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
print(flush=True)
time.sleep(600)
"""


def test_every_user_of_a_model_may_do_everything(model: Model) -> None:
    model.config.uid = 1000
    assert model.privileged()


@pytest.mark.parametrize(("release", "cpus"), [("6.1.0-44-amd64", {0, 1}), ("6.18.44", {1})])
def test_newer_kernels_restore_the_affinity_that_a_task_asked_for(
    sleeper: int, release: str, cpus: set[int]
) -> None:
    model = Model(dialect=like(release))
    mount(model, "/cg", "cpuset")
    for place in (Place("cpuset", "/a"), Place("cpuset", "/b")):
        model.make(place)
        model.write(place, "cpuset.mems", "0")
        model.write(place, "cpuset.cpus", "0-1" if place.name == "a" else "0")
    model.set_affinity(sleeper, frozenset({1, 2}))
    model.write(Place("cpuset", "/b"), "tasks", str(sleeper))
    assert model.affinity(sleeper) == {0}
    model.write(Place("cpuset", "/a"), "tasks", str(sleeper))
    assert model.affinity(sleeper) == cpus


def test_a_kill_ends_a_process_in_the_model_only(
    model: Model, start: Callable[..., subprocess.Popen[bytes]]
) -> None:
    process = start(sys.executable, "-c", THREADED)
    assert process.stdout
    process.stdout.readline()
    threads = model.threads(process.pid)
    assert list(model.kill(A, [process.pid], signal.SIGKILL)) == []
    model.write(A, "tasks", str(threads[1]))
    assert list(model.kill(A, [process.pid], signal.SIGKILL)) == [process.pid]
    assert process.poll() is None
    assert tasks(model, A) == []
    assert not set(threads) & set(tasks(model, ROOT))
    for task in threads:
        with pytest.raises(ProcessLookupError):
            model.membership(task)
        refused_text(errno.ESRCH, model, A, "tasks", str(task))
    assert list(model.kill(A, [process.pid], signal.SIGKILL)) == []


# Tasks of a /proc made of files


STAT = "{id} (x) S 1 0 0 0 -1 0 0 0 0 0 {user} {system} 0 0 20 0 1 0 {start} {rest}"


def alive(root: Path, task: int, start: int = 1, user: int = 0, system: int = 0) -> None:
    """A process as /proc shows it, having used so many ticks of CPU 1."""
    (root / f"{task}/task").mkdir(parents=True, exist_ok=True)
    thread = root / f"{task}/task/{task}"
    if not thread.is_symlink():
        thread.symlink_to(root / str(task))
    (root / f"{task}/status").write_text(f"Name:\tx\nTgid:\t{task}\n")
    rest = " ".join(["0"] * 16 + ["1", "0", "0"])
    text = STAT.format(id=task, user=user, system=system, start=start, rest=rest)
    (root / f"{task}/stat").write_text(text)


@pytest.fixture
def simulated(tmp_path: Path) -> Model:
    """The model over processes that a test makes up."""
    model = Model(proc=Proc(str(tmp_path)))
    mount(model, "/cg", "cpuset", "cpuacct")
    for place in (A, B):
        model.make(place)
        model.write(place, "cpuset.cpus", "0-1")
        model.write(place, "cpuset.mems", "0")
    alive(tmp_path, 7)
    return model


TICK = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def usage(model: Model, place: Place) -> int:
    return int(model.read(place, "cpuacct.usage")) // TICK


def test_time_is_charged_where_it_is_used_and_above(simulated: Model, tmp_path: Path) -> None:
    alive(tmp_path, 7, user=100, system=100)  # used before the model first reads it: not charged
    simulated.write(B, "tasks", "7")
    alive(tmp_path, 7, user=103, system=102)
    assert [usage(simulated, place) for place in (B, A, ROOT)] == [5, 5, 5]
    assert simulated.read(B, "cpuacct.usage_percpu") == f"0 {5 * TICK} 0 0 \n"
    assert simulated.read(B, "cpuacct.usage_user") == f"{3 * TICK}\n"
    assert simulated.read(B, "cpuacct.usage_sys") == f"{2 * TICK}\n"


def test_time_stays_where_it_was_used_when_a_task_moves(simulated: Model, tmp_path: Path) -> None:
    simulated.write(B, "tasks", "7")
    alive(tmp_path, 7, user=3)
    simulated.write(A, "tasks", "7")
    alive(tmp_path, 7, user=10)
    assert [usage(simulated, place) for place in (B, A)] == [3, 10]


def test_time_stays_where_it_was_used_when_the_cpus_go(simulated: Model, tmp_path: Path) -> None:
    simulated.write(B, "tasks", "7")
    alive(tmp_path, 7, user=3)
    simulated.simulator.plug(frozenset({3}), frozenset({0}))
    assert simulated.membership(7) == {BOTH: "/"}
    assert [usage(simulated, place) for place in (B, A, ROOT)] == [3, 3, 3]


def test_a_reset_forgets_what_was_used_before_it(simulated: Model, tmp_path: Path) -> None:
    simulated.write(B, "tasks", "7")
    alive(tmp_path, 7, user=3)
    simulated.write(B, "cpuacct.usage", "0")
    assert usage(simulated, B) == 0
    alive(tmp_path, 7, user=4)
    assert [usage(simulated, place) for place in (B, A)] == [1, 4]


def test_an_id_that_another_process_has_now_is_not_the_old_one(
    simulated: Model, tmp_path: Path
) -> None:
    simulated.write(A, "tasks", "7")
    alive(tmp_path, 7, start=2)
    assert simulated.membership(7) == {BOTH: "/"}
    assert tasks(simulated, A) == []


def test_a_task_with_a_reused_id_can_be_attached(simulated: Model, tmp_path: Path) -> None:
    simulated.write(A, "tasks", "7")
    alive(tmp_path, 7, start=2)
    simulated.write(B, "tasks", "7")
    assert tasks(simulated, B) == [7]


def test_an_id_that_ended_in_the_model_can_belong_to_another(
    simulated: Model, tmp_path: Path
) -> None:
    simulated.write(A, "tasks", "7")
    list(simulated.kill(A, [7], signal.SIGKILL))
    with pytest.raises(ProcessLookupError):
        simulated.task(7)
    alive(tmp_path, 7, start=2)
    assert simulated.task(7).start == 2
    assert simulated.membership(7) == {BOTH: "/"}


def test_a_busy_process_is_charged(
    model: Model, start: Callable[..., subprocess.Popen[bytes]]
) -> None:
    process = start(sys.executable, "-c", "print(flush=True)\nwhile True: pass")
    assert process.stdout
    process.stdout.readline()
    model.write(A, "tasks", str(process.pid))
    seen = int(model.read(A, "cpuacct.usage"))
    while int(model.read(A, "cpuacct.usage")) <= seen:
        assert process.poll() is None
    assert int(model.read(ROOT, "cpuacct.usage")) > seen
