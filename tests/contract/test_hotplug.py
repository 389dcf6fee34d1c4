"""CPUs that go offline and come back: what cpusets lose, doctor lists and gc --cpus restores."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from pcont.kernel.types import Place
from tests.contract.conftest import Pcont, eventually

on_bare_machines = pytest.mark.parametrize(
    "pcont",
    [
        pytest.param("model", id="model"),
        pytest.param("cgroupfs", id="kernel", marks=[pytest.mark.kernel, pytest.mark.guest]),
    ],
    indirect=True,
)
only_model = pytest.mark.parametrize("pcont", [pytest.param("model", id="model")], indirect=True)


def plug(pcont: Pcont, cpus: str) -> None:
    """A machine of four CPUs has these, 0-3 or 0-2."""
    if "model" in pcont.words:
        pcont.ok("sim", "machine", "--cpus", cpus, "--nodes", "0")
    else:
        Path("/sys/devices/system/cpu/cpu3/online").write_text(str(int(cpus == "0-3")))


@pytest.fixture
def machine(pcont: Pcont) -> Iterator[Pcont]:
    """Four CPUs, and a hierarchy with cpuset."""
    plug(pcont, "0-3")
    pcont.ok("mount", "-o", "cpuset", "--name", "jobs")
    yield pcont
    plug(pcont, "0-3")
    top = json.loads(pcont.ok("tree", "--json", "jobs:/"))["result"][0]
    names = [f"jobs:{child['path']}" for child in top["children"]]
    if names:
        pcont.ok("rm", "-r", *names)
    pcont.ok("umount", "jobs")


def off_and_on(pcont: Pcont, place: str) -> None:
    """CPU 3 goes offline, until the container has lost it, and comes back."""
    plug(pcont, "0-2")
    assert eventually(lambda: "3" not in pcont.get(place, "cpuset.cpus"))
    plug(pcont, "0-3")
    assert eventually(lambda: pcont.get("jobs:/", "cpuset.cpus") == "0-3")


def hotplug(pcont: Pcont) -> list[str]:
    """What doctor finds about it."""
    return [one["finding"] for one in pcont("doctor", "--json").json if one["subject"] == "hotplug"]


def cpus(pcont: Pcont, *paths: str) -> list[str]:
    return [pcont.get(f"jobs:{path}", "cpuset.cpus") for path in paths]


@on_bare_machines
def test_lists_that_were_set_are_restored_and_others_stay(machine: Pcont) -> None:
    pcont = machine
    pcont.ok("create", "jobs:/a", "-s", "cpus=1-3", "-s", "mems=0")
    pcont.ok("create", "-i", "jobs:/a/b", "jobs:/a/c", "jobs:/d")
    pcont.ok("set", "jobs:/a/c", "cpus=2-3")
    pcont.ok("set", "jobs:/d", "cpus=0-1")
    assert hotplug(pcont) == []
    assert pcont.ok("gc", "--cpus") == ""
    off_and_on(pcont, "jobs:/a")
    assert cpus(pcont, "/a", "/a/b", "/a/c", "/d") == ["1-2", "1-2", "2", "0-1"]
    (said,) = hotplug(pcont)
    assert said.startswith("3 lists lack CPUs or memory nodes that are online again: ")
    assert "/a (cpuset.cpus 3), " in said
    before = cpus(pcont, "/a", "/a/b", "/a/c", "/d")
    assert pcont.ok("gc", "--cpus", "-n").count("echo ") == 3
    assert cpus(pcont, "/a", "/a/b", "/a/c", "/d") == before
    found = pcont("gc", "--cpus", "jobs", "--json").json
    assert [one["done"] for one in found] == ["restored"] * 3
    assert cpus(pcont, "/a", "/a/b", "/a/c", "/d") == ["1-3", "1-3", "2-3", "0-1"]
    assert hotplug(pcont) == []


@on_bare_machines
def test_what_is_offline_cannot_be_restored(machine: Pcont) -> None:
    pcont = machine
    pcont.ok("create", "-i", "jobs:/a")
    plug(pcont, "0-2")
    assert eventually(lambda: cpus(pcont, "/a") == ["0-2"])
    assert hotplug(pcont) == []
    assert pcont.ok("gc", "--cpus") == ""


@on_bare_machines
def test_the_last_list_that_was_set_counts(machine: Pcont) -> None:
    pcont = machine
    pcont.ok("create", "-i", "jobs:/a")
    off_and_on(pcont, "jobs:/a")
    pcont.ok("set", "jobs:/a", "cpus=0-1")
    assert hotplug(pcont) == []
    pcont.ok("set", "jobs:/a", "cpus=")
    assert hotplug(pcont) == []


@on_bare_machines
def test_a_refused_set_leaves_the_list_that_counts(machine: Pcont) -> None:
    pcont = machine
    pcont.ok("create", "-i", "jobs:/a")
    pcont.fails(7, "set", "jobs:/a", "cpus=0", "cpuset.sched_relax_domain_level=77")
    off_and_on(pcont, "jobs:/a")
    pcont.ok("gc", "--cpus")
    assert cpus(pcont, "/a") == ["0-3"]


@on_bare_machines
def test_a_parent_that_pcont_has_not_set_is_named(machine: Pcont) -> None:
    pcont = machine
    pcont.ok("create", "-p", "-i", "jobs:/a/b")
    off_and_on(pcont, "jobs:/a")
    backend = pcont.backend()
    trees = [one for one in backend.trees() if not one.is_unified]
    (tree,) = [one.id for one in trees if "cpuset" in one.controllers]
    with backend.exclusive():
        backend.set_attribute(Place(tree, "/a"), "cpus", None)  # as if mkdir and echo had made it
    said = pcont("gc", "--cpus")
    assert said.status == 0
    assert "itself lacks 3, so " in said.err
    assert cpus(pcont, "/a", "/a/b") == ["0-2", "0-2"]


@on_bare_machines
def test_gc_of_cpus_needs_cpuset(machine: Pcont) -> None:
    pcont = machine
    pcont.ok("mount", "-o", "none", "--name", "plain")
    try:
        assert "has no cpuset" in pcont.fails(3, "gc", "--cpus", "plain")
    finally:
        pcont.ok("umount", "plain")


@only_model
def test_memory_nodes_come_back_like_cpus(pcont: Pcont) -> None:
    pcont.ok("sim", "machine", "--cpus", "0-3", "--nodes", "0-1")
    pcont.ok("mount", "-o", "cpuset", "--name", "jobs")
    pcont.ok("create", "-i", "jobs:/a")
    pcont.ok("sim", "machine", "--cpus", "0-3", "--nodes", "0")
    pcont.ok("sim", "machine", "--cpus", "0-3", "--nodes", "0-1")
    assert pcont.get("jobs:/a", "cpuset.mems") == "0"
    (said,) = hotplug(pcont)
    assert "(cpuset.mems 1)" in said
    pcont.ok("gc", "--cpus")
    assert pcont.get("jobs:/a", "cpuset.mems") == "0-1"
