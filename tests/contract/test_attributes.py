"""Where the kernel keeps pcont's attributes, which reader trusts which; doctor and gc."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from pcont.kernel.types import Place
from pcont.trust import xattrs
from tests.contract.conftest import Pcont

pytestmark = [pytest.mark.kernel]

USER, OTHER = 1000, 1001


@dataclass
class Tree:
    """A named hierarchy with the container /a, and its directory."""

    pcont: Pcont
    name: str
    point: str

    @property
    def at(self) -> str:
        return f"{self.name}:/a"

    @property
    def directory(self) -> str:
        return f"{self.point}/a"

    def keep(self, name: str, text: str | None) -> None:
        self.pcont.backend().set_attribute(Place(f"name={self.name}", "/a"), name, text)

    def names(self) -> dict[str, str]:
        """All extended attributes of pcont."""
        found = [name for name in os.listxattr(self.directory) if ".pcont." in name]
        return {name: os.getxattr(self.directory, name).decode() for name in found}

    def get(self, uid: int) -> str:
        """auto_delete of /a as a user sees it."""
        return Pcont(self.pcont.words, uid).get(self.at, "auto_delete")


@pytest.fixture
def tree(kernel: Pcont, name: str) -> Iterator[Tree]:
    point = kernel.ok("mount", "-o", "none", "--name", name).split()[-1]
    kernel.ok("create", f"{name}:/a")
    yield Tree(kernel, name, point)
    kernel.ok("rm", f"{name}:/a")
    kernel.ok("umount", name)


def test_an_attribute_is_kept_for_root_and_copied_for_users(tree: Tree) -> None:
    tree.keep("k", "1")
    assert tree.names() == {"trusted.pcont.k": "1", "user.pcont.k": "1"}
    tree.keep("k", "2")
    assert tree.names() == {"trusted.pcont.k": "2", "user.pcont.k": "2"}
    tree.keep("k", None)
    assert tree.names() == {}


def test_users_see_what_root_has_set(tree: Tree) -> None:
    tree.pcont.ok("set", tree.at, "auto_delete=1")
    assert [tree.get(uid) for uid in (0, USER)] == ["1", "1"]
    tree.pcont.ok("set", tree.at, "auto_delete=0")
    assert [tree.get(uid) for uid in (0, USER)] == ["0", "0"]


def test_a_copy_in_a_users_own_container_is_believed_by_that_user_only(tree: Tree) -> None:
    os.chown(tree.directory, USER, USER)
    os.setxattr(tree.directory, "user.pcont.auto_delete", b"1")
    assert [tree.get(uid) for uid in (0, USER, OTHER)] == ["0", "1", "0"]


@pytest.mark.parametrize("mode", [0o775, 0o757])
def test_a_copy_that_others_may_write_is_not_believed(tree: Tree, mode: int) -> None:
    tree.pcont.ok("set", tree.at, "auto_delete=1")
    assert tree.get(USER) == "1"
    os.chmod(tree.directory, mode)
    assert [tree.get(uid) for uid in (0, USER)] == ["1", "0"]


def test_a_user_may_not_keep_an_attribute(tree: Tree) -> None:
    os.chown(tree.directory, USER, USER)
    message = Pcont(tree.pcont.words, USER).fails(4, "set", tree.at, "auto_delete=1")
    assert "EPERM" in message or "EACCES" in message
    assert tree.names() == {}


def test_no_copy_is_better_than_an_old_one(tree: Tree) -> None:
    """Its owner may have used up what the kernel allows of user.* on a directory."""
    tree.keep("k", "1")
    for number in range(1000):
        try:
            os.setxattr(tree.directory, f"user.{number}", b"x" * 1000)
        except OSError:
            break
    else:
        pytest.fail("there is always room for more")
    tree.keep("other", "1")
    assert "user.pcont.other" not in tree.names()
    tree.keep("k", "2" * 2000)
    assert tree.names()["trusted.pcont.k"] == "2" * 2000
    assert tree.names().get("user.pcont.k") != "1"
    tree.keep("k", None)
    tree.keep("other", None)
    assert tree.names() == {}


def test_what_a_user_may_have_forged_is_reported_and_removed(tree: Tree) -> None:
    tree.keep("k", "1")
    os.setxattr(tree.directory, "security.pcont.auto_delete", b"1")
    os.setxattr(tree.directory, "security.pcont.\x1b[31m", b"\x1b[0m")
    os.setxattr(tree.directory, "user.pcont.k", b"forged")
    os.setxattr(tree.directory, "user.pcont.more", b"forged")
    assert tree.get(0) == "0"
    findings = json.loads(tree.pcont.ok("doctor", "--json"))["result"]
    about = {row["subject"]: row for row in findings if tree.directory in row["finding"]}
    assert set(about) == {
        "security.pcont.auto_delete",
        "'security.pcont.\\x1b[31m'",
        "user.pcont.*",
    }
    assert about["security.pcont.auto_delete"]["state"] == "problem"
    before = tree.names()
    reported = tree.pcont.ok("gc", "-n", tree.name)
    assert f"setfattr -x security.pcont.auto_delete {tree.directory}" in reported
    assert "\x1b" not in reported
    assert tree.names() == before
    done = tree.pcont.ok("gc", tree.name)
    assert f"security.pcont.auto_delete of {tree.directory}, which was '1'" in done
    assert "\x1b" not in done
    assert tree.names() == {"trusted.pcont.k": "1", "user.pcont.k": "1"}
    assert tree.pcont.ok("gc", tree.name) == ""


def test_gc_of_a_user_changes_no_attribute_of_root(tree: Tree) -> None:
    tree.keep("k", "1")
    os.setxattr(tree.directory, "security.pcont.k", b"1")
    Pcont(tree.pcont.words, USER)("gc", tree.name)
    names = tree.names()
    names.pop("security.pcont.k", None)  # any user removes these where any user writes them
    assert names == {"trusted.pcont.k": "1", "user.pcont.k": "1"}


@pytest.mark.host
def test_a_tie_of_an_older_pcont_is_bound_again_as_doctor_says(kernel: Pcont, name: str) -> None:
    """Its containers and their tasks are there; only what tied them is not believed any more."""
    point = kernel.ok("mount", "--tie", "--name", name, "-o", "pids", "--no-freezer").split()[-1]
    kernel.ok("create", f"{name}:/{name}")
    for attribute in ("tie", "kept"):
        if xattrs.TRUSTED + attribute in os.listxattr(point):
            text = os.getxattr(point, xattrs.TRUSTED + attribute)
            kernel.backend().set_attribute(Place(f"name={name}"), attribute, None)
            os.setxattr(point, xattrs.OLD + attribute, text)
    findings = json.loads(kernel.ok("doctor", "--json"))["result"]
    (found,) = [row for row in findings if row["subject"] == name and row["state"] == "problem"]
    assert found["advice"] == f"if you tied it: pcont bind {name} pids"
    kernel.ok("bind", name, "pids")
    kernel.ok("gc", name)
    (row,) = [
        one
        for one in json.loads(kernel.ok("hierarchies", "--json"))["result"]
        if one["name"] == name
    ]
    assert [tree["id"] for tree in row["trees"]] == [f"name={name}", "pids"]
    kernel.ok("rm", f"{name}:/{name}")
    kernel.ok("umount", name)


@pytest.mark.parametrize(
    ("words", "at", "advice"),
    [
        (["pids;reboot"], "/", ""),
        (["pids\n"], "/", ""),
        (["--yes"], "/", ""),
        (["pids"], "/a;reboot", "--at '/a;reboot'"),
    ],
)
def test_the_words_of_a_forged_tie_are_no_command_in_a_hint(
    kernel: Pcont, name: str, words: list[str], at: str, advice: str
) -> None:
    """Root pastes what doctor says; an ordinary user may have written these words."""
    point = kernel.ok("mount", "-o", "none", "--name", name).split()[-1]
    tie = json.dumps({"subsystems": words, "trees": ["pids"], "at": at})
    os.setxattr(point, xattrs.OLD + "tie", tie.encode())
    findings = json.loads(kernel.ok("doctor", "--json"))["result"]
    found = [row["advice"] for row in findings if row["subject"] == name]
    kernel.ok("umount", name)
    assert [advice in one for one in found] == ([True] if advice else [])
