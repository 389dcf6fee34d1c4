"""Real tasks that carry out commands, on the other side of a walk (far.c)."""

from __future__ import annotations

import contextlib
import errno
import os
import signal

from pcont.linux.proc import Proc
from tests.differential.far import Far
from tests.waiting import eventually

SLOTS = 64
PATIENCE = 20.0  # seconds, for a task to end


class Silent(Exception):
    """An actor does not answer: it is frozen, or has ended."""


class Actors:
    """Tasks by their ids, all descendants of `first`, which is to stay where it is.

    Orphans come to the far end itself, and are zombies until they are reaped.
    """

    def __init__(self, far: Far) -> None:
        self._proc = Proc()
        self._far = far
        self.first = far.first()
        self._slots = {self.first: 0}
        self._pids = {self.first: self.first}

    def fork(self, task: int) -> int:
        """A child of a task; OSError where the kernel refuses the fork."""
        slot = self._free()
        child = self._ask(task, "f", slot)
        self._slots[child], self._pids[child] = slot, child
        return child

    def thread(self, task: int) -> int:
        """One more thread of its process."""
        slot = self._free()
        thread = self._ask(task, "t", slot)
        self._slots[thread], self._pids[thread] = slot, self._pids[task]
        return thread

    def exit(self, task: int, thread: bool) -> None:
        """End the task, or its whole process; a zombie may remain.

        Threads that are frozen stay until they are thawed.
        """
        self._far.tell(self._slots[task], "e" if thread else "g", 0)
        if not eventually(lambda: not self.alive(task), PATIENCE):
            raise Silent(f"task {task} got the order to end")

    def alive(self, task: int) -> bool:
        """Whether it is there, and no zombie."""
        with contextlib.suppress(ProcessLookupError):
            return not self._proc.task(task).exited
        return False

    def reap(self, pid: int, by: int) -> None:
        """A zombie is waited for by a task of its parent; by the far end if it is an orphan."""
        if self._proc.task(pid).parent != self._far.pid:
            self._ask(by, "w", pid)
        elif not self._far.waitpid(pid):
            raise OSError(errno.ECHILD, os.strerror(errno.ECHILD), str(pid))

    def close(self) -> None:
        """End them all; a frozen one must have been thawed before."""
        for task in list(self._slots):
            with contextlib.suppress(ProcessLookupError):
                self._far.kill(task, signal.SIGKILL)
        for pid in set(self._pids.values()):
            if not eventually(lambda pid=pid: self._is_reaped(pid), PATIENCE):  # type: ignore[misc]
                raise Silent(f"task {pid} was killed")

    def _is_reaped(self, pid: int) -> bool:
        try:
            return bool(self._far.waitpid(pid))
        except ChildProcessError:
            return True

    def _free(self) -> int:
        self._slots = {task: slot for task, slot in self._slots.items() if self.alive(task)}
        return min(set(range(SLOTS)) - set(self._slots.values()))

    def _ask(self, task: int, action: str, about: int) -> int:
        self._far.tell(self._slots[task], action, about)
        try:
            return self._far.heard()
        except TimeoutError as err:
            raise Silent(f"task {task} got the order {action!r}") from err
