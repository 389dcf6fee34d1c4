"""Task ids that may belong to another task than a while ago."""

from __future__ import annotations

import pytest

from pcont.backend_model import Model
from pcont.kernel.types import AssignedIds
from pcont.steps.reuse import FEWEST, SOON, assigned_ids, may_be_reused

MOST = 32768


def now(last: int, more: int) -> AssignedIds:
    """What the kernel has assigned when it has started so many more tasks than at first."""
    return AssignedIds(last, 100_000 + more, MOST)


AT_FIRST = now(5000, 0)


@pytest.mark.parametrize(
    ("id", "reused"),
    [(4999, False), (5000, False), (5001, True), (6000, True), (6000 + SOON, True), (300, False)],
)
def test_ids_that_are_assigned_since_or_soon_may_be_reused(id: int, reused: bool) -> None:
    assert may_be_reused(AT_FIRST, now(6000, 1000))(id) is reused


def test_an_id_beyond_those_that_come_soon_is_still_that_of_its_task() -> None:
    assert not may_be_reused(AT_FIRST, now(6000, 1000))(6001 + SOON)


@pytest.mark.parametrize(
    ("id", "reused"), [(32_700, False), (32_701, True), (301, True), (500, True), (20_000, False)]
)
def test_after_the_highest_id_the_lowest_is_next(id: int, reused: bool) -> None:
    assert may_be_reused(now(32_700, 0), now(500, 270))(id) is reused


def test_an_id_above_those_of_the_kernel_is_never_assigned() -> None:
    assert not may_be_reused(AT_FIRST, now(6000, 1000))(MOST * 100 + 5500)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, AT_FIRST),
        (AT_FIRST, None),
        (AT_FIRST, now(5000, MOST)),  # every id was assigned in between
        (AT_FIRST, AT_FIRST._replace(most=1 << 22)),
    ],
)
def test_every_id_is_uncertain_where_that_cannot_be_said(
    before: AssignedIds | None, after: AssignedIds | None
) -> None:
    assert may_be_reused(before, after)(4000)


def test_for_few_tasks_it_is_not_asked() -> None:
    model = Model()
    assert assigned_ids(model, range(FEWEST - 1)) is None
    found = assigned_ids(model, range(FEWEST))
    assert found is None or 0 < found.last < found.most
