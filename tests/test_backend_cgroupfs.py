"""backend_cgroupfs over a /proc and a /sys made of files: nothing of this machine is touched."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from pcont.backend_cgroupfs import Cgroupfs
from pcont.errors import UnknownName, Unsupported
from pcont.hierarchy.registry import Registry
from pcont.kernel.refusals import WriteRefused
from pcont.kernel.types import Place
from pcont.steps import explain
from pcont.steps.kill import Kill
from pcont.tables.rules import Machine
from pcont.transaction.rehearsal import rehearsing

HEAD = "#subsys_name\thierarchy\tnum_cgroups\tenabled\n"


@dataclass
class Host:
    """A host of files, with one v1 hierarchy for each directory that is mounted."""

    root: Path

    def __post_init__(self) -> None:
        for name in ("proc/self", "sys/devices/system/cpu", "sys/devices/system/node", "m"):
            (self.root / name).mkdir(parents=True)
        self.proc("cgroups", f"{HEAD}cpuset\t3\t1\t1\ncpuacct\t2\t1\t1\nmemory\t0\t1\t1\n")
        self.proc("self/cgroup", "3:cpuset:/\n2:cpuacct:/\n1:name=jobs:/\n0::/\n")
        self.mounts()

    def proc(self, file: str, text: str) -> None:
        """Write a file of /proc."""
        path = self.root / "proc" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode("utf-8", "surrogateescape"))

    def sys(self, file: str, text: str) -> None:
        """Write a file of /sys."""
        (self.root / "sys" / file).write_text(text)

    def point(self, name: str) -> Path:
        """A directory to mount on."""
        path = self.root / "m" / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def line(
        self, name: str, options: str, *, root: str = "/", device: str = "", type: str = "cgroup"
    ) -> str:
        """A line of mountinfo; the directory has the device of the file system that it is on."""
        path = self.point(name)
        status = path.stat()
        device = device or f"{os.major(status.st_dev)}:{os.minor(status.st_dev)}"
        shown = str(path).replace(" ", r"\040")
        return f"40 28 {device} {root} {shown} rw shared:1 - {type} pcont:0:{shown} rw,{options}"

    def mounts(self, *lines: str) -> None:
        """Write mountinfo."""
        self.proc("self/mountinfo", "".join(f"{line}\n" for line in lines))

    def backend(self) -> Cgroupfs:
        return Cgroupfs(proc=str(self.root / "proc"), sys=str(self.root / "sys"))


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def points(host: Host, tree: str) -> Sequence[str]:
    """The mounts of a tree, named as in the test."""
    (found,) = (one for one in host.backend().trees() if one.id == tree)
    return [os.path.relpath(mount.point, host.root / "m") for mount in found.mounts]


# What is there


def test_trees_are_the_active_hierarchies_mounted_or_not(host: Host) -> None:
    host.mounts(host.line("cpuset", "cpuset"), host.line("jobs", "name=jobs"))
    found = host.backend().trees()
    assert [one.id for one in found] == ["name=jobs", "cpuacct", "cpuset"]
    assert [one.mounted for one in found] == [True, False, True]
    assert all(mount.ours for one in found for mount in one.mounts)


def test_a_mount_under_another_is_not_seen(host: Host) -> None:
    host.mounts(
        host.line("cpuset", "cpuset", device="0:999999"), host.line("other", "cpuset", root="/a")
    )
    assert points(host, "cpuset") == ["other"]


def test_of_two_mounts_at_one_point_the_upper_is_seen(host: Host) -> None:
    host.mounts(
        host.line("x", "cpuset", device="0:999999"),
        host.line("x", "cpuacct"),
    )
    assert points(host, "cpuset") == []
    assert points(host, "cpuacct") == ["x"]


def test_of_two_views_of_a_hierarchy_at_one_point_the_upper_is_seen(host: Host) -> None:
    """A bind mount of one of its containers, which has the same device."""
    host.proc("self/cgroup", "4:cpuset:/\n0::/\n")
    host.mounts(host.line("cpuset", "cpuset"), host.line("cpuset", "cpuset", root="/a"))
    [tree] = host.backend().trees()
    assert [mount.root for mount in tree.mounts] == ["/a"]


def test_a_mount_point_that_was_removed_or_closed_is_not_seen(host: Host) -> None:
    line = host.line("gone", "cpuset")
    host.point("gone").rmdir()
    host.mounts(line)
    assert points(host, "cpuset") == []


def test_a_mount_point_may_have_a_blank_and_letters_of_any_kind(host: Host) -> None:
    host.mounts(host.line("mein grüner →", "cpuset"), host.line("grün", "cpuacct"))
    assert points(host, "cpuset") == ["mein grüner →"]
    assert points(host, "cpuacct") == ["grün"]


@pytest.mark.parametrize("sign", ["\r", "\x0b", "\x1c", "\x85"])
def test_a_container_may_have_a_name_that_looks_like_the_end_of_a_line(
    host: Host, sign: str
) -> None:
    host.proc("self/cgroup", f"3:cpuset:/a{sign}b\n0::/\n")
    host.proc("7/cgroup", f"3:cpuset:/a{sign}b\n0::/\n")
    assert [one.id for one in host.backend().trees()] == ["cpuset"]
    assert host.backend().membership(7) == {"cpuset": f"/a{sign}b", "unified": "/"}


def test_controllers_say_what_v2_has(host: Host) -> None:
    host.mounts(host.line("v2", "nsdelegate", type="cgroup2"))
    (host.point("v2") / "cgroup.controllers").write_text("memory pids\n")
    found = host.backend().controllers()
    assert [one.name for one in found] == ["cpuset", "cpuacct", "memory"]
    assert [one.unified for one in found] == [False, False, True]


def test_a_v2_mount_whose_list_cannot_be_read_offers_nothing(host: Host) -> None:
    host.mounts(host.line("v2", "nsdelegate", type="cgroup2"))
    assert not any(one.unified for one in host.backend().controllers())


def test_a_controller_that_only_v2_has_selects_v2(host: Host) -> None:
    host.proc("cgroups", f"{HEAD}cpuset\t0\t1\t1\ncpuacct\t0\t1\t1\n")
    host.proc("self/cgroup", "0::/\n")
    host.mounts(host.line("v2", "nsdelegate", type="cgroup2"))
    (host.point("v2") / "cgroup.controllers").write_text("cpuset\n")
    assert [one.id for one in host.backend().trees()] == ["unified"]
    whole, one = (Registry(host.backend()).find(word) for word in ("unified", "cpuset"))
    assert (whole.name, whole.subsystems, whole.needed) == ("unified", ("cpuset",), ())
    assert one == whole._replace(needed=("cpuset",))
    with pytest.raises(UnknownName, match="cpuacct is bound to no hierarchy"):
        Registry(host.backend()).find("cpuacct")


@pytest.mark.parametrize("ask", ["controllers", "trees"])
def test_a_kernel_without_cgroups_is_unsupported(host: Host, ask: str) -> None:
    (host.root / "proc/cgroups").unlink()
    with pytest.raises(Unsupported, match="no cgroups") as caught:
        getattr(host.backend(), ask)()
    assert caught.value.errno == errno.ENOENT
    assert "--backend model" in caught.value.hint


def test_the_machine_is_what_is_online(host: Host) -> None:
    host.sys("devices/system/cpu/online", "0-2,5\n")
    host.sys("devices/system/cpu/possible", "0-7\n")
    host.sys("devices/system/node/online", "0-1\n")
    machine = host.backend().machine()
    assert machine == Machine(frozenset({0, 1, 2, 5}), frozenset({0, 1}), cpu_limit=8)


def test_a_machine_without_numa_has_one_node(host: Host) -> None:
    host.sys("devices/system/cpu/online", "0\n")
    host.sys("devices/system/cpu/possible", "0\n")
    assert host.backend().machine().nodes == {0}


def test_where_to_mount_depends_on_what_is_at_the_usual_place(host: Host) -> None:
    assert host.backend().default_directory("jobs") == "/run/cgroup/jobs"
    host.proc(
        "self/mountinfo", f"28 22 0:24 / {host.root}/sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n"
    )
    assert host.backend().default_directory("jobs") == f"{host.root}/sys/fs/cgroup/jobs"


def test_missing_directories_are_named_outermost_first(host: Host) -> None:
    there = host.point("a")
    (there / "dangling").symlink_to("nowhere")
    wanted = str(there / "b" / "c")
    assert host.backend().missing(wanted) == [str(there / "b"), wanted]
    assert host.backend().missing(str(there)) == []
    assert host.backend().missing(str(there / "dangling")) == []


# Reaching containers


def test_a_place_is_reached_by_the_mount_that_shows_it(host: Host) -> None:
    host.mounts(
        host.line("bind", "cpuset", root="/a/b"), host.line("deeper", "cpuset", root="/a/bc")
    )
    backend = host.backend()
    assert backend.show(Place("cpuset", "/a/b")) == str(host.point("bind"))
    assert backend.show(Place("cpuset", "/a/b/x")) == f"{host.point('bind')}/x"
    assert backend.show(Place("cpuset", "/a/bc/x")) == f"{host.point('deeper')}/x"
    assert backend.show(Place("cpuset", "/a")) == "cpuset:/a"
    with pytest.raises(FileNotFoundError):
        backend.children(Place("cpuset", "/a"))


def test_the_whole_tree_is_preferred_to_a_part_of_it(host: Host) -> None:
    host.mounts(host.line("part", "cpuset", root="/a"), host.line("whole", "cpuset"))
    assert host.backend().show(Place("cpuset", "/a/x")) == f"{host.point('whole')}/a/x"


def test_a_directory_below_a_bind_mount_is_a_container_below_its_root(host: Host) -> None:
    host.mounts(host.line("bind", "cpuset", root="/a/b"))
    found = Registry(host.backend()).place(f"{host.point('bind')}/x:/y")
    assert found.canonical == "cpuset:/a/b/x:/y"


def test_mounts_with_prefix_are_preferred_and_bare_names_are_read_without(host: Host) -> None:
    host.mounts(host.line("bare", "cpuset,noprefix"))
    bare = host.point("bare")
    for name in ("cpus", "tasks", "cgroup.procs", "notify_on_release"):
        (bare / name).write_text("0\n")
    backend = host.backend()
    assert set(backend.files(Place("cpuset"))) == {
        "cpuset.cpus",
        "tasks",
        "cgroup.procs",
        "notify_on_release",
    }
    assert backend.read(Place("cpuset"), "cpuset.cpus") == "0\n"
    assert backend.read(Place("cpuset"), "cgroup.procs") == "0\n"
    assert backend.spelled(Place("cpuset"), "cpuset.cpus") == "cpuset.cpus"
    host.mounts(host.line("bare", "cpuset,noprefix"), host.line("long", "cpuset"))
    backend = host.backend()
    assert backend.show(Place("cpuset"), "cpuset.cpus") == f"{host.point('long')}/cpuset.cpus"


def test_where_one_can_write_is_preferred_to_all_else(host: Host) -> None:
    read_only = host.line("ro", "cpuset").replace(" rw shared", " ro shared")
    host.mounts(read_only, host.line("bare", "cpuset,noprefix"))
    assert host.backend().show(Place("cpuset"), "cpuset.cpus") == f"{host.point('bare')}/cpus"


def test_what_is_occupied_is_not_mounted_over(host: Host) -> None:
    host.mounts(host.line("a", "cpuset"))
    (host.point("b") / "file").write_text("")
    occupied = host.backend().occupied
    assert "mounted" in occupied(str(host.point("a")), False)
    assert "not empty" in occupied(str(host.point("b")), True)
    assert occupied(str(host.point("b")), False) == ""
    assert occupied(str(host.point("c")), True) == occupied("/no/such", True) == ""


def test_children_are_directories_and_not_links_to_them(host: Host) -> None:
    host.mounts(host.line("cpuset", "cpuset"))
    top = host.point("cpuset")
    for name in ("b", "a", "c/d"):
        (top / name).mkdir(parents=True)
    (top / "link").symlink_to(top / "a")
    (top / "tasks").write_text("")
    assert host.backend().children(Place("cpuset")) == ["a", "b", "c"]


def test_names_in_use_are_those_of_containers_and_of_control_files(host: Host) -> None:
    host.mounts(host.line("cpuset", "cpuset"))
    top, backend = host.point("cpuset"), host.backend()
    (top / "tasks").write_text("")
    for number in range(3):
        (top / f"{number}").mkdir()
    names = ["0", "2", "tasks", "new"]
    assert backend.names_in_use(Place("cpuset"), names) == {"0", "2", "tasks"}
    assert [one for one in names if backend.names_in_use(Place("cpuset"), [one])] == names[:3]


def test_a_control_file_is_never_made(host: Host) -> None:
    host.mounts(host.line("cpuset", "cpuset"))
    with pytest.raises(FileNotFoundError) as caught:
        host.backend().write(Place("cpuset"), "cpuset.cpus", "0")
    assert not isinstance(caught.value, WriteRefused)
    assert not (host.point("cpuset") / "cpuset.cpus").exists()


def test_a_write_is_one_write_and_is_not_truncated_first(host: Host) -> None:
    host.mounts(host.line("cpuset", "cpuset"))
    file = host.point("cpuset") / "cpuset.cpus"
    file.write_text("0-3,8\n")
    host.backend().write(Place("cpuset"), "cpuset.cpus", "1")
    assert file.read_text() == "1-3,8\n"


def test_an_unknown_tree_is_not_found_with_its_name(host: Host) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        host.backend().read(Place("blkio"), "tasks")
    assert caught.value.filename == "blkio"


def test_a_hierarchy_that_is_unmounted_during_a_command_is_looked_for_again(host: Host) -> None:
    backend = host.backend()
    with pytest.raises(FileNotFoundError):
        backend.children(Place("cpuset"))
    host.mounts(host.line("cpuset", "cpuset"))
    backend.trees()
    assert backend.children(Place("cpuset")) == []


# Tasks


def test_a_removed_container_differs_from_one_whose_name_says_deleted(host: Host) -> None:
    host.mounts(host.line("cpuset", "cpuset"))
    host.proc("7/cgroup", "3:cpuset:/a:b (deleted)\n")
    assert host.backend().membership(7) == {"cpuset": "/a:b"}
    (host.point("cpuset") / "a:b (deleted)").mkdir()
    assert host.backend().membership(7) == {"cpuset": "/a:b (deleted)"}


def test_an_exiting_task_is_in_the_roots_of_v1_and_in_its_container_of_v2(host: Host) -> None:
    host.proc("7/cgroup", "3:cpuset:/a:b\n2:cpuacct:/\n0::/user.slice\n")
    host.proc("7/status", "Name:\tx\nTgid:\t7\n")
    for flags, path in (("0", "/a:b"), ("4", "/")):  # PF_EXITING
        host.proc("7/task/7/stat", f"7 (x) S 1 0 0 0 -1 {flags}{' 0' * 43}\n")
        found = host.backend().membership(7)
        assert found == {"cpuset": path, "cpuacct": "/", "unified": "/user.slice"}
    with pytest.raises(ProcessLookupError) as caught:
        host.backend().membership(8)
    assert (caught.value.errno, caught.value.filename) == (errno.ESRCH, "8")


def test_a_process_cannot_pass_for_another_by_its_name() -> None:
    """Of a name /proc/PID/status escapes newline and backslash only."""
    disguise = (
        "open('/proc/self/comm', 'w', newline='').write('x\\rTgid: 1')\n"
        "print(flush=True)\ninput()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", disguise], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"\n"
        found = Cgroupfs().task(process.pid)
        process.kill()
    assert (found.pid, found.name) == (process.pid, "x\rTgid: 1")


def test_threads_of_an_unknown_process_are_no_such_task(host: Host) -> None:
    with pytest.raises(ProcessLookupError):
        host.backend().threads(7)
    (host.root / "proc/7/task/7").mkdir(parents=True)
    (host.root / "proc/7/task/12").mkdir()
    assert host.backend().threads(7) == [7, 12]


# cgroup v2


@pytest.fixture
def unified(host: Host) -> Path:
    """The directory of a cgroup2 mount, with two threaded containers of files."""
    host.mounts(host.line("cpuset", "cpuset"), host.line("v2", "rw", type="cgroup2"))
    top = host.point("v2")
    for path, kind in (("a", "domain threaded"), ("a/b", "threaded")):
        (top / path).mkdir()
        (top / path / "cgroup.type").write_text(f"{kind}\n")
        (top / path / "cgroup.freeze").write_text("0\n")
        (top / path / "cgroup.events").write_text("populated 1\nfrozen 0\n")
        (top / path / "cgroup.threads").write_text("7\n8\n")
    return top


def test_v2_is_the_last_tree_and_its_controllers_are_read_when_asked_for(
    host: Host, unified: Path
) -> None:
    trees = host.backend().trees()
    assert [(one.id, one.number, one.mounted) for one in trees[-2:]] == [
        ("cpuset", 3, True),
        ("unified", 0, True),
    ]
    (unified / "cgroup.controllers").write_text("pids memory\n")
    assert trees[-1].controllers == ("pids", "memory")
    assert trees[-1]._replace(mounts=()).controllers == ("pids", "memory")
    assert not any(mount.ours for mount in trees[-1].mounts), "pcont never mounts cgroup2"


def test_a_v2_mount_that_shows_no_known_path_is_no_tree(host: Host) -> None:
    host.mounts(host.line("v2", "rw", root="/../..", type="cgroup2"))
    assert "unified" not in [one.id for one in host.backend().trees()]


def test_a_removed_container_of_v2_has_no_mark(host: Host, unified: Path) -> None:
    host.proc("7/cgroup", "0::/a (deleted)\n")
    assert host.backend().membership(7) == {"unified": "/a"}
    (unified / "a (deleted)").mkdir()
    assert host.backend().membership(7) == {"unified": "/a (deleted)"}


@pytest.mark.parametrize(
    ("own", "above", "frozen", "found"),
    [
        (0, 0, 0, ("THAWED", "0", "0")),
        (1, 0, 0, ("FREEZING", "1", "0")),
        (1, 0, 1, ("FROZEN", "1", "0")),
        (0, 1, 1, ("FROZEN", "0", "1")),
        (1, 1, 1, ("FROZEN", "1", "1")),
    ],
)
def test_v2_answers_as_the_freezer_of_v1(
    host: Host, unified: Path, own: int, above: int, frozen: int, found: tuple[str, ...]
) -> None:
    (unified / "a/cgroup.freeze").write_text(f"{above}\n")
    (unified / "a/b/cgroup.freeze").write_text(f"{own}\n")
    (unified / "a/b/cgroup.events").write_text(f"populated 1\nfrozen {frozen}\n")
    place, backend = Place("unified", "/a/b"), host.backend()
    files = ("state", "self_freezing", "parent_freezing")
    assert tuple(backend.read(place, f"freezer.{file}").strip() for file in files) == found
    backend.write(place, "freezer.state", "FROZEN")
    assert (unified / "a/b/cgroup.freeze").read_text().startswith("1")
    for file, text in (("state", "1"), ("self_freezing", "1"), ("parent_freezing", "0")):
        with pytest.raises(WriteRefused) as caught:
            backend.write(place, f"freezer.{file}", text)
        assert caught.value.errno == errno.EINVAL
    assert backend.show(place, "tasks") == f"{unified}/a/b/cgroup.threads"
    with pytest.raises(FileNotFoundError):
        backend.read(place.root, "freezer.state")


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_limit_of_containers_of_v2_is_found_before_a_new_one_and_explained(
    host: Host, unified: Path, dry_run: bool
) -> None:
    for path, most in ((".", "max"), ("a", "1")):
        (unified / path / "cgroup.max.descendants").write_text(f"{most}\n")
        (unified / path / "cgroup.max.depth").write_text("max\n")
        (unified / path / "cgroup.stat").write_text("nr_descendants 1\nnr_dying_descendants 0\n")
    host.proc(f"{os.getpid()}/cgroup", "0::/\n")
    host.proc("self/status", Path("/proc/self/status").read_text())
    place, backend = Place("unified", "/a/c"), host.backend()
    if dry_run:
        with pytest.raises(OSError, match="unavailable") as caught:
            rehearsing(backend).make(place)
        assert caught.value.errno == errno.EAGAIN
        return
    refused = OSError(errno.EAGAIN, os.strerror(errno.EAGAIN), str(unified / "a/c"))
    said = explain.make_refusal(backend, place, refused, "create it")
    assert "the limit of 1 containers below" in said.message
    assert "cgroup.max.descendants=2" in said.hint


def test_a_dry_run_of_a_kill_thaws_a_frozen_container_of_v2_with_its_own_words(
    host: Host, unified: Path
) -> None:
    for kind in ("cpu", "node"):
        for file in ("online", "possible"):
            host.sys(f"devices/system/{kind}/{file}", "0\n")
    top = unified / "a"
    (top / "cgroup.freeze").write_text("1\n")
    (top / "cgroup.procs").write_text("7\n")
    step = Kill([Place("unified", "/a")], "kill all", lambda pids: None)
    assert step.dry_run_lines(host.backend()) == [
        "kill -KILL 7",
        f"echo 0 > {top}/cgroup.freeze",
    ]
    (top / "cgroup.freeze").write_text("0\n")
    assert step.dry_run_lines(host.backend()) == [
        f"echo 1 > {top}/cgroup.freeze",
        "kill -KILL 7",
        f"echo 0 > {top}/cgroup.freeze",
    ]
