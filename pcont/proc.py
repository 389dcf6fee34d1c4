"""The tasks of this machine, read from /proc; an id without a task is ESRCH."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass

from pcont import procfs
from pcont.backend import Task


@dataclass(frozen=True)
class Proc:
    """/proc, or a copy of it."""

    root: str = "/proc"

    def text(self, file: str) -> str:
        """The whole of a file."""
        with open(f"{self.root}/{file}", encoding="utf-8", errors="surrogateescape") as stream:
            return stream.read()

    def of(self, task: int, file: str) -> str:
        """The whole of a task's file."""
        try:
            return self.text(f"{task}/{file}")
        except (FileNotFoundError, ProcessLookupError) as err:
            raise no_task(task) from err

    def task(self, task: int) -> Task:
        """What is known of it."""
        pid = next(
            int(line.split()[1])
            for line in self.of(task, "status").splitlines()
            if line.startswith("Tgid:")
        )
        return procfs.task(self.of(task, "stat"), pid)

    def threads(self, pid: int) -> list[int]:
        """The threads of the process that it belongs to."""
        try:
            return sorted(int(name) for name in os.listdir(f"{self.root}/{pid}/task"))
        except FileNotFoundError as err:
            raise no_task(pid) from err

    def processes(self) -> list[int]:
        """The processes that can be seen."""
        return [int(name) for name in os.listdir(self.root) if name.isdigit()]

    def cpu_time(self, task: int) -> procfs.CpuTime:
        """How long it has run, in nanoseconds."""
        return procfs.cpu_time(self.of(task, "stat"), os.sysconf("SC_CLK_TCK"))


def no_task(task: int) -> ProcessLookupError:
    """There is no such task."""
    return ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH), str(task))
