"""Faces: in which file, field and unit an interface has the value of a KEY."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pcont import subsys
from pcont.hierarchy import keys
from pcont.tables.control_file import ControlFile, Subsystem
from pcont.tables.face import Face
from pcont.tables.interface import Interface
from pcont.values import UNSIGNED

USAGE = Face("cpu.stat", "usage_usec", 1000)
CPU_STAT = "usage_usec 1234\nuser_usec 1000\nsystem_usec 234\n"

# A table as an interface would have it that counts microseconds in a field of another file.
OTHER = Subsystem(
    "cpuacct",
    "CPU time used",
    (ControlFile("cpuacct.usage", "CPU time used so far", UNSIGNED, default=0),),
    faces={
        "cpuacct.usage": USAGE,
        "cpuacct.usage_user": Face("cpu.stat", "user_usec", 1000),
        "cpuacct.usage_user_us": Face("cpuacct.user", unit=1000),
        "cpuacct.stat": Face("stat"),
    },
)


def test_a_field_is_read_in_the_unit_of_the_key() -> None:
    assert USAGE.read(CPU_STAT) == "1234000\n"
    assert Face("cpu.stat", "system_usec", 1000).read(CPU_STAT) == "234000\n"
    assert Face("cpu.stat", "user_usec").read(CPU_STAT) == "1000\n"


def test_a_whole_file_is_read_and_written_as_it_is() -> None:
    assert Face("cpus").read("0-3\n") == "0-3\n"
    assert Face("cpus").written("0-3\n") == "0-3\n"
    assert Face("usage_ms", unit=1_000_000).read("12\n") == "12000000\n"


def test_a_file_without_the_field_is_no_value_of_the_key() -> None:
    with pytest.raises(LookupError, match=r"cpu\.stat has no usage_usec"):
        USAGE.read("nr_periods 0\nusage_usec_more 7\n")


def test_a_number_is_written_in_the_unit_of_the_file() -> None:
    assert Face("period_us", unit=1000).written("7000\n") == "7\n"
    with pytest.raises(ValueError, match="7001 is no multiple of 1000"):
        Face("period_us", unit=1000).written("7001\n")
    with pytest.raises(ValueError, match="invalid literal"):
        Face("period_us", unit=1000).written("max\n")


def test_a_field_can_only_be_read() -> None:
    with pytest.raises(ValueError, match=r"usage_usec of cpu\.stat can only be read"):
        USAGE.written("0\n")


@pytest.fixture
def other(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The interface V2006 has this other table of cpuacct."""
    load = subsys.load

    def loaded(name: str, interface: Interface) -> Subsystem | None:
        is_other = (name, interface) == ("cpuacct", Interface.V2006)
        return OTHER if is_other else load(name, interface)

    monkeypatch.setattr(subsys, "load", loaded)
    subsys.face.cache_clear()
    yield
    subsys.face.cache_clear()


@pytest.mark.usefixtures("other")
def test_a_key_has_the_face_that_the_table_of_the_interface_names() -> None:
    assert keys.face_of("cpuacct.usage", Interface.V2006) == USAGE
    assert keys.face_of("cpuacct.usage", Interface.V1) == Face("cpuacct.usage")
    assert keys.face_of("cpuacct.usage_all", Interface.V2006) == Face("cpuacct.usage_all")
    assert keys.face_of("cpuset.cpus", Interface.V2006) == Face("cpus")
    assert keys.face_of("tasks", Interface.V2006) == Face("tasks")
    assert keys.face_of("debug.taskcount", Interface.V1) == Face("debug.taskcount")


@pytest.mark.usefixtures("other")
def test_a_face_of_another_unit_or_of_a_field_is_no_other_name_of_the_key() -> None:
    assert keys.other_names(["cpuacct"]) == [("stat", "cpuacct.stat")]


def test_every_face_is_one_of_a_key_that_a_table_has() -> None:
    tables = [
        table
        for interface, names in subsys.WITH_TABLES.items()
        for name in names
        if (table := subsys.load(name, interface))
    ]
    assert not [key for table in tables for key in table.faces if not subsys.row(key)]
    bare = keys.other_names(subsys.WITH_TABLES[Interface.V2006])
    assert len(bare) == 13
