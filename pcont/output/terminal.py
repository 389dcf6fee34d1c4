"""Drawing on the terminal with rich."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

GAP = 2  # blanks between two columns

_TRAILING = re.compile(r"(?: |\x1b\[[0-9;]*m)+$")


def console() -> Console:
    """Return a console on standard output."""
    from rich.console import Console

    return Console()


def draw(console: Console, drawn: RenderableType) -> None:
    """Print what rich draws, without the blanks at the ends of lines."""
    with console.capture() as drawing:
        console.print(drawn)
    for line in drawing.get().removesuffix("\n").split("\n"):
        print(_TRAILING.sub(lambda end: end[0].replace(" ", ""), line))
