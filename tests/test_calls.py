"""How many Python calls a command makes: the table of benchmarks/RESULTS.md, with a little room."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from benchmarks import calls

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
    assert found["task"] == 6


def test_a_real_process_costs_no_more_calls_outside_of_the_model() -> None:
    simulated, real = calls.attach_simulated("cpuset"), calls.attach_real("cpuset")
    assert real.outside == simulated.outside
    assert real.calls <= 900
