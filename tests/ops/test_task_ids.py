"""The words of PID...: ids, ranges and lists on standard input."""

from __future__ import annotations

import pytest

from pcont.ops.task_ids import WIDEST, TaskIds, read_ids


def given(*words: str) -> TaskIds:
    return read_ids(words, lambda: pytest.fail("standard input is not asked for"))


def test_ids_are_given_one_by_one_or_several_in_a_word() -> None:
    assert given("4711", "4712") == TaskIds((4711, 4712))
    assert given("1 2\n3", " 4,5 ") == TaskIds((1, 2, 3, 4, 5))


def test_a_range_has_both_its_ends() -> None:
    assert given("100-120", "7") == TaskIds((7,), ranges=(range(100, 121),))
    assert given("5-5") == TaskIds(ranges=(range(5, 6),))


def test_a_dash_means_standard_input_which_is_read_once() -> None:
    texts = iter(["10 11\n12,13\n\n20-21\n"])
    found = read_ids(["3", "-", "-"], lambda: next(texts))
    assert found == TaskIds((3,), (10, 11, 12, 13), (range(20, 22),))
    assert read_ids(["-"], lambda: " \n") == TaskIds()


@pytest.mark.parametrize(
    "word",
    ["", " ", "x", "0", "-1", "1.5", "+1", "1-", "-1-2", "1--2", "1-x", "0-5", "٣", "2147483648"],
)
def test_other_words_are_refused(word: str) -> None:
    with pytest.raises(ValueError, match="is not the id of a task"):
        given(word)
    with pytest.raises(ValueError, match="is not the id of a task"):
        read_ids(["-"], lambda: f"1 {word or 'y'} 2" if word.strip() else "y")


def test_a_number_of_many_digits_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="is not the id of a task"):
        given("9" * 100_000)


def test_a_range_is_not_empty_and_not_too_wide() -> None:
    with pytest.raises(ValueError, match="ends before it begins"):
        given("120-100")
    with pytest.raises(ValueError, match="more than"):
        given(f"1-{WIDEST + 1}")
    assert given(f"1-{WIDEST}").ranges == (range(1, WIDEST + 1),)


def test_a_message_shows_the_first_ids() -> None:
    assert given("1", "2-3").text == "1, 2-3"
    assert TaskIds().text == "standard input is empty"
    assert TaskIds(tuple(range(1, 100))).text == "1, 2, 3, 4, 5, 6, 7, 8, …"
