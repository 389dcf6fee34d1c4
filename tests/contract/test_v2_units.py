"""Containers of cgroup v2 that are systemd's: what is refused in them, and what they are known by.

tests/systemd has the same beside a real systemd, whose containers these look like.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests import hints
from tests.contract.conftest import Top, beside_systemd
from tests.contract.test_v2 import directory, is_in

Start = Callable[..., int]
USER = 4321

only_kernel = pytest.mark.parametrize(
    "v2", [pytest.param("cgroupfs", id="kernel", marks=pytest.mark.kernel)], indirect=True
)


@pytest.fixture(autouse=True)
def systemd_is_init(v2: Top, monkeypatch: pytest.MonkeyPatch) -> None:
    beside_systemd(monkeypatch)


@pytest.mark.parametrize("unit", ["x.service", "x.scope", "x.slice"])
def test_no_container_is_created_below_a_unit(v2: Top, unit: str) -> None:
    v2.pcont.ok("create", v2.at(f"/{unit}"))
    for words in (("--dry-run", "create"), ("create",), ("create", "-p"), ("create", "-i")):
        said = v2.pcont.fails(4, *words, v2.at(f"/{unit}/a"))
        assert f"cannot create {v2.at(f'/{unit}/a')}: {v2.at(f'/{unit}')} belongs to" in said
        assert "pcont create unified:/a" in said
        assert ("set Delegate=yes in" in said) == (unit != "x.slice"), "a slice has no Delegate="
    v2.pcont.fails(4, "create", "-p", v2.at(f"/{unit}/a/b"))
    assert v2.pcont.children(v2.at(f"/{unit}")) == []


def test_a_unit_enables_what_systemd_decides(v2: Top) -> None:
    v2.pcont.ok("create", v2.at("/x.slice"))
    said = v2.pcont.fails(4, "set", v2.at("/x.slice"), "cgroup.subtree_control=-pids")
    assert f"{v2.at('/x.slice')} belongs to systemd" in said


@pytest.mark.parametrize(
    "words", ["rm {}", "rm -r {}", "set {} cgroup.freeze=1", "set {} freezer.state=FROZEN"]
)
def test_a_unit_is_removed_and_frozen_with_force_only(v2: Top, words: str) -> None:
    place = v2.at("/x.service")
    v2.pcont.ok("create", place)
    for option in ((), ("--dry-run",)):
        said = v2.pcont.fails(4, *option, *words.format(place).split())
        assert f"{place}: {place} belongs to systemd" in said
        (hint,) = hints.hints(said)
        assert "--force" in hint
    assert v2.pcont.get(place, "cgroup.freeze") == "0"
    v2.pcont.ok(*shlex.split(hint.replace("--dry-run ", ""))[1:])
    if words.startswith("set"):
        assert v2.pcont.get(place, "cgroup.freeze") == "1"
        v2.pcont.ok("set", place, "cgroup.freeze=0")


def test_a_parent_is_not_removed_with_the_units_below_it(v2: Top) -> None:
    v2.pcont.ok("create", "-p", v2.at("/a/x.service"))
    said = v2.pcont.fails(4, "rm", "-r", v2.at("/a"))
    assert f"{v2.at('/a/x.service')} belongs to systemd" in said


def test_tasks_enter_a_unit_with_a_note_and_are_moved_out_with_force(v2: Top, start: Start) -> None:
    place, task = v2.at("/x.service"), start()
    v2.pcont.ok("create", place, v2.at("/b"))
    said = v2.pcont("attach", place, str(task))
    assert (said.status, is_in(v2, task)) == (0, "/x.service")
    assert f"{place} belongs to systemd: it ends the tasks there when x.service stops" in said.err
    refused = v2.pcont.fails(4, "move", place, v2.at("/b"))
    assert f"refusing to move all tasks out of {place}: {place} belongs to systemd" in refused
    assert is_in(v2, task) == "/x.service"
    v2.pcont.ok("--force", "move", place, v2.at("/b"))
    assert is_in(v2, task) == "/b"
    said = v2.pcont("move", v2.at("/b"), place)
    assert (said.status, "belongs to systemd" in said.err) == (0, True)
    v2.pcont.ok("set", v2.at("/b"), f"cgroup.procs={task}")
    said = v2.pcont("set", place, f"cgroup.procs={task}")
    assert (said.status, "belongs to systemd" in said.err) == (0, True)


@only_kernel
def test_below_a_delegated_unit_all_is_allowed(v2: Top, start: Start) -> None:
    unit, task = v2.at("/x.service"), start()
    v2.pcont.ok("create", unit)
    os.setxattr(directory(v2, "/x.service"), "trusted.delegate", b"1")
    said = v2.pcont("create", "-p", v2.at("/x.service/a/b"))
    assert (said.status, said.err) == (0, "")
    v2.pcont.ok("attach", v2.at("/x.service/a/b"), str(task))
    v2.pcont.ok("set", v2.at("/x.service/a"), "cgroup.freeze=1")
    v2.pcont.ok("set", v2.at("/x.service/a"), "cgroup.freeze=0")
    v2.pcont.ok("move", v2.at("/x.service/a/b"), v2.at("/x.service/a"))
    v2.pcont.ok("rm", v2.at("/x.service/a/b"))
    v2.pcont.ok("create", v2.at("/x.service/y.scope"))
    v2.pcont.fails(4, "create", v2.at("/x.service/y.scope/c"))
    said_of_unit = v2.pcont.fails(4, "rm", "-r", "--kill", unit)
    assert f"{v2.at('/x.service/y.scope')} belongs to systemd" in said_of_unit
    v2.pcont.ok("--force", "rm", "-r", "--kill", unit)


@only_kernel
def test_a_delegated_unit_itself_is_not_removed(v2: Top) -> None:
    v2.pcont.ok("create", v2.at("/x.service"))
    os.setxattr(directory(v2, "/x.service"), "trusted.delegate", b"1")
    v2.pcont.fails(4, "rm", v2.at("/x.service"))
    v2.pcont.ok("--force", "rm", v2.at("/x.service"))


@only_kernel
def test_root_trusts_the_attribute_that_only_root_can_set(v2: Top) -> None:
    v2.pcont.ok("create", v2.at("/x.service"), v2.at("/plain"))
    os.setxattr(directory(v2, "/x.service"), "user.delegate", b"1")
    v2.pcont.fails(4, "create", v2.at("/x.service/a"))
    os.setxattr(directory(v2, "/plain"), "user.invocation_id", b"1")
    v2.pcont.ok("create", v2.at("/plain/a"))
    os.setxattr(directory(v2, "/plain"), "trusted.invocation_id", b"1")
    v2.pcont.fails(4, "create", v2.at("/plain/b"))


@only_kernel
def test_a_user_trusts_the_copy_where_no_other_user_can_write(v2: Top) -> None:
    v2.pcont.ok("create", v2.at("/x.service"))
    there = directory(v2, "/x.service")
    os.chown(there, USER, USER)
    os.setxattr(there, "user.delegate", b"1")
    theirs = replace(v2.pcont, uid=USER)
    theirs.ok("create", v2.at("/x.service/a"))
    there.chmod(0o777)
    theirs.fails(4, "create", v2.at("/x.service/b"))
    assert v2.pcont.children(v2.at("/x.service")) == ["a"]


def test_a_unit_is_not_removed_after_a_command(v2: Top) -> None:
    place = v2.at("/x.service")
    v2.pcont.ok("create", place)
    said = v2.pcont("run", "--auto-delete", place, "--", "true")
    assert said.status == 0
    assert f"{place} is kept: refusing to remove {place}: {place} belongs to systemd" in said.err
    assert v2.pcont.children(v2.at()) == ["x.service"]
    v2.pcont.ok("--force", "rm", place)


def test_where_systemd_is_not_init_a_name_means_nothing(
    v2: Top, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside_systemd(monkeypatch, False)
    v2.pcont.ok("create", "-p", v2.at("/x.slice/a"))
    v2.pcont.ok("rm", "-r", v2.at("/x.slice"))
