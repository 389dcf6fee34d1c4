"""schema: the JSON Schema is that of the records, and the documents have it as it is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pcont import records
from pcont.cli import cli
from pcont.ops.batch import REFUSED
from pcont.output import schema
from pcont.tables.control_file import ControlFile
from pcont.values import ID_LIST, LIMIT, TEXT, UNSIGNED
from tests import json_docs
from tests.command_tree import commands_of
from tests.contract.test_json import validator
from tests.json_docs import fields_of_record
from tests.output.test_output import ROWS


@pytest.mark.parametrize("path", [json_docs.SCHEMA, json_docs.PAGE], ids=lambda path: path.name)
def test_the_documents_are_those_of_the_records(path: Any) -> None:
    wanted = json_docs.expected()[path]
    assert path.read_text(encoding="utf-8") == wanted, "run python -m tests.json_docs"


def test_every_command_has_a_schema() -> None:
    assert set(schema.RESULTS) == set(commands_of(cli()))
    changing = {
        name
        for name, command in cli().commands.items()
        if any("--dry-run" in one.opts for one in command.params)
    }
    assert changing == schema.WITH_DRY_RUN


def test_a_line_of_a_batch_has_the_result_of_its_command() -> None:
    assert set(schema.NOT_IN_A_BATCH) == set(REFUSED)
    compare = validator("batch")
    line = {"backend": "model", "line": 3, "command": "create", "result": ["jobs:/a"]}
    assert list(compare.iter_errors(line)) == []
    assert list(compare.iter_errors({**line, "command": "ps"}))
    assert list(compare.iter_errors({**line, "command": "run"}))


@pytest.mark.parametrize("kind", ROWS, ids=lambda kind: kind.__name__)
def test_a_record_fits_its_schema_and_one_with_a_text_for_a_number_does_not(kind: type) -> None:
    row: Any = ROWS[kind]
    compare = validator(kind.__name__)
    fact = json.loads(json.dumps(fields_of_record(row)))
    assert list(compare.iter_errors(fact)) == []
    for key, value in fact.items():
        wrong = str(value) if isinstance(value, int | float) else 7.5
        assert list(compare.iter_errors({**fact, key: wrong})), key
        fewer = {name: one for name, one in fact.items() if name != key}
        assert list(compare.iter_errors(fewer)), key
    assert list(compare.iter_errors({**fact, "more": 1}))


def test_every_field_of_a_record_says_what_it_is() -> None:
    for name, kind in schema.document()["$defs"].items():
        if hasattr(records, name):
            silent = [key for key, one in kind["properties"].items() if not one.get("description")]
            assert silent == [], name


@pytest.mark.parametrize(
    ("codec", "wanted"),
    [
        (UNSIGNED, {"type": "integer"}),
        (LIMIT, {"anyOf": [{"type": "integer"}, {"const": "max"}]}),
        (ID_LIST, {"type": "string"}),
        (TEXT, {"type": "string"}),
    ],
)
def test_a_value_has_the_type_of_its_codec(codec: Any, wanted: object) -> None:
    assert schema.value(ControlFile("x", "x", codec)) == wanted
