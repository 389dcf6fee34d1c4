"""subsys/v2: the tables say what a 6.12 kernel was seen to have, and to answer.

tests/data/v2/6.12.json is what v2_record.py printed in the 6.12 guest.
"""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pcont import subsys
from pcont.kernel.refusals import unreadable
from pcont.subsys import hugetlb
from pcont.subsys.v2 import core
from pcont.subsys.v2.cpuset import invalid_partition
from pcont.subsys.v2.values import IO_RATES
from pcont.tables.control_file import ControlFile, Subsystem
from pcont.tables.interface import Interface
from pcont.tables.rules import Machine, Proposed, Site
from tests.conftest import elsewhere

RECORD = Path(__file__).parent.parent / "data" / "v2" / "6.12.json"
SCRIPT = Path(__file__).parent / "v2_record.py"
DEVICE = "7:0"
MACHINE = Machine(frozenset(range(4)), frozenset((0, 1)), cpu_limit=4, node_limit=1024)
Listing = dict[str, list[str]]

NAMES = ("", *subsys.WITH_TABLES[Interface.V2])
# What of the tables no container of the guest has, because of the kernel's configuration.
NOT_BUILT = {"cpu.uclamp.min", "cpu.uclamp.max", "irq.pressure", "io.latency", "io.prio.class"}
# The rules of the core's files are about other containers: tests of the driver try these files.
OF_THE_CORE = "cgroup."
# What the kernel takes, and reads as something else: pcont refuses it before it asks the kernel.
MISREAD = [
    ("memory.max", ""),
    ("memory.max", "99999999999999999999"),
    ("cpu.max", "max x"),
    ("cpu.max", "1000 1000 1000"),
]


def load(name: str) -> Subsystem:
    table = subsys.load(name, Interface.V2)
    assert table is not None
    return table


TABLES = [load(name) for name in NAMES]
ROWS = {row.name: row for table in TABLES for row in table.files}
TABLE_OF = {row.name: table for table in TABLES for row in table.files}
DOCUMENT = json.loads(RECORD.read_text()) if RECORD.exists() else {}


def expected(kind: str, words: Iterable[str] = NAMES) -> dict[str, ControlFile]:
    """The rows of the files that a container has; all controllers are enabled but in `plain`."""
    threaded = kind in ("threaded", "invalid")
    return {
        name: row
        for name, row in ROWS.items()
        if row.access.where.holds(kind == "root")
        and (
            TABLE_OF[name].name in ("", "pressure")
            or row.access.always
            or (kind != "plain" and (TABLE_OF[name].name in core.FOR_THREADS or not threaded))
        )
    }


def of_this_machine(name: str) -> bool:
    """Whether the guest can have a file: it has one size of huge pages, and Debian's config."""
    sizes = [size for size in hugetlb.SIZES if f"hugetlb.{size}." in name]
    return name not in NOT_BUILT and sizes in ([], ["2MB"])


def check_listing(kind: str, found: Listing) -> None:
    """Check that a container has the files of the tables, and no others."""
    rows = expected(kind)
    assert sorted(found) == sorted(filter(of_this_machine, rows))
    for name, (mode, _text) in found.items():
        assert bool(int(mode, 8) & 0o200) is rows[name].access.writable, name


def test_no_controller_of_v2_has_a_rule_for_removals() -> None:
    """`ControlFiles.removing` does not load their tables."""
    tables = [subsys.load(name, Interface.V2) for name in ("", *subsys.WITH_TABLES[Interface.V2])]
    assert all(table and not table.removal for table in tables)


def test_every_row_is_found_by_its_name() -> None:
    assert {name: subsys.row_of_v2(name) for name in ROWS} == ROWS
    assert subsys.row_of_v2("cpuset.nonsense") is None
    assert subsys.row_of_v2("cpu.shares") is None


KINDS = ("root", "domain", "plain", "threadedroot", "threaded", "invalid")


@pytest.mark.parametrize("kind", KINDS)
def test_a_container_has_the_files_of_the_tables_and_no_others(kind: str) -> None:
    check_listing(kind, DOCUMENT["containers"][kind])


@pytest.mark.parametrize("name", sorted(DOCUMENT["containers"]["domain"]))
def test_the_text_of_a_new_container_is_the_default_of_its_row(name: str) -> None:
    row, (_mode, text) = ROWS[name], DOCUMENT["containers"]["domain"][name]
    if text.startswith("[") or "N" in text or not row.access.writable:
        return  # it cannot be read, counts something, or shows something else than a setting
    if name in (*subsys.TASK_FILES, "cgroup.subtree_control"):
        return
    assert row.type.parse(text.rstrip("\n")) == row.default
    assert f"{row.type.show(row.default)}\n".lstrip("\n") == text.lstrip("\n")


# Writes


class Recorded(NamedTuple):
    """A container of the record, as rules see it: `texts` are what its files read."""

    texts: dict[str, str]
    tasks: bool = False
    path: str = "/pcont-record/tried"

    @property
    def shown(self) -> str:
        return f"unified:{self.path}"

    @property
    def word(self) -> str:
        return self.shown

    @property
    def parent(self) -> Site | None:
        above = self.path.rpartition("/")[0]
        return Recorded(DOCUMENT_TEXTS, False, above) if above else None

    @property
    def machine(self) -> Machine:
        return MACHINE

    def children(self) -> Iterator[Site]:
        return iter(())

    def populated(self) -> bool:
        return self.tasks

    def value(self, file: str) -> Any:
        text = self.texts.get(file, "0" if file.endswith("current") else "")
        return ROWS[file].type.parse(text.rstrip("\n")) if file in ROWS else text


def new_texts() -> dict[str, str]:
    found = DOCUMENT["containers"]["domain"].items()
    return {name: text.replace("N", "0") for name, (_, text) in found}


DOCUMENT_TEXTS = new_texts() if DOCUMENT else {}


def answer(site: Recorded, row: ControlFile, text: str) -> tuple[str, Any]:
    """What the table says that a write answers, and the value that the file has then."""
    now = site.value(row.name) if row.access.merge else None
    try:
        written = row.reader(MACHINE).parse(text)
    except (ValueError, OverflowError) as err:
        return errno.errorcode[unreadable(err)], None
    if row.undo.many and not text.strip():
        return "ENODEV" if row.name == "rdma.max" else "EINVAL", None
    value = row.access.merge(now, written) if row.access.merge else written
    for rule in row.rules:
        violation = rule(site, Proposed(site, row.name, value))
        if violation and (violation.sure or row.name != "memory.reclaim"):
            name = errno.errorcode[violation.errno]
            return "EOPNOTSUPP" if name == "ENOTSUP" else name, None
    return "ok", value


WRITES = [
    pytest.param(one, section == "with a task", id=f"{one[0][0]}={one[0][1]!r}-{index}")
    for section in ("writes", "with a task", "threaded")
    for index, one in enumerate(DOCUMENT.get(section, ()))
    if not one[0][0].startswith(OF_THE_CORE) and one[0][0] in ROWS
]


@pytest.fixture
def one_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine has the disk of the guest."""
    exists = f"/sys/dev/block/{DEVICE}"
    monkeypatch.setattr(os.path, "exists", lambda path: path == exists)


@pytest.mark.usefixtures("one_disk")
@pytest.mark.parametrize(("tries", "task"), WRITES)
def test_each_write_answers_what_the_table_says(tries: list[list[str]], task: bool) -> None:
    texts = new_texts()
    for file, text, seen, then in tries:
        row, written = ROWS[file], text.replace("DEV", DEVICE)
        said, value = answer(Recorded(texts, task), row, written)
        if (file, text) in MISREAD:
            assert said != "ok"
            assert seen == "ok"
            return
        if not row.access.writable:
            assert seen == "EINVAL"
            return
        if file == "memory.reclaim" and said == "ok":
            said = "ok" if text == "0" else "EAGAIN"
        assert said == seen
        texts[file] = then.replace("DEV", DEVICE)
        if seen == "ok" and not row.undo.lasting and not invalid_partition(then):
            assert shown(row, value) == texts[file].rstrip("\n")
        if seen == "ok" and file == "cpu.idle":
            texts["cpu.weight"] = "1\n" if value else "100\n"


def shown(row: ControlFile, value: Any) -> str:
    """What the file reads after a write: words that it did not name are as new, and the page size
    rounds down.
    """
    if row.name == "io.max":
        full = {
            device: {**dict.fromkeys(IO_RATES.names), **pairs} for device, pairs in value.items()
        }
        limited = {one: pairs for one, pairs in full.items() if any(pairs.values())}
        return row.type.show(limited)
    if row.name.endswith("weight") and row.name.startswith("io."):
        return value if value.startswith("default") else f"default {value}"
    if row.name.startswith("hugetlb") and value:
        return row.type.show(value // (2 << 20) * (2 << 20))
    return row.type.show(value)


class Handing(Recorded):
    """A container that is to enable controllers for its children; `path` says what is below."""

    def children(self) -> Iterator[Site]:
        assert self.path != "/x/unseen", "all containers below are looked at"
        return iter([Recorded({}, tasks=self.path == "/x/over-tasks")])


@pytest.mark.parametrize(
    ("path", "tasks", "text", "strict", "refused"),
    [
        ("/x/unseen", "", "+memory", False, False),
        ("/x/unseen", "", "+pids", True, False),
        ("/x/unseen", "7\n", "+cpu", True, False),
        ("/x/unseen", "7\n", "+memory", False, True),
        ("/x/unseen", "7\n", "+pids", True, True),
        ("/x/over-none", "7\n", "+pids", False, False),
        ("/x/over-tasks", "7\n", "+pids", False, True),
    ],
)
def test_no_controller_is_enabled_over_tasks(
    path: str, tasks: str, text: str, strict: bool, refused: bool
) -> None:
    texts = {core.TYPE: "domain\n", core.CONTROL: "cpu\n", "cgroup.threads": tasks}
    site = Handing(texts, bool(tasks), path)
    violation = core.find_no_tasks(site, Proposed(site, core.CONTROL, text), strict)
    assert (violation is not None) is refused
    assert violation is None or "1 task is in unified:/" in violation.reason


@pytest.mark.guest
def test_this_kernel_has_the_files_of_the_tables() -> None:
    """In a guest with cgroup v2, on which nothing else works."""
    mount = Path("/sys/fs/cgroup")
    if not (mount / "cgroup.controllers").exists():
        elsewhere("cgroup v2 is not mounted there")
    ran = subprocess.run(
        [sys.executable, str(SCRIPT), str(mount), DEVICE], capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    document = json.loads(ran.stdout)
    for kind, found in document["containers"].items():
        lacking = set(DOCUMENT["containers"][kind]) - set(found)
        assert lacking <= {"io.bfq.weight"}, "a module that may not be loaded"
        check_listing(kind, found | {name: DOCUMENT["containers"][kind][name] for name in lacking})
    for section in ("writes", "with a task", "threaded"):
        new = {str([row[:2] for row in one]): one for one in document[section]}
        old = {str([row[:2] for row in one]): one for one in DOCUMENT[section]}
        both = old.keys() & new.keys()
        assert {key: new[key] for key in both} == {key: old[key] for key in both}
