"""Events of processes: which descend from which, and which acts when a mover dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from pcont.linux.proc import Proc
from pcont.linux.proc_events import EventedTree
from pcont.linux.watchdog import watching
from tests.waiting import eventually

SERVER = """
import os, sys, time
def daemon():
    if os.fork() == 0:
        os.setsid()
        if os.fork():
            os._exit(0)
        time.sleep(600)
        os._exit(0)
    os.wait()
print("ready", flush=True)
while sys.stdin.readline():
    daemon()
    print("forked", flush=True)
"""


@pytest.fixture
def server() -> Iterator[subprocess.Popen[str]]:
    """A process that starts a daemon for each line that it reads."""
    words = [sys.executable, "-c", SERVER]
    with subprocess.Popen(words, stdin=-1, stdout=-1, text=True) as process:
        assert process.stdout
        process.stdout.readline()
        yield process
        process.kill()


def tell(server: subprocess.Popen[str]) -> None:
    assert server.stdin
    assert server.stdout
    server.stdin.write("daemon\n")
    server.stdin.flush()
    server.stdout.readline()


def test_a_family_is_the_process_and_its_descendants(server: subprocess.Popen[str]) -> None:
    family = EventedTree(Proc(), os.getpid())
    try:
        assert {os.getpid(), server.pid} <= family()
        assert os.getppid() not in family()
    finally:
        family.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="the kernel reports forks to root only")
@pytest.mark.kernel
def test_a_daemon_stays_in_the_family_with_any_parent(
    server: subprocess.Popen[str],
) -> None:
    family = EventedTree(Proc(), server.pid)
    try:
        assert family.complete
        assert family() == {server.pid}
        tell(server)
        (daemon,) = family(thorough=True) - {server.pid}
        assert Proc().task(daemon).parent != server.pid
        other = subprocess.Popen(["sleep", "600"])
        try:
            assert other.pid not in family(thorough=True)
        finally:
            other.kill()
            other.wait()
        os.kill(daemon, signal.SIGKILL)
        assert eventually(lambda: family() == {server.pid})
    finally:
        family.close()


STRANGERS = """
import os, signal, sys, time

def sleeper():
    if os.fork() == 0:
        time.sleep(1)
        os._exit(0)

def daemons():
    # What it starts ends at once, and leaves a daemon that another process adopts.
    while True:
        if os.fork() == 0:
            sleeper()
            os._exit(0)
        os.wait()
        time.sleep(0.002)

signal.signal(signal.SIGCHLD, signal.SIG_IGN)
server = os.fork()
if server == 0:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    daemons()
print(server, flush=True)
while True:
    stranger = os.fork()
    if stranger == 0:
        time.sleep(1)
        os._exit(0)
    os.write(2, f"{stranger}\\n".encode())
    time.sleep(0.002)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="the kernel reports forks to root only")
@pytest.mark.kernel
def test_what_the_parent_starts_is_no_family(tmp_path: Path) -> None:
    """Not at any moment, while parents in the family end, and new processes come beside it."""
    listed = tmp_path / "strangers"
    with listed.open("w") as errors:
        outer = subprocess.Popen([sys.executable, "-c", STRANGERS], stdout=-1, stderr=errors)
    assert outer.stdout
    with outer.stdout:
        server, found = int(outer.stdout.readline()), set[int]()
    try:
        for _ in range(60):
            family = EventedTree(Proc(), server)
            found |= family(thorough=True)
            family.close()
    finally:
        for pid in (server, outer.pid):
            os.kill(pid, signal.SIGKILL)
        outer.wait()
    strangers = {int(line) for line in listed.read_text().split()}
    assert len(found) > 60
    assert not found & strangers


GUARDED = """
import os, sys
from pcont.linux.watchdog import watching
state = os.open(sys.argv[1], os.O_WRONLY)
with watching(lambda: os.write(state, b"THAWED"), state):
    print("on guard", flush=True)
    sys.stdin.readline()
"""


@pytest.mark.parametrize("how", ["killed", "done"])
def test_the_watchdog_acts_when_its_process_dies(tmp_path: Path, how: str) -> None:
    """Also if all of its process group is killed; a mover that has finished needs no watchdog."""
    state = tmp_path / "freezer.state"
    state.write_text("FROZEN")
    words = [sys.executable, "-c", GUARDED, str(state)]
    process = subprocess.Popen(words, stdin=-1, stdout=-1, text=True, start_new_session=True)
    assert process.stdout
    assert process.stdout.readline() == "on guard\n"
    if how == "killed":
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate("done\n" if how == "done" else None)
    if how == "killed":
        assert eventually(lambda: state.read_text() == "THAWED")
    else:
        assert process.returncode == 0
        assert state.read_text() == "FROZEN"


def test_the_watchdog_ends_with_the_block(tmp_path: Path) -> None:
    state = tmp_path / "freezer.state"
    state.write_text("FROZEN")
    before = set(Proc().parents().values())
    with watching(partial(state.write_text, "THAWED")):
        assert os.getpid() in Proc().parents().values()
    children = [pid for pid, parent in Proc().parents().items() if parent == os.getpid()]
    assert not [pid for pid in children if pid not in before and Proc().task(pid).exited]
    assert state.read_text() == "FROZEN"
