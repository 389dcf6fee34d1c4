"""kept: files that pcont keeps are like the kernel's, and what follows follows as a whole."""

from __future__ import annotations

import os
import subprocess
from errno import EINVAL, EIO
from typing import cast

import pytest

from pcont.backend_model import Model
from pcont.errors import PcontError
from pcont.kernel.interfaces import Backend
from pcont.kernel.refusals import WriteRefused
from pcont.kernel.types import Place, TreeRequest
from pcont.steps.creation import CreateContainer
from pcont.steps.removal import RemoveContainer
from pcont.steps.write import Setting, WriteFiles
from pcont.subsys.numtasks import INTERVAL, RATE, SHARES, STATS, TOTAL
from pcont.transaction.step import carry_out
from pcont.virtual.bindings import BINDINGS, virtual_roots
from pcont.virtual.changes import AttributeChange, EnforcedValue, FileWrite
from pcont.virtual.files import ControlFiles

ROOT, A, B, C = (Place("pids", path) for path in ("/x", "/x/a", "/x/a/b", "/x/a/c"))


class Failing(Model):
    """A model in which the write of a limit fails, counted by `countdown`."""

    countdown = 0

    def write(self, place: Place, file: str, text: str) -> None:
        if file == "pids.max":
            self.countdown -= 1
            if self.countdown == 0:
                raise WriteRefused(EIO, "injected", file)
        super().write(place, file, text)


@pytest.fixture
def model() -> Failing:
    model = Failing()
    model.make_directory("/p")
    model.mount(TreeRequest(("pids",)), "/p", "pcont")
    for place in (ROOT, A, B, C):
        model.make(place)
    model.set_attribute(Place("pids"), BINDINGS, "numtasks jobs /x\nnonsense")
    return model


@pytest.fixture
def files(model: Failing) -> ControlFiles:
    """Of 1000 tasks /x/a has 500, and in there b 250; c has said nothing, and has 9."""
    files = ControlFiles(model)
    files.store(ROOT, TOTAL, "1000")
    files.store(A, SHARES, "max_shares=50")
    files.store(B, SHARES, "max_shares=50")
    files.store(C, "pids.max", "9")
    return files


def limits(files: ControlFiles) -> list[str]:
    return [files.stored(place, "pids.max").strip() for place in (ROOT, A, B, C)]


def change(files: ControlFiles, *settings: tuple[Place, str, str]) -> None:
    carry_out(
        cast(Backend, files.backend), [WriteFiles([Setting(*one) for one in settings], "set")]
    )


def test_a_write_is_planned_as_one_change_for_each_file(files: ControlFiles) -> None:
    assert files.resolve(C, "pids.max").plan_write("8") == (FileWrite(C, "pids.max", "8"),)
    assert files.resolve(ROOT, TOTAL).plan_write("2000") == (
        AttributeChange(ROOT, TOTAL, "2000"),
        FileWrite(ROOT, "pids.max", "2000"),
        FileWrite(A, "pids.max", "1000"),
        FileWrite(B, "pids.max", "500"),
    )
    assert files.resolve(A, RATE).plan_write("5") == (EnforcedValue(A, RATE, 5),)
    assert files.resolve(B, STATS).plan_write("res=numtasks") == ()


def test_a_peek_has_the_text_of_the_kernels_files_only(model: Failing, files: ControlFiles) -> None:
    model.make(A.child("pids.sub"))
    assert files.peek(C, "pids.max") == "9\n"
    assert files.peek(ROOT, TOTAL) is None
    for place, file in ((Place("pids"), TOTAL), (A, "pids.sub"), (A, "pids.none")):
        with pytest.raises(FileNotFoundError):
            files.peek(place, file)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_all_limits_follow_or_none(model: Failing, files: ControlFiles, number: int) -> None:
    assert limits(files) == ["1000", "500", "250", "9"]
    model.countdown = number
    with pytest.raises(PcontError, match="EIO"):
        change(files, (ROOT, TOTAL, "2000"))
    assert model.countdown <= 0
    assert files.stored(ROOT, TOTAL) == "1000\n"
    assert limits(files) == ["1000", "500", "250", "9"]
    change(files, (ROOT, TOTAL, "2000"))
    assert limits(files) == ["2000", "1000", "500", "9"]


def test_what_was_never_set_is_not_set_by_undoing(model: Failing, files: ControlFiles) -> None:
    """Otherwise pcont would change its limit from then on, which a user has set by hand."""
    with pytest.raises(PcontError):
        change(files, (C, SHARES, "max_shares=10"), (C, "pids.max", "-1"))
    assert limits(files)[3] == "9"
    assert model.attributes(C) == {}
    with pytest.raises(PcontError):
        carry_out(model, [RemoveContainer(C, "remove"), CreateContainer(A, "make what is there")])
    assert limits(files)[3] == "9"
    assert model.attributes(C) == {}
    files.store(ROOT, TOTAL, "2000")
    assert limits(files) == ["2000", "1000", "500", "9"]


def test_a_total_comes_back_though_it_is_full(files: ControlFiles) -> None:
    files.store(ROOT, TOTAL, "2")
    with subprocess.Popen(["sleep", "600"]) as one:
        for pid in (os.getpid(), one.pid):
            files.attach(C, "tasks", pid)
        with pytest.raises(PcontError):
            change(files, (ROOT, TOTAL, "5000"), (C, "pids.max", "-1"))
        one.kill()
    files.attach(Place("pids"), "tasks", os.getpid())
    assert files.stored(ROOT, TOTAL) == "2\n"
    assert limits(files) == ["2", "1", "0", "9"]


@pytest.mark.usefixtures("files")
def test_another_root_below_has_its_own_numbers(model: Failing) -> None:
    both = "numtasks jobs /x\nnumtasks other /x/a"
    model.set_attribute(Place("pids"), BINDINGS, both)
    files = ControlFiles(model)
    files.store(A, TOTAL, "100")
    assert limits(files) == ["1000", "100", "50", "9"]
    files.store(ROOT, TOTAL, "4000")
    files.store(ROOT, SHARES, "child_shares_divisor=10")  # what /x/a has is not a part of this
    assert limits(files) == ["4000", "100", "50", "9"]


def test_the_files_are_there_from_the_root_on(files: ControlFiles) -> None:
    mine = dict.fromkeys((SHARES, STATS, RATE, INTERVAL), True)
    for place, names in ((ROOT, {**mine, TOTAL: True}), (A, mine), (Place("pids"), {})):
        found = {name: can for name, can in files.names(place).items() if name.startswith("num")}
        assert found == names
    for place, file in ((Place("pids"), SHARES), (A, TOTAL), (A, "numtasks.x")):
        with pytest.raises(FileNotFoundError):
            files.stored(place, file)
        with pytest.raises(FileNotFoundError):
            files.store(place, file, "1")


def test_nothing_is_above_its_root(model: Failing, files: ControlFiles) -> None:
    """The container of --at may have any share, as there is no parent that would have given it."""
    files.store(ROOT, SHARES, "max_shares=1000,min_shares=1000")
    assert virtual_roots(model, B) == {"numtasks": ROOT}
    assert virtual_roots(model, Place("pids", "/y")) == {}


def test_a_name_of_the_other_interface_reads_each_file_once() -> None:
    class Kernel(Model):
        def read(self, place: Place, file: str) -> str:
            asked.append(file)
            return super().read(place, file)

    asked: list[str] = []
    model = Kernel()
    model.make_directory("/f")
    model.mount(TreeRequest(("freezer",)), "/f", "pcont")
    model.make(Place("freezer", "/a"))
    assert ControlFiles(model).read(Place("freezer", "/a"), "cgroup.freeze") == "0\n"
    assert asked == ["freezer.self_freezing"]


def test_a_child_that_vanishes_has_no_tasks(model: Failing) -> None:
    """The kernel removes it after pcont has listed the children."""

    class Kernel(Failing):
        def children(self, place: Place) -> list[str]:
            return ["gone", *super().children(place)]

    other = Kernel()
    vars(other).update(vars(model))
    files = ControlFiles(other)
    assert not files.site(A, "pids.max").populated()
    assert files.read(A, "cgroup.events") == "populated 0\nfrozen 0\n"
    model.write(C, "tasks", str(model.simulator.spawn()))
    assert files.site(A, "pids.max").populated()
    assert files.read(A, "cgroup.events") == "populated 1\nfrozen 0\n"


@pytest.mark.parametrize("text", ["x", "max_shares=101", "min_shares=2,max_shares=1"])
def test_a_refusal_has_the_errno_and_keeps_all(files: ControlFiles, text: str) -> None:
    before = files.stored(B, SHARES)
    with pytest.raises(WriteRefused) as caught:
        files.store(B, SHARES, text)
    assert caught.value.errno == EINVAL
    assert files.stored(B, SHARES) == before


def test_what_is_written_to_a_computed_file_is_not_kept(
    model: Failing, files: ControlFiles
) -> None:
    files.store(B, STATS, "res=numtasks")
    assert set(model.attributes(B)) == {SHARES}
    with pytest.raises(WriteRefused):
        files.store(B, STATS, "0")
