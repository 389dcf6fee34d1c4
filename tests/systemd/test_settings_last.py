"""Containers of pcont and their settings stay as they are, whatever systemd does beside them."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.contract.conftest import Pcont
from tests.systemd.conftest import (
    ROOT,
    Unit,
    directory_of,
    enabled,
    path_of,
    place_of,
    state,
    systemctl,
)
from tests.waiting import eventually

pytestmark = pytest.mark.guest

# What an administrator sets: a controller selects cgroup v2, and is enabled.
SETTINGS = {
    "memory:/x/a": ("memory.max=64M", "pids.max=30"),
    "cpuset:/x/b": ("cpuset.cpus=1",),
    "cpu:/x/c": ("cpu.max=50000 100000", "cpu.weight=300"),
    "io:/x/d": ("io.max=254:0 rbps=1048576",),
    "hugetlb:/y": ("hugetlb.2MB.max=4M",),
}
NAMES = {"cpu", "cpuset", "io", "memory", "pids", "hugetlb"}


@pytest.fixture
def jobs(pcont: Pcont, process: int) -> Iterator[int]:
    """Containers with settings, and a task in /x/b."""
    for place, settings in SETTINGS.items():
        words = [word for setting in settings for word in ("-s", setting)]
        pcont.ok("create", "-p", place, *words)
    pcont.ok("attach", "cpuset:/x/b", str(process))
    yield process
    pcont.ok("rm", "-r", "--kill", "unified:/x", "unified:/y")
    pcont.ok("rm", "unified:/pcont")


def seen(task: int) -> dict[str, str]:
    """The values of the containers, what is enabled, and where the task is."""
    files = {
        path: path.read_text()
        for top in ("x", "y", "pcont")
        for pattern in ("*.max", "*.weight", "cpuset.cpus", "cgroup.subtree_control")
        for path in sorted((ROOT / top).rglob(pattern))
    }
    found = {str(path.relative_to(ROOT)): text for path, text in files.items()}
    allowed = Path(f"/proc/{task}/status").read_text().partition("Cpus_allowed_list:")[2]
    return {**found, "task": path_of(task), "cpus": allowed.split()[0]}


def come_and_go(unit: Unit, *properties: str) -> None:
    systemctl("stop", unit(*properties))
    unit()


EVENTS: dict[str, Callable[[Unit], object]] = {
    "daemon-reload": lambda unit: systemctl("daemon-reload"),
    "daemon-reexec": lambda unit: systemctl("daemon-reexec"),
    "AllowedCPUs": lambda unit: come_and_go(unit, "AllowedCPUs=0"),
    "IOWeight": lambda unit: come_and_go(unit, "IOWeight=50"),
    "Delegate": lambda unit: come_and_go(unit, "Delegate=yes"),
    "set-property": lambda unit: systemctl(
        *("set-property", "--runtime", unit()),
        *("CPUWeight=50", "AllowedCPUs=0-1", "MemoryMax=100M", "IOWeight=70", "TasksMax=9"),
    ),
    "isolated slice": lambda unit: come_and_go(unit, "Slice=other.slice", "CPUQuota=30%"),
}


@pytest.mark.parametrize("event", EVENTS)
def test_nothing_changes(event: str, jobs: int, unit: Unit) -> None:
    before = seen(jobs)
    assert before["x/a/memory.max"] == f"{64 << 20}\n"
    assert (before["task"], before["cpus"]) == ("/x/b", "1")
    EVENTS[event](unit)
    systemctl("daemon-reload")
    unit()  # to realize it, systemd writes what it wants to be enabled
    assert seen(jobs) == before
    assert enabled() >= NAMES


def test_one_thing_after_another_changes_nothing(jobs: int, unit: Unit) -> None:
    before = seen(jobs)
    for event in EVENTS.values():
        event(unit)
    assert seen(jobs) == before


def test_a_new_setting_takes_effect_beside_units(pcont: Pcont, jobs: int, unit: Unit) -> None:
    unit("AllowedCPUs=0", "IOWeight=50")
    pcont.ok("set", "cpuset:/x/b", "cpuset.cpus=0,2")
    systemctl("daemon-reload")
    unit()
    assert pcont.get("cpuset:/x/b", "cpuset.cpus") == "0,2"
    assert seen(jobs)["cpus"] == "0,2"


def test_only_the_pin_keeps_a_controller(pcont: Pcont, unit: Unit) -> None:
    """Without /pcont, systemd disables what none of its units needs, and the values are lost."""
    pcont.ok("create", "cpuset:/z", "-s", "cpuset.cpus=1")
    pcont.ok("rm", "unified:/pcont")
    systemctl("stop", unit("AllowedCPUs=0"))
    unit()
    assert eventually(lambda: "cpuset" not in enabled())
    assert not (ROOT / "z/cpuset.cpus").exists()
    pcont.ok("set", "cpuset:/z", "cpuset.cpus=1")
    assert {"cpuset"} <= enabled() & enabled("pcont")
    systemctl("stop", unit("AllowedCPUs=0"))
    unit()
    assert (ROOT / "z/cpuset.cpus").read_text() == "1\n"
    pcont.ok("rm", "unified:/z", "unified:/pcont")


def test_gc_pins_again_what_containers_rely_on(pcont: Pcont, unit: Unit) -> None:
    pcont.ok("create", "cpuset:/z", "-s", "cpuset.cpus=1")
    pcont.ok("rm", "unified:/pcont")
    assert "systemd may disable cpuset for unified:/z" in pcont.ok("doctor")
    pcont.ok("gc")
    assert {"cpuset"} <= enabled() & enabled("pcont")
    assert "systemd may disable" not in pcont.ok("doctor")
    systemctl("stop", unit("AllowedCPUs=0"))
    unit()
    assert (ROOT / "z/cpuset.cpus").read_text() == "1\n"
    pcont.ok("rm", "unified:/z", "unified:/pcont")


def test_gc_enables_again_what_a_hierarchy_needs(pcont: Pcont, unit: Unit) -> None:
    """systemd has disabled it, because the hierarchy is at a place of its own."""
    pcont.ok("mount", "-o", "io,memory", "--name", "more", "--at", "/more")
    pcont.ok("rm", "unified:/pcont")
    systemctl("stop", unit("IOWeight=50"))
    unit()
    assert eventually(lambda: "io" not in enabled())
    assert "systemd may disable io, memory for unified:/more" in pcont.ok("doctor")
    pcont.ok("gc")
    assert {"io", "memory"} <= enabled() & enabled("pcont")
    pcont.ok("umount", "more")
    pcont.ok("rm", "unified:/pcont")


def test_values_of_a_unit_are_the_unit_s_again_after_a_reload(unit: Unit) -> None:
    name = unit("MemoryMax=100M", "TasksMax=20")
    there = directory_of(name)
    (there / "memory.max").write_text("50M")
    (there / "pids.max").write_text("10")
    systemctl("daemon-reload")
    assert eventually(lambda: (there / "pids.max").read_text() == "20\n")
    assert (there / "memory.max").read_text() == f"{100 << 20}\n"
    systemctl("set-property", "--runtime", name, "MemoryMax=50M")
    systemctl("daemon-reload")
    assert (there / "memory.max").read_text() == f"{50 << 20}\n"


def test_stop_of_a_delegated_unit_ends_all_below_it(pcont: Pcont, delegated: Path) -> None:
    place = place_of(delegated)
    pcont.ok("create", f"{place}/jobs")
    pcont.ok("create", f"{place}/jobs/a", "-s", "cgroup.type=threaded")
    with subprocess.Popen(["sleep", "600"]) as task:
        pcont.ok("attach", f"{place}/jobs/a", str(task.pid))
        systemctl("stop", delegated.name)
        assert task.wait() == -signal.SIGTERM
    assert not delegated.exists()


def test_stop_of_a_unit_ends_its_process_in_a_container_of_pcont(pcont: Pcont, unit: Unit) -> None:
    name = unit()
    main = int(state(name, "MainPID"))
    pcont.ok("create", "pids:/taken")
    pcont.ok("attach", "pids:/taken", str(main))
    assert (path_of(main), state(name, "ActiveState")) == ("/taken", "active")
    systemctl("stop", name)
    assert eventually(lambda: not (ROOT / "taken/cgroup.procs").read_text())
    pcont.ok("rm", "unified:/taken", "unified:/pcont")
