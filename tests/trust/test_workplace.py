"""workplace: a directory for lock and journals that no other user can make or change."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import get_ident

import pytest

from pcont.backend_model import Model
from pcont.errors import Busy, Denied, PcontError, UsageProblem
from pcont.kernel.types import Waiting
from pcont.linux import lock
from pcont.ops.doctor import examine
from pcont.session import Session
from pcont.trust import ownership, workplace
from pcont.trust.workplace import Workplace

UID = 4711  # a user that no process and no file of the machine belongs to
OTHER = 4712
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="it becomes other users")


@pytest.fixture
def places(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A machine's /run and its sticky directories, and this process as a user of it."""
    top = Path("/run") / f"workplace-{os.getpid()}"
    top.mkdir(mode=0o755)
    for name in ("run", "run/user"):
        (top / name).mkdir(mode=0o755)
    for name in ("tmp", "shm"):
        (top / name).mkdir()
        (top / name).chmod(0o1777)
    monkeypatch.setattr(workplace, "ROOT", f"{top}/run/pcont")
    monkeypatch.setattr(workplace, "RUNTIME", f"{top}/run/user")
    monkeypatch.setattr(workplace, "SHARED", (f"{top}/tmp", f"{top}/shm"))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    yield top
    os.seteuid(0)
    subprocess.run(["rm", "-r", top], check=True)


@pytest.fixture
def user(places: Path) -> Path:
    os.seteuid(UID)
    return places


def owned(path: Path, uid: int, mode: int = 0o700) -> Path:
    was = os.geteuid()
    os.seteuid(0)
    path.mkdir()
    os.chown(path, uid, uid)
    path.chmod(mode)
    os.seteuid(was)
    return path


@needs_root
def test_root_has_one_directory_and_nothing_else(places: Path) -> None:
    assert workplace.find_workplace() == workplace.Workplace(f"{places}/run/pcont")
    assert not (places / "run/pcont").exists()
    found = workplace.make_workplace()
    assert found == workplace.Workplace(f"{places}/run/pcont", (f"{places}/run/pcont",))
    assert (places / "run/pcont").stat().st_mode & 0o777 == 0o700


@needs_root
@pytest.mark.parametrize(
    ("owner", "mode", "reason"),
    [(OTHER, 0o700, "another user owns it"), (0, 0o770, "other users can write it")],
)
def test_root_s_directory_is_not_used_where_another_user_could_change_it(
    places: Path, owner: int, mode: int, reason: str
) -> None:
    owned(places / "run/pcont", owner, mode)
    with pytest.raises(Denied, match=reason):
        workplace.make_workplace()
    assert reason in workplace.find_workplace().refused[0]
    assert workplace.find_workplace().directory == ""


@needs_root
def test_root_s_directory_is_not_used_where_another_user_could_replace_it(places: Path) -> None:
    workplace.make_workplace()
    (places / "run").chmod(0o777)
    with pytest.raises(Denied, match="other users can write it"):
        workplace.make_workplace()


@needs_root
def test_a_user_has_the_runtime_directory_without_the_variable(user: Path) -> None:
    """As cron and su leave out XDG_RUNTIME_DIR."""
    owned(user / f"run/user/{UID}", UID)
    assert workplace.make_workplace().directory == f"{user}/run/user/{UID}/pcont"


@needs_root
def test_another_user_s_runtime_directory_is_not_used(
    user: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As sudo -u and su leave it in the environment."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(owned(user / f"run/user/{OTHER}", OTHER, 0o777)))
    assert workplace.make_workplace().directory == f"{user}/tmp/pcont-{UID}"


@needs_root
def test_a_runtime_directory_elsewhere_comes_second(
    user: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = owned(user / "elsewhere", UID)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(elsewhere))
    assert workplace.make_workplace().directory == f"{elsewhere}/pcont"
    owned(user / f"run/user/{UID}", UID)
    found = workplace.make_workplace()
    assert found.directory == f"{user}/run/user/{UID}/pcont"
    assert found.existing == (found.directory, f"{elsewhere}/pcont")


@needs_root
def test_a_user_without_a_runtime_directory_has_one_in_a_sticky_directory(user: Path) -> None:
    found = workplace.make_workplace()
    assert found.directory == f"{user}/tmp/pcont-{UID}"
    made = Path(found.directory).stat()
    assert (made.st_uid, made.st_mode & 0o777) == (UID, 0o700)


@needs_root
@pytest.mark.parametrize("trap", ["directory", "open directory", "link", "own link", "file"])
def test_a_directory_that_an_attacker_has_made_first_is_not_used(user: Path, trap: str) -> None:
    path = user / f"tmp/pcont-{UID}"
    mine = owned(user / "mine", UID)
    os.seteuid(0)
    os.seteuid(UID if trap == "own link" else OTHER)
    if "directory" in trap:
        path.mkdir()
        path.chmod(0o777 if trap == "open directory" else 0o700)
    elif "link" in trap:
        path.symlink_to(mine)
    else:
        path.touch()
    os.seteuid(0)
    os.seteuid(UID)
    found = workplace.make_workplace()
    assert found.directory == f"{user}/shm/pcont-{UID}"
    assert str(path) in found.refused[0]


@needs_root
def test_a_shared_directory_that_is_not_sticky_is_not_used(user: Path) -> None:
    os.seteuid(0)
    (user / "tmp").chmod(0o777)
    os.seteuid(UID)
    assert workplace.make_workplace().directory == f"{user}/shm/pcont-{UID}"


@needs_root
def test_without_a_safe_directory_a_command_says_so_and_goes_on(user: Path) -> None:
    for name in ("tmp", "shm"):
        owned(user / name / f"pcont-{UID}", OTHER)
    assert workplace.make_workplace().directory == ""
    notes: list[str] = []
    with lock.taken(Waiting(note=notes.append)):
        pass
    assert "no safe directory for this user's lock" in notes[0]
    assert f"{user}/tmp/pcont-{UID}" in notes[0]


@needs_root
def test_a_directory_of_the_user_s_own_that_others_can_write_is_not_used(user: Path) -> None:
    owned(user / f"tmp/pcont-{UID}", UID, 0o770)
    assert workplace.make_workplace().directory == f"{user}/shm/pcont-{UID}"


@needs_root
def test_a_login_in_the_meantime_lets_no_second_command_in(user: Path) -> None:
    """The first one has its lock in /tmp, the second one has a runtime directory, too."""
    patience = Waiting(timeout=0)
    with lock.taken(Waiting()):
        owned(user / f"run/user/{UID}", UID)
        lock._holders.clear()  # as in another process
        with pytest.raises(Busy), lock.taken(patience):
            pass
        lock._holders.add(get_ident())
    with lock.taken(patience):
        assert workplace.find_workplace().existing[0] == f"{user}/run/user/{UID}/pcont"


@needs_root
def test_a_lock_that_is_no_file_is_refused_at_once(places: Path) -> None:
    workplace.make_workplace()
    os.mkfifo(places / "run/pcont/lock")
    with pytest.raises(PcontError, match="not a regular file"), lock.taken(Waiting()):
        pass


@needs_root
@pytest.mark.parametrize("what", ["directory", "lock"])
def test_a_lock_that_cannot_be_taken_comes_after_what_is_wrong_with_the_words(
    places: Path, what: str
) -> None:
    workplace.make_workplace()
    if what == "directory":
        (places / "run/pcont").chmod(0o777)
    else:
        (places / "run/pcont/lock").mkdir()

    def look() -> None:
        raise UsageProblem("a:b is not a place")

    with pytest.raises(UsageProblem), lock.taken(Waiting(before_wait=look)):
        pass
    with pytest.raises(PcontError, match="run/pcont"), lock.taken(Waiting()):
        pass


@needs_root
def test_a_read_only_directory_is_named_with_what_helps(places: Path) -> None:
    """And a directory that is missing on a full one; each in a mount namespace of its own."""
    workplace.make_workplace()
    script = f"""
import os, subprocess
from pcont.kernel.types import Waiting
from pcont.linux import lock
from pcont.trust import workplace
from pcont.backend_model import Model
workplace.ROOT = "{places}/run/pcont"
subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "x", "{places}/run"], check=True)
for _ in range(2):
    try:
        with lock.taken(Waiting()):
            print("taken")
    except Exception as err:
        print(type(err).__name__, err, err.hint)
    options = "remount,rw,nr_inodes=1"
    subprocess.run(["mount", "-o", options, "x", "{places}/run"], check=True)
"""
    words = ["unshare", "-m", sys.executable, "-c", script]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    assert len(lines) == 2, done
    for line, name in zip(lines, ("EROFS", "ENOSPC"), strict=True):
        assert f"cannot make pcont's directory {places}/run/pcont" in line
        assert name in line
    assert f"df {places}/run" in lines[1]


def test_a_lock_that_was_removed_while_it_was_waited_for_counts_no_more(tmp_path: Path) -> None:
    """Else two commands would each have the lock of another file."""
    file = tmp_path / "lock"
    waits = []

    def remove() -> None:
        waits.append(1)
        file.unlink()

    with lock.locked(str(file), Waiting()):
        descriptor = os.open(file, os.O_RDWR)
    import fcntl

    fcntl.flock(descriptor, fcntl.LOCK_EX)

    def look() -> None:
        remove()
        os.close(descriptor)

    with lock.locked(str(file), Waiting(before_wait=look)):
        assert waits == [1]
        with pytest.raises(Busy), lock.locked(str(file), Waiting(timeout=0)):
            pass


def test_a_command_that_waits_says_after_a_second_for_which_one(tmp_path: Path) -> None:
    file = str(tmp_path / "lock")
    script = (
        "import sys; from pcont.linux import lock; from pcont.kernel.types import Waiting\n"
        f"with lock.locked({file!r}, Waiting(command='move jobs:/a jobs:/b')):\n"
        "    print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout
    assert holder.stdin
    holder.stdout.readline()
    notes: list[str] = []

    def noted(text: str) -> None:
        notes.append(text)
        assert holder.stdin
        holder.stdin.close()

    with lock.locked(file, Waiting(note=noted)):
        pass
    holder.wait()
    holder.stdout.close()
    note = f"waiting for another pcont command (process {holder.pid}, pcont move jobs:/a jobs:/b)"
    assert notes == [note]


def test_the_lock_s_file_says_which_command_has_it_at_the_timeout(tmp_path: Path) -> None:
    file = str(tmp_path / "lock")
    with lock.locked(file, Waiting(command="create jobs:/a")):
        match = f"process {os.getpid()}, pcont create jobs:/a"
        with pytest.raises(Busy, match=match), lock.locked(file, Waiting(timeout=0)):
            pass


@pytest.mark.skipif(
    os.geteuid() != 0, reason="to root, a directory of a user is unsafe because of its owner"
)
def test_doctor_reports_an_unsafe_directory_of_the_lock_once(tmp_path: Path) -> None:
    """Also where other files that root relies on are below it."""
    place = tmp_path / "pcont"
    (place / "released").mkdir(parents=True)
    place.chmod(0o777)
    weak = ownership.weak_point(str(place), sticky=True)
    assert weak
    reason = weak.sentence

    class Unsafe(Model):
        def workplace(self) -> Workplace:
            return Workplace(refused=(reason,))

        def relied_on(self) -> dict[str, str]:
            return {str(place): "locks and journals", f"{place}/released": "reports"}

    found = [one for one in examine(Session(Unsafe())) if str(place) in one.finding]
    assert [one.subject for one in found] == ["lock"]
