"""The model answers like the kernel: a few walks here, more by `python -m tests.differential`."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import pytest

from pcont.kernel.types import Place
from pcont.subsys import TASK_FILES
from tests.conftest import IN_GUEST, MUST
from tests.differential import far
from tests.differential.sides import Ground, ModelSide, Side, folder, ground
from tests.differential.steps import Step
from tests.differential.tally import Tally
from tests.differential.walk import replay, shrink, walk
from tests.stress import NoCompiler, built

# A step takes 10 ms on a host, and in an emulated guest a few tenths of a second.
WALKS, STEPS = (2, 80) if IN_GUEST else (4, 120)
# The same walks each time, so that a failure comes from the change at hand.
SEED = int(os.environ.get("PCONT_SEED", 1))


@pytest.fixture
def here() -> Iterator[Ground]:
    try:
        built(far.SOURCE)
    except NoCompiler as err:
        if MUST:
            raise
        pytest.skip(str(err))
    with far.near() as end, ground(end) as found:
        yield found


@pytest.mark.kernel
@pytest.mark.parametrize("number", range(WALKS))
def test_the_model_answers_like_the_kernel(here: Ground, number: int) -> None:
    seed, tally = SEED + number, Tally()
    print(f"PCONT_SEED={seed}")
    if difference := walk(here, seed, STEPS, tally):
        pytest.fail(str(shrink(here, difference)))
    assert tally.verbs.total() == STEPS


# The judge itself, where the kernel is a model: what it must find is known then.


@pytest.fixture
def free() -> Iterator[Ground]:
    with folder() as made:
        yield Ground(made)


def two_models(ground: Ground) -> tuple[Side, ModelSide]:
    return ModelSide(ground), ModelSide(ground)


@pytest.mark.slow
def test_a_model_does_not_differ_from_itself_and_a_seed_repeats(free: Ground) -> None:
    once, again = Tally(), Tally()
    for tally in (once, again):
        assert walk(free, 1, 200, tally, two_models) is None
    assert once.verbs.total() == 200
    assert once == again


class Checked(Tally):
    """What is foretold comes true."""

    def count(self, step: Step, answer: str, why: str) -> None:
        super().count(step, answer, why)
        if step.verb == "write" and step.args[1] not in TASK_FILES:
            refused = answer.removesuffix(" for the text") if " for" in answer else ""
            assert why.partition(" ")[0] == refused, f"{step}: {answer}, not {why}"


@pytest.mark.slow
def test_the_rule_that_refuses_a_write_is_foretold(free: Ground) -> None:
    tally = Checked()
    assert walk(free, 1, 300, tally, two_models) is None
    assert sum(row.startswith("write") for row in tally.refusals) > 30


class Lax(ModelSide):
    """Here the removal of a container is never refused."""

    def remove(self, place: Place) -> None:
        with contextlib.suppress(OSError):
            super().remove(place)


def lax(ground: Ground) -> tuple[Side, ModelSide]:
    return Lax(ground), ModelSide(ground)


def test_a_rule_that_was_removed_is_found_in_the_fewest_steps(free: Ground) -> None:
    found = next(one for seed in range(1, 50) if (one := walk(free, seed, 200, Tally(), lax)))
    least = shrink(free, found, lax)
    assert least.steps[-1].verb == "remove"
    assert "the kernel answers None, the model E" in least.facts[0]
    assert replay(free, least.steps, lax) == least
    for left_out in range(len(least.steps)):
        rest = least.steps[:left_out] + least.steps[left_out + 1 :]
        assert replay(free, rest, lax) is None
