"""Codecs: how the text of a control file is read into a value and shown again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

Ids = frozenset[int]


class Codec(Protocol):
    """Reads what the kernel shows, and shows what it would show."""

    def parse(self, text: str) -> Any:
        """The value of a file's text; ValueError where it is not of this type."""

    def show(self, value: Any) -> str:
        """The text of a value, without the newline."""


class _IdList:
    """A set of CPU or memory node numbers, as in `0-3,8` (cpuset(7), List format)."""

    def parse(self, text: str) -> Ids:
        found: set[int] = set()
        for word in text.replace(",", " ").split():
            first, dash, last = word.partition("-")
            low, high = int(first), int(last if dash else first)
            if high < low:
                raise ValueError(f"{word}: the range runs backwards")
            found.update(range(low, high + 1))
        return frozenset(found)

    def show(self, value: Iterable[int]) -> str:
        return ",".join(f"{low}-{high}" if high > low else str(low) for low, high in _runs(value))


def _runs(ids: Iterable[int]) -> list[tuple[int, int]]:
    """The maximal runs of consecutive numbers, ascending."""
    runs: list[tuple[int, int]] = []
    for number in sorted(ids):
        if runs and runs[-1][1] == number - 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return runs


class _Integer:
    """A decimal number."""

    def parse(self, text: str) -> int:
        return int(text)

    def show(self, value: int) -> str:
        return str(value)


class _Flag:
    """0 or 1; the kernel takes every number but 0 for 1."""

    def parse(self, text: str) -> int:
        return 1 if int(text) else 0

    def show(self, value: int) -> str:
        return "1" if value else "0"


class _Text:
    """Anything: several lines, or a format that nobody has to understand."""

    def parse(self, text: str) -> str:
        return text.rstrip("\n")

    def show(self, value: str) -> str:
        return value


ID_LIST: Codec = _IdList()
INTEGER: Codec = _Integer()
FLAG: Codec = _Flag()
TEXT: Codec = _Text()
