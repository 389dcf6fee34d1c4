"""subsys/numtasks: the rate of forks, with a clock that is set by hand, over the model."""

from __future__ import annotations

from errno import EAGAIN, EBUSY, EOPNOTSUPP, errorcode

import pytest

from pcont.backend_model import Model
from pcont.errors import Unsupported
from pcont.kernel.types import Place, TreeRequest
from pcont.steps import explain
from pcont.subsys.numtasks import INTERVAL, NUMTASKS, RATE, RATE_FAILURES, SUCCESSES, UNLIMITED
from pcont.virtual.bindings import BINDINGS
from pcont.virtual.files import ControlFiles

TOP, ROOT, A, B, C = (Place("pids", path) for path in ("/", "/x", "/x/a", "/x/a/b", "/x/c"))


class Timed(Model):
    """A model whose clock the test sets."""

    time = 0.0

    def __init__(self) -> None:
        super().__init__(clock=lambda: self.time)


@pytest.fixture
def model() -> Timed:
    model = Timed()
    model.make_directory("/p")
    model.mount(TreeRequest(("pids",)), "/p", "pcont")
    for place in (ROOT, A, B, C):
        model.make(place)
    model.enforcer.start(NUMTASKS, ROOT)
    return model


def task(model: Model, place: Place) -> int:
    """A task in a container."""
    task = model.simulator.spawn()
    model.write(place, "tasks", str(task))
    return task


def forks(model: Model, task: int, times: int) -> str:
    """Fork so many times; how many forks succeeded, and the errno of the first that failed."""
    for number in range(times):
        try:
            model.simulator.fork(task)
        except OSError as err:
            return f"{number} {errorcode[err.errno or 0]}"
    return str(times)


def rate(model: Model, place: Place, forks: int, interval: int) -> None:
    model.enforcer.set(place, RATE, forks)
    model.enforcer.set(place, INTERVAL, interval)


def counts(model: Model, place: Place) -> tuple[int, int]:
    found = model.enforcer.values(place, NUMTASKS)
    return found[SUCCESSES], found[RATE_FAILURES]


def test_a_period_ends_after_more_than_its_seconds(model: Timed) -> None:
    rate(model, ROOT, 3, 10)
    one, other = task(model, A), task(model, C)
    model.time = 100
    assert forks(model, one, 4) == "3 EAGAIN"
    assert counts(model, A) == (3, 1)
    assert forks(model, other, 3) == "3"
    model.time = 110
    assert forks(model, one, 1) == "0 EAGAIN"
    model.time = 110.001
    assert forks(model, one, 4) == "3 EAGAIN"
    assert counts(model, A) == (6, 3)
    assert counts(model, C) == (3, 0)


def test_a_period_begins_with_its_first_fork(model: Timed) -> None:
    rate(model, ROOT, 2, 10)
    one = task(model, A)
    model.time = 9
    assert forks(model, one, 1) == "1"
    model.time = 18
    assert forks(model, one, 2) == "1 EAGAIN"


def test_what_is_said_begins_periods_there_and_below(model: Timed) -> None:
    rate(model, ROOT, 1, 10)
    one, below, other = (task(model, place) for place in (A, B, C))
    for each in (one, below, other):
        assert forks(model, each, 2) == "1 EAGAIN"
    model.enforcer.set(A, INTERVAL, 10)
    assert [forks(model, each, 1) for each in (one, below, other)] == ["1", "1", "0 EAGAIN"]


def test_each_half_of_a_rate_is_the_nearest_ones(model: Timed) -> None:
    rate(model, ROOT, 1, 10)
    model.enforcer.set(A, RATE, 2)
    model.enforcer.set(B, INTERVAL, 20)
    one = task(model, B)
    assert forks(model, one, 3) == "2 EAGAIN"
    model.time = 15
    assert forks(model, one, 1) == "0 EAGAIN"
    model.time = 21
    assert forks(model, one, 3) == "2 EAGAIN"


def test_where_it_is_bound_once_more_nothing_counts_that_is_said_above(model: Timed) -> None:
    rate(model, ROOT, 1, 10)
    model.enforcer.start(NUMTASKS, A)
    assert [model.enforcer.is_bound(NUMTASKS, place) for place in (ROOT, A, B)] == [
        True,
        True,
        False,
    ]
    assert forks(model, task(model, B), 5) == "5"
    model.enforcer.stop(NUMTASKS, ROOT)
    assert model.enforcer.trees() == {NUMTASKS: "pids"}
    assert forks(model, task(model, C), 5) == "5"
    assert model.enforcer.values(C, NUMTASKS) == {}
    assert counts(model, B) == (5, 0)
    model.enforcer.stop(NUMTASKS, A)
    assert model.enforcer.trees() == {}
    assert model.enforcer.values(B, NUMTASKS) == {}


def test_where_it_is_not_bound_nothing_ends(model: Timed) -> None:
    rate(model, A, 1, 10)
    model.enforcer.stop(NUMTASKS, A)
    assert model.enforcer.is_bound(NUMTASKS, ROOT)
    assert forks(model, task(model, A), 2) == "1 EAGAIN"


def test_what_is_forgotten_does_not_come_back(model: Timed) -> None:
    rate(model, A, 1, 10)
    assert forks(model, task(model, A), 2) == "1 EAGAIN"
    model.enforcer.stop(NUMTASKS, ROOT)
    model.enforcer.start(NUMTASKS, ROOT)
    assert model.enforcer.values(A, NUMTASKS) == {SUCCESSES: 0, RATE_FAILURES: 0}
    assert model.enforcer.values(ROOT, NUMTASKS)[RATE] == UNLIMITED


def test_a_root_that_was_removed_ends_it(model: Timed) -> None:
    for place in (B, A, C, ROOT):
        model.remove(place)
    model.enforcer.stop(NUMTASKS, ROOT)
    assert model.enforcer.trees() == {}


def test_it_works_in_one_tree(model: Timed) -> None:
    model.mount(TreeRequest((), "f"), "/p", "pcont")
    with pytest.raises(OSError, match="busy") as caught:
        model.enforcer.start(NUMTASKS, Place("name=f"))
    assert caught.value.errno == EBUSY


def test_without_programs_no_rate_is_set(model: Timed) -> None:
    model.set_attribute(TOP, BINDINGS, f"{NUMTASKS} jobs /x")
    model.enforcer.stop(NUMTASKS, ROOT)
    kept = ControlFiles(model)
    assert [kept.stored(place, RATE) for place in (ROOT, A)] == [f"{UNLIMITED}\n", "-3\n"]
    with pytest.raises(OSError) as caught:  # noqa: PT011
        kept.store(A, RATE, "3")
    assert caught.value.errno == EOPNOTSUPP
    error = explain.write_refusal(model, A, RATE, "3", caught.value)
    assert isinstance(error, Unsupported)
    assert "numtasks was bound without its programs" in error.what
    assert "bind it again" in error.hint


def test_a_refusal_says_that_it_was_the_rate(model: Timed) -> None:
    rate(model, A, 1, 10)
    one = task(model, A)
    model.simulator.fork(one)
    with pytest.raises(OSError) as caught:  # noqa: PT011
        model.simulator.fork(one)
    assert caught.value.errno == EAGAIN
    error = explain.act_refusal(model, one, caught.value, "let it fork")
    assert "the fork rate of its container is used up" in error.what
