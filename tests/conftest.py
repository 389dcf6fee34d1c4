"""Which tests run here, and that none of them leaves anything behind."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from pcont.backend import Place
from pcont.backend_cgroupfs import Cgroupfs
from pcont.proc import Proc

MUST = bool(os.environ.get("PCONT_MUST"))
IN_GUEST = bool(os.environ.get("PCONT_GUEST"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Say why a test cannot run here; where everything must run, let it fail instead."""
    for item in items:
        if item.get_closest_marker("guest") and not IN_GUEST:
            item.add_marker(pytest.mark.skip("needs a machine of its own: python -m tests.vm"))
        elif item.get_closest_marker("kernel") and not MUST and (why := no_kernel()):
            item.add_marker(pytest.mark.skip(why))


def no_kernel() -> str:
    """Why the tests that change real cgroups cannot run here; empty where they can."""
    if os.geteuid() != 0:
        return "needs root: it changes real cgroups"
    if not IN_GUEST and not {"cpuset", "cpuacct"} <= _bound():
        return "this host has no cgroup v1 hierarchies with cpuset and cpuacct"
    return ""


def _bound() -> set[str]:
    return {name for tree in Cgroupfs().trees() for name in tree.controllers}


def _hierarchies() -> list[str]:
    """/proc/self/cgroup without its numbers: which hierarchies are active, and where we are."""
    return sorted(line.partition(":")[2] for line in Proc().text("self/cgroup").splitlines())


def _containers() -> list[str]:
    """The top containers of this process's tests, in every hierarchy that can be seen."""
    backend = Cgroupfs()
    return [
        f"{tree.id}:/{name}"
        for tree in backend.trees()
        for name in (backend.children(Place(tree.id)) if tree.mounted else ())
        if name.startswith(f"pct{os.getpid()}-")
    ]


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """The same hierarchies are active after a test as before, and no container of ours is left."""
    before = _hierarchies()
    yield
    assert _hierarchies() == before
    assert _containers() == []
