"""subsys/freezer: which containers are frozen, by themselves or by a parent, on the model."""

from __future__ import annotations

import signal
from errno import EINVAL, ENOENT

import pytest

from pcont import subsys
from pcont.backend_model import Model
from pcont.kernel.refusals import WriteRefused
from pcont.kernel.types import Place, TreeRequest
from pcont.subsys.v1.freezer import TABLE

ROOT, A, B, C = (Place("freezer", path) for path in ("/", "/a", "/a/b", "/a/b/c"))
FILES = ("freezer.state", "freezer.self_freezing", "freezer.parent_freezing")


@pytest.fixture
def model() -> Model:
    """Three containers, each in the one before."""
    model = Model()
    model.make_directory("/cg")
    model.mount(TreeRequest(("freezer",)), "/cg", "pcont")
    for place in (A, B, C):
        model.make(place)
    return model


def tell(model: Model, place: Place, text: str) -> None:
    model.write(place, "freezer.state", text)


def seen(model: Model, *places: Place) -> list[str]:
    """State, self_freezing and parent_freezing of each, in short."""
    texts = [[model.read(place, file).strip() for file in FILES] for place in places]
    return [f"{state} {own}{above}" for state, own, above in texts]


def test_what_is_below_a_frozen_one_is_frozen_by_it(model: Model) -> None:
    assert seen(model, A, B, C) == ["THAWED 00"] * 3
    tell(model, B, "FROZEN")
    assert seen(model, A, B, C) == ["THAWED 00", "FROZEN 10", "FROZEN 01"]
    tell(model, A, "FROZEN")
    assert seen(model, A, B, C) == ["FROZEN 10", "FROZEN 11", "FROZEN 01"]
    tell(model, A, "THAWED")
    assert seen(model, A, B, C) == ["THAWED 00", "FROZEN 10", "FROZEN 01"]


def test_thawing_below_a_frozen_one_takes_only_its_own_wish_away(model: Model) -> None:
    tell(model, A, "FROZEN")
    tell(model, B, "FROZEN")
    tell(model, B, "THAWED")
    assert seen(model, B) == ["FROZEN 01"]
    tell(model, A, "THAWED")
    assert seen(model, B) == ["THAWED 00"]


def test_a_new_child_of_a_frozen_one_begins_frozen(model: Model) -> None:
    tell(model, A, "FROZEN")
    model.make(A.child("new"))
    assert seen(model, A.child("new")) == ["FROZEN 01"]


@pytest.mark.parametrize("text", ["FROZEN", "FROZEN\n", " FROZEN ", "\tFROZEN\v\n\n"])
def test_blanks_around_the_word_do_not_count(model: Model, text: str) -> None:
    tell(model, A, text)
    assert seen(model, A) == ["FROZEN 10"]


@pytest.mark.parametrize("text", ["FREEZING", "frozen", "FROZENX", "FROZEN x", "1", "\n"])
@pytest.mark.parametrize("before", ["FROZEN", "THAWED"])
def test_other_words_are_refused(model: Model, text: str, before: str) -> None:
    tell(model, A, before)
    with pytest.raises(WriteRefused) as caught:
        tell(model, A, text)
    assert caught.value.errno == EINVAL
    assert model.read(A, "freezer.state") == f"{before}\n"


@pytest.mark.parametrize("file", FILES[1:])
def test_the_flags_can_only_be_read(model: Model, file: str) -> None:
    assert not model.files(A)[file]
    with pytest.raises(WriteRefused) as caught:
        model.write(A, file, "1")
    assert caught.value.errno == EINVAL


@pytest.mark.parametrize("file", FILES)
def test_the_root_has_none_of_the_files(model: Model, file: str) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        model.read(ROOT, file)
    assert caught.value.errno == ENOENT


def test_a_killed_task_ends_when_it_is_thawed(model: Model, sleeper: int) -> None:
    tell(model, A, "FROZEN")
    model.write(C, "tasks", str(sleeper))
    list(model.kill(C, [sleeper], signal.SIGKILL))
    assert model.read(C, "tasks") == f"{sleeper}\n"
    assert model.membership(sleeper) == {"freezer": "/a/b/c"}
    tell(model, A, "THAWED")
    assert model.read(C, "tasks") == ""
    with pytest.raises(ProcessLookupError):
        model.membership(sleeper)


def test_a_killed_task_in_another_frozen_container_does_not_hinder(
    model: Model, sleeper: int
) -> None:
    """Only tasks inside of a frozen container are frozen."""
    tell(model, B, "FROZEN")
    model.write(A, "tasks", str(sleeper))
    list(model.kill(A, [sleeper], signal.SIGKILL))
    assert model.read(A, "tasks") == ""


def test_any_task_may_enter_and_nothing_is_copied_to_children() -> None:
    assert not TABLE.entry
    assert not any(row.creation.inherit or row.creation.passed_on for row in TABLE.files)


def test_the_files_are_those_of_the_kernel() -> None:
    """As Linux 6.1 and 6.18 have them."""
    assert tuple(row.name for row in TABLE.files) == FILES


def test_what_is_recorded_is_the_containers_own_state() -> None:
    """Below a frozen one freezer.state is FROZEN, whatever was written."""
    assert [file for file in FILES if subsys.is_setting(file, file == "freezer.state")] == [
        FILES[1]
    ]


def test_limits_are_written_before_the_tasks_go_on() -> None:
    others = ("cpuset.cpus", "pids.max", "memory.limit_in_bytes")
    assert all(subsys.order(file) < subsys.order("freezer.state") for file in others)
