"""What pcont refuses in the containers of systemd's units, and what it warns of."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest

from tests import hints
from tests.contract.conftest import Pcont
from tests.systemd.conftest import (
    ROOT,
    Unit,
    directory_of,
    path_of,
    place_of,
    state,
    systemctl,
)
from tests.waiting import eventually

pytestmark = pytest.mark.guest


# The container of a mount has no name that pcont knows, but the attribute of a unit.
@pytest.mark.parametrize(
    "place", ["unified:/system.slice", "memory:/init.scope", "unified:/dev-hugepages.mount"]
)
def test_no_container_is_created_in_what_systemd_made(pcont: Pcont, place: str) -> None:
    said = pcont.fails(4, "create", f"{place}/a")
    assert f"{place} belongs to systemd" in said
    assert f"pcont create {place.partition(':')[0]}:/a" in said
    pcont.fails(4, "create", f"{place}/a", "-s", "memory.max=64M")


def test_no_container_is_created_in_a_service(pcont: Pcont, unit: Unit) -> None:
    there = directory_of(unit())
    said = pcont.fails(4, "create", f"{place_of(there)}/a")
    assert f"set Delegate=yes in {there.name}, or: pcont create unified:/a" in said
    assert not (there / "a").exists()


def test_a_setting_that_needs_a_controller_is_refused_in_a_service(
    pcont: Pcont, unit: Unit
) -> None:
    there = directory_of(unit())
    said = pcont.fails(4, "set", place_of(there), "hugetlb.2MB.max=4M")
    assert "cannot enable hugetlb for the children of unified:/system.slice" in said
    assert "unified:/system.slice belongs to systemd" in said
    pcont.fails(4, "set", place_of(there), "cgroup.subtree_control=+pids")


def test_below_a_delegated_unit_containers_have_limits(
    pcont: Pcont, delegated: Path, process: int
) -> None:
    place = place_of(delegated)
    assert os.getxattr(delegated, "trusted.delegate") == b"1"
    said = pcont("create", f"{place}/a", "-s", "memory.max=64M", "-s", "cpuset.cpus=1")
    assert (said.status, said.err) == (0, "")
    said = pcont("attach", f"{place}/a", str(process))
    assert (said.status, said.err) == (0, "")
    pcont.ok("create", f"{place}/b", "-s", "pids.max=5")
    pcont.ok("set", f"{place}/a", "cgroup.freeze=1")
    pcont.ok("set", f"{place}/a", "cgroup.freeze=0")
    pcont.ok("move", f"{place}/a", f"{place}/b")
    before = {path: path.read_text() for path in delegated.rglob("*.max")}
    systemctl("daemon-reload")
    systemctl("daemon-reexec")
    systemctl("set-property", "--runtime", delegated.name, "CPUWeight=50", "AllowedCPUs=0-2")
    assert {path: path.read_text() for path in delegated.rglob("*.max")} == before
    assert path_of(process) == f"/{delegated.relative_to(ROOT)}/b"
    pcont.ok("rm", f"{place}/a")
    pcont.fails(4, "rm", "-r", "--kill", place)
    assert not (ROOT / "pcont").exists(), "systemd keeps the controllers of a delegated unit"


def test_a_value_of_a_unit_is_set_with_a_note_that_says_how_to_keep_it(
    pcont: Pcont, unit: Unit
) -> None:
    there = directory_of(unit("MemoryMax=100M", "TasksMax=20", "CPUQuota=50%"))
    said = pcont("set", place_of(there), "memory.max=64M", "pids.max=max", "cpu.max=30000")
    assert said.status == 0
    command = f"systemctl set-property {there.name} MemoryMax=64M TasksMax=infinity CPUQuota=30%"
    assert "which may undo this at the next `systemctl daemon-reload`" in said.err
    assert command in said.err
    files = ("memory.max", "pids.max", "cpu.max")
    wanted = [(there / file).read_text() for file in files]
    assert wanted == [f"{64 << 20}\n", "max\n", "30000 100000\n"]
    systemctl("daemon-reload")
    assert eventually(lambda: (there / "cpu.max").read_text() == "50000 100000\n")
    assert [(there / file).read_text() for file in files] != wanted
    subprocess.run(shlex.split(command), check=True)
    systemctl("daemon-reload")
    assert eventually(lambda: [(there / file).read_text() for file in files] == wanted)
    said = pcont("set", place_of(there), "memory.oom.group=1")
    assert "values of `systemctl set-property` last" in said.err
    said = pcont("create", "-p", place_of(there), "-s", "memory.high=50M")
    assert f"systemctl set-property {there.name} MemoryHigh=50M" in said.err
    said = pcont("set", place_of(there), "cgroup.max.depth=5")
    assert (said.status, said.err) == (0, "")


def test_a_task_enters_a_unit_with_a_note(pcont: Pcont, unit: Unit, process: int) -> None:
    there = directory_of(unit())
    place = place_of(there)
    said = pcont("attach", place, str(process))
    assert (said.status, path_of(process)) == (0, f"/{there.relative_to(ROOT)}")
    assert f"{place} belongs to systemd" in said.err
    run = subprocess.run(
        ["pcont", "run", place, "--", "cat", "/proc/self/cgroup"], capture_output=True, text=True
    )
    assert run.stdout == f"0::/{there.relative_to(ROOT)}\n"
    assert f"{place} belongs to systemd" in run.stderr
    systemctl("stop", there.name)
    assert not Path(f"/proc/{process}/exe").exists(), "it ended with the unit"


def test_a_unit_is_emptied_frozen_and_removed_with_force_only(pcont: Pcont, unit: Unit) -> None:
    name = unit()
    there, task = directory_of(name), int(state(name, "MainPID"))
    place = place_of(there)
    pcont.ok("create", "pids:/taken")
    for words in (
        *(["set", place, "cgroup.freeze=1"], ["move", place, "pids:/taken"]),
        *(["rm", "--evict", place], ["rm", "--kill", place], ["set", place, "cgroup.kill=1"]),
    ):
        said = pcont.fails(4, *words)
        assert f"{place} belongs to systemd" in said
        (hint,) = hints.hints(said)
        assert "--force" in hint
    assert path_of(task) == f"/{there.relative_to(ROOT)}"
    assert (there / "cgroup.freeze").read_text() == "0\n"
    pcont.ok("--force", "set", place, "cgroup.freeze=1")
    pcont.ok("set", place, "cgroup.freeze=0")
    pcont.ok("--force", "move", place, "unified:/taken")
    assert (path_of(task), state(name, "ActiveState")) == ("/taken", "active")
    pcont.ok("--force", "rm", place)
    pcont.ok("rm", "--kill", "unified:/taken")
    pcont.ok("rm", "unified:/pcont")


def test_doctor_and_tree_work_beside_systemd(pcont: Pcont) -> None:
    pcont.ok("doctor")
    assert "system.slice" in pcont.ok("tree", "unified")
