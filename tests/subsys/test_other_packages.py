"""Subsystems of other packages: importlib.metadata is asked only if a package may register one."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from pcont import subsys

OURS = "[console_scripts]\nx = y:z\n\n[pcont.subsys]\nseats = seats:TABLE\n"
NOT_OURS = "[console_scripts]\npcont.subsys = x:y\n"


@pytest.mark.parametrize(
    ("folder", "text", "may"),
    [
        ("seats-1.dist-info", OURS, True),
        ("Seats-1.Dist-Info", OURS, True),
        ("seats.egg-info", OURS, True),
        ("EGG-INFO", OURS, True),
        ("seats-1.dist-info", NOT_OURS, False),
        ("seats-1.dist-info", None, False),
        ("seats", OURS, False),
    ],
)
def test_a_directory_may_have_a_package_that_registers_subsystems(
    folder: str, text: str | None, may: bool, tmp_path: Path
) -> None:
    (tmp_path / folder).mkdir()
    if text:
        (tmp_path / folder / "entry_points.txt").write_text(text)
    assert subsys._may_register(str(tmp_path)) == may


def test_what_is_no_directory_is_left_to_importlib(tmp_path: Path) -> None:
    archive = tmp_path / "packages.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("seats-1.dist-info/entry_points.txt", OURS)
    assert subsys._may_register(str(archive))
    assert not subsys._may_register(str(tmp_path / "nothing"))


def test_an_installed_package_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "seats-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: seats\nVersion: 1\n")
    (info / "entry_points.txt").write_text(OURS)
    monkeypatch.syspath_prepend(str(tmp_path))
    subsys.others.cache_clear()
    try:
        assert "seats" in subsys.others()
    finally:
        monkeypatch.undo()
        subsys.others.cache_clear()
