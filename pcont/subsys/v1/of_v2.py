"""The KEYs of cgroup v2 on cgroup v1: where v1 has the same value, and why it has none.

`FACES` is by subsystem; `subsys.face` asks it for a KEY that no table of v1 has. A KEY is served
only if it means the same.
"""

from __future__ import annotations

from collections.abc import Mapping

from pcont.subsys import blkio, cpu, freezer, hugetlb, memory
from pcont.subsys.cpu_weight import most_shares, weight_of
from pcont.subsys.freezer import FROZEN, STATE, THAWED
from pcont.subsys.v2.core import FREEZE, is_switch
from pcont.subsys.v2.cpu import BANDWIDTHS, CPU_MAX, Bandwidth, a_bandwidth, a_weight_in_range
from pcont.subsys.v2.io import IO_MAX, THROTTLED, has_numbers
from pcont.subsys.v2.values import BYTE_LIMIT, IO_RATES, Devices
from pcont.tables.face import Face, FaceSource, KeyFace, NotServed, Translation, read_only_face
from pcont.values import BYTES, is_unlimited

_Writes = list[tuple[str, str]]


# cpu


def _weight(source: FaceSource) -> str:
    return f"{weight_of(int(source.text(cpu.CPU_SHARES)))}\n"


def _to_shares(text: str, source: FaceSource) -> _Writes:
    return [(cpu.CPU_SHARES, str(most_shares(int(text, 0))))]


def _bandwidth(source: FaceSource) -> Bandwidth:
    quota, period = (int(source.text(file)) for file in (cpu.QUOTA, cpu.PERIOD))
    return Bandwidth(None if quota < 0 else quota, period)


def _to_quota(text: str, source: FaceSource) -> _Writes:
    """Return the writes for a quota and a period. No state between them has more CPU time than both
    the old value and the new one, unless the quota is taken away for that moment.
    """
    now = _bandwidth(source)
    wanted: Bandwidth = BANDWIDTHS.parse(text).over(now)
    quota = (cpu.QUOTA, "-1" if wanted.quota is None else str(wanted.quota))
    period = (cpu.PERIOD, str(wanted.period))
    if wanted.period == now.period:
        return [quota]
    if wanted.quota is None:
        return [quota, period]
    if now.quota is None:
        return [period, quota]
    if (wanted.quota - now.quota) * (wanted.period - now.period) <= 0:
        return [quota, period]
    # Both grow or shrink: parents or children may refuse each of them alone.
    return [(cpu.QUOTA, "-1"), period, quota]


# memory and hugetlb


def _limit(file: str) -> Translation:
    def show(source: FaceSource) -> str:
        limit = int(source.text(file))
        return f"{'max' if is_unlimited(limit) else limit}\n"

    def write(text: str, source: FaceSource) -> _Writes:
        limit: int | None = BYTE_LIMIT.parse(text)
        return [(file, "-1" if limit is None else BYTES.show(limit))]

    return Translation(file, show, write)


def _counter(file: str, reset: str = "") -> Translation:
    """Return the face of a counter. `reset`: the file of cgroup v1 that can be reset."""
    why = f"on cgroup v1, it is {reset} that can be reset" if reset else ""
    return read_only_face(Face(file), why)


def _huge(page: str) -> dict[str, KeyFace]:
    found: dict[str, KeyFace] = {}
    for prefix in (f"hugetlb.{page}.", f"hugetlb.{page}.rsvd."):
        found[f"{prefix}max"] = _limit(f"{prefix}limit_in_bytes")
        found[f"{prefix}current"] = _counter(f"{prefix}usage_in_bytes")
    count = f"hugetlb.{page}.failcnt"
    found[f"hugetlb.{page}.events"] = Translation(count, lambda at: f"max {at.text(count)}")
    found[f"hugetlb.{page}.events.local"] = NotServed(
        "cgroup v1 counts reached limits of huge pages in hugetlb.*.failcnt only"
    )
    return found


# blkio


def _rates(source: FaceSource) -> str:
    """Return the lines of io.max: one for each disk that has a limit."""
    found: Devices = {}
    for word, file in THROTTLED.items():
        for device, number in blkio.RATES.parse(source.text(file)).items():
            found.setdefault(device, dict.fromkeys(THROTTLED))[word] = number
    text = IO_RATES.show(found)
    return f"{text}\n" if text else ""


def _to_rates(text: str, source: FaceSource) -> _Writes:
    wanted: Devices = IO_RATES.parse(text)
    return [
        (THROTTLED[word], f"{device} {number or 0}")
        for device, pairs in wanted.items()
        for word, number in pairs.items()
    ]


# The core, and the freezer


def _frozen(source: FaceSource) -> bool:
    try:
        return source.text(STATE).strip() == FROZEN
    except FileNotFoundError:  # the root, or a hierarchy without freezer
        return False


def _events(source: FaceSource) -> str:
    return f"populated {int(source.populated())}\nfrozen {int(_frozen(source))}\n"


def _freeze(source: FaceSource) -> str:
    return source.text(freezer.SELF)


def _to_state(text: str, source: FaceSource) -> _Writes:
    return [(STATE, FROZEN if int(text, 0) else THAWED)]


_NO_PRESSURE = NotServed(
    "cgroup v1 measures no pressure by container", "cat /proc/pressure/* shows the machine's"
)
_NO_DELEGATION = NotServed(
    "on cgroup v1 a container has the controllers of its hierarchy",
    "which those are: pcont hierarchies",
)
_NO_LIMIT_BELOW = NotServed("cgroup v1 has no limits of the number of containers")
_NO_PROTECTION = NotServed(
    "cgroup v1 has no protected memory; memory.soft_limit_in_bytes means something else"
)
_NO_SWAP = NotServed(
    "cgroup v1 limits memory and swap together, and not swap alone",
    "memory.memsw.limit_in_bytes limits the sum",
)
_NO_ZSWAP = NotServed("cgroup v1 has no limit of compressed swap")
_NO_EVENTS = NotServed(
    "cgroup v1 does not count these events one by one",
    "memory.failcnt and memory.oom_control have some of them",
)
_NO_PARTITION = NotServed(
    "cgroup v1 has no partitions of CPUs",
    "cpuset.cpu_exclusive and cpuset.sched_load_balance are its files",
)
_NO_WEIGHT = NotServed("cgroup v1 has weights of I/O only with bfq", f"{blkio.WEIGHT} is the file")

_CORE: dict[str, KeyFace] = {
    "cgroup.events": Translation("tasks", _events),
    "cgroup.threads": Face("tasks"),
    "cgroup.type": NotServed("cgroup v1 has no types of containers: each takes single threads"),
    "cgroup.controllers": _NO_DELEGATION,
    "cgroup.subtree_control": _NO_DELEGATION,
    "cgroup.max.depth": _NO_LIMIT_BELOW,
    "cgroup.max.descendants": _NO_LIMIT_BELOW,
    "cgroup.stat": NotServed("cgroup v1 does not count the containers below"),
    "cgroup.pressure": _NO_PRESSURE,
    "cgroup.kill": NotServed(
        "cgroup v1 cannot kill all tasks with one write", "rm --kill kills them, and removes it"
    ),
}

FACES: Mapping[str, Mapping[str, KeyFace]] = {
    "": _CORE,
    "freezer": {FREEZE: Translation(freezer.SELF, _freeze, _to_state, rules=(is_switch(FREEZE),))},
    "cpu": {
        "cpu.weight": Translation(cpu.CPU_SHARES, _weight, _to_shares, rules=(a_weight_in_range,)),
        "cpu.weight.nice": NotServed("cgroup v1 has no nice values", "cpu.weight is served"),
        CPU_MAX: Translation(
            cpu.QUOTA,
            lambda at: f"{BANDWIDTHS.show(_bandwidth(at))}\n",
            _to_quota,
            rules=(a_bandwidth,),
        ),
        "cpu.max.burst": Face(cpu.BURST),
        "cpu.pressure": _NO_PRESSURE,
        "irq.pressure": _NO_PRESSURE,
    },
    "cpuset": {
        "cpuset.cpus.effective": Face("cpuset.effective_cpus"),
        "cpuset.mems.effective": Face("cpuset.effective_mems"),
        "cpuset.cpus.partition": _NO_PARTITION,
        "cpuset.cpus.exclusive": _NO_PARTITION,
        "cpuset.cpus.exclusive.effective": _NO_PARTITION,
        "cpuset.cpus.isolated": _NO_PARTITION,
    },
    "memory": {
        "memory.max": _limit(memory.MEMORY_LIMIT),
        "memory.current": _counter(memory.MEMORY_USAGE),
        "memory.peak": _counter("memory.max_usage_in_bytes", "memory.max_usage_in_bytes"),
        "memory.min": _NO_PROTECTION,
        "memory.low": _NO_PROTECTION,
        "memory.high": NotServed(
            "cgroup v1 does not slow tasks down at a limit of memory", "memory.max is served"
        ),
        **dict.fromkeys(
            (
                *("memory.swap.max", "memory.swap.high", "memory.swap.current"),
                *("memory.swap.peak", "memory.swap.events"),
            ),
            _NO_SWAP,
        ),
        **dict.fromkeys(
            ("memory.zswap.max", "memory.zswap.current", "memory.zswap.writeback"), _NO_ZSWAP
        ),
        "memory.events": _NO_EVENTS,
        "memory.events.local": _NO_EVENTS,
        "memory.oom.group": NotServed("the OOM killer of cgroup v1 kills one process at a time"),
        "memory.reclaim": NotServed(
            "cgroup v1 cannot reclaim a number of bytes", "memory.force_empty frees what it can"
        ),
        "memory.pressure": _NO_PRESSURE,
    },
    "pids": {
        "pids.events.local": NotServed("pids.events of cgroup v1 counts forks here and below"),
    },
    "blkio": {
        IO_MAX: Translation(
            THROTTLED["rbps"],
            _rates,
            _to_rates,
            rules=(blkio.on_a_disk(IO_MAX), has_numbers(IO_MAX)),
        ),
        "io.weight": _NO_WEIGHT,
        "io.bfq.weight": _NO_WEIGHT,
        "io.stat": NotServed(
            "cgroup v1 counts I/O in another form",
            "blkio.throttle.io_service_bytes_recursive is a file of it",
        ),
        "io.latency": NotServed("cgroup v1 has no targets of latency"),
        "io.cost.qos": NotServed("cgroup v1 has no cost model of I/O"),
        "io.cost.model": NotServed("cgroup v1 has no cost model of I/O"),
        "io.prio.class": Face(blkio.CLASS),
        "io.pressure": _NO_PRESSURE,
    },
    "hugetlb": {key: face for page in hugetlb.SIZES for key, face in _huge(page).items()},
}
