"""The demo tells the truth: on this host, on the model, and where only cgroup v2 is."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.conftest import eventually

DEMOS = Path(__file__).resolve().parents[2] / "demo"


def demo_begun(script: str, *words: str, **more: str) -> subprocess.Popen[str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.Popen(
        [str(DEMOS / script), *words],
        env={**os.environ, "PATH": path, **more},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def demo(script: str, *words: str, **more: str) -> str:
    """Run a demo, which must go well; what it showed."""
    with demo_begun(script, *words, **more) as run:
        shown, _ = run.communicate()
    assert run.returncode == 0, shown
    assert "nothing is left" in shown
    return shown


@pytest.mark.slow
def test_the_demo_on_the_model() -> None:
    shown = demo("main-job.sh", "model")
    assert "MODEL" in shown
    assert "node_" in shown
    assert "(exit 7)" in shown


@pytest.mark.kernel
@pytest.mark.host
def test_the_demo_on_the_real_cgroups() -> None:
    shown = demo("main-job.sh")
    assert "MODEL" not in shown
    assert "Cpus_allowed_list" in shown
    assert "node_" in shown
    assert "(exit 7)" in shown


def assert_limited(shown: str) -> None:
    """By files and forks, which the container counts."""
    assert "bc.numfiles.maxheld=20\n" in shown
    assert re.search(r"bc\.numfiles\.failcnt=[1-9]", shown)  # a shell opens files to say so
    assert re.search(r"forkrate failures [1-9]", shown)


@pytest.mark.slow
def test_the_limits_on_the_model() -> None:
    shown = demo("limits.sh", "model")
    assert "MODEL" in shown
    assert "(after 20 of 21): as many files are charged to its container" in shown
    assert "(after 3 of 4): the fork rate of its container is used up" in shown
    assert "bc.numfiles.failcnt=1\n" in shown
    assert_limited(shown)


@pytest.mark.guest
def test_the_limits_where_the_kernel_takes_programs() -> None:
    """Also where pids is with cgroup v2, and no container there uses it."""
    shown = demo("limits.sh", PCONT_BACKEND="cgroupfs")
    assert "MODEL" not in shown
    assert "Too many open files in system" in shown
    assert "fork: retry: Resource temporarily unavailable" in shown
    assert_limited(shown)


@pytest.mark.kernel
@pytest.mark.host
def test_without_programs_the_limits_are_refused_and_shown_on_the_model() -> None:
    shown = demo("limits.sh")
    assert ("MODEL" in shown) == ("(exit 6)" in shown)
    assert_limited(shown)


@pytest.fixture
def only_v2(tmp_path: Path) -> Iterator[None]:
    """A host with cgroup2, and nothing bound to v1."""
    subprocess.run(["mount", "-t", "cgroup2", "cgroup2", str(tmp_path)], check=True)
    yield
    control = tmp_path / "cgroup.subtree_control"
    control.write_text(" ".join(f"-{name}" for name in control.read_text().split()))
    subprocess.run(["umount", str(tmp_path)], check=True)
    assert eventually(lambda: not os.path.ismount(tmp_path))


@pytest.mark.guest
@pytest.mark.usefixtures("only_v2")
def test_the_demo_where_only_v2_is() -> None:
    """It shows the same, and says what differs."""
    shown = demo("main-job.sh")
    assert "MODEL" not in shown
    assert "Cpus_allowed_list" in shown
    assert "node_" in shown
    assert "On cgroup v2, a container without CPUs of its own" in shown
    assert "(exit 7)" in shown
