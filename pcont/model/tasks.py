"""The tasks of a model: real tasks of this machine, and simulated ones."""

from __future__ import annotations

import contextlib
from errno import EAGAIN
from typing import TYPE_CHECKING

from pcont.kernel.refusals import refuse
from pcont.kernel.types import PID_MAX, PID_MAX_LIMIT, Task
from pcont.linux.proc import Proc, no_task
from pcont.linux.procfs import CpuTime

if TYPE_CHECKING:
    from pcont.kernel.interfaces import ProcessTree

FIRST_SIMULATED_ID = 5_000_000  # no real task has such an id: it is above PID_MAX_LIMIT
INIT = 1  # the parent of orphans
NO_CPU_TIME = CpuTime(0, 0, 0)


class SimulatedTask:
    """A task that exists in the model only.

    `pid`: its process. `parent`: the process that forked it, which may have exited. `uid`: the
    owner. `zombie`: it is the first thread of a process, has exited, and was not yet waited for.
    """

    __slots__ = ("name", "parent", "pid", "uid", "zombie")

    def __init__(self, pid: int, parent: int, name: str, uid: int, zombie: bool = False) -> None:
        self.pid, self.parent, self.name, self.uid = pid, parent, name, uid
        self.zombie = zombie


class TaskTable:
    """All tasks: real ones, read from /proc, and simulated ones, whose ids are never reused.

    `waited`: every process that exits is waited for at once; otherwise it remains as a zombie.
    """

    def __init__(self, proc: Proc) -> None:
        self.proc = proc
        self.waited = True
        self.simulated: dict[int, SimulatedTask] = {}
        self.threads_of: dict[int, set[int]] = {}  # only of processes with more than one
        self.next_id = FIRST_SIMULATED_ID

    def is_simulated(self, task: int) -> bool:
        """Return whether a task is simulated. Raises ProcessLookupError for a simulated task that
        has ended.
        """
        if task >= FIRST_SIMULATED_ID and task not in self.simulated:
            raise no_task(task)
        return task >= FIRST_SIMULATED_ID

    # What /proc says of a task

    def task(self, task: int) -> Task:
        """Return a task. Raises ProcessLookupError if there is none."""
        if task < FIRST_SIMULATED_ID:
            return self.proc.task(task)
        one = self.simulated.get(task)
        if one is None:
            raise no_task(task)
        parent = one.parent if self._lives(one.parent) else INIT
        state = "Z" if one.zombie else "S"
        threads = len(self.threads_of.get(one.pid, (one.pid,)))
        return Task(task, one.pid, parent, one.name, state, False, False, 0, False, threads)

    def _lives(self, pid: int) -> bool:
        one = self.simulated.get(pid)
        return (one is not None and not one.zombie) or pid in self.threads_of

    def is_zombie(self, task: int) -> bool:
        """Return whether a task is a simulated zombie."""
        one = self.simulated.get(task)
        return one is not None and one.zombie

    def has_ended(self, task: int) -> bool:
        """Return whether a simulated or real task is a zombie.

        Only the first thread of a process can be one; it remains until all other threads have
        exited.
        """
        if task in self.simulated:
            return self.simulated[task].zombie
        with contextlib.suppress(ProcessLookupError):
            return not self.is_simulated(task) and self.proc.task(task).state == "Z"
        return False

    def threads(self, pid: int) -> list[int]:
        """Return the thread ids of the task's process. Raises ProcessLookupError if there
        is none.
        """
        if not self.is_simulated(pid):
            return self.proc.threads(pid)
        return sorted(self.threads_of.get(self.simulated[pid].pid, {pid}))

    def processes(self) -> list[int]:
        """Return one task of every process."""
        return [
            *self.proc.processes(),
            *{one.pid: id for id, one in self.simulated.items()}.values(),
        ]

    def owners(self, task: int) -> set[int]:
        """Return the real and the saved user id of a task."""
        if self.is_simulated(task):
            return {self.simulated[task].uid}
        return self.proc.owners(task)

    def parents(self) -> dict[int, int]:
        """Return the parent id of every simulated process."""
        return {one.pid: self.task(id).parent for id, one in self.simulated.items()}

    def cpu_time(self, task: int) -> CpuTime:
        """Return the CPU time of a real task in nanoseconds; 0 for a simulated one."""
        return NO_CPU_TIME if self.is_simulated(task) else self.proc.cpu_time(task)

    def family(self, pid: int) -> contextlib.AbstractContextManager[ProcessTree]:
        """Track a process and its descendants while the context is open."""
        if self.is_simulated(pid):
            return contextlib.nullcontext(SimulatedTree(self, pid))
        from pcont.linux import proc_events

        return contextlib.closing(proc_events.EventedTree(self.proc, pid))

    # Simulated tasks

    def process(self, parent: int, name: str, uid: int) -> int:
        """Add a simulated process; returns its id. `uid`: its owner. Raises OSError (EAGAIN) if
        all ids are in use.
        """
        return self._add(SimulatedTask(self.next_id, parent, name, uid))

    def thread(self, of: int) -> int:
        """Add a thread to a simulated process; returns its id."""
        one = self.simulated[of]
        task = self._add(SimulatedTask(one.pid, one.parent, one.name, one.uid))
        self.threads_of.setdefault(one.pid, {one.pid}).add(task)
        return task

    def _add(self, one: SimulatedTask) -> int:
        if len(self.simulated) >= PID_MAX_LIMIT:
            refuse(EAGAIN, PID_MAX)  # as copy_process(), if alloc_pid() finds no free id
        id, self.next_id = self.next_id, self.next_id + 1
        self.simulated[id] = one
        return id

    def end(self, task: int) -> None:
        """End a thread. The first thread of a process remains as a zombie until it is removed."""
        one = self.simulated[task]
        if one.pid == task:
            one.zombie = True
            return
        self.remove(task)
        rest = self.threads_of[one.pid] - {task}
        if rest == {one.pid}:
            del self.threads_of[one.pid]
        else:
            self.threads_of[one.pid] = rest

    def zombies(self) -> list[int]:
        """Return the simulated first threads that have exited, and were not yet waited for."""
        return [task for task, one in self.simulated.items() if one.zombie]

    def is_over(self, pid: int) -> bool:
        """Return whether all threads of a process have exited, so that it can be waited for."""
        return self.is_zombie(pid) and pid not in self.threads_of

    def remove(self, task: int) -> None:
        """Remove a simulated task."""
        del self.simulated[task]


class SimulatedTree:
    """A simulated process and its descendants. No task forks while they are listed."""

    __slots__ = ("_pid", "_tasks", "adopted", "complete")

    def __init__(self, tasks: TaskTable, pid: int) -> None:
        self._tasks, self._pid = tasks, pid
        self.complete = True
        self.adopted: set[int] = set()

    def __call__(self, thorough: bool = False) -> set[int]:
        """Return the ids of the process and its descendants; `thorough` makes no difference."""
        children: dict[int, list[int]] = {}
        for child, parent in self._tasks.parents().items():
            children.setdefault(parent, []).append(child)
        found, waiting = set[int](), [self._pid]
        while waiting:
            pid = waiting.pop()
            found.add(pid)
            waiting += children.get(pid, [])
        return found
