"""stat, and cpuacct.load: the CPU time that a container uses, its load, and what happened at its
limits of memory.

The patch set announced cpuacct.load, which no kernel has (patch semantics, 3): the percentage of
one CPU that is used in a window of time.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pcont import signals, subsys
from pcont.errors import NotFound, from_oserror
from pcont.hierarchy.container import Container
from pcont.hierarchy.presence import required, where_to_find
from pcont.kernel.refusals import vanishing
from pcont.kernel.types import Place, Tree
from pcont.ops import numbers
from pcont.records import CpuRow, UsageRow, Value
from pcont.session import Session

if TYPE_CHECKING:
    from pcont.kernel.interfaces import ContainerReader

_MEMORY_EVENTS, _OOM_CONTROL, _FAILCNT = "memory.events", "memory.oom_control", "memory.failcnt"
_BEAT = 0.1  # seconds between two calls of signals.beat

# By CPU: nanoseconds in user space, and in the kernel. cgroup v2 has the sum alone, under None.
Sample = dict["int | None", tuple[int, int]]
# The fields of a CpuRow.
_Time = tuple["int | None", "float | None", "int | None", "int | None", "int | None"]


def stat(session: Session, place: str, window: float = 0.0) -> list[CpuRow | UsageRow]:
    """Return the CPU time used by a container and those below it: in all and, on cgroup v1, by CPU.
    If the container has memory, the first row also has what happened at limits of memory.

    With a `window` of some seconds it waits for that time, and measures the load in it; without, it
    returns at once, and the load is None. Raises NotFound if the hierarchy has neither cpuacct nor
    memory.
    """
    window = numbers.seconds(window, "window")
    container = required(session.backend, session.registry().place(place))
    there = _place_with_time(container)
    if there is None and not any("memory" in one.controllers for one in container.places):
        raise _without_cpuacct(container)
    with _reading(container):
        rows = [] if there is None else _rows(session.backend, there, window)
        events = _memory_events(session.backend, container)
    if events is None:
        return [*rows]
    total: _Time = rows[0] if rows else (None, None, None, None, None)
    return [UsageRow(*total, *events), *rows[1:]]


@contextlib.contextmanager
def _reading(container: Container) -> Iterator[None]:
    """Raise PcontError for an OSError of the block, which reads the usage of a container."""
    try:
        yield
    except OSError as err:
        raise from_oserror(err, f"read the usage of {container.name}") from err


def _place_with_time(container: Container) -> Place | None:
    members = zip(container.hierarchy.members, container.places, strict=True)
    return next((place for one, place in members if _has_time(one.tree)), None)


def _without_cpuacct(container: Container) -> NotFound:
    one = container.hierarchy
    return NotFound(f"{one.name} has no cpuacct", hint=where_to_find(one, "cpuacct"))


def _rows(backend: ContainerReader, place: Place, window: float) -> list[CpuRow]:
    before, began = _sample(backend, place), time.monotonic()
    _wait(window)
    after, passed = _sample(backend, place), time.monotonic() - began
    nanoseconds = passed * 1e9 if window else 0.0
    cpus = sorted(cpu for cpu in after if cpu is not None)
    rows = [_row(cpu, before[cpu], after[cpu], nanoseconds) for cpu in cpus]
    return [_row(None, _sum(before), _sum(after), nanoseconds), *rows]


def _has_time(tree: Tree) -> bool:
    """Return whether the containers of a tree have the CPU time that was used in them: on cgroup
    v2, each has it in `cpu.stat`.
    """
    return tree.is_unified or "cpuacct" in tree.controllers


def _wait(seconds: float) -> None:
    end = time.monotonic() + seconds
    while (rest := end - time.monotonic()) > 0:
        signals.beat()
        time.sleep(min(_BEAT, rest))


def cpu_load(session: Session, place: str, window: float) -> Value:
    """Measure the key cpuacct.load for the next `window` seconds.

    Returns "unknown" if another program resets the counter in that time. Raises NotFound if the
    hierarchy has no cpuacct.
    """
    window = numbers.seconds(window, "window", above_zero=True)
    container = required(session.backend, session.registry().place(place))
    there = _place_with_time(container)
    if there is None:
        raise _without_cpuacct(container)
    with _reading(container):
        found = _rows(session.backend, there, window)[0].load
    return Value(subsys.CPUACCT_LOAD, "unknown" if found is None else found)


def _sample(backend: ContainerReader, place: Place) -> Sample:
    if place.is_unified:
        found = _numbers(backend.read(place, "cpu.stat"))
        return {None: (found["user_usec"] * 1000, found["system_usec"] * 1000)}
    lines = backend.read(place, "cpuacct.usage_all").splitlines()[1:]
    rows = [list(map(int, line.split())) for line in lines]
    return {cpu: (user, system) for cpu, user, system in rows}


def _sum(sample: Sample) -> tuple[int, int]:
    return sum(user for user, _ in sample.values()), sum(system for _, system in sample.values())


def _row(
    cpu: int | None, before: tuple[int, int], after: tuple[int, int], nanoseconds: float
) -> CpuRow:
    used = sum(after) - sum(before)
    # Another program may have reset the counter.
    load = round(100 * used / nanoseconds, 1) if nanoseconds and used >= 0 else None
    return CpuRow(cpu, load, sum(after), *after)


# Memory


_Events = tuple[int, "int | None", int]  # max, oom and oom_kill


def _memory_events(backend: ContainerReader, container: Container) -> _Events | None:
    """Return what happened at limits of memory; None if the container does not have memory."""
    for place in container.places:
        if "memory" in place.controllers:
            with contextlib.suppress(FileNotFoundError):  # the root of cgroup v2 has no such file
                return _events(backend, place) if place.is_unified else _sum_of_v1(backend, place)
    return None


def _events(backend: ContainerReader, place: Place) -> _Events:
    """Return what cgroup v2 counts for a container and those below it, removed ones as well."""
    found = _numbers(backend.read(place, _MEMORY_EVENTS))
    return found["max"], found["oom"], found["oom_kill"]


def _sum_of_v1(backend: ContainerReader, top: Place) -> _Events:
    """Add up what cgroup v1 counts for each container itself."""
    reached, killed, waiting = 0, 0, [top]
    while waiting:
        place = waiting.pop()
        with contextlib.nullcontext() if place is top else vanishing():
            waiting += [place.child(name) for name in backend.children(place)]
            reached += int(backend.read(place, _FAILCNT))
            # Before Linux 4.13, the kernel does not count them.
            killed += _numbers(backend.read(place, _OOM_CONTROL)).get("oom_kill", 0)
    return reached, None, killed


def _numbers(text: str) -> dict[str, int]:
    """Return the numbers of lines with a name and a number."""
    return {name: int(number) for name, number in map(str.split, text.splitlines())}
