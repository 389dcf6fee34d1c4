"""A subsystem from another package: bound, set, listed and obeyed like pcont's own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.contract.conftest import Pcont, Result

# Packages come through a network.
pytestmark = pytest.mark.host

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "seats"

BROKEN = """
[build-system]
requires = ["hatchling>=1.25,<2"]
build-backend = "hatchling.build"
[project]
name = "pcont-broken"
version = "1"
[project.entry-points."pcont.subsys"]
broken = "pcont_broken:TABLE"
[tool.hatch.build.targets.wheel]
only-include = ["pcont_broken.py"]
"""


def install(package: Path, into: Path) -> None:
    words = ["install", "--quiet", "--no-deps", "--target", str(into), str(package)]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", *words],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the example is installed, and a package that does not work."""
    folder = tmp_path_factory.mktemp("packages")
    install(EXAMPLE, folder)
    broken = tmp_path_factory.mktemp("broken")
    (broken / "pyproject.toml").write_text(BROKEN)
    (broken / "pcont_broken.py").write_text("TABLE = 1\n")
    install(broken, folder)
    return folder


@pytest.fixture
def installed(pcont: Pcont, packages: Path) -> Callable[..., Result]:
    """Run a command of pcont that finds the packages."""

    def run(*words: str) -> Result:
        done = subprocess.run(
            [sys.executable, "-m", "pcont", *pcont.words, *words],
            env={**os.environ, "PYTHONPATH": f"{packages}:{os.environ.get('PYTHONPATH', '')}"},
            capture_output=True,
            text=True,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Result(done.returncode, done.stdout, done.stderr)

    return run


@pytest.mark.slow
def test_the_example_is_a_subsystem_like_the_others(
    installed: Callable[..., Result], pcont: Pcont, name: str, start: Callable[..., int]
) -> None:
    def ok(*words: str) -> str:
        result = installed(*words)
        assert result.status == 0, result.err
        return result.out

    front, pids = f"{name}:/{name}", [str(start()) for _ in range(3)]
    ok("mount", "-o", "seats", "--name", name)
    assert name in [row.split("\t")[0] for row in ok("hierarchies").splitlines()]
    ok("create", front, "-s", "seats.total=2")
    ok("attach", front, pids[0])
    assert ok("get", front, "seats.taken") == "1\n"
    refused = installed("attach", front, *pids[1:])
    assert refused.status == 7
    assert f"all 2 seats of /{name} are taken (ENOSPC)" in refused.err
    assert ok("ps", front).split()[0] == pids[0]
    assert ok("get", front, "seats.taken") == "1\n"  # neither of the two is left in there
    ok("attach", front, pids[1])
    assert "2 seats are taken" in installed("set", front, "seats.total=1").err
    ok("set", front, "seats.total=max")
    ok("attach", front, pids[2])
    assert "seats.total=max" in ok("tree", front)
    # Without the package its values are attributes that no program understands.
    assert "has no file" in pcont.fails(3, "get", front, "seats.total")
    ok("rm", "--evict", front)
    ok("umount", name)


@pytest.mark.slow
def test_it_is_bound_to_a_hierarchy_in_use(
    installed: Callable[..., Result], pcont: Pcont, name: str
) -> None:
    pcont.ok("mount", "-o", "none", "--name", name)
    pcont.ok("create", f"{name}:/a")
    assert installed("bind", name, "seats", "--json").json == ["seats"]
    assert installed("get", f"{name}:/a", "seats.total").out == "max\n"
    assert installed("unbind", name, "seats", "--yes").status == 0
    assert installed("get", f"{name}:/a", "seats.total").status == 3
    pcont.ok("rm", f"{name}:/a")
    pcont.ok("umount", name)


@pytest.mark.slow
def test_it_is_listed_and_a_broken_one_says_why(installed: Callable[..., Result]) -> None:
    rows = {row["name"]: row for row in json.loads(installed("subsys", "--json").out)["result"]}
    assert rows["seats"]["help"] == "how many tasks a container admits"
    assert "cannot be used: TypeError" in rows["broken"]["help"]
    refused = installed("mount", "-o", "broken", "--name", "x")
    assert refused.status == 6
    assert "the subsystem broken (pcont_broken:TABLE) cannot be used" in refused.err
    assert installed("mount", "-o", "seats,ns").status == 2  # which of the two would it be called?
