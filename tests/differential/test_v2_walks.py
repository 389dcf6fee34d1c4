"""Random writes to the files of cgroup v2: the model and the kernel answer the same, and then show
the same.

On this machine, whose cgroup v2 may have no controllers, a walk is about types, limits and
freezing. In the guest 6.12-v2 it is about controllers, too: `make nightly` runs it there.
`PCONT_V2_WALKS=20x300`: 20 walks of 300 steps.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from pcont.backend_cgroupfs import Cgroupfs
from pcont.kernel.refusals import exists
from tests.conftest import IN_GUEST, elsewhere
from tests.contract.conftest import THREADED, cgroup2, name, threads_of  # noqa: F401
from tests.contract.test_v2_kernel import Machine, modelled, place
from tests.waiting import eventually

SEED = int(os.environ.get("PCONT_SEED", random.SystemRandom().randrange(1 << 32)))
WALKS, STEPS = map(int, os.environ.get("PCONT_V2_WALKS", "3x120").split("x"))
NAMES = ("a", "b", "c")
THREADS = (1, 2, 3)  # of each process

# What is compared after each step, of the files that the kernel's container has.
CORE = (
    *("cgroup.type", "cgroup.controllers", "cgroup.subtree_control", "cgroup.events"),
    *("cgroup.freeze", "cgroup.max.depth", "cgroup.max.descendants"),
)
SHOWN = (
    *("cpuset.cpus", "cpuset.cpus.effective", "cpuset.mems", "cpuset.mems.effective"),
    *("cpu.weight", "cpu.weight.nice", "cpu.idle", "cpu.max", "memory.max", "memory.low"),
    *("pids.max", "pids.current", "pids.peak", "pids.events"),
)
WRITES = (
    *[("cgroup.type", "threaded")] * 6,
    *[("cgroup.freeze", text) for text in ("0", "0", "1", "2")],
    *[("cgroup.max.depth", text) for text in ("0", "1", "2", "max", "max")],
    *[("cgroup.max.descendants", text) for text in ("1", "3", "max", "max", "-1")],
)
OF_CONTROLLERS = (
    *[("cgroup.subtree_control", f"{sign}{one}") for one in
      ("cpuset", "cpu", "memory", "pids") for sign in "++-"],
    *[("cgroup.subtree_control", text) for text in ("+pids +cpu", "-pids -memory", "+io -cpu")],
    *[("cpuset.cpus", text) for text in ("0-1", "1", "2-3", "\n", "9")],
    *[("cpuset.mems", text) for text in ("0", "0-1", "\n", "7")],
    *[("cpu.weight", "50"), ("cpu.weight.nice", "5"), ("cpu.idle", "1"), ("cpu.idle", "0")],
    *[("cpu.max", "50000"), ("cpu.max", "max 20000"), ("memory.max", "64M"), ("memory.low", "4K")],
    *[("pids.max", "50"), ("pids.max", "max"), ("pids.max", "-1")],
)  # fmt: skip


class Walk:
    """The same steps on a model and on the kernel, below containers of the same path."""

    def __init__(self, base: str, seed: int) -> None:
        self.chance, self.base = random.Random(seed), base
        self.running: list[subprocess.Popen[str]] = []
        self.model, self.kernel = modelled(), Machine(Cgroupfs(), self._start)
        self.done: list[str] = []
        self.tasks: list[tuple[int, int]] = []  # of the model and of the kernel
        self.pids: dict[int, int] = {}  # the process of each real task
        self.both("mkdir", base)
        for threads in THREADS:
            self._begin(threads)

    def _start(self, threads: int) -> list[int]:
        command = [sys.executable, "-c", THREADED, str(threads)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.running.append(process)
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        return threads_of(process.pid)

    def _begin(self, threads: int) -> None:
        real = self.kernel.process(threads)
        self.pids |= dict.fromkeys(real, real[0])
        self.tasks += zip(self.model.process(threads), real, strict=True)

    def both(self, verb: str, *words: str) -> str:
        """Do the same on both; returns what both answer."""
        said = [getattr(one, verb)(*words) for one in (self.model, self.kernel)]
        self.done.append(f"{verb} {words}: {said}")
        assert said[0] == said[1], self.story
        return str(said[0])

    @property
    def story(self) -> str:
        return "\n".join(self.done[-40:])

    def containers(self) -> list[str]:
        """The containers of the model, the base first."""
        found, waiting = [], [self.base]
        while waiting:
            path = waiting.pop()
            found.append(path)
            waiting += [f"{path}/{one}" for one in self.model.backend.children(place(path))]
        return sorted(found)

    def step(self, controllers: bool) -> None:
        chance, there = self.chance, self.containers()
        path = chance.choice(there)
        dice = chance.random()
        if dice < 0.2:
            self.both("mkdir", f"{path}/{chance.choice(NAMES)}")
        elif dice < 0.27 and path != self.base:
            self.both("rmdir", path)
        elif dice < 0.55:
            self.move(path)
        elif dice < 0.57:
            self.kill(path)
        else:
            choice = OF_CONTROLLERS if controllers and chance.random() < 0.7 else WRITES
            self.both("write", path, *chance.choice(choice))

    def move(self, path: str) -> None:
        """Write a task or thread into a container, or into the root."""
        simulated, real = self.chance.choice(self.tasks)
        file = self.chance.choice(("cgroup.procs", "cgroup.procs", "cgroup.threads"))
        if self.chance.random() < 0.15:
            path, file = "/", "cgroup.procs"
        said = [
            one.write(path, file, str(task))
            for one, task in ((self.model, simulated), (self.kernel, real))
        ]
        self.done.append(f"{file} of {path}: task {real}: {said}")
        assert said[0] == said[1], self.story

    def kill(self, path: str) -> None:
        """Kill what is in a container and below it, and start as many processes again."""
        if self.both("write", path, "cgroup.kill", "1") != "ok":
            return
        gone = {real for simulated, real in self.tasks if not self._lives(simulated)}
        ended = [one for one in self.running if one.pid in gone]
        for one in ended:
            assert one.wait(10) == -signal.SIGKILL
            _close(one)
        self.running = [one for one in self.running if one not in ended]
        counts = [sum(self.pids[real] == one.pid for _, real in self.tasks) for one in ended]
        self.tasks = [pair for pair in self.tasks if pair[1] not in gone]
        for count in counts:
            self._begin(count)

    def _lives(self, task: int) -> bool:
        try:
            self.model.backend.task(task)
        except ProcessLookupError:
            return False
        return True

    def seen(self, machine: Machine, controllers: bool) -> dict[str, object]:
        """What a machine shows of the containers and the tasks."""
        side = 0 if machine is self.model else 1
        labels = {pair[side]: number for number, pair in enumerate(self.tasks)}
        found: dict[str, object] = {}
        for path in self.containers():
            for file in (*CORE, *(SHOWN if controllers else ())):
                found[f"{path} {file}"] = machine.read(path, file)
            listed = machine.read(path, "cgroup.threads").split()
            found[f"{path} threads"] = sorted(labels[int(task)] for task in listed)
        for pair, number in zip(self.tasks, labels.values(), strict=True):
            found[f"where {number}"] = machine.where(pair[side])
            if controllers:
                found[f"affinity {number}"] = sorted(machine.backend.affinity(pair[side]))
        return found

    def compare(self, controllers: bool) -> None:
        wanted = self.seen(self.model, controllers)
        seen: dict[str, object] = {}

        def is_same() -> bool:  # tasks take a moment to freeze
            seen.update(self.seen(self.kernel, controllers))
            return seen == wanted

        if not eventually(is_same):
            lines = [
                f"{key}: model {wanted.get(key)!r}, kernel {seen.get(key)!r}"
                for key in wanted
                if wanted[key] != seen.get(key)
            ]
            raise AssertionError("\n".join([self.story, *lines]))

    def clear(self) -> None:
        for one in self.running:
            one.kill()
            one.wait()
            _close(one)
        for path in sorted(self.containers(), reverse=True):
            if exists(self.kernel.backend, place(path)):
                self.kernel.write(path, "cgroup.freeze", "0")
                assert self.kernel.rmdir(path) == "ok", path


def _close(process: subprocess.Popen[str]) -> None:
    assert process.stdout
    process.stdout.close()


@pytest.fixture
def walk(request: pytest.FixtureRequest, cgroup2: None, name: str) -> Iterator[Walk]:  # noqa: F811
    if IN_GUEST and os.uname().release.startswith("6.1."):
        elsewhere("the model answers as Linux 6.12 does")
    seed = SEED + request.param
    print(f"PCONT_SEED={seed}")
    found = Walk(f"/{name}", seed)
    if IN_GUEST:
        found.both("write", "/", "cgroup.subtree_control", "+cpuset +cpu +memory +pids")
    yield found
    found.clear()
    if IN_GUEST:
        found.kernel.write("/", "cgroup.subtree_control", "-cpuset -cpu -memory -pids")


@pytest.mark.kernel
@pytest.mark.parametrize("walk", range(WALKS), indirect=True)
def test_the_model_answers_as_the_kernel(walk: Walk) -> None:
    if not IN_GUEST:  # the root of this machine's cgroup v2 enables nothing
        walk.compare(controllers=False)
    for _ in range(STEPS):
        walk.step(IN_GUEST)
        walk.compare(IN_GUEST)
