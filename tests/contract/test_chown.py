"""chown, and create --owner: containers that belong to another user."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pcont.backend_cgroupfs import Cgroupfs
from pcont.commands import containers as container_commands
from pcont.commands import settings as setting_commands
from pcont.commands import show, tasks
from pcont.kernel.types import UNIFIED
from pcont.linux import spawn
from pcont.ops import attach, chown, containers, enabling, listing, settings
from pcont.output import columns, text
from pcont.steps import created, kill, leaf, move_all, removal, spill, threaded
from tests.conftest import elsewhere
from tests.contract.conftest import Pcont, Top, new_top, of_v2, only_kernel
from tests.contract.test_v2_controllers import bare, controlled  # noqa: F401
from tests.contract.test_v2_hierarchies import mounted, only_kernel_here, plain  # noqa: F401

# The user cannot read the files of an interpreter below /root: what is loaded before is at hand.
LOADED = (
    *(container_commands, setting_commands, show, tasks),
    *(attach, chown, containers, enabling, listing, settings, spawn, columns, text),
    *(created, kill, leaf, move_all, removal, spill, threaded),
)
USER, GROUP, OTHER = 65534, 65533, 65532
ROOTS, THEIRS = (0, 0), (USER, GROUP)
PIDS_ON_V2 = any(one.id == UNIFIED and "pids" in one.controllers for one in Cgroupfs().trees())
ENTRIES = {"tasks", "cgroup.procs", "cgroup.threads"}


@pytest.fixture(params=["v1", "v2"])
def top(request: pytest.FixtureRequest, pcont: Pcont, name: str, tmp_path: Path) -> Iterator[Top]:
    """A container of each kind of cgroups."""
    if request.param == "v2":
        backend = "model" if "model" in pcont.words else "cgroupfs"
        yield from of_v2(request, name, tmp_path, backend=backend)
    elif PIDS_ON_V2 and "model" not in pcont.words:
        elsewhere("cgroup v2 has pids here")
    else:
        with new_top(pcont, "pids", name) as one:
            yield one


only_v1 = pytest.mark.parametrize("top", ["v1"], indirect=True)
only_v2 = pytest.mark.parametrize("top", ["v2"], indirect=True)


def owners(top: Top, path: str) -> dict[str, tuple[int, int]]:
    """The user and the group of a container and of its files."""
    found = top.pcont.backend().owners(top.place(path))
    return {name: (one.uid, one.gid) for name, one in found.items()}


def given(top: Top, path: str) -> dict[str, tuple[int, int]]:
    """The files that are not root's, and their owners."""
    return {name: owner for name, owner in owners(top, path).items() if owner != ROOTS}


def delegated(top: Top, path: str) -> set[str]:
    """What the owner of a container of cgroup v2 has of it."""
    return {"", *top.pcont.backend().delegated()} & owners(top, path).keys()


def user(top: Top) -> Pcont:
    """The commands of the other user."""
    return Pcont(top.pcont.words, USER)


@only_v2
def test_on_v2_a_user_gets_what_the_kernel_delegates(top: Top) -> None:
    top.pcont.ok("create", top.at("/a"), top.at("/a/b"))
    top.pcont.ok("chown", top.at("/a"), f"{USER}:{GROUP}")
    names = {"", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control"}
    assert names <= delegated(top, "/a")
    assert given(top, "/a") == dict.fromkeys(delegated(top, "/a"), THEIRS)
    assert given(top, "/a/b") == {}
    top.pcont.ok("chown", top.at("/a"), "0:0")
    assert given(top, "/a") == {}


@only_v1
def test_on_v1_a_user_gets_all_control_files(top: Top) -> None:
    top.pcont.ok("create", top.at("/a"), top.at("/a/b"))
    top.pcont.ok("chown", "-r", top.at("/a"), f"{USER}:{GROUP}")
    for path in ("/a", "/a/b"):
        assert {*owners(top, path).values()} == {THEIRS}
        assert "pids.max" in owners(top, path)


def test_the_files_for_tasks_can_be_given_to_a_second_user(top: Top) -> None:
    top.pcont.ok("create", top.at("/a"))
    top.pcont.ok("chown", top.at("/a"), str(USER), "--tasks-owner", f"{OTHER}:{GROUP}")
    found = given(top, "/a")
    assert {found[name] for name in found if name in ENTRIES} == {(OTHER, GROUP)}
    assert {found[name] for name in found if name not in ENTRIES} == {(USER, 0)}


@only_v2
def test_a_group_alone_gets_it(top: Top) -> None:
    top.pcont.ok("create", top.at("/a"), "--owner", f":{GROUP}")
    assert {*given(top, "/a").values()} == {(0, GROUP)}


@only_v2
def test_a_new_container_belongs_to_its_owner_and_its_parents_do_not(top: Top) -> None:
    top.pcont.ok("create", "-p", top.at("/a/b"), top.at("/c"), "--owner", f"{USER}:{GROUP}")
    assert given(top, "/a") == {}
    for path in ("/a/b", "/c"):
        assert given(top, path) == dict.fromkeys(delegated(top, path), THEIRS)


@only_v2
def test_a_container_that_exists_keeps_its_owner(top: Top) -> None:
    top.pcont.ok("create", top.at("/a"))
    words = ("create", "-p", top.at("/a"), top.at("/a/b"), "--owner", str(USER))
    said = top.pcont(*words)
    assert said.status == 0
    assert said.err == f"pcont: note: {top.at('/a')} exists: it keeps its owner (pcont chown)\n"
    assert given(top, "/a") == {}
    assert given(top, "/a/b")


def test_each_tree_of_a_hierarchy_is_given(pcont: Pcont, name: str) -> None:
    pcont.ok("mount", "-o", "none", "--name", name)
    pcont.ok("create", f"{name}:/a", "--owner", f"{USER}:{GROUP}")
    found = owners(Top(pcont, f"name={name}", "/a"), "")
    assert {*found.values()} == {THEIRS}
    pcont.ok("rm", f"{name}:/a")
    pcont.ok("umount", name)


def test_a_leaf_belongs_to_the_owner_of_its_container(
    bare: Top,  # noqa: F811
    start: Callable[..., int],
) -> None:
    bare.pcont.ok("create", bare.at("/a"))
    bare.pcont.ok("attach", bare.at("/a"), str(start()))
    bare.pcont.ok("create", bare.at("/a/b"), "-s", "memory.max=64M")
    bare.pcont.ok("chown", bare.at("/a"), f"{USER}:{GROUP}")
    found = bare.pcont.backend().owners(bare.place("/a").leaf)
    given = {name for name, one in found.items() if one[:2] == THEIRS}
    assert given == {"", "cgroup.procs", "cgroup.threads"}


@pytest.mark.parametrize(
    ("words", "status", "reason"),
    [
        (("{}", "no such user"), 3, "there is no user 'no such user'"),
        (("{}", "0:no such group"), 3, "there is no group 'no such group'"),
        (("{}", "no such user:"), 3, "there is no user 'no such user'"),
        (("{}", ":"), 2, "an owner is USER, USER:GROUP or :GROUP, and ':' is not"),
        (("{}", ""), 2, "an owner is USER, USER:GROUP or :GROUP, and '' is not"),
        (("{}", "1:2:3"), 2, "an owner is USER, USER:GROUP or :GROUP, and '1:2:3' is not"),
        (("{}", "4294967295"), 2, "4294967295 is no id of a user: the highest is 4294967294"),
        (("{}/absent", "0"), 3, "there is no container"),
        (("unified:/", "0"), 4, "it is a root container, which has the tasks of other users"),
    ],
)
@only_v2
def test_what_is_refused(top: Top, words: tuple[str, ...], status: int, reason: str) -> None:
    top.pcont.ok("create", top.at("/a"))
    said = top.pcont.fails(status, "chown", *(word.format(top.at("/a")) for word in words))
    assert reason in said
    assert given(top, "/a") == {}


@only_v2
def test_the_files_for_tasks_need_an_owner_of_the_container(top: Top) -> None:
    said = top.pcont.fails(2, "create", top.at("/a"), "--tasks-owner", str(USER))
    assert "--tasks-owner needs --owner" in said
    assert top.pcont.children(top.at()) == []


@only_kernel
def test_the_commands_of_a_dry_run_do_the_same(top: Top) -> None:
    top.pcont.ok("create", "-p", top.at("/a/b"), top.at("/c/b"))
    words = (f"{USER}:{GROUP}", "--tasks-owner", f"{OTHER}:{GROUP}")
    script = top.pcont.ok("chown", "-n", top.at("/a"), *words)
    assert given(top, "/a") == {}
    subprocess.run(["sh", "-ec", script], check=True)
    top.pcont.ok("chown", top.at("/c"), *words)
    assert given(top, "/a") == given(top, "/c")
    assert given(top, "/a")
    assert given(top, "/a/b") == {}


@only_v2
def test_an_empty_owner_is_refused(top: Top) -> None:
    """As from a variable of the shell that is not set."""
    for words in (("--owner", ""), ("--owner", str(USER), "--tasks-owner", "")):
        said = top.pcont.fails(2, "create", top.at("/a"), *words)
        assert "an owner is USER, USER:GROUP or :GROUP, and '' is not" in said
    assert top.pcont.children(top.at()) == []


@only_v2
def test_a_dry_run_of_create_shows_what_its_owner_gets(top: Top) -> None:
    made, *more = top.pcont.ok("create", "-n", top.at("/a"), "--owner", str(USER)).splitlines()
    assert made.startswith("mkdir ")
    directory = made.removeprefix("mkdir ")
    (line,) = more
    command, owner, *paths = line.split()
    assert (command, owner, paths[0]) == ("chown", str(USER), directory)
    assert f"{directory}/cgroup.procs" in paths


@only_kernel
@only_v2
def test_on_v2_the_owner_creates_and_limits_containers_but_not_its_own(top: Top) -> None:
    top.pcont.ok("create", top.at("/a"), "--owner", str(USER))
    theirs = user(top)
    theirs.ok("create", top.at("/a/x"))
    theirs.ok("set", top.at("/a/x"), "cgroup.max.depth=3")
    theirs.fails(4, "set", top.at("/a"), "cgroup.max.depth=3")
    theirs.fails(4, "create", top.at("/y"))
    theirs.fails(4, "rm", top.at("/a"), "-r")
    theirs.ok("rm", top.at("/a/x"))


@only_kernel
@only_v1
def test_on_v1_the_owner_also_limits_its_own_container(top: Top) -> None:
    top.pcont.ok("create", top.at("/a"), "--owner", str(USER))
    theirs = user(top)
    theirs.ok("create", top.at("/a/x"), "-s", "pids.max=4")
    theirs.ok("set", top.at("/a"), "pids.max=5")
    theirs.fails(4, "create", top.at("/y"))
    theirs.ok("rm", top.at("/a/x"))


@only_kernel
def test_the_owner_cannot_give_it_away(top: Top) -> None:
    top.pcont.ok("create", top.at("/a"), "--owner", str(USER))
    before = owners(top, "/a")
    said = user(top).fails(4, "chown", top.at("/a"), str(OTHER))
    assert f"cannot chown {top.at('/a')}: only root can give containers to others (EPERM)" in said
    assert owners(top, "/a") == before


@only_kernel
@only_v2
def test_what_another_user_cannot_give_a_new_container_is_not_created(top: Top) -> None:
    top.pcont.ok("create", top.at("/a"), "--owner", str(USER))
    user(top).fails(4, "create", top.at("/a/x"), "--owner", str(OTHER))
    assert top.pcont.children(top.at("/a")) == []


@only_kernel
@only_v2
def test_a_task_from_outside_needs_the_common_parent_on_v2(top: Top) -> None:
    """The owner of the source does not matter. The refusal names the source, the target, and their
    common parent.
    """
    top.pcont.ok("create", top.at("/a"), top.at("/b"), "--owner", str(USER))
    top.pcont.ok("create", top.at("/c"))
    with subprocess.Popen(["sleep", "600"], user=USER) as process:
        try:
            for source in ("/b", "/c"):
                top.pcont.ok("attach", top.at(source), str(process.pid))
                said = user(top).fails(4, "attach", top.at("/a"), str(process.pid))
                assert (
                    f"you may move tasks into {top.at('/a')}, but not out of {top.at()}, the "
                    f"nearest common parent of {top.at('/a')} and {top.at(source)}, where task "
                    f"{process.pid} is (EACCES)"
                ) in said
                assert f"hint: sudo pcont attach {top.at('/a')} {process.pid}" in said
            top.pcont.ok("chown", top.at(), str(USER))
            user(top).ok("attach", top.at("/a"), str(process.pid))
        finally:
            process.kill()


@only_kernel_here
@pytest.mark.parametrize("subsystems", ["cpuset,pids", "memory,pids"])
def test_a_user_works_in_what_root_has_given_in_a_hierarchy_on_v2(
    plain: Pcont,  # noqa: F811
    name: str,
    subsystems: str,
) -> None:
    for jobs in mounted(plain, name, subsystems):
        plain.ok("create", jobs.at("/a"), "-s", "pids.max=20", "--owner", f"{USER}:{GROUP}")
        theirs = Pcont(plain.words, USER)
        with subprocess.Popen(["sleep", "600"], user=USER) as process:
            try:
                theirs.fails(4, "attach", jobs.at("/a"), str(process.pid))
                plain.ok("attach", jobs.at("/a"), str(process.pid))
                theirs.ok("create", jobs.at("/a/x"), jobs.at("/a/y"), "-s", "pids.max=5")
                theirs.ok("attach", jobs.at("/a/x"), str(process.pid))
                theirs.ok("move", jobs.at("/a/x"), jobs.at("/a/y"))
                rows = theirs.ok("ps", jobs.at("/a/y")).splitlines()
                assert [row.split("\t")[0] for row in rows[-1:]] == [str(process.pid)]
                theirs.fails(4, "set", jobs.at("/a"), "pids.max=30")
                theirs.ok("rm", "-r", "--kill", jobs.at("/a/y"))
                theirs.ok("rm", jobs.at("/a/x"))
            finally:
                process.kill()
