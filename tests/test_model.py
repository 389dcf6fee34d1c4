"""backend_model: cgroup v1 as the kernel answers, errno for errno, with live processes in it."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from pcont.backend import Place, TreeRequest, WriteRefused
from pcont.backend_model import Model
from pcont.dialects import like
from pcont.proc import Proc

BOTH = "cpuset,cpuacct"
ROOT, A, B = Place(BOTH), Place(BOTH, "/a"), Place(BOTH, "/a/b")
NOBODY = 1 << 22  # the highest pid that a kernel can be told to give is one below


def mount(model: Model, point: str, *controllers: str, name: str = "") -> None:
    model.make_directory(point)
    model.mount(TreeRequest(controllers, name), point, "pcont")


@pytest.fixture
def model() -> Model:
    """One hierarchy with both subsystems, and a container that can be entered."""
    model = Model()
    mount(model, "/cg", "cpuset", "cpuacct")
    model.make(A)
    model.write(A, "cpuset.cpus", "0-1")
    model.write(A, "cpuset.mems", "0")
    return model


def refused(number: int, call: Callable[[], object]) -> OSError:
    """What a call that must fail with this errno raises."""
    with pytest.raises(OSError, match=r"\S") as caught:
        call()
    assert caught.value.errno == number, errno.errorcode.get(caught.value.errno or 0)
    assert caught.value.filename
    return caught.value


def refused_text(number: int, model: Model, place: Place, file: str, text: str) -> None:
    """A write that must fail with this errno, as the kernel's opinion of the text."""
    assert isinstance(refused(number, lambda: model.write(place, file, text)), WriteRefused)


# Mounting (cgroup1_root_to_use() and what stands before it)


def points(model: Model) -> dict[str, list[str]]:
    return {tree.id: [mount.point for mount in tree.mounts] for tree in model.trees()}


def test_a_fresh_model_has_nothing_bound() -> None:
    model = Model()
    assert model.trees() == ()
    assert [(one.name, one.number) for one in model.controllers()] == [
        ("cpuset", 0),
        ("cpuacct", 0),
        ("freezer", 0),
        ("pids", 0),
    ]


def test_the_same_set_again_is_the_same_hierarchy() -> None:
    model = Model()
    mount(model, "/one", "cpuset", "cpuacct")
    mount(model, "/two", "cpuacct", "cpuset")
    assert points(model) == {BOTH: ["/one", "/two"]}
    assert [one.number for one in model.controllers()] == [1, 1, 0, 0]


@pytest.mark.parametrize("controllers", [("cpuset",), ("cpuset", "cpuacct")])
def test_an_overlap_with_another_set_is_busy(controllers: tuple[str, ...]) -> None:
    model = Model()
    mount(model, "/one", *{"cpuset": ["cpuset", "cpuacct"]}.get(",".join(controllers), ["cpuset"]))
    refused(errno.EBUSY, lambda: mount(model, "/two", *controllers))
    assert len(model.trees()) == 1


def test_disjoint_sets_are_hierarchies_of_their_own() -> None:
    model = Model()
    mount(model, "/one", "cpuset")
    mount(model, "/two", "cpuacct")
    assert points(model) == {"cpuset": ["/one"], "cpuacct": ["/two"]}


def test_the_kernel_wants_a_name_where_there_are_no_controllers() -> None:
    refused(errno.EINVAL, lambda: mount(Model(), "/one"))


def test_no_controllers_without_a_name_mean_no_hierarchy_that_has_one() -> None:
    """check_cgroupfs_options(): all empty hierarchies must have a name."""
    model = Model()
    mount(model, "/one", name="x")
    refused(errno.EINVAL, lambda: mount(model, "/two"))
    assert points(model) == {"name=x": ["/one"]}


def test_an_unknown_controller_is_invalid() -> None:
    refused(errno.EINVAL, lambda: mount(Model(), "/one", "cpuset", "memory"))


def test_names_tell_hierarchies_without_controllers_apart() -> None:
    model = Model()
    mount(model, "/one", name="x")
    mount(model, "/two", name="y")
    mount(model, "/three", name="x")
    assert points(model) == {"name=x": ["/one", "/three"], "name=y": ["/two"]}


def test_a_name_with_other_controllers_is_busy() -> None:
    model = Model()
    mount(model, "/one", "cpuset", name="x")
    refused(errno.EBUSY, lambda: mount(model, "/two", "cpuacct", name="x"))
    refused(errno.EBUSY, lambda: mount(model, "/two", name="x"))


def test_bound_controllers_under_a_new_name_are_busy() -> None:
    model = Model()
    mount(model, "/one", "cpuset")
    refused(errno.EBUSY, lambda: mount(model, "/two", "cpuset", name="x"))
    mount(model, "/three", "cpuacct", name="y")
    mount(model, "/four", "cpuacct")
    assert points(model)["cpuacct,name=y"] == ["/three", "/four"]


def test_a_mount_point_must_be_there() -> None:
    model = Model()
    refused(errno.ENOENT, lambda: model.mount(TreeRequest(("cpuset",)), "/no/such", "pcont"))
    model.mount(TreeRequest(("cpuset",)), "/", "pcont")


def test_what_is_asked_for_is_looked_at_before_where(tmp_path: Path) -> None:
    """Tried on Linux 6.18: only what could be mounted is refused for the sake of the place."""
    model, file = Model(), tmp_path / "file"
    file.touch()
    mount(model, "/one", "cpuset")
    for request, number in (
        (TreeRequest(), errno.EINVAL),
        (TreeRequest(("cpuset", "pids")), errno.EBUSY),
        (TreeRequest(("pids",)), errno.ENOTDIR),
    ):
        refused(number, partial(model.mount, request, str(file), ""))
    refused(errno.ENOENT, lambda: model.mount(TreeRequest(), "/no/such", ""))


def test_options_are_for_a_new_hierarchy_only() -> None:
    model, root = Model(), Place("name=x")
    model.make_directory("/m")
    model.mount(TreeRequest((), "x", ("clone_children", "release_agent=/a", "xattr")), "/m", "")
    model.mount(TreeRequest((), "x", ("release_agent=/b",)), "/m", "")
    assert model.read(root, "release_agent") == "/a\n"
    assert model.read(root, "cgroup.clone_children") == "1\n"


def test_what_a_subsystem_has_in_its_root_outlives_the_hierarchy() -> None:
    """Tried on Linux 6.1: the root of a subsystem is there for good, and what is core is not."""
    model = Model()
    mount(model, "/one", "cpuset", "pids")
    for file, text in (("cpuset.cpu_exclusive", "0"), ("notify_on_release", "1")):
        model.write(Place("cpuset,pids"), file, text)
    model.umount("/one")
    mount(model, "/two", "cpuset")
    assert model.read(Place("cpuset"), "cpuset.cpu_exclusive") == "0\n"
    assert model.read(Place("cpuset"), "notify_on_release") == "0\n"


def test_who_has_a_file_open_keeps_it_mounted(model: Model, sleeper: int) -> None:
    entering = model.enter(A, [sleeper, sleeper])
    next(entering)
    refused(errno.EBUSY, lambda: model.umount("/cg"))
    list(entering)
    model.umount("/cg")


def test_a_hierarchy_without_children_goes_with_its_last_mount() -> None:
    model = Model()
    mount(model, "/one", "cpuset")
    mount(model, "/two", "cpuset")
    model.umount("/one")
    assert points(model) == {"cpuset": ["/two"]}
    model.umount("/two")
    assert points(model) == {}
    assert not any(one.number for one in model.controllers())


def test_a_hierarchy_with_children_stays_and_comes_back_as_it_was(model: Model) -> None:
    model.umount("/cg")
    assert points(model) == {BOTH: []}
    refused(errno.ENOENT, lambda: model.read(A, "cpuset.cpus"))
    refused(errno.EBUSY, lambda: mount(model, "/new", "cpuset"))
    mount(model, "/new", "cpuset", "cpuacct")
    assert model.read(A, "cpuset.cpus") == "0-1\n"
    assert model.show(A) == "/new/a"


def test_what_is_not_mounted_cannot_be_unmounted(model: Model) -> None:
    refused(errno.EINVAL, lambda: model.umount("/elsewhere"))
    model.umount("/cg")
    refused(errno.EINVAL, lambda: model.umount("/cg"))


def test_of_two_mounts_at_one_point_the_upper_goes_first() -> None:
    model = Model()
    mount(model, "/m", name="x")
    mount(model, "/m", name="x")
    model.umount("/m")
    assert points(model) == {"name=x": ["/m"]}


def test_a_hierarchy_that_came_anew_is_empty_and_has_another_number(model: Model) -> None:
    number = model.trees()[0].number
    model.remove(A)
    model.umount("/cg")
    mount(model, "/cg", "cpuset", "cpuacct")
    assert model.children(ROOT) == []
    assert model.trees()[0].number != number


def test_missing_directories_are_named_outermost_first(model: Model) -> None:
    assert model.missing("/cg/x/y") == ["/cg/x", "/cg/x/y"]
    assert model.missing("/cg") == model.missing("/") == []


# Containers


def test_mkdir_has_the_kernels_errnos(model: Model) -> None:
    refused(errno.EEXIST, lambda: model.make(A))
    refused(errno.EEXIST, lambda: model.make(ROOT))
    refused(errno.EEXIST, lambda: model.make(Place(BOTH, "/tasks")))
    refused(errno.EEXIST, lambda: model.make(Place(BOTH, "/a/cpuset.cpus")))
    refused(errno.ENOENT, lambda: model.make(Place(BOTH, "/x/y")))
    refused(errno.ENOENT, lambda: model.make(Place("memory", "/x")))
    refused(errno.ENAMETOOLONG, lambda: model.make(Place(BOTH, "/" + "x" * 5000)))
    assert model.children(ROOT) == ["a"]


def test_below_a_control_file_there_is_no_directory(model: Model) -> None:
    """Tried on Linux 6.18: ENOTDIR."""
    refused(errno.ENOTDIR, lambda: model.make(Place(BOTH, "/tasks/x")))


def test_rmdir_has_the_kernels_errnos(model: Model, sleeper: int) -> None:
    model.make(B)
    refused(errno.EBUSY, lambda: model.remove(A))
    refused(errno.EBUSY, lambda: model.remove(ROOT))
    refused(errno.ENOENT, lambda: model.remove(Place(BOTH, "/x")))
    model.remove(B)
    model.write(A, "tasks", str(sleeper))
    refused(errno.EBUSY, lambda: model.remove(A))
    model.write(ROOT, "tasks", str(sleeper))
    model.remove(A)
    refused(errno.ENOENT, lambda: model.remove(A))


def test_a_container_is_renamed_with_all_that_is_in_it(model: Model, sleeper: int) -> None:
    model.make(B)
    model.write(A, "tasks", str(sleeper))
    model.rename(A, "é")
    assert model.children(ROOT) == ["é"]
    assert model.membership(sleeper) == {BOTH: "/é"}
    assert model.read(Place(BOTH, "/é"), "cpuset.cpus") == "0-1\n"
    assert model.children(Place(BOTH, "/é")) == ["b"]
    model.rename(Place(BOTH, "/é"), "é")


def test_rename_has_the_kernels_errnos(model: Model) -> None:
    """Tried on Linux 6.18 and 6.1."""
    model.make(Place(BOTH, "/c"))
    refused(errno.EEXIST, lambda: model.rename(A, "c"))
    refused(errno.ENOTDIR, lambda: model.rename(A, "tasks"))
    refused(errno.EISDIR, lambda: model.rename(Place(BOTH, "/tasks"), "a"))
    refused(errno.ENOTDIR, lambda: model.rename(Place(BOTH, "/tasks"), "t"))
    refused(errno.ENOENT, lambda: model.rename(Place(BOTH, "/x"), "y"))
    refused(errno.EBUSY, lambda: model.rename(ROOT, "y"))
    refused(errno.ENAMETOOLONG, lambda: model.rename(A, "n" * 5000))
    model.rename(Place(BOTH, "/tasks"), "tasks")
    assert model.children(ROOT) == ["a", "c"]


def test_children_are_sorted(model: Model) -> None:
    for name in ("z", "m", "b"):
        model.make(A.child(name))
    assert model.children(A) == ["b", "m", "z"]


def test_files_of_the_root_are_the_roots_only(model: Model) -> None:
    root, child = set(model.files(ROOT)), set(model.files(A))
    assert root - child == {
        "cgroup.sane_behavior",
        "release_agent",
        "cpuset.memory_pressure_enabled",
    }
    assert child <= root
    refused(errno.ENOENT, lambda: model.read(A, "release_agent"))
    refused(errno.ENOENT, lambda: model.write(A, "release_agent", "x"))


def test_a_hierarchy_has_the_files_of_its_subsystems_only() -> None:
    model = Model()
    mount(model, "/n", name="n")
    assert all(not file.startswith("cpu") for file in model.files(Place("name=n")))
    refused(errno.ENOENT, lambda: model.read(Place("name=n"), "cpuset.cpus"))


def test_reading_and_writing_have_the_kernels_errnos(model: Model) -> None:
    refused(errno.ENOENT, lambda: model.read(A, "nope"))
    refused(errno.ENOENT, lambda: model.read(Place(BOTH, "/x"), "tasks"))
    refused_text(errno.EINVAL, model, A, "cpuset.effective_cpus", "0")
    refused_text(errno.EINVAL, model, A, "cpuacct.stat", "0")
    refused_text(errno.EINVAL, model, A, "cpuset.cpus", "x")
    refused_text(errno.ERANGE, model, A, "cpuset.cpus", "70000")


def test_the_lists_of_the_root_are_fixed_whatever_is_written(model: Model) -> None:
    """Tried on Linux 6.18: EACCES for junk, too."""
    refused_text(errno.EACCES, model, ROOT, "cpuset.cpus", "0")
    refused_text(errno.EACCES, model, ROOT, "cpuset.mems", "x")


def test_zero_bytes_do_nothing_and_a_newline_empties(model: Model) -> None:
    model.write(A, "cpuset.cpus", "")
    assert model.read(A, "cpuset.cpus") == "0-1\n"
    model.write(A, "cpuset.cpus", "\n")
    assert model.read(A, "cpuset.cpus") == "\n"


def test_a_refused_write_changes_nothing(model: Model) -> None:
    refused_text(errno.EINVAL, model, A, "cpuset.cpus", "0,99x")
    assert model.read(A, "cpuset.cpus") == "0-1\n"


def test_a_name_that_a_container_has_is_no_file(model: Model) -> None:
    model.make(A.child("freezer.state"))
    refused(errno.EISDIR, lambda: model.read(A, "freezer.state"))
    refused(errno.EISDIR, lambda: model.write(A, "freezer.state", "x"))


def test_a_text_ends_at_its_first_nul(model: Model) -> None:
    model.write(A, "cpuset.cpus", "0\0junk")
    assert model.read(A, "cpuset.cpus") == "0\n"
    refused_text(errno.EINVAL, model, A, "notify_on_release", "\0001")


def test_a_release_agent_has_no_blanks_around_it(model: Model) -> None:
    model.write(ROOT, "release_agent", " /bin/true \n")
    assert model.read(ROOT, "release_agent") == "/bin/true\n"


# What a new child has


def test_a_new_child_has_empty_lists_and_its_parents_flags(model: Model) -> None:
    for file in ("notify_on_release", "cpuset.memory_spread_page", "cpuset.memory_migrate"):
        model.write(A, file, "1")
    model.make(B)
    assert model.read(B, "cpuset.cpus") == model.read(B, "cpuset.mems") == "\n"
    assert model.read(B, "notify_on_release") == "1\n"
    assert model.read(B, "cpuset.memory_spread_page") == "1\n"
    assert model.read(B, "cpuset.memory_migrate") == "0\n"
    assert model.read(B, "cpuset.sched_load_balance") == "1\n"


def test_clone_children_copies_the_lists_to_all_below(model: Model) -> None:
    model.write(A, "cgroup.clone_children", "1")
    model.make(B)
    model.make(B.child("c"))
    for place in (B, B.child("c")):
        assert model.read(place, "cgroup.clone_children") == "1\n"
        assert model.read(place, "cpuset.cpus") == "0-1\n"
        assert model.read(place, "cpuset.mems") == "0\n"


def test_clone_children_copies_nothing_beside_an_exclusive_sibling(model: Model) -> None:
    model.write(ROOT, "cpuset.cpu_exclusive", "1")
    model.write(A, "cpuset.cpu_exclusive", "1")
    model.make(B)
    model.write(B, "cpuset.cpus", "0")
    model.write(B, "cpuset.cpu_exclusive", "1")
    model.write(A, "cgroup.clone_children", "1")
    model.make(A.child("c"))
    assert model.read(A.child("c"), "cpuset.cpus") == "\n"


def test_attributes_are_kept_and_an_absent_one_cannot_be_removed(model: Model) -> None:
    model.set_attribute(A, "k", "v")
    assert model.attributes(A) == {"k": "v"}
    model.attributes(A)["k"] = "other"
    assert model.attributes(A) == {"k": "v"}
    model.set_attribute(A, "k", None)
    refused(errno.ENODATA, lambda: model.set_attribute(A, "k", None))


# Tasks


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start processes that are gone after the test."""
    running: list[subprocess.Popen[bytes]] = []

    def start(*command: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(command or ("sleep", "600"), stdout=subprocess.PIPE)
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.wait()
        assert process.stdout
        process.stdout.close()


@pytest.fixture
def sleeper(start: Callable[..., subprocess.Popen[bytes]]) -> int:
    return start().pid


def tasks(model: Model, place: Place, file: str = "tasks") -> list[int]:
    return [int(word) for word in model.read(place, file).split()]


def test_every_task_of_the_machine_begins_in_the_root(model: Model, sleeper: int) -> None:
    assert {sleeper, os.getpid()} <= set(tasks(model, ROOT))
    assert model.membership(sleeper) == {BOTH: "/"}
    model.write(A, "tasks", str(sleeper))
    assert sleeper not in tasks(model, ROOT)
    assert tasks(model, A) == tasks(model, A, "cgroup.procs") == [sleeper]
    assert model.membership(sleeper) == {BOTH: "/a"}


def test_a_task_is_in_one_container_of_every_hierarchy(model: Model, sleeper: int) -> None:
    mount(model, "/n", name="n")
    model.make(Place("name=n", "/x"))
    model.make(B)
    model.write(A, "tasks", f"{sleeper}\n")
    model.write(Place("name=n", "/x"), "tasks", str(sleeper))
    assert model.membership(sleeper) == {BOTH: "/a", "name=n": "/x"}


def test_attach_has_the_kernels_errnos(model: Model, sleeper: int) -> None:
    for text in ("x", "-1", "1.5", "1 2"):
        refused_text(errno.EINVAL, model, A, "tasks", text)
    for file in ("tasks", "cgroup.procs"):
        refused_text(errno.ESRCH, model, A, file, str(NOBODY))
    model.make(B)
    refused_text(errno.ENOSPC, model, B, "tasks", str(sleeper))
    model.write(B, "cpuset.cpus", "0")
    refused_text(errno.ENOSPC, model, B, "cgroup.procs", str(sleeper))
    assert model.membership(sleeper) == {BOTH: "/"}
    model.write(B, "cpuset.mems", "0")
    model.write(B, "cgroup.procs", str(sleeper))


@pytest.mark.parametrize(("text", "number"), [("x", errno.EINVAL), (str(NOBODY), errno.ESRCH)])
def test_who_is_meant_is_asked_before_whether_he_may_enter(
    model: Model, text: str, number: int
) -> None:
    """Tried on Linux 6.18, with a cpuset whose lists are empty."""
    model.make(B)
    refused_text(number, model, B, "tasks", text)


@pytest.mark.parametrize("digits", ["_0123456789", "٠١٢٣٤٥٦٧٨٩"])
def test_a_number_is_what_the_kernel_takes_for_one(model: Model, sleeper: int, digits: str) -> None:
    plain = str(sleeper)
    text = f"{plain[0]}_{plain[1:]}" if "_" in digits else "".join(digits[int(d)] for d in plain)
    assert int(text) == sleeper
    refused_text(errno.EINVAL, model, A, "tasks", text)


def test_an_id_may_be_written_in_another_base(model: Model, sleeper: int) -> None:
    """Tried on Linux 6.18: kstrtoint(9) with base 0."""
    model.write(A, "tasks", hex(sleeper))
    assert tasks(model, A) == [sleeper]


def test_tasks_that_are_open_outlive_the_container(model: Model) -> None:
    inside = iter([first := model.spawn(), second := model.spawn()])
    model.make(B)
    for file in ("cpuset.cpus", "cpuset.mems"):
        model.write(B, file, "0")
    entering = model.enter(B, inside)
    assert next(entering) == first
    model.write(ROOT, "tasks", str(first))
    model.remove(B)
    model.make(B)
    refused(errno.ENODEV, lambda: next(entering))
    assert model.membership(second) == {BOTH: "/"}


def test_who_is_gone_is_left_out(model: Model, sleeper: int) -> None:
    assert list(model.enter(A, [NOBODY, sleeper])) == [sleeper]


def test_who_is_there_already_is_not_asked_again(model: Model) -> None:
    """cgroup_migrate_add_task(): an affinity of its own stays, too."""
    task = model.spawn()
    model.write(A, "tasks", str(task))
    model.set_affinity(task, frozenset({1}))
    model.write(A, "cgroup.procs", str(task))
    assert model.affinity(task) == {1}


def test_zero_is_the_writer_itself(model: Model) -> None:
    model.write(A, "cgroup.procs", "0")
    assert os.getpid() in tasks(model, A, "cgroup.procs")


THREADED = """
import threading, time
threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
print(flush=True)
time.sleep(600)
"""


def test_who_has_ended_does_not_keep_a_cpuset_from_being_emptied(
    model: Model, start: Callable[..., subprocess.Popen[bytes]]
) -> None:
    process = start()
    model.write(A, "tasks", str(process.pid))
    refused_text(errno.ENOSPC, model, A, "cpuset.cpus", "\n")
    process.kill()
    process.wait()
    model.write(A, "cpuset.cpus", "\n")
    assert model.read(A, "cpuset.cpus") == "\n"


def test_whoever_drives_a_model_may_do_all(model: Model) -> None:
    model.uid = 1000
    assert model.privileged()


def test_a_process_moves_whole_and_a_task_alone(
    model: Model, start: Callable[..., subprocess.Popen[bytes]]
) -> None:
    process = start(sys.executable, "-c", THREADED)
    assert process.stdout
    process.stdout.readline()
    threads = model.threads(process.pid)
    assert len(threads) == 2
    model.write(A, "tasks", str(threads[1]))
    assert tasks(model, A) == [threads[1]]
    assert tasks(model, A, "cgroup.procs") == [process.pid]
    assert model.membership(process.pid) == {BOTH: "/"}
    model.write(A, "cgroup.procs", str(threads[1]))
    assert tasks(model, A) == threads
    assert tasks(model, A, "cgroup.procs") == [process.pid]


def test_who_has_ended_is_in_no_container(
    model: Model, start: Callable[..., subprocess.Popen[bytes]]
) -> None:
    process = start()
    model.write(A, "tasks", str(process.pid))
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert tasks(model, A) == []  # a zombie has left already
    process.wait()
    assert tasks(model, A) == []
    with pytest.raises(ProcessLookupError):
        model.membership(process.pid)
    model.remove(A)


def test_the_affinity_follows_the_container(model: Model, sleeper: int) -> None:
    assert model.affinity(sleeper) == {0, 1, 2, 3}
    model.write(A, "tasks", str(sleeper))
    assert model.affinity(sleeper) == {0, 1}
    model.set_affinity(sleeper, frozenset({1, 2}))
    assert model.affinity(sleeper) == {1}
    model.write(A, "cpuset.cpus", "0")
    assert model.affinity(sleeper) == {0}
    refused(errno.EINVAL, lambda: model.set_affinity(sleeper, frozenset({1})))


@pytest.mark.parametrize(("release", "cpus"), [("6.1.0-44-amd64", {0, 1}), ("6.18.44", {1})])
def test_newer_kernels_give_back_what_a_task_has_asked_for(
    sleeper: int, release: str, cpus: set[int]
) -> None:
    model = Model(dialect=like(release))
    mount(model, "/cg", "cpuset")
    for place in (Place("cpuset", "/a"), Place("cpuset", "/b")):
        model.make(place)
        model.write(place, "cpuset.mems", "0")
        model.write(place, "cpuset.cpus", "0-1" if place.name == "a" else "0")
    model.set_affinity(sleeper, frozenset({1, 2}))
    model.write(Place("cpuset", "/b"), "tasks", str(sleeper))
    assert model.affinity(sleeper) == {0}
    model.write(Place("cpuset", "/a"), "tasks", str(sleeper))
    assert model.affinity(sleeper) == cpus


def test_nobody_has_no_affinity(model: Model) -> None:
    with pytest.raises(ProcessLookupError):
        model.affinity(NOBODY)
    with pytest.raises(ProcessLookupError):
        model.set_affinity(NOBODY, frozenset({0}))


def test_a_kill_ends_a_process_in_the_model_only(
    model: Model, start: Callable[..., subprocess.Popen[bytes]]
) -> None:
    process = start(sys.executable, "-c", THREADED)
    assert process.stdout
    process.stdout.readline()
    threads = model.threads(process.pid)
    assert list(model.kill(A, [process.pid], signal.SIGKILL)) == []
    model.write(A, "tasks", str(threads[1]))
    assert list(model.kill(A, [process.pid], signal.SIGKILL)) == [process.pid]
    assert process.poll() is None
    assert tasks(model, A) == []
    assert not set(threads) & set(tasks(model, ROOT))
    for task in threads:
        with pytest.raises(ProcessLookupError):
            model.membership(task)
        refused_text(errno.ESRCH, model, A, "tasks", str(task))
    assert list(model.kill(A, [process.pid], signal.SIGKILL)) == []


def test_the_tasks_of_a_dissolved_hierarchy_are_in_the_root_of_the_next(sleeper: int) -> None:
    model = Model()
    mount(model, "/n", name="n")
    model.write(Place("name=n"), "tasks", str(sleeper))
    model.umount("/n")
    assert model.membership(sleeper) == {}
    mount(model, "/n", name="n")
    assert model.membership(sleeper) == {"name=n": "/"}


# Tasks of a /proc made of files


STAT = "{id} (x) S 1 0 0 0 -1 0 0 0 0 0 {user} {system} 0 0 20 0 1 0 {start} {rest}"


def alive(root: Path, task: int, start: int = 1, user: int = 0, system: int = 0) -> None:
    """A process as /proc shows it, having used so many ticks of CPU 1."""
    (root / f"{task}/task/{task}").mkdir(parents=True, exist_ok=True)
    (root / f"{task}/status").write_text(f"Name:\tx\nTgid:\t{task}\n")
    rest = " ".join(["0"] * 16 + ["1", "0", "0"])
    text = STAT.format(id=task, user=user, system=system, start=start, rest=rest)
    (root / f"{task}/stat").write_text(text)


@pytest.fixture
def played(tmp_path: Path) -> Model:
    """The model over processes that a test makes up."""
    model = Model(proc=Proc(str(tmp_path)))
    mount(model, "/cg", "cpuset", "cpuacct")
    for place in (A, B):
        model.make(place)
        model.write(place, "cpuset.cpus", "0-1")
        model.write(place, "cpuset.mems", "0")
    alive(tmp_path, 7)
    return model


TICK = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def usage(model: Model, place: Place) -> int:
    return int(model.read(place, "cpuacct.usage")) // TICK


def test_time_is_charged_where_it_is_used_and_above(played: Model, tmp_path: Path) -> None:
    alive(tmp_path, 7, user=100, system=100)  # before anybody looked: nobody's
    played.write(B, "tasks", "7")
    alive(tmp_path, 7, user=103, system=102)
    assert [usage(played, place) for place in (B, A, ROOT)] == [5, 5, 5]
    assert played.read(B, "cpuacct.usage_percpu") == f"0 {5 * TICK} 0 0 \n"
    assert played.read(B, "cpuacct.usage_user") == f"{3 * TICK}\n"
    assert played.read(B, "cpuacct.usage_sys") == f"{2 * TICK}\n"


def test_time_stays_where_it_was_used_when_a_task_moves(played: Model, tmp_path: Path) -> None:
    played.write(B, "tasks", "7")
    alive(tmp_path, 7, user=3)
    played.write(A, "tasks", "7")
    alive(tmp_path, 7, user=10)
    assert [usage(played, place) for place in (B, A)] == [3, 10]


def test_time_stays_where_it_was_used_when_the_cpus_go(played: Model, tmp_path: Path) -> None:
    played.write(B, "tasks", "7")
    alive(tmp_path, 7, user=3)
    played.plug(frozenset({3}), frozenset({0}))
    assert played.membership(7) == {BOTH: "/"}
    assert [usage(played, place) for place in (B, A, ROOT)] == [3, 3, 3]


def test_a_reset_forgets_what_was_used_before_it(played: Model, tmp_path: Path) -> None:
    played.write(B, "tasks", "7")
    alive(tmp_path, 7, user=3)
    played.write(B, "cpuacct.usage", "0")
    assert usage(played, B) == 0
    alive(tmp_path, 7, user=4)
    assert [usage(played, place) for place in (B, A)] == [1, 4]


def test_an_id_that_another_process_has_now_is_not_the_old_one(
    played: Model, tmp_path: Path
) -> None:
    played.write(A, "tasks", "7")
    alive(tmp_path, 7, start=2)
    assert played.membership(7) == {BOTH: "/"}
    assert tasks(played, A) == []


def test_who_has_an_old_id_anew_can_be_attached(played: Model, tmp_path: Path) -> None:
    played.write(A, "tasks", "7")
    alive(tmp_path, 7, start=2)
    played.write(B, "tasks", "7")
    assert tasks(played, B) == [7]


def test_an_id_that_ended_in_the_model_can_belong_to_another(played: Model, tmp_path: Path) -> None:
    played.write(A, "tasks", "7")
    list(played.kill(A, [7], signal.SIGKILL))
    with pytest.raises(ProcessLookupError):
        played.task(7)
    alive(tmp_path, 7, start=2)
    assert played.task(7).start == 2
    assert played.membership(7) == {BOTH: "/"}


def test_a_busy_process_is_charged(
    model: Model, start: Callable[..., subprocess.Popen[bytes]]
) -> None:
    process = start(sys.executable, "-c", "print(flush=True)\nwhile True: pass")
    assert process.stdout
    process.stdout.readline()
    model.write(A, "tasks", str(process.pid))
    seen = int(model.read(A, "cpuacct.usage"))
    while int(model.read(A, "cpuacct.usage")) <= seen:
        assert process.poll() is None
    assert int(model.read(ROOT, "cpuacct.usage")) > seen
