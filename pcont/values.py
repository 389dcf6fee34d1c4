"""Codecs: how the text of a control file is read into a value and shown again."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Protocol

Ids = frozenset[int]

_MOST = 1 << 16  # more CPUs than any kernel is built for
_BLANKS = " \t\n\v\f\r"  # what strstrip(9) takes off
_REGION = re.compile(r"([0-9]+)(?:-([0-9]+)(?::([0-9]+)/([0-9]+))?)?")
_INTEGER = re.compile(r"[+-]?(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)")


class Codec(Protocol):
    """Reads what the kernel shows, and shows what it would show; `takes` says what that is."""

    takes: str

    def __hash__(self) -> int:
        """Codecs are constants."""

    def parse(self, text: str) -> Any:
        """The value of a file's text; ValueError where it is not of this type."""

    def show(self, value: Any) -> str:
        """The text of a value, without the newline."""


class _IdList:
    """A set of CPU or memory node numbers, as in `0-3,8` (cpuset(7), List format)."""

    takes = "numbers and ranges, as in 0-3,8"

    def parse(self, text: str) -> Ids:
        found: set[int] = set()
        for word in text.replace(",", " ").split():
            region = _REGION.fullmatch(word)
            if not region:
                raise ValueError(f"{word}: neither a number nor a range")
            low, high, used, group = (int(part) if part else None for part in region.groups())
            found.update(_region(word, low or 0, high, used, group))
        return frozenset(found)

    def show(self, value: Iterable[int]) -> str:
        return ",".join(f"{low}-{high}" if high > low else str(low) for low, high in _runs(value))


def _region(
    word: str, low: int, high: int | None, used: int | None, group: int | None
) -> Iterable[int]:
    """`0-7:2/4` is the first two of every four (lib/bitmap-str.c, bitmap_parselist())."""
    high = low if high is None else high
    if high < low:
        raise ValueError(f"{word}: the range runs backwards")
    if high > _MOST:
        raise OverflowError(f"{word}: there are not so many")
    if used is None or group is None:
        return range(low, high + 1)
    if group == 0 or used > group:
        raise ValueError(f"{word}: a group holds less than is used of it")
    return [number for number in range(low, high + 1) if (number - low) % group < used]


def _runs(ids: Iterable[int]) -> list[tuple[int, int]]:
    """The maximal runs of consecutive numbers, ascending."""
    runs: list[tuple[int, int]] = []
    for number in sorted(ids):
        if runs and runs[-1][1] == number - 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return runs


def integer(text: str, low: int, high: int = 1 << 64) -> int:
    """As kstrtoull(9) and kstrtoll(9) have it with base 0: 0x and a leading 0 change the base.

    One newline at the end is taken, and no blank anywhere.
    """
    plain = text.removesuffix("\n")
    if not _INTEGER.fullmatch(plain) or (plain.startswith("-") and low == 0):
        raise ValueError(f"{plain!r} is no number")
    digits = plain.lstrip("+-").lower()
    base = 16 if digits.startswith("0x") else 8 if digits.startswith("0") else 10
    number = int(digits, base) * (-1 if plain.startswith("-") else 1)
    if not low <= number < high:
        raise OverflowError(f"{plain} takes more than 64 bits")
    return number


class _Integer:
    """A number of 64 bits, with or without a sign."""

    takes = "a number"

    def parse(self, text: str) -> int:
        return integer(text, -(1 << 63))

    def show(self, value: int) -> str:
        return str(value)


class _Limit:
    """A number with a sign, or None for no limit, which is `max`; blanks around do not count."""

    takes = "a number, or max"

    def parse(self, text: str) -> int | None:
        plain = text.strip(_BLANKS)
        return None if plain == "max" else integer(plain, -(1 << 63), 1 << 63)

    def show(self, value: int | None) -> str:
        return "max" if value is None else str(value)


class _Flag:
    """0 or 1; the kernel takes every number but 0 for 1."""

    takes = "0 or 1"

    def parse(self, text: str) -> int:
        return 1 if integer(text, 0) else 0

    def show(self, value: int) -> str:
        return "1" if value else "0"


class _Word:
    """A word; blanks around it do not count."""

    takes = "a word"

    def parse(self, text: str) -> str:
        return text.strip(_BLANKS)

    def show(self, value: str) -> str:
        return value


class _Text:
    """Anything: several lines, or a format that nobody has to understand."""

    takes = "text"

    def parse(self, text: str) -> str:
        return text.rstrip("\n")

    def show(self, value: str) -> str:
        return value


ID_LIST: Codec = _IdList()
INTEGER: Codec = _Integer()
LIMIT: Codec = _Limit()
FLAG: Codec = _Flag()
WORD: Codec = _Word()
TEXT: Codec = _Text()
