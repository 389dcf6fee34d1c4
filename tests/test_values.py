"""values: what each codec reads, as the kernel does, and how it shows it again."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcont.values import (
    FLAG,
    ID_LIST,
    INT_FLAG,
    INTEGER,
    LIMIT,
    TEXT,
    WORD,
    Codec,
    TooLong,
    id_list,
    strip,
)

# A failure prints the blob that replays it.
printed = settings(print_blob=True)


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("", set()),
        ("\n", set()),
        ("0", {0}),
        ("0-3\n", {0, 1, 2, 3}),
        ("0-1,3", {0, 1, 3}),
        ("3,0-1", {0, 1, 3}),
        ("0,0-1,1", {0, 1}),
        ("5-5", {5}),
        ("007", {7}),
        # Tried on Linux 6.18: blanks part regions like commas do, and empty regions are skipped.
        ("0 1", {0, 1}),
        ("0, 2", {0, 2}),
        ("0,,2,", {0, 2}),
        ("0-7:2/4", {0, 1, 4, 5}),
        ("1-9:1/3", {1, 4, 7}),
        ("0-3:0/2", set()),
        ("0-3:2/2", {0, 1, 2, 3}),
        ("0-7:1/100,9", {0, 9}),
        # Behind a line break nothing is read, unless a region is still to begin there.
        ("0\n1", {0}),
        ("0\nx", {0}),
        ("0,\n1", {0, 1}),
        ("0 \n1", {0, 1}),
        ("0-3:1/2\n5", {0, 2, 5}),
        ("0\udca01", {0, 1}),
        ("0" * 5000 + "7", {7}),
    ],
)
def test_an_id_list_is_read_as_the_kernel_reads_it(text: str, ids: set[int]) -> None:
    assert ID_LIST.parse(text) == ids


@pytest.mark.parametrize(
    "text",
    [
        *("x", "-1", "+1", "0x1", "1.5", "²", "0–3", "1;2", "1-", "3-1", "1-2-3"),
        *("0-7:2", "0-7:2/", "0-7:/4", "1:1/2", "0-7:3/2", "0-7:0/0", "0-3:1/-2"),
    ],
)
def test_what_is_no_id_list_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        ID_LIST.parse(text)


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("N", {7}),
        ("0,5-N", {0, 5, 6, 7}),
        ("all", set(range(8))),
        ("ALL:1/4", {0, 4}),
        ("0-N:1/N", {0, 7}),
    ],
)
def test_a_kernel_that_knows_its_limit_has_words_for_it(text: str, ids: set[int]) -> None:
    """Tried on Linux 6.18: bitmap_parselist()."""
    assert id_list(8).parse(text) == ids
    with pytest.raises(ValueError, match="neither a number nor a range"):
        ID_LIST.parse(text)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("0,8", OverflowError),
        ("8,x", OverflowError),
        ("x,8", ValueError),
        ("n", ValueError),
        ("8-0", ValueError),
        ("4294967296", TooLong),
        ("4294967296x", TooLong),
        ("0-18446744073709551616", TooLong),
    ],
)
def test_the_first_mistake_of_a_list_counts(text: str, error: type[Exception]) -> None:
    """Tried on Linux 6.18: ERANGE, EINVAL and EOVERFLOW."""
    with pytest.raises((ValueError, OverflowError)) as caught:
        id_list(8).parse(text)
    assert type(caught.value) is error


def test_one_bad_region_spoils_the_list_and_is_named() -> None:
    with pytest.raises(ValueError, match="4-x: neither a number nor a range"):
        ID_LIST.parse("0-3,4-x")


@pytest.mark.parametrize("text", ["70000", "0-70000", "0-99999999999", "70000-70001:1/2"])
def test_more_ids_than_any_kernel_has_are_a_range_error(text: str) -> None:
    with pytest.raises(OverflowError, match=text):
        ID_LIST.parse(text)


@pytest.mark.parametrize(
    ("ids", "text"),
    [
        (set(), ""),
        ({0}, "0"),
        ({0, 1}, "0-1"),
        ({3, 1, 2}, "1-3"),
        ({0, 2}, "0,2"),
        ({0, 1, 2, 5, 7, 8}, "0-2,5,7-8"),
    ],
)
def test_an_id_list_is_shown_in_maximal_runs(ids: set[int], text: str) -> None:
    assert ID_LIST.show(ids) == text


@printed
@given(st.frozensets(st.integers(0, 1 << 12)))
def test_an_id_list_survives_being_shown_and_read(ids: frozenset[int]) -> None:
    assert ID_LIST.parse(ID_LIST.show(ids)) == ids
    assert ID_LIST.parse(ID_LIST.show(ids) + "\n") == ids


@printed
@given(st.frozensets(st.integers(0, 300), min_size=1))
def test_a_shown_id_list_ascends_and_no_run_could_be_longer(ids: frozenset[int]) -> None:
    ends = [[int(word) for word in run.split("-")] for run in ID_LIST.show(ids).split(",")]
    assert all(len(run) == 1 or run[0] < run[1] for run in ends)
    assert all(after[0] > before[-1] + 1 for before, after in pairwise(ends))


@printed
@given(
    start=st.integers(0, 200),
    length=st.integers(0, 200),
    used=st.integers(0, 40),
    group=st.integers(1, 40),
)
def test_a_stride_is_the_first_of_every_group(
    start: int, length: int, used: int, group: int
) -> None:
    text = f"{start}-{start + length}:{used}/{group}"
    if used > group:
        with pytest.raises(ValueError, match="a group holds less"):
            ID_LIST.parse(text)
        return
    wanted = {
        start + first + one
        for first in range(0, length + 1, group)
        for one in range(used)
        if first + one <= length
    }
    assert ID_LIST.parse(text) == wanted


@printed
@given(st.text(alphabet="0123456789-,:/ \nx", max_size=12))
def test_any_text_is_an_id_list_or_refused(text: str) -> None:
    try:
        ids = ID_LIST.parse(text)
    except (ValueError, OverflowError):
        return
    assert ID_LIST.parse(ID_LIST.show(ids)) == ids


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("42\n", 42),
        ("-1", -1),
        ("+7", 7),
        ("0x1f", 31),
        ("0XFF", 255),
        ("-0x10", -16),
        ("010", 8),
        ("00", 0),
        ("-0", 0),
        ("18446744073709551615", (1 << 64) - 1),
    ],
)
def test_an_integer_is_read_in_the_base_that_it_begins_with(text: str, number: int) -> None:
    assert INTEGER.parse(text) == number


@pytest.mark.parametrize("codec", [INTEGER, FLAG])
@pytest.mark.parametrize(
    "text", ["", "x", "1x", "08", "0x", "0xg", "1.0", "1e3", "--1", "+-1", "1 2", "1_0", "٣", "0b1"]
)
def test_what_is_no_number_is_refused(codec: Codec, text: str) -> None:
    with pytest.raises(ValueError, match="is no number"):
        codec.parse(text)


@printed
@given(st.integers(-(1 << 63), (1 << 64) - 1))
def test_an_integer_survives_being_shown_and_read(number: int) -> None:
    assert INTEGER.parse(INTEGER.show(number)) == number
    assert INTEGER.parse(hex(number)) == number


@pytest.mark.parametrize(
    ("text", "flag"), [("0", 0), ("1", 1), ("2\n", 1), ("0x0", 0), ("010", 1), ("+1", 1)]
)
def test_every_number_but_zero_is_a_raised_flag(text: str, flag: int) -> None:
    assert FLAG.parse(text) == flag


@pytest.mark.parametrize("text", ["-1", "-0"])
def test_a_flag_has_no_minus(text: str) -> None:
    """Tried on Linux 6.18: flags are read by kstrtoull(9), and -1 is EINVAL."""
    with pytest.raises(ValueError, match=r"\S"):
        FLAG.parse(text)


@pytest.mark.parametrize("text", [" 1", "1 ", "1\n\n", "\t1"])
def test_blanks_around_a_number_are_refused(text: str) -> None:
    """Tried on Linux 6.18: EINVAL, for kstrtoull(9) allows one newline at the end and no more."""
    for codec in (FLAG, INTEGER):
        with pytest.raises(ValueError, match=r"\S"):
            codec.parse(text)


@pytest.mark.parametrize("text", ["18446744073709551616", "99999999999999999999999"])
def test_a_number_beyond_64_bits_is_a_range_error(text: str) -> None:
    """Tried on Linux 6.18: ERANGE."""
    for codec in (FLAG, INTEGER):
        with pytest.raises(OverflowError, match=r"\S"):
            codec.parse(text)


def test_a_flag_is_shown_as_0_or_1() -> None:
    assert [FLAG.show(flag) for flag in (0, 1, 5)] == ["0", "1", "1"]


def test_of_a_flag_that_is_an_int_only_its_bits_count() -> None:
    """Tried on Linux 6.18 with cpuset.sched_load_balance and notify_on_release."""
    for text, flag in ((str(1 << 32), 0), (str(1 << 31), 1), (str((1 << 32) + 1), 1)):
        assert INT_FLAG.parse(text) == flag
        assert FLAG.parse(text) == 1


def test_too_many_digits_are_found_before_junk() -> None:
    assert INTEGER.parse("0" * 5000 + "7") == 7
    with pytest.raises(OverflowError, match="64 bits"):
        INTEGER.parse("9" * 5000 + "x")


def test_blanks_are_bytes() -> None:
    """The kernel's isspace() has a byte that is half of a character of UTF-8."""
    assert strip(" a\udca0\udca0") == "a"
    assert strip("a\xa0") == "a\udcc2"
    assert strip("\x1ca\u2003") == "\x1ca\u2003"


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        *(("max", None), ("max\n", None), (" \t\v\fmax\r\n\n", None)),
        *(("0", 0), (" 42 ", 42), ("42\n\n", 42), ("-1", -1), ("0x10", 16), ("010", 8)),
    ],
)
def test_a_limit_is_a_number_or_max_with_blanks_around_it(text: str, limit: int | None) -> None:
    """Tried on Linux 6.18 with pids.max: strstrip(9), then kstrtoll(9)."""
    assert LIMIT.parse(text) == limit
    assert LIMIT.parse(LIMIT.show(limit)) == limit


@pytest.mark.parametrize(
    "text", ["", "\n", "MAX", "maxi", "max max", "1 2", "x", "\xa0max", "1\x1c"]
)
def test_what_is_no_limit_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no number"):
        LIMIT.parse(text)


def test_a_limit_has_63_bits_and_a_sign() -> None:
    """Tried on Linux 6.18 with pids.max: ERANGE."""
    assert LIMIT.parse(str((1 << 63) - 1)) == (1 << 63) - 1
    for text in (str(1 << 63), str(-(1 << 63) - 1)):
        with pytest.raises(OverflowError, match=r"\S"):
            LIMIT.parse(text)


def test_a_word_loses_the_blanks_around_it() -> None:
    assert WORD.parse(" \tFROZEN\v\n\n") == "FROZEN"
    assert WORD.parse("two words\n") == "two words"
    assert WORD.show("FROZEN") == "FROZEN"


def test_text_loses_its_newlines_at_the_end_and_nothing_else() -> None:
    assert TEXT.parse("  user 1\nsystem 2\n\n") == "  user 1\nsystem 2"
    assert TEXT.parse("") == ""
    assert TEXT.show("a\nb ") == "a\nb "


def test_a_codec_says_what_it_takes() -> None:
    for codec in (ID_LIST, INTEGER, LIMIT, FLAG, WORD, TEXT):
        assert 3 < len(codec.takes) < 40
