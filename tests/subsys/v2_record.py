"""Record what a kernel answers for the control files of cgroup v2, on a machine of its own.

`python tests/subsys/v2_record.py DIRECTORY DEVICE` makes containers below the mount DIRECTORY of
cgroup v2, prints one JSON document, and removes them. DEVICE is MAJOR:MINOR of a disk. tests/data
has what kernels answered, in v2; the tables of subsys/v2 are compared with that.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

NAME = "pcont-record"
THREADED = ("cpu", "cpuset", "pids")
# The last words of files that have counters: the record has N in place of each number.
_COUNTED = ("stat", "pressure", "current", "peak", "numa_stat", "procs", "threads", "local")
_COUNTERS = re.compile(r"(?<![\w.])[0-9]+(\.[0-9]+)?(?![\w.])")

# The writes to try in a new domain container, by file; `|` separates writes to one container.
TRIES: dict[str, tuple[str, ...]] = {
    "cgroup.freeze": ("1", "0", "2", "-1", "x", "", "1\n"),
    "cgroup.kill": ("1", "0", "2", "x", ""),
    "cgroup.max.depth": ("0", "5", "max", "-1", "x", "2147483647", "2147483648", ""),
    "cgroup.max.descendants": ("0", "5", "max", "-1", "x", "2147483648"),
    "cgroup.pressure": ("0", "1", "2", "x"),
    "cgroup.type": ("domain", "x", ""),
    "cgroup.subtree_control": ("+pids", "pids", "+x", "+pids -pids", "-pids", "+pids +x", ""),
    "cgroup.procs": ("x", "-1", "4194303", "2", ""),
    "cgroup.threads": ("x", "-1", "4194303"),
    "cgroup.events": ("x",),
    "cgroup.stat": ("x",),
    "cgroup.controllers": ("x",),
    "cpu.stat": ("0", "x"),
    "cpu.weight": (
        "1",
        "10000",
        "0",
        "10001",
        "-1",
        "x",
        "",
        "50 ",
        "0x10",
        "100000000000000000000",
    ),
    "cpu.weight|cpu.idle": ("50|1", "200|0"),
    "cpu.idle|cpu.weight": ("1|50", "1|100"),
    "cpu.weight.nice": ("-20", "19", "0", "-21", "20", "x", "5"),
    "cpu.idle": ("1", "0", "2", "-1", "x"),
    "cpu.max": (
        *("50000", "50000 200000", "max", "max 50000", "999", "1000", "1000 999", "1000 1000"),
        *("1000 1000000", "1000 1000001", "-1", "0", "x", "max x", "", "99999999999999999999"),
        *("17592186044415", "17592186044416", "1000 1000 1000", "50000|max", "50000 200000|60000"),
        *("50000 200000|max",),
    ),
    "cpu.max.burst": ("0", "1000", "-1", "x", "max"),
    "cpu.max|cpu.max.burst": ("50000|50000", "50000|50001"),
    "cpu.uclamp.min": ("0", "50", "50.5", "100", "101", "-1", "max", "x", "50.123"),
    "cpu.uclamp.max": ("0", "50", "max", "101", "x"),
    "cpuset.cpus": (
        "0",
        "0-3",
        "3",
        "4",
        "9999",
        "100000",
        "x",
        "all",
        "0-3:1/2",
        "",
        "1,1",
        "3-1",
        "N",
    ),
    "cpuset.mems": ("0", "0-1", "2", "1023", "1024", "x", "", "all"),
    "cpuset.cpus.exclusive": ("0", "0-3", "4", "9999", "x", ""),
    "cpuset.cpus.partition": ("member", "root", "isolated", "x", "", "root|member"),
    "cpuset.cpus|cpuset.cpus.partition": ("1|root", "1|isolated", "1|member", "0-3|root"),
    "cpuset.cpus.effective": ("0",),
    "cpuset.cpus.exclusive|cpuset.cpus.partition": ("0|root",),
    "pids.max": ("0", "5", "max", "-1", "4194304", "4194305", "x", "", "5 ", "0x10"),
    "pids.current": ("0",),
    "memory.max": (
        *(
            "64M",
            "64m",
            "0x4000000",
            "100",
            "4097",
            "max",
            "-1",
            "64MB",
            "x",
            "",
            "1G",
            "1T",
            "64 M",
        ),
        *("99999999999999999999", "9223372036854771712", "0"),
    ),
    "memory.high": ("64M", "max", "-1", "x", "0"),
    "memory.low": ("64M", "max", "-1", "x", "0"),
    "memory.min": ("64M", "max", "-1", "x"),
    "memory.swap.max": ("64M", "max", "-1", "x", "0"),
    "memory.swap.high": ("64M", "max", "-1", "x"),
    "memory.zswap.max": ("64M", "max", "x"),
    "memory.zswap.writeback": ("0", "1", "2", "x"),
    "memory.oom.group": ("0", "1", "2", "x", "-1"),
    "memory.reclaim": (
        "1M",
        "0",
        "x",
        "1M swappiness=60",
        "1M swappiness=201",
        "-1",
        "max",
        "",
        "1G",
    ),
    "memory.peak": ("0", "x", ""),
    "memory.swap.peak": ("0",),
    "memory.current": ("0",),
    "memory.events": ("0",),
    "io.max": (
        *("DEV rbps=1048576", "DEV rbps=max wiops=100", "DEV rbps=0", "DEV rbps=1M", "DEV x=1"),
        *(
            "DEV",
            "DEV rbps",
            "99:99 rbps=1",
            "x rbps=1",
            "",
            "DEV rbps=-1",
            "DEV rbps=1|DEV rbps=max",
        ),
        *("DEV rbps=1 wbps=2 riops=3 wiops=4",),
    ),
    "io.weight": (
        "50",
        "default 50",
        "DEV 50",
        "DEV default",
        "0",
        "10001",
        "default 0",
        "x",
        "99:99 5",
    ),
    "io.bfq.weight": ("50", "default 50", "DEV 50", "0", "1001", "x"),
    "io.latency": (
        "DEV target=10",
        "DEV target=max",
        "DEV target=0",
        "DEV x=1",
        "99:99 target=1",
        "DEV",
    ),
    "io.prio.class": ("no-change", "promote-to-rt", "restrict-to-be", "idle", "none-to-rt", "x"),
    "io.cost.qos": ("DEV enable=0",),
    "io.stat": ("0",),
    "hugetlb.2MB.max": ("2M", "4M", "3M", "1M", "max", "-1", "x", "0"),
    "hugetlb.2MB.rsvd.max": ("2M", "max", "-1"),
    "misc.max": ("x 1", "sev 1", "", "max"),
    "rdma.max": ("x hca_handle=1", "", "mlx5_0 hca_handle=2 hca_object=2000"),
    "cpu.pressure": (
        *(
            "some 150000 1000000",
            "some 50000 100000",
            "full 1 500000",
            "x",
            "",
            "some 500000 400000",
        ),
    ),
    "memory.pressure": ("some 150000 1000000", "x"),
    "io.pressure": ("some 150000 1000000",),
    "irq.pressure": ("full 150000 1000000", "some 150000 1000000"),
}
# Writes while a process is inside, and writes in threaded containers.
WITH_A_TASK: dict[str, tuple[str, ...]] = {
    "cpuset.cpus": ("1|", "1|2|0"),
    "cpuset.mems": ("0|", "0|1"),
    "cpuset.cpus.exclusive": ("1|",),
    "cgroup.subtree_control": ("+memory", "+pids", "+pids|-pids"),
    "cgroup.type": ("threaded",),
    "cgroup.freeze": ("1|0",),
    "memory.max": ("0|max", "4096"),
    "pids.max": ("0", "1"),
}
IN_THREADED: dict[str, tuple[str, ...]] = {
    "cgroup.kill": ("1",),
    "cgroup.procs": ("x",),
    "cgroup.type": ("threaded", "domain"),
    "cgroup.freeze": ("1", "0"),
    "cgroup.subtree_control": ("+cpu", "+memory"),
    "cpu.weight": ("50",),
    "cpuset.cpus": ("1",),
    "pids.max": ("5",),
    "memory.pressure": ("some 150000 1000000",),
}


def name_of(err: OSError) -> str:
    """The errno's name."""
    name = errno.errorcode.get(err.errno or 0, str(err.errno))
    return "EOPNOTSUPP" if name == "ENOTSUP" else name


def read(path: Path) -> str:
    """The text of a control file, or the errno's name in brackets."""
    try:
        return path.read_text(errors="replace")
    except OSError as err:
        return f"[{name_of(err)}]"


def write(path: Path, text: str) -> str:
    """Write once; returns ok or the errno's name."""
    try:
        descriptor = os.open(path, os.O_WRONLY)
    except OSError as err:
        return f"open: {name_of(err)}"
    try:
        os.write(descriptor, (text or "\n").encode())
    except OSError as err:
        return name_of(err)
    finally:
        os.close(descriptor)
    return "ok"


def listing(directory: Path) -> dict[str, list[str]]:
    """Every control file of a container: its mode and its text."""
    return {
        one.name: [
            f"{stat.S_IMODE(one.stat().st_mode):03o}",
            plain(one.name, read(one)),
        ]
        for one in sorted(directory.iterdir())
        if one.is_file()
    }


def plain(file: str, text: str) -> str:
    """The text of a file, with N for numbers that change by themselves."""
    last = file.rpartition(".")[2]
    counts = last in _COUNTED and file != "cgroup.pressure"
    return _COUNTERS.sub("N", text) if counts else text


@contextlib.contextmanager
def containers(mount: Path) -> Iterator[dict[str, Path]]:
    """One container of each kind: with all controllers, with none, and threaded ones."""
    words = (mount / "cgroup.controllers").read_text().split()
    enable(mount, words)
    top = mount / NAME
    top.mkdir()
    enable(top, words)
    found = {kind: top / kind for kind in ("domain", "threadedroot")}
    for one in found.values():
        one.mkdir()
    found["plain"] = found["domain"] / "plain"
    found["threaded"] = found["threadedroot"] / "threaded"
    for one in (found["plain"], found["threaded"]):
        one.mkdir()
    found["invalid"] = found["threadedroot"] / "invalid"
    (found["threaded"] / "cgroup.type").write_text("threaded")
    enable(found["threadedroot"], [word for word in THREADED if word in words])
    found["invalid"].mkdir()
    try:
        yield {"root": mount, **found}
    finally:
        for one in reversed([top, *sorted(found.values())]):
            one.rmdir()


def enable(directory: Path, words: Iterable[str]) -> None:
    """Enable controllers for the children."""
    (directory / "cgroup.subtree_control").write_text(" ".join(f"+{word}" for word in words))


Try = list[list[str]]  # the file, the text, the answer, and what the file reads then


def tried(
    above: Path, tries: dict[str, tuple[str, ...]], device: str, task: bool, threaded: bool
) -> list[Try]:
    """What each write answers in a new container; files that this kernel lacks are left out."""
    found = []
    for files, texts in tries.items():
        for text in texts:
            one = one_try(above, files, text, device, task, threaded)
            if not any(answer == "open: ENOENT" for _, _, answer, _ in one):
                found.append(one)
    return found


def one_try(above: Path, files: str, text: str, device: str, task: bool, threaded: bool) -> Try:
    """Write the texts, one after another, into a new container."""
    place = above / "tried"
    place.mkdir()
    if threaded:
        (place / "cgroup.type").write_text("threaded")
    process = subprocess.Popen(["sleep", "600"]) if task else None
    try:
        if process:
            (place / "cgroup.procs").write_text(str(process.pid))
        words, names = text.split("|"), files.split("|")
        names = names if len(names) == len(words) else names * len(words)
        found = []
        for name, word in zip(names, words, strict=True):
            answer = write(place / name, word.replace("DEV", device))
            seen = plain(name, read(place / name)).replace(device, "DEV")
            found.append([name, word, answer, seen])
        return found
    finally:
        if process:
            process.kill()
            process.wait()
        for _ in range(1000):
            with contextlib.suppress(OSError):
                place.rmdir()
                break


def formatted(document: dict[str, Any]) -> str:
    """JSON with one line for each file and for each try."""
    parts = []
    for key, value in document.items():
        if key == "containers":
            kinds = [f"{json.dumps(kind)}: {_lines(files, '{}')}" for kind, files in value.items()]
            text = "{\n" + ",\n".join(kinds) + "}"
        else:
            text = json.dumps(value) if isinstance(value, str) else _lines(value, "[]")
        parts.append(f"{json.dumps(key)}: {text}")
    return "{" + ",\n".join(parts) + "}"


def _lines(value: dict[str, list[str]] | list[Try], braces: str) -> str:
    if isinstance(value, dict):
        lines = [f"{json.dumps(name)}: {json.dumps(found)}" for name, found in value.items()]
    else:
        lines = [json.dumps(one) for one in value]
    return f"{braces[0]}\n" + ",\n".join(lines) + braces[1]


def main(mount: Path, device: str) -> None:
    """Print the document."""
    with containers(mount) as found:
        document = {
            "release": os.uname().release,
            "containers": {kind: listing(one) for kind, one in found.items()},
            "writes": tried(found["domain"].parent, TRIES, device, False, False),
            "with a task": tried(found["domain"].parent, WITH_A_TASK, device, True, False),
            "threaded": tried(found["threadedroot"], IN_THREADED, device, False, True),
        }
    print(formatted(document))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
