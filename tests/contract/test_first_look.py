"""What is wrong with the words of a command is answered at once, while another one is at work."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.contract.conftest import Jobs

HOLDER = """
import sys
from pcont.kernel.types import Waiting
from pcont.kernel.open import open_backend
words = dict(zip(sys.argv[1::2], sys.argv[2::2]))
backend = open_backend(words["--backend"], words.get("--state"))
with backend.exclusive(Waiting(command="move jobs:/a jobs:/b")):
    print("mine", flush=True)
    sys.stdin.readline()
"""
NOBODY = str(1 << 22)

# With {jobs} for the hierarchy: what is answered at once, and its exit status.
AT_ONCE = [
    (2, "create {jobs}:a:b"),
    (2, "create {jobs}:/b -s cpuset.cpus"),
    (7, "create {jobs}:/../b"),
    (3, "create nope:/b"),
    (3, "create {jobs}:/b -s nope.cpus=0"),
    (2, "create {jobs}:/b -s tasks=1"),
    (3, "rm nope:/a"),
    (2, "rm --kill --evict {jobs}:/a"),
    (3, "attach nope:/a 1"),
    (3, f"attach {{jobs}}:/a {NOBODY}"),
    (2, "attach --thread --tree {jobs}:/a 1"),
    (3, "move nope:/a {jobs}:/a"),
    (2, "move {jobs}:/a {jobs}:/a"),
    (3, "set nope:/a cpuset.cpus=0"),
    (3, "set {jobs}:/a cpuset.cpu=0"),
    (2, "set {jobs}:/a cpuset.cpus"),
    (2, "set {jobs}:/a tasks=x"),
    (2, "set {jobs}:/a cpuset.cpus=0 cpuset.cpus=1"),
    (3, "mount -o nope"),
    (7, "mount -o none,cpuset --name x"),
    (7, "mount -o none --name a/b"),
    (3, "umount nope"),
    (3, "bind nope pids"),
    (3, "bind {jobs} nope"),
    (2, "bind {jobs} pids -s x:y=z"),
    (3, "unbind nope cpuset --yes"),
    (3, "gc nope"),
    (3, f"clone {{jobs}} --pid {NOBODY}"),
    (3, f"clone nope --pid {os.getpid()}"),
    (125, "clone nope -- true"),
    (125, "run nope:/a -- true"),
    (125, "run {jobs}:a:b -- true"),
    (127, "run {jobs}:/a -- /no/such/command"),
]

# What another command may be about to change: for that the lock is waited for.
LATER = [
    "create {jobs}:/a",
    "create {jobs}:/x/y",
    "rm {jobs}:/x",
    "set {jobs}:/x cpuset.cpus=0",
    "move {jobs}:/x {jobs}:/a",
    "set {jobs}:/a cpuset.cpus=0",
    f"attach {{jobs}}:/x {os.getpid()}",
]


@pytest.fixture
def busy(jobs: Jobs) -> Iterator[Jobs]:
    """A hierarchy while another pcont command is at work."""
    jobs.pcont.ok("create", "-i", jobs.at("/a"))
    words = [sys.executable, "-c", HOLDER, *jobs.pcont.words]
    with subprocess.Popen(words, stdin=-1, stdout=-1, text=True) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "mine\n"
        yield jobs
        holder.communicate("done\n")


def with_patience(jobs: Jobs, line: str) -> list[str]:
    """The words of a command that waits for the lock no longer than it must."""
    name, *words = line.format(jobs=jobs.name).split()
    return [name, "--timeout", "0", *words]


def test_what_is_wrong_with_the_words_is_answered_before_the_lock_is_there(busy: Jobs) -> None:
    wrong = []
    for status, line in AT_ONCE:
        found = busy.pcont(*with_patience(busy, line))
        if found.status != status or "another pcont command" in found.err:
            wrong.append((status, line, found))
    assert wrong == []


def test_what_another_command_may_change_is_waited_for(busy: Jobs) -> None:
    for line in LATER:
        err = busy.pcont.fails(5, *with_patience(busy, line))
        assert "another pcont command is at work" in err
        assert "pcont move jobs:/a jobs:/b" in err


def test_the_first_look_changes_nothing_and_says_nothing(busy: Jobs) -> None:
    found = busy.pcont(*with_patience(busy, "create {jobs}:/b"))
    assert len(found.err.splitlines()) <= 3
    assert found.out == ""
    assert busy.at("/b") not in busy.pcont.ok("tree", busy.at("/"))
