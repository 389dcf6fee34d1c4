"""A PLACE as users type it, and what messages call it then."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.conftest import Jobs, Pcont


@pytest.mark.parametrize("words", [("tree",), ("get",), ("ps",), ("set", "notify_on_release=0")])
def test_a_selector_is_the_root_of_its_hierarchy(jobs: Jobs, words: tuple[str, ...]) -> None:
    command, *more = words
    for text in (jobs.name, f"{jobs.name}:", f"{jobs.name}:/"):
        jobs.pcont.ok(command, text, *more)
    assert "root" in jobs.pcont.fails(4, "rm", jobs.name)


def test_a_hierarchy_may_have_a_colon_and_a_slash(jobs: Jobs) -> None:
    for text in (jobs.name, f"{jobs.name}:", f"{jobs.name}:/"):
        jobs.pcont.fails(3, "bind", text, "nope")
        jobs.pcont.ok("umount", "--dry-run", text)


@pytest.fixture
def inside(
    pcont: Pcont, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """The mount point of a hierarchy. The current directory is that of its container /a."""
    point = tmp_path / "home"
    point.mkdir()
    pcont.ok("mount", "-o", "none", "--name", name, str(point))
    pcont.ok("create", "-p", f"{name}:/a/b")
    # The model mounts nothing: its directories are made here.
    (point / "a" / "b").mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(point / "a")
    yield point
    monkeypatch.chdir(tmp_path)
    pcont("rm", "-r", f"{name}:/a")
    pcont.ok("umount", name)


def test_a_relative_directory_below_a_mount_is_a_place(
    pcont: Pcont, name: str, inside: Path
) -> None:
    result = json.loads(pcont.ok("create", "--json", "c", "./d", "../e", "b/f"))["result"]
    assert result == [f"{name}:{path}" for path in ("/a/c", "/a/d", "/e", "/a/b/f")]
    assert pcont.get(".", "notify_on_release") == "0"
    (top,) = json.loads(pcont.ok("tree", "--json", ".."))["result"]
    assert top["name"] == f"{name}:/"
    removed = json.loads(pcont.ok("rm", "--json", "c", "d", "../e", "b/f"))["result"]
    assert removed == result


@pytest.mark.quick
def test_messages_and_hints_have_the_place_as_it_was_typed(
    pcont: Pcont, name: str, inside: Path
) -> None:
    pid = str(os.getpid())
    for text in (f"{name}:/a/x", f"{name}://a/x/", f"{inside}/a/x", "./x", "x", "../a/x"):
        assert f"there is no container {text}\n" in pcont.fails(3, "attach", text, pid)
    for text in (f"{name}:/a", f"{inside}/a", ".", "../a"):
        assert f"cannot remove {text}: " in pcont.fails(5, "rm", text)


def test_a_word_is_no_place_where_the_current_directory_is_below_no_mount(
    pcont: Pcont, inside: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pcont.fails(3, "get", "b")
    pcont.fails(3, "get", "./b")
    pcont.fails(2, "get", "b/c")
    pcont.ok("get", "./home/a/b")
