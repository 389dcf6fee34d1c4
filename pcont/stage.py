"""Who there is for a model: the live tasks of this machine, and tasks that are only played."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field

from pcont import family
from pcont.backend import Family, Task
from pcont.proc import Proc, no_task
from pcont.procfs import CpuTime

FIRST = 5_000_000  # no kernel gives such an id to anybody: PID_MAX_LIMIT is 4,194,304
INIT = 1  # whose children orphans become
IDLE = CpuTime(0, 0, 0)


@dataclass(slots=True)
class Played:
    """A task that does not exist. `parent` may have ended; `uid` is the owner."""

    pid: int
    parent: int
    name: str
    uid: int


class Stage:
    """Live tasks, read from /proc, and played ones, each of which has an id of its own for good."""

    def __init__(self, proc: Proc) -> None:
        self.proc = proc
        self.played: dict[int, Played] = {}
        self.threads_of: dict[int, set[int]] = {}  # only of processes with more than one
        self.next_id = FIRST

    def is_played(self, task: int) -> bool:
        """Whether the task is a played one; ESRCH for an id that is nobody's any more."""
        if task >= FIRST and task not in self.played:
            raise no_task(task)
        return task >= FIRST

    # What /proc says of a task

    def task(self, task: int) -> Task:
        """What is known of it; ESRCH where there is none."""
        if not self.is_played(task):
            return self.proc.task(task)
        one = self.played[task]
        parent = one.parent if self.process_lives(one.parent) else INIT
        return Task(task, one.pid, parent, one.name, "S", kernel=False, fixed=False, start=0)

    def threads(self, pid: int) -> list[int]:
        """The threads of the process that it belongs to; ESRCH where there is none."""
        if not self.is_played(pid):
            return self.proc.threads(pid)
        return sorted(self.threads_of.get(self.played[pid].pid, {pid}))

    def processes(self) -> list[int]:
        """A task of every process."""
        return [*self.proc.processes(), *{one.pid: id for id, one in self.played.items()}.values()]

    def process_lives(self, pid: int) -> bool:
        """Whether a played process has a thread left."""
        return pid in self.played or pid in self.threads_of

    def owners(self, task: int) -> set[int]:
        """The user ids by which its owner is known: the real one and the saved one."""
        if self.is_played(task):
            return {self.played[task].uid}
        return self.proc.owners(task)

    def parents(self) -> dict[int, int]:
        """The parent of every process that is played."""
        return {one.pid: self.task(id).parent for id, one in self.played.items()}

    def cpu_time(self, task: int) -> CpuTime:
        """How long it has run; a played one runs when it is told to, and is charged at once."""
        return IDLE if self.is_played(task) else self.proc.cpu_time(task)

    def family(self, pid: int) -> contextlib.AbstractContextManager[Family]:
        """A process with all that descends from it."""
        if self.is_played(pid):
            return contextlib.nullcontext(PlayedFamily(self, pid))
        return contextlib.closing(family.Family(self.proc, pid))

    # Who is played

    def process(self, parent: int, name: str, uid: int) -> int:
        """A new process; its id."""
        return self._add(Played(self.next_id, parent, name, uid))

    def thread(self, of: int) -> int:
        """One more thread of a played process; its id."""
        one = self.played[of]
        self.threads_of.setdefault(one.pid, {of}).add(self.next_id)
        return self._add(Played(one.pid, one.parent, one.name, one.uid))

    def restore(self, played: dict[int, Played]) -> None:
        """These are played, and nobody else."""
        self.played, self.threads_of = played, {}
        for id, one in played.items():
            if id != one.pid:
                leader = {one.pid} & played.keys()
                self.threads_of.setdefault(one.pid, leader).add(id)

    def _add(self, one: Played) -> int:
        id, self.next_id = self.next_id, self.next_id + 1
        self.played[id] = one
        return id

    def remove(self, task: int) -> None:
        """A played task is no more."""
        leader = self.played.pop(task).pid
        rest = self.threads_of.get(leader, {leader}) - {task}
        if rest <= {leader}:
            self.threads_of.pop(leader, None)
        else:
            self.threads_of[leader] = rest


@dataclass
class PlayedFamily:
    """The processes that descend from a played one: nothing is played while somebody looks."""

    stage: Stage
    pid: int
    complete: bool = True
    adopted: set[int] = field(default_factory=set)

    def __call__(self, thorough: bool = False) -> set[int]:
        """Those that are there now."""
        children: dict[int, list[int]] = {}
        for child, parent in self.stage.parents().items():
            children.setdefault(parent, []).append(child)
        found, waiting = set[int](), [self.pid]
        while waiting:
            pid = waiting.pop()
            found.add(pid)
            waiting += children.get(pid, [])
        return found
