"""Files that earlier versions of pcont wrote are read, and names on disk never change."""

from __future__ import annotations

import inspect
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pcont import cli
from pcont.bases import FORMATS, attributes_of, made, names_of, on_disk
from pcont.kernel.types import Place
from pcont.model.old_states import READABLE
from pcont.model.rows import HEAD, all_rows
from pcont.steps.recover import FACTS, RECORD_CLASSES
from pcont.transaction.journal import decode, encode
from pcont.transaction.undo_log import UndoLog, UndoRecord
from tests.model_states import rows_in, write_rows
from tests.recorded import DATA, Recorded, opened, recovered

JOURNALS = sorted((DATA / "journals").glob("*.json"))
OLD_STATES = sorted((DATA / "states").glob("*.json"))
STATES = sorted((DATA / "states4").glob("*.state"))


def names(path: Path) -> str:
    """The name of a case."""
    return path.stem


# The names


def test_the_tags_and_fields_on_disk_are_those_that_were_written_down() -> None:
    """A rename of a class or a field must not change them: see pcont.bases.on_disk."""
    ours = [found for kind, found in FORMATS.items() if kind.__module__.startswith("pcont.")]
    written = json.loads((DATA / "tags.json").read_text(encoding="utf-8"))
    assert {one.tag: set(one.attributes) for one in ours} == {
        tag: set(names) for tag, names in written.items()
    }
    assert len(ours) == len(written), "two classes have the same tag"


def facts(kind: type[UndoRecord] = UndoRecord) -> Iterator[type[UndoRecord]]:
    """All classes of pcont that are facts."""
    for one in kind.__subclasses__():
        if one.__module__.startswith("pcont.") and not inspect.isabstract(one):
            yield one
        yield from facts(one)


def test_recovery_reads_every_fact() -> None:
    assert set(facts()) == set(FACTS)
    assert set(FACTS) <= set(RECORD_CLASSES.values())


@pytest.mark.parametrize("kind", [one for one in FORMATS if one.__module__.startswith("pcont.")])
def test_every_field_of_a_record_is_written(kind: Any) -> None:
    """Except for those of a place that are for messages only."""
    attributes = {*kind.__annotations__} - ({"spelling", "whole"} if kind is Place else set())
    assert set(FORMATS[kind].attributes.values()) == attributes


@on_disk("OldName", "place", old="new")
@dataclass
class NewName(UndoRecord):
    """A record whose class and one of whose fields have been renamed."""

    place: str
    new: dict[int, int] = field(default_factory=dict)

    @property
    def label(self) -> str:
        return self.place

    def restore(self, backend: object) -> Iterator[Any]:
        yield from ()

    def extend(self, **more: dict[int, int]) -> None:
        self.new.update(more["new"])


def test_a_class_and_a_field_keep_their_names_on_disk_when_they_are_renamed() -> None:
    one = NewName("/a", {1: 2})
    text = json.dumps(encode(one))
    assert json.loads(text) == {
        "is": "OldName",
        "place": "/a",
        "old": {"is": "dict", "items": [[1, 2]]},
    }
    assert decode(json.loads(text), {"OldName": NewName}) == one


def test_what_is_learnt_of_a_renamed_field_keeps_its_name_on_disk() -> None:
    class Lines:
        def append(self, entry: dict[str, Any]) -> None:
            entries.append(entry)

    entries: list[dict[str, Any]] = []
    undo_log, one = UndoLog(Lines()), NewName("/a")  # type: ignore[arg-type]
    undo_log.record(one)
    undo_log.extend(one, new={3: 4})
    more = decode(entries[1]["more"], {})
    assert more == {"old": {3: 4}}
    assert attributes_of(NewName, more) == {"new": {3: 4}}
    assert names_of(NewName, {"new": 1}) == {"old": 1}


def test_a_name_that_is_not_on_disk_is_refused() -> None:
    with pytest.raises(KeyError):
        made(NewName, {"place": "/a", "new": {}})
    with pytest.raises(TypeError):
        made(NewName, {})


@dataclass
class Untagged:
    """A class that has no name on disk."""

    place: str


@pytest.mark.parametrize("value", [Untagged("/a"), [Untagged("/a")], object(), b"text"])
def test_a_class_without_a_tag_is_not_written(value: object) -> None:
    with pytest.raises(TypeError, match="has no tag"):
        encode(value)


# Journals


def test_the_recorded_journals_have_every_tag() -> None:
    found = {
        word
        for path in JOURNALS
        for line in json.loads(path.read_text(encoding="utf-8"))["journal"]
        for word in line.split('"')
    }
    assert set(RECORD_CLASSES) - found == set()


# The owners in the journals of earlier versions. Those versions did not store them in the model.
OWNERS_BEFORE = {"": [1000, 1000, 0o755], "tasks": [0, 1000, 0o664]}


def comparable(model: Recorded) -> dict[str, Any]:
    """The state of a model without CPU times of zero, which only earlier versions wrote, and the
    owners that these did not write.
    """
    rows: dict[str, Any] = all_rows(model)
    for row in rows.values():
        if isinstance(row, dict) and row.get("owners") == OWNERS_BEFORE:
            del row["owners"]
        if isinstance(row, dict) and "times" in row:
            row["times"] = {cpu: times for cpu, times in row["times"].items() if any(times)}
            if not row["times"]:
                del row["times"]
    return rows


@pytest.mark.parametrize("path", JOURNALS, ids=names)
def test_a_journal_of_an_earlier_version_is_recovered(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the version that wrote it recovered it, to the same state."""
    case = json.loads(path.read_text(encoding="utf-8"))
    head = json.loads(case["journal"][0])
    for name in ("view", "boot"):
        monkeypatch.setattr(f"pcont.transaction.journal.{name}", lambda name=name: head[name])
    journal = tmp_path / "journals" / "00000000000000000001-1.journal"
    journal.parent.mkdir()
    journal.write_text("".join(f"{line}\n" for line in case["journal"]), encoding="utf-8")
    journal.chmod(0o600)
    model = placed(tmp_path, case["killed"])
    assert recovered(model) == case["found"]
    assert list(journal.parent.iterdir()) == []
    expected = placed(tmp_path / "expected", case["recovered"])
    assert comparable(model) == comparable(expected)


def placed(directory: Path, state: dict[str, Any]) -> Recorded:
    """The model of a state, in a directory: of an earlier version, or rows."""
    directory.mkdir(exist_ok=True)
    if HEAD in state:
        write_rows(directory / "model.json", state)
    else:
        (directory / "model.json").write_text(json.dumps(state), encoding="utf-8")
    return opened(directory)


@pytest.mark.parametrize("path", JOURNALS, ids=names)
def test_records_are_written_as_an_earlier_version_wrote_them(path: Path) -> None:
    entries = map(json.loads, json.loads(path.read_text(encoding="utf-8"))["journal"][1:])
    records = [value for entry in entries for value in entry.values() if isinstance(value, dict)]
    assert records
    for record in records:
        assert json.dumps(encode(decode(record, RECORD_CLASSES))) == json.dumps(record)


# States of the model


@pytest.mark.parametrize("path", [*OLD_STATES, *STATES], ids=names)
def test_a_state_of_an_earlier_version_shows_what_it_showed(
    path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(path.parent / "proc", tmp_path / "proc")
    shutil.copy(path, tmp_path / "model.json")
    monkeypatch.setattr("pcont.kernel.open.open_backend", lambda *words: opened(tmp_path))
    capsys.readouterr()
    shown = json.loads(path.with_suffix(".shown").read_text(encoding="utf-8"))
    assert shown
    for words, lines in shown.items():
        status = cli.main(["--json", *words.split()])
        assert (words, status, capsys.readouterr().out.splitlines()) == (words, 0, lines)


@pytest.mark.parametrize("path", STATES, ids=names)
def test_a_state_of_this_version_is_written_as_it_was_read(path: Path, tmp_path: Path) -> None:
    """Other rows need another VERSION: then record new files, and keep these."""
    shutil.copytree(path.parent / "proc", tmp_path / "proc")
    shutil.copy(path, tmp_path / "model.json")
    model = opened(tmp_path)
    assert all_rows(model) == rows_in(path)
    assert model._store._loader is not None
    assert model._store._loader.changes() == {}


@pytest.mark.parametrize("path", OLD_STATES, ids=names)
def test_a_state_of_an_earlier_version_is_converted_at_the_first_change(
    path: Path, tmp_path: Path
) -> None:
    """Until then it stays as it is. After that, it has the same rows as the model that was read."""
    assert json.loads(path.read_text(encoding="utf-8"))["version"] in READABLE
    shutil.copytree(path.parent / "proc", tmp_path / "proc")
    file = tmp_path / "model.json"
    shutil.copy(path, file)
    model = opened(tmp_path)
    with model.exclusive():
        model.children(Place(model.trees()[0].id))
    assert file.read_bytes() == path.read_bytes()
    before = all_rows(model)
    with model.exclusive():
        model.make_directory("/dev/made")
    after = rows_in(file)
    before[HEAD]["directories"] = sorted([*before[HEAD]["directories"], "/dev/made"])
    assert after == before == all_rows(opened(tmp_path))


def test_the_recorded_states_have_a_value_for_every_key() -> None:
    found: dict[str, bool] = {}
    for path in OLD_STATES:
        state = json.loads(path.read_text(encoding="utf-8"))
        parts = {"": [state], **{name: state[name] for name in ("trees", "tasks", "files")}}
        parts["containers"] = [one for tree in state["trees"] for one in tree["containers"]]
        parts["unbound"] = [state["unbound"]]
        for name, records in parts.items():
            for key, value in ((key, value) for one in records for key, value in one.items()):
                found[f"{name}.{key}"] = found.get(f"{name}.{key}", False) or bool(value)
    empty = {key for key, filled in found.items() if not filled}
    assert empty <= {"unbound.attributes", "unbound.most", "unbound.refused"}


# The page about them

PAGE = DATA.parents[1] / "docs" / "formats.md"


def rows() -> list[str]:
    """The rows of all tables of the page."""
    return [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line[:1] == "|"]


@pytest.mark.parametrize("tag", sorted(RECORD_CLASSES))
def test_the_page_has_every_tag_with_its_fields(tag: str) -> None:
    (row,) = [row for row in rows() if f"`{tag}`" in row.split("|")[1]]
    assert all(f"`{name}`" in row for name in FORMATS[RECORD_CLASSES[tag]].attributes)


@pytest.mark.parametrize("path", STATES, ids=names)
def test_the_page_has_every_key_of_a_row(path: Path) -> None:
    rows = rows_in(path)
    page = PAGE.read_text(encoding="utf-8").partition("## State of the model")[2]
    page = page.partition("### Version 3")[0]
    containers = [row for key, row in rows.items() if key.startswith("container:")]
    records = [rows[HEAD], *rows[HEAD]["trees"], *containers]
    assert {key for one in records for key in one if f"`{key}`" not in page} == set()
    assert {key.partition(":")[0] for key in rows if f"`{key.partition(':')[0]}" not in page} == (
        set()
    )


@pytest.mark.parametrize("path", OLD_STATES, ids=names)
def test_the_page_has_every_key_of_a_state(path: Path) -> None:
    state = json.loads(path.read_text(encoding="utf-8"))
    containers = [one for tree in state["trees"] for one in tree["containers"]]
    records = [state, *state["trees"], *containers, *state["tasks"], *state["files"]]
    page = PAGE.read_text(encoding="utf-8").partition("## State of the model")[2]
    assert {key for one in records for key in one if f"`{key}`" not in page} == set()


def test_the_page_has_every_attribute() -> None:
    states = [json.loads(path.read_text(encoding="utf-8")) for path in OLD_STATES]
    trees = [tree for state in states for tree in state["trees"]]
    found = {key for tree in trees for one in tree["containers"] for key in one["attributes"]}
    assert found > {"tie", "kept", "auto_delete"}
    page = PAGE.read_text(encoding="utf-8").partition("## Attributes")[2]
    assert {key for key in found if f"`{key}`" not in page} == set()
