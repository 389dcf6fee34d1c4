"""The fixtures that the tests of the contract have, too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import need_program
from tests.contract.conftest import Top, cgroup2, kernel, name, nothing_is_left, of_v2, v2
from tests.stress import SOURCES

__all__ = ("cgroup2", "kernel", "name", "nothing_is_left", "v2")


@pytest.fixture(params=["cgroupfs"])
def v2_alone(request: pytest.FixtureRequest, name: str, tmp_path: Path) -> Iterator[Top]:
    """That of the kernel only."""
    yield from of_v2(request, name, tmp_path)


@pytest.fixture
def compiler() -> None:
    """A compiler for the storms."""
    need_program(SOURCES / "storm.c")


_reports: list[str] = []


def report(line: str) -> None:
    """Print a line now (with pytest -s), and at the end of the tests."""
    print(line)
    _reports.append(line)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in _reports:
        terminalreporter.write_line(line)
