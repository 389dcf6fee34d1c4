"""pids: limits, and which tasks are counted. Only the kernel sees forks, which it limits."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable

import pytest

from tests.contract.conftest import Top, eventually, only_kernel


def counts(top: Top, *paths: str) -> list[tuple[int, int]]:
    """How many tasks each has, and had at the most."""
    answers = [
        json.loads(top.pcont.ok("get", "--json", top.at(path), "pids.current", "pids.peak"))
        for path in paths
    ]
    return [tuple(answer["result"].values()) for answer in answers]


def test_limits_are_read_back_as_numbers_or_max(crowd: Top) -> None:
    assert crowd.pcont.get(crowd.at(), "pids.max") == "max"
    for text, limit in (
        *(("0", "0"), ("4194304", "4194304"), (" max ", "max"), (" 7", "7"), ("7 \n", "7")),
        *(("0x10", "16"), ("010", "8"), ("+5", "5"), ("-0", "0")),
    ):
        crowd.pcont.ok("set", crowd.at(), f"pids.max={text}")
        assert crowd.pcont.get(crowd.at(), "pids.max") == limit, text


def test_what_cannot_be_a_limit_is_refused_and_says_why(crowd: Top) -> None:
    for text, errno, why in (
        *((text, "EINVAL", "from 0 to 4194304") for text in ("4194305", "-1", str(2**63 - 1))),
        *((text, "EINVAL", "a number, or max") for text in ("MAX", "x", "1 2", "1.5", "")),
        *((text, "ERANGE", "a number, or max") for text in (str(2**63), str(2**64 - 1))),
    ):
        said = crowd.pcont.fails(7, "set", crowd.at(), f"pids.max={text}")
        assert errno in said, text
        assert why in said, text
    assert crowd.pcont.get(crowd.at(), "pids.max") == "max"


def test_a_set_that_is_refused_leaves_the_limit(crowd: Top) -> None:
    crowd.pcont.fails(7, "set", crowd.at(), "pids.max=5", "notify_on_release=x")
    assert crowd.pcont.get(crowd.at(), "pids.max") == "max"


def test_the_other_files_can_only_be_read(crowd: Top) -> None:
    for key in ("pids.current", "pids.peak", "pids.events"):
        assert "EINVAL" in crowd.pcont.fails(7, "set", crowd.at(), f"{key}=0")


def test_the_root_has_no_limit_and_no_count(crowd: Top) -> None:
    for key in ("pids.max", "pids.current", "pids.peak", "pids.events"):
        crowd.pcont.fails(3, "get", "pids:/", key)


def test_a_new_child_has_no_limit_whatever_its_parent_has(
    start: Callable[..., int], crowd: Top
) -> None:
    crowd.pcont.ok("set", crowd.at(), "pids.max=5")
    crowd.pcont.ok("create", "-i", crowd.at("/b"))
    assert crowd.pcont.get(crowd.at("/b"), "pids.max") == "max"
    pid = start()
    crowd.pcont.ok("attach", crowd.at(), str(pid))
    crowd.pcont.ok("clone", "pids", "--pid", str(pid))
    assert crowd.pcont.get(crowd.at(f"/node_{pid}"), "pids.max") == "max"


@pytest.mark.quick
def test_listings_show_the_limit(crowd: Top) -> None:
    crowd.pcont.ok("create", crowd.at("/b"), "-s", "pids.max=7")
    lines = crowd.pcont.ok("tree", crowd.at()).splitlines()
    assert [line.split("\t")[2] for line in lines] == ["pids.max=max", "pids.max=7"]


def test_threads_are_counted_in_every_container_above(
    start: Callable[..., int], crowd: Top
) -> None:
    """A task that moves between children counts twice in their parent; the peak shows it."""
    crowd.pcont.ok("create", crowd.at("/b"), crowd.at("/c"))
    pid = start(threads=3)
    crowd.pcont.ok("attach", crowd.at("/b"), str(pid))
    assert counts(crowd, "", "/b", "/c") == [(3, 3), (3, 3), (0, 0)]
    crowd.pcont.ok("attach", crowd.at("/c"), str(pid))
    assert counts(crowd, "", "/b", "/c") == [(3, 4), (0, 3), (3, 3)]
    crowd.pcont.ok("attach", crowd.at(), str(start()))
    assert counts(crowd, "", "/b", "/c") == [(4, 4), (0, 3), (3, 3)]
    crowd.pcont.ok("rm", "--evict", crowd.at("/b"), crowd.at("/c"))
    assert counts(crowd, "") == [(4, 5)]


def test_threads_that_are_together_move_one_after_the_other(
    start: Callable[..., int], crowd: Top
) -> None:
    """The peak above shows it: a task that was inside before comes last, and is counted twice."""
    crowd.pcont.ok("create", crowd.at("/b"))
    pid, backend = start(threads=3), crowd.pcont.backend()
    with backend.exclusive():
        backend.write(crowd.place(), "tasks", str(backend.threads(pid)[1]))
        backend.write(crowd.place("/b"), "cgroup.procs", str(pid))
    assert counts(crowd, "", "/b") == [(3, 4), (3, 3)]


def test_the_limit_does_not_hold_for_attached_tasks(start: Callable[..., int], crowd: Top) -> None:
    crowd.pcont.ok("create", crowd.at("/b"))
    crowd.pcont.ok("set", crowd.at(), "pids.max=0")
    crowd.pcont.ok("attach", crowd.at("/b"), str(start(threads=3)))
    assert counts(crowd, "", "/b") == [(3, 3), (3, 3)]
    for path in ("", "/b"):
        assert crowd.pcont.get(crowd.at(path), "pids.events") == "max 0"


@only_kernel
@pytest.mark.quick
def test_a_fork_beyond_the_limit_is_refused_and_counted(crowd: Top) -> None:
    """The model does not see forks: there pids.events is always max 0.

    On cgroup v1 the fork counts where its task is, even if another container has the limit.
    """
    crowd.pcont.ok("create", crowd.at("/b"))
    crowd.pcont.ok("set", crowd.at(), "pids.max=1")
    result = crowd.pcont("run", crowd.at("/b"), "--", "sh", "-c", "(true)")
    assert result.status != 0
    assert crowd.pcont.get(crowd.at("/b"), "pids.events") == "max 1"
    assert crowd.pcont.get(crowd.at(), "pids.events") == "max 0"


@only_kernel
def test_a_zombie_is_counted_until_its_parent_waits_for_it(
    start: Callable[..., int], crowd: Top
) -> None:
    """In the model, a task that was killed is counted no more."""
    pid = start()
    crowd.pcont.ok("attach", crowd.at(), str(pid))
    os.kill(pid, signal.SIGKILL)
    assert eventually(lambda: crowd.pcont.get(crowd.at(), "tasks") == "")
    assert counts(crowd, "") == [(1, 1)]
    os.waitpid(pid, 0)
    assert counts(crowd, "") == [(0, 1)]
