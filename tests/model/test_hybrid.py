"""The dialect hybrid of the model, as Linux 6.1 was seen to answer with v1 beside v2."""

from __future__ import annotations

from collections.abc import Callable
from errno import EAGAIN, EBUSY
from pathlib import Path

import pytest

from pcont.backend_model import SMALL, Model, StoredModel
from pcont.kernel.types import UNIFIED, Place, TreeRequest
from pcont.model.dialects import DIALECTS

ROOT, POINT = Place(UNIFIED), "/sys/fs/cgroup/one"
ALL = "cpuset cpu io memory hugetlb pids rdma misc\n"
CONTROL, OFFERED = "cgroup.subtree_control", "cgroup.controllers"


@pytest.fixture
def model() -> Model:
    model = Model(SMALL, dialect=DIALECTS["hybrid"])
    model.make_directory(POINT)
    return model


def mount(model: Model, *names: str) -> None:
    model.mount(TreeRequest(names), POINT, "x")


def refused(act: Callable[[], object]) -> int | None:
    """The errno of what the model refuses; None if it does not."""
    try:
        act()
    except OSError as err:
        return err.errno
    return None


def test_the_lists_follow_what_v1_has(model: Model) -> None:
    model.write(ROOT, CONTROL, "+pids +cpuset")
    mount(model, "pids")
    assert model.read(ROOT, OFFERED) == ALL.replace("pids ", "")
    assert model.read(ROOT, CONTROL) == "cpuset\n"
    listing = model.simulator.proc_file("cgroups").splitlines()
    assert {"pids\t1\t1\t1", "cpuset\t0\t1\t1"} <= {*listing}
    assert model.simulator.proc_file("1/cgroup") == "1:pids:/\n0::/\n"
    model.umount(POINT)
    assert model.read(ROOT, OFFERED) == ALL
    assert model.read(ROOT, CONTROL) == "cpuset\n"
    assert model.simulator.proc_file("1/cgroup") == "0::/\n"


def test_several_controllers_are_taken_together_or_not_at_all(model: Model) -> None:
    model.make(ROOT.child("a"))
    model.write(ROOT, CONTROL, "+cpuset")
    assert refused(lambda: mount(model, "cpuset", "pids")) == EBUSY
    assert model.read(ROOT, OFFERED) == ALL
    model.write(ROOT, CONTROL, "-cpuset")
    mount(model, "cpuset", "pids")
    assert model.read(ROOT, OFFERED) == "cpu io memory hugetlb rdma misc\n"
    assert OFFERED in model.files(ROOT.child("a"))
    assert "cpuset.cpus" not in model.files(ROOT.child("a"))


def test_proc_shows_the_nearest_container_with_cpuset(model: Model) -> None:
    task = model.simulator.spawn()
    for path in ("/a", "/a/b"):
        model.make(Place(UNIFIED, path))
    model.write(ROOT, CONTROL, "+cpuset")
    assert list(model.enter(Place(UNIFIED, "/a/b"), [task])) == [task]
    assert model.simulator.proc_file(f"{task}/cpuset") == "/a\n"
    model.write(ROOT, CONTROL, "-cpuset")
    mount(model, "cpuset")
    assert model.simulator.proc_file(f"{task}/cpuset") == "/\n"
    assert model.simulator.proc_file(f"{task}/cgroup") == "1:cpuset:/\n0::/a/b\n"


@pytest.mark.parametrize("kind", ["v1", "v2"])
def test_the_limit_of_tasks_holds_in_the_kind_that_has_it(model: Model, kind: str) -> None:
    if kind == "v1":
        mount(model, "pids")
        place = Place("pids", "/a")
    else:
        model.write(ROOT, CONTROL, "+pids")
        place = Place(UNIFIED, "/a")
    model.make(place)
    model.write(place, "pids.max", "1")
    task = model.simulator.spawn()
    assert list(model.enter(place, [task])) == [task]
    assert refused(lambda: model.simulator.fork(task)) == EAGAIN
    assert model.read(place, "pids.events") == "max 1\n"


def test_the_state_has_what_v1_has_taken(tmp_path: Path) -> None:
    def stored() -> StoredModel:
        return StoredModel(str(tmp_path / "state"), "hybrid")

    first = stored()
    with first.exclusive():
        first.write(ROOT, CONTROL, "+pids")
        first.make_directory(POINT)
        mount(first, "cpuset")
        first.make(ROOT.child("a"))
        first.write(ROOT.child("a"), "pids.max", "7")
    second = stored()
    assert second.read(ROOT, OFFERED) == ALL.replace("cpuset ", "")
    assert second.read(ROOT.child("a"), "pids.max") == "7\n"
    with second.exclusive():
        second.umount(POINT)
    assert stored().read(ROOT, OFFERED) == ALL


def test_the_cpus_of_a_task_are_those_of_the_kind_that_has_cpuset(model: Model) -> None:
    task, a, b = model.simulator.spawn(), Place(UNIFIED, "/a"), Place("cpuset", "/b")
    model.make(a)
    model.write(ROOT, CONTROL, "+cpuset")
    model.write(a, "cpuset.cpus", "2")
    assert list(model.enter(a, [task])) == [task]
    assert model.affinity(task) == {2}
    model.write(ROOT, CONTROL, "-cpuset")
    assert model.affinity(task) == {0, 1, 2, 3}
    mount(model, "cpuset")
    model.make(b)
    model.write(b, "cpuset.cpus", "1")
    model.write(b, "cpuset.mems", "0")
    assert list(model.enter(b, [task])) == [task]
    assert list(model.enter(ROOT, [task])) == [task]
    assert model.affinity(task) == {1}, "a move in cgroup v2 does not change them"
    model.set_affinity(task, frozenset({1, 2}))
    assert model.affinity(task) == {1}


def test_what_v1_returns_acts_as_before(model: Model) -> None:
    """Also if a container was removed in the meantime: the tree looks at its controllers again."""
    mount(model, "cpuset")
    model.make(ROOT.child("a"))
    model.remove(ROOT.child("a"))
    model.umount(POINT)
    task, online = model.simulator.spawn(), model.machine().cpus
    model.write(ROOT, CONTROL, "+cpuset")
    model.make(ROOT.child("a"))
    model.write(ROOT.child("a"), "cpuset.cpus", "1")
    model.write(ROOT.child("a"), "cpuset.cpus.partition", "root")
    assert model.affinity(task) == online - {1}
    model.remove(ROOT.child("a"))
    assert model.affinity(task) == online
