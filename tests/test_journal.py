"""journal and memory: what is kept before an act is there after a crash, and only then."""

from __future__ import annotations

import os
from errno import EIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcont.backend import Mount, Place, TreeRequest
from pcont.backend_model import Model
from pcont.errors import Unsupported
from pcont.journal import Journal, abandoned, decode, encode
from pcont.records import Recovered
from pcont.session import Session
from pcont.steps.attach import Entered, Origin
from pcont.steps.containers import Absent, Attribute, Make
from pcont.steps.memory import Memory
from pcont.steps.recovery import KINDS, pending, recover
from pcont.steps.settings import Affinities, Setting, Written

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
def test_whatever_a_fact_holds_comes_back(value: object) -> None:
    assert decode(encode(value), KINDS) == value


def test_what_is_no_fact_is_not_read() -> None:
    with pytest.raises(KeyError):
        decode({"is": "Popen", "args": "true"}, KINDS)


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


def memory(model: Crashing, command: str = "create it") -> Memory:
    return Memory(Journal(model.directory, command))


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
    kept = memory(model)
    assert files(model) == []
    Make(A, "create a").do(model, kept)
    assert len(files(model)) == 1
    kept.settle()
    assert files(model) == []


def refuse(name: str) -> None:
    raise OSError(EIO, os.strerror(EIO), name)


def test_a_journal_that_stays_though_all_is_done_undoes_nothing(
    model: Crashing, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = memory(model)
    Make(A, "create a").do(model, kept)
    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", refuse)
        kept.settle()
    assert len(files(model)) == 1
    assert list(recover(model)) == []
    assert model.children(Place("name=n")) == ["a"]
    assert files(model) == []


def test_what_is_staged_is_undone_where_it_cannot_be_settled(
    model: Crashing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what comes in the block, also where nothing came before it."""
    session = Session(model)
    monkeypatch.setattr(Journal, "close", lambda journal: refuse("the journal"))
    with pytest.raises(OSError, match="the journal"), session.turn(), session.staged([]):
        session.carry_out([Make(A, "create a")])
    assert model.children(Place("name=n")) == []


def test_the_journal_of_a_living_command_is_its_own(model: Crashing) -> None:
    kept = memory(model)
    Make(A, "create a").do(model, kept)
    assert list(recover(model)) == []
    assert model.children(Place("name=n")) == ["a"]
    kept.settle()


def test_a_crash_is_undone_the_last_command_first(model: Crashing) -> None:
    for place in (A, B):
        Make(place, "create").do(model, memory(model, f"create {place.path}"))
    crash(model)
    assert pending(model) == ["# undo: create /b", "# undo: create /a"]
    assert list(recover(model)) == [
        Recovered("create /b", "undone"),
        Recovered("create /a", "undone"),
    ]
    assert model.children(Place("name=n")) == []
    assert files(model) == []


def test_what_was_refused_or_forgotten_is_not_undone(model: Crashing) -> None:
    model.make(A)
    kept = memory(model)
    with pytest.raises(FileExistsError):
        Make(A, "create a").do(model, kept)
    fact = Attribute(A, "note", None)
    kept.keep(fact)
    model.set_attribute(A, "note", "1")
    kept.forget(fact)
    crash(model)
    assert list(recover(model)) == []
    assert model.attributes(A) == {"note": "1"}
    assert files(model) == []


def test_what_was_learnt_later_counts(model: Crashing) -> None:
    kept = memory(model)
    fact = Entered([A], os.getpid(), {A: set()})
    kept.keep(fact)
    origin = Origin({"name=n": "/b"}, frozenset({0}), model.task(os.getpid()).start)
    kept.learn(fact, origins={os.getpid(): origin})
    for place in (A, B):
        model.make(place)
    model.write(A, "tasks", str(os.getpid()))
    crash(model)
    assert list(recover(model)) == [Recovered("create it", "undone")]
    assert model.membership(os.getpid()) == {"name=n": "/b"}
    with pytest.raises(TypeError, match="is known as a whole"):
        Affinities({}).learn(cpus={})


def test_a_command_whose_last_act_had_begun_is_finished(model: Crashing) -> None:
    for place in (A, B):
        model.make(place)
    kept = memory(model)
    kept.keep(Attribute(A, "note", "not to be put back"))
    kept.end_with(Absent(B))
    crash(model)
    assert list(recover(model)) == [Recovered("create it", "finished")]
    assert model.children(Place("name=n")) == ["a"]
    assert model.attributes(A) == {}


def test_a_last_act_that_cannot_be_finished_is_undone_with_the_rest(model: Crashing) -> None:
    model.make(A)
    kept = memory(model)
    kept.keep(Absent(A))
    kept.end_with(Written([Setting(B, "notify_on_release", "1")]))
    crash(model)
    assert list(recover(model)) == [Recovered("create it", "undone")]
    assert model.children(Place("name=n")) == []


def test_a_crash_amid_undoing_does_not_finish(model: Crashing) -> None:
    """The end was in sight, and was given up before anything was taken back."""
    model.make(A)
    kept = memory(model)
    kept.keep(Absent(B))
    kept.end_with(Absent(A))
    kept.give_up()
    crash(model)
    assert list(recover(model)) == [Recovered("create it", "undone")]
    assert model.children(Place("name=n")) == ["a"]


def test_an_entry_that_was_being_written_tells_of_nothing(model: Crashing) -> None:
    Make(A, "create a").do(model, memory(model))
    (name,) = files(model)
    crash(model)
    path = Path(model.directory, name)
    path.write_text(path.read_text() + '{"fact": {"is": "Abs')
    assert list(recover(model)) == [Recovered("create it", "undone")]


def test_what_cannot_be_put_back_is_said_once(model: Crashing) -> None:
    model.make(A)
    kept = memory(model)
    kept.keep(Absent(A))
    model.write(A, "tasks", str(os.getpid()))
    crash(model)
    (found,) = recover(model)
    assert len(found.left) == 1
    assert "EBUSY" in found.left[0]
    assert list(recover(model)) == []


def test_a_journal_of_another_version_is_refused_and_stays(model: Crashing) -> None:
    Make(A, "create a").do(model, memory(model))
    (name,) = files(model)
    crash(model)
    path = Path(model.directory, name)
    path.write_text(path.read_text().replace('"version": 1', '"version": 99'))
    with pytest.raises(Unsupported, match="version 99"):
        list(recover(model))
    assert files(model) == [name]


def test_without_a_directory_there_is_nothing_to_recover(model: Crashing) -> None:
    assert list(abandoned("")) == []
    assert list(abandoned("/no/such/place")) == []


def test_what_was_done_in_other_namespaces_is_left_to_those(
    model: Crashing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There the same paths and pids are others."""
    with monkeypatch.context() as patch:
        patch.setattr("pcont.journal.view", lambda: "cgroup:[1] mnt:[2] pid:[3]")
        Make(A, "create a").do(model, memory(model))
        crash(model)
    assert pending(model) == []
    assert list(recover(model)) == []
    assert model.children(Place("name=n")) == ["a"]
    assert len(files(model)) == 1
