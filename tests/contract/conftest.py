"""The same tests for the model and for the kernel, through the command line as a user types it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

# Loaded once here, and not in the process of every command.
import psutil  # noqa: F401
import pytest

import pcont as library
from pcont.backend_cgroupfs import Cgroupfs
from pcont.cli import main
from pcont.kernel.interfaces import Backend
from pcont.kernel.open import open_backend
from pcont.kernel.refusals import exists
from pcont.kernel.types import UNIFIED, Place
from pcont.linux import syscalls
from pcont.linux.proc import Proc
from pcont.model import store
from pcont.ops import clone, doctor, run, settings, umount
from pcont.ops import mount as ops_mount
from pcont.subsys.v1 import core, cpuacct, cpuset, freezer, pids
from pcont.values import ID_LIST
from pcont.virtual.bindings import bindings_in
from tests import hints, leftovers
from tests.conftest import IN_GUEST, elsewhere
from tests.waiting import eventually as eventually

LOADED = (store, syscalls, clone, doctor, ops_mount, run, settings, umount)
TABLES = (core, cpuacct, cpuset, freezer, pids)

THREADED = """
import os, sys, threading, time
count = int(sys.argv[1])
for _ in range(count - 1):
    threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
print("ready", flush=True)
time.sleep(600)
"""


@dataclass(frozen=True)
class Result:
    """What a command answered."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)["result"]


# Commands that become or start another process: in a process of their own.
STARTING = ("run", "clone")


@dataclass
class Pcont:
    """The command line over one backend."""

    words: tuple[str, ...]
    uid: int = 0

    def __call__(self, *words: str) -> Result:
        """Run one command, whatever comes of it."""
        own_process = self.uid or set(STARTING) & set(words)
        result = self.forked(words) if own_process else self._called(words)
        assert "Traceback" not in result.err, result.err
        hints.check(result.err)
        # The hints have the options for the backend as they were typed; tests are about the rest.
        return replace(
            result, err=result.err.replace(f"{shlex.join(['pcont', *self.words])} ", "pcont ")
        )

    def _called(self, words: Sequence[str]) -> Result:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = main([*self.words, *words])
        return Result(status, out.getvalue(), err.getvalue())

    def forked(self, words: Sequence[str]) -> Result:
        """Run one command in a process of its own."""
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            pid = self.begin(words, out.fileno(), err.fileno())
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            out.seek(0)
            err.seek(0)
            return Result(status, out.read(), err.read())

    def begin(self, words: Sequence[str], out: int, err: int) -> int:
        """Start one command in a process of its own, with these files for its output."""
        pid = os.fork()
        if pid == 0:
            self._become(words, out, err)
        return pid

    def _become(self, words: Sequence[str], out: int, err: int) -> None:
        """In the child: the command, with its own output."""
        status = 70
        try:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            os.dup2(out, 1)
            os.dup2(err, 2)
            sys.stdout = os.fdopen(1, "w", closefd=False)
            sys.stderr = os.fdopen(2, "w", closefd=False)
            if self.uid:
                os.setgroups([])
                os.setresuid(self.uid, self.uid, self.uid)
            status = main([*self.words, *words])
            sys.stdout.flush()
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)

    def ok(self, *words: str) -> str:
        """Run a command that must succeed; its output."""
        result = self(*words)
        assert result.status == 0, f"{words}: {result.err}"
        return result.out

    def fails(self, status: int, *words: str) -> str:
        """Run a command that must fail with this status; what it said."""
        result = self(*words)
        assert result.status == status, f"{words}: {result}"
        return result.err

    def get(self, place: str, key: str) -> str:
        return self.ok("get", place, key).rstrip("\n")

    def backend(self) -> Backend:
        """The library's view of the same."""
        if "model" in self.words:
            return open_backend("model", self.words[3])
        return open_backend()

    def library(self) -> library.Pcont:
        """The verbs in Python, over the same backend."""
        return library.open(self.words[1], *self.words[3:4])

    def trees(self) -> set[str]:
        """The ids of the trees of all hierarchies, also of those that a tie has lost."""
        return {tree.id for row in self.library().hierarchies() for tree in row.trees}

    def children(self, place: str) -> list[str]:
        """The names of the containers directly below a place."""
        return [child.name for child in self.library().place(place).tree().children]

    def paths(self, task: int) -> dict[str, str]:
        """Where a task is, tree by tree."""
        return dict(self.backend().membership(task))

    def affinity(self, task: int) -> str:
        return ID_LIST.show(self.backend().affinity(task))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """In a guest: what a failed test leaves must not make others fail."""
    before, failed = leftovers.cgroups() if IN_GUEST else None, item.session.testsfailed
    result = yield
    if before and item.session.testsfailed > failed:
        leftovers.restore(before)
    return result


@pytest.fixture(
    params=[
        pytest.param("model", id="model"),
        pytest.param("cgroupfs", id="kernel", marks=pytest.mark.kernel),
    ]
)
def pcont(request: pytest.FixtureRequest, tmp_path: Path) -> Pcont:
    """The command line, over the model and over the kernel."""
    return command_line(request.param, tmp_path)


def command_line(backend: str, folder: Path, *more: str) -> Pcont:
    """The one over a backend, the state of a model in a folder. `more`: options of a model."""
    state = ("--state", str(folder / "model.json"), *more) if backend == "model" else ()
    return Pcont(("--backend", backend, *state))


# What only the kernel does: the model has no tasks of its own that would.
only_kernel = pytest.mark.parametrize(
    "pcont", [pytest.param("cgroupfs", id="kernel", marks=pytest.mark.kernel)], indirect=True
)


@pytest.fixture
def kernel() -> Pcont:
    """The command line over the kernel only."""
    return Pcont(("--backend", "cgroupfs"))


_counter = iter(range(1_000_000))


@pytest.fixture
def name() -> str:
    """A name that no other test has."""
    return f"pct{os.getpid()}-{next(_counter)}"


def starts_empty(pcont: Pcont) -> bool:
    """Whether nothing is bound, so that a test may bind what it likes."""
    return "model" in pcont.words or IN_GUEST


@dataclass
class Jobs:
    """A hierarchy over two controllers for one test, tied or single; gone afterwards."""

    pcont: Pcont
    name: str
    controllers: dict[str, str]

    def at(self, path: str) -> str:
        return f"{self.name}:{path}"

    def tree(self, controller: str) -> str:
        """The id of the tree that has a controller."""
        return self.controllers[controller]


def _two(pcont: Pcont) -> list[str]:
    """Those of the main job, where v1 has cpuset; there are kernels that have it for v2 only."""
    found = pcont.library().subsys()
    there = {one.name for one in found if one.bound is not None or not one.unified}
    wanted: list[str] = ["cpuset", "cpuacct", "freezer"]
    return [one for one in wanted if one in there][:2]


def _mount_single(pcont: Pcont, name: str) -> Iterator[Jobs]:
    both = _two(pcont)
    pcont.ok("mount", "-o", ",".join(both), "--name", name)
    yield Jobs(pcont, name, dict.fromkeys(both, f"{','.join(both)},name={name}"))
    clear(pcont, name)
    pcont.ok("umount", name)


def _mount_named(pcont: Pcont, name: str) -> Iterator[Jobs]:
    pcont.ok("mount", "-o", "none", "--name", name)
    yield Jobs(pcont, name, {})
    clear(pcont, name)
    pcont.ok("umount", name)


def _mount_tied(pcont: Pcont, name: str) -> Iterator[Jobs]:
    both = _two(pcont)
    separate = both if starts_empty(pcont) else []
    for controller in separate:
        pcont.ok("mount", "-o", controller)
    pcont.ok("mount", "--tie", "--name", name, "-o", ",".join(both), "--at", f"/{name}")
    yield Jobs(pcont, name, {one: one for one in both})
    clear(pcont, name)
    pcont.ok("umount", name)
    for controller in separate:
        pcont.ok("umount", controller)


def clear(pcont: Pcont, name: str) -> None:
    """Remove every container of a hierarchy, and kill the tasks inside."""
    # A container with auto_delete may be removed first.
    assert eventually(lambda: _is_cleared(pcont, name))


def _is_cleared(pcont: Pcont, name: str) -> bool:
    (top,) = json.loads(pcont.ok("tree", f"{name}:/", "--json"))["result"]
    places = [f"{name}:{child['path']}" for child in top["children"]]
    return not places or pcont("rm", "-r", "--kill", *places).status == 0


SHAPES: dict[str, Callable[[Pcont, str], Iterator[Jobs]]] = {
    "named": _mount_named,
    "single": _mount_single,
    "tied": _mount_tied,
}


ON_THE_HOST = (pytest.mark.kernel, pytest.mark.host)


# In a guest, where nothing is bound, it is one tree; a tie is what a host can have.
@pytest.fixture(
    params=[
        pytest.param(("model", "single"), id="model-single"),
        pytest.param(("model", "tied"), id="model-tied"),
        pytest.param(("cgroupfs", "tied"), id="kernel-tied", marks=ON_THE_HOST),
        pytest.param(("cgroupfs", "single"), id="kernel-single", marks=pytest.mark.guest),
    ]
)
def jobs(request: pytest.FixtureRequest, tmp_path: Path, name: str) -> Iterator[Jobs]:
    """The hierarchy of the main job: one tree of the kernel, or several that are tied."""
    backend, shape = request.param
    words = ["--backend", backend]
    if backend == "model":
        words += ["--state", str(tmp_path / "model.json")]
    yield from SHAPES[shape](Pcont(tuple(words)), name)


@dataclass
class Top:
    """A container in the hierarchy of one controller, for one test; gone afterwards."""

    pcont: Pcont
    controller: str
    path: str

    def at(self, path: str = "") -> str:
        return f"{self.controller}:{self.path}{path}"

    def place(self, path: str = "") -> Place:
        """The same for the library."""
        return Place(self.controller, self.path + path)

    def below(self) -> list[str]:
        """The container and all below it, as places."""
        lines = self.pcont.ok("tree", self.at()).splitlines()
        return [line.partition("\t")[0] for line in lines]

    # What another program would do, below the container or, with `of_root`, in the root.

    def text(self, path: str, file: str, of_root: bool = False) -> str:
        """The text of a control file."""
        place = Place(self.controller, path or "/") if of_root else self.place(path)
        return self.pcont.backend().read(place, file)

    def write(self, path: str, file: str, text: str, of_root: bool = False) -> None:
        place = Place(self.controller, path or "/") if of_root else self.place(path)
        backend = self.pcont.backend()
        with backend.exclusive():
            backend.write(place, file, text)

    def mkdir(self, path: str) -> None:
        backend = self.pcont.backend()
        with backend.exclusive():
            backend.make(self.place(path))

    def set_affinity(self, task: int, cpus: set[int]) -> None:
        backend = self.pcont.backend()
        with backend.exclusive():
            backend.set_affinity(task, frozenset(cpus))

    def exists(self, path: str) -> bool:
        return exists(self.pcont.backend(), self.place(path))

    @property
    def is_model(self) -> bool:
        return "model" in self.pcont.words

    def is_killed(self, task: int) -> bool:
        """Whether a child of this process was killed. The model kills no process of the machine."""
        if not self.is_model:
            return os.waitpid(task, 0)[1] == signal.SIGKILL
        try:
            self.pcont.backend().task(task)
        except ProcessLookupError:
            return True
        return False


# The backends that have cgroup v2, and those on which no other program uses it.
WITH_V2 = [
    pytest.param("model", id="model"),
    pytest.param("cgroupfs", id="kernel", marks=pytest.mark.kernel),
]
KERNEL_ALONE = pytest.param("cgroupfs", id="kernel", marks=(pytest.mark.kernel, pytest.mark.guest))
V2_ALONE = [
    pytest.param("model", id="model"),
    KERNEL_ALONE,
]

# For tests with the fixture v2_alone of what only the kernel does.
only_kernel_alone = pytest.mark.parametrize("v2_alone", [KERNEL_ALONE], indirect=True)


def beside_systemd(monkeypatch: pytest.MonkeyPatch, is_init: bool = True) -> None:
    """Decide whether systemd is the init process of the machine and of the models."""
    monkeypatch.setattr("pcont.linux.systemd._RUNNING", "/" if is_init else "/none")
    monkeypatch.setattr("pcont.backend_model.Model.has_systemd", lambda self: is_init)


@pytest.fixture
def cgroup2() -> Iterator[None]:
    """A mount of cgroup2: that of the machine, or in a guest one for the test."""
    if UNIFIED in (tree.id for tree in Cgroupfs().trees()):
        yield
        return
    if not IN_GUEST:
        elsewhere("no cgroup2 is mounted")
    point = tempfile.mkdtemp(prefix="pct-unified-", dir="/run")
    os.chmod(point, 0o755)  # other users see it, too
    subprocess.run(["mount", "-t", "cgroup2", "cgroup2", point], check=True)
    yield
    subprocess.run(["umount", point], check=True)
    os.rmdir(point)


@pytest.fixture(params=WITH_V2)
def v2(request: pytest.FixtureRequest, name: str, tmp_path: Path) -> Iterator[Top]:
    """A container of cgroup v2. A test that starts tasks asks for it last: it kills them."""
    yield from of_v2(request, name, tmp_path)


@pytest.fixture(params=V2_ALONE)
def v2_alone(request: pytest.FixtureRequest, name: str, tmp_path: Path) -> Iterator[Top]:
    """The same, on a machine where no other program uses cgroup v2."""
    yield from of_v2(request, name, tmp_path)


def of_v2(
    request: pytest.FixtureRequest, name: str, folder: Path, dialect: str = "v2", backend: str = ""
) -> Iterator[Top]:
    backend = backend or getattr(request, "param", "model")
    if backend != "model":
        request.getfixturevalue("cgroup2")
    pcont = command_line(backend, folder, "--dialect", dialect)
    top = Top(pcont, UNIFIED, f"/{name}")
    if top.is_model:  # as the guest
        pcont.ok("sim", "machine", "--cpus", "0-3", "--nodes", "0-1")
    pcont.ok("create", top.at())
    yield top
    assert eventually(lambda: pcont("rm", "-r", "--kill", top.at()).status == 0)


@contextlib.contextmanager
def new_top(pcont: Pcont, controller: str, name: str) -> Iterator[Top]:
    free = starts_empty(pcont)
    if free:
        pcont.ok("mount", "-o", controller)
    top = Top(pcont, controller, f"/{name}")
    pcont.ok("create", top.at())
    try:
        yield top
    finally:
        pcont.ok("rm", "-r", "--kill", top.at())
    if free:
        assert eventually(lambda: _umounted(pcont, controller))


def _charge_each_cpu(pcont: Pcont) -> None:
    """Linux 6.1 keeps a removed container of memory (v1) while it is the last one that was charged
    on a CPU, and has no pages left (drain_all_stock() skips it then). So another one is charged.
    """
    place = f"memory:/pct{os.getpid()}-charge"
    pcont.ok("create", place)
    for cpu in os.sched_getaffinity(0):
        pcont.ok("run", place, "--", "taskset", "-c", str(cpu), "true")
    pcont.ok("rm", place)


def _umounted(pcont: Pcont, controller: str) -> bool:
    """Zombies hold on to a hierarchy: children that have ended are waited for before."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    if pcont("umount", controller).status == 0:
        return True
    if controller == "memory":
        _charge_each_cpu(pcont)
    return False


@pytest.fixture
def icebox(pcont: Pcont, name: str) -> Iterator[Top]:
    """A container that can be frozen. A test that starts tasks asks for it last: it thaws them."""
    with new_top(pcont, "freezer", name) as top:
        yield top
        for place in top.below():
            pcont.ok("set", place, "freezer.state=THAWED")


@pytest.fixture
def crowd(pcont: Pcont, name: str) -> Iterator[Top]:
    """A container whose tasks are counted."""
    with new_top(pcont, "pids", name) as top:
        yield top


@pytest.fixture
def start() -> Iterator[Callable[..., int]]:
    """Start processes that sleep, with so many threads each; they end after the test."""
    run: list[subprocess.Popen[str]] = []

    def start(threads: int = 1) -> int:
        command = [sys.executable, "-c", THREADED, str(threads)] if threads > 1 else _SLEEP
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        run.append(process)
        if threads > 1:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
        return process.pid

    yield start
    for process in run:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


_SLEEP = ["sleep", "600"]


def threads_of(pid: int) -> list[int]:
    return sorted(int(name) for name in os.listdir(f"/proc/{pid}/task"))


@contextlib.contextmanager
def in_background(work: Callable[[], None]) -> Iterator[None]:
    """Run `work` in a thread beside the block, and wait for it at the end."""
    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def _hierarchies() -> dict[str, str]:
    """The active hierarchies by their controllers or name, and where this process is in each."""
    lines = [line.split(":", 2) for line in Proc().text("self/cgroup").splitlines()]
    return {controllers: path for _, controllers, path in lines}


def changed(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """The hierarchies that a test has made or ended, and those in which it has moved this process.

    On a host other processes mount named hierarchies at the same time: those are not looked at.
    """
    moved = {tree for tree in before.keys() & after.keys() if before[tree] != after[tree]}
    mounted = before.keys() ^ after.keys() if os.geteuid() == 0 else set()  # a user cannot mount
    return sorted(moved | set(filter(_is_ours, mounted)))


def _is_ours(tree: str) -> bool:
    named = tree.startswith("name=")
    return IN_GUEST or not named or tree.startswith(f"name=pct{os.getpid()}-")


def _containers() -> list[str]:
    """The top containers of this process's tests, in every hierarchy that can be seen.

    And for which of its hierarchies pcont keeps something in others.
    """
    backend, mine = Cgroupfs(), f"pct{os.getpid()}-"
    found = []
    for tree in backend.trees():
        root = Place(tree.id)
        names = backend.children(root) if tree.mounted else []
        found += [f"{tree.id}:/{name}" for name in names if name.startswith(mine)]
        if tree.mounted and not tree.name:
            found += [str(one) for one in bindings_in(backend, tree.id) if mine in one.line]
    return found


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """The same hierarchies are active after a test as before, and no container of ours is left."""
    before = _hierarchies()
    yield
    assert changed(before, _hierarchies()) == []
    assert _containers() == []
