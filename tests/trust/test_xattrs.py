"""Which attributes are believed and written; the file system is a dictionary."""

from __future__ import annotations

import os
from errno import EIO, ENODATA, ENOSPC, EPERM
from pathlib import Path

import pytest

from pcont.trust import xattrs


class Files:
    """Extended attributes by path and name, and what is refused."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], bytes] = {}
        self.refused: dict[str, int] = {}

    def check(self, path: str, name: str) -> None:
        for prefix, number in self.refused.items():
            if name.startswith(prefix):
                raise OSError(number, os.strerror(number), path)

    def listxattr(self, path: str) -> list[str]:
        return [name for where, name in self.kept if where == path]

    def getxattr(self, path: str, name: str) -> bytes:
        if (path, name) not in self.kept:
            raise OSError(ENODATA, os.strerror(ENODATA), path)
        return self.kept[path, name]

    def setxattr(self, path: str, name: str, value: bytes) -> None:
        self.check(path, name)
        self.kept[path, name] = value

    def removexattr(self, path: str, name: str) -> None:
        self.getxattr(path, name)
        del self.kept[path, name]


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> Files:
    found = Files()
    for verb in ("listxattr", "getxattr", "setxattr", "removexattr"):
        monkeypatch.setattr(os, verb, getattr(found, verb))
    return found


@pytest.fixture
def place(tmp_path: Path) -> str:
    tmp_path.chmod(0o755)
    return str(tmp_path)


def names(files: Files) -> dict[str, str]:
    return {name: text.decode() for (_, name), text in files.kept.items()}


def test_an_attribute_and_its_copy_are_written_and_removed(files: Files, place: str) -> None:
    xattrs.write_xattr(place, "k", "v")
    assert names(files) == {"trusted.pcont.k": "v", "user.pcont.k": "v"}
    xattrs.write_xattr(place, "k", None)
    assert names(files) == {}
    with pytest.raises(OSError, match="No data"):
        xattrs.write_xattr(place, "k", None)


def test_what_may_not_be_written_leaves_no_copy(files: Files, place: str) -> None:
    files.refused["trusted."] = EPERM
    with pytest.raises(PermissionError):
        xattrs.write_xattr(place, "k", "v")
    assert names(files) == {}


def test_a_copy_that_cannot_be_written_is_removed(files: Files, place: str) -> None:
    xattrs.write_xattr(place, "k", "old")
    files.refused["user."] = ENOSPC
    xattrs.write_xattr(place, "k", "new")
    assert names(files) == {"trusted.pcont.k": "new"}


def test_each_reader_believes_one_of_the_names(files: Files, place: str) -> None:
    files.setxattr(place, "trusted.pcont.k", b"1")
    files.setxattr(place, "user.pcont.k", b"2")
    files.setxattr(place, "security.pcont.k", b"3")
    files.setxattr(place, "user.other", b"4")
    assert xattrs.read_xattrs(place, privileged=True) == {"k": "1"}
    assert xattrs.read_xattrs(place, privileged=False) == {"k": "2"}


@pytest.mark.parametrize("mode", [0o775, 0o757, 0o1777])
def test_a_copy_that_others_may_write_is_not_believed(files: Files, place: str, mode: int) -> None:
    xattrs.write_xattr(place, "k", "v")
    os.chmod(place, mode)
    assert xattrs.read_xattrs(place, privileged=False) == {}
    assert xattrs.read_xattrs(place, privileged=True) == {"k": "v"}


def test_what_is_removed_during_the_look_is_left_out(
    files: Files, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    xattrs.write_xattr(place, "k", "v")
    monkeypatch.setattr(os, "listxattr", lambda path: ["trusted.pcont.gone", "trusted.pcont.k"])
    assert xattrs.read_xattrs(place, privileged=True) == {"k": "v"}

    def fails(path: str, name: str) -> bytes:
        raise OSError(EIO, os.strerror(EIO), path)

    monkeypatch.setattr(os, "getxattr", fails)
    with pytest.raises(OSError, match="Input/output"):
        xattrs.read_xattrs(place, privileged=True)


def test_what_is_stray_is_found_and_mended(files: Files, place: str) -> None:
    xattrs.write_xattr(place, "k", "v")
    xattrs.write_xattr(place, "lacks", "a copy")
    files.setxattr(place, "security.pcont.k", b"old")
    files.setxattr(place, "user.pcont.k", b"forged")
    files.setxattr(place, "user.pcont.x", b"forged")
    files.removexattr(place, "user.pcont.lacks")
    assert xattrs.stray(place, privileged=False) == {"security.pcont.k": "old"}
    assert xattrs.stray(place, privileged=True) == {
        "security.pcont.k": "old",
        "user.pcont.k": "forged",
        "user.pcont.x": "forged",
    }
    xattrs.mend_xattrs(place)
    assert xattrs.stray(place, privileged=True) == {}
    assert names(files) == {
        "trusted.pcont.k": "v",
        "user.pcont.k": "v",
        "trusted.pcont.lacks": "a copy",
        "user.pcont.lacks": "a copy",
    }
