"""ns: which task may enter a container or make one; patch semantics, 6.2 and 6.3."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tests.contract.conftest import Pcont, Result, starts_empty


@dataclass
class Cells:
    """A hierarchy with ns."""

    pcont: Pcont
    name: str

    def at(self, path: str = "/") -> str:
        return f"{self.name}:{path}"

    def where(self, pid: int) -> str:
        (path,) = [
            path for tree, path in self.pcont.paths(pid).items() if f"name={self.name}" in tree
        ]
        return path

    def below(self, path: str = "/") -> list[str]:
        lines = self.pcont.ok("tree", self.at(path)).splitlines()
        return [line.partition("\t")[0].partition(":")[2] for line in lines]

    def inside(self, path: str, *words: str) -> Result:
        """A pcont command that starts inside a container."""
        own = [sys.executable, "-m", "pcont", *self.pcont.words, *words]
        return self.pcont("run", self.at(path), "--", *own)


@pytest.fixture
def cells(pcont: Pcont, name: str) -> Iterator[Cells]:
    pcont.ok("mount", "-o", "ns", "--name", name)
    cells = Cells(pcont, name)
    yield cells
    for path in reversed(cells.below()[1:]):
        pcont.ok("rm", "--kill", cells.at(path))
    pcont.ok("umount", name)


def test_a_task_enters_a_child_of_its_container_and_nothing_else(
    cells: Cells, start: Callable[..., int]
) -> None:
    pid, pcont = start(), cells.pcont
    pcont.ok("create", "-p", cells.at("/a/b"), cells.at("/c"))
    said = pcont.fails(4, "attach", cells.at("/a/b"), str(pid))
    assert f"task {pid} is in /, and may enter only what is right below (EPERM)" in said
    assert cells.where(pid) == "/"
    pcont.ok("attach", cells.at("/a"), str(pid))
    pcont.ok("attach", cells.at("/a"), str(pid))  # it is there already: no rule is checked
    for path in ("/", "/c"):
        assert "EPERM" in pcont.fails(4, "attach", cells.at(path), str(pid))
    assert cells.where(pid) == "/a"
    pcont.ok("attach", cells.at("/a/b"), str(pid))
    assert "EPERM" in pcont.fails(4, "rm", "--evict", cells.at("/a/b"))
    assert cells.where(pid) == "/a/b"


def test_a_container_is_one_processs(cells: Cells, start: Callable[..., int]) -> None:
    one, other, pcont = start(threads=3), start(), cells.pcont
    pcont.ok("create", cells.at("/a"))
    pcont.ok("attach", cells.at("/a"), str(one))
    said = pcont.fails(4, "attach", cells.at("/a"), str(other))
    assert f"tasks are in {cells.at('/a')}: {one}" in said
    assert (cells.where(one), cells.where(other)) == ("/a", "/")


def test_all_or_none_goes_back_against_the_rules(cells: Cells, start: Callable[..., int]) -> None:
    """A moved task returns to its container, although no task may enter that."""
    one, other, pcont = start(threads=2), start(), cells.pcont
    pcont.ok("create", cells.at("/a"), cells.at("/b"))
    pcont.fails(4, "attach", cells.at("/a"), str(one), str(other))
    assert (cells.where(one), cells.where(other)) == ("/", "/")
    assert pcont.ok("ps", cells.at("/a")) == ""


@pytest.mark.slow
def test_a_process_in_a_container_moves_and_makes_only_below_it(
    cells: Cells, start: Callable[..., int]
) -> None:
    pid, pcont = start(), cells.pcont
    pcont.ok("create", cells.at("/a"), cells.at("/b"))
    made = cells.inside("/a", "create", cells.at("/b/x"))
    assert made.status == 4
    assert "pcont itself is in /a, and may make containers only in there and below" in made.err
    moved = cells.inside("/a", "attach", cells.at("/b"), str(pid))
    assert moved.status == 4
    assert "may move others only in there and below (EPERM)" in moved.err
    assert cells.where(pid) == "/"
    assert cells.inside("/a", "create", "-p", cells.at("/a/x/y")).status == 0
    assert cells.below("/a") == ["/a", "/a/x", "/a/x/y"]


def test_clone_goes_down_one_level_each_time(cells: Cells, start: Callable[..., int]) -> None:
    """The next one of the same process nests: node_PID/node_PID."""
    pid, pcont = start(threads=2), cells.pcont
    node = f"/node_{pid}"
    assert pcont.ok("clone", cells.name, "--pid", str(pid)) == f"{cells.at(node)}\n"
    assert pcont.ok("clone", cells.name, "--pid", str(pid)) == f"{cells.at(node + node)}\n"
    assert cells.where(pid) == node + node


def test_a_name_that_is_taken_is_busy(cells: Cells, start: Callable[..., int]) -> None:
    pid, pcont = start(), cells.pcont
    pcont.ok("create", cells.at(f"/node_{pid}"))
    assert "EEXIST" in pcont.fails(5, "clone", cells.name, "--pid", str(pid))
    assert cells.where(pid) == "/"


@pytest.fixture
def tied(pcont: Pcont, name: str) -> Iterator[Cells]:
    """The same over pids, too."""
    if free := starts_empty(pcont):
        pcont.ok("mount", "-o", "pids")
    pcont.ok("mount", "--tie", "--name", name, "-o", "ns,pids", "--at", f"/{name}")
    cells = Cells(pcont, name)
    yield cells
    for path in reversed(cells.below()[1:]):
        pcont.ok("rm", "--kill", cells.at(path))
    pcont.ok("umount", name)
    if free:
        pcont.ok("umount", "pids")


def test_in_a_tie_a_refusal_moves_no_task_in_any_tree(
    tied: Cells, start: Callable[..., int]
) -> None:
    pid, pcont = start(), tied.pcont
    pcont.ok("create", "-p", tied.at("/a/b"))
    before = pcont.paths(pid)
    pcont.fails(4, "attach", tied.at("/a/b"), str(pid))
    assert pcont.paths(pid) == before
    pcont.ok("attach", tied.at("/a"), str(pid))
    assert pcont.paths(pid)["pids"] == f"/{tied.name}/a"


def test_it_is_unbound_and_bound_in_use(cells: Cells, start: Callable[..., int]) -> None:
    pid, pcont = start(), cells.pcont
    pcont.ok("create", cells.at("/a"), cells.at("/b"))
    pcont.ok("attach", cells.at("/a"), str(pid))
    pcont.fails(4, "attach", cells.at("/b"), str(pid))
    pcont.ok("unbind", cells.name, "ns", "--yes")
    pcont.ok("attach", cells.at("/b"), str(pid))
    pcont.ok("bind", cells.name, "ns")
    pcont.fails(4, "attach", cells.at("/a"), str(pid))


# The name ns is one for all of a machine.
@pytest.mark.parametrize(
    "pcont",
    [
        pytest.param("model", id="model"),
        pytest.param("cgroupfs", id="guest", marks=pytest.mark.guest),
    ],
    indirect=True,
)
def test_alone_it_is_called_like_its_subsystem(pcont: Pcont) -> None:
    assert pcont.ok("mount", "-o", "ns") == pcont.ok("mount", "-o", "ns")
    assert "ns exists" in pcont.fails(5, "mount", "-o", "cpuset", "--name", "ns")
    assert pcont.ok("tree", "ns").startswith("ns:/\t")
    pcont.ok("umount", "ns")
    assert "the name of a subsystem" in pcont.fails(7, "mount", "-o", "cpuset", "--name", "ns")
