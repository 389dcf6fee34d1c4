"""Every command of several steps, failing at each of its changes: all or nothing, dead or alive."""

from __future__ import annotations

import re
from collections.abc import Iterable

import psutil
import pytest

from pcont.kernel.interfaces import Backend
from tests.conftest import IN_GUEST
from tests.contract.conftest import threads_of
from tests.fault_injection.commands import ROWS
from tests.fault_injection.conftest import KINDS, cases, on_each_backend, some
from tests.fault_injection.trial import RECOVERS, Trial
from tests.fault_injection.wrapper import (
    CHANGING,
    INTERRUPTED,
    KILLED,
    LOOKING,
    Act,
    Fault,
    delay,
    refusals,
)

LATE = 0.02
FORCED = "rm --force with numfiles"
MOVING = ("set, and enter", "attach several", "clone --pid")


def drive(trial: Trial, faults: Iterable[tuple[int, Fault]], most: int) -> None:
    """Run the command with these faults, each at the change of its number, or with some of them."""
    trial.problems.clear()
    for at, fault in some(faults, 1 if IN_GUEST else most):
        result = trial.run(at, fault)
        verb, words = trial.reached(at)
        if verb:
            cases.append(f"{trial.row}, {at}, {fault}")
        trial.judge(
            f"{fault} at {at}, {verb}{words}",
            result,
            done=fault is INTERRUPTED,
            fatal=fault.fatal and bool(verb),
            directory=words[0] if verb == "remove_directory" else "",
        )
    assert not trial.problems, "\n\n".join(trial.problems)


def at_each_change(trial: Trial, *faults: Fault) -> list[tuple[int, Fault]]:
    return [(at, one) for at in range(1, len(trial.changes) + 1) for one in faults]


def test_the_kinds_are_tests() -> None:
    assert all(callable(globals()[kind]) for kind in KINDS)


def test_the_wrapper_knows_every_verb() -> None:
    verbs = {name for name in vars(Backend) if not name.startswith("_")}
    assert verbs == set(CHANGING) | LOOKING


def test_a_refusal_leaves_all_as_it_was(trial: Trial) -> None:
    faults = [(at, one) for at, verb in enumerate(trial.changes, 1) for one in refusals(verb)]
    drive(trial, faults, most=4)


def test_a_change_that_is_late_is_none_the_worse(trial: Trial) -> None:
    drive(trial, at_each_change(trial, delay(LATE)), most=1)


def test_a_signal_finds_all_done_or_nothing(trial: Trial) -> None:
    drive(trial, at_each_change(trial, INTERRUPTED), most=2)


def test_a_death_leaves_nothing_in_between(trial: Trial) -> None:
    if not (RECOVERS or trial.scene.on_model):
        pytest.skip("there is no pcont recover")
    drive(trial, at_each_change(trial, *KILLED), most=4)


@pytest.mark.parametrize(
    "trial", on_each_backend([row for row in ROWS if row.name == FORCED]), indirect=True
)
def test_what_a_forced_removal_has_let_go_is_told(trial: Trial) -> None:
    trial.anew_as_before()  # what was let go of by the tests before this one is not seen
    last = max(at for at, verb in enumerate(trial.changes, 1) if verb == "remove")
    result = trial.run(last, refusals("remove")[0])
    assert re.search(r"NOT PUT BACK: /a/b: \d open file", result.err)
    trial.anew_as_before()


@pytest.mark.parametrize(
    "trial",
    on_each_backend([row for row in ROWS if row.name in MOVING], backends=["cgroupfs"]),
    indirect=True,
)
def test_a_child_that_is_forked_meanwhile_is_in_one_place_in_every_tree(trial: Trial) -> None:
    scene = trial.scene

    def strike(verb: str, act: Act) -> object:
        scene.fork()
        return act()

    for at, fault in some(at_each_change(trial, Fault("a fork", strike)), 1):
        leader = scene.processes[0].pid
        old = scene.pcont.paths(leader)
        result = trial.run(at, fault)
        assert result.status == 0, result.err
        (child,) = psutil.Process(leader).children()
        new = scene.pcont.paths(leader)
        assert scene.pcont.paths(child.pid) in (old, new), f"{at}: {trial.reached(at)}"
        assert all(scene.pcont.paths(task) == new for task in threads_of(leader))
        cases.append(f"{trial.row}, {at}, {fault}")
        trial.anew_as_before()
