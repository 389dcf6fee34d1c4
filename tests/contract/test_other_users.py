"""Users of cron, su and services, without XDG_RUNTIME_DIR: what a killed command left is undone."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pcont.backend_cgroupfs import Cgroupfs
from pcont.cli import main
from pcont.kernel.types import Place, Waiting
from pcont.linux import lock
from pcont.trust.workplace import SHARED
from tests.contract.conftest import Pcont

UID = 4711  # whose files and processes no machine has
pytestmark = [
    pytest.mark.kernel,
    pytest.mark.parametrize("pcont", [pytest.param("cgroupfs", id="kernel")], indirect=True),
]


def own_directories() -> list[Path]:
    return [Path(directory, f"pcont-{UID}") for directory in SHARED]


@pytest.fixture
def home(pcont: Pcont, name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The PLACE of a container that is delegated to a user without a runtime directory."""
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    assert not any(path.exists() for path in own_directories())
    _, point = pcont.ok("mount", "-o", "none", "--name", name).split()
    pcont.ok("create", f"{name}:/theirs")
    directory = f"{point}/theirs"
    for entry in (directory, *(f"{directory}/{file}" for file in os.listdir(directory))):
        os.chown(entry, UID, UID)
    yield f"{name}:/theirs"
    pcont.ok("rm", "-r", f"{name}:/theirs")
    pcont.ok("umount", name)
    for path in own_directories():
        shutil.rmtree(path, ignore_errors=True)


def as_user(act: Callable[[], object]) -> int:
    """A process of the user's that does something and ends; its pid."""
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setresuid(UID, UID, UID)
            act()
        finally:
            os._exit(70)
    return pid


def killed(pcont: Pcont, home: str) -> None:
    """A command of the user's that made three of five containers."""
    make = Cgroupfs.make
    made: list[Place] = []

    def dying(self: Cgroupfs, place: Place) -> None:
        if len(made) == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        made.append(place)
        make(self, place)

    def act() -> None:
        Cgroupfs.make = dying  # type: ignore[assignment, method-assign]
        main([*pcont.words, "create", *(f"{home}/{number}" for number in range(5))])

    _, status = os.waitpid(as_user(act), 0)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL
    assert len(children(pcont, home)) == 3


def children(pcont: Pcont, home: str) -> list[str]:
    (node,) = pcont("tree", home, "--json").json
    return [child["path"] for child in node["children"]]


@pytest.fixture
def user(pcont: Pcont) -> Pcont:
    return Pcont(pcont.words, UID)


def test_what_a_killed_command_left_is_shown_and_undone(
    pcont: Pcont, user: Pcont, home: str
) -> None:
    killed(pcont, home)
    undo = f"undo: {' '.join(pcont.words)} create {home}/0"
    assert undo in user("tree", home).err
    assert undo in user.ok("doctor")
    assert f"# {undo}" in user.ok("create", "-n", f"{home}/next")
    result = user("create", f"{home}/next")
    assert result.status == 0
    assert "recovered from a crash" in result.err
    assert len(children(pcont, home)) == 1
    assert user.ok("recover") == ""


def test_it_is_found_after_the_user_has_got_a_runtime_directory(
    pcont: Pcont, user: Pcont, home: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed(pcont, home)
    runtime = Path("/run", f"pcont-test-{UID}")
    runtime.mkdir(mode=0o700)
    os.chown(runtime, UID, UID)
    try:
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
        (row,) = user("recover", "--json").json
        assert row["outcome"] == "undone"
        assert children(pcont, home) == []
    finally:
        shutil.rmtree(runtime)


def test_where_another_user_has_taken_every_name_a_note_says_so(
    pcont: Pcont, user: Pcont, home: str
) -> None:
    for path in own_directories():
        path.mkdir(mode=0o777)
        os.chown(path, UID + 1, UID + 1)
    result = user("create", f"{home}/a")
    assert result.status == 0
    assert "no safe directory for this user's lock and journals" in result.err
    assert "another user owns it" in result.err
    assert "no safe directory" in user.ok("doctor")


def test_two_commands_of_the_user_exclude_each_other(pcont: Pcont, user: Pcont, home: str) -> None:
    ready, done = os.pipe(), os.pipe()

    def hold() -> None:
        os.close(done[1])
        with lock.taken(Waiting(command="move a b")):
            os.write(ready[1], b"held")
            os.read(done[0], 1)

    holder = as_user(hold)
    os.read(ready[0], 4)
    said = user.fails(5, "create", "--timeout", "0", f"{home}/a")
    assert f"process {holder}, pcont move a b" in said
    os.close(done[1])
    os.waitpid(holder, 0)
    user.ok("create", "--timeout", "5", f"{home}/a")
    for one in (*ready, done[0]):
        os.close(one)
