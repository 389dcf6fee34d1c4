"""Faces of the names that v1 and v2 have for the same value: what they read and write."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pcont import subsys
from pcont.subsys.v1 import of_v2
from pcont.tables.control_file import ControlFile
from pcont.tables.face import Face, KeyFace, NotServed, Translation
from pcont.tables.interface import Interface

V1_ROWS = [row for name in ("", *subsys.NAMES) if (t := subsys.by_key(name)) for row in t.files]
V2_ROWS = [
    row
    for name in ("", *subsys.WITH_TABLES[Interface.V2])
    if (t := subsys.load(name, Interface.V2))
    for row in t.files
]
OF_THE_HOME = {"auto_delete", "notify_on_release", "release_agent"}
# Names of v1 without a face on v2: v2 lacks the subsystem, or the driver answers to the name.
NOT_OF_V2 = ("devices.", "net_cls.", "net_prio.", "tasks", "cgroup.")


class Texts:
    """A container as a face reads it."""

    def __init__(self, texts: dict[str, str], attributes: dict[str, str] | None = None) -> None:
        self.texts, self.attributes = texts, attributes or {}

    def text(self, file: str) -> str:
        if file not in self.texts:
            raise FileNotFoundError(file)
        return self.texts[file]

    def attribute(self, name: str) -> str:
        return self.attributes.get(name, "")

    def populated(self) -> bool:
        return True


def shown(key: str, interface: Interface, texts: Texts) -> str:
    face = subsys.face(key, interface)
    if isinstance(face, Face):
        return face.read(texts.text(face.file))
    assert isinstance(face, Translation)
    return face.show(texts)


def writes(key: str, interface: Interface, text: str, texts: Texts) -> list[tuple[str, str]]:
    face = subsys.face(key, interface)
    assert isinstance(face, Translation)
    assert face.write is not None
    return face.write(text, texts)


V1, V2 = Interface.V1, Interface.V2


@pytest.mark.parametrize(
    ("key", "interface", "texts", "text"),
    [
        ("cpu.weight", V1, {"cpu.shares": "2048\n"}, "174\n"),
        ("cpu.max", V1, {"cpu.cfs_quota_us": "-1\n", "cpu.cfs_period_us": "9\n"}, "max 9\n"),
        ("cpu.max", V1, {"cpu.cfs_quota_us": "5\n", "cpu.cfs_period_us": "9\n"}, "5 9\n"),
        ("memory.max", V1, {"memory.limit_in_bytes": "9223372036854771712\n"}, "max\n"),
        ("memory.max", V1, {"memory.limit_in_bytes": "4096\n"}, "4096\n"),
        ("cgroup.events", V1, {}, "populated 1\nfrozen 0\n"),
        ("cgroup.events", V1, {"freezer.state": "FREEZING\n"}, "populated 1\nfrozen 0\n"),
        ("cgroup.events", V1, {"freezer.state": "FROZEN\n"}, "populated 1\nfrozen 1\n"),
        ("hugetlb.2MB.events", V1, {"hugetlb.2MB.failcnt": "3\n"}, "max 3\n"),
        ("cpu.shares", V2, {"cpu.weight": "100\n"}, "1024\n"),
        ("cpu.cfs_quota_us", V2, {"cpu.max": "max 100000\n"}, "-1\n"),
        ("cpu.cfs_quota_us", V2, {"cpu.max": "5000 100000\n"}, "5000\n"),
        ("cpu.cfs_period_us", V2, {"cpu.max": "max 100000\n"}, "100000\n"),
        ("cpuacct.usage", V2, {"cpu.stat": "usage_usec 7\nuser_usec 5\n"}, "7000\n"),
        ("cpuacct.usage_sys", V2, {"cpu.stat": "usage_usec 7\nsystem_usec 2\n"}, "2000\n"),
        (
            "cpuacct.stat",
            V2,
            {"cpu.stat": "user_usec 25000\nsystem_usec 9999\n"},
            "user 2\nsystem 0\n",
        ),
        ("memory.limit_in_bytes", V2, {"memory.max": "max\n"}, "9223372036854771712\n"),
        ("memory.failcnt", V2, {"memory.events": "low 1\nmax 4\n"}, "4\n"),
        (
            "memory.memsw.usage_in_bytes",
            V2,
            {"memory.current": "10\n", "memory.swap.current": "5\n"},
            "15\n",
        ),
        (
            "blkio.throttle.write_iops_device",
            V2,
            {"io.max": "8:0 rbps=max wbps=9 riops=max wiops=7\n8:16 rbps=1 wiops=max\n"},
            "8:0 7\n",
        ),
    ],
)
def test_a_name_reads_the_value_of_the_other_interface(
    key: str, interface: Interface, texts: dict[str, str], text: str
) -> None:
    assert shown(key, interface, Texts(texts)) == text


BANDWIDTH = {"cpu.cfs_quota_us": "50000\n", "cpu.cfs_period_us": "100000\n"}
UNLIMITED = {"cpu.cfs_quota_us": "-1\n", "cpu.cfs_period_us": "100000\n"}


@pytest.mark.parametrize(
    ("key", "interface", "text", "texts", "expected"),
    [
        ("cpu.weight", V1, "100", {}, ["cpu.shares 1024"]),
        ("cpu.max", V1, "60000", BANDWIDTH, ["cpu.cfs_quota_us 60000"]),
        ("cpu.max", V1, "max", BANDWIDTH, ["cpu.cfs_quota_us -1"]),
        (
            "cpu.max",
            V1,
            "40000 200000",
            BANDWIDTH,
            ["cpu.cfs_quota_us 40000", "cpu.cfs_period_us 200000"],
        ),
        (
            "cpu.max",
            V1,
            "25000 50000",
            BANDWIDTH,
            ["cpu.cfs_quota_us -1", "cpu.cfs_period_us 50000", "cpu.cfs_quota_us 25000"],
        ),
        (
            "cpu.max",
            V1,
            "25000 50000",
            UNLIMITED,
            ["cpu.cfs_period_us 50000", "cpu.cfs_quota_us 25000"],
        ),
        ("memory.max", V1, "max", {}, ["memory.limit_in_bytes -1"]),
        ("memory.max", V1, "1M", {}, ["memory.limit_in_bytes 1048576"]),
        ("cgroup.freeze", V1, "1", {}, ["freezer.state FROZEN"]),
        (
            "io.max",
            V1,
            "8:0 rbps=max wiops=5",
            {},
            ["blkio.throttle.read_bps_device 8:0 0", "blkio.throttle.write_iops_device 8:0 5"],
        ),
        ("cpu.shares", V2, "2048", {}, ["cpu.weight 174", "cpu.shares 2048"]),
        ("cpu.shares", V2, "1", {}, ["cpu.weight 1", "cpu.shares 2"]),
        ("cpu.cfs_quota_us", V2, "-1", {}, ["cpu.max max"]),
        ("cpu.cfs_quota_us", V2, "5000", {}, ["cpu.max 5000"]),
        ("cpu.cfs_period_us", V2, "200000", {"cpu.max": "max 100000\n"}, ["cpu.max max 200000"]),
        ("memory.limit_in_bytes", V2, "-1", {}, ["memory.max max"]),
        ("blkio.throttle.read_bps_device", V2, "8:0 0", {}, ["io.max 8:0 rbps=max"]),
        ("blkio.throttle.read_iops_device", V2, "8:0 7", {}, ["io.max 8:0 riops=7"]),
        ("cpuset.memory_migrate", V2, "1", {}, []),
        ("freezer.state", V2, "FROZEN", {}, ["cgroup.freeze 1"]),
    ],
)
def test_a_name_is_written_in_the_format_of_the_other_interface(
    key: str, interface: Interface, text: str, texts: dict[str, str], expected: list[str]
) -> None:
    found = writes(key, interface, text, Texts(texts))
    assert [" ".join(pair) for pair in found] == expected


@pytest.mark.parametrize(("key", "text"), [("cpuset.memory_migrate", "0"), ("freezer.state", "X")])
def test_a_text_without_a_meaning_is_a_value_error(key: str, text: str) -> None:
    with pytest.raises(ValueError, match=r"cgroup v2|FROZEN"):
        writes(key, V2, text, Texts({}))


def test_shares_are_shown_as_written_while_the_weight_is_theirs() -> None:
    kept = {"cpu.shares": "1013"}
    assert shown("cpu.shares", V2, Texts({"cpu.weight": "100\n"}, kept)) == "1013\n"
    assert shown("cpu.shares", V2, Texts({"cpu.weight": "101\n"}, kept)) != "1013\n"
    assert shown("cpu.shares", V2, Texts({"cpu.weight": "100\n"}, {"cpu.shares": "?"})) == "1024\n"


def faces() -> list[tuple[str, KeyFace]]:
    v2 = [subsys.load(name, V2) for name in subsys.WITH_TABLES[V2]]
    found = [pair for table in v2 if table for pair in table.faces.items()]
    return found + [pair for one in of_v2.FACES.values() for pair in one.items()]


@pytest.mark.parametrize("row", V2_ROWS, ids=lambda row: row.name)
def test_every_name_of_v2_is_on_v1_or_has_a_reason(row: ControlFile) -> None:
    name = row.name
    assert name in {one.name for one in V1_ROWS} or subsys.face(name, V1)


@pytest.mark.parametrize("row", V1_ROWS, ids=lambda row: row.name)
def test_every_name_of_v1_is_on_v2_or_has_a_reason(row: ControlFile) -> None:
    name = row.name
    if name in OF_THE_HOME or name.startswith(NOT_OF_V2):
        return
    assert name in {one.name for one in V2_ROWS} or subsys.face(name, V2)


def test_the_faces_on_v1_are_of_names_of_v2() -> None:
    assert {key for one in of_v2.FACES.values() for key in one} <= {row.name for row in V2_ROWS}


def test_a_name_that_no_interface_has_needs_no_faces_of_v2() -> None:
    code = (
        "import sys; from pcont import subsys; from pcont.tables.interface import Interface\n"
        "for key in ('cgroup.event_control', 'debug.taskcount', 'memory.nonsense'):\n"
        "    assert subsys.face(key, Interface.V1) is None\n"
        "assert 'pcont.subsys.v1.of_v2' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_reason_is_a_sentence_without_a_full_stop() -> None:
    reasons = [face for _, face in faces() if isinstance(face, NotServed)]
    assert len(reasons) > 50
    for one in reasons:
        assert 10 < len(one.reason) < 200
        assert not one.reason.endswith(".")
