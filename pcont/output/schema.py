"""The JSON Schema of what --json prints, made from the records and the tables of control files.

`python -m tests.json_docs` writes docs/json.schema.json (from `document`) and the tables of
docs/json.md (from `tables`).
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Iterator
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from pcont import errors, records, subsys
from pcont.tables.control_file import ControlFile
from pcont.values import Codec

Schema = dict[str, Any]

Places = Annotated[list[str], "the containers as HIERARCHY:/path"]
_Ids = Annotated[list[int], "the ids"]
Values = Annotated[dict[str, records.Scalar], "the values by KEY"]
Nothing = Annotated[None, "nothing: standard output is the command's"]
_EachLine = Annotated[None, "for each line of FILE that succeeds: that of its command"]

# What `result` is, by command.
RESULTS: dict[str, Any] = {
    "subsys": list[records.SubsystemRow],
    "mount": records.Mounted,
    "umount": Annotated[str, "the hierarchy or mount point, as it was given"],
    "hierarchies": list[records.HierarchyRow],
    "create": Places,
    "rm": Places,
    "chown": Places,
    "attach": records.Outcome,
    "move": records.Outcome,
    "bind": Annotated[list[str], "all subsystems of the hierarchy"],
    "unbind": records.Unbound,
    "recover": list[records.Recovered],
    "batch": _EachLine,
    "gc": list[records.Collected],
    "clone": Annotated[str, "with --pid: the new container as HIERARCHY:/path"],
    "run": Nothing,
    "pins": list[records.PinRow],
    "unpin": Annotated[list[str], "the names"],
    "get": Values,
    "set": Annotated[list[str], "the control files that were written"],
    "tree": list[records.ContainerNode],
    "ps": list[records.TaskRow],
    "where": list[records.WhereRow],
    "stat": list[records.CpuRow | records.UsageRow],
    "beancounters": list[records.BeanRow],
    "doctor": list[records.Finding],
    "sim fork": _Ids,
    "sim thread": _Ids,
    "sim unshare": Annotated[str, "the path of the container; empty where none was made"],
    "sim exit": _Ids,
    "sim work": Annotated[int, "the id of the task"],
    "sim open": Annotated[list[int], "the numbers of the files"],
    "sim close": Annotated[list[int], "the numbers of the files"],
    "sim mount-cpuset": Annotated[str, "the mount point"],
    "sim param": Annotated[dict[str, int], "the parameters by name"],
    "sim notified": list[records.Notified],
    "sim proc": Annotated[str, "the text of the file"],
    "sim machine": Annotated[dict[str, str], "`cpus` and `nodes`, as lists such as 0-3,8"],
}

# What changes something prints `would` in a dry run.
WITH_DRY_RUN = frozenset(
    (
        *("mount", "umount", "create", "rm", "attach", "move", "bind", "unbind", "recover", "gc"),
        *("clone", "run", "unpin", "set", "chown", "batch"),
    )
)

NOT_IN_A_BATCH = ("run", "clone", "recover", "batch")

# The files of the core and of these have a schema; a file of any other is a number or a text.
SUBSYSTEMS = ("", *subsys.NAMES, *subsys.VIRTUAL)

# What pcont measures: no kernel has such a file.
_LOAD = {
    "description": "percent of one CPU within the window",
    "anyOf": [{"type": "number"}, {"const": "unknown"}],
}

_PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}


def document() -> Schema:
    """Return the schema: `$defs` has stdout for each command, `stderr` for a line, the records."""
    found: dict[str, type] = {}
    lines = {pointer(name): _stdout(name, found) for name in RESULTS}
    stderr = _stderr(found)
    defs = {**lines, "stderr": stderr, **_records(found), "values": _values()}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "pcont --json",
        "description": (
            "What pcont prints with --json. Standard output is one line: "
            "#/$defs/COMMAND, with a dash for each blank in COMMAND. "
            "batch prints one such line for each command that it carries out. "
            "Each line of standard error is #/$defs/stderr. "
            "Fields may be added; those that are here keep their names and types."
        ),
        "$defs": defs,
        "anyOf": [{"$ref": f"#/$defs/{name}"} for name in [*lines, "stderr"]],
    }


def pointer(command: str) -> str:
    """Return the name of a command's definition."""
    return command.replace(" ", "-")


def _object(properties: Schema) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


_BACKEND = {"enum": ["cgroupfs", "model"], "description": "the backend that answered"}


def _stdout(name: str, found: dict[str, type]) -> Schema:
    """Return the schema of the line that a command prints on standard output."""
    if name == "batch":
        return _line_of_batch(found)
    kinds: list[Schema] = []
    if RESULTS[name] is not Nothing:
        kinds.append(_object({"backend": _BACKEND, "result": record_schema(RESULTS[name], found)}))
    if name in WITH_DRY_RUN:
        kinds.append(_object({"backend": _BACKEND, "would": _would()}))
    return kinds[0] if len(kinds) == 1 else {"oneOf": kinds}


def _would() -> Schema:
    lines = "with --dry-run: the changes as shell commands"
    return _described(record_schema(list[str], {}), lines)


def _line_of_batch(found: dict[str, type]) -> Schema:
    """Return the schema of what a batch prints for one of its lines."""
    number = _described({"type": "integer"}, "the number of the line in FILE")
    names = [name for name in RESULTS if name not in NOT_IN_A_BATCH]
    kinds = [
        _object(
            {
                "backend": _BACKEND,
                "line": number,
                "command": {"const": name},
                "result": record_schema(RESULTS[name], found),
            }
        )
        for name in names
    ]
    would = {"backend": _BACKEND, "line": number, "command": {"enum": names}, "would": _would()}
    return {"oneOf": [*kinds, _object(would)]}


def _stderr(found: dict[str, type]) -> Schema:
    """Return the schema of one line of standard error."""
    text: Schema = {"type": "string"}
    limits = _described(record_schema(list[str], {}), "the settings that will no longer hold")
    return {
        "oneOf": [
            _object({"error": {"$ref": "#/$defs/error"}}),
            _object({"note": _described(text, "something to know that is not an error")}),
            _object({"backend": _BACKEND, "started": record_schema(records.Started, found)}),
            _object({"backend": _BACKEND, "ended": record_schema(records.Ended, found)}),
            _object({"ceasing": limits}),
            _object({"question": _described(text, "waits for a line, y or n, on standard input")}),
        ]
    }


def error_schema() -> Schema:
    """Return the schema of an error."""
    kinds = [one for one in vars(errors).values() if isinstance(one, type)]
    errors_of = [one for one in kinds if issubclass(one, errors.PcontError)]
    codes = list(dict.fromkeys(one.code for one in errors_of))
    line = {"type": "integer", "description": "batch: the number of the line that failed"}
    schema = _object(
        {
            "code": {"enum": [*codes, "interrupted"], "description": "the kind of failure"},
            "errno": {
                "type": ["string", "null"],
                "description": "the errno's name, such as EBUSY; null if the kernel did not refuse",
            },
            "message": {"type": "string", "description": "what was attempted, and why it failed"},
            "path": {"type": "string", "description": "the file or directory; may be empty"},
            "hint": {"type": "string", "description": "what to do; may be empty"},
        }
    )
    schema["properties"]["line"] = line
    return schema


def _records(found: dict[str, type]) -> Schema:
    """Return the definitions of all mentioned records, and of those that these mention."""
    defs: Schema = {"error": error_schema()}
    while waiting := [name for name in found if name not in defs]:
        for name in waiting:
            defs[name] = _record(found[name], found)
    return defs


def _record(kind: type, found: dict[str, type]) -> Schema:
    properties = {name: record_schema(hint, found) for name, hint in hints(kind).items()}
    return _described(_object(properties), inspect.cleandoc(kind.__doc__ or "").split("\n")[0])


def hints(kind: type) -> dict[str, Any]:
    """Return the fields of a record in their order, each with its type and description."""
    known = get_type_hints(kind, include_extras=True)
    return {name: known[name] for name in records.field_names(kind)}


def _described(schema: Schema, text: str) -> Schema:
    return {"description": text, **schema}


def record_schema(hint: Any, found: dict[str, type]) -> Schema:
    """Return the schema of a type, and add the records that it mentions to `found`."""
    if get_origin(hint) is Annotated:
        kind, text, *words = get_args(hint)
        return _described({"enum": list(words[0])} if words else record_schema(kind, found), text)
    if records.is_record(hint):
        found[hint.__name__] = hint
        return {"$ref": f"#/$defs/{hint.__name__}"}
    return _container(hint, found) or {"type": _PLAIN[hint]}


def _container(hint: Any, found: dict[str, type]) -> Schema | None:
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (list, tuple):
        return {"type": "array", "items": record_schema(inner[0], found)}
    if origin is dict and inner[1] == records.Scalar:
        return {"$ref": "#/$defs/values"}
    if origin is dict:
        return {"type": "object", "additionalProperties": record_schema(inner[1], found)}
    if origin in (Union, types.UnionType) and records.is_record(inner[0]):
        return {"oneOf": [record_schema(one, found) for one in inner]}
    if origin in (Union, types.UnionType):
        return {"type": [_PLAIN[one] for one in inner]}
    return None


def _values() -> Schema:
    """Return the schema of the values that `get` prints, with types for files that have a table."""
    found = [table for name in SUBSYSTEMS if (table := subsys.by_key(name))]
    rows = sorted((row for table in found for row in table.files), key=lambda row: row.name)
    known = {row.name: _described(value(row), row.help) for row in rows}
    return {
        "type": "object",
        "properties": {**known, "cpuacct.load": _LOAD},
        "additionalProperties": record_schema(records.Scalar, {}),
    }


def value(row: ControlFile) -> Schema:
    """Return the schema of a control file's value."""
    if not isinstance(_parsed(row.type, "0"), int):
        return {"type": "string"}
    number: Schema = {"type": "integer"}
    return {"anyOf": [number, {"const": "max"}]} if _takes_max(row.type) else number


def _parsed(codec: Codec, text: str) -> Any:
    try:
        return codec.parse(text)
    except (ValueError, OverflowError):
        return None


def _takes_max(codec: Codec) -> bool:
    try:
        return codec.parse("max") is None
    except (ValueError, OverflowError):
        return False


def tables() -> str:
    """Return the generated half of docs/json.md: the commands, and a table for each record."""
    return "\n".join([*_commands_table(), *_records_tables()]) + "\n"


def _commands_table() -> Iterator[str]:
    yield "| command | `result` |"
    yield "|---|---|"
    for name, hint in RESULTS.items():
        yield f"| `{name}` | {_words(hint)} |"


def _records_tables() -> Iterator[str]:
    found: dict[str, type] = {}
    for hint in (*RESULTS.values(), records.Started, records.Ended):
        record_schema(hint, found)
    _records(found)
    for name, kind in sorted(found.items()):
        yield f"\n### {name}\n\n{inspect.cleandoc(kind.__doc__ or '')}\n"
        yield "| field | type | what it is |"
        yield "|---|---|---|"
        for field, hint in hints(kind).items():
            inner, text, *words = get_args(hint)
            more = f": {' or '.join(f'`{word}`' for word in words[0])}" if words else ""
            yield f"| `{field}` | {_words(inner)} | {text}{more} |"


def _words(hint: Any) -> str:
    """Return a type in words."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        kind = "" if inner[0] is type(None) else f"{_words(inner[0])}: "
        return f"{kind}{inner[1]}"
    if records.is_record(hint):
        return f"[{hint.__name__}](#{hint.__name__.lower()})"
    if origin in (list, tuple):
        return f"list of {_words(inner[0])}"
    if origin is dict:
        return f"object of {_words(inner[1])}"
    return " or ".join(map(_words, inner)) if inner else _PLAIN[hint]
