"""Messages to the user on standard error: errors, notes, questions; with --json as JSON."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pcont.output.text import one_line

if TYPE_CHECKING:
    from pcont.errors import PcontError
    from pcont.records import Outcome


def error(err: PcontError, as_json: bool) -> None:
    """Print an error: what was attempted, the place, the reason, and a hint."""
    if as_json:
        _json(error=err.as_dict())
        return
    _print(f"pcont: {one_line(err.message)}")
    if err.path and err.path not in err.message:
        _print(f"  at: {one_line(err.path)}")
    if err.hint:
        _print(f"  hint: {one_line(err.hint)}")


def warning(text: str, as_json: bool = False) -> None:
    """Print a note about something that is no error."""
    if as_json:
        _json(note=text)
    else:
        _print(f"pcont: note: {one_line(text)}")


def ceasing(lines: Sequence[str], as_json: bool) -> None:
    """Print the settings that unbind is about to remove."""
    if as_json:
        _json(ceasing=list(lines))
        return
    for line in lines:
        _print(f"no longer holds: {one_line(line)}")


def question(text: str, as_json: bool) -> None:
    """Print a question; without --json the answer is typed on the same line."""
    if as_json:
        _json(question=text)
    else:
        print(f"{text} [y/N]: ", end="", file=sys.stderr, flush=True)


def line(text: str = "") -> None:
    """Print a line as it is."""
    _print(text)


def move_summary(move: Outcome) -> str:
    """Return one line about a finished move: how many tasks, and how."""
    how = "while they were frozen" if move.strategy == "freeze" else "until none was left"
    more = f", {move.stragglers} of them started during the move" if move.stragglers else ""
    more += f", {move.skipped} skipped" if move.skipped else ""
    rounds = f"{move.rounds} round{'s' * (move.rounds != 1)}"
    return f"{move.moved} moved in {rounds}, {how}{more}: {move.seconds:.3f} s"


def _print(text: str) -> None:
    print(text, file=sys.stderr)


def _json(**fields: object) -> None:
    from pcont.output import json_lines

    json_lines.message(fields)
