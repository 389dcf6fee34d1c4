"""Real tasks that do what they are told (actors.c)."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import select
import signal
import struct
import subprocess
from pathlib import Path

from pcont.proc import Proc
from tests import loads
from tests.walks.resting import rests

SOURCE = Path(__file__).parent / "actors.c"
SLOTS = 64
ANSWER, ORDER = struct.Struct("=i"), struct.Struct("=ii")
PATIENCE = 60.0
PR_SET_CHILD_SUBREAPER = 36


class Silent(Exception):
    """An actor does not answer: it stands still, or is no more."""


class Actors:
    """Tasks by their ids, all descendants of `first`, which is to stay where it is.

    Orphans come to this process, and are zombies until they are reaped.
    """

    def __init__(self) -> None:
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self._proc = Proc()
        self._answers, answers = os.pipe()
        pipes = [os.pipe() for _ in range(SLOTS)]
        self._orders = [order for _, order in pipes]
        taken = [answers, *(there for there, _ in pipes)]
        command = [str(loads.built(SOURCE)), *map(str, taken)]
        self._process = subprocess.Popen(command, pass_fds=taken)
        for descriptor in taken:
            os.close(descriptor)
        self.first = self._process.pid
        self._slots = {self.first: 0}
        self._pids = {self.first: self.first}

    def fork(self, task: int) -> int:
        """A child of a task; OSError where the kernel refuses the fork."""
        slot = self._free()
        child = self._ask(task, b"f", slot)
        self._slots[child], self._pids[child] = slot, child
        return child

    def thread(self, task: int) -> int:
        """One more thread of its process."""
        slot = self._free()
        thread = self._ask(task, b"t", slot)
        self._slots[thread], self._pids[thread] = slot, self._pids[task]
        return thread

    def exit(self, task: int, thread: bool) -> None:
        """It ends, alone or with its process; what is left of it may be a zombie.

        Threads that are frozen stay until they are thawed.
        """
        self._tell(task, b"e" if thread else b"g", 0)
        if not rests(lambda: not self.alive(task)):
            raise Silent(f"task {task} was told to end")

    def alive(self, task: int) -> bool:
        """Whether it is there, and no zombie."""
        with contextlib.suppress(ProcessLookupError):
            return not self._proc.task(task).gone
        return False

    def reap(self, pid: int, by: int) -> None:
        """A zombie is waited for by a task of its parent; by this process if it is an orphan."""
        if self._proc.task(pid).parent == os.getpid():
            if os.waitpid(pid, os.WNOHANG) == (0, 0):
                raise OSError(errno.ECHILD, os.strerror(errno.ECHILD), str(pid))
        else:
            self._ask(by, b"w", pid)

    def close(self) -> None:
        """End them all; who is frozen must have been thawed before."""
        for task in list(self._slots):
            with contextlib.suppress(ProcessLookupError):
                os.kill(task, signal.SIGKILL)
        self._process.wait(PATIENCE)
        self._reap_all()
        for descriptor in (self._answers, *self._orders):
            os.close(descriptor)

    def _reap_all(self) -> None:
        pids = set(self._pids.values()) - {self.first}
        for pid in pids:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)

    def _free(self) -> int:
        self._slots = {task: slot for task, slot in self._slots.items() if self.alive(task)}
        return min(set(range(SLOTS)) - set(self._slots.values()))

    def _tell(self, task: int, what: bytes, about: int) -> None:
        os.write(self._orders[self._slots[task]], ORDER.pack(what[0], about))

    def _ask(self, task: int, what: bytes, about: int) -> int:
        self._tell(task, what, about)
        if not select.select([self._answers], [], [], PATIENCE)[0]:
            raise Silent(f"task {task} was told {what!r}")
        (answer,) = ANSWER.unpack(os.read(self._answers, ANSWER.size))
        if answer < 0:
            raise OSError(-answer, os.strerror(-answer), str(task))
        return int(answer)
