"""sim: simulate tasks, and another machine, on the model only."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from errno import EAGAIN, EMFILE, EOPNOTSUPP
from typing import TYPE_CHECKING

from pcont import signals
from pcont.errors import BadValue, LimitReached, PcontError, Unsupported, UsageProblem, from_oserror
from pcont.kernel.types import PID_MAX_LIMIT, Task
from pcont.ops import numbers
from pcont.ops.mount_request import mountpoint
from pcont.ops.named import named
from pcont.ops.task_ids import TaskIds
from pcont.records import Notified, Value
from pcont.session import Session
from pcont.steps import explain
from pcont.steps.tasks import live_thread
from pcont.values import ID_LIST, Ids

if TYPE_CHECKING:
    from pcont.kernel.interfaces import Simulator

SECOND = 1_000_000_000
LONGEST = (1 << 64) // SECOND  # seconds: the kernel counts nanoseconds in 64 bits
_INIT = 1  # the parent of a task that is started without one
NR_OPEN = 1 << 20  # fs.nr_open: no process has more open files


def fork(
    session: Session,
    task: int | None = None,
    *,
    count: int = 1,
    name: str = "simulated",
    uid: int | None = None,
) -> list[int]:
    """Fork children of a simulated task, one after another; without a task, start processes.

    Returns their ids. Raises LimitReached at a limit, and if a signal interrupts it, Interrupted;
    tasks that were forked before remain. A `count` that no kernel allows forks nothing.
    """
    _check_tasks("fork", count)
    if uid is not None:
        uid = numbers.whole(uid, "uid", 0, numbers.LAST_UID)
    with _simulating(session) as simulator:
        if task is None:
            return _several(session, _INIT, "fork", lambda _: simulator.spawn(name, uid), count)
        return _several(session, task, "fork", simulator.fork, count)


def thread(session: Session, task: int, *, count: int = 1) -> list[int]:
    """Start threads of a simulated process; returns their ids. Raises LimitReached like fork."""
    _check_tasks("start threads", count)
    with _simulating(session) as simulator:
        return _several(session, task, "start a thread", simulator.thread, count)


def _several(
    session: Session, task: int, action: str, begin: Callable[[int], int], count: int
) -> list[int]:
    begun: list[int] = []
    while len(begun) < count:
        signals.check()
        sofar = f" (after {len(begun)} of {count})" if begun else ""
        with _acting(session, task, action + sofar):
            begun.append(begin(task))
    return begun


def _check_tasks(action: str, count: int) -> None:
    """Raise LimitReached for more tasks than any kernel has ids for."""
    if numbers.whole(count, "count", 1, sys.maxsize) > PID_MAX_LIMIT:
        reason = f"a kernel has ids for at most {PID_MAX_LIMIT} tasks"
        raise _refusal(EAGAIN, f"{action} {count} times", reason)


def _refusal(errno: int, action: str, reason: str) -> PcontError:
    return from_oserror(OSError(errno, reason), action, reason, kinds={errno: LimitReached})


def unshare_task(session: Session, task: int, subsystem: str) -> str:
    """Give a simulated task its own container where a subsystem is bound (container_clone()).

    Returns the path; empty if the subsystem is not bound, and in dialect v1, whose kernels make no
    container. Raises Busy if the container exists already.
    """
    with _simulating(session) as simulator, _acting(session, task, "unshare"):
        return simulator.container_clone(subsystem, task)


def exit(session: Session, tasks: Sequence[int] | TaskIds, *, thread: bool = False) -> list[int]:
    """End simulated processes with all their threads, or with `thread` only these tasks.

    Returns their ids. If the first thread of a process has ended, another thread ends all.
    """
    with _simulating(session) as simulator:
        ids = TaskIds.of(tasks)
        found = [*ids.given, *(one.id for one in _beyond(session, ids, thread))]
        for task in found:
            acting = None if thread else live_thread(session.backend, task)
            with _acting(session, task, "exit"):
                simulator.exit(acting.id if acting else task, thread)
        return found


def _beyond(session: Session, ids: TaskIds, thread: bool) -> list[Task]:
    """Return the live tasks of ranges and of a list."""
    others = ids._replace(given=())
    return named(session, others, thread) if others != TaskIds() else []


def work(
    session: Session, task: int, user: float, *, system: float = 0, cpu: int | None = None
) -> None:
    """Charge CPU time to a simulated task.

    Raises BadValue for a CPU that it may not use, UsageProblem for a time that is no number,
    negative, or longer than the kernel's counters.
    """
    times = _nanoseconds(user, "seconds"), _nanoseconds(system, "system")
    if cpu is not None:
        cpu = numbers.whole(cpu, "cpu", 0, numbers.LAST_CPU)
    with _simulating(session) as simulator, _acting(session, task, "work"):
        simulator.work(task, *times, cpu)


def _nanoseconds(seconds: float, label: str) -> int:
    found = numbers.seconds(seconds, label)
    if found >= LONGEST:
        raise UsageProblem(f"{label} is less than {LONGEST:g} seconds, and not {found:g}")
    return round(found * SECOND)


def open_files(session: Session, task: int, *, count: int = 1) -> list[int]:
    """Open files in a simulated process, one after another; returns their numbers.

    Raises LimitReached if its container may have no more; files that were opened before stay open.
    A `count` that no process can have opens none.
    """
    if numbers.whole(count, "count", 1, sys.maxsize) > NR_OPEN:
        reason = f"a process has at most {NR_OPEN} open files"
        raise _refusal(EMFILE, f"open {count} files", reason)
    with _simulating(session) as simulator:
        return _several(session, task, "open a file", simulator.open_one, count)


def close_files(session: Session, task: int, files: Iterable[int]) -> None:
    """Close files in a simulated process; raises NotFound for one that it does not hold."""
    with _simulating(session) as simulator:
        for file in files:
            with _acting(session, task, f"close {file}"):
                simulator.close_one(task, file)


def mount_cpuset(session: Session, point: str) -> str:
    """Mount the file system type cpuset, with bare names; returns the mount point.

    Raises Busy if cpuset is bound with others, UsageProblem for a relative directory.
    """
    point = mountpoint(session.backend, [point])
    with _simulating(session) as simulator:
        where = session.backend.resolve(point)
        try:
            for directory in session.backend.missing(where):
                session.backend.make_directory(directory)
            simulator.mount_cpuset(where)
        except OSError as err:
            raise from_oserror(err, f"mount cpuset at {where}") from err
        return where


def parameters(session: Session, words: Iterable[str]) -> list[Value]:
    """Return or set parameters of the machine: NAME or NAME=VALUE; without words, return all.

    Raises NotFound for a parameter that this kernel lacks, BadValue for a refused value.
    """
    with _simulating(session) as simulator:
        found = []
        for word in list(words) or simulator.parameters:
            name, equals, text = word.partition("=")
            try:
                value = simulator.module(name, text if equals else None)
            except OSError as err:
                raise from_oserror(err, f"set {word}" if equals else f"read {name}") from err
            found.append(Value(name, int(value)))
        return found


def notified(session: Session) -> list[Notified]:
    """Return the release agents that would have been run so far, in their order."""
    with _simulating(session) as simulator:
        return [Notified(agent, path) for agent, path in simulator.notified]


def proc(session: Session, file: str) -> str:
    """Return a file of /proc about hierarchies. Raises NotFound for any other file."""
    with _simulating(session) as simulator:
        try:
            return simulator.proc_file(file)
        except OSError as err:
            raise from_oserror(err, f"read /proc/{file}") from err


def machine(session: Session, *, cpus: str = "", nodes: str = "") -> list[Value]:
    """Return the CPUs and memory nodes that are online, after setting those that are given."""
    with _simulating(session) as simulator:
        now = session.backend.machine()
        if cpus or nodes:
            wanted = _ids("CPUs", cpus, now.cpus), _ids("nodes", nodes, now.nodes)
            simulator.plug(*wanted)
            now = session.backend.machine()
        return [Value("cpus", ID_LIST.show(now.cpus)), Value("nodes", ID_LIST.show(now.nodes))]


def _ids(label: str, text: str, now: Ids) -> Ids:
    try:
        found: Ids = ID_LIST.parse(text) if text else now
    except (ValueError, OverflowError) as err:
        raise BadValue(f"{label}: {err}") from err
    if not found:
        raise BadValue(f"{label}: a machine needs at least one")
    return found


@contextmanager
def _simulating(session: Session) -> Iterator[Simulator]:
    """Hold the lock, and yield the simulator; raises Unsupported on a real kernel."""
    try:
        simulator = session.backend.simulated()
    except OSError as err:
        if err.errno != EOPNOTSUPP:
            raise
        raise Unsupported(
            "tasks and machines are simulated on the model only, and this is the kernel",
            errno=err.errno,
            hint="use the model: pcont --backend model sim fork",
        ) from err
    with session.exclusive():
        yield simulator


@contextmanager
def _acting(session: Session, task: int, action: str) -> Iterator[None]:
    try:
        yield
    except OSError as err:
        raise explain.act_refusal(session.backend, task, err, f"make task {task} {action}") from err
