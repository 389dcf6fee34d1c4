"""Plain text: one line for each value, and texts that cannot break a line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pcont.records import Value


def one_line(text: str) -> str:
    """Escape what could break or colour the line: the names of tasks and containers are free."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)


def listed(items: Iterable[str]) -> str:
    """Join words by commas; a dash if there are none."""
    return ",".join(items) or "-"


def values(found: Sequence[Value], bare: bool) -> None:
    """Print KEY=VALUE, once for each line of a value; with `bare`, print the values alone."""
    for one in found:
        for line in str(one.value).split("\n"):
            print(line if bare else f"{one.key}={line}")
