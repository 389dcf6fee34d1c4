"""What the tests under faults share: each command on each backend, a seed, the number of cases."""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Iterator
from typing import Literal, TypeVar

import pytest

from tests.conftest import IN_GUEST
from tests.contract.conftest import Pcont
from tests.fault_injection.command import FaultyCommand
from tests.fault_injection.commands import ROWS, Row
from tests.fault_injection.state import difference, observe
from tests.fault_injection.workspace import Workspace

# all: each fault at each change. one: a single fault for each command. Else a sample of each kind.
EVERYTHING = os.environ.get("PCONT_FAULTS") == "all"
ONE = os.environ.get("PCONT_FAULTS") == "one"
# The same sample each time, so that a failure comes from the change at hand.
SEED = int(os.environ.get("PCONT_SEED", 1))

# The tests that drive each command into faults.
KINDS = (
    "test_a_refusal_leaves_all_as_it_was",
    "test_a_change_that_is_late_is_none_the_worse",
    "test_a_signal_finds_all_done_or_nothing",
    "test_a_death_leaves_nothing_in_between",
)
T = TypeVar("T")
NAMES = {"model": "model", "cgroupfs": "kernel"}

# Under strace each case is a Python of its own: the host's matter.
collect_ignore = ["test_strace.py", "test_state_file.py"] if IN_GUEST else []
cases: list[str] = []


def some(found: Iterable[T], most: int) -> list[T]:
    """So many of them, drawn by the seed; all of them with PCONT_FAULTS=all."""
    rest, most = list(found), 1 if ONE else most
    if EVERYTHING or len(rest) <= most:
        return rest
    return random.Random(SEED).sample(rest, most)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With PCONT_FAULTS=one, leave one kind of fault for each command, drawn by the seed."""
    if ONE:
        left_out = [item for item in items if _command(item) and not _is_drawn(item)]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]


def _command(item: pytest.Item) -> str:
    """The command of a test, on its backend; empty if the test is about something else."""
    name, _, parameter = item.name.partition("[")
    return parameter if name in KINDS and item.path.name == "test_faults.py" else ""


def _is_drawn(item: pytest.Item) -> bool:
    kind = random.Random(f"{SEED} {_command(item)}").choice(KINDS)
    return item.name.startswith(f"{kind}[")


def on_each_backend(
    rows: Iterable[Row], backends: Iterable[str] = ("model", "cgroupfs")
) -> list[object]:
    """Parameters of `command`: on the kernel, and a guest's where nothing may be bound before.

    A guest, slow as it is, leaves to the host what the host can do.
    """
    return [
        pytest.param((backend, row), id=f"{NAMES[backend]}: {row}", marks=_marks(backend, row))
        for row in rows
        for backend in backends
        if (row.bare or not IN_GUEST)
    ]


def _marks(backend: str, row: Row) -> list[pytest.MarkDecorator]:
    if backend == "model":
        return []
    return [pytest.mark.guest if row.bare else pytest.mark.kernel]


def _scope(fixture_name: str, config: pytest.Config) -> Literal["module", "session"]:
    """In a guest, other files follow, which need the machine as it was. On this machine, the two
    files of this folder share each command.
    """
    return "module" if IN_GUEST else "session"


@pytest.fixture(scope=_scope, params=on_each_backend(ROWS))
def command(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FaultyCommand]:
    """A command that has been tried without a fault; the machine is afterwards as it was."""
    backend, row = request.param
    scratch = tmp_path_factory.mktemp("faults")
    words = ["--state", str(scratch / "model.json")] if backend == "model" else []
    words += ["--dialect", "hybrid" if row.hybrid else "v2"] if words and row.v2 else []
    name = f"pct{os.getpid()}-{scratch.name}-"
    bare = row.bare or (row.v2 and backend == "model")
    chosen = () if row.plain and backend != "model" else ("--backend", backend, *words)
    workspace = Workspace(Pcont(chosen), name, scratch, bare)
    workspace.disable_controllers()  # tests before this one may have enabled some
    found = observe(workspace)
    try:
        yield FaultyCommand(workspace, row)
    finally:
        workspace.clear()
    assert difference(found, observe(workspace)) == ""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if cases:
        terminalreporter.write_line(f"{len(cases)} (command, k, fault) cases, PCONT_SEED={SEED}")
