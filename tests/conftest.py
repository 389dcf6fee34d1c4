"""Which tests run here, and why the others cannot."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from pcont.backend_cgroupfs import Cgroupfs
from pcont.model.dialects import V1
from tests import leftovers
from tests.stress import NoCompiler, built
from tests.vm.report import ELSEWHERE

MUST = bool(os.environ.get("PCONT_MUST"))
IN_GUEST = bool(os.environ.get("PCONT_GUEST"))

# Processes that share the tests take whole files: these first, so that none ends long after others.
LONGEST = (
    *("test_lint.py", "test_faults.py", "test_job_control.py", "test_cli.py"),
    *("test_mounting.py", "test_json.py", "test_namespaces.py", "test_run.py", "test_language.py"),
)


def pytest_configure() -> None:
    """What nohup, or a shell for its background jobs, has had ignored would wait for ever."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        if signal.getsignal(number) is signal.SIG_IGN:
            python_s = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
            signal.signal(number, python_s)
    if not IN_GUEST:
        _without_deadlines()


def _without_deadlines() -> None:
    """How long an example takes says nothing about whether it holds. In guests no test has any."""
    import hypothesis

    hypothesis.settings.register_profile("patient", deadline=None)
    hypothesis.settings.load_profile("patient")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Say why a test cannot run here; where everything must run, let it fail instead."""
    if os.environ.get("PYTEST_XDIST_WORKER"):
        items.sort(key=_when)
    for item in items:
        if item.get_closest_marker("guest") and not IN_GUEST:
            item.add_marker(pytest.mark.skip("needs a machine of its own: python -m tests.vm"))
        elif item.get_closest_marker("kernel") and not MUST and (why := no_kernel()):
            item.add_marker(pytest.mark.skip(why))


def _when(item: pytest.Item) -> int:
    """The place of a test's file among those that take longest: all others come later."""
    name = item.path.name
    return LONGEST.index(name) if name in LONGEST else len(LONGEST)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Start on a clean host, where there will be tests that change it."""
    if any(item.get_closest_marker("kernel") for item in session.items) and not no_kernel():
        leftovers.sweep()


@pytest.fixture
def sleeper() -> Iterator[int]:
    """A process that only sleeps."""
    with subprocess.Popen(["sleep", "600"]) as process:
        yield process.pid
        process.kill()


def need_program(source: Path) -> None:
    """Skip a test where no compiler builds this program; fail if nothing may be skipped."""
    try:
        built(source)
    except NoCompiler as err:
        if MUST:
            raise
        pytest.skip(str(err))


def elsewhere(why: str) -> NoReturn:
    """Skip a test that is about something that this kernel or machine does not have.

    Where nothing may be skipped that can run here, such a skip is counted apart.
    """
    pytest.skip(ELSEWHERE + why)


def no_kernel() -> str:
    """Why the tests that change real cgroups cannot run here; empty where they can."""
    if os.geteuid() != 0:
        return "needs root: it changes real cgroups"
    missing = set(V1.controllers) - _bound()
    if not IN_GUEST and missing:
        return f"this host has no cgroup v1 hierarchies with {' and '.join(sorted(missing))}"
    return ""


def _bound() -> set[str]:
    trees = [tree for tree in Cgroupfs().trees() if not tree.is_unified]
    return {name for tree in trees for name in tree.controllers}
