"""The demo tells the truth: on this host, on the model, and where only cgroup v2 is."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.conftest import eventually

SCRIPT = Path(__file__).resolve().parents[2] / "demo" / "main-job.sh"


def demo(*words: str) -> str:
    """Run the demo, which must go well; what it showed."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path}
    run = subprocess.run(
        [str(SCRIPT), *words], env=environment, text=True, capture_output=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "nothing is left" in run.stdout
    return run.stdout + run.stderr


def test_the_demo_on_the_model() -> None:
    shown = demo("model")
    assert "MODEL" in shown
    assert "node_" in shown
    assert "(exit 7)" in shown


@pytest.mark.kernel
@pytest.mark.host
def test_the_demo_on_the_real_cgroups() -> None:
    shown = demo()
    assert "MODEL" not in shown
    assert "Cpus_allowed_list" in shown
    assert "node_" in shown
    assert "(exit 7)" in shown


@pytest.fixture
def only_v2(tmp_path: Path) -> Iterator[None]:
    """A host with cgroup2, and nothing bound to v1."""
    subprocess.run(["mount", "-t", "cgroup2", "cgroup2", str(tmp_path)], check=True)
    yield
    subprocess.run(["umount", str(tmp_path)], check=True)
    assert eventually(lambda: not os.path.ismount(tmp_path))


@pytest.mark.guest
@pytest.mark.usefixtures("only_v2")
def test_the_demo_where_only_v2_is() -> None:
    shown = demo()
    assert "(exit 6)" in shown
    assert "cgroup v2" in shown
    assert "MODEL" in shown
