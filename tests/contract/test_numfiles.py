"""numfiles: files that are charged to the container they were opened in; patch semantics, 5.

And 9, points 13 and 14. On the kernel BPF programs do it, so that it is tried in guests alone.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from errno import errorcode
from pathlib import Path
from typing import Any

import pytest

from pcont.backend_model import StoredModel
from pcont.bpf.enforcer import BpfEnforcer
from pcont.kernel.types import Place
from tests.conftest import IN_GUEST
from tests.contract.conftest import Pcont, command_line
from tests.contract.test_dry_run import same_answer
from tests.model_tasks import close_file, open_file, share_file
from tests.stress import Openers, running
from tests.stress.measure import counting
from tests.waiting import eventually

MODEL = pytest.param("model", id="model")
KERNEL = pytest.param("cgroupfs", id="kernel", marks=pytest.mark.guest)
only_kernel = pytest.mark.parametrize("pcont", [KERNEL], indirect=True)

WORDS = ("held", "maxheld", "minheld", "barrier", "limit", "failcnt")
PINNED = Path("/sys/fs/bpf/pcont/numfiles")
NOBODY = 65534

# What a process of the kernel's tests does: it evaluates lines, and has passed no file on before.
EVALUATING = """
import array, ctypes, os, select, socket, sys
mate = socket.socket(fileno=int(sys.argv[1]))
libc = ctypes.CDLL(None, use_errno=True)
os.memfd_create
if int(sys.argv[2]):
    os.setgroups([])
    os.setresuid(*[int(sys.argv[2])] * 3)
print("ready", flush=True)
for line in sys.stdin:
    try:
        answer = repr(eval(line))
    except OSError as err:
        answer = f"errno {err.errno}"
    print(answer, flush=True)
"""


@pytest.fixture(params=[MODEL, KERNEL])
def pcont(request: pytest.FixtureRequest, tmp_path: Path) -> Pcont:
    """The command line, over the model and over the kernel of a guest."""
    return command_line(request.param, tmp_path)


class Task:
    """A process that opens files: in the model by what the model offers, else a real one."""

    pid: int

    def open(self) -> int:
        """A file, by its number; OSError where that is refused."""
        raise NotImplementedError

    def close(self, file: int) -> None:
        raise NotImplementedError

    def share(self, file: int, other: Task) -> int:
        """The other one has it open then, too: its number there."""
        raise NotImplementedError

    def end(self) -> None:
        raise NotImplementedError


class ModelTask(Task):
    """A process of this machine that sleeps; what it opens, the model only knows."""

    def __init__(self, pcont: Pcont, admin: bool) -> None:
        self._state, self._admin = pcont.words[3], admin
        self._process = subprocess.Popen(["sleep", "600"])
        self.pid = self._process.pid

    def open(self) -> int:
        model = StoredModel(self._state)
        with model.exclusive():
            return open_file(model, self.pid, self._admin)

    def close(self, file: int) -> None:
        model = StoredModel(self._state)
        with model.exclusive():
            close_file(model, file, self.pid)

    def share(self, file: int, other: Task) -> int:
        model = StoredModel(self._state)
        with model.exclusive():
            share_file(model, file, other.pid)
        return file

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


class Real(Task):
    """A process that carries out commands."""

    def __init__(self, mate: socket.socket, admin: bool) -> None:
        command = [
            sys.executable,
            "-c",
            EVALUATING,
            str(mate.fileno()),
            str(0 if admin else NOBODY),
        ]
        self._process = subprocess.Popen(
            command, stdin=-1, stdout=-1, text=True, bufsize=1, pass_fds=[mate.fileno()]
        )
        self.pid = self._process.pid
        assert self._process.stdout
        assert self._process.stdout.readline() == "ready\n"

    def does(self, expression: str) -> Any:
        """Evaluate it there."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{expression}\n")
        answer = self._process.stdout.readline().strip()
        if answer.startswith("errno "):
            number = int(answer.partition(" ")[2])
            raise OSError(number, os.strerror(number))
        return eval(answer) if answer else None  # the answers are numbers, and lists of them

    def open(self) -> int:
        return int(self.does("os.open('/dev/null', 0)"))

    def close(self, file: int) -> None:
        self.does(f"os.close({file})")

    def share(self, file: int, other: Task) -> int:
        assert isinstance(other, Real)
        self.does(f"socket.send_fds(mate, [b'x'], [{file}])")
        return int(other.does("socket.recv_fds(mate, 1, 1)[1][0]"))

    def end(self) -> None:
        with self._process:
            self._process.kill()


class Tasks:
    """The processes of a test."""

    def __init__(self, pcont: Pcont) -> None:
        self._pcont = pcont
        self._running: list[Task] = []
        self._mates = socket.socketpair()

    def __call__(self, admin: bool = True) -> Any:
        """One more task, of root or of another user."""
        mate = self._mates[len(self._running) % 2]
        on_model = "model" in self._pcont.words
        self._running.append(ModelTask(self._pcont, admin) if on_model else Real(mate, admin))
        return self._running[-1]

    def end(self) -> None:
        """None is left, and no zombie, which would hold on to the hierarchy."""
        while self._running:
            self._running.pop().end()
        for mate in self._mates:
            mate.close()


@dataclass
class Beans:
    """A hierarchy with numfiles."""

    pcont: Pcont
    name: str
    start: Tasks

    def at(self, path: str = "/") -> str:
        return f"{self.name}:{path}"

    def place(self, path: str) -> Place:
        return Place(f"name={self.name}", path)

    def create(self, path: str, **values: int) -> None:
        words = [
            word for key, value in values.items() for word in ("-s", f"bc.numfiles.{key}={value}")
        ]
        self.pcont.ok("create", self.at(path), *words)

    def get(self, path: str, *words: str) -> list[int]:
        found = self.pcont(
            "get", self.at(path), *(f"bc.numfiles.{word}" for word in words), "--json"
        )
        assert found.status == 0, found.err
        return [found.json[f"bc.numfiles.{word}"] for word in words]

    def task(self, path: str = "", admin: bool = True) -> Any:
        """A process in a container."""
        task = self.start(admin)
        if path:
            self.pcont.ok("attach", self.at(path), str(task.pid))
        return task

    def holds(self, path: str, held: int) -> bool:
        """Files are freed a moment after they are closed."""
        return eventually(lambda: self.get(path, "held") == [held])


@pytest.fixture
def start(pcont: Pcont) -> Iterator[Tasks]:
    """Start processes, as root or as another user."""
    tasks = Tasks(pcont)
    yield tasks
    tasks.end()


@pytest.fixture
def beans(pcont: Pcont, name: str, start: Tasks) -> Iterator[Beans]:
    pcont.ok("mount", "-o", "numfiles", "--name", name)
    beans = Beans(pcont, name, start)
    yield beans
    start.end()
    for row in pcont.ok("tree", f"{name}:/").splitlines()[:0:-1]:
        pcont.ok("rm", "--force", row.partition("\t")[0])
    pcont.ok("umount", name)
    assert pcont.backend().enforcer.trees() == {}


def refused(call: Callable[..., Any], *words: object) -> str:
    with pytest.raises(OSError) as caught:  # noqa: PT011
        call(*words)
    return errorcode[caught.value.errno or 0]


def test_a_new_container_may_have_what_the_patch_gave_it(beans: Beans) -> None:
    beans.create("/a")
    backend = beans.pcont.backend()
    with backend.exclusive():
        backend.make(beans.place("/a/b"))  # as a plain mkdir does
    for path in ("/a", "/a/b"):
        assert beans.get(path, *WORDS) == [0, 0, 0, 256, 512, 0]
    assert "has no file" in beans.pcont.fails(3, "get", beans.at(), "bc.numfiles.held")


@pytest.mark.quick
def test_the_barrier_stops_users_and_the_limit_administrators(beans: Beans) -> None:
    """Point 13 of the check list."""
    beans.create("/a", barrier=2, limit=4)
    user = beans.task("/a", admin=False)
    for _ in range(2):
        user.open()
    assert refused(user.open) == "ENFILE"
    assert beans.get("/a", "held", "maxheld", "failcnt") == [2, 2, 1]
    root = beans.task("/a")
    for _ in range(2):
        root.open()
    assert refused(root.open) == "ENFILE"
    assert beans.get("/a", *WORDS) == [4, 4, 0, 2, 4, 2]


@pytest.mark.parametrize(
    ("assignment", "why"),
    [
        ("bc.numfiles.barrier=513", "the barrier 513 is above the limit 512"),
        ("bc.numfiles.limit=255", "the barrier 256 is above the limit 255"),
        ("bc.numfiles.limit=-1", "-1 is no number of files"),
        ("bc.numfiles.limit=9223372036854775808", "is no number of files"),
        ("bc.numfiles.limit=many", "the file takes a number"),
        ("bc.numfiles.limit=1 ", "the file takes a number"),
        *((f"bc.numfiles.{word}=1", "only be read") for word in ("held", "maxheld", "minheld")),
        ("bc.numfiles.failcnt=0", "only be read"),
    ],
)
def test_what_cannot_be_is_refused(beans: Beans, assignment: str, why: str) -> None:
    beans.create("/a")
    error = beans.pcont.fails(7, "set", beans.at("/a"), assignment)
    assert why in error
    assert "EINVAL" in error
    assert beans.get("/a", *WORDS) == [0, 0, 0, 256, 512, 0]


@pytest.mark.quick
def test_both_are_set_in_any_order_or_none(beans: Beans) -> None:
    beans.create("/a")
    for barrier, limit in ((600, 700), (9223372036854775807,) * 2, (5, 10), (0, 0), (20, 30)):
        words = [f"bc.numfiles.barrier={barrier}", f"bc.numfiles.limit={limit}"]
        beans.pcont.ok("set", beans.at("/a"), *words)
        assert beans.get("/a", "barrier", "limit") == [barrier, limit]
    words = ["bc.numfiles.barrier=1", "bc.numfiles.limit=2", "notify_on_release=x"]
    beans.pcont.fails(7, "set", beans.at("/a"), *words)
    assert beans.get("/a", "barrier", "limit") == [20, 30]


def test_a_limit_below_what_is_held_takes_nothing_away(beans: Beans) -> None:
    beans.create("/a")
    task = beans.task("/a")
    files = [task.open() for _ in range(3)]
    beans.pcont.ok("set", beans.at("/a"), "bc.numfiles.barrier=0", "bc.numfiles.limit=1")
    assert refused(task.open) == "ENFILE"
    for file in files[:2]:
        task.close(file)
    assert beans.holds("/a", 1)
    assert refused(task.open) == "ENFILE"
    task.close(files[2])
    assert beans.holds("/a", 0)
    task.open()
    assert beans.get("/a", "held", "maxheld", "failcnt") == [1, 3, 2]


def test_the_charge_stays_where_the_file_was_opened(beans: Beans) -> None:
    """Point 14 of the check list: opened in a, moved, closed by a third process."""
    beans.create("/a")
    beans.create("/b")
    task, third = beans.task("/a"), beans.task("/b")
    file = task.open()
    beans.pcont.ok("attach", beans.at("/b"), str(task.pid))
    assert (beans.get("/a", "held"), beans.get("/b", "held")) == ([1], [0])
    there = task.share(file, third)
    task.end()
    assert beans.get("/a", "held") == [1]
    error = beans.pcont.fails(5, "rm", beans.at("/a"))
    assert "1 open file is charged to it" in error
    assert "rm --force" in error
    third.close(there)
    assert beans.holds("/a", 0)
    assert beans.get("/b", "held", "maxheld") == [0, 0]
    beans.pcont.ok("rm", beans.at("/a"))


def test_parents_have_nothing_to_do_with_it(beans: Beans) -> None:
    beans.create("/a", barrier=0, limit=1)
    beans.create("/a/b")
    task = beans.task("/a/b")
    for _ in range(2):
        task.open()
    assert (beans.get("/a", "held", "failcnt"), beans.get("/a/b", "held")) == ([0, 0], [2])


def test_a_task_in_the_root_may_open_any_number(beans: Beans) -> None:
    beans.create("/a", barrier=0, limit=0)
    task = beans.task()
    beans.pcont.ok("attach", beans.at("/a"), str(task.pid))
    beans.pcont.ok("attach", beans.at("/"), str(task.pid))
    task.open()
    assert beans.get("/a", "held", "failcnt") == [0, 0]


def test_force_removes_what_files_are_charged_to(beans: Beans) -> None:
    beans.create("/a")
    task = beans.task("/a")
    file = task.open()
    beans.pcont.ok("attach", beans.at("/"), str(task.pid))
    beans.pcont.fails(5, "rm", beans.at("/a"))
    beans.pcont.ok("rm", "--force", beans.at("/a"))
    beans.create("/a")
    assert beans.get("/a", *WORDS) == [0, 0, 0, 256, 512, 0]
    task.close(file)
    assert beans.holds("/a", 0)


def test_removed_ones_come_back_with_what_they_may_have(beans: Beans) -> None:
    """The second one cannot go, so the first comes back, whichever order its rules allow."""
    for path, barrier, limit in (("/a", 3, 5), ("/b", 300, 5000)):
        beans.create(path, barrier=barrier, limit=limit)
    beans.create("/c")
    task = beans.task("/c")
    task.open()
    beans.pcont.ok("attach", beans.at("/"), str(task.pid))
    beans.pcont.fails(5, "rm", *map(beans.at, ("/a", "/b", "/c")))
    assert beans.get("/a", "barrier", "limit") == [3, 5]
    assert beans.get("/b", "barrier", "limit") == [300, 5000]


def test_unmounted_with_containers_it_goes_on(beans: Beans) -> None:
    beans.create("/a", barrier=1, limit=1)
    task = beans.task("/a")
    task.open()
    assert "stays active" in beans.pcont("umount", beans.name).err
    assert refused(task.open) == "ENFILE"
    beans.pcont.ok("mount", "--name", beans.name)
    assert beans.get("/a", "held", "limit", "failcnt") == [1, 1, 1]


def test_one_hierarchy_has_it_at_a_time(beans: Beans, name: str) -> None:
    other = f"{name}x"
    error = beans.pcont.fails(5, "mount", "-o", "bc", "--name", other)
    assert f"numfiles is bound to name={beans.name}" in error
    assert other not in beans.pcont.ok("hierarchies")
    assert same_answer(beans.pcont, ["mount", "-o", "bc", "--name", other]).status == 5
    beans.pcont.ok("mount", "-o", "none", "--name", other)
    assert same_answer(beans.pcont, ["bind", other, "bc"]).status == 5
    beans.pcont.ok("umount", other)
    rows = {row["name"]: row for row in beans.pcont("subsys", "--json").json}
    assert rows["numfiles"]["bound"] == f"name={beans.name}"
    beans.create("/a")
    assert beans.get("/a", "barrier") == [256]
    assert beans.pcont.get("bc:/a", "bc.numfiles.limit") == "512"


def test_it_is_bound_and_unbound_like_the_others(pcont: Pcont, name: str, start: Tasks) -> None:
    pcont.ok("mount", "-o", "none", "--name", name)
    pcont.ok("create", f"{name}:/a", f"{name}:/a/b")
    words = ("-s", "bc.numfiles.limit=300", "-s", "/a/b:bc.numfiles.barrier=1")
    assert pcont("bind", name, "bc", *words, "--json").json == ["numfiles"]
    task = start(False)
    pcont.ok("attach", f"{name}:/a/b", str(task.pid))
    task.open()
    assert refused(task.open) == "ENFILE"
    assert "already" in pcont.fails(5, "bind", name, "numfiles")
    unbound = pcont("unbind", name, "numfiles", "--yes", "--json").json
    assert unbound["ceased"] == [
        f"{name}:/a bc.numfiles.limit=300",
        f"{name}:/a/b bc.numfiles.barrier=1",
        f"{name}:/a/b bc.numfiles.limit=300",
    ]
    assert "has no file" in pcont.fails(3, "get", f"{name}:/a", "bc.numfiles.held")
    task.open()
    start.end()
    pcont.ok("rm", "-r", f"{name}:/a")
    pcont.ok("umount", name)
    assert pcont.backend().enforcer.trees() == {}


def test_a_tie_has_it_in_its_home(pcont: Pcont, name: str, start: Tasks) -> None:
    words = ("-o", "cpuacct,numfiles", "--at", f"/{name}", "--no-freezer")
    pcont.ok("mount", "-o", "cpuacct")
    pcont.ok("mount", "--tie", "--name", name, *words)
    pcont.ok("create", f"{name}:/a", "-s", "bc.numfiles.barrier=0")
    task = start(False)
    pcont.ok("attach", f"{name}:/a", str(task.pid))
    assert refused(task.open) == "ENFILE"
    assert "failcnt=1" in pcont.ok("get", f"{name}:/a")
    start.end()
    pcont.ok("rm", f"{name}:/a")
    pcont.ok("umount", name)
    pcont.ok("umount", "cpuacct")
    assert pcont.backend().enforcer.trees() == {}


@only_kernel
@pytest.mark.parametrize(
    ("expression", "files"),
    [
        ("os.open('/dev/null', 0)", 1),
        ("os.pipe()", 2),
        ("socket.socket().detach()", 1),
        ("[one.detach() for one in socket.socketpair()]", 2),
        ("libc.epoll_create1(0)", 1),
        ("os.memfd_create('x')", 1),
        ("libc.eventfd(0, 0)", 1),
        ("os.dup(1)", 0),
        ("os.dup2(1, 50)", 0),
        ("os.open('/nowhere', 0)", 0),
    ],
)
def test_every_open_file_description_counts_once(beans: Beans, expression: str, files: int) -> None:
    beans.create("/a")
    task = beans.task("/a")
    if files:
        task.does(expression)
    elif "nowhere" in expression:
        assert refused(task.does, expression) == "ENOENT"
    else:
        task.does(expression)
    assert beans.holds("/a", files)
    task.end()
    assert beans.holds("/a", 0)


@only_kernel
def test_fork_charges_nothing_and_the_last_one_closes(beans: Beans) -> None:
    beans.create("/a")
    task = beans.task("/a")
    task.open()
    child = task.does("os.fork() or (select.select([], [], [], 600) and os._exit(0))")
    assert beans.get("/a", "held") == [1]
    beans.pcont.ok("attach", beans.at("/"), str(task.pid), str(child))
    task.end()
    assert beans.get("/a", "held") == [1]
    os.kill(child, 9)
    assert beans.holds("/a", 0)


@only_kernel
def test_the_root_of_a_user_namespace_is_no_administrator(beans: Beans) -> None:
    beans.create("/a", barrier=0, limit=3)
    task = beans.task("/a")
    task.open()
    assert task.does("libc.unshare(0x10000000)") == 0
    assert refused(task.open) == "ENFILE"


@only_kernel
def test_a_plain_rmdir_is_refused(beans: Beans) -> None:
    beans.create("/a")
    task = beans.task("/a")
    file = task.open()
    beans.pcont.ok("attach", beans.at("/"), str(task.pid))
    folder = beans.pcont.backend().show(beans.place("/a"))
    assert refused(os.rmdir, folder) == "EBUSY"
    task.close(file)
    assert beans.holds("/a", 0)
    os.rmdir(folder)


@only_kernel
def test_nothing_is_kept_of_removed_containers(beans: Beans) -> None:
    task = beans.task()
    for number in range(20):
        path = f"/{number}"
        beans.create(path, limit=300)
        beans.pcont.ok("attach", beans.at(path), str(task.pid))
        file = task.open()
        beans.pcont.ok("attach", beans.at("/"), str(task.pid))
        if number % 2:
            beans.pcont.ok("rm", "--force", beans.at(path))
            task.close(file)
        else:
            task.close(file)
            assert beans.holds(path, 0)
            beans.pcont.ok("rm", beans.at(path))
    assert eventually(lambda: [entries(one) for one in ("limits", "counts", "owners")] == [0, 0, 0])


OPENERS, FILES = 8, 50


@only_kernel
@pytest.mark.parametrize("moves", [0, 100 if IN_GUEST else 400], ids=["at rest", "moving"])
def test_every_file_is_counted_while_many_open_and_close(beans: Beans, moves: int) -> None:
    """The script knows how many are open; pcont does not run during the test."""
    opens = 5_000 if IN_GUEST else 20_000
    with opening(beans) as load:
        folders = [Path(beans.pcont.backend().show(beans.place(path))) for path in ("/a", "/b")]
        counted = counting(load, lambda: held(beans), opens, moves, folders)
        assert (counted.wrong, counted.refused) == (0, 0)
        assert counted.opened >= opens
        assert counted.moves >= moves
        if not moves:
            assert beans.get("/a", "maxheld") == [OPENERS * FILES]
    assert held(beans) == 0


@only_kernel
def test_refusals_are_counted_while_many_open_and_close(beans: Beans) -> None:
    with opening(beans) as load:
        most = OPENERS * FILES - 100
        words = [f"bc.numfiles.{word}={most}" for word in ("barrier", "limit")]
        beans.pcont.ok("set", beans.at("/a"), *words)
        counted = counting(load, lambda: held(beans), 3000)
        assert (counted.wrong, counted.most) == (0, most)
        assert counted.refused > 0
        assert beans.get("/a", "maxheld", "failcnt") == [most, counted.refused]


@contextlib.contextmanager
def opening(beans: Beans) -> Iterator[Openers]:
    """Processes in /a, which may be moved to /b."""
    for path in ("/a", "/b"):
        beans.create(path, limit=100_000, barrier=100_000)
    with tempfile.TemporaryDirectory() as folder, running(Openers(OPENERS, FILES, folder)) as load:
        beans.pcont.ok("attach", beans.at("/a"), str(load.root))
        load.go()
        assert eventually(lambda: all(load.pids))
        yield load


def held(beans: Beans) -> int:
    """What is charged to both."""
    enforcer = beans.pcont.backend().enforcer
    found = [enforcer.values(beans.place(path), "numfiles") for path in ("/a", "/b")]
    return sum(one["bc.numfiles.held"] for one in found)


def entries(name: str) -> int:
    """How many keys a pinned map has."""
    libbpf = ctypes.CDLL("libbpf.so.1", use_errno=True)
    descriptor = libbpf.bpf_obj_get(os.fsencode(PINNED / name))
    assert descriptor >= 0
    key, count = ctypes.create_string_buffer(16), 0
    at = None
    while libbpf.bpf_map_get_next_key(descriptor, at, key) == 0:
        at, count = ctypes.create_string_buffer(key.raw), count + 1
    os.close(descriptor)
    return count


@contextlib.contextmanager
def cramped(pcont: Pcont, name: str, start: Tasks, **sizes: int) -> Iterator[Beans]:
    """A hierarchy with numfiles whose maps have room for so many entries, and /a and /b in it."""
    pcont.ok("mount", "-o", "none", "--name", name)
    backend = pcont.backend()

    def number(id: str) -> int:
        return next(tree.number for tree in backend.trees() if tree.id == id)

    enforcer = BpfEnforcer("/sys", "/proc", backend.trees, number, backend.show, sizes)
    enforcer.start("numfiles", Place(f"name={name}"))
    pcont.ok("bind", name, "numfiles")
    beans = Beans(pcont, name, start)
    try:
        for path in ("/a", "/b"):
            beans.create(path)
        yield beans
    finally:
        start.end()
        pcont.ok("rm", beans.at("/a"), beans.at("/b"))
        pcont.ok("umount", name)


def refusals(pcont: Pcont) -> str:
    """What is said of files that could not be counted: the same below the table and by doctor."""
    reported = pcont("beancounters").err
    found = [row for row in pcont("doctor", "--json").json if row["subject"] == "numfiles"]
    for row in found:
        assert row["state"] == "problem"
        assert f"{row['finding']}; {row['advice']}" in reported
    return "\n".join(f"{row['finding']}; {row['advice']}" for row in found)


@only_kernel
def test_a_file_that_cannot_be_charged_is_refused(pcont: Pcont, name: str, start: Tasks) -> None:
    with cramped(pcont, name, start, owners=3) as beans:
        task = beans.task("/a")
        files = [task.open() for _ in range(3)]
        assert refusals(pcont) == ""
        assert refused(task.open) == "ENFILE"
        assert refusals(pcont).startswith("1 open was refused with ENFILE")
        assert "raise fs.file-max" in refusals(pcont)
        beans.task().open()  # a task that is not counted needs no room
        assert beans.get("/a", "held", "maxheld", "failcnt") == [3, 3, 0]
        task.close(files[0])
        assert beans.holds("/a", 2)
        task.open()
        assert refused(task.open) == "ENFILE"
        assert refusals(pcont).startswith("2 opens were refused with ENFILE")
        assert beans.get("/a", "held", "maxheld", "failcnt") == [3, 3, 0]


@only_kernel
def test_a_container_without_room_opens_nothing(pcont: Pcont, name: str, start: Tasks) -> None:
    with cramped(pcont, name, start, counts=1) as beans:
        one, other = beans.task("/a"), beans.task("/b")
        one.open()
        assert refused(other.open) == "ENFILE"
        assert "fewer containers with open files" in refusals(pcont)
        assert beans.get("/a", "held", "failcnt") == [1, 0]
        assert beans.get("/b", "held", "maxheld", "failcnt") == [0, 0, 0]


@only_kernel
def test_limits_without_room_are_refused(pcont: Pcont, name: str, start: Tasks) -> None:
    with cramped(pcont, name, start, limits=1) as beans:
        pcont.ok("set", beans.at("/a"), "bc.numfiles.barrier=3")
        words = ("notify_on_release=1", "bc.numfiles.barrier=3")
        error = pcont.fails(8, "set", beans.at("/b"), *words)
        assert "no room for the limits of one more container (E2BIG)" in error
        assert pcont.get(beans.at("/b"), "notify_on_release") == "0"
        assert beans.get("/b", "barrier") == [256]
        pcont.ok("set", beans.at("/a"), "bc.numfiles.barrier=4")
