"""How many Python calls a command makes: the table of docs/benchmarks.md, with a little room."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest

from benchmarks import calls
from pcont.ops import attach
from pcont.session import Session

ROOM = 1.05

# The most calls, and of them those outside of the model, on a tie of three trees.
MOST: dict[Callable[[str], calls.Counts], tuple[int, int]] = {
    calls.set_one: (534, 437),
    calls.attach_simulated: (961, 477),
    calls.mount_tie: (649, 442),
}


@pytest.mark.parametrize("command", MOST, ids=lambda command: command.__name__)
def test_a_command_makes_no_more_calls_than_were_measured(
    command: Callable[[str], calls.Counts],
) -> None:
    found = command("cpuset,cpuacct")
    measured, outside = MOST[command]
    assert found.calls <= measured * ROOM
    assert found.outside <= outside * ROOM


def test_set_reads_the_value_once_and_lists_no_files() -> None:
    found = calls.set_one("cpuset,cpuacct").reads
    assert (found["read"], found["files"], found["trees"]) == (1, 0, 1)
    assert found["attributes"] == 3, "those of the root of each tree"


def test_attach_reads_each_container_before_and_after() -> None:
    found = calls.attach_simulated("cpuset,cpuacct").reads
    assert found["read"] == 2 * 3
    assert found["task"] == 2, "before the move, and right before it"


def test_a_real_process_costs_no_more_calls_outside_of_the_model() -> None:
    simulated, real = calls.attach_simulated("cpuset"), calls.attach_real("cpuset")
    assert real.outside == simulated.outside
    assert real.calls <= 900


@pytest.mark.parametrize("number", [1, 2])
def test_create_lists_no_files_and_no_children(number: int) -> None:
    found = calls.create_many(number).reads
    assert (found["files"], found["children"]) == (0, 0)


def test_a_dry_run_of_attach_lists_the_files_of_a_container_for_each_write_only() -> None:
    found = []
    for number in (1, 50):
        model, pids = calls.populated(number)
        session = Session(model, dry_run=True)
        run = functools.partial(attach.attach, session, "pids:/a", pids)
        found.append(calls.counted(run).reads["files"])
    assert found == [1, 50]


# The most calls outside of the model for one more container, and the reads of the model for it.
EACH: dict[Callable[[int], calls.Counts], tuple[int, dict[str, int]]] = {
    calls.create_many: (43, {}),
    calls.remove_many: (42, {"children": 1, "read": 1}),
}


@pytest.mark.parametrize("command", EACH, ids=lambda command: command.__name__)
def test_one_more_container_costs_the_same_however_many_there_are(
    command: Callable[[int], calls.Counts],
) -> None:
    command(1)  # tables are read once
    few, more, many = command(100), command(200), command(400)
    most, reads = EACH[command]
    assert more.outside - few.outside <= 100 * most * ROOM
    assert many.outside - more.outside <= 200 * most * ROOM
    for verb in ("has", "children", "read", "trees"):
        assert many.reads[verb] - more.reads[verb] == 200 * reads.get(verb, 0), verb
    # What a run of steps has in common is read once for the run.
    assert many.reads["files"] + many.reads["attributes"] < 200 / 10


# The most calls outside of the model for one more task, and the reads of the model for it: whether
# the process is alive. Where it is, a list of its container tells.
EACH_TASK: dict[Callable[[int], calls.Counts], tuple[float, int]] = {
    calls.attach_many: (40, 1),
    calls.attach_threads: (1, 0),
    calls.move_many: (10, 0),
    calls.move_beside: (20, 1),
    calls.move_threads_beside: (10, 0),
}


@pytest.mark.parametrize("command", EACH_TASK, ids=lambda command: command.__name__)
def test_one_more_task_costs_the_same_however_many_there_are(
    command: Callable[[int], calls.Counts], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pcont.steps.converge.FRESH", 1000.0)  # one round, on a slow machine too
    command(1)
    few, more, many = command(100), command(200), command(400)
    most, looks = EACH_TASK[command]
    assert more.outside - few.outside <= 100 * most * ROOM
    assert many.outside - more.outside <= 200 * most * ROOM
    assert many.reads["task"] - more.reads["task"] == 200 * looks
    # Lists are read once for all, and what the others have in common is known then.
    for verb in ("read", "membership", "threads", "has", "trees"):
        assert many.reads[verb] - more.reads[verb] <= 8, verb


def test_a_move_of_many_rounds_looks_up_each_process_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside other tasks, where the start times are recorded. Here each round moves one task."""
    monkeypatch.setattr("pcont.steps.converge.FRESH", 0.0)
    more, many = calls.move_beside(50), calls.move_beside(80)
    assert many.reads["task"] - more.reads["task"] == 30
