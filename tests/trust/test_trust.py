"""Whether other users can change or replace a file; as root, with files of other users."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pcont.errors import Denied
from pcont.trust import ownership
from tests import user_namespace
from tests.conftest import MUST

OTHER = 4242  # a user that has nothing here

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files of other users")


@pytest.fixture
def safe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that `weak_point` sees as the only one on the way, below a root of this user."""
    tmp_path.chmod(0o755)
    ways = ownership.way
    above = {str(one) for one in tmp_path.parents if str(one) != "/"}
    monkeypatch.setattr(
        ownership, "way", lambda path: (one for one in ways(path) if one not in above)
    )
    return tmp_path


def weak(path: Path, *, sticky: bool = False) -> str:
    found = ownership.weak_point(str(path), uid=os.geteuid(), sticky=sticky)
    return found.path if found else ""


def test_the_way_to_a_file_has_each_directory_each_link_and_the_file(tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir()
    (real / "file").touch()
    (tmp_path / "link").symlink_to("real/../real")
    found = list(ownership.way(str(tmp_path / "link" / "file")))
    assert found[0] == "/"
    assert found[-5:] == [str(one) for one in (tmp_path / "link", real, tmp_path, real)] + [
        str(real / "file")
    ]


def test_the_way_to_what_is_absent_ends_before_it_and_a_circle_ends(tmp_path: Path) -> None:
    assert list(ownership.way(str(tmp_path / "no" / "file")))[-1] == str(tmp_path)
    (tmp_path / "circle").symlink_to("circle")
    assert len(list(ownership.way(str(tmp_path / "circle")))) < 100


def test_programs_of_the_system_are_safe() -> None:
    assert ownership.weak_point("/bin/true") is None
    assert ownership.weak_point("/sbin/../bin/./true") is None


@pytest.mark.parametrize("mode", [0o775, 0o757, 0o1777])
def test_a_directory_that_others_can_write_is_weak(safe: Path, mode: int) -> None:
    inner = safe / "inner"
    inner.mkdir()
    (inner / "file").touch(0o644)
    assert weak(inner / "file") == ""
    inner.chmod(mode)
    assert weak(inner / "file") == str(inner)


@pytest.mark.parametrize("mode", [0o664, 0o646])
def test_a_file_that_others_can_write_is_weak(safe: Path, mode: int) -> None:
    (safe / "file").touch()
    (safe / "file").chmod(mode)
    assert weak(safe / "file") == str(safe / "file")


def test_what_a_link_leads_through_counts(safe: Path) -> None:
    (safe / "open").mkdir()
    (safe / "open").chmod(0o777)
    (safe / "open" / "file").touch(0o644)
    (safe / "link").symlink_to("open/file")
    assert weak(safe / "link") == str(safe / "open")


@needs_root
@pytest.mark.parametrize("kind", ["file", "directory", "link"])
def test_what_another_user_owns_is_weak(safe: Path, kind: str) -> None:
    there = safe / "there"
    if kind == "link":
        there.symlink_to("/bin/true")
    elif kind == "directory":
        there.mkdir()
    else:
        there.touch()
    assert weak(there) == ""
    os.lchown(there, OTHER, OTHER)
    assert weak(there) == str(there)
    assert ownership.weak_point(str(there), uid=OTHER) is None


def test_a_sticky_directory_is_a_parent_where_it_is_accepted(safe: Path) -> None:
    (safe / "tmp").mkdir()
    (safe / "tmp").chmod(0o1777)
    inner = safe / "tmp" / "inner"
    assert weak(inner, sticky=True) == str(safe / "tmp"), "another user may make it first"
    inner.mkdir(0o700)
    assert weak(inner) == str(safe / "tmp")
    assert weak(inner, sticky=True) == ""
    assert weak(safe / "tmp", sticky=True) == str(safe / "tmp")


@needs_root
def test_what_another_user_has_in_a_sticky_directory_is_weak(safe: Path) -> None:
    (safe / "tmp").mkdir()
    (safe / "tmp").chmod(0o1777)
    inner = safe / "tmp" / "inner"
    inner.mkdir(0o755)
    (inner / "file").touch()
    os.chown(inner, OTHER, OTHER)
    assert weak(inner / "file", sticky=True) == str(inner)


def test_the_sentence_names_the_owner_and_the_mode(safe: Path) -> None:
    (safe / "file").touch()
    (safe / "file").chmod(0o666)
    found = ownership.weak_point(str(safe / "file"), uid=os.geteuid())
    assert found
    assert found.sentence == (
        f"other users can write it: {safe}/file (owner {os.geteuid()}, mode 666)"
    )


def test_a_regular_file_of_the_user_is_opened(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    (tmp_path / "file").chmod(0o600)
    with open(ownership.open_file(str(tmp_path / "file"), uid=os.geteuid())) as stream:
        assert stream.read() == "text"
    with pytest.raises(FileNotFoundError):
        ownership.open_file(str(tmp_path / "none"))


@pytest.mark.parametrize("kind", ["link", "fifo", "directory", "writable"])
def test_no_other_kind_of_file_is_opened(tmp_path: Path, kind: str) -> None:
    there = tmp_path / "there"
    if kind == "link":
        (tmp_path / "file").touch(0o600)
        there.symlink_to("file")
    elif kind == "fifo":
        os.mkfifo(there, 0o600)
    elif kind == "directory":
        there.mkdir(0o700)
    else:
        there.touch()
        there.chmod(0o666)
    before = os.listdir("/proc/self/fd")
    with pytest.raises(OSError if kind == "link" else Denied):
        ownership.open_file(str(there), uid=os.geteuid())
    assert os.listdir("/proc/self/fd") == before


@needs_root
def test_no_file_of_another_user_is_opened(tmp_path: Path) -> None:
    (tmp_path / "file").touch(0o600)
    os.chown(tmp_path / "file", OTHER, OTHER)
    with pytest.raises(Denied, match="another user owns it"):
        ownership.open_file(str(tmp_path / "file"))
    os.close(ownership.open_file(str(tmp_path / "file"), uid=OTHER))


def test_in_a_user_namespace_the_unmapped_number_is_also_roots() -> None:
    hear, say = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            user_namespace.enter(OTHER)
            # The file itself has to be a user's that is mapped: /usr may be any unmapped user's.
            safe, weak = ownership.is_safe(os.stat("/"), 0), ownership.weak_point("/usr/bin")
            os.write(say, f"{os.lstat('/').st_uid} {safe} {weak is None}".encode())
        except OSError as err:
            os.write(say, f"no user namespace: {err}".encode())
        finally:
            os._exit(0)
    os.close(say)
    with open(hear) as stream:
        reported = stream.read()
    os.waitpid(pid, 0)
    if reported.startswith("no user namespace"):
        pytest.fail(reported) if MUST else pytest.skip(reported)
    assert reported == "65534 True False"


def test_a_kernel_without_user_namespaces_maps_all_users(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(path: str, *arguments: object, **options: object) -> object:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)

    monkeypatch.setattr("builtins.open", absent)
    assert ownership.is_safe(os.lstat("/"), 0)
    unmapped = os.stat_result((0o40755, 1, 1, 2, 65534, 65534, 0, 0, 0, 0))
    assert not ownership.is_safe(unmapped, 0)


def test_a_directory_is_judged_without_a_codec_that_has_to_be_imported() -> None:
    script = (
        "import sys; from pcont.trust import ownership; import os; found = os.stat('/'); "
        "before = set(sys.modules); ownership.is_safe(found, 0); print(*set(sys.modules) - before)"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (result.returncode, result.stdout.strip()) == (0, ""), result.stderr


@needs_root
def test_what_root_may_not_look_at_is_weak_and_not_absent(
    safe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user's FUSE file system refuses root, until the user unmounts it from its directory."""
    mounted, lstat = str(safe / "mounted"), os.lstat

    def refusing(path: str) -> os.stat_result:
        if path.startswith(mounted):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return lstat(path)

    monkeypatch.setattr(os, "lstat", refusing)
    assert weak(safe / "mounted" / "agent") == mounted
    monkeypatch.setattr(os, "geteuid", lambda: 4242)
    assert ownership.weak_point(str(safe / "mounted" / "agent"), uid=0) is None
