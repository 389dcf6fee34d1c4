"""stat, and cpuacct.load: the CPU time that a container uses, and its load.

The patch set announced cpuacct.load, which no kernel has (patch semantics, 3): the percentage of
one CPU that is used in a window of time.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pcont import signals, subsys
from pcont.errors import NotFound, from_oserror
from pcont.hierarchy.presence import required, where_to_find
from pcont.kernel.types import Place, Tree
from pcont.ops import numbers
from pcont.records import CpuRow, Value
from pcont.session import Session

if TYPE_CHECKING:
    from pcont.kernel.interfaces import ContainerReader

_BEAT = 0.1  # seconds between two calls of signals.beat

# By CPU: nanoseconds in user space, and in the kernel. cgroup v2 has the sum alone, under None.
Sample = dict["int | None", tuple[int, int]]


def stat(session: Session, place: str, window: float = 0.0) -> list[CpuRow]:
    """Return the CPU time used by a container and those below it: in all and, on cgroup v1, by CPU.

    With a `window` of some seconds it waits for that time, and measures the load in it; without, it
    returns at once, and the load is None. Raises NotFound if the hierarchy has no cpuacct.
    """
    window = numbers.seconds(window, "window")
    container = required(session.backend, session.registry().place(place))
    members = zip(container.hierarchy.members, container.places, strict=True)
    there = next((place for one, place in members if _has_time(one.tree)), None)
    if there is None:
        one = container.hierarchy
        raise NotFound(f"{one.name} has no cpuacct", hint=where_to_find(one, "cpuacct"))
    try:
        before, began = _sample(session.backend, there), time.monotonic()
        _wait(window)
        after, passed = _sample(session.backend, there), time.monotonic() - began
    except OSError as err:
        raise from_oserror(err, f"read the usage of {container.name}") from err
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

    Returns "unknown" if another program resets the counter in that time. Raises NotFound like
    `stat`.
    """
    window = numbers.seconds(window, "window", above_zero=True)
    found = stat(session, place, window)[0].load
    return Value(subsys.CPUACCT_LOAD, "unknown" if found is None else found)


def _sample(backend: ContainerReader, place: Place) -> Sample:
    if place.is_unified:
        lines = backend.read(place, "cpu.stat").splitlines()
        found = {name: int(number) for name, number in map(str.split, lines)}
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
