"""One script of a sysadmin prints the same on every backend and kernel, but some lines on v2."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from pcont.kernel.types import UNIFIED
from tests.conftest import elsewhere
from tests.contract.conftest import Pcont, Top
from tests.contract.test_v2_controllers import bare, controlled  # noqa: F401

HERE = Path(__file__).parent
SCRIPT = HERE / "sysadmin.sh"
DEFAULTS = {
    "--backend": "PCONT_BACKEND",
    "--state": "PCONT_STATE",
    "--dialect": "PCONT_DIALECT",
}


def printed(pcont: Pcont, name: str, folder: Path) -> str:
    """What the script prints in a shell in which `pcont` is the command line of this checkout."""
    tools = folder / "bin"
    tools.mkdir()
    (tools / "pcont").write_text(f'#!/bin/sh\nexec {sys.executable} -m pcont "$@"\n')
    (tools / "pcont").chmod(0o755)
    options = iter(pcont.words)
    environment = os.environ | {
        "PATH": f"{tools}:{os.environ['PATH']}",
        "PYTHONPATH": str(HERE.parents[1]),
        "NAME": name,
        "LINES": str(folder / "lines"),
        "MOUNTPOINT": str(folder / "home"),
        **{DEFAULTS[option]: next(options) for option in options},
    }
    ran = subprocess.run(
        ["bash", str(SCRIPT)], env=environment, text=True, capture_output=True, timeout=300
    )
    assert ran.stderr == ""
    return ran.stdout


def has_cpuset_in_v2(pcont: Pcont) -> bool:
    trees = pcont.backend().trees()
    return any(tree.id == UNIFIED and "cpuset" in tree.controllers for tree in trees)


def test_on_cgroup_v1(pcont: Pcont, name: str, tmp_path: Path) -> None:
    if has_cpuset_in_v2(pcont):
        elsewhere("cpuset is in cgroup v2")
    expected = (HERE / "sysadmin.v1").read_text(encoding="utf-8")
    assert printed(pcont, name, tmp_path) == expected


def test_on_cgroup_v2(bare: Top, tmp_path: Path) -> None:  # noqa: F811
    """The lines that differ are those of docs/v2.md, "What a script sees"."""
    expected = (HERE / "sysadmin.v2").read_text(encoding="utf-8")
    assert printed(bare.pcont, bare.path.strip("/"), tmp_path) == expected
