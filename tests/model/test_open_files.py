"""Open files of the model: charged to the container of the open, until the last close."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from errno import EBADF, EBUSY, ENFILE, ESRCH
from pathlib import Path

import pytest

from pcont.backend_model import Model, StoredModel
from pcont.kernel.types import Place, TreeRequest
from tests.model_tasks import close_file, open_file, share_file

TREE = "name=f"
ROOT, A, B = (Place(TREE, path) for path in ("/", "/a", "/b"))


def prepared(model: Model) -> Model:
    model.make_directory("/f")
    model.mount(TreeRequest((), "f"), "/f", "pcont")
    for place in (A, B):
        model.make(place)
    model.enforcer.start("numfiles", ROOT)
    return model


@pytest.fixture
def model() -> Model:
    return prepared(Model())


def account(model: Model, place: Place) -> tuple[int, int, int]:
    found = model.enforcer.values(place, "numfiles")
    return tuple(found[f"bc.numfiles.{word}"] for word in ("held", "maxheld", "failcnt"))  # type: ignore[return-value]


@pytest.fixture
def task(model: Model) -> Iterator[int]:
    """A process in /a."""
    with subprocess.Popen(["sleep", "600"]) as process:
        model.write(A, "tasks", str(process.pid))
        yield process.pid
        process.kill()


@pytest.fixture
def other(model: Model) -> Iterator[int]:
    """One in the root."""
    with subprocess.Popen(["sleep", "600"]) as process:
        yield process.pid
        process.kill()


def refused(number: int, call: object, *words: object) -> None:
    assert callable(call)
    with pytest.raises(OSError) as caught:  # noqa: PT011
        call(*words)
    assert caught.value.errno == number


def test_files_stay_charged_when_another_subsystem_stops(model: Model, task: int) -> None:
    model.enforcer.start("numtasks", ROOT)
    open_file(model, task)
    model.enforcer.stop("numtasks", ROOT)
    assert account(model, A) == (1, 1, 0)


def test_a_file_is_charged_until_it_is_closed(model: Model, task: int) -> None:
    files = [open_file(model, task) for _ in range(3)]
    assert account(model, A) == (3, 3, 0)
    close_file(model, files[1], task)
    assert account(model, A) == (2, 3, 0)
    refused(EBADF, close_file, model, files[1], task)
    refused(EBADF, share_file, model, files[1], task)
    refused(EBADF, close_file, model, 99, task)


def test_the_barrier_is_for_users_and_the_limit_for_administrators(model: Model, task: int) -> None:
    model.enforcer.set(A, "bc.numfiles.barrier", 1)
    model.enforcer.set(A, "bc.numfiles.limit", 2)
    open_file(model, task)
    refused(ENFILE, open_file, model, task)
    open_file(model, task, True)
    refused(ENFILE, open_file, model, task, True)
    assert account(model, A) == (2, 2, 2)


def test_the_charge_stays_where_the_file_was_opened(model: Model, task: int, other: int) -> None:
    file = open_file(model, task)
    model.write(B, "tasks", str(task))
    assert (account(model, A)[0], account(model, B)[0]) == (1, 0)
    share_file(model, file, other)
    close_file(model, file, task)
    assert account(model, A)[0] == 1
    close_file(model, file, other)
    assert account(model, A)[0] == 0


def test_in_the_root_nothing_is_charged(model: Model, other: int) -> None:
    open_file(model, other)
    assert account(model, ROOT) == (0, 0, 0)


def test_what_a_task_that_has_ended_held_is_closed(model: Model, task: int, other: int) -> None:
    share_file(model, open_file(model, task), other)
    open_file(model, task)
    list(model.kill(A, [task], 9))
    assert account(model, A) == (1, 2, 0)
    refused(ESRCH, open_file, model, task)


def test_what_a_process_held_that_ended_by_itself_is_closed_when_it_is_seen(model: Model) -> None:
    """The model notices the exit when it reads the charges, or closes a file of the process."""
    files, ended = [], []
    for _ in range(2):
        with subprocess.Popen(["sleep", "600"]) as process:
            model.write(A, "tasks", str(process.pid))
            files.append(open_file(model, process.pid))
            ended.append(process.pid)
            process.kill()
    refused(EBADF, close_file, model, files[1], ended[1])
    assert account(model, A) == (0, 1, 0)


def test_what_has_stopped_twice_has_stopped_and_files_are_counted_still(
    model: Model, task: int
) -> None:
    model.enforcer.start("numtasks", ROOT)
    open_file(model, task)
    for _ in range(2):
        model.enforcer.stop("numtasks", ROOT)
        assert account(model, A) == (1, 1, 0)


def test_one_program_stops_and_the_other_goes_on(model: Model) -> None:
    model.enforcer.start("numtasks", ROOT)
    model.enforcer.stop("numfiles", ROOT)
    assert list(model.enforcer.trees()) == ["numtasks"]
    assert model.enforcer.is_bound("numtasks", ROOT)


def test_files_are_counted_whichever_program_was_loaded_first(model: Model, task: int) -> None:
    model.enforcer.stop("numfiles", ROOT)
    model.enforcer.start("numtasks", ROOT)
    open_file(model, task)
    assert account(model, A) == (0, 0, 0)
    model.enforcer.start("numfiles", ROOT)
    open_file(model, task)
    assert account(model, A) == (1, 1, 0)


def test_open_files_keep_a_container_unless_it_is_forced(model: Model, task: int) -> None:
    file = open_file(model, task)
    model.write(B, "tasks", str(task))
    refused(EBUSY, model.remove, A)
    model.remove(A, True)
    model.make(A)
    close_file(model, file, task)
    assert account(model, A) == (0, 0, 0)


def test_nothing_is_charged_where_nothing_counts(model: Model, task: int) -> None:
    file = open_file(model, task)
    model.enforcer.stop("numfiles", ROOT)
    assert account(model, A) == (0, 0, 0)
    close_file(model, file, task)
    open_file(model, task)
    assert account(model, A) == (0, 0, 0)


def test_a_file_from_before_a_stop_is_never_charged_again(tmp_path: Path) -> None:
    file = str(tmp_path / "model.json")
    stored = StoredModel(file)
    with stored.exclusive():
        prepared(stored)
        task = stored.simulated().spawn()
        stored.write(A, "tasks", str(task))
        opened = stored.simulated().open_one(task)
        stored.enforcer.stop("numfiles", ROOT)
        stored.enforcer.start("numfiles", ROOT)
    again = StoredModel(file)
    with again.exclusive():
        again.simulated().close_one(task, opened)
        assert account(again, A) == (0, 0, 0)


def test_it_counts_in_one_tree(model: Model) -> None:
    model.make_directory("/g")
    model.mount(TreeRequest((), "g"), "/g", "pcont")
    refused(EBUSY, model.enforcer.start, "numfiles", Place("name=g"))
    assert model.enforcer.trees() == {"numfiles": TREE}
    for place in (A, B):
        model.remove(place)
    model.umount("/f")
    model.enforcer.start("numfiles", Place("name=g"))


def test_the_state_keeps_open_files(tmp_path: Path, task: int, other: int) -> None:
    state = str(tmp_path / "model.json")
    stored = StoredModel(state)
    with stored.exclusive():
        prepared(stored).write(A, "tasks", str(task))
        file = open_file(stored, task)
        share_file(stored, file, other)
        stored.enforcer.set(A, "bc.numfiles.limit", 7)
    stored = StoredModel(state)
    assert account(stored, A) == (1, 1, 0)
    assert stored.enforcer.values(A, "numfiles")["bc.numfiles.limit"] == 7
    with stored.exclusive():
        assert open_file(stored, task) == file + 1
        close_file(stored, file, task)
        close_file(stored, file, other)
    assert account(StoredModel(state), A) == (1, 2, 0)


def test_numfiles_is_bound_where_it_was_started(model: Model) -> None:
    assert model.enforcer.is_bound("numfiles", ROOT)
    assert not model.enforcer.is_bound("numtasks", ROOT)
    model.enforcer.stop("numfiles", ROOT)
    assert not model.enforcer.is_bound("numfiles", ROOT)
