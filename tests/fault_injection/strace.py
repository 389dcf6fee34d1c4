"""pcont under strace: its system calls that change something, and faults injected into each.

What does not go through the backend (the lock, the state of the model, the pipes to a child, what
is printed) is hit, too.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.contract.conftest import Result
from tests.vm.prepare import NotPrepared, install, only_one

CHANGING = (
    *("mkdir", "rmdir", "write", "mount", "umount2", "setxattr", "removexattr", "rename"),
    *("unlink", "chown", "chmod", "sched_setaffinity", "pidfd_send_signal", "bpf", "openat"),
)
# All that a file may be written by, so that it is there after a crash.
DURABLE = (
    *("openat", "write", "writev", "pwrite64", "ftruncate", "truncate", "fallocate"),
    *("link", "linkat", "symlink", "symlinkat", "rename", "renameat", "renameat2"),
    *("mkdir", "mkdirat", "rmdir", "unlink", "unlinkat", "chmod", "fchmod", "fchmodat"),
    *("fsync", "fdatasync", "sync", "syncfs", "sync_file_range"),
)
TO_WRITE = re.compile(r"O_WRONLY|O_RDWR")  # of all that is opened
ERROR, DEATH = "error=EIO", "signal=KILL"
LINE = re.compile(r"(?P<task>\d+) +(?P<name>\w+)\((?P<words>.*)")
PRINTING = re.compile(r"[12]<")  # a file descriptor of its own output, as -y shows it


@dataclass(frozen=True)
class Call:
    """A system call of pcont itself: the number `at` of its name."""

    name: str
    at: int
    words: str

    @property
    def directory(self) -> str:
        """The directory that it is to remove."""
        return self.words.split('"')[1] if self.name == "rmdir" else ""

    @property
    def changes(self) -> bool:
        """Whether it can change something."""
        return self.name != "openat" or TO_WRITE.search(self.words) is not None

    @property
    def shape(self) -> str:
        """What it is about, whatever the ids are this time."""
        return re.sub(r"\d+", "#", self.words.split(")")[0])

    @property
    def prints(self) -> bool:
        """Whether it says something: that may fail after all was done."""
        return self.name == "write" and PRINTING.match(self.words) is not None


def obstacle() -> str:
    """Why strace cannot run here, installed where that is possible; empty where it can."""
    try:
        if not shutil.which("strace"):
            with only_one():
                install(["strace"])
    except NotPrepared as err:
        return str(err)
    result = subprocess.run(["strace", "-qq", "true"], capture_output=True, text=True)
    return f"strace cannot trace: {result.stderr.strip()}" if result.returncode else ""


def traced(
    words: Sequence[str],
    log: Path,
    call: Call | None = None,
    fault: str = "",
    names: Sequence[str] = CHANGING,
) -> Result:
    """Run a command line under strace, with a fault at one of its calls; the log has them all."""
    inject = ["-e", f"inject={call.name}:{fault}:when={call.at}"] if call else []
    # strace 6.1 injects no signals where a seccomp filter picks the calls.
    quick = [] if fault == DEATH else ["--seccomp-bpf"]
    trace = ["-f", *quick, "-qq", "-y", "-o", str(log), "-e", f"trace=execve,{','.join(names)}"]
    found = subprocess.run(
        ["strace", *trace, *inject, sys.executable, "-m", "pcont", *words],
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    return Result(found.returncode, found.stdout, found.stderr)


def calls(log: Path, names: Sequence[str] = CHANGING) -> list[Call]:
    """The calls of the first process in a log; those of the processes that it starts are theirs."""
    lines = [match for line in log.read_text().splitlines() if (match := LINE.match(line))]
    own = [line for line in lines if line["task"] == lines[0]["task"]]
    seen: Counter[str] = Counter()
    found = []
    for line in own:
        seen[line["name"]] += 1
        found.append(Call(line["name"], seen[line["name"]], line["words"]))
    return [call for call in found if call.name in names and call.changes]


def struck(log: Path, call: Call, names: Sequence[str] = CHANGING) -> bool:
    """Whether the fault came, and to this call: how many files are read is not always the same.

    An injected error is marked, a death ends the log.
    """
    text = log.read_text()
    came = "(INJECTED)" in text or "killed by SIGKILL" in text
    return came and any(
        (one.name, one.at, one.shape) == (call.name, call.at, call.shape)
        for one in calls(log, names)
    )
