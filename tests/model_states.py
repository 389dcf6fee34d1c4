"""State files of the model, as tests look at them: all rows by key."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pcont.model.pages import PageFile, create_file
from pcont.model.store import VERSION


def rows_in(file: Path | str) -> dict[str, Any]:
    """Return all rows of a state file of the present version; none of a file that is missing."""
    if not os.path.exists(file):
        return {}
    return dict(PageFile(str(file), os.open(file, os.O_RDONLY)).scan(""))


def write_rows(file: Path | str, rows: dict[str, Any]) -> None:
    """Write a state file."""
    create_file(str(file), str(VERSION), rows)
