"""The file of rows: every state of it is whole, for readers too, and a damaged one is refused."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import pytest

from pcont.errors import PcontError
from pcont.model.pages import SLACK, PageFile, create_file

SEED = int(os.environ.get("PCONT_SEED", random.SystemRandom().randrange(1 << 32)))
Rows = dict[str, Any]


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """No disk is waited for."""
    monkeypatch.setattr("os.fsync", lambda descriptor: None)
    monkeypatch.setattr("os.fdatasync", lambda descriptor: None)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "rows"
    create_file(str(path), "4", {})
    return path


def opened(file: Path) -> PageFile:
    return PageFile(str(file), os.open(file, os.O_RDONLY))


def rows(pages: PageFile) -> Rows:
    return dict(pages.scan(""))


def key(chance: random.Random) -> str:
    return f"{chance.choice('abc')}:{chance.randrange(400):03}"


def test_rows_are_as_in_a_dict_after_every_commit(file: Path) -> None:
    print(f"seed {SEED}")
    chance, wanted, pages = random.Random(SEED), Rows(), opened(file)
    for number in range(120):
        some = {key(chance) for _ in range(chance.choice((0, 1, 3, 200)))}
        changes = {one: chance.choice((None, number, "x" * 50, [number])) for one in some}
        pages.commit(changes)
        wanted = {one: row for one, row in {**wanted, **changes}.items() if row is not None}
        for found in (pages, opened(file)):
            assert list(found.scan("")) == sorted(wanted.items())
            for prefix in ("a:", "b:1", "c:39", "d", "a:000"):
                some = {one for one in wanted if one.startswith(prefix)}
                assert [one for one, _ in found.scan(prefix)] == sorted(some)
            for one in (key(chance), "", "zz", chance.choice([*wanted, "a"])):
                assert found.get(one) == wanted.get(one)
        new = file.with_name(f"new-{number}")
        create_file(str(new), "4", wanted)
        # Unused pages are removed. Half-full ones and those of this commit are in a file, too.
        assert file.stat().st_size < 2.5 * new.stat().st_size + SLACK


def test_a_reader_keeps_the_state_that_it_has_opened(file: Path) -> None:
    """Also while the file grows, and while another one replaces it."""
    writer, readers = opened(file), list[tuple[PageFile, Rows]]()
    for number in range(200):
        writer.commit({f"{one:03}": [number, "x" * 100] for one in range(number % 50, 100)})
        readers.append((opened(file), rows(writer)))
    assert len({os.fstat(one._descriptor).st_ino for one, _ in readers}) > 1
    for reader, wanted in readers:
        assert rows(reader) == wanted


def test_a_commit_writes_what_changed_and_no_more(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_file(str(file), "4", {f"{number:06}": "x" * 100 for number in range(20_000)})
    size, pages = file.stat().st_size, opened(file)
    pages.commit({"010000": "y", "010001": None})
    assert 0 < file.stat().st_size - size < 32_000
    counted: list[int] = []
    read = os.pread

    def reading(descriptor: int, length: int, offset: int) -> bytes:
        counted.append(length)
        return read(descriptor, length, offset)

    monkeypatch.setattr("os.pread", reading)
    assert opened(file).get("010000") == "y"
    assert len(counted) <= 5


@pytest.mark.parametrize("fails", range(8))
def test_a_failed_write_leaves_the_old_rows(
    file: Path, monkeypatch: pytest.MonkeyPatch, fails: int
) -> None:
    pages = opened(file)
    pages.commit({"a": 1, "b": 2})
    calls, pwrite = [0], os.pwrite

    def failing(descriptor: int, data: memoryview, offset: int) -> int:
        calls[0] += 1
        if calls[0] > fails:
            raise OSError(5, "EIO")
        return pwrite(descriptor, data[: max(1, len(data) // 2)], offset)  # a short write

    with monkeypatch.context() as patched:
        patched.setattr("os.pwrite", failing)
        with pytest.raises(PcontError, match=r"cannot keep the model's state.*EIO"):
            pages.commit({"a": 3, "c": "x" * 5000})
    for found in (pages, opened(file)):
        assert rows(found) == {"a": 1, "b": 2}
    pages.commit({"c": 4})
    assert rows(opened(file)) == {"a": 1, "b": 2, "c": 4}


def test_a_file_that_was_removed_or_replaced_is_written_anew(file: Path) -> None:
    pages = opened(file)
    pages.commit({"a": 1})
    file.unlink()
    pages.commit({"b": 2})
    assert rows(opened(file)) == {"a": 1, "b": 2}
    create_file(str(file), "4", {"z": 1})
    pages.commit({"c": 3})
    assert rows(opened(file)) == rows(pages) == {"a": 1, "b": 2, "c": 3}


def test_a_file_without_room_for_a_new_one_grows_on(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*words: object) -> None:
        raise OSError(28, "ENOSPC")

    monkeypatch.setattr("os.replace", refused)
    pages = opened(file)
    for number in range(200):
        pages.commit({f"{one}": [number, "x" * 1000] for one in range(3)})
    assert file.stat().st_size > 2 * SLACK
    assert rows(opened(file)) == rows(pages) == {f"{one}": [199, "x" * 1000] for one in range(3)}
    assert [one.name for one in file.parent.iterdir()] == ["rows"]


def test_a_damaged_byte_is_found_or_makes_no_difference(file: Path) -> None:
    pages = opened(file)
    pages.commit({f"{number:03}": [number] for number in range(300)})
    before = rows(pages)
    pages.commit({"x": 1})
    states, text = (before, rows(pages)), file.read_bytes()
    found = {"damaged": 0, "old": 0, "same": 0}
    for at in range(0, len(text), 23):
        file.write_bytes(text[:at] + bytes([text[at] ^ 1]) + text[at + 1 :])
        try:
            state = rows(opened(file))
        except PcontError:
            found["damaged"] += 1
        else:
            assert state in states, at
            found["old" if state == before else "same"] += 1
    assert all(found.values()), found


def test_a_truncated_file_is_refused(file: Path) -> None:
    pages = opened(file)
    pages.commit({f"{number:03}": [number] for number in range(300)})
    text = file.read_bytes()
    for end in range(0, len(text), 41):
        file.write_bytes(text[:end])
        with pytest.raises(PcontError, match="cannot be read"):
            rows(opened(file))
