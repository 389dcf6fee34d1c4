"""Types of click for the kinds of words that commands take."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    _AnyType = click.ParamType[Any]
else:
    _AnyType = click.ParamType


class SecondsType(click.FloatRange):
    """A number of seconds. `above_zero`: 0 is refused, too.

    Python reads nan and inf as numbers, and nan is neither below nor above a limit: refuse both.
    """

    def __init__(self, above_zero: bool) -> None:
        super().__init__(min=0, min_open=above_zero)

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        found = float(super().convert(value, param, ctx))
        if not math.isfinite(found):
            self.fail(f"{value} is not a finite number of seconds.", param, ctx)
        return found


class ParsedType(_AnyType):
    """What a function makes of a word. It raises ValueError with the message for the user."""

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        self.name = name
        self.parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return self.parse(str(value))
        except ValueError as err:
            self.fail(str(err), param, ctx)
