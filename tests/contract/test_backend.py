"""A backend alone, where nothing is bound: the same answers of the model and of a kernel."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from pcont.backend_cgroupfs import Cgroupfs
from pcont.backend_model import Model
from pcont.kernel.interfaces import Backend
from pcont.kernel.refusals import WriteRefused
from pcont.kernel.types import UNIFIED, Place, Tree, TreeRequest
from tests.contract.conftest import eventually
from tests.contract.test_verbs import NOBODY, refused

BOTH = "cpuset,cpuacct"
ROOT, A, B = Place(BOTH), Place(BOTH, "/a"), Place(BOTH, "/a/b")
EXCLUSIVE = "cpuset.cpu_exclusive"

Mount = Callable[..., None]
Points = Callable[[], dict[str, list[str]]]


@pytest.fixture(
    params=["model", pytest.param("kernel", marks=[pytest.mark.kernel, pytest.mark.guest])]
)
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    """Nothing is bound before, nor afterwards."""
    one: Backend = Model() if request.param == "model" else Cgroupfs()
    with one.exclusive():
        yield one
        if request.param == "kernel":
            assert eventually(partial(_is_clear, one, str(tmp_path)))


def _is_clear(backend: Backend, folder: str) -> bool:
    """Whether nothing is active any more: a hierarchy may linger while a task ends."""
    for tree in backend.trees():
        _clear(backend, tree, folder)
    while points := [at.point for tree in backend.trees() for at in tree.mounts]:
        for point in reversed(points):
            backend.umount(point)
    return not backend.trees()


def _clear(backend: Backend, tree: Tree, folder: str) -> None:
    if not tree.mounts:
        backend.mount(TreeRequest(tree.controllers, tree.name), folder, "pcont")
    root = Place(tree.id)
    if "cpuset" in tree.controllers:
        backend.write(root, EXCLUSIVE, "1")
    _empty(backend, root)


def _empty(backend: Backend, place: Place) -> None:
    for name in backend.children(place):
        child = place.child(name)
        _empty(backend, child)
        for task in tasks(backend, child):
            with suppress(WriteRefused):
                backend.write(Place(place.tree), "tasks", str(task))
        assert eventually(partial(_removed, backend, child))


def _removed(backend: Backend, place: Place) -> bool:
    with suppress(OSError):
        backend.remove(place)
    return place.name not in backend.children(Place(place.tree, os.path.dirname(place.path)))


@pytest.fixture
def mount(backend: Backend, tmp_path: Path) -> Mount:
    """Mount controllers, or none with a name, at a directory that is made where it is not."""

    def mount(point: str, *controllers: str, name: str = "", options: tuple[str, ...] = ()) -> None:
        where = str(tmp_path / point)
        if where in backend.missing(where):
            backend.make_directory(where)
        backend.mount(TreeRequest(controllers, name, options), where, "pcont")

    return mount


@pytest.fixture
def umount(backend: Backend, tmp_path: Path) -> Callable[[str], None]:
    return lambda point: backend.umount(str(tmp_path / point))


@pytest.fixture
def points(backend: Backend) -> Points:
    """The mount points of every hierarchy that is active."""
    return lambda: {
        tree.id: [Path(mount.point).name for mount in tree.mounts] for tree in backend.trees()
    }


@pytest.fixture
def both(backend: Backend, mount: Mount) -> Backend:
    """One hierarchy with two subsystems at `cg`, and a container that can be entered."""
    mount("cg", "cpuset", "cpuacct")
    backend.make(A)
    backend.write(A, "cpuset.cpus", "0-1")
    backend.write(A, "cpuset.mems", "0")
    return backend


def refused_text(number: int, backend: Backend, place: Place, file: str, text: str) -> None:
    """A write that must fail with this errno, as the kernel's opinion of the text."""
    error = refused(number, backend.write, place, file, text)
    assert isinstance(error, WriteRefused)
    assert error.filename


# Mounting (cgroup1_root_to_use() and what stands before it)


def test_the_same_set_again_is_the_same_hierarchy(
    backend: Backend, mount: Mount, points: Points
) -> None:
    mount("one", "cpuset", "cpuacct")
    mount("two", "cpuacct", "cpuset")
    assert points() == {BOTH: ["one", "two"]}
    numbers = {one.name: one.number for one in backend.controllers()}
    assert numbers["cpuset"] == numbers["cpuacct"] != 0 == numbers["freezer"]


@pytest.mark.parametrize("controllers", [["cpuset"], ["cpuset", "cpuacct"]])
def test_an_overlap_with_another_set_is_busy(
    mount: Mount, points: Points, controllers: list[str]
) -> None:
    mount("one", *(["cpuset"] if len(controllers) == 2 else ["cpuset", "cpuacct"]))
    refused(errno.EBUSY, mount, "two", *controllers)
    assert len(points()) == 1


def test_disjoint_sets_are_hierarchies_of_their_own(mount: Mount, points: Points) -> None:
    mount("one", "cpuset")
    mount("two", "cpuacct")
    assert points() == {"cpuset": ["one"], "cpuacct": ["two"]}


def test_without_controllers_there_has_to_be_a_name(mount: Mount, points: Points) -> None:
    """Nor does none mean a hierarchy that has one: check_cgroupfs_options()."""
    refused(errno.EINVAL, mount, "one")
    mount("one", name="x")
    refused(errno.EINVAL, mount, "two")
    assert points() == {"name=x": ["one"]}


def test_an_unknown_controller_is_invalid(mount: Mount) -> None:
    refused(errno.EINVAL, mount, "one", "cpuset", "nonesuch")


def test_names_tell_hierarchies_without_controllers_apart(mount: Mount, points: Points) -> None:
    mount("one", name="x")
    mount("two", name="y")
    mount("three", name="x")
    assert points() == {"name=x": ["one", "three"], "name=y": ["two"]}


def test_a_name_with_other_controllers_is_busy(mount: Mount) -> None:
    mount("one", "cpuset", name="x")
    refused(errno.EBUSY, partial(mount, name="x"), "two", "cpuacct")
    refused(errno.EBUSY, partial(mount, name="x"), "two")


def test_bound_controllers_under_a_new_name_are_busy(mount: Mount, points: Points) -> None:
    mount("one", "cpuset")
    refused(errno.EBUSY, partial(mount, name="x"), "two", "cpuset")
    mount("three", "cpuacct", name="y")
    mount("four", "cpuacct")
    assert points()["cpuacct,name=y"] == ["three", "four"]


def test_a_mount_point_must_be_there(backend: Backend, tmp_path: Path) -> None:
    request = TreeRequest(("cpuset",))
    refused(errno.ENOENT, backend.mount, request, str(tmp_path / "no/such"), "pcont")
    backend.mount(request, str(tmp_path), "pcont")


def test_what_is_asked_for_is_looked_at_before_where(
    backend: Backend, mount: Mount, tmp_path: Path
) -> None:
    """Only what could be mounted is refused for the sake of the place."""
    file = tmp_path / "file"
    file.touch()
    mount("one", "cpuset")
    for request, number in (
        (TreeRequest(), errno.EINVAL),
        (TreeRequest(("cpuset", "pids")), errno.EBUSY),
        (TreeRequest(("pids",)), errno.ENOTDIR),
    ):
        refused(number, backend.mount, request, str(file), "pcont")
    refused(errno.ENOENT, backend.mount, TreeRequest(), str(tmp_path / "no/such"), "pcont")


def test_options_are_for_a_new_hierarchy_only(backend: Backend, mount: Mount) -> None:
    root = Place("name=x")
    mount("m", name="x", options=("clone_children", "release_agent=/a", "xattr"))
    mount("n", name="x", options=("release_agent=/b",))
    assert backend.read(root, "release_agent") == "/a\n"
    assert backend.read(root, "cgroup.clone_children") == "1\n"


def test_what_a_subsystem_has_in_its_root_outlives_the_hierarchy(
    backend: Backend, mount: Mount, umount: Callable[[str], None], points: Points
) -> None:
    """The root of a subsystem keeps its settings permanently, and those of core files are lost."""
    mount("one", "cpuset", "pids")
    for file, text in ((EXCLUSIVE, "0"), ("notify_on_release", "1")):
        backend.write(Place("cpuset,pids"), file, text)
    umount("one")
    assert eventually(lambda: not points())
    mount("two", "cpuset")
    assert backend.read(Place("cpuset"), EXCLUSIVE) == "0\n"
    assert backend.read(Place("cpuset"), "notify_on_release") == "0\n"


def test_an_open_file_keeps_a_hierarchy_mounted(
    both: Backend, umount: Callable[[str], None], sleeper: int, points: Points
) -> None:
    entering = both.enter(A, [sleeper, sleeper])
    next(entering)
    refused(errno.EBUSY, umount, "cg")
    list(entering)
    umount("cg")
    assert points() == {BOTH: []}


def test_a_hierarchy_without_children_goes_with_its_last_mount(
    backend: Backend, mount: Mount, umount: Callable[[str], None], points: Points
) -> None:
    mount("one", "cpuset")
    mount("two", "cpuset")
    umount("one")
    assert points() == {"cpuset": ["two"]}
    umount("two")
    assert eventually(lambda: not points())
    assert not any(one.number for one in backend.controllers())


def test_a_hierarchy_with_children_stays_and_comes_back_as_it_was(
    both: Backend, mount: Mount, umount: Callable[[str], None], points: Points
) -> None:
    umount("cg")
    assert points() == {BOTH: []}
    refused(errno.ENOENT, both.read, A, "cpuset.cpus")
    refused(errno.EBUSY, mount, "new", "cpuset")
    mount("new", "cpuset", "cpuacct")
    assert both.read(A, "cpuset.cpus") == "0-1\n"
    assert both.show(A).endswith("/new/a")


def test_what_is_not_mounted_cannot_be_unmounted(
    backend: Backend, mount: Mount, umount: Callable[[str], None], tmp_path: Path
) -> None:
    refused(errno.EINVAL, backend.umount, str(tmp_path))
    mount("one", name="x")
    umount("one")
    refused(errno.EINVAL, umount, "one")


def _are(points: Points, there: dict[str, list[str]]) -> bool:
    return points() == there


def test_of_two_mounts_at_one_point_the_upper_goes_first(
    mount: Mount, umount: Callable[[str], None], points: Points
) -> None:
    """The same once more is busy there, unless something else is in between."""
    mount("m", name="x")
    refused(errno.EBUSY, partial(mount, name="x"), "m")
    mount("m", name="y")
    mount("m", name="x")
    mount("m", name="w")
    for upper, below in (("w", "xy"), ("x", "y"), ("y", "x"), ("x", "")):
        there = {f"name={upper}": ["m"], **{f"name={one}": [] for one in below}}
        assert eventually(partial(_are, points, there))
        umount("m")
    assert eventually(lambda: not points())
    refused(errno.EINVAL, umount, "m")


# Containers


def test_mkdir_has_the_kernels_errnos(both: Backend) -> None:
    for path in ("/a", "/", "/tasks", "/a/cpuset.cpus"):
        refused(errno.EEXIST, both.make, Place(BOTH, path))
    refused(errno.ENOENT, both.make, Place(BOTH, "/x/y"))
    refused(errno.ENOENT, both.make, Place("memory", "/x"))
    refused(errno.ENAMETOOLONG, both.make, Place(BOTH, "/" + "x" * 5000))
    refused(errno.ENOTDIR, both.make, Place(BOTH, "/tasks/x"))
    assert both.children(ROOT) == ["a"]


def test_rmdir_has_the_kernels_errnos(both: Backend, sleeper: int) -> None:
    both.make(B)
    refused(errno.EBUSY, both.remove, A)
    refused(errno.EBUSY, both.remove, ROOT)
    refused(errno.ENOENT, both.remove, Place(BOTH, "/x"))
    both.remove(B)
    both.write(A, "tasks", str(sleeper))
    refused(errno.EBUSY, both.remove, A)
    both.write(ROOT, "tasks", str(sleeper))
    both.remove(A)
    refused(errno.ENOENT, both.remove, A)


def test_children_are_sorted(both: Backend) -> None:
    for name in ("z", "m", "b"):
        both.make(A.child(name))
    assert both.children(A) == ["b", "m", "z"]


def test_files_of_the_root_are_the_roots_only(both: Backend) -> None:
    root, child = set(both.files(ROOT)), set(both.files(A))
    assert root - child == {
        "cgroup.sane_behavior",
        "release_agent",
        "cpuset.memory_pressure_enabled",
    }
    assert child <= root
    refused(errno.ENOENT, both.read, A, "release_agent")
    refused(errno.ENOENT, both.write, A, "release_agent", "x")


def test_a_hierarchy_has_the_files_of_its_subsystems_only(backend: Backend, mount: Mount) -> None:
    mount("n", name="n")
    assert all(not file.startswith("cpu") for file in backend.files(Place("name=n")))
    refused(errno.ENOENT, backend.read, Place("name=n"), "cpuset.cpus")


def test_reading_and_writing_have_the_kernels_errnos(both: Backend) -> None:
    refused(errno.ENOENT, both.read, A, "nope")
    refused(errno.ENOENT, both.read, Place(BOTH, "/x"), "tasks")
    refused_text(errno.EINVAL, both, A, "cpuset.effective_cpus", "0")
    refused_text(errno.EINVAL, both, A, "cpuacct.stat", "0")
    refused_text(errno.EINVAL, both, A, "cpuset.cpus", "x")
    refused_text(errno.ERANGE, both, A, "cpuset.cpus", "70000")


def test_zero_bytes_do_nothing_and_a_newline_empties(both: Backend) -> None:
    both.write(A, "cpuset.cpus", "")
    assert both.read(A, "cpuset.cpus") == "0-1\n"
    both.write(A, "cpuset.cpus", "\n")
    assert both.read(A, "cpuset.cpus") == "\n"


def test_a_refused_write_changes_nothing(both: Backend) -> None:
    refused_text(errno.EINVAL, both, A, "cpuset.cpus", "0,99x")
    assert both.read(A, "cpuset.cpus") == "0-1\n"


def test_a_name_that_a_container_has_is_no_file(both: Backend) -> None:
    both.make(A.child("freezer.state"))
    refused(errno.EISDIR, both.read, A, "freezer.state")
    refused(errno.EISDIR, both.write, A, "freezer.state", "x")


def test_a_text_ends_at_its_first_nul(both: Backend) -> None:
    both.write(A, "cpuset.cpus", "0\0junk")
    assert both.read(A, "cpuset.cpus") == "0\n"
    refused_text(errno.EINVAL, both, A, "notify_on_release", "\0001")


def test_a_release_agent_has_no_blanks_around_it(both: Backend) -> None:
    both.write(ROOT, "release_agent", " /bin/true \n")
    assert both.read(ROOT, "release_agent") == "/bin/true\n"


# What a new child has


def test_a_new_child_has_empty_lists_and_its_parents_flags(both: Backend) -> None:
    for file in ("notify_on_release", "cpuset.memory_spread_page", "cpuset.memory_migrate"):
        both.write(A, file, "1")
    both.make(B)
    assert both.read(B, "cpuset.cpus") == both.read(B, "cpuset.mems") == "\n"
    assert both.read(B, "notify_on_release") == "1\n"
    assert both.read(B, "cpuset.memory_spread_page") == "1\n"
    assert both.read(B, "cpuset.memory_migrate") == "0\n"
    assert both.read(B, "cpuset.sched_load_balance") == "1\n"


def test_clone_children_copies_the_lists_to_all_below(both: Backend) -> None:
    both.write(A, "cgroup.clone_children", "1")
    both.make(B)
    both.make(B.child("c"))
    for place in (B, B.child("c")):
        assert both.read(place, "cgroup.clone_children") == "1\n"
        assert both.read(place, "cpuset.cpus") == "0-1\n"
        assert both.read(place, "cpuset.mems") == "0\n"


def test_clone_children_copies_nothing_beside_an_exclusive_sibling(both: Backend) -> None:
    both.write(ROOT, EXCLUSIVE, "1")
    both.write(A, EXCLUSIVE, "1")
    both.make(B)
    both.write(B, "cpuset.cpus", "0")
    both.write(B, EXCLUSIVE, "1")
    both.write(A, "cgroup.clone_children", "1")
    both.make(A.child("c"))
    assert both.read(A.child("c"), "cpuset.cpus") == "\n"


def test_attributes_are_kept_and_an_absent_one_cannot_be_removed(both: Backend) -> None:
    both.set_attribute(A, "k", "v")
    assert both.attributes(A) == {"k": "v"}
    both.set_attribute(A, "k", None)
    refused(errno.ENODATA, both.set_attribute, A, "k", None)


# Tasks


@pytest.fixture
def sleeper(start: Callable[..., int]) -> int:
    return start()


def tasks(backend: Backend, place: Place, file: str = "tasks") -> list[int]:
    return [int(word) for word in backend.read(place, file).split()]


def v1_paths(backend: Backend, task: int) -> dict[str, str]:
    """Where a task is in the hierarchies of cgroup v1: cgroup v2 may be mounted beside them."""
    paths = backend.membership(task)
    return {tree: path for tree, path in paths.items() if tree != UNIFIED}


def test_every_task_of_the_machine_begins_in_the_root(both: Backend, sleeper: int) -> None:
    assert {sleeper, os.getpid()} <= set(tasks(both, ROOT))
    assert v1_paths(both, sleeper) == {BOTH: "/"}
    both.write(A, "tasks", str(sleeper))
    assert sleeper not in tasks(both, ROOT)
    assert tasks(both, A) == tasks(both, A, "cgroup.procs") == [sleeper]
    assert v1_paths(both, sleeper) == {BOTH: "/a"}


def test_a_task_is_in_one_container_of_every_hierarchy(
    both: Backend, mount: Mount, sleeper: int
) -> None:
    mount("n", name="n")
    both.make(Place("name=n", "/x"))
    both.write(A, "tasks", f"{sleeper}\n")
    both.write(Place("name=n", "/x"), "tasks", str(sleeper))
    assert v1_paths(both, sleeper) == {BOTH: "/a", "name=n": "/x"}


def test_attach_has_the_kernels_errnos(both: Backend, sleeper: int) -> None:
    for text in ("x", "-1", "1.5", "1 2"):
        refused_text(errno.EINVAL, both, A, "tasks", text)
    for file in ("tasks", "cgroup.procs"):
        refused_text(errno.ESRCH, both, A, file, str(NOBODY))
    both.make(B)
    refused_text(errno.ENOSPC, both, B, "tasks", str(sleeper))
    both.write(B, "cpuset.cpus", "0")
    refused_text(errno.ENOSPC, both, B, "cgroup.procs", str(sleeper))
    assert v1_paths(both, sleeper) == {BOTH: "/"}
    both.write(B, "cpuset.mems", "0")
    both.write(B, "cgroup.procs", str(sleeper))


@pytest.mark.parametrize(("text", "number"), [("x", errno.EINVAL), (str(NOBODY), errno.ESRCH)])
def test_a_task_is_looked_up_before_the_rules_of_entry(
    both: Backend, text: str, number: int
) -> None:
    both.make(B)
    refused_text(number, both, B, "tasks", text)


@pytest.mark.parametrize("digits", ["_0123456789", "٠١٢٣٤٥٦٧٨٩"])
def test_a_number_is_what_the_kernel_takes_for_one(
    both: Backend, sleeper: int, digits: str
) -> None:
    plain = str(sleeper)
    text = f"{plain[0]}_{plain[1:]}" if "_" in digits else "".join(digits[int(d)] for d in plain)
    assert int(text) == sleeper
    refused_text(errno.EINVAL, both, A, "tasks", text)


def test_an_id_may_be_written_in_another_base(both: Backend, sleeper: int) -> None:
    """kstrtoint(9) with base 0."""
    both.write(A, "tasks", hex(sleeper))
    assert tasks(both, A) == [sleeper]


def test_tasks_that_are_open_outlive_the_container(
    both: Backend, start: Callable[..., int]
) -> None:
    first, second = start(), start()
    both.make(B)
    for file in ("cpuset.cpus", "cpuset.mems"):
        both.write(B, file, "0")
    entering = both.enter(B, iter([first, second]))
    assert next(entering) == first
    both.write(ROOT, "tasks", str(first))
    both.remove(B)
    both.make(B)
    refused(errno.ENODEV, next, entering)
    assert v1_paths(both, second) == {BOTH: "/"}


def test_a_task_that_has_ended_is_left_out(both: Backend, sleeper: int) -> None:
    assert list(both.enter(A, [NOBODY, sleeper])) == [sleeper]


def test_a_task_that_is_inside_already_is_not_checked_again(both: Backend, sleeper: int) -> None:
    """cgroup_migrate_add_task(): an affinity of its own stays, too."""
    both.write(A, "tasks", str(sleeper))
    both.set_affinity(sleeper, frozenset({1}))
    both.write(A, "cgroup.procs", str(sleeper))
    assert both.affinity(sleeper) == {1}


@pytest.mark.parametrize("file", ["tasks", "cgroup.procs"])
def test_zero_is_the_writer_itself(both: Backend, file: str) -> None:
    both.write(A, file, "0")
    assert os.getpid() in tasks(both, A)
    both.write(ROOT, file, "0")
    assert os.getpid() not in tasks(both, A)


def ends(pid: int) -> None:
    """A process has ended, and is a zombie."""
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


def test_a_zombie_does_not_keep_a_cpuset_from_being_emptied(
    both: Backend, start: Callable[..., int]
) -> None:
    pid = start()
    both.write(A, "tasks", str(pid))
    refused_text(errno.ENOSPC, both, A, "cpuset.cpus", "\n")
    ends(pid)
    os.waitpid(pid, 0)
    both.write(A, "cpuset.cpus", "\n")
    assert both.read(A, "cpuset.cpus") == "\n"


def test_a_process_moves_whole_and_a_task_alone(both: Backend, start: Callable[..., int]) -> None:
    pid = start(threads=2)
    threads = both.threads(pid)
    assert len(threads) == 2
    both.write(A, "tasks", str(threads[1]))
    assert tasks(both, A) == [threads[1]]
    assert tasks(both, A, "cgroup.procs") == [pid]
    assert v1_paths(both, pid) == {BOTH: "/"}
    both.write(A, "cgroup.procs", str(threads[1]))
    assert tasks(both, A) == threads
    assert tasks(both, A, "cgroup.procs") == [pid]


def test_a_task_that_has_ended_is_in_no_container(both: Backend, start: Callable[..., int]) -> None:
    pid = start()
    both.write(A, "tasks", str(pid))
    ends(pid)
    assert tasks(both, A) == []  # a zombie has left already
    os.waitpid(pid, 0)
    assert tasks(both, A) == []
    with pytest.raises(ProcessLookupError):
        v1_paths(both, pid)
    both.remove(A)


def test_the_affinity_follows_the_container(both: Backend, sleeper: int) -> None:
    assert both.affinity(sleeper) == both.machine().cpus >= {0, 1, 2}
    both.write(A, "tasks", str(sleeper))
    assert both.affinity(sleeper) == {0, 1}
    both.set_affinity(sleeper, frozenset({1, 2}))
    assert both.affinity(sleeper) == {1}
    both.write(A, "cpuset.cpus", "0")
    assert both.affinity(sleeper) == {0}
    refused(errno.EINVAL, both.set_affinity, sleeper, frozenset({1}))


def test_an_unknown_task_has_no_affinity(both: Backend) -> None:
    refused(errno.ESRCH, both.affinity, NOBODY)
    refused(errno.ESRCH, both.set_affinity, NOBODY, frozenset({0}))


def test_the_tasks_of_a_dissolved_hierarchy_are_in_the_root_of_the_next(
    backend: Backend, mount: Mount, umount: Callable[[str], None], points: Points, sleeper: int
) -> None:
    mount("n", name="n")
    backend.write(Place("name=n"), "tasks", str(sleeper))
    umount("n")
    assert eventually(lambda: not points())
    assert v1_paths(backend, sleeper) == {}
    mount("n", name="n")
    assert v1_paths(backend, sleeper) == {"name=n": "/"}
