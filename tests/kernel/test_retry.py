"""Loops that try again: their limit of time and their pauses, on a clock that is no real one."""

from __future__ import annotations

import math

import pytest

from pcont.kernel import retry
from pcont.kernel.retry import Retry, wait_until


class Clock:
    """A clock that only `sleep` moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(retry, "time", clock)
    return clock


def pauses(clock: Clock, one: Retry, number: int) -> list[float]:
    for _ in range(number):
        one.wait()
    return clock.pauses


def test_pauses_are_equal(clock: Clock) -> None:
    assert pauses(clock, Retry(pause=2), 3) == [2, 2, 2]


def test_pauses_double_up_to_the_longest_one(clock: Clock) -> None:
    assert pauses(clock, Retry(pause=1, longest=5), 5) == [1, 2, 4, 5, 5]


def test_pauses_double_without_an_end(clock: Clock) -> None:
    assert pauses(clock, Retry(pause=1, longest=math.inf), 5) == [1, 2, 4, 8, 16]


def test_a_pause_is_as_long_as_the_caller_needs_and_the_next_one_is_not(clock: Clock) -> None:
    one = Retry(pause=2)
    one.wait(at_least=1)
    one.wait(at_least=7)
    one.wait()
    assert clock.pauses == [2, 7, 2]


def test_a_retry_is_over_when_its_time_has_passed(clock: Clock) -> None:
    one = Retry(3, pause=1)
    over = []
    for _ in range(4):
        over.append((one.waited, one.is_over))
        one.wait()
    assert over == [(0, False), (1, False), (2, False), (3, True)]


def test_a_restart_begins_the_time_again(clock: Clock) -> None:
    one = Retry(3)
    clock.sleep(3)
    assert one.is_over
    one.restart()
    assert (one.waited, one.is_over) == (0, False)


def test_without_patience_the_first_round_is_the_last(clock: Clock) -> None:
    assert Retry(0).is_over


def test_without_a_limit_a_retry_is_never_over(clock: Clock) -> None:
    one = Retry()
    clock.sleep(1e9)
    assert not one.is_over


def test_waiting_ends_as_soon_as_the_condition_holds(clock: Clock) -> None:
    assert wait_until(lambda: clock.now >= 4, 10, 2)
    assert clock.pauses == [2, 2]


def test_waiting_ends_at_the_limit(clock: Clock) -> None:
    assert not wait_until(lambda: False, 5, 2)
    assert clock.pauses == [2, 2, 2]
