"""Writes docs/json.schema.json, and the tables of docs/json.md: `python -m tests.json_docs`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pcont import records
from pcont.output import schema

DOCS = Path(__file__).parent.parent / "docs"
SCHEMA, PAGE = DOCS / "json.schema.json", DOCS / "json.md"
MARK = "<!-- Below here: written by python -m tests.json_docs -->\n"


def expected() -> dict[Path, str]:
    """What the files should be, by the records and the tables of control files."""
    text, mark, _ = PAGE.read_text(encoding="utf-8").partition(MARK)
    assert mark, f"{PAGE} lacks the line {MARK}"
    return {
        SCHEMA: json.dumps(schema.document(), indent=1, ensure_ascii=False) + "\n",
        PAGE: f"{text}{MARK}\n{schema.tables()}",
    }


def fields_of_record(value: Any) -> Any:
    """The fields of a record by name, also of those inside of it, as `--json` must print them."""
    if type(value).__module__ == records.__name__:
        names = type(value).__annotations__
        return {name: fields_of_record(getattr(value, name)) for name in names}
    if isinstance(value, list | tuple):
        return [fields_of_record(one) for one in value]
    if isinstance(value, dict):
        return {key: fields_of_record(one) for key, one in value.items()}
    return value


if __name__ == "__main__":
    for path, text in expected().items():
        path.write_text(text, encoding="utf-8")
