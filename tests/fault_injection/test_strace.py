"""The same commands with faults in their system calls, so that nothing goes round the wrapper."""

from __future__ import annotations

from functools import cache
from itertools import product
from pathlib import Path

import pytest

from tests.conftest import MUST
from tests.fault_injection import strace
from tests.fault_injection.command import RECOVERS, FaultyCommand
from tests.fault_injection.commands import ROWS
from tests.fault_injection.conftest import cases, on_each_backend, some

MOST = 2
obstacle = cache(strace.obstacle)


@pytest.mark.kernel
@pytest.mark.parametrize(
    "command",
    # A guest does not run these tests, and on this machine something is bound.
    [
        *on_each_backend(ROWS, ["model"]),
        *on_each_backend([row for row in ROWS if not row.bare], ["cgroupfs"]),
    ],
    indirect=True,
)
def test_each_system_call_fails_or_is_the_last(command: FaultyCommand) -> None:
    if why := obstacle():
        pytest.fail(why) if MUST else pytest.skip(why)
    log, command.problems = command.workspace.scratch / "calls", []
    assert strace.traced(command.words(), log).status == 0
    calls = strace.calls(log)
    assert calls
    command.anew_as_before()
    faults = [strace.ERROR, *[strace.DEATH] * (RECOVERS or command.workspace.on_model)]
    for call, fault in some(product(calls, faults), MOST):
        _try(command, log, call, fault)
    assert not command.problems, "\n\n".join(command.problems)


def _try(command: FaultyCommand, log: Path, call: strace.Call, fault: str) -> None:
    result = strace.traced(command.words(), log, call, fault)
    case = f"{call.name} {call.at}, {fault}"
    if not strace.struck(log, call):
        command.anew_as_before()
        return
    cases.append(f"{command.row}, {case}")
    if fault == strace.DEATH:
        command.thaws(case)
    command.judge(
        f"{case}: {call.words}",
        result,
        done=call.prints,
        fatal=fault == strace.DEATH,
        directory=call.directory,
    )
