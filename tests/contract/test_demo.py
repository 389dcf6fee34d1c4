"""The demo tells the truth: on this host, on the model, and where only cgroup v2 is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.conftest import eventually

SCRIPT = Path(__file__).resolve().parents[2] / "demo" / "main-job.sh"


def demo_begun(*words: str) -> subprocess.Popen[str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.Popen(
        [str(SCRIPT), *words],
        env={**os.environ, "PATH": path},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def demo(*words: str) -> str:
    """Run the demo, which must go well; what it showed."""
    with demo_begun(*words) as run:
        shown, _ = run.communicate()
    assert run.returncode == 0, shown
    assert "nothing is left" in shown
    return shown


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
    """It goes on on the model, which the host has shown to the end."""
    with demo_begun() as run:
        assert run.stdout
        shown = ""
        while "MODEL" not in shown and (line := run.stdout.readline()):
            shown += line
        os.killpg(run.pid, signal.SIGINT)
    assert "MODEL" in shown
    assert "(exit 6)" in shown
    assert "cgroup v2" in shown
