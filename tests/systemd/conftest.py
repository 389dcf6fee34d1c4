"""Units of systemd for tests, and what a container of cgroup v2 looks like to all programs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pcont.linux import systemd
from tests.conftest import IN_GUEST, elsewhere
from tests.contract.conftest import Pcont
from tests.waiting import eventually

ROOT = Path("/sys/fs/cgroup")
CONTROL = "cgroup.subtree_control"


@pytest.fixture(autouse=True)
def systemd_is_init() -> None:
    if not (IN_GUEST and systemd.is_init()):
        elsewhere("systemd is not the init process of this guest")


@pytest.fixture
def pcont() -> Pcont:
    """The command line as an administrator types it."""
    return Pcont(())


def systemctl(*words: str) -> str:
    """Call systemctl, which must succeed; what it prints."""
    return _called("systemctl", *words)


def _called(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, f"{words}: {done.stderr}"
    return done.stdout


def state(unit: str, name: str) -> str:
    """The value of a property of a unit."""
    return systemctl("show", "--value", f"--property={name}", unit).strip()


def enabled(path: str = "") -> set[str]:
    """What a container enables for its children."""
    return {*(ROOT / path.strip("/") / CONTROL).read_text().split()}


def path_of(task: int) -> str:
    """The path of the container of a task."""
    return Path(f"/proc/{task}/cgroup").read_text().strip().removeprefix("0::")


Unit = Callable[..., str]


@pytest.fixture
def unit() -> Iterator[Unit]:
    """Start services; the name of each. They stop after the test."""
    started: list[str] = []

    def unit(*properties: str, command: str = "exec sleep 600") -> str:
        name = f"t{os.getpid()}-{len(started)}.service"
        words = [f"--property={one}" for one in properties]
        shell = ("/bin/sh", "-c", command.replace("$", "$$"))  # systemd replaces variables, too
        _called("systemd-run", "--quiet", f"--unit={name}", *words, *shell)
        started.append(name)
        assert eventually(lambda: state(name, "ActiveState") == "active")
        return name

    yield unit
    for name in started:
        subprocess.run(["systemctl", "stop", name], capture_output=True)
        subprocess.run(["systemctl", "reset-failed", name], capture_output=True)


def directory_of(name: str) -> Path:
    """The directory of a unit."""
    return ROOT / state(name, "ControlGroup").strip("/")


# The service makes a container for itself below that of its unit, as with DelegateSubgroup=.
MOVES_ITSELF = """
there=/sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup)
mkdir $there/main && echo $$ > $there/main/cgroup.procs && exec sleep 600
"""


@pytest.fixture
def delegated(unit: Unit) -> Path:
    """The directory of a delegated unit, whose process is in a container below."""
    there = directory_of(unit("Delegate=yes", command=MOVES_ITSELF))
    assert eventually(lambda: is_in_main(there))
    return there


def is_in_main(there: Path) -> bool:
    return bool((there / "main").exists() and (there / "main/cgroup.procs").read_text())


def place_of(there: Path) -> str:
    """A directory as a PLACE."""
    return f"unified:/{there.relative_to(ROOT)}"


@pytest.fixture
def process() -> Iterator[int]:
    """A process that only sleeps."""
    with subprocess.Popen(["sleep", "600"]) as one:
        yield one.pid
        one.kill()
