"""Check the numbers that a caller gives: seconds, counts, user ids."""

from __future__ import annotations

import math
import operator
from typing import SupportsFloat, SupportsIndex

from pcont.errors import UsageProblem

LAST_UID = (1 << 32) - 2  # the last number of 32 bits means "no user"
LAST_CPU = (1 << 31) - 1
_SHOWN = 40  # characters of a refused value in a message


def seconds(number: SupportsFloat | str, what: str, *, above_zero: bool = False) -> float:
    """Return a number of seconds; UsageProblem if it is negative, infinite or no number.

    `what`: names the argument in the message. `above_zero`: refuse 0, too.
    """
    try:
        found = float(number)
    except (TypeError, ValueError, OverflowError):
        found = math.nan
    if not (math.isfinite(found) and found >= 0) or (above_zero and not found):
        least = "above 0" if above_zero else "0 or more"
        raise UsageProblem(
            f"{what} is a finite number of seconds, {least}, and not {shown(number)}"
        )
    return found


def whole(number: SupportsIndex, what: str, least: int, most: int) -> int:
    """Return a whole number from `least` to `most`; UsageProblem for anything else."""
    try:
        found = operator.index(number)
    except TypeError:
        found = least - 1
    if not least <= found <= most:
        raise UsageProblem(f"{what} is a number from {least} to {most}, and not {shown(number)}")
    return found


def shown(value: object) -> str:
    """Return a refused value as a message shows it."""
    try:
        text = repr(value)
    except ValueError:  # Python shows no integer of thousands of digits
        return "a number of thousands of digits"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
