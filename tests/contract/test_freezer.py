"""freezer: which container is frozen because of which. Only the kernel shows that tasks stop."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from pcont.steps.removal import RemoveContainer
from pcont.transaction.step import carry_out
from tests.contract.conftest import Jobs, Pcont, Top, eventually, only_kernel


def tell(top: Top, path: str, state: str) -> None:
    """Set the state again while the file shows FREEZING: a task has not stopped yet."""

    def heard() -> bool:
        top.pcont.ok("set", top.at(path), f"freezer.state={state}")
        return top.pcont.get(top.at(path), "freezer.state") != "FREEZING"

    assert eventually(heard)


def seen(top: Top, *paths: str) -> list[str]:
    """State, self_freezing and parent_freezing of each, in short."""
    keys = [f"freezer.{key}" for key in ("state", "self_freezing", "parent_freezing")]
    texts = [[top.pcont.get(top.at(path), key) for key in keys] for path in paths]
    return [f"{state} {own}{above}" for state, own, above in texts]


def test_what_is_below_a_frozen_one_is_frozen_by_it(icebox: Top) -> None:
    icebox.pcont.ok("create", "-p", icebox.at("/b/c"))
    assert seen(icebox, "", "/b", "/b/c") == ["THAWED 00"] * 3
    tell(icebox, "", "FROZEN")
    assert seen(icebox, "", "/b", "/b/c") == ["FROZEN 10", "FROZEN 01", "FROZEN 01"]
    tell(icebox, "/b", "FROZEN")
    assert seen(icebox, "/b", "/b/c") == ["FROZEN 11", "FROZEN 01"]
    tell(icebox, "", "THAWED")
    assert seen(icebox, "", "/b", "/b/c") == ["THAWED 00", "FROZEN 10", "FROZEN 01"]


def test_thawing_below_a_frozen_one_takes_only_its_own_wish_away(icebox: Top) -> None:
    icebox.pcont.ok("create", icebox.at("/b"))
    tell(icebox, "", "FROZEN")
    tell(icebox, "/b", "FROZEN")
    tell(icebox, "/b", "THAWED")
    assert seen(icebox, "/b") == ["FROZEN 01"]
    tell(icebox, "", "THAWED")
    assert seen(icebox, "/b") == ["THAWED 00"]


@pytest.mark.parametrize("options", [[], ["-i"]])
def test_a_new_child_of_a_frozen_one_is_frozen_by_it_alone(icebox: Top, options: list[str]) -> None:
    tell(icebox, "", "FROZEN")
    icebox.pcont.ok("create", *options, icebox.at("/b"))
    assert seen(icebox, "/b") == ["FROZEN 01"]


def test_a_container_can_be_made_frozen(icebox: Top) -> None:
    icebox.pcont.ok("create", icebox.at("/b"), "-s", "freezer.state=FROZEN")
    assert seen(icebox, "", "/b") == ["THAWED 00", "FROZEN 10"]


def test_other_words_are_refused_and_change_nothing(icebox: Top) -> None:
    tell(icebox, "", " FROZEN ")
    for text in ("FREEZING", "frozen", "FROZENX", "FROZEN x", "1", ""):
        said = icebox.pcont.fails(7, "set", icebox.at(), f"freezer.state={text}")
        assert "FROZEN or THAWED" in said
        assert "EINVAL" in said
    assert seen(icebox, "") == ["FROZEN 10"]


def test_the_flags_can_only_be_read(icebox: Top) -> None:
    for key in ("self_freezing", "parent_freezing"):
        assert "EINVAL" in icebox.pcont.fails(7, "set", icebox.at(), f"freezer.{key}=1")
    assert seen(icebox, "") == ["THAWED 00"]


def test_the_root_cannot_be_frozen(icebox: Top) -> None:
    for key in ("state", "self_freezing", "parent_freezing"):
        icebox.pcont.fails(3, "get", "freezer:/", f"freezer.{key}")
    icebox.pcont.fails(3, "set", "freezer:/", "freezer.state=FROZEN")


def test_flags_are_numbers_and_listings_show_the_state(icebox: Top) -> None:
    tell(icebox, "", "FROZEN")
    answer = json.loads(icebox.pcont.ok("get", "--json", icebox.at(), "freezer.self_freezing"))
    assert answer["result"] == {"freezer.self_freezing": 1}
    assert "freezer.state=FROZEN" in icebox.pcont.ok("tree", icebox.at()).strip().split("\t")


@pytest.mark.quick
def test_a_set_that_is_refused_leaves_the_state(icebox: Top) -> None:
    for before, other in (("THAWED", "FROZEN"), ("FROZEN", "THAWED")):
        tell(icebox, "", before)
        asked = [f"freezer.state={other}", "notify_on_release=x"]
        icebox.pcont.fails(7, "set", icebox.at(), *asked)
        assert seen(icebox, "")[0].split()[0] == before


@pytest.mark.parametrize("state", ["FROZEN", "THAWED"])
def test_a_removed_container_is_restored_with_its_own_state(icebox: Top, state: str) -> None:
    """Below a frozen container the file reads FROZEN in both cases."""
    icebox.pcont.ok("create", icebox.at("/b"))
    tell(icebox, "/b", state)
    tell(icebox, "", "FROZEN")
    before = seen(icebox, "/b")
    backend, step = icebox.pcont.backend(), RemoveContainer(icebox.place("/b"), "remove b")
    with backend.exclusive():
        assert carry_out(backend, [step]).undo() == []
    assert seen(icebox, "/b") == before


def test_tasks_enter_and_leave_a_frozen_container(start: Callable[..., int], icebox: Top) -> None:
    icebox.pcont.ok("create", icebox.at("/b"))
    pid = start(threads=3)
    tell(icebox, "", "FROZEN")
    for path in ("", "/b"):
        icebox.pcont.ok("attach", icebox.at(path), str(pid))
        assert icebox.pcont.paths(pid)["freezer"] == icebox.path + path
        assert eventually(lambda path=path: seen(icebox, path)[0].startswith("FROZEN"))  # type: ignore[misc]
    icebox.pcont.ok("attach", "freezer:/", str(pid))
    assert icebox.pcont.paths(pid)["freezer"] == "/"


def test_a_killed_task_ends_when_it_is_thawed(start: Callable[..., int], icebox: Top) -> None:
    pid = start()
    icebox.pcont.ok("attach", icebox.at(), str(pid))
    tell(icebox, "", "FROZEN")
    backend = icebox.pcont.backend()
    with backend.exclusive():
        assert list(backend.kill(icebox.place(), [pid], signal.SIGKILL)) == [pid]
    assert icebox.pcont.get(icebox.at(), "tasks") == str(pid)
    tell(icebox, "", "THAWED")
    assert eventually(lambda: icebox.pcont.get(icebox.at(), "tasks") == "")


def test_the_hint_thaws_the_container_that_is_frozen(
    start: Callable[..., int], icebox: Top
) -> None:
    """What is frozen by a container above it is thawed there."""
    pcont, pid = icebox.pcont, start()
    pcont.ok("create", "-p", icebox.at("/a/b"), icebox.at("/c"))
    pcont.ok("attach", icebox.at("/a/b"), str(pid))
    tell(icebox, "/a", "FROZEN")
    attempts = [
        (5, ["move", icebox.at("/a/b"), icebox.at("/c")]),
        (5, ["rm", "--kill", icebox.at("/a/b")]),
        (5, ["attach", "--tree", icebox.at("/a/b"), str(os.getppid())]),
        (125, ["run", icebox.at("/a/b"), "--", "true"]),
    ]
    for status, words in attempts:
        said = pcont.fails(status, *words)
        assert f"{icebox.at('/a/b')} is frozen by {icebox.at('/a')}" in said
        assert _hint(said) == f"pcont set {icebox.at('/a')} freezer.state=THAWED"
    thawed = pcont("set", icebox.at("/a/b"), "freezer.state=THAWED")
    assert thawed.status == 0
    command = f"pcont set {icebox.at('/a')} freezer.state=THAWED"
    assert f"{icebox.at('/a/b')} stays frozen by {icebox.at('/a')}: {command}" in thawed.err
    tell(icebox, "/a/b", "FROZEN")
    pcont.ok(*_hint(pcont.fails(5, *attempts[0][1])).split(" && ")[0].split()[1:])
    assert seen(icebox, "/a/b") == ["FROZEN 10"]
    for command in _hint(pcont.fails(5, *attempts[0][1])).split(" && "):
        pcont.ok(*command.split()[1:])
    pcont.ok(*attempts[0][1])
    pcont.ok(*attempts[1][1])
    tell(icebox, "", "THAWED")


def _hint(said: str) -> str:
    (line,) = (line for line in said.splitlines() if line.startswith("  hint: "))
    return line.removeprefix("  hint: ")


def test_a_played_task_that_is_frozen_says_where(tmp_path: Path) -> None:
    pcont = Pcont(("--backend", "model", "--state", f"{tmp_path}/model.json"))
    pcont.ok("mount", "-o", "freezer")
    pcont.ok("create", "-p", "freezer:/a/b c")
    pid = pcont.ok("sim", "fork").strip()
    pcont.ok("attach", "freezer:/a/b c", pid)
    pcont.ok("set", "freezer:/a", "freezer.state=FROZEN")
    said = pcont.fails(5, "sim", "fork", pid)
    assert _hint(said) == "pcont set freezer:/a freezer.state=THAWED"
    pcont.ok("set", "freezer:/a/b c", "freezer.state=FROZEN")
    commands = _hint(pcont.fails(5, "sim", "fork", pid)).split(" && ")
    assert commands[1] == "pcont set 'freezer:/a/b c' freezer.state=THAWED"


def stands_still(pid: int) -> bool:
    return psutil.Process(pid).status() == psutil.STATUS_DISK_SLEEP


@only_kernel
@pytest.mark.quick
def test_tasks_of_a_frozen_container_do_not_run(start: Callable[..., int], icebox: Top) -> None:
    """The model touches no live task."""
    inside, newcomer = start(), start()
    icebox.pcont.ok("create", icebox.at("/b"))
    icebox.pcont.ok("attach", icebox.at("/b"), str(inside))
    tell(icebox, "", "FROZEN")
    assert stands_still(inside)
    icebox.pcont.ok("attach", icebox.at(), str(newcomer))
    assert eventually(lambda: stands_still(newcomer))
    icebox.pcont.ok("attach", "freezer:/", str(newcomer))
    assert eventually(lambda: not stands_still(newcomer))
    assert stands_still(inside)
    tell(icebox, "", "THAWED")
    assert eventually(lambda: not stands_still(inside))


def test_a_tie_freezes_with_its_member(jobs: Jobs) -> None:
    """The freezer is a member of every tie that does not leave it out."""
    jobs.pcont.ok("create", "-i", jobs.at("/a"))
    if jobs.tree("cpuset") != "cpuset":  # one tree of the kernel
        jobs.pcont.fails(3, "set", jobs.at("/a"), "freezer.state=FROZEN")
        return
    jobs.pcont.ok("set", jobs.at("/a"), "freezer.state=FROZEN", "cpus=0")
    assert jobs.pcont.get(jobs.at("/a"), "freezer.state") == "FROZEN"
    assert jobs.pcont.get(jobs.at("/a"), "cpus") == "0"
    said = jobs.pcont.fails(125, "run", jobs.at("/a"), "--", "true")
    assert f"pcont set {jobs.at('/a')} freezer.state=THAWED" in said
