"""The state of the model in its file: killed at any moment, there is the old or the new one."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from pcont.cli import main
from pcont.model.pages import PageFile
from pcont.model.rows import HEAD
from tests.conftest import MUST
from tests.contract.conftest import Pcont
from tests.fault_injection import strace
from tests.fault_injection.conftest import cases
from tests.model_states import rows_in

KILLS = 500
SEED = int(os.environ.get("PCONT_SEED", random.SystemRandom().randrange(1 << 32)))
MOUNT = ("mount", "-o", "cpuset,pids", "--name", "jobs")
MADE = ("create", "-p", "jobs:/a/b", "jobs:/c", "-s", "notify_on_release=1")
REMOVED = ("rm", "-r", "jobs:/a", "jobs:/c")
obstacle = cache(strace.obstacle)


@dataclass
class State:
    """A state file, and the command line that keeps its state there."""

    file: Path

    @property
    def pcont(self) -> Pcont:
        return Pcont(("--backend", "model", "--state", str(self.file)))

    def rows(self) -> dict[str, Any]:
        """All that it says; empty where there is none."""
        return rows_in(self.file)

    def content(self) -> bytes:
        """The file as it is; empty where there is none."""
        return self.file.read_bytes() if self.file.exists() else b""

    def restore(self, content: bytes) -> None:
        """As it was before any command, or after some."""
        for one in self.file.parent.glob("*") if self.file.parent.exists() else ():
            one.unlink()
        if content:
            self.file.write_bytes(content)
        elif self.file.parent.exists():
            self.file.parent.rmdir()

    def after(self, *words: str) -> dict[str, Any]:
        """What it says after a command."""
        self.pcont.ok(*words)
        return self.rows()

    def fill(self) -> None:
        """Write the same again until one more change replaces the file by a smaller one."""
        before = b""
        while len(before) <= self.file.stat().st_size:
            before = self.content()
            pages = PageFile(str(self.file), os.open(self.file, os.O_RDONLY))
            pages.commit({HEAD: pages.get(HEAD)})
        self.file.write_bytes(before)

    def start(self, *commands: Sequence[str]) -> int:
        """Commands one after the other, in a process of their own."""
        pid = os.fork()
        if pid == 0:
            silent = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silent, 1)
            os.dup2(silent, 2)
            os._exit(max(main([*self.pcont.words, *words]) for words in commands))
        return pid


@pytest.fixture
def state(tmp_path: Path) -> State:
    """Nothing is there yet, not even the directory."""
    return State(tmp_path / "state" / "model.json")


@pytest.fixture
def jobs(state: State) -> State:
    """A hierarchy."""
    state.pcont.ok("mount", "-o", "cpuset,pids", "--name", "jobs")
    return state


@pytest.mark.parametrize("fault", [strace.DEATH, strace.ERROR])
@pytest.mark.parametrize("kind", ["first", "later", "replacing"])
@pytest.mark.slow
def test_at_each_system_call_that_writes(
    state: State, tmp_path: Path, fault: str, kind: str
) -> None:
    """Also of the first command of all, which makes the directory, and of one that replaces the
    file by a smaller one.
    """
    if why := obstacle():
        pytest.fail(why) if MUST else pytest.skip(why)
    commands = {"first": MOUNT, "later": MADE, "replacing": REMOVED}
    if kind != "first":
        state.pcont.ok(*MOUNT)
    if kind == "replacing":
        state.pcont.ok(*MADE)
        state.fill()
    old, before = state.rows(), state.content()
    command, log = commands[kind], tmp_path / "calls"
    words = [*state.pcont.words, *command]
    assert strace.traced(words, log, names=strace.DURABLE).status == 0
    new = state.rows()
    assert new != old
    calls = strace.calls(log, strace.DURABLE)
    names = {call.name for call in calls}
    assert {"openat", "pwrite64"} <= names
    assert ("rename" in names, "fsync" in names) == ((kind != "later",) * 2)
    assert ("fdatasync" in names) == (kind != "first")
    for call in calls:
        state.restore(before)
        result = strace.traced(words, log, call, fault, strace.DURABLE)
        case = f"{command[0]}, {call.name} {call.at}: {call.words}"
        if strace.struck(log, call, strace.DURABLE):
            cases.append(case)
        assert "Traceback" not in result.err, f"{case}\n{result.err}"
        assert state.rows() in (old, new), case
        if state.rows() == old:
            assert state.after(*command) == new, case


@pytest.mark.slow
def test_at_any_moment(jobs: State) -> None:
    """One command makes containers, and another one takes them away, and so on."""
    print(f"seed {SEED}")
    chance, commands = random.Random(SEED), (MADE, REMOVED)
    states = [jobs.rows(), jobs.after(*MADE)]
    assert jobs.after(*REMOVED) == states[0]
    longest = 1.2 * statistics.median(_seconds(jobs, (MADE, REMOVED)) / 2 for _ in range(5))
    found, now = Counter[str](), 0
    for number in range(KILLS):
        pid = jobs.start(commands[now])
        time.sleep(chance.uniform(0, longest))
        os.kill(pid, signal.SIGKILL)
        killed = os.WIFSIGNALED(os.waitpid(pid, 0)[1])
        rows = jobs.rows()
        assert rows in states, f"seed {SEED}, kill {number}"
        after = states.index(rows)
        found[f"{'killed' if killed else 'ended'}, {'old' if after == now else 'new'}"] += 1
        now = after
    print(dict(found))
    assert found["killed, old"]
    assert found["killed, new"] + found["ended, new"]
    assert found["ended, old"] == 0
    jobs.pcont.ok(*commands[now])


def _seconds(state: State, commands: Sequence[Sequence[str]]) -> float:
    began = time.monotonic()
    assert os.waitpid(state.start(*commands), 0)[1] == 0
    return time.monotonic() - began


@pytest.mark.slow
def test_twenty_at_once_lose_nothing(jobs: State) -> None:
    """Each makes containers, sets what is theirs, and removes every other one again."""
    running = []
    for one in range(20):
        commands: list[Sequence[str]] = []
        for number in range(4):
            place = f"jobs:/w{one}-{number}"
            commands.append(("create", place))
            commands.append(("set", place, f"pids.max={100 * one + number}"))
            commands += [("rm", place)] * (number % 2)
        running.append(jobs.start(*commands))
    assert [os.waitpid(pid, 0)[1] for pid in running] == [0] * 20
    (tree,) = json.loads(jobs.pcont.ok("tree", "jobs", "--json"))["result"]
    found = {child["name"]: child["settings"]["pids.max"] for child in tree["children"]}
    wanted = {f"w{one}-{number}": 100 * one + number for one in range(20) for number in (0, 2)}
    assert found == wanted


def test_a_disk_without_room_keeps_the_old_state_and_says_so(jobs: State) -> None:
    old, size = jobs.rows(), jobs.file.stat().st_size
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limit[1]))
    try:
        said = jobs.pcont("create", "jobs:/a")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert said.status == 1
    assert "cannot keep the model's state" in said.err
    assert "EFBIG" in said.err
    assert jobs.rows() == old
    assert {one.name for one in jobs.file.parent.iterdir()} == {"model.json", "model.json.lock"}
    jobs.pcont.ok("create", "jobs:/a")
