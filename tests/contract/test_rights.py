"""What a user, and root of a user namespace, may change: by what they may write."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from pcont.linux import spawn
from pcont.ops import containers, listing, pins
from tests import user_namespace
from tests.contract.conftest import Pcont, only_kernel

# The user cannot read the files of an interpreter below /root: what is loaded before is at hand.
LOADED = (containers, listing, pins, spawn)
NOBODY = 65534


class InUserNamespace(Pcont):
    """The same as root of a user namespace of that user's."""

    def _become(self, words: Sequence[str], out: int, err: int) -> None:
        uid, self.uid = self.uid, 0
        try:
            user_namespace.enter(uid)
            super()._become(words, out, err)
        finally:
            os._exit(71)


@pytest.fixture
def theirs(pcont: Pcont, name: str) -> Iterator[str]:
    """A container that belongs to an ordinary user."""
    _, point = pcont.ok("mount", "-o", "none", "--name", name).split()
    pcont.ok("create", f"{name}:/theirs")
    directory = Path(point) / "theirs"
    for entry in (directory, *directory.iterdir()):
        os.chown(entry, NOBODY, NOBODY)
    existed = os.path.exists(f"/tmp/pcont-{NOBODY}")
    yield f"{name}:/theirs"
    if not existed:
        shutil.rmtree(f"/tmp/pcont-{NOBODY}", ignore_errors=True)
    pcont.ok("rm", "-r", f"{name}:/theirs")
    pcont.ok("umount", name)


@pytest.fixture(params=[Pcont, InUserNamespace], ids=["user", "user-namespace"])
def user(request: pytest.FixtureRequest, pcont: Pcont) -> Pcont:
    """The commands of that user."""
    one: Pcont = request.param(pcont.words, NOBODY)
    return one


@only_kernel
def test_what_is_delegated_can_be_changed_and_nothing_else(user: Pcont, theirs: str) -> None:
    user.ok("create", f"{theirs}/a")
    user.ok("rm", f"{theirs}/a")
    assert "/run/pcont" not in user.fails(4, "create", theirs.replace("theirs", "a"))


@only_kernel
def test_doctor_names_what_this_caller_may_change(user: Pcont, theirs: str) -> None:
    line = next(one for one in user.ok("doctor").splitlines() if "\trights\t" in one)
    is_root = isinstance(user, InUserNamespace)
    who = "root of a user namespace: " if is_root else "not root: "
    assert f"{who}you may change name={theirs};" in line
    assert f"pcont create name={theirs}/NAME" in line


@only_kernel
def test_doctor_says_where_this_caller_may_change_nothing(user: Pcont) -> None:
    line = next(one for one in user.ok("doctor").splitlines() if "\trights\t" in one)
    assert "reading works, changes are refused" in line


@only_kernel
def test_doctor_knows_the_root_of_the_machine(pcont: Pcont) -> None:
    assert "root: you may change everything" in pcont.ok("doctor")


@only_kernel
def test_a_user_sees_what_root_has_pinned(pcont: Pcont, user: Pcont, theirs: str) -> None:
    name = theirs.partition(":")[0]
    pcont.ok("clone", name, "--ns", "uts,ipc", "--pin", name, "--", "true")
    try:
        seen = user("pins")
        rows = [row.split("\t")[:2] for row in seen.out.splitlines() if row.startswith(name)]
        assert (seen.status, rows) == (0, [[name, "ipc"], [name, "uts"]])
        assert f"pinned by root, and only root can join or unpin them: {name}" in seen.err
        said = user.fails(125, "run", theirs, "--join", name, "--", "true")
        assert "belong to another user" in said
        user.fails(4, "unpin", name)
        assert name in pcont.ok("pins")
        assert "pinned by root" not in pcont("pins").err
    finally:
        pcont.ok("unpin", name)
