"""The same commands with faults in their system calls, so that nothing goes round the wrapper."""

from __future__ import annotations

from functools import cache
from itertools import product
from pathlib import Path

import pytest

from tests.conftest import MUST
from tests.fault_injection import strace
from tests.fault_injection.conftest import cases, some
from tests.fault_injection.trial import RECOVERS, Trial

MOST = 2
obstacle = cache(strace.obstacle)


@pytest.mark.kernel
def test_each_system_call_fails_or_is_the_last(trial: Trial) -> None:
    if why := obstacle():
        pytest.fail(why) if MUST else pytest.skip(why)
    log, trial.problems = trial.scene.scratch / "calls", []
    assert strace.traced(trial.words(), log).status == 0
    calls = strace.calls(log)
    assert calls
    trial.anew_as_before()
    faults = [strace.ERROR, *[strace.DEATH] * (RECOVERS or trial.scene.on_model)]
    for call, fault in some(product(calls, faults), MOST):
        _try(trial, log, call, fault)
    assert not trial.problems, "\n\n".join(trial.problems)


def _try(trial: Trial, log: Path, call: strace.Call, fault: str) -> None:
    result = strace.traced(trial.words(), log, call, fault)
    case = f"{call.name} {call.at}, {fault}"
    if not strace.struck(log, call):
        trial.anew_as_before()
        return
    cases.append(f"{trial.row}, {case}")
    if fault == strace.DEATH:
        trial.thaws(case)
    trial.judge(
        f"{case}: {call.words}",
        result,
        done=call.prints,
        fatal=fault == strace.DEATH,
        directory=call.directory,
    )
