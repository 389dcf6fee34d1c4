"""procfs: the texts of /proc as they are on hosts of many kinds, read into trees and tasks."""

from __future__ import annotations

import os
import threading

import pytest

from pcont.kernel.proc_text import (
    controllers,
    memberships,
    mount_lines,
    mount_point_of,
    unescape,
)
from pcont.kernel.types import Controller, Mount, Tree, source
from pcont.kernel.v1 import selecting, trees
from pcont.linux.proc import Proc
from pcont.linux.procfs import (
    CpuTime,
    capabilities,
    cpu_time,
    first_thread,
    namespace_pins,
    signals,
    started,
    task,
    timed,
)

CGROUPS = """\
#subsys_name\thierarchy\tnum_cgroups\tenabled
cpuset\t3\t1\t1
cpu\t2\t5\t1
cpuacct\t2\t5\t1
memory\t0\t40\t1
freezer\t0\t40\t0
"""
KNOWN = ("cpuset", "cpu", "cpuacct", "memory", "freezer")

HYBRID = """\
22 28 0:20 / /sys rw,nosuid shared:7 - sysfs sysfs rw
28 22 0:24 / /sys/fs/cgroup ro,nosuid shared:9 - tmpfs tmpfs ro,mode=755
29 28 0:25 / /sys/fs/cgroup/unified rw,nosuid shared:10 - cgroup2 cgroup2 rw,nsdelegate
30 28 0:26 / /sys/fs/cgroup/systemd rw shared:11 - cgroup cgroup rw,xattr,name=systemd
31 28 0:27 / /sys/fs/cgroup/cpu,cpuacct rw shared:12 - cgroup cgroup rw,cpu,cpuacct
32 28 0:28 / /sys/fs/cgroup/cpuset rw shared:13 - cgroup cgroup rw,cpuset
"""
OWN = """\
3:cpuset:/
2:cpu,cpuacct:/user.slice
1:name=systemd:/user.slice/a:b.scope
0::/user.slice
"""


def mounted(*lines: str, own: str, known: tuple[str, ...] = KNOWN) -> tuple[Tree, ...]:
    """The trees that mountinfo lines and a /proc/self/cgroup make."""
    return trees(own, mount_lines("".join(f"{line}\n" for line in lines)), known)


def line(options: str, point: str = "/m", root: str = "/", source: str = "cgroup") -> str:
    """A line of mountinfo for a v1 mount."""
    return f"40 28 0:30 {root} {point} rw,relatime shared:1 - cgroup {source} rw,{options}"


# mountinfo


def test_a_mount_line_is_read_whatever_its_optional_fields_are() -> None:
    text = (
        "36 35 98:0 / /plain rw - cgroup one rw,cpu\n"
        "36 35 98:1 / /shared rw shared:1 master:2 propagate_from:3 unbindable - cgroup two rw\n"
    )
    one, two = mount_lines(text)
    assert (one.device, one.point, one.source, one.options) == (
        "98:0",
        "/plain",
        "one",
        ("rw", "cpu"),
    )
    assert (two.device, two.point, two.type, two.source) == ("98:1", "/shared", "cgroup", "two")


def test_mount_lines_keep_their_order() -> None:
    assert [one.type for one in mount_lines(HYBRID)] == ["sysfs", "tmpfs", "cgroup2"] + [
        "cgroup"
    ] * 3


@pytest.mark.parametrize("text", ["", "\n", "garbage\n", "1 2 3 - cgroup\n", "1 2 0:1 / /a rw\n"])
def test_what_is_no_mount_line_is_passed_over(text: str) -> None:
    assert mount_lines(text) == []


@pytest.mark.parametrize(
    ("escaped", "plain"),
    [
        ("/plain", "/plain"),
        (r"/a\040b", "/a b"),
        (r"/a\011b\012c", "/a\tb\nc"),
        (r"/back\134slash", "/back\\slash"),
        (r"/back\134040", r"/back\040"),
        ("/grün", "/grün"),
        (r"/\303\274", "/ü"),
        (r"/\377", "/\udcff"),
        ("/\udcff", "/\udcff"),
        (r"/\udc", r"/\udc"),
        (r"/a\04", r"/a\04"),
    ],
)
def test_octal_escapes_are_undone_once(escaped: str, plain: str) -> None:
    assert unescape(escaped) == plain


@pytest.mark.parametrize(
    ("escaped", "plain"),
    [(r"/gr\040ün", "/gr ün"), (r"/ÿ\040é", "/ÿ é"), (r"/\040→", "/ →"), (r"/é\377", "/é\udcff")],
)
def test_letters_beside_an_escape_stay_what_they_are(escaped: str, plain: str) -> None:
    assert unescape(escaped) == plain


def test_escapes_are_undone_in_root_point_and_source() -> None:
    (one,) = mount_lines(line("cpuset", r"/my\040point", r"/a\040b", r"pcont\0721"))
    assert (one.point, one.root, one.source) == ("/my point", "/a b", "pcont:1")


@pytest.mark.parametrize("sign", ["\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\r"])
def test_only_a_newline_ends_a_mount_line(sign: str) -> None:
    """The kernel escapes blank, tab, newline and backslash, and nothing else."""
    lines = mount_lines(line("cpuset", f"/a{sign}b") + "\n" + line("memory") + "\n")
    assert [one.point for one in lines] == [f"/a{sign}b", "/m"]


def test_a_mount_is_found_by_its_type_and_its_point() -> None:
    lines = mount_lines(HYBRID)
    assert mount_point_of(lines, "cgroup2") == "/sys/fs/cgroup/unified"
    assert mount_point_of(lines, "tmpfs", "/sys/fs/cgroup") == "/sys/fs/cgroup"
    assert mount_point_of(lines, "tmpfs", "/tmp") is None
    assert mount_point_of(lines, "bpf") is None


# /proc/PID/cgroup


def test_memberships_are_number_tree_and_path() -> None:
    assert memberships(OWN) == [
        (3, "cpuset", "/"),
        (2, "cpu,cpuacct", "/user.slice"),
        (1, "name=systemd", "/user.slice/a:b.scope"),
        (0, "", "/user.slice"),
    ]


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("4:cpuset:/a:b:c\n", "/a:b:c"),
        ("4:cpuset:/a b\n", "/a b"),
        ("4:cpuset:/a (deleted)\n", "/a (deleted)"),
        ("4:cpuset:/a:/b\n", "/a:/b"),
        ("4:cpuset:/ (deleted)/b\n", "/ (deleted)/b"),
        ("4:cpuset:/..\n", "/.."),
    ],
)
def test_a_path_may_hold_what_separates_elsewhere(text: str, path: str) -> None:
    assert memberships(text) == [(4, "cpuset", path)]


@pytest.mark.parametrize("sign", ["\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\r"])
def test_only_a_newline_ends_a_membership(sign: str) -> None:
    """A container may be called anything without a newline, and the kernel escapes nothing here."""
    assert memberships(f"4:cpuset:/a{sign}b\n3:cpu:/\n") == [
        (4, "cpuset", f"/a{sign}b"),
        (3, "cpu", "/"),
    ]


# /proc/cgroups


def test_controllers_have_their_hierarchy_and_whether_they_are_switched_on() -> None:
    assert controllers(CGROUPS, ["memory"]) == (
        Controller("cpuset", 3, True, containers=1),
        Controller("cpu", 2, True, containers=5),
        Controller("cpuacct", 2, True, containers=5),
        Controller("memory", 0, True, unified=True, containers=40),
        Controller("freezer", 0, False, containers=40),
    )


def test_a_kernel_without_controllers_has_none() -> None:
    assert controllers("#subsys_name\thierarchy\tnum_cgroups\tenabled\n") == ()


# Trees


def test_a_hybrid_host_has_its_v1_trees_in_the_order_of_their_numbers() -> None:
    found = trees(OWN, mount_lines(HYBRID), KNOWN)
    assert found == (
        Tree(
            "name=systemd",
            1,
            (),
            "systemd",
            (Mount("/sys/fs/cgroup/systemd", source="cgroup"),),
        ),
        Tree(
            "cpu,cpuacct",
            2,
            ("cpu", "cpuacct"),
            "",
            (Mount("/sys/fs/cgroup/cpu,cpuacct", source="cgroup"),),
        ),
        Tree("cpuset", 3, ("cpuset",), "", (Mount("/sys/fs/cgroup/cpuset", source="cgroup"),)),
    )


def test_a_host_with_v2_alone_has_no_trees() -> None:
    assert trees("0::/init.scope\n", mount_lines(HYBRID), KNOWN) == ()


def test_a_pair_is_one_tree_in_whatever_order_the_options_stand() -> None:
    (found,) = mounted(line("cpuacct,cpu"), own="2:cpu,cpuacct:/\n")
    assert found.controllers == ("cpu", "cpuacct")
    assert found.mounted


def test_every_mount_of_a_hierarchy_is_known() -> None:
    (found,) = mounted(line("cpuset", "/one"), line("cpuset", "/two", "/a/b"), own="2:cpuset:/\n")
    assert [(one.point, one.root) for one in found.mounts] == [("/one", "/"), ("/two", "/a/b")]


def test_a_mount_without_prefix_is_known_as_such() -> None:
    (found,) = mounted(
        line("cpuset,noprefix", "/dev/cpuset"), line("cpuset", "/m"), own="2:cpuset:/\n"
    )
    assert [one.prefixed for one in found.mounts] == [False, True]


@pytest.mark.parametrize(("root", "seen"), [("/..", 0), ("/../..", 0), ("/..x", 1), ("/a", 1)])
def test_what_is_rooted_above_a_cgroup_namespace_cannot_be_reached(root: str, seen: int) -> None:
    (tree,) = mounted(line("cpuset", root=root), own="3:cpuset:/\n")
    assert len(tree.mounts) == seen


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("cpu,cpuacct", "cpu,cpuacct"),
        ("xattr,release_agent=/x,name=jobs", "none,name=jobs"),
        ("cpuset,clone_children,name=jobs", "cpuset,name=jobs"),
        ("nsdelegate", ""),
    ],
)
def test_some_options_say_which_hierarchy_it_is(options: str, words: str) -> None:
    assert selecting(mount_lines(line(options))[0], KNOWN) == words


def test_pins_are_mounts_below_their_directory() -> None:
    lines = (
        "50 1 0:50 / /run/pcont/ns/box rw - tmpfs pcont rw",
        "51 50 0:4 net:[4026532182] /run/pcont/ns/box/net rw - nsfs nsfs rw",
        "52 50 0:4 ipc:[4026532183] /run/pcont/ns/box/ipc rw - nsfs nsfs rw",
        "53 1 0:51 / /run/pcont/ns/half rw - tmpfs pcont rw",
        "54 1 0:4 net:[4026532184] /run/netns/other rw - nsfs nsfs rw",
    )
    found = namespace_pins(mount_lines("".join(f"{one}\n" for one in lines)), "/run/pcont/ns")
    assert found == {"box": ["ipc", "net"], "half": []}


def test_a_mount_that_cannot_be_written_is_known_as_such() -> None:
    read_only = line("cpuset", "/ro").replace("rw,relatime", "ro,relatime")
    frozen = line("cpuset", "/odd").replace("rw,cpuset", "ro,cpuset")
    (found,) = mounted(read_only, line("cpuset", "/rw"), frozen, own="2:cpuset:/\n")
    assert [one.writable for one in found.mounts] == [False, True, True]


def test_an_active_hierarchy_need_not_be_mounted() -> None:
    (found,) = mounted(line("cpuset"), own="7:memory:/\n")
    assert (found.id, found.mounts, found.mounted) == ("memory", (), False)


def test_a_named_tree_may_have_controllers_or_none() -> None:
    bare, both = mounted(
        line("name=jobs", "/jobs"),
        line("freezer,name=ice", "/ice"),
        own="5:freezer,name=ice:/\n4:name=jobs:/\n",
    )
    assert (bare.name, bare.controllers, bare.mounts[0].point) == ("jobs", (), "/jobs")
    assert (both.name, both.controllers, both.mounts[0].point) == ("ice", ("freezer",), "/ice")


def test_trees_of_equal_controllers_and_other_names_are_apart() -> None:
    one, two = mounted(line("name=a", "/a"), line("name=b", "/b"), own="4:name=a:/\n5:name=b:/\n")
    assert (one.mounts[0].point, two.mounts[0].point) == ("/a", "/b")


def test_options_that_are_no_controllers_tell_nothing() -> None:
    (found,) = mounted(
        line(r"xattr,clone_children,favordynmods,release_agent=/sbin/a\054cpuset,memory"),
        own="2:memory:/\n",
    )
    assert found.mounted


def test_a_cgroup2_mount_is_no_mount_of_a_v1_tree() -> None:
    text = "29 28 0:25 / /cg rw - cgroup2 cgroup2 rw,cpuset\n"
    (found,) = trees("2:cpuset:/\n", mount_lines(text), KNOWN)
    assert not found.mounted


@pytest.mark.parametrize("point", ["/a", "/a b/c:d", "/grün/→"])
def test_what_pcont_leaves_in_the_source_it_reads_again(point: str) -> None:
    left, there = (text.replace(" ", r"\040") for text in (source(point, 1), point))
    (found,) = mounted(line("cpuset", there, source=left), own="2:cpuset:/\n")
    assert found.mounts[0].ours
    assert found.mounts[0].made == [point]


def test_a_bind_mount_of_pconts_mount_is_not_pconts() -> None:
    (found,) = mounted(
        line("cpuset", "/a", source=source("/a", 1)),
        line("cpuset", "/b", source=source("/a", 1)),
        own="2:cpuset:/\n",
    )
    assert [(one.ours, one.made) for one in found.mounts] == [(True, ["/a"]), (False, [])]


@pytest.mark.parametrize(
    ("left", "ours", "made"),
    [
        ("pcont:0:/run/cgroup/jobs", True, []),
        ("pcont:2:/run/cgroup/jobs", True, ["/run/cgroup/jobs", "/run/cgroup"]),
        ("pcont:x:/run/cgroup/jobs", True, []),
        ("pcont:2:/elsewhere", False, []),
        ("pcont:2", False, []),
        ("pcont", False, []),
        ("cgroup", False, []),
        ("pcontx:1:/run/cgroup/jobs", False, []),
    ],
)
def test_the_source_says_whether_pcont_mounted_it_and_made_its_directories(
    left: str, ours: bool, made: list[str]
) -> None:
    (found,) = mounted(line("cpuset", "/run/cgroup/jobs", source=left), own="2:cpuset:/\n")
    assert (found.mounts[0].ours, found.mounts[0].made) == (ours, made)


# /proc/PID/stat


def stat(name: str, state: str = "S", flags: int = 0x400000) -> str:
    """A line of /proc/PID/stat: ids, times, start, processor."""
    fields = ["7", "4711", "4711", "0", "-1", str(flags), *"1234", "250", "75", "0", "0"]
    fields += ["20", "0", "1", "0", "991", "1000", "2", *("0" for _ in range(13)), "17", "3"]
    return f"4711 ({name}) {state} {' '.join(fields)} 0 0\n"


@pytest.mark.parametrize(
    "name", ["sh", "a b", "a) S 1 (b", "(sd-pam)", ") (", "x) ", "", "new\nline"]
)
def test_a_tasks_name_may_hold_blanks_and_parentheses(name: str) -> None:
    found = task(stat(name), 4700)
    assert (found.name, found.id, found.pid, found.parent) == (name, 4711, 4700, 7)
    assert (found.state, found.start, found.kernel) == ("S", 991, False)


def test_a_kernel_thread_is_known_by_its_flag() -> None:
    assert task(stat("kthreadd", flags=0x208040), 2).kernel


@pytest.mark.parametrize(("state", "gone"), [("Z", True), ("X", True), ("R", False), ("D", False)])
def test_a_zombie_counts_as_ended(state: str, gone: bool) -> None:
    assert task(stat("x", state), 1).exited is gone


def test_a_task_that_is_ending_is_known_by_a_flag() -> None:
    """PF_EXITING of include/linux/sched.h: before it is a zombie, and still in its containers."""
    found = task(stat("x", "D", flags=0x40000C), 1)
    assert found.ending
    assert found.exited
    assert not task(stat("x", "D"), 1).ending


def test_the_first_thread_of_a_process_is_known_by_its_exit_signal() -> None:
    found = first_thread(stat("x"))
    assert found
    assert (found.id, found.pid, found.threads) == (4711, 4711, 1)
    assert first_thread(stat("x").replace(" 17 3 0 0\n", " -1 3 0 0\n")) is None


def test_the_number_of_tasks_that_were_started_is_read_where_it_is() -> None:
    assert started("cpu 1 2\nctxt 9\nprocesses 4711\nprocs_running 2\n") == 4711
    assert started("cpu 1 2\n") == 0


def test_one_file_tells_what_a_process_is(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    read_file = os.open

    def opened(file: str, flags: int, **more: int | None) -> int:
        read.append(file)
        return read_file(file, flags)

    begun, end = threading.Event(), threading.Event()

    def running() -> None:
        begun.set()
        end.wait()

    thread = threading.Thread(target=running)
    thread.start()
    begun.wait()
    assert thread.native_id
    own, found = Proc(), os.getpid()
    monkeypatch.setattr(os, "open", opened)
    try:
        assert (own.task(found).id, own.task(found).pid) == (found, found)
        assert read == [f"/proc/{found}/task/{found}/stat"] * 2
        assert own.task(thread.native_id).pid == found
        read.clear()
        assert own.task(thread.native_id).pid == found
        assert read == [f"/proc/{found}/task/{thread.native_id}/stat"]
    finally:
        end.set()
        thread.join()


def test_cpu_time_is_in_nanoseconds_whatever_the_tick_is() -> None:
    assert cpu_time(stat("a b) R"), 100) == CpuTime(2_500_000_000, 750_000_000, 3)
    assert cpu_time(stat("x"), 250).user == 1_000_000_000


def test_a_task_and_its_cpu_time_come_from_one_line() -> None:
    line = stat("a b) R")
    assert timed(line, 7, 100) == (task(line, 7), cpu_time(line, 100))


def test_this_process_is_read_as_it_is() -> None:
    with open("/proc/self/stat", encoding="utf-8") as stream:
        text = stream.read()
    pid = int(text.split()[0])
    assert task(text, pid).state in "RS"
    assert not task(text, pid).kernel


STATUS = "Name:\tsh\nSigPnd:\t1\nShdPnd:\t2\nSigBlk:\t4\nSigIgn:\t8\nSigCgt:\t{:016x}\n"


def test_signals_are_bits_and_pending_for_a_task_or_its_process() -> None:
    found = signals(STATUS.format(1 << 14))
    assert (found.pending, found.blocked, found.ignored, found.caught) == (3, 4, 8, 1 << 14)


def test_capabilities_are_bits() -> None:
    assert capabilities("Name:\tsh\nCapEff:\t0000000000200000\n") == 1 << 21
