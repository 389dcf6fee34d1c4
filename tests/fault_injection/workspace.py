"""What commands are tried on: containers, settings and tasks of a test, removed after it."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pcont.backend_model import StoredModel
from pcont.bpf.enforcer import BpfEnforcer
from pcont.kernel.interfaces import Backend
from pcont.kernel.types import Place, TreeRequest
from pcont.steps.mounts import dissolve
from pcont.subsys.v1.numtasks import TABLE
from pcont.virtual.bindings import BINDINGS
from tests.contract.conftest import Pcont, eventually, starts_empty, threads_of
from tests.model_tasks import open_file

SLEEPER = """
import os, sys, threading, time
for _ in range(int(sys.argv[1]) - 1):
    threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
print(os.getpid(), flush=True)
while sys.stdin.readline():
    child = os.fork()
    if child == 0:
        time.sleep(3600)
    print(child, flush=True)
"""
SEPARATE = ("cpuset", "cpuacct", "pids", "freezer")


@dataclass
class Workspace:
    """The name and the directory of one test, its processes, and the command line.

    `bare`: on a machine of its own nothing is bound; else each controller is, on its own.
    """

    pcont: Pcont
    name: str
    scratch: Path
    bare: bool = False
    processes: list[subprocess.Popen[str]] = field(default_factory=list)
    files: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.home = self.pcont.paths(os.getpid())
        self.affinity = os.sched_getaffinity(0)

    @property
    def base(self) -> Path:
        """What a test may mount on is below."""
        return self.scratch / self.name

    @property
    def on_model(self) -> bool:
        return "model" in self.pcont.words

    @property
    def alone(self) -> bool:
        """Whether all that is there was made by this test."""
        return starts_empty(self.pcont)

    # What a test says

    def words(self, line: str) -> list[str]:
        """A command line with the names of this workspace in it."""
        return shlex.split(self.filled(line))

    def filled(self, text: str) -> str:
        """A text with the names of this workspace in it."""
        return text.format(
            t=self.name,
            dir=self.base,
            scratch=self.scratch,
            subsystems="cpuset,cpuacct" if self.on_model else "cpuset,cpuacct,pids",
            inside="" if self.on_model else "/d",  # of which every process is in the root
            limit="cgroup.clone_children=1" if self.on_model else "pids.max=70",
            self=os.getpid(),
            pids=[process.pid for process in self.processes],
            tasks=[threads_of(process.pid) for process in self.processes],
        )

    def ok(self, line: str) -> None:
        """Run a command that must succeed."""
        self.pcont.ok(*self.words(line))

    def start(self, threads: int = 1) -> None:
        """Start a process that sleeps."""
        pipe, command = subprocess.PIPE, [sys.executable, "-ISc", SLEEPER, str(threads)]
        process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, text=True, start_new_session=True
        )
        self.processes.append(process)
        assert process.stdout
        assert int(process.stdout.readline()) == process.pid

    def fork(self) -> int:
        """Let the first process fork a child, which sleeps, too."""
        process = self.processes[0]
        assert process.stdin
        assert process.stdout
        process.stdin.write("fork\n")
        process.stdin.flush()
        return int(process.stdout.readline())

    def open(self) -> None:
        """This process opens a file, as an administrator."""
        if self.on_model:
            model = StoredModel(self.pcont.words[3])
            with model.exclusive():
                open_file(model, os.getpid(), admin=True)
        else:
            self.files.append(os.open(os.devnull, os.O_RDONLY))

    def threads(self) -> Iterator[tuple[str, int]]:
        """Every thread of the processes by a name that lasts, this one's too."""
        yield "this", os.getpid()
        for number, process in enumerate(self.processes):
            for place, task in enumerate(threads_of(process.pid)):
                yield f"{number}.{place}", task

    def owns(self, text: str) -> bool:
        """Whether a name or a path is this test's."""
        return self.name in text or (self.alone and "name=" not in text)

    # Coming and going

    def again(self) -> None:
        """As it was at the beginning."""
        self.clear()
        self.base.mkdir()
        if "--dialect" in self.pcont.words:  # it is that of the state, once there is one
            self.pcont.ok("sim", "machine", "--cpus", "0-3", "--nodes", "0-1")
        if self.alone and not self.bare:
            for controller in SEPARATE[:2] if self.on_model else SEPARATE:
                self.pcont.ok("mount", "-o", controller)

    def clear(self) -> None:
        """Nothing of the test is left, whatever came before; by the kernel's own means."""
        for process in self.processes:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
        self.processes.clear()
        while self.files:
            os.close(self.files.pop())
        if self.on_model:
            Path(self.pcont.words[3]).unlink(missing_ok=True)
        else:
            self._clear_kernel()
        shutil.rmtree(self.base, ignore_errors=True)

    def _clear_kernel(self) -> None:
        backend = self.pcont.backend()
        if self.name in backend.pins():
            backend.unpin(self.name)
        self._go_home(backend)
        self._stop_counting(backend)
        for tree in backend.trees():
            root = Place(tree.id)
            if tree.mounted and not tree.name:
                self._forget(backend, root)
                tops = [root.child(name) for name in backend.children(root) if self.owns(name)]
                for top in tops:
                    _remove(backend, top)
        self.disable_controllers()
        for tree in backend.trees():
            if self.owns(tree.id) and not tree.is_unified:
                self._unmount(backend, TreeRequest(tree.controllers, tree.name))
        for tree_id in filter(self.owns, backend.releases.programs()):
            backend.releases.forget(tree_id)

    def disable_controllers(self) -> None:
        """Disable everything in the root of cgroup v2, if no other program uses it."""
        backend = self.pcont.backend()
        for tree in backend.trees() if self.alone else ():
            root = Place(tree.id)
            if not tree.is_unified:
                continue
            for name in backend.read(root, "cgroup.subtree_control").split():
                backend.write(root, "cgroup.subtree_control", f"-{name}")

    def _forget(self, backend: Backend, root: Place) -> None:
        """What pcont keeps in a tree of others for this test."""
        attributes = backend.attributes(root)
        lines = attributes.get(BINDINGS, "").splitlines()
        rest = [line for line in lines if self.name not in line]
        if rest != lines:
            backend.set_attribute(root, BINDINGS, "\n".join(rest) or None)
            for name in set(attributes) & set(TABLE.by_name):
                backend.set_attribute(root, name, None)

    def _stop_counting(self, backend: Backend) -> None:
        enforcer = backend.enforcer
        assert isinstance(enforcer, BpfEnforcer)
        for subsystem, at in enforcer.trees().items():
            if not at or self.owns(at):
                enforcer._pinned[subsystem].end()

    def _go_home(self, backend: Backend) -> None:
        for tree, path in backend.membership(os.getpid()).items():
            home = self.home.get(tree, "/")
            if path != home:
                backend.write(Place(tree, home), "cgroup.procs", str(os.getpid()))
        os.sched_setaffinity(0, self.affinity)

    def _unmount(self, backend: Backend, request: TreeRequest) -> None:
        """End a hierarchy: mount it once more, empty it and unmount it."""
        point = str(self.base / "last")
        os.makedirs(point, exist_ok=True)
        backend.mount(request, point, "none")
        tree = next(one for one in backend.trees() if any(m.point == point for m in one.mounts))
        for name in backend.children(Place(tree.id)):
            _remove(backend, Place(tree.id, f"/{name}"))
        for mount in tree.mounts:
            _unmount(backend, mount.point)
            for directory in mount.made:
                with contextlib.suppress(OSError):
                    os.rmdir(directory)
        dissolve(backend, request, point, "none")


def _remove(backend: Backend, place: Place) -> None:
    """rmdir with all below, as soon as the tasks that are leaving have left."""
    with contextlib.suppress(OSError):
        backend.write(place, "freezer.state", "THAWED")
    for name in backend.children(place):
        _remove(backend, place.child(name))

    assert eventually(lambda: _is_done(lambda: backend.remove(place))), (
        f"{backend.show(place)} remains"
    )


def _unmount(backend: Backend, point: str) -> None:
    """umount(2), as soon as no other process looks into the mount."""
    assert eventually(lambda: _is_done(lambda: backend.umount(point))), f"{point} remains mounted"


def _is_done(change: Callable[[], None]) -> bool:
    try:
        change()
    except OSError:
        return False
    return True


def without_pids(text: str) -> str:
    """The container of a clone is called after a process, another one each time."""
    return re.sub(r"\bnode_\d+", "node_PID", text)
