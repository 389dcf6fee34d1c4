"""The verbs of a backend, errno for errno: what pcont's own checks and orders keep from it else."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pcont.kernel.refusals import WriteRefused
from pcont.kernel.types import PID_MAX_LIMIT, Place, TreeRequest
from tests.conftest import MUST
from tests.contract.conftest import Pcont, Top, eventually, new_top, starts_empty

PAGE = os.sysconf("SC_PAGE_SIZE")
NOBODY = PID_MAX_LIMIT  # no task has this id: the highest id of a kernel is one lower

# What each file of a new container reads.
CORE = {"cgroup.clone_children": "0", "notify_on_release": "0", "tasks": "", "cgroup.procs": ""}
FRESH = {
    "cpuset": {
        **dict.fromkeys(
            (
                *("cpus", "mems", "effective_cpus", "effective_mems"),
                *("cpu_exclusive", "mem_exclusive", "mem_hardwall", "memory_migrate"),
                *("memory_pressure", "memory_spread_page", "memory_spread_slab"),
            ),
            "0",
        ),
        **dict.fromkeys(("cpus", "mems", "effective_cpus", "effective_mems"), ""),
        "sched_load_balance": "1",
        "sched_relax_domain_level": "-1",
    },
    "freezer": {"state": "THAWED", "self_freezing": "0", "parent_freezing": "0"},
    "pids": {"max": "max", "current": "0", "peak": "0", "events": "max 0"},
    "cpuacct": {"usage": "0", "usage_user": "0", "usage_sys": "0", "stat": "user 0\nsystem 0"},
}
every_controller = pytest.mark.parametrize("controller", FRESH)


@pytest.fixture
def top(pcont: Pcont, name: str, controller: str) -> Iterator[Top]:
    """A container in the hierarchy of one controller."""
    with new_top(pcont, controller, name) as made:
        yield made


@pytest.fixture
def cpuset(pcont: Pcont, name: str) -> Iterator[Top]:
    """A cpuset with CPUs and a node."""
    with new_top(pcont, "cpuset", name) as made:
        write(made, "", "cpuset.cpus", "0-1")
        write(made, "", "cpuset.mems", "0")
        yield made


def exclusive(top: Top, kind: str) -> None:
    """Let CPUs or nodes be exclusive in it, for which all above must be so, too."""
    flag = f"cpuset.{kind}_exclusive"
    if top.pcont.get("cpuset:/", flag) == "0":
        top.pcont.ok("set", "cpuset:/", f"{flag}=1")
    try:
        write(top, "", flag, "1")
    except WriteRefused as err:
        if MUST or "model" in top.pcont.words:
            raise
        pytest.skip(f"a cpuset of another program beside it shares them: {err}")


def read(top: Top, path: str, file: str) -> str:
    return top.pcont.backend().read(top.place(path), file).removesuffix("\n")


def write(top: Top, path: str, file: str, text: str) -> None:
    backend = top.pcont.backend()
    with backend.exclusive():
        backend.write(top.place(path), file, text)


def make(top: Top, *paths: str) -> None:
    backend = top.pcont.backend()
    with backend.exclusive():
        for path in paths:
            backend.make(top.place(path))


def refused(number: int, call: Callable[..., object], *given: object) -> OSError:
    """What a call that must fail with this errno raises."""
    with pytest.raises(OSError, match=r"\S") as caught:
        call(*given)
    assert errno.errorcode[caught.value.errno or 0] == errno.errorcode[number], given
    return caught.value


def refused_text(number: int, top: Top, path: str, file: str, text: str) -> None:
    """A text that the kernel refuses."""
    assert isinstance(refused(number, write, top, path, file, text), WriteRefused)


# What a new container has


@every_controller
def test_a_new_container_reads_as_the_kernel_makes_it(top: Top, controller: str) -> None:
    files = CORE | {f"{controller}.{file}": text for file, text in FRESH[controller].items()}
    assert {file: read(top, "", file) for file in files} == files


@every_controller
def test_files_of_the_root_alone(top: Top, controller: str) -> None:
    root = top.pcont.backend()
    assert root.read(Place(controller), "cgroup.sane_behavior") == "0\n"
    there = {
        "cpuset": {"cpu_exclusive": "1", "mem_exclusive": "1", "memory_pressure_enabled": "0"}
    }.get(controller, {})
    for file, text in there.items():
        assert root.read(Place(controller), f"{controller}.{file}") == f"{text}\n"
    for file in ("cgroup.sane_behavior", "release_agent"):
        refused(errno.ENOENT, read, top, "", file)
        refused(errno.ENOENT, write, top, "", file, "1")


def test_times_by_cpu_begin_at_nothing(pcont: Pcont, name: str) -> None:
    with new_top(pcont, "cpuacct", name) as top:
        for kind in ("percpu", "percpu_user", "percpu_sys"):
            assert set(read(top, "", f"cpuacct.usage_{kind}").split()) == {"0"}
        head, *lines = read(top, "", "cpuacct.usage_all").splitlines()
        assert head == "cpu user system"
        assert lines == [f"{cpu} 0 0" for cpu in range(len(lines))] != []


def test_a_new_cpuset_has_some_flags_of_its_parent_and_no_lists(cpuset: Top) -> None:
    passed_on = {"notify_on_release", "cpuset.memory_spread_page", "cpuset.memory_spread_slab"}
    own = {"cpuset.memory_migrate", "cpuset.mem_hardwall"}
    for file in passed_on | own:
        write(cpuset, "", file, "1")
    write(cpuset, "", "cpuset.sched_load_balance", "0")
    make(cpuset, "/b")
    assert {file for file in passed_on | own if read(cpuset, "/b", file) == "1"} == passed_on
    assert read(cpuset, "/b", "cpuset.sched_load_balance") == "1"
    assert read(cpuset, "/b", "cpuset.cpus") == read(cpuset, "/b", "cpuset.mems") == ""


def test_a_list_may_be_longer_than_what_it_says(cpuset: Top) -> None:
    """Up to 100 bytes, and six for every CPU that the kernel was built for (cpuset.c)."""
    write(cpuset, "", "cpuset.cpus", ",".join("0" * 60))
    assert read(cpuset, "", "cpuset.cpus") == "0"


def test_clone_children_copies_lists_where_no_sibling_is_exclusive(cpuset: Top) -> None:
    write(cpuset, "", "cgroup.clone_children", "1")
    make(cpuset, "/b", "/b/c")
    for path in ("/b", "/b/c"):
        assert read(cpuset, path, "cgroup.clone_children") == "1"
        assert (read(cpuset, path, "cpuset.cpus"), read(cpuset, path, "cpuset.mems")) == (
            "0-1",
            "0",
        )
    exclusive(cpuset, "cpu")
    write(cpuset, "/b/c", "cpuset.cpus", "\n")
    write(cpuset, "/b", "cpuset.cpu_exclusive", "1")
    make(cpuset, "/d")
    assert read(cpuset, "/d", "cpuset.cpus") == read(cpuset, "/d", "cpuset.mems") == ""


# Containers


@every_controller
def test_making_and_removing_have_the_kernels_errnos(top: Top, controller: str) -> None:
    backend = top.pcont.backend()
    make(top, "/b")
    for number, path in (
        *((errno.EEXIST, "/b"), (errno.EEXIST, "/tasks"), (errno.ENOENT, "/x/y")),
        *((errno.ENOTDIR, "/tasks/x"), (errno.ENAMETOOLONG, "/" + "x" * 4096)),
    ):
        refused(number, make, top, path)
    with backend.exclusive():
        refused(errno.EEXIST, backend.make, Place(controller))
        refused(errno.EBUSY, backend.remove, top.place())
        refused(errno.ENOENT, backend.remove, top.place("/x"))
        refused(errno.ENOTDIR, backend.children, top.place("/tasks"))
        backend.remove(top.place("/b"))
        refused(errno.ENOENT, backend.remove, top.place("/b"))


def test_a_path_has_4095_bytes_at_the_most(pcont: Pcont, name: str) -> None:
    pcont.ok("mount", "-o", "none", "--name", name)
    backend, root = pcont.backend(), Place(f"name={name}")
    longest = root.child("x" * (4095 - len(f"{backend.show(root)}/")))
    with backend.exclusive():
        refused(errno.ENAMETOOLONG, backend.make, root.child(f"{longest.name}x"))
        backend.make(longest)
        backend.remove(longest)
    pcont.ok("umount", name)


@every_controller
def test_tasks_keep_a_container_until_they_leave(
    top: Top, controller: str, start: Callable[..., int]
) -> None:
    make(top, "/b")
    if controller == "cpuset":
        for path in ("", "/b"):
            write(top, path, "cpuset.cpus", "0")
            write(top, path, "cpuset.mems", "0")
    pid = start()
    write(top, "/b", "tasks", str(pid))
    backend = top.pcont.backend()
    with backend.exclusive():
        refused(errno.EBUSY, backend.remove, top.place("/b"))
    os.kill(pid, signal.SIGKILL)

    def removed() -> bool:
        with contextlib.suppress(OSError), backend.exclusive():
            backend.remove(top.place("/b"))
            return True
        return False

    assert eventually(removed)


# Tasks


@every_controller
@pytest.mark.quick
def test_attaching_has_the_kernels_errnos(top: Top, controller: str) -> None:
    """The task is looked up before the rules of entry: an empty cpuset admits no task."""
    for file in ("tasks", "cgroup.procs"):
        for text in ("x", "-1", "1.5", "1 2", str(1 << 31), str(1 << 70)):
            refused_text(errno.EINVAL, top, "", file, text)
        refused_text(errno.ESRCH, top, "", file, str(NOBODY))
        refused_text(errno.EINVAL, top, "", file, "2")  # kthreadd


def test_a_cpuset_admits_no_task_without_both_lists(cpuset: Top, start: Callable[..., int]) -> None:
    make(cpuset, "/b")
    pid = start()
    for lists in ({}, {"cpus": "0", "mems": "\n"}, {"cpus": "\n", "mems": "0"}):
        for file, text in lists.items():
            write(cpuset, "/b", f"cpuset.{file}", text)
        for file in ("tasks", "cgroup.procs"):
            refused_text(errno.ENOSPC, cpuset, "/b", file, str(pid))
    write(cpuset, "/b", "cpuset.cpus", "0")
    write(cpuset, "/b", "tasks", hex(pid))
    assert read(cpuset, "/b", "tasks") == str(pid)
    for file in ("cpus", "mems"):
        refused_text(errno.ENOSPC, cpuset, "/b", f"cpuset.{file}", "\n")
    write(cpuset, "", "tasks", str(pid))
    write(cpuset, "/b", "cpuset.mems", "\n")


@pytest.mark.quick
def test_a_task_runs_where_its_cpuset_lets_it(cpuset: Top, start: Callable[..., int]) -> None:
    pid = start()
    write(cpuset, "", "tasks", str(pid))
    assert cpuset.pcont.affinity(pid) == "0-1"
    write(cpuset, "", "cpuset.cpus", "1")
    assert cpuset.pcont.affinity(pid) == "1"
    write(cpuset, "", "cpuset.mems", "0")
    assert cpuset.pcont.affinity(pid) == "1"


def test_the_same_list_again_leaves_the_affinity(start: Callable[..., int], cpuset: Top) -> None:
    backend, pid = cpuset.pcont.backend(), start()
    with backend.exclusive():
        backend.write(cpuset.place(), "tasks", str(pid))
        backend.set_affinity(pid, frozenset({1}))
        backend.write(cpuset.place(), "cpuset.cpus", "0-1")
    assert cpuset.pcont.affinity(pid) == "1"


# Values


def test_lists_beyond_the_machine_say_how_far(cpuset: Top) -> None:
    """EINVAL: none is online; ERANGE: no machine has it, whatever else is named."""
    for file, some in (("cpus", "0"), ("mems", "0")):
        before = read(cpuset, "", f"cpuset.{file}")
        for text in ("70000", f"{some},70000", "x", "1-0"):
            number = errno.ERANGE if "70000" in text else errno.EINVAL
            refused_text(number, cpuset, "", f"cpuset.{file}", text)
        assert read(cpuset, "", f"cpuset.{file}") == before
    for text, number in (("63", errno.EINVAL), ("63,5000", errno.ERANGE), ("1024", errno.ERANGE)):
        refused_text(number, cpuset, "", "cpuset.mems", text)


@pytest.mark.parametrize("controller", ["cpuacct"])
def test_a_sign_is_no_part_of_what_has_none(top: Top) -> None:
    """However long the number is: kstrtoull(9) looks at the sign first."""
    for text, number in (
        ("-1", errno.EINVAL),
        ("-9223372036854775809", errno.EINVAL),
        ("18446744073709551616", errno.ERANGE),
    ):
        refused_text(number, top, "", "cpuacct.usage", text)


def test_a_level_takes_no_more_than_64_bits_with_its_sign(cpuset: Top) -> None:
    for text in ("9223372036854775808", "-9223372036854775809"):
        refused_text(errno.ERANGE, cpuset, "", "cpuset.sched_relax_domain_level", text)


@every_controller
def test_a_page_is_written_at_the_most(top: Top) -> None:
    for file in ("notify_on_release", "tasks"):
        refused_text(errno.EINVAL, top, "", file, "x" * PAGE)
        refused_text(errno.E2BIG, top, "", file, "x" * (PAGE + 1))


@pytest.mark.slow
def test_lists_are_as_long_as_all_that_a_kernel_is_built_for(cpuset: Top) -> None:
    machine = cpuset.pcont.backend().machine()
    for file, all_of_them in (("cpus", machine.most_cpus), ("mems", machine.node_limit)):
        most = 100 + 6 * all_of_them
        write(cpuset, "", f"cpuset.{file}", "0," * (most // 2))
        assert read(cpuset, "", f"cpuset.{file}") == "0"
        refused_text(errno.EINVAL, cpuset, "", f"cpuset.{file}", "x" * most)
        refused_text(errno.E2BIG, cpuset, "", f"cpuset.{file}", "x" * (most + 1))


def test_the_longest_agent_has_4095_bytes(pcont: Pcont, name: str) -> None:
    pcont.ok("mount", "-o", "none", "--name", name)
    backend, root = pcont.backend(), Place(f"name={name}")
    with backend.exclusive():
        backend.write(root, "release_agent", "x" * 4095)
        refused(errno.E2BIG, backend.write, root, "release_agent", "y" * 4096)
    assert backend.read(root, "release_agent") == "x" * 4095 + "\n"
    pcont.ok("umount", name)


def test_the_lists_of_the_root_are_fixed_whatever_is_written(cpuset: Top) -> None:
    backend = cpuset.pcont.backend()
    with backend.exclusive():
        for file, text in (("cpus", "0"), ("mems", "x"), ("mems", "0")):
            refused(errno.EACCES, backend.write, Place("cpuset"), f"cpuset.{file}", text)


@pytest.mark.quick
def test_a_parent_stays_around_its_children(cpuset: Top) -> None:
    make(cpuset, "/b")
    write(cpuset, "/b", "cpuset.cpus", "1")
    write(cpuset, "/b", "cpuset.mems", "0")
    refused_text(errno.EBUSY, cpuset, "", "cpuset.cpus", "0")
    refused_text(errno.EBUSY, cpuset, "", "cpuset.mems", "\n")
    exclusive(cpuset, "cpu")
    write(cpuset, "/b", "cpuset.cpu_exclusive", "1")
    refused_text(errno.EBUSY, cpuset, "", "cpuset.cpu_exclusive", "0")
    write(cpuset, "", "cpuset.cpus", "1")
    assert [read(cpuset, "", f"cpuset.effective_{kind}") for kind in ("cpus", "mems")] == ["1", "0"]
    refused_text(errno.EACCES, cpuset, "/b", "cpuset.cpus", "0-1")
    refused_text(errno.EACCES, cpuset, "/b", "cpuset.mem_exclusive", "1")
    write(cpuset, "/b", "cpuset.cpu_exclusive", "0")
    write(cpuset, "", "cpuset.cpu_exclusive", "0")
    refused_text(errno.EACCES, cpuset, "/b", "cpuset.cpu_exclusive", "1")


@pytest.mark.parametrize("kind", ["cpu", "mem"])
def test_what_is_exclusive_is_not_shared(cpuset: Top, kind: str) -> None:
    flag, ids = f"cpuset.{kind}_exclusive", f"cpuset.{kind}s"
    exclusive(cpuset, kind)
    make(cpuset, "/b", "/c")
    for path in ("/b", "/c"):
        write(cpuset, path, ids, "0")
    refused_text(errno.EINVAL, cpuset, "/b", flag, "1")
    write(cpuset, "/c", ids, "\n")
    write(cpuset, "/b", flag, "1")
    refused_text(errno.EINVAL, cpuset, "/c", ids, "0")
    write(cpuset, "/c", flag, "1")
    write(cpuset, "/b", flag, "0")
    refused_text(errno.EINVAL, cpuset, "/c", ids, "0")
    write(cpuset, "/c", flag, "0")
    write(cpuset, "/c", ids, "0")


def test_files_have_their_prefix(cpuset: Top) -> None:
    """The bare names of 2006 are pcont's to understand."""
    refused(errno.ENOENT, read, cpuset, "", "cpus")
    refused(errno.ENOENT, write, cpuset, "", "mems", "0")


def test_levels_of_domains(cpuset: Top) -> None:
    for level in ("0", "-1"):
        write(cpuset, "", "cpuset.sched_relax_domain_level", level)
        assert read(cpuset, "", "cpuset.sched_relax_domain_level") == level
    for level in ("-2", "100", "x"):
        refused_text(errno.EINVAL, cpuset, "", "cpuset.sched_relax_domain_level", level)


@every_controller
def test_zero_bytes_do_nothing_and_what_is_only_read_is_not_written(
    top: Top, controller: str
) -> None:
    only_read = {
        "cpuset": ("effective_cpus", "effective_mems"),
        "cpuacct": ("stat", "usage_all", "usage_percpu", "usage_user", "usage_sys"),
        "freezer": ("self_freezing", "parent_freezing"),
        "pids": ("current", "peak", "events"),
    }[controller]
    for file in only_read:
        refused_text(errno.EINVAL, top, "", f"{controller}.{file}", "0")
    write(top, "", "notify_on_release", "1")
    write(top, "", "notify_on_release", "")
    assert read(top, "", "notify_on_release") == "1"


# Mounting


def test_mounting_and_unmounting_have_the_kernels_errnos(
    pcont: Pcont, name: str, tmp_path: Path
) -> None:
    if free := starts_empty(pcont):
        pcont.ok("mount", "-o", "pids")
    backend = pcont.backend()
    points = [tmp_path / f"point{number}" for number in range(2)]
    for point in points:
        point.mkdir()
    own, other = map(str, points)
    with backend.exclusive():
        backend.mount(TreeRequest((), name), own, "pcont")
        for request in (TreeRequest(("pids",), name), TreeRequest(("pids", "cpuset"))):
            refused(errno.EBUSY, backend.mount, request, other, "pcont")
        for request in (TreeRequest(), TreeRequest(("nonesuch",))):
            refused(errno.EINVAL, backend.mount, request, other, "pcont")
        refused(errno.ENOENT, backend.mount, TreeRequest((), name), f"{other}/x", "pcont")
        (points[1] / "file").touch()
        refused(errno.ENOTDIR, backend.mount, TreeRequest((), name), f"{other}/file", "pcont")
        refused(errno.EBUSY, backend.remove, Place(f"name={name}"))
        refused(errno.EINVAL, backend.umount, other)
        backend.umount(own)
        refused(errno.EINVAL, backend.umount, own)
    assert eventually(lambda: name not in {tree.name for tree in pcont.backend().trees()})
    if free:
        assert eventually(lambda: pcont("umount", "pids").status == 0)
