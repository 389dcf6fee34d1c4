"""journal and memory: what is kept before an act is there after a crash, and only then."""

from __future__ import annotations

import os
from errno import EIO, ENOSPC
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcont.backend_model import Model
from pcont.errors import PcontError
from pcont.kernel.types import Mount, Place, TreeRequest
from pcont.records import Recovered
from pcont.session import Session
from pcont.steps.attach_undo import AttachUndo
from pcont.steps.created import RemoveCreated
from pcont.steps.creation import CreateContainer
from pcont.steps.origins import Origin
from pcont.steps.recover import RECORD_CLASSES, pending_lines, roll_back
from pcont.steps.write import RestoreAffinities, Setting, WriteAgain
from pcont.steps.xattr import RestoreXattr
from pcont.transaction.journal import Journal, abandoned, decode, encode
from pcont.transaction.journal_files import set_aside
from pcont.transaction.undo_log import UndoLog

A, B = Place("name=n", "/a"), Place("name=n", "/b")

plain = st.none() | st.booleans() | st.integers() | st.text()
values = st.recursive(
    plain,
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.frozensets(st.integers())
        | st.sets(st.text())
        | st.dictionaries(st.text() | st.integers(), inner)
        | st.builds(Place, st.text(), st.just("/a"))
        | st.builds(Mount, st.text())
    ),
    max_leaves=12,
)


@given(values)
@pytest.mark.slow
def test_whatever_a_fact_holds_comes_back(value: object) -> None:
    assert decode(encode(value), RECORD_CLASSES) == value


def test_what_is_no_fact_is_not_read() -> None:
    with pytest.raises(KeyError):
        decode({"is": "Popen", "args": "true"}, RECORD_CLASSES)


class Crashing(Model):
    """A model with journals, as the kernel has them."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.directory = str(directory)
        self.make_directory("/n")
        self.mount(TreeRequest((), "n"), "/n", "pcont:0:/n")

    def journals(self) -> str:
        return self.directory


@pytest.fixture
def model(tmp_path: Path) -> Crashing:
    return Crashing(tmp_path)


def undo_log(model: Crashing, command: str = "create it") -> UndoLog:
    return UndoLog(Journal(model.directory, command))


def files(model: Crashing) -> list[str]:
    return os.listdir(model.directory)


def crash(model: Crashing) -> None:
    """The journal's lock goes with its process: here, with its descriptor."""
    for name in files(model):
        target = os.path.join(model.directory, name)
        for number in os.listdir("/proc/self/fd"):
            link = f"/proc/self/fd/{number}"
            if os.path.exists(link) and os.path.realpath(link) == target:
                os.close(int(number))


def test_a_journal_is_there_from_the_first_fact_until_all_is_settled(model: Crashing) -> None:
    log = undo_log(model)
    assert files(model) == []
    CreateContainer(A, "create a").do(model, log)
    assert len(files(model)) == 1
    log.commit()
    assert files(model) == []


def refuse(name: str) -> None:
    raise OSError(EIO, os.strerror(EIO), name)


def test_a_journal_that_stays_though_all_is_done_undoes_nothing(
    model: Crashing, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = undo_log(model)
    CreateContainer(A, "create a").do(model, log)
    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", refuse)
        log.commit()
    assert len(files(model)) == 1
    assert list(roll_back(model)) == []
    assert model.children(Place("name=n")) == ["a"]
    assert files(model) == []


def test_what_is_staged_is_undone_where_it_cannot_be_settled(
    model: Crashing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what comes in the block, also where nothing came before it."""
    session = Session(model)
    monkeypatch.setattr(Journal, "close", lambda journal: refuse("the journal"))
    with pytest.raises(OSError, match="the journal"), session.exclusive(), session.staged([]):
        session.carry_out([CreateContainer(A, "create a")])
    assert model.children(Place("name=n")) == []


def test_the_journal_of_a_living_command_is_its_own(model: Crashing) -> None:
    log = undo_log(model)
    CreateContainer(A, "create a").do(model, log)
    assert list(roll_back(model)) == []
    assert model.children(Place("name=n")) == ["a"]
    log.commit()


def test_a_crash_is_undone_the_last_command_first(model: Crashing) -> None:
    for place in (A, B):
        CreateContainer(place, "create").do(model, undo_log(model, f"create {place.path}"))
    crash(model)
    assert pending_lines(model) == ["# undo: create /b", "# undo: create /a"]
    assert list(roll_back(model)) == [
        Recovered("create /b", "undone"),
        Recovered("create /a", "undone"),
    ]
    assert model.children(Place("name=n")) == []
    assert files(model) == []


def test_what_was_refused_or_forgotten_is_not_undone(model: Crashing) -> None:
    model.make(A)
    log = undo_log(model)
    with pytest.raises(FileExistsError):
        CreateContainer(A, "create a").do(model, log)
    record = RestoreXattr(A, "note", None)
    log.record(record)
    model.set_attribute(A, "note", "1")
    log.drop(record)
    crash(model)
    assert list(roll_back(model)) == []
    assert model.attributes(A) == {"note": "1"}
    assert files(model) == []


def test_what_was_learnt_later_counts(model: Crashing) -> None:
    log = undo_log(model)
    record = AttachUndo([A], os.getpid(), {A: set()})
    log.record(record)
    origin = Origin({"name=n": "/b"}, frozenset({0}), model.task(os.getpid()).start)
    log.extend(record, origins={os.getpid(): origin})
    for place in (A, B):
        model.make(place)
    model.write(A, "tasks", str(os.getpid()))
    crash(model)
    assert list(roll_back(model)) == [Recovered("create it", "undone")]
    assert model.membership(os.getpid()) == {"name=n": "/b"}
    with pytest.raises(TypeError, match="is known as a whole"):
        RestoreAffinities({}).extend(cpus={})


def test_a_command_whose_last_act_had_begun_is_finished(model: Crashing) -> None:
    for place in (A, B):
        model.make(place)
    log = undo_log(model)
    log.record(RestoreXattr(A, "note", "not to be put back"))
    log.set_final(RemoveCreated(B))
    crash(model)
    assert list(roll_back(model)) == [Recovered("create it", "finished")]
    assert model.children(Place("name=n")) == ["a"]
    assert model.attributes(A) == {}


def test_a_last_act_that_cannot_be_finished_is_undone_with_the_rest(model: Crashing) -> None:
    model.make(A)
    log = undo_log(model)
    log.record(RemoveCreated(A))
    log.set_final(WriteAgain([Setting(B, "notify_on_release", "1")]))
    crash(model)
    assert list(roll_back(model)) == [Recovered("create it", "undone")]
    assert model.children(Place("name=n")) == []


def test_a_crash_amid_undoing_does_not_finish(model: Crashing) -> None:
    """The end was in sight, and was given up before anything was taken back."""
    model.make(A)
    log = undo_log(model)
    log.record(RemoveCreated(B))
    log.set_final(RemoveCreated(A))
    log.drop_final()
    crash(model)
    assert list(roll_back(model)) == [Recovered("create it", "undone")]
    assert model.children(Place("name=n")) == ["a"]


def test_an_entry_that_was_being_written_tells_of_nothing(model: Crashing) -> None:
    CreateContainer(A, "create a").do(model, undo_log(model))
    (name,) = files(model)
    crash(model)
    path = Path(model.directory, name)
    path.write_text(path.read_text() + '{"fact": {"is": "Abs')
    assert list(roll_back(model)) == [Recovered("create it", "undone")]


def test_what_cannot_be_restored_is_reported_once(model: Crashing) -> None:
    model.make(A)
    log = undo_log(model)
    log.record(RemoveCreated(A))
    model.write(A, "tasks", str(os.getpid()))
    crash(model)
    (found,) = roll_back(model)
    assert len(found.left) == 1
    assert "EBUSY" in found.left[0]
    assert list(roll_back(model)) == []


def left_by(model: Crashing) -> Path:
    """The journal of a command that was killed after it had made a container."""
    CreateContainer(A, "create a").do(model, undo_log(model))
    (name,) = [one for one in files(model) if one.endswith(".journal")]
    crash(model)
    return Path(model.directory, name)


def damaged(journal: Path, how: str) -> None:
    """A journal that no command has written, or not to its end."""
    text = journal.read_bytes()
    head, record, *_ = text.split(b"\n")
    texts = {
        "another version": text.replace(b'"version": 1', b'"version": 99'),
        "no version": text.replace(b'"version"', b'"revision"'),
        "cut": text[:20],
        "garbage": b"no journal at all\n\n",
        "garbage within": b"\n".join([head, b"garbage", record, b""]),
        "not utf-8": b"\xff\xfe" + text,
        "not utf-8 within": text + b"\xff\n",
        "a list": b"[1, 2]\n[3]\n",
        "a number": b"17\n17\n",
        "a list within": text + b"[]\n",
        "an unknown fact": text + b'{"fact": {"is": "Popen", "args": "true"}}\n',
        "a part for a fact": text + b'{"fact": {"is": "Place", "tree": "n", "path": "/"}}\n',
        "a number for a fact": text + b'{"fact": 5}\n',
        "an unknown number": text + b'{"forget": 5}\n',
        "something learnt of nothing": text
        + b'{"learn": 5, "more": {"is": "dict", "items": []}}\n',
        "another type": text.replace(b'"name=n:/a"', b"5"),
        "another path": text.replace(b":/a", b":../a"),
        "a field too many": text.replace(b'"made"', b'"mode"'),
        "an unknown entry": text + b'{"well": "done"}\n',
        "deep": head + b"\n" + b"[" * 100_000 + b"\n",
        "a command that is no text": text.replace(b'"create it"', b"[]"),
    }
    if how in texts:
        assert texts[how] != text
        journal.write_bytes(texts[how])
        return
    journal.unlink()
    if how == "directory":
        journal.mkdir()
    elif how == "fifo":
        os.mkfifo(journal)
    else:
        journal.symlink_to("/etc/passwd" if how == "link" else "/no/such/file")


DAMAGES = [
    *("another version", "no version", "cut", "garbage"),
    *("garbage within", "not utf-8", "not utf-8 within", "a list", "a number", "a list within"),
    *("an unknown fact", "a part for a fact", "a number for a fact", "an unknown number"),
    *("something learnt of nothing", "another type", "another path", "a field too many"),
    *("an unknown entry", "deep", "a command that is no text"),
    *("directory", "fifo", "link", "dangling link"),
]


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_journal_is_set_aside_and_reported_and_work_goes_on(
    model: Crashing, how: str
) -> None:
    journal = left_by(model)
    damaged(journal, how)
    CreateContainer(B, "create b").do(model, undo_log(model, "create b"))
    crash(model)
    aside = f"{journal}.damaged"
    assert any(str(journal) in line for line in pending_lines(model))
    found = list(roll_back(model))
    assert [one.outcome for one in found] == ["undone", "set aside"]
    assert found[1].left[0].startswith(f"{aside}: ")
    assert "not rolled back" in found[1].sentence
    assert model.children(Place("name=n")) == ["a"]
    assert files(model) == [os.path.basename(aside)]
    assert pending_lines(model) == []
    assert list(roll_back(model)) == []
    assert set_aside([model.directory]) == [aside]


@pytest.mark.parametrize("lines", [0, 1])
@pytest.mark.parametrize("rest", [b"", b'{"fact": {"is": "Abs'])
def test_a_command_that_was_killed_in_its_first_write_has_left_nothing_to_report(
    model: Crashing, lines: int, rest: bytes
) -> None:
    """It is killed between open(2) and write(2), or amid a long write(2), before its first act."""
    journal = left_by(model)
    head, *_ = journal.read_bytes().split(b"\n")
    journal.write_bytes((head + b"\n" + rest) * lines)
    assert pending_lines(model) == []
    assert list(roll_back(model)) == []
    assert files(model) == []


def test_a_second_one_that_is_set_aside_does_not_replace_the_first(model: Crashing) -> None:
    journal = left_by(model)
    Path(f"{journal}.damaged").write_text("the first")
    journal.write_text("the second")
    (found,) = roll_back(model)
    assert found.left[0].startswith(f"{journal}.damaged.1: ")
    assert sorted(files(model)) == [f"{journal.name}.damaged", f"{journal.name}.damaged.1"]


def test_one_that_cannot_be_set_aside_is_reported_and_stays(
    model: Crashing, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = left_by(model)
    journal.write_text("garbage")
    monkeypatch.setattr(os, "rename", lambda old, new: refuse(new))
    (found,) = roll_back(model)
    assert found.outcome == "unreadable"
    assert str(journal) in found.left[0]
    assert files(model) == [journal.name]


def test_a_journal_that_another_user_could_write_is_set_aside(model: Crashing) -> None:
    journal = left_by(model)
    journal.chmod(0o666)
    (found,) = roll_back(model)
    assert (found.outcome, model.children(Place("name=n"))) == ("set aside", ["a"])
    assert "other users can write it" in found.left[0]


def test_facts_whose_hierarchy_is_not_there_any_more_are_reported(model: Crashing) -> None:
    journal = left_by(model)
    journal.write_bytes(journal.read_bytes().replace(b"name=n", b"name=gone"))
    model.make(B)
    (found,) = roll_back(model)
    assert found.outcome == "undone"
    assert files(model) == []
    assert model.children(Place("name=n")) == ["a", "b"]


def test_what_was_done_before_a_restart_of_the_machine_is_not_undone(
    model: Crashing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No container outlives it; another one may have the name."""
    left_by(model)
    monkeypatch.setattr("pcont.transaction.journal.boot", lambda: "another one")
    assert pending_lines(model) == []
    (found,) = roll_back(model)
    assert (found.outcome, found.left) == ("outdated", ())
    assert model.children(Place("name=n")) == ["a"]
    assert files(model) == []


def test_a_journal_that_cannot_be_written_is_named(
    model: Crashing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a full file system; what was done before is undone."""
    session = Session(model)

    def full(descriptor: int, text: bytes) -> int:
        raise OSError(ENOSPC, os.strerror(ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(PcontError, match=r"cannot write the journal .*ENOSPC") as caught:
            session.carry_out([CreateContainer(A, "create a")])
    assert f"df {model.directory}" in caught.value.hint
    assert model.children(Place("name=n")) == []
    assert files(model) == []


def test_without_a_directory_there_is_nothing_to_recover(model: Crashing) -> None:
    assert list(abandoned([])) == []
    assert list(abandoned(["", "/no/such/place"])) == []


def test_what_was_done_in_other_namespaces_is_left_to_those(
    model: Crashing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There the same paths and pids are others."""
    with monkeypatch.context() as patch:
        patch.setattr("pcont.transaction.journal.view", lambda: "cgroup:[1] mnt:[2] pid:[3]")
        CreateContainer(A, "create a").do(model, undo_log(model))
        crash(model)
    assert pending_lines(model) == []
    assert list(roll_back(model)) == []
    assert model.children(Place("name=n")) == ["a"]
    assert len(files(model)) == 1
