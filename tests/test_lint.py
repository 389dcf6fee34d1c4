"""Style, format and types are tests like all others: ruff and mypy over the whole project."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import MUST

CHECKOUT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(
    ("tool", "words"),
    [
        ("ruff", ("check", "--no-cache", ".")),
        ("ruff", ("format", "--no-cache", "--check", ".")),
        ("mypy", ()),
    ],
    ids=["ruff check", "ruff format", "mypy"],
)
def test_nothing_is_left_to_say(tool: str, words: tuple[str, ...]) -> None:
    if importlib.util.find_spec(tool) is None:
        why = f"{tool} is not installed: pip install '.[test]'"
        if MUST:
            pytest.fail(why)
        pytest.skip(why)
    result = subprocess.run(
        [sys.executable, "-m", tool, *words], cwd=CHECKOUT, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout + result.stderr
