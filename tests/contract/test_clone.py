"""clone: where the new container is created, from inside of the hierarchy and from outside."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Callable

import pytest

from tests.conftest import elsewhere
from tests.contract.conftest import Jobs
from tests.contract.test_containers import there
from tests.contract.test_run import container_of


def asks(jobs: Jobs) -> list[str]:
    """A command that prints where it is."""
    words = [sys.executable, "-m", "pcont", *jobs.pcont.words, "where", "--json"]
    return ["sh", "-c", f'{shlex.join(words)} "$$"; exit 4']


def test_from_outside_it_is_below_the_root(jobs: Jobs) -> None:
    """As in the first example of --help, from a login shell, also with a tie that has --at."""
    result = jobs.pcont("clone", jobs.name, "--", *asks(jobs))
    assert result.status == 4, result.err
    place = result.err.splitlines()[-1]
    assert place.startswith(jobs.at("/node_"))
    assert container_of(jobs, result.out) == place.partition(":")[2]
    assert there(jobs) == ["/"]


@pytest.mark.quick
def test_below_a_place_that_is_given(jobs: Jobs) -> None:
    jobs.pcont.ok("create", "-p", "-i", jobs.at("/a/b"), "-s", "cpus=1")
    result = jobs.pcont("clone", jobs.at("/a/b"), "--keep", "--", *asks(jobs))
    assert result.status == 4, result.err
    place = result.err.splitlines()[-1]
    assert place.startswith(jobs.at("/a/b/node_"))
    assert container_of(jobs, result.out) == place.partition(":")[2]
    assert jobs.pcont.get(place, "cpuset.cpus") == "1"


def test_the_name_and_the_root_of_a_hierarchy_mean_the_same(
    jobs: Jobs, start: Callable[..., int]
) -> None:
    jobs.pcont.ok("create", "-p", "-i", jobs.at("/a"))
    pid = start()
    jobs.pcont.ok("attach", jobs.at("/a"), str(pid))
    for text in (jobs.name, f"{jobs.name}:", f"{jobs.name}:/"):
        out = jobs.pcont.ok("clone", "-n", text, "--pid", str(pid))
        assert f"/a/node_{pid}" in out
    assert jobs.pcont.ok("clone", jobs.name, "--pid", str(pid)) == f"{jobs.at(f'/a/node_{pid}')}\n"


def test_a_process_from_outside_is_moved_below_the_root_or_the_place(
    jobs: Jobs, start: Callable[..., int]
) -> None:
    jobs.pcont.ok("create", "-i", jobs.at("/a"))
    for path, words in (("", jobs.name), ("/a", jobs.at("/a"))):
        pid = start()
        name = jobs.at(f"{path}/node_{pid}")
        assert jobs.pcont.ok("clone", words, "--pid", str(pid)) == f"{name}\n"
        rows = json.loads(jobs.pcont.ok("ps", name, "--json"))["result"]
        assert [row["pid"] for row in rows] == [pid]


def test_a_place_that_does_not_exist_is_not_made(jobs: Jobs, start: Callable[..., int]) -> None:
    pid = start()
    assert jobs.at("/no") in jobs.pcont.fails(3, "clone", jobs.at("/no"), "--pid", str(pid))
    jobs.pcont.fails(125, "clone", jobs.at("/no"), "--", "true")
    assert there(jobs) == ["/"]


def test_a_process_in_several_containers_needs_a_place_and_the_hint_works(
    jobs: Jobs, start: Callable[..., int]
) -> None:
    """The hint is a command: it is run as it stands."""
    jobs.pcont.ok("create", "-i", jobs.at("/a"))
    if len(set(jobs.controllers.values())) < 2:
        elsewhere("a single tree cannot split a process")
    pid = start()
    jobs.pcont.ok("attach", jobs.at("/"), str(pid))
    tree = jobs.tree("cpuset" if "cpuset" in jobs.controllers else "cpuacct")
    jobs.pcont.ok("attach", f"{tree}:/{jobs.name}/a", str(pid))
    refused = jobs.pcont.fails(5, "clone", "--json", jobs.name, "--pid", str(pid))
    error = json.loads(refused.splitlines()[-1])["error"]
    assert "is in several containers" in error["message"]
    hint = error["hint"].partition(": pcont ")[2].split()
    assert jobs.pcont.ok(*hint).startswith(jobs.name)
    assert os.path.exists(f"/proc/{pid}")
