"""task_owners: user and command line of a task are what psutil says."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

from pcont.kernel.types import Task
from pcont.linux.proc import Proc
from pcont.ops.task_owners import TaskOwner, owner_of
from tests.waiting import eventually

PROGRAMS = {
    "words": [sys.executable, "-c", "import time; time.sleep(600)", "two words", ""],
    "one word": ["sleep", "600"],
}


def by_psutil(task: Task) -> TaskOwner:
    try:
        process = psutil.Process(task.id)
        with process.oneshot():
            words = " ".join(process.cmdline())
            return TaskOwner(process.username(), words or f"[{task.name}]")
    except psutil.Error:
        return TaskOwner("", f"[{task.name}]")


@pytest.fixture(params=PROGRAMS)
def process(request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(PROGRAMS[request.param], close_fds=True) as found:
        yield found
        found.kill()


def test_a_process_has_its_user_and_its_words(process: subprocess.Popen[bytes]) -> None:
    task = Proc().task(process.pid)
    found = owner_of(task)
    assert found == by_psutil(task)
    assert found.user == psutil.Process().username()
    assert found.command.startswith((sys.executable, "sleep 600"))


def test_a_zombie_has_its_name_only(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    assert eventually(lambda: Proc().task(process.pid).state == "Z")
    task = Proc().task(process.pid)
    assert owner_of(task) == by_psutil(task) == TaskOwner("", f"[{task.name}]")


def test_a_task_that_has_ended_has_its_name_only(process: subprocess.Popen[bytes]) -> None:
    task = Proc().task(process.pid)
    process.kill()
    process.wait()
    assert owner_of(task) == TaskOwner("", f"[{task.name}]")


def test_every_process_here_is_shown_as_psutil_does() -> None:
    proc = Proc()
    for pid in proc.processes():
        try:
            task = proc.task(pid)
            expected, found = by_psutil(task), owner_of(task)
            if proc.task(pid).start == task.start and by_psutil(task) == expected:
                assert found == expected, pid
        except ProcessLookupError:
            continue  # it has ended


def test_a_user_without_a_name_is_a_number() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    with subprocess.Popen(["sleep", "600"], user=54321) as found:
        task = Proc().task(found.pid)
        assert owner_of(task) == by_psutil(task)
        assert owner_of(task).user == "54321"
        found.kill()
