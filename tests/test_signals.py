"""signals: one that arrives during an operation waits, and no handler is lost."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from pcont.signals import DEFERRED, Interrupted, check, deliver, held, shielded, take_arrived


@pytest.fixture(autouse=True)
def delivered() -> Iterator[list[int]]:
    """What reaches handlers of this test's own, which stand where the test run has its own."""
    found: list[int] = []
    before = {number: signal.getsignal(number) for number in DEFERRED}
    for number in DEFERRED:
        signal.signal(number, lambda number, frame: found.append(number))
    yield found
    for number, handler in before.items():
        signal.signal(number, handler)


def handlers() -> list[object]:
    return [signal.getsignal(number) for number in DEFERRED]


def send(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", DEFERRED)
def test_a_signal_waits_for_the_check(number: signal.Signals, delivered: list[int]) -> None:
    passed = []
    with pytest.raises(Interrupted) as caught, held():  # noqa: PT012
        check()
        send(number)
        passed.append("after the signal")
        check()
        passed.append("after the check")
    assert passed == ["after the signal"]
    assert (str(caught.value), caught.value.number) == (f"interrupted by {number.name}", number)
    assert delivered == []


@pytest.mark.parametrize("number", DEFERRED)
def test_a_signal_after_the_last_check_is_delivered_at_the_end(
    number: signal.Signals, delivered: list[int]
) -> None:
    with held():
        send(number)
        assert delivered == []
    assert delivered == [number]


def test_without_a_handler_of_ones_own_ctrl_c_is_what_it_always_is() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    passed = []
    with pytest.raises(KeyboardInterrupt), held():  # noqa: PT012
        send(signal.SIGINT)
        passed.append("the work")
    assert passed == ["the work"]


def test_of_several_signals_the_first_counts() -> None:
    with pytest.raises(Interrupted) as caught, held():  # noqa: PT012
        send(signal.SIGHUP)
        send(signal.SIGTERM)
        check()
    assert caught.value.number == signal.SIGHUP


def test_an_error_is_not_hidden_by_a_signal_which_then_is_answered(delivered: list[int]) -> None:
    with pytest.raises(ZeroDivisionError), held():  # noqa: PT012
        send(signal.SIGTERM)
        _ = 1 // 0
    with held():
        check()
    assert delivered == []


@pytest.mark.parametrize("fails", [False, True])
def test_handlers_are_put_back(fails: bool) -> None:
    before = handlers()
    try:
        with held():
            assert not set(map(id, handlers())) & set(map(id, before))
            if fails:
                raise ZeroDivisionError
    except ZeroDivisionError:
        pass
    assert handlers() == before


def test_what_is_ignored_stays_ignored(delivered: list[int]) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with held():
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        send(signal.SIGHUP)
        check()
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    assert delivered == []


def test_a_signal_amid_an_inner_hold_waits_for_the_next_check(delivered: list[int]) -> None:
    passed = []
    with pytest.raises(Interrupted), held():  # noqa: PT012
        with held():
            send(signal.SIGTERM)
            passed.append("inner")
        passed.append("outer")
        check()
        passed.append("after the check")
    assert passed == ["inner", "outer"]
    assert delivered == []


def test_what_is_shielded_is_not_interrupted() -> None:
    passed = []
    with pytest.raises(Interrupted), held():  # noqa: PT012
        send(signal.SIGTERM)
        with shielded():
            check()
            with shielded():
                check()
            check()
            passed.append("shielded")
        check()
        passed.append("after the check")
    assert passed == ["shielded"]


def test_without_a_hold_there_is_nothing_to_check() -> None:
    check()
    deliver()
    assert take_arrived() == []


def test_what_was_drained_has_been_delivered(delivered: list[int]) -> None:
    with held():
        send(signal.SIGHUP)
        send(signal.SIGTERM)
        assert take_arrived() == [signal.SIGHUP, signal.SIGTERM]
        check()
    assert delivered == []


def test_another_thread_holds_nothing_and_works() -> None:
    seen: list[object] = []

    def work() -> None:
        with held():
            seen.extend(handlers())
            check()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == handlers()


def test_no_handler_for_errors_swallows_an_interruption() -> None:
    assert not issubclass(Interrupted, Exception)
