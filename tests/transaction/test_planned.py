"""What a dry run has planned: each operation can be taken back, and the state before it seen."""

from __future__ import annotations

import random

import pytest

from pcont.transaction.planned import ChangeLog, Nested, PlannedDict


def _change(
    dice: random.Random, numbers: PlannedDict[str, int], names: PlannedDict[str, None]
) -> None:
    key, kind = dice.choice("abcde"), dice.randrange(4)
    if kind == 0:
        numbers[key] = dice.randrange(9)
    elif kind == 1:
        numbers.discard(key)
    elif kind == 2:
        names.add(key)
    else:
        names.discard(key)


@pytest.mark.parametrize("seed", range(30))
def test_an_operation_is_taken_back_and_the_state_before_it_is_seen(seed: int) -> None:
    dice, log = random.Random(seed), ChangeLog()
    numbers: PlannedDict[str, int] = PlannedDict(log)
    names: PlannedDict[str, None] = PlannedDict(log)
    for _ in range(20):
        log.clear()
        before = dict(numbers), set(names)
        views = numbers.earlier(), names.earlier()
        for _ in range(dice.randrange(8)):
            _change(dice, numbers, names)
            assert (dict(views[0]), set(views[1])) == before
            assert [key in views[0] for key in "abcde"] == [key in before[0] for key in "abcde"]
        if dice.random() < 0.5:
            log.revert()
            assert (dict(numbers), set(names)) == before


def test_parts_of_a_nested_dict_are_taken_back_too() -> None:
    log = ChangeLog()
    nested: Nested[str] = Nested(log)
    nested["a"]["x"] = 1
    log.clear()
    view = nested.earlier()
    nested["a"]["x"] = 2
    nested["b"]["y"] = 3
    assert (dict(view.of("a")), dict(view.of("b")), dict(view.of("c"))) == ({"x": 1}, {}, {})
    log.revert()
    assert (dict(nested.of("a")), dict(nested.of("b"))) == ({"x": 1}, {})
