"""JSON lines: what pcont prints with --json, on standard output and standard error."""

from __future__ import annotations

import json
import sys
from typing import Any

from pcont.records import as_json


def answer(backend: str, key: str, value: Any) -> None:
    """Print one JSON object on standard output: the backend's name, and `value` as `key`."""
    print(_dump({"backend": backend, key: value}))


def line_answer(backend: str, line: int, command: str, key: str, value: Any) -> None:
    """Print such an object for a line of a batch: with its number, and the words of its command."""
    print(_dump({"backend": backend, "line": line, "command": command, key: value}))


def event(backend: str, key: str, value: Any) -> None:
    """Print such an object on standard error, while standard output belongs to a command."""
    message({"backend": backend, key: value})


def message(fields: dict[str, Any]) -> None:
    """Print one JSON object on standard error: an error, a note or a question."""
    print(_dump(fields), file=sys.stderr, flush=True)


def _dump(fields: dict[str, Any]) -> str:
    # In ASCII: JSON must be valid Unicode, and the name of a container can be any bytes.
    return json.dumps(as_json(fields))
