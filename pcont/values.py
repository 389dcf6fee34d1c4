"""Codecs: parse the text of a control file into a value, and format a value as the kernel does."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from typing import Any, Protocol

Ids = frozenset[int]

_MOST = 1 << 16  # more CPUs than any kernel is built for
_BLANKS = " \t\n\v\f\r\xa0"  # isspace() of the kernel, which reads bytes
_PLAIN_BLANKS = _BLANKS[:-1]
_DIGITS = 21  # more than 64 bits take
_INTEGER = r"([+-]?)(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)(\n?)"


PAGE = 4096
NO_LIMIT = ((1 << 63) - 1) // PAGE * PAGE  # PAGE_COUNTER_MAX in bytes
_UNLIMITED = 1 << 62  # hugetlb rounds NO_LIMIT down to its own pages
_UNITS = " KMGTPE"
_SIZE = r"(0[xX][0-9a-fA-F]+|[0-9]+)([KMGTPEkmgtpe]?)"
_NO_LIMIT = ("max", "unlimited", "infinity", "inf", "none", "no limit")


class TooLong(OverflowError):
    """A number in an id list needs more than 32 bits (EOVERFLOW)."""


def strip(text: str) -> str:
    """Return the text without leading and trailing blanks, as strstrip(9) removes them
    (bytewise).
    """
    if text.isascii():
        return text.strip(_PLAIN_BLANKS)
    return _text(_bytes(text).strip(_BLANKS))


def _bytes(text: str) -> str:
    """Return a string with one character for each byte of the text."""
    return text.encode("utf-8", "surrogateescape").decode("latin-1")


def _text(bytes: str) -> str:
    return bytes.encode("latin-1").decode("utf-8", "surrogateescape")


class Codec(Protocol):
    """Parses the text of a control file, and formats a value. `takes`: the format, for error
    messages.
    """

    takes: str

    def __hash__(self) -> int:
        """Codecs are constants, and can be used as keys."""

    def parse(self, text: str) -> Any:
        """Return the value of a text. Raises ValueError (or OverflowError) if the text has another
        format.
        """

    def show(self, value: Any) -> str:
        """Return the text of a value, without a newline."""


class _IdList:
    """The codec of a set of CPU or memory node numbers, as in `0-3,8` (cpuset(7), List format).

    `limit`: how many numbers the kernel has. Larger ones are ERANGE, `N` is the last one, `all`
    means all. None: without these.
    """

    takes = "numbers and ranges, as in 0-3,8"

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit

    def parse(self, text: str) -> Ids:
        found: set[int] = set()
        plain = text.strip(_PLAIN_BLANKS) if text.isascii() else _bytes(text).strip(_BLANKS)
        reader = _ListReader(plain, self.limit)
        while reader.finds():
            found.update(reader.region())
        return frozenset(found)

    def show(self, value: Iterable[int]) -> str:
        return ",".join(f"{low}-{high}" if high > low else str(low) for low, high in _runs(value))


class _ListReader:
    """Reads an id list range by range; the first mistake is the error (lib/bitmap-str.c,
    bitmap_parselist()).
    """

    def __init__(self, text: str, limit: int | None) -> None:
        self.text = text
        self.limit = limit
        self.at = 0
        self.over = False

    def finds(self) -> bool:
        """Return whether there is another range. Empty ones are skipped."""
        while self._char() and self._char() in f",{_BLANKS}":
            self.at += 1
        return not self.over and self._char() != ""

    def region(self) -> Iterable[int]:
        """Return the numbers of the next range. `0-7:2/4` means the first two of every four."""
        self.word = self.text[self.at :].split(",")[0]
        if self.limit and self.text[self.at :][:3].lower() == "all":
            self.at += 3
            low, high = 0, self.limit - 1
        else:
            low = high = self._number()
            if self._ends():
                return self._checked(low, high)
            self._expect("-")
            high = self._number()
        if self._ends():
            return self._checked(low, high)
        self._expect(":")
        used = self._number()
        self._expect("/")
        return self._checked(low, high, used, self._number())

    def _checked(
        self, low: int, high: int, used: int | None = None, group: int | None = None
    ) -> Iterable[int]:
        if high < low:
            raise ValueError(f"{self.word}: the range runs backwards")
        if group is not None and used is not None and (group == 0 or used > group):
            raise ValueError(f"{self.word}: a group holds less than is used of it")
        if high >= (self.limit or _MOST):
            raise OverflowError(f"{self.word}: the kernel has no such number")
        if used is None or group is None:
            return range(low, high + 1)
        return [number for number in range(low, high + 1) if (number - low) % group < used]

    def _char(self) -> str:
        return self.text[self.at : self.at + 1]

    def _ends(self) -> bool:
        """Return whether a range ends here. Text after a newline is ignored."""
        self.over = self._char() in ("", "\n")
        return self._char() in f",{_BLANKS}"

    def _expect(self, char: str) -> None:
        if self._char() != char:
            raise ValueError(f"{self.word}: neither a number nor a range")
        self.at += 1

    def _number(self) -> int:
        if self.limit and self._char() == "N":
            self.at += 1
            return self.limit - 1
        start = self.at
        while self._char() and self._char() in "0123456789":
            self.at += 1
        digits = self.text[start : self.at]
        if not digits:
            raise ValueError(f"{self.word}: neither a number nor a range")
        # Of more digits than int() takes at once, only zeros can be too many for nothing.
        number = int(digits.lstrip("0")[:20] or "0")
        if number >= 1 << 32:
            raise TooLong(f"{self.word}: a number takes more than 32 bits")
        return number


def _runs(ids: Iterable[int]) -> list[tuple[int, int]]:
    """Return the ranges of consecutive numbers, ascending, as pairs of first and last."""
    runs: list[tuple[int, int]] = []
    for number in sorted(ids):
        if runs and runs[-1][1] == number - 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return runs


def integer(text: str, low: int, high: int = 1 << 64) -> int:
    """Parse a number as kstrtoull(9) and kstrtoll(9) do with base 0: 0x means hexadecimal, a
    leading 0 octal.

    Returns a number from `low` up to, but not including, `high`. One newline at the end is
    accepted, blanks are not. Raises ValueError for other text, OverflowError for a number out of
    range.
    """
    plain = text.removesuffix("\n")
    is_plain = plain.isascii() and plain.isdigit() and not plain.startswith("0")
    number = int(plain) if is_plain and len(plain) < _DIGITS else _any_integer(text, low)
    if not low <= number < high:
        raise OverflowError(f"{text.strip()} takes more than 64 bits")
    return number


def _any_integer(text: str, low: int) -> int:
    """Parse a number with a sign, or in another base than 10, as `integer` does."""
    if text in ("0", "0\n"):
        return 0
    found = re.match(_INTEGER, text)
    if not found or (found[1] == "-" and low == 0):
        raise ValueError(f"{text!r} is no number")
    digits = found[2].lower()
    base = 16 if digits.startswith("0x") else 8 if digits.startswith("0") else 10
    number = int(digits, base) if len(digits) < _DIGITS or base != 10 else 1 << 64
    if number < 1 << 64 and found.end() < len(text):
        raise ValueError(f"{text!r} is no number")
    return -number if found[1] == "-" else number


def modulo(digits: str, bits: int = 64, base: int = 10) -> int:
    """Return the lowest bits of a number, as the kernel's simple_strtoul() reads one of any length.

    Python's int() takes no text of thousands of digits.
    """
    number = 0
    for start in range(0, len(digits), 600):
        part = digits[start : start + 600]
        number = (number * base ** len(part) + int(part, base)) % (1 << bits)
    return number


class _Integer:
    """The codec of a number of up to 64 bits, from `low` up to, but not including, `high`."""

    takes = "a number"

    def __init__(self, low: int, high: int) -> None:
        self.low = low
        self.high = high

    def parse(self, text: str) -> int:
        return integer(text, self.low, self.high)

    def show(self, value: int) -> str:
        return str(value)


class _Limit:
    """The codec of a signed number, or `max` for no limit (None). Blanks around it are ignored."""

    takes = "a number, or max"

    def parse(self, text: str) -> int | None:
        plain = strip(text)
        return None if plain == "max" else integer(plain, -(1 << 63), 1 << 63)

    def show(self, value: int | None) -> str:
        return "max" if value is None else str(value)


def whole_pages(text: str) -> int:
    """Parse a size in bytes, with an optional unit, as memparse(9) reads it; rounded down to pages.

    The kernel reads a number of 2^64 or more modulo 2^64, and an empty text as 0. Both are probably
    mistakes, so this function raises ValueError.
    """
    plain = strip(text)
    found = re.fullmatch(_SIZE, plain)
    if not found:
        raise ValueError(f"the kernel reads {text!r} as 0" if not plain else "")
    number = integer(found[1], 0) << 10 * (_UNITS.index(found[2].upper()) if found[2] else 0)
    if number >= 1 << 64:
        raise ValueError(f"the kernel reads {plain} as {number % (1 << 64)}")
    return number // PAGE * PAGE


class _Bytes:
    """The codec of a size in bytes, rounded down to pages; -1 is NO_LIMIT."""

    takes = "a size, as in 512M or 1G, or bytes; -1 for no limit"

    def parse(self, text: str) -> int:
        return NO_LIMIT if strip(text) == "-1" else min(whole_pages(text), NO_LIMIT)

    def show(self, value: int) -> str:
        return str(value)


def size(number: int) -> str:
    """Format a number of bytes as it is written to a limit: with the largest unit that divides it,
    -1 for no limit.
    """
    if is_unlimited(number):
        return "-1"
    for power, unit in ((30, "G"), (20, "M"), (10, "K")):
        if number and number % (1 << power) == 0:
            return f"{number >> power}{unit}"
    return str(number)


def is_unlimited(number: int) -> bool:
    """Return whether a number of bytes stands for no limit."""
    return number >= _UNLIMITED


def size_meant(text: str) -> str:
    """Convert a size in another notation to the kernel's: `512MB` to 512M, `max` to -1. Empty if it
    is not understood.
    """
    if text.strip().lower() in _NO_LIMIT:
        return "-1"
    found = re.fullmatch(r"([0-9]{1,20})(?:\.([0-9]{1,6}))?([kmgtpe]?)(?:i?b)?", _plain_size(text))
    if not found:
        return ""
    power = _UNITS.index(found[3].upper() or " ")
    if not found[2]:
        return found[1] + found[3].upper()
    if not power:
        return ""
    return str(int(float(f"{found[1]}.{found[2]}") * 1024)) + _UNITS[power - 1].strip()


def _plain_size(text: str) -> str:
    return text.lower().replace(" ", "").replace("bytes", "b").removeprefix("+")


class _Flag:
    """The codec of 0 or 1. The kernel reads any other number as 1, unless its low `bits` bits are
    0.
    """

    takes = "0 or 1"

    def __init__(self, bits: int = 64) -> None:
        self.bits = bits

    def parse(self, text: str) -> int:
        return 1 if integer(text, 0) % (1 << self.bits) else 0

    def show(self, value: int) -> str:
        return "1" if value else "0"


class _Word:
    """The codec of a word. Blanks around it are ignored."""

    takes = "a word"

    def parse(self, text: str) -> str:
        return strip(text)

    def show(self, value: str) -> str:
        return value


class _Text:
    """The codec of any text: several lines, or a format that pcont does not parse."""

    takes = "text"

    def parse(self, text: str) -> str:
        return text.rstrip("\n")

    def show(self, value: str) -> str:
        return value


@cache
def id_list(limit: int) -> Codec:
    """Return the codec of the id lists of a kernel with `limit` ids."""
    return _IdList(limit)


ID_LIST: Codec = _IdList()
INTEGER: Codec = _Integer(-(1 << 63), 1 << 64)
SIGNED: Codec = _Integer(-(1 << 63), 1 << 63)  # below it, a number is too long: ERANGE
UNSIGNED: Codec = _Integer(0, 1 << 64)  # a sign is no part of a number: EINVAL
LIMIT: Codec = _Limit()
BYTES: Codec = _Bytes()
FLAG: Codec = _Flag()
INT_FLAG: Codec = _Flag(32)
WORD: Codec = _Word()
TEXT: Codec = _Text()
