"""memset: the memory nodes of cpuset as a subsystem of their own; patch semantics, 2.5."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pcont.kernel.types import Place
from pcont.values import ID_LIST
from tests.contract.conftest import Pcont, clear, eventually, only_kernel, starts_empty

only_model = pytest.mark.parametrize("pcont", [pytest.param("model", id="model")], indirect=True)
on_bare_machines = pytest.mark.parametrize(
    "pcont",
    [
        pytest.param("model", id="model"),
        pytest.param("cgroupfs", id="kernel", marks=(pytest.mark.kernel, pytest.mark.guest)),
    ],
    indirect=True,
)
HALF = (
    *("cpus_follow", "effective_mems", "mem_exclusive", "mem_hardwall", "memory_migrate"),
    *("memory_pressure", "memory_spread_page", "memory_spread_slab", "mems"),
)
ONE = "cpuset and memset are one controller of the kernel"


@dataclass
class Sets:
    """A hierarchy with memset; its root is a container of its own, so that it works on a host."""

    pcont: Pcont
    name: str

    def at(self, path: str = "/") -> str:
        return f"{self.name}:{path}"

    def get(self, path: str, key: str) -> str:
        return self.pcont.get(self.at(path), key)

    def cpus(self, *paths: str) -> list[str]:
        return [self.get(path, "cpuset.cpus") for path in paths]

    def place(self, path: str = "") -> Place:
        """The same in the kernel's hierarchy."""
        return Place("cpuset", f"/{self.name}{path}")


def over_cpuset(pcont: Pcont, name: str) -> Iterator[Sets]:
    """What a test mounts by this name goes afterwards."""
    if free := starts_empty(pcont):
        pcont.ok("mount", "-o", "cpuset")
    yield Sets(pcont, name)
    clear(pcont, name)
    pcont.ok("umount", name)
    assert pcont.backend().attributes(Place("cpuset")) == {}
    if free:
        pcont.ok("umount", "cpuset")


@pytest.fixture
def hierarchy(pcont: Pcont, name: str) -> Iterator[Sets]:
    """Nothing is mounted yet."""
    yield from over_cpuset(pcont, name)


def tied(sets: Sets, *words: str) -> Sets:
    place = ("--tie", "--name", sets.name, "--at", f"/{sets.name}", "--no-freezer")
    sets.pcont.ok("mount", *place, "-o", *words)
    return sets


@pytest.fixture
def sets(hierarchy: Sets) -> Sets:
    """memset alone."""
    return tied(hierarchy, "memset")


@pytest.fixture
def both(hierarchy: Sets) -> Sets:
    """cpuset and memset."""
    return tied(hierarchy, "cpuset,memset")


@pytest.mark.quick
def test_its_files_are_other_names_of_the_kernels(sets: Sets) -> None:
    sets.pcont.ok("create", sets.at("/a"))
    found = [key for key in sets.pcont("get", sets.at(), "--json").json if "memset." in key]
    assert found == [f"memset.{word}" for word in HALF]
    sets.pcont.ok("set", sets.at("/a"), "memset.mems=0", "memset.mem_hardwall=1")
    assert sets.get("/a", "cpuset.mems") == sets.get("/a", "memset.mems") == "0"
    assert sets.get("/a", "cpuset.mem_hardwall") == "1"
    sets.pcont.ok("set", sets.at("/a"), "mems=", "memory_migrate=1")
    assert sets.get("/a", "memset.mems") == ""
    assert sets.get("/a", "memset.memory_migrate") == "1"
    for file in ("memset.cpus", "memset.memory_pressure_enabled", "memset.cpus_follow"):
        assert "has no file" in sets.pcont.fails(3, "get", sets.at("/a"), file)


def test_a_refusal_is_explained_by_the_rules_of_cpuset(sets: Sets) -> None:
    sets.pcont.ok("create", sets.at("/a"), sets.at("/b"), "-s", "memset.mems=0")
    error = sets.pcont.fails(7, "set", sets.at("/a"), "memset.mem_exclusive=1")
    assert "set memset.mem_exclusive" in error
    assert "is not exclusive itself" in error
    assert "EACCES" in error
    error = sets.pcont.fails(7, "set", sets.at("/a"), "memset.mem_hardwall=1", "memset.mems=999")
    assert "this machine has no memory nodes 999" in error
    assert sets.get("/a", "memset.mem_hardwall") == "0"
    assert "can only be read" in sets.pcont.fails(
        7, "set", sets.at("/a"), "memset.memory_pressure=1"
    )
    assert "takes" in sets.pcont.fails(7, "set", sets.at("/a"), "memset.mems=x")


def test_nodes_are_all_that_is_needed_to_enter(sets: Sets, start: Callable[..., int]) -> None:
    task = str(start())
    sets.pcont.ok("create", sets.at("/a"))
    error = sets.pcont.fails(7, "attach", sets.at("/a"), task)
    assert "cpuset.mems" in error
    assert "cpuset.cpus" not in error
    sets.pcont.ok("set", sets.at("/a"), "memset.mems=0")
    sets.pcont.ok("attach", sets.at("/a"), task)
    sets.pcont.ok("create", "-p", sets.at("/b/c"))
    assert set(sets.cpus("/a", "/b", "/b/c")) == set(sets.cpus("/"))
    assert sets.get("/b/c", "memset.mems") == ""


def test_what_is_said_of_the_cpus_counts_for_more(sets: Sets) -> None:
    sets.pcont.ok("create", "-p", sets.at("/a/b"), "-s", "cpuset.cpus=0")
    sets.pcont.ok("create", "-i", sets.at("/a/c"))
    assert sets.cpus("/a/b") == ["0"]
    assert sets.cpus("/a/c") == sets.cpus("/a")
    assert sets.get("/a/c", "memset.mems") == ""


def test_a_dry_run_tells_what_the_kernel_is_given(sets: Sets) -> None:
    reported = sets.pcont.ok("create", "-n", sets.at("/a"), "-s", "memset.mems=0").splitlines()
    shown = sets.pcont.backend().show
    (cpus,) = sets.cpus("/")
    assert f"echo 0 > {shown(sets.place('/a'), 'cpuset.mems')}" in reported
    assert f"echo {cpus} > {shown(sets.place('/a'), 'cpuset.cpus')}" in reported


def test_gc_gives_the_cpus_back(sets: Sets) -> None:
    """From above: to a container that a plain mkdir made, and to one that has lost some."""
    sets.pcont.ok("create", "-p", sets.at("/a/b"))
    backend = sets.pcont.backend()
    with backend.exclusive():
        backend.make(sets.place("/a/b/plain"))
        for path in ("/a/b", "/a", ""):
            backend.write(sets.place(path), "cpuset.cpus", "0")
    all_cpus = backend.read(Place("cpuset"), "cpuset.cpus").strip()
    paths = ("", "/a", "/a/b", "/a/b/plain")
    commands = [
        f"echo {all_cpus} > {backend.show(sets.place(path), 'cpuset.cpus')}" for path in paths
    ]
    assert sets.pcont.ok("gc", "-n", sets.name).splitlines() == commands
    assert [row["what"] for row in sets.pcont("gc", sets.name, "--json").json] == commands
    backend = sets.pcont.backend()
    found = [backend.read(sets.place(path), "cpuset.cpus").strip() for path in paths]
    assert found == [all_cpus] * 4
    assert sets.pcont("gc", sets.name, "--json").json == []


def test_of_both_the_cpus_are_the_users_own(both: Sets) -> None:
    both.pcont.ok("create", both.at("/a"))
    assert both.cpus("/a") == [""]
    assert both.get("/", "memset.cpus_follow") == "0"
    assert both.pcont.ok("gc", "-n", both.name) == ""
    both.pcont.ok("set", both.at(), "memset.cpus_follow=1")
    both.pcont.ok("create", both.at("/b"))
    assert both.cpus("/b") == both.cpus("/")


@pytest.mark.parametrize("others", ["cpuset", "cpuset,memset"])
def test_it_is_busy_beside_an_independent_cpuset(sets: Sets, others: str) -> None:
    place = ("--tie", "--name", f"{sets.name}x", "--no-freezer")
    for at in (f"/{sets.name}", f"/{sets.name}/a"):
        error = sets.pcont.fails(5, "mount", *place, "--at", at, "-o", others)
        assert f"{ONE}, and {sets.name} has memset alone" in error
    sets.pcont.ok("mount", *place, "--at", f"/{sets.name}x", "-o", others)
    error = sets.pcont.fails(5, "mount", "--tie", "--name", f"{sets.name}y", "-o", "memset")
    assert f"{ONE}, and {sets.name}x has " in error
    sets.pcont.ok("umount", f"{sets.name}x")


def test_nor_is_cpuset_bound_beside_it(sets: Sets) -> None:
    other = f"{sets.name}x"
    place = ("--tie", "--name", other, "--no-freezer", "--at", f"/{sets.name}")
    sets.pcont.ok("mount", *place, "-o", "cpuacct")
    assert ONE in sets.pcont.fails(5, "bind", other, "cpuset")
    assert sets.pcont("bind", other, "memset", "--json").json == ["cpuacct", "cpuset", "memset"]
    sets.pcont.ok("umount", other)


def test_where_cpuset_is_bound_it_needs_a_tie(pcont: Pcont, name: str) -> None:
    if free := starts_empty(pcont):
        pcont.ok("mount", "-o", "cpuset")
    assert ONE in pcont.fails(5, "mount", "-o", "memset", "--name", name)
    if free:
        pcont.ok("umount", "cpuset")


@on_bare_machines
def test_a_hierarchy_of_the_kernel_has_one_half_or_both(pcont: Pcont) -> None:
    mounted = pcont.ok("mount", "-o", "memset")
    assert pcont.ok("mount", "-o", "memset") == mounted
    for words in ("cpuset", "cpuset,memset", "all"):
        assert ONE in pcont.fails(5, "mount", "-o", words, "/n")
    assert ONE in pcont.fails(5, "mount", "--tie", "--name", "t", "-o", "cpuset", "--at", "/t")
    assert pcont.get("memset:/", "memset.memory_pressure_enabled") == "0"
    pcont.ok("set", "memset:/", "memset.memory_pressure_enabled=1")
    assert pcont.get("memset:/", "cpuset.memory_pressure_enabled") == "1"
    # It is one flag for the whole kernel, which stays when the hierarchy goes.
    pcont.ok("set", "memset:/", "memset.memory_pressure_enabled=0")
    assert "always has everything" in pcont.fails(7, "set", "memset:/", "memset.mems=0")
    pcont.ok("umount", "memset")
    pcont.ok("mount", "-o", "memset,cpuset")
    pcont.ok("create", "memset:/a")
    assert pcont.get("memset:/a", "cpuset.cpus") == ""
    for words in ("cpuset", "memset"):
        assert ONE in pcont.fails(5, "mount", "-o", words, "/n")
    pcont.ok("rm", "memset:/a")
    pcont.ok("umount", "memset")


def plug(pcont: Pcont, cpus: str) -> None:
    """A machine of four CPUs has so many of them."""
    if "model" in pcont.words:
        pcont.ok("sim", "machine", "--cpus", cpus)
    else:
        online = Path("/sys/devices/system/cpu/cpu3/online")
        online.write_text(str(int(cpus == "0-3")))


@on_bare_machines
def test_gc_restores_what_went_with_a_cpu(pcont: Pcont) -> None:
    def cpus() -> list[str]:
        return [pcont.get(place, "cpuset.cpus") for place in ("jobs:/a", "jobs:/a/b")]

    plug(pcont, "0-3")
    pcont.ok("mount", "-o", "memset", "--name", "jobs")
    pcont.ok("create", "-p", "jobs:/a/b")
    plug(pcont, "0-2")
    assert eventually(lambda: cpus() == ["0-2", "0-2"])
    plug(pcont, "0-3")
    assert eventually(lambda: pcont.get("jobs:/", "cpuset.cpus") == "0-3")
    assert cpus() == ["0-2", "0-2"]
    pcont.ok("gc", "jobs")
    assert cpus() == ["0-3", "0-3"]
    pcont.ok("rm", "-r", "jobs:/a")
    pcont.ok("umount", "jobs")


@only_model
def test_gc_names_the_containers_that_cannot_have_them(pcont: Pcont) -> None:
    pcont.ok("sim", "machine", "--cpus", "0-3")
    pcont.ok("mount", "-o", "memset", "--name", "jobs")
    pcont.ok("create", "jobs:/a", "-s", "cpuset.cpus=0", "-s", "cpuset.cpu_exclusive=1")
    pcont.ok("create", "jobs:/b", "-s", "cpuset.cpus=1")
    pcont.ok("create", "jobs:/b/c")
    done = pcont("gc")
    assert done.status == 0
    assert "the sibling /b overlaps in the CPUs 1" in done.err
    assert "the sibling /a overlaps in the CPUs 0" in done.err
    assert pcont.get("jobs:/b", "cpuset.cpus") == "1"


def test_it_is_bound_and_unbound_like_the_others(
    hierarchy: Sets, start: Callable[..., int]
) -> None:
    pcont, name = hierarchy.pcont, hierarchy.name
    tied(hierarchy, "cpuacct")
    pcont.ok("create", "-p", f"{name}:/a/b")
    pcont.ok("attach", f"{name}:/a/b", str(start()))
    pcont.ok("bind", name, "memset", "-i", "-s", "/a:memset.mem_hardwall=1")
    error = pcont.fails(5, "bind", name, "cpuset")
    assert f"add cpuset to memset: pcont set {name}:/ memset.cpus_follow=0\n" in error
    assert hierarchy.cpus("/a", "/a/b") == hierarchy.cpus("/") * 2
    assert hierarchy.get("/a", "memset.mem_hardwall") == "1"
    assert hierarchy.get("/a/b", "memset.mem_hardwall") == "0"
    rows = {row["name"]: row for row in pcont("subsys", "--json").json}
    assert rows["memset"]["bound"] == rows["cpuset"]["bound"] == "cpuset"
    assert "memset requires cpuset" in pcont.fails(5, "unbind", name, "cpuset", "--yes")
    assert pcont("unbind", name, "memset", "--yes", "--json").json["ceased"] == []
    assert "has no file" in pcont.fails(3, "get", f"{name}:/a", "memset.mems")
    pcont.ok("bind", name, "memset", "-s", "/a:memset.mem_hardwall=0")  # beside its cpuset
    assert hierarchy.get("/", "memset.cpus_follow") == "0"
    assert hierarchy.get("/a", "memset.mem_hardwall") == "0"
    ceased = pcont("unbind", name, "cpuset,memset", "--yes", "--json").json["ceased"]
    assert ceased == [f"{name}:/ memset.cpus_follow=0"]
    assert pcont.backend().attributes(Place("cpuset")) == {}


@on_bare_machines
def test_its_nodes_let_tasks_enter_where_it_is_bound(
    pcont: Pcont, name: str, start: Callable[..., int]
) -> None:
    nodes = f"memset.mems={ID_LIST.show(pcont.backend().machine().nodes)}"
    pcont.ok("mount", "-o", "none", "--name", name)
    pcont.ok("create", "-p", f"{name}:/a/b")
    task = start()
    pcont.ok("attach", f"{name}:/a/b", str(task))
    reported = pcont.ok("bind", "-n", name, "memset", "-s", nodes).splitlines()
    assert [line.split()[0] for line in reported if "cpuset.mems" in line] == ["echo", "echo"]
    pcont.ok("bind", name, "memset", "-s", nodes)
    assert pcont.paths(task)["cpuset"] == "/a/b"
    pcont.ok("set", f"{name}:/a", "memset.mem_hardwall=1")
    unbound = pcont("unbind", name, "memset,cpuset", "--yes", "--json").json
    assert unbound["ceased"] == [f"{name}:/a cpuset.mem_hardwall=1"]
    os.kill(task, signal.SIGKILL)
    os.waitpid(task, 0)  # a zombie would hold on to the hierarchy
    pcont.ok("rm", "-r", f"{name}:/a")
    pcont.ok("umount", name)


@only_kernel
def test_a_process_that_sees_a_container_as_the_root_knows_which_subsystem_has_the_cpus(
    both: Sets,
) -> None:
    asks = (sys.executable, "-m", "pcont", "get", both.at(), "memset.cpus_follow")
    both.pcont.ok("create", "-i", both.at("/a"))
    clone = (sys.executable, "-m", "pcont", "clone", both.name, "--ns", "mnt,cgroup", "--", *asks)
    assert both.pcont.ok("run", both.at("/a"), "--", *clone) == "0\n"


@only_kernel
def test_a_command_that_is_run_or_cloned_has_all_cpus(sets: Sets) -> None:
    sets.pcont.ok("create", sets.at("/a"), "-s", "memset.mems=0")
    out = sets.pcont.ok("run", sets.at("/a"), "--", "cat", "/proc/self/status")
    (line,) = [line for line in out.splitlines() if line.startswith("Cpus_allowed_list")]
    assert line.split()[1] == sets.cpus("/")[0]
