"""One script of a sysadmin prints the same on every backend and kernel."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contract.conftest import Pcont

HERE = Path(__file__).parent
SCRIPT, SHOWN = HERE / "sysadmin.sh", HERE / "sysadmin.txt"


@pytest.fixture
def environment(pcont: Pcont, name: str, tmp_path: Path) -> dict[str, str]:
    """A shell in which `pcont` is the command line of this checkout over a backend."""
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "pcont").write_text(f'#!/bin/sh\nexec {sys.executable} -m pcont "$@"\n')
    (tools / "pcont").chmod(0o755)
    found = {
        "PATH": f"{tools}:{os.environ['PATH']}",
        "PYTHONPATH": str(HERE.parents[1]),
        "NAME": name,
        "LINES": str(tmp_path / "lines"),
        "MOUNTPOINT": str(tmp_path / "home"),
        "PCONT_BACKEND": pcont.words[1],
    }
    if "model" in pcont.words:
        found["PCONT_STATE"] = pcont.words[3]
    return os.environ | found


def test_a_script_prints_the_same_everywhere(environment: dict[str, str]) -> None:
    ran = subprocess.run(
        ["bash", str(SCRIPT)], env=environment, text=True, capture_output=True, timeout=300
    )
    assert ran.stderr == ""
    assert ran.stdout == SHOWN.read_text(encoding="utf-8")
