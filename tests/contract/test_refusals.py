"""What each v1 controller refuses: the errno of the kernel, and the reason that pcont gives for it.

One row for each refusal: file, value, errno, exit status, words of the reason. Rows of controllers
that this host does not have bound run on hierarchies of their own, those of a machine in a guest.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pcont.errors import NotFound
from pcont.kernel.types import Place
from tests.conftest import elsewhere
from tests.contract.conftest import Pcont, Top, eventually, new_top
from tests.hints import COMMAND, hints

pytestmark = pytest.mark.kernel

Row = tuple[str, str, str, int, str]

SIZE = "the file takes a size, as in 512M or 1G, or bytes; -1 for no limit"
DEVICE = "the file takes c|b MAJOR:MINOR and letters of rwm, as in 'c 1:3 rwm'"
RATE = "the file takes MAJOR:MINOR of a disk and a number, as in '8:0 1048576'"

MEMORY: list[Row] = [
    *(
        (f"memory.{kind}limit_in_bytes", text, "EINVAL", 7, SIZE)
        for kind in ("", "memsw.", "soft_", "kmem.", "kmem.tcp.")
        for text in ("512MB", "50%", "1.5G", "-2", "lots")
    ),
    ("memory.limit_in_bytes", "", "EINVAL", 7, "the kernel reads '' as 0"),
    ("memory.limit_in_bytes", "16E", "EINVAL", 7, "the kernel reads 16E as 0"),
    ("memory.swappiness", "201", "EINVAL", 7, "between 0 and 200"),
    ("memory.swappiness", "50%", "EINVAL", 7, "takes a number"),
    ("memory.swappiness", "9" * 20, "ERANGE", 7, "takes a number"),
    ("memory.oom_control", "2", "EINVAL", 7, "0: the kernel kills one"),
    ("memory.use_hierarchy", "0", "EINVAL", 7, "Linux 5.11 fixed it at 1"),
    ("memory.move_charge_at_immigrate", "4", "EINVAL", 7, "2 file mappings, 3 both"),
    ("memory.usage_in_bytes", "1", "EINVAL", 7, "can only be read"),
    ("cgroup.event_control", "1", "EINVAL", 7, "two descriptors and a control file"),
]
CPU: list[Row] = [
    ("cpu.shares", "lots", "EINVAL", 7, "takes a number"),
    ("cpu.shares", "9" * 20, "ERANGE", 7, "takes a number"),
    ("cpu.idle", "2", "EINVAL", 7, "takes 0 or 1"),
    ("cpu.cfs_quota_us", "999", "EINVAL", 7, "a quota is between 1000 and 17592186044415"),
    ("cpu.cfs_quota_us", str(1 << 44), "EINVAL", 7, "a quota is between 1000 and 17592186044415"),
    ("cpu.cfs_quota_us", "50%", "EINVAL", 7, "takes a number"),
    ("cpu.cfs_period_us", "999", "EINVAL", 7, "a period is between 1000 and 1000000"),
    ("cpu.cfs_period_us", "1000001", "EINVAL", 7, "a period is between 1000 and 1000000"),
]
REAL_TIME: list[Row] = [
    ("cpu.rt_runtime_us", "1000001", "EINVAL", 7, "it cannot be longer"),
    ("cpu.rt_runtime_us", "950001", "EINVAL", 7, "the machine gives real-time tasks 950000 of"),
    ("cpu.rt_runtime_us", "-1", "EINVAL", 7, "the machine gives real-time tasks 950000 of"),
    ("cpu.rt_period_us", "0", "EINVAL", 7, "a period cannot be 0"),
]
DEVICES: list[Row] = [
    *(
        (file, text, "EINVAL", 7, DEVICE)
        for file in ("devices.allow", "devices.deny")
        for text in ("c 1:3", "x 1:3 rwm", "c 1 rwm", "c 1:3 x", "c1:3 rwm", "/dev/null", "")
    ),
    ("devices.allow", "c 1:3 rwm extra", "EINVAL", 7, "reads 'c 1:3 rwm extra' as c 1:3 rwm"),
    ("devices.allow", "a *:* rw", "EINVAL", 7, "the kernel reads 'a *:* rw' as a *:* rwm"),
    ("devices.allow", f"c {1 << 32}:1 r", "EINVAL", 7, DEVICE),
    ("devices.list", "a", "EINVAL", 7, "can only be read"),
]
BLKIO: list[Row] = [
    *(
        (f"blkio.throttle.{kind}_device", text, "EINVAL", 7, RATE)
        for kind in ("read_bps", "write_bps", "read_iops", "write_iops")
        for text in ("7:0", "7:0 max", "7:0 -1", "nonsense", "")
    ),
    ("blkio.throttle.read_bps_device", "7:0 1M", "EINVAL", 7, "reads '7:0 1M' as 7:0 1;"),
    ("blkio.throttle.read_bps_device", "99:99 100", "ENODEV", 3, "no block device 99:99"),
    ("blkio.bfq.weight", "0", "ERANGE", 7, "a weight is between 1 and 1000"),
    ("blkio.bfq.weight", "lots", "EINVAL", 7, "takes a number"),
    ("blkio.bfq.weight_device", "99:99 100", "ENODEV", 3, "no block device 99:99"),
    ("blkio.bfq.weight_device", "lots", "EINVAL", 7, "MAJOR:MINOR and a weight or default"),
    ("blkio.reset_stats", "lots", "EINVAL", 7, "any number resets"),
]
NET_CLS: list[Row] = [
    ("net_cls.classid", "10:1", "EINVAL", 7, "as in 0x00100001 for the class 10:1 of tc"),
    ("net_cls.classid", str(1 << 32), "EINVAL", 7, "the kernel reads 4294967296 as 0"),
]
NET_PRIO: list[Row] = [
    ("net_prio.ifpriomap", "nosuch 5", "ENODEV", 3, "there is no interface nosuch; there are: "),
    ("net_prio.ifpriomap", "lo", "EINVAL", 7, "the name of an interface and a number"),
    ("net_prio.ifpriomap", "lo 5%", "EINVAL", 7, "the kernel reads 'lo 5%' as lo 5"),
    ("net_prio.ifpriomap", "", "EINVAL", 7, "the name of an interface and a number"),
    ("net_prio.prioidx", "1", "EINVAL", 7, "can only be read"),
]
HUGETLB: list[Row] = [
    (f"hugetlb.2MB.{kind}limit_in_bytes", text, "EINVAL", 7, SIZE)
    for kind in ("", "rsvd.")
    for text in ("512MB", "max", "50%", "-2", "")
]
RDMA: list[Row] = [
    ("rdma.max", "nosuch hca_handle=1", "ENODEV", 3, "there is no RDMA device 'nosuch'"),
    ("rdma.max", "x hca_handle=-1", "EINVAL", 7, "as in 'mlx5_0 hca_handle=2 hca_object=2000'"),
    ("rdma.max", "x nosuch=1", "EINVAL", 7, "as in 'mlx5_0 hca_handle=2 hca_object=2000'"),
]
MISC: list[Row] = [
    ("misc.max", "nosuch 1", "EINVAL", 7, "this machine has no resource 'nosuch'"),
    ("misc.max", "nosuch", "EINVAL", 7, "a resource and a number or max"),
    ("misc.current", "1", "EINVAL", 7, "can only be read"),
]
CORE: list[Row] = [
    (file, text, "EINVAL", 7, "takes 0 or 1")
    for file in ("notify_on_release", "cgroup.clone_children")
    for text in ("yes", "-1")
]
BY_CONTROLLER = {
    "memory": MEMORY,
    "cpu": CPU,
    "devices": DEVICES,
    "blkio": BLKIO,
    "net_cls": NET_CLS,
    "net_prio": NET_PRIO,
    "hugetlb": HUGETLB,
    "rdma": RDMA,
    "misc": MISC,
    "freezer": CORE,
}
ROWS = [
    pytest.param(name, *row, id=" ".join((row[0], row[1] or "nothing")))
    for name, rows in BY_CONTROLLER.items()
    for row in rows
]
FIXED = [
    *(("memory", f"memory.{kind}limit_in_bytes", "1G") for kind in ("", "memsw.", "kmem.tcp.")),
    ("memory", "memory.oom_control", "1"),
    *(("cpu", f"cpu.{key}", "1000") for key in ("shares", "cfs_quota_us", "cfs_period_us")),
    ("hugetlb", "hugetlb.2MB.limit_in_bytes", "1G"),
]


@pytest.fixture
def own(kernel: Pcont, name: str) -> Iterator[Callable[[str], Top]]:
    """Containers of this test in the hierarchies of controllers; gone afterwards."""
    with contextlib.ExitStack() as stack:

        def make(controller: str) -> Top:
            known = {one.name: one for one in kernel.backend().controllers()}
            if controller not in known or not known[controller].enabled:
                elsewhere(f"it has no {controller}")
            trees = [tree for tree in kernel.backend().trees() if not tree.is_unified]
            bound = any(controller in tree.controllers for tree in trees)
            top = new_top if bound else _mounted_top
            return stack.enter_context(top(kernel, controller, name))

        yield make


@contextlib.contextmanager
def _mounted_top(pcont: Pcont, controller: str, name: str) -> Iterator[Top]:
    """The same in a controller that is free here, which is free again afterwards."""
    pcont.ok("mount", "-o", controller)
    top = Top(pcont, controller, f"/{name}")
    try:
        pcont.ok("create", top.at())
        yield top
        pcont.ok("rm", "-r", "--kill", top.at())
    finally:
        assert eventually(lambda: pcont("umount", controller).status == 0)


def refuse(top: Top, row: Row, path: str = "") -> str:
    """The message of a refusal; nothing of it is set then."""
    file, text, number, status, words = row
    kernel = top.pcont
    if file not in kernel.backend().files(top.place(path)):
        elsewhere(f"it has no {file}")
    before = kernel("get", top.at(path), file).out
    said = kernel.fails(status, "set", top.at(path), f"{file}={text}")
    assert f"cannot set {file} of {top.at(path)} " in said
    assert f"({number})" in said.replace("ENOTSUP)", "EOPNOTSUPP)")
    assert words in said
    assert "PLACE" not in said
    assert kernel("get", top.at(path), file).out == before
    return said


def pasted(said: str) -> list[str]:
    """The first command of a hint, without `pcont`."""
    found = COMMAND.search(next(hints(said)))
    assert found, said
    return shlex.split(found[1])[1:]


@pytest.mark.parametrize(("controller", "file", "text", "errno", "status", "words"), ROWS)
def test_a_refusal_has_its_errno_and_its_reason(
    own: Callable[[str], Top],
    controller: str,
    file: str,
    text: str,
    errno: str,
    status: int,
    words: str,
) -> None:
    refuse(own(controller), (file, text, errno, status, words))


@pytest.mark.parametrize(("controller", "file", "text"), FIXED)
def test_the_root_has_no_limits(
    own: Callable[[str], Top], kernel: Pcont, controller: str, file: str, text: str
) -> None:
    own(controller)
    said = kernel.fails(7, "set", f"{controller}:/", f"{file}={text}")
    assert "the root container " in said
    assert "(EINVAL)" in said


@pytest.mark.parametrize(
    ("controller", "key", "text", "meant"),
    [
        ("memory", "memory.limit_in_bytes", "512MB", "512M"),
        ("memory", "memory.limit_in_bytes", "512 MiB", "512M"),
        ("memory", "memory.limit_in_bytes", "1.5G", "1536M"),
        ("memory", "memory.limit_in_bytes", "unlimited", "-1"),
        ("cpu", "cpu.cfs_quota_us", "50%", "50000"),
        ("cpu", "cpu.cfs_quota_us", "max", "-1"),
        ("devices", "devices.deny", "/dev/null rw", "c 1:3 rw"),
        ("devices", "devices.deny", "c 1:3", "c 1:3 rwm"),
        ("net_cls", "net_cls.classid", "10:1", "0x00100001"),
    ],
)
def test_the_hint_is_the_corrected_command_ready_to_paste(
    own: Callable[[str], Top], controller: str, key: str, text: str, meant: str
) -> None:
    top = own(controller)
    said = top.pcont.fails(7, "set", top.at(), f"{key}={text}")
    assert pasted(said) == ["set", top.at(), f"{key}={meant}"]
    top.pcont.ok(*pasted(said))


# memory


@pytest.mark.parametrize(("file", "text"), [("limit", "300M"), ("memsw.limit", "50M")])
def test_the_limit_of_memory_is_never_above_that_with_swap(
    own: Callable[[str], Top], file: str, text: str
) -> None:
    top = own("memory")
    if "memory.memsw.limit_in_bytes" not in top.pcont.backend().files(top.place()):
        elsewhere("it does not account for swap")
    limits = ["memory.limit_in_bytes=100M", "memory.memsw.limit_in_bytes=200M"]
    top.pcont.ok("set", top.at(), *limits)
    words = "memory.memsw.limit_in_bytes (memory and swap together)"
    said = refuse(top, (f"memory.{file}_in_bytes", text, "EINVAL", 7, words))
    assert "cannot be below memory.limit_in_bytes" in said
    top.pcont.ok(*pasted(said))
    assert top.pcont.get(top.at(), f"memory.{file}_in_bytes") == str(int(text[:-1]) << 20)


HOG = """
import sys, time
open(sys.argv[1] + "/tasks", "w").write("0")
block = bytearray(b"x") * (40 << 20)
print("ready", flush=True)
time.sleep(600)
"""


def test_a_limit_below_what_is_in_use_says_how_much_that_is(own: Callable[[str], Top]) -> None:
    top = own("memory")
    directory = top.pcont.backend().show(top.place())
    hog = subprocess.Popen([sys.executable, "-c", HOG, directory], stdout=subprocess.PIPE)
    try:
        assert hog.stdout
        assert hog.stdout.readline() == b"ready\n"
        row = ("memory.limit_in_bytes", "1M", "EBUSY", 5, "are in use (memory.usage_in_bytes)")
        assert "for a limit of 1M" in refuse(top, row)
    finally:
        hog.kill()
        hog.communicate()


def test_numbers_of_memory_are_numbers_and_the_tree_shows_limits_that_are_set(
    own: Callable[[str], Top],
) -> None:
    top = own("memory")
    top.pcont.ok("create", top.at("/a"), "-s", "memory.limit_in_bytes=64M")
    found = top.pcont("get", "--json", top.at("/a")).json
    assert found["memory.limit_in_bytes"] == 64 << 20
    for key in ("failcnt", "usage_in_bytes", "max_usage_in_bytes", "swappiness", "use_hierarchy"):
        assert isinstance(found[f"memory.{key}"], int), key
    assert found["memory.stat"].startswith("cache ")
    (node,) = top.pcont("tree", "--json", top.at()).json
    assert node["settings"] == {}
    assert node["children"][0]["settings"] == {"memory.limit_in_bytes": 64 << 20}


# cpu


def test_a_quota_is_no_more_than_that_of_the_container_above(own: Callable[[str], Top]) -> None:
    top = own("cpu")
    top.pcont.ok("set", top.at(), "cpu.cfs_quota_us=50000")
    top.pcont.ok("create", "-p", top.at("/a/b"))
    words = f"60000 of 100000 microseconds is more than {top.path} has: 50000 of 100000"
    said = refuse(top, ("cpu.cfs_quota_us", "60000", "EINVAL", 7, words), "/a/b")
    top.pcont.ok(*pasted(said))
    assert top.pcont.get(top.at("/a/b"), "cpu.cfs_quota_us") == "50000"
    words = f"40000 of 100000 microseconds is less than {top.path}/a/b has: 50000 of 100000"
    said = refuse(top, ("cpu.cfs_quota_us", "40000", "EINVAL", 7, words))
    top.pcont.ok(*pasted(said))
    top.pcont.ok("set", top.at(), "cpu.cfs_quota_us=40000")
    refuse(top, ("cpu.cfs_period_us", "10000", "EINVAL", 7, "is more than"), "/a/b")
    (node,) = top.pcont("tree", "--json", top.at()).json
    assert node["settings"] == {"cpu.cfs_quota_us": 40000}


def test_a_burst_is_no_more_than_the_quota(own: Callable[[str], Top]) -> None:
    top = own("cpu")
    top.pcont.ok("set", top.at(), "cpu.cfs_quota_us=50000")
    words = "a burst cannot be larger than the quota"
    said = refuse(top, ("cpu.cfs_burst_us", "60000", "EINVAL", 7, words))
    top.pcont.ok(*pasted(said))
    refuse(top, ("cpu.cfs_quota_us", "10000", "EINVAL", 7, words))


def test_an_idle_container_has_no_shares(own: Callable[[str], Top]) -> None:
    top = own("cpu")
    top.pcont.ok("set", top.at(), "cpu.idle=1")
    words = "the kernel fixes the shares of an idle container at 3"
    said = refuse(top, ("cpu.shares", "512", "EINVAL", 7, words))
    top.pcont.ok(*pasted(said))
    assert top.pcont.get(top.at(), "cpu.shares") == "512"


@pytest.mark.parametrize("row", REAL_TIME, ids=lambda row: f"{row[0]} {row[1]}")
def test_real_time_budgets_are_those_of_the_machine(own: Callable[[str], Top], row: Row) -> None:
    refuse(own("cpu"), row)


def test_real_time_budgets_add_up_in_the_parent(own: Callable[[str], Top]) -> None:
    top = own("cpu")
    top.pcont.ok("create", top.at("/a"))
    words = f"the children of {top.path} would have 1.0% of a CPU for real-time tasks"
    refuse(top, ("cpu.rt_runtime_us", "10000", "EINVAL", 7, words), "/a")


def test_real_time_tasks_are_not_left_without_time(
    own: Callable[[str], Top], start: Callable[..., int]
) -> None:
    top, pid = own("cpu"), start()
    if "cpu.rt_runtime_us" not in top.pcont.backend().files(top.place()):
        elsewhere("it has no real-time budgets")
    os.sched_setscheduler(pid, os.SCHED_FIFO, os.sched_param(5))
    said = top.pcont.fails(7, "attach", top.at(), str(pid))
    assert "cpu.rt_runtime_us" in said
    top.pcont.ok("set", top.at(), "cpu.rt_runtime_us=10000")
    top.pcont.ok("attach", top.at(), str(pid))
    refuse(top, ("cpu.rt_runtime_us", "0", "EBUSY", 5, "real-time tasks are in it"))


# devices


def test_several_entries_of_devices_are_all_set_or_none(own: Callable[[str], Top]) -> None:
    top = own("devices")
    get = ("get", top.at(), "devices.list")
    words = ["devices.deny=a", "devices.allow=c 1:3 rwm", "devices.allow=c 1:5 r"]
    assert top.pcont.ok(*get) == "a *:* rwm\n"
    top.pcont.fails(7, "set", top.at(), *words, "devices.allow=c 1:9")
    assert top.pcont.ok(*get) == "a *:* rwm\n"
    top.pcont.ok("set", top.at(), *words)
    assert top.pcont.ok(*get) == "c 1:3 rwm\nc 1:5 r\n"


def test_what_the_parent_lacks_is_refused_before_anything_is_set(own: Callable[[str], Top]) -> None:
    top = own("devices")
    top.pcont.ok("set", top.at(), "devices.deny=a", "devices.allow=c 1:3 rwm")
    top.pcont.ok("create", top.at("/a"), top.at("/b"), "-s", "devices.deny=c 1:3 m")
    words = ["devices.allow=c 1:3 r", "devices.deny=c 1:3 w", "devices.allow=c 1:5 r"]
    said = top.pcont.fails(7, "set", top.at("/a"), *words)
    assert f"the parent {top.path} does not have c 1:5 r; it has: c 1:3 rwm" in said
    assert "(EPERM)" in said
    assert top.pcont.get(top.at("/a"), "devices.list") == "c 1:3 rw"
    names = [line.rpartition("/")[2] for line in top.below()]
    assert names == [top.path[1:], "a", "b"], "the container for the rehearsal was removed"
    top.pcont.ok(*pasted(said))
    top.pcont.ok("set", top.at("/a"), *words)
    assert top.pcont.get(top.at("/a"), "devices.list") == "c 1:3 r\nc 1:5 r"


def test_what_the_kernel_denies_without_listing_it_is_refused_with_a_reason(
    own: Callable[[str], Top],
) -> None:
    top = own("devices")
    top.pcont.ok("set", top.at(), "devices.deny=c 1:3 rwm")
    assert top.pcont.get(top.at(), "devices.list") == "a *:* rwm"
    top.pcont.ok("create", top.at("/a"))
    words = ["devices.deny=a", "devices.allow=c 1:5 r", "devices.allow=c 1:3 r"]
    said = top.pcont.fails(7, "set", top.at("/a"), *words)
    assert "denies some of it (devices.deny), which the kernel does not list" in said
    assert top.pcont.get(top.at("/a"), "devices.list") == "a *:* rwm"


def test_a_dry_run_of_several_entries_makes_no_container(own: Callable[[str], Top]) -> None:
    top = own("devices")
    words = ["devices.deny=a", "devices.allow=c 1:3 rwm"]
    lines = top.pcont.ok("set", "-n", top.at(), *words).splitlines()
    directory = top.pcont.backend().show(top.place())
    assert lines[:2] == [
        f"echo a > {directory}/devices.deny",
        f"echo 'c 1:3 rwm' > {directory}/devices.allow",
    ]
    assert all(line.startswith("# not known: ") for line in lines[2:])
    assert all("only the kernel can tell" in line for line in lines[2:])
    assert top.pcont.get(top.at(), "devices.list") == "a *:* rwm"
    top.pcont.fails(7, "set", "-n", top.at(), *words, "devices.allow=c 1:3")


@pytest.mark.parametrize(
    "assignment",
    [
        *("memory.failcnt=", "memory.failcnt=x", "memory.max_usage_in_bytes= 5"),
        *("memory.kmem.failcnt=reset", "memory.memsw.max_usage_in_bytes=0"),
        *("devices.allow= c 1:3 rwm", "devices.deny=\tc 1:3 rwm ", "devices.allow=all"),
    ],
)
def test_what_the_kernel_takes_pcont_takes_in_dry_runs_too(
    own: Callable[[str], Top], assignment: str
) -> None:
    top = own(assignment.partition(".")[0])
    file, _, text = assignment.partition("=")
    path = top.pcont.backend().show(top.place(), file)
    if not os.path.exists(path):
        pytest.skip(f"this kernel has no {file}")
    top.pcont.ok("set", "-n", top.at(), assignment)
    top.pcont.ok("set", top.at(), assignment)
    with open(path, "wb", buffering=0) as stream:
        stream.write(text.encode() or b"\n")


def test_a_dry_run_follows_the_kernel_in_moving_charges(own: Callable[[str], Top]) -> None:
    """Linux 6.13 takes 0 only."""
    top = own("memory")
    for text in ("0", "1", "3", "4"):
        words = [top.at(), f"memory.move_charge_at_immigrate={text}"]
        dry, real = top.pcont("set", "-n", *words), top.pcont("set", *words)
        unknown = not dry.status and "# not known: " in dry.out
        assert unknown or dry.status == real.status, (dry, real)


def test_all_is_not_set_above_containers(own: Callable[[str], Top]) -> None:
    top = own("devices")
    top.pcont.ok("create", top.at("/a"))
    row = ("devices.deny", "a", "EINVAL", 7, f"containers are below ({top.path}/a)")
    refuse(top, row)
    said = top.pcont.fails(7, "set", top.at(), "devices.deny=c 1:3 r", "devices.deny=a")
    assert "containers are below" in said
    (node,) = top.pcont("tree", "--json", top.at()).json
    assert node["settings"] == {}


def test_devices_and_another_reset_are_two_that_cannot_be_undone(own: Callable[[str], Top]) -> None:
    top = own("memory")
    words = ["memory.failcnt=0", "memory.max_usage_in_bytes=0"]
    assert "at most one such value" in top.pcont.fails(2, "set", top.at(), *words)


# blkio


def _disks() -> list[str]:
    """The numbers of whole disks, loop devices among them."""
    found = [
        Path(f"/sys/block/{name}/dev").read_text() for name in sorted(os.listdir("/sys/block"))
    ]
    return [text.strip() for text in found]


def _schedulers(disk: str) -> str:
    file = Path(f"/sys/dev/block/{disk}/queue/scheduler")
    return file.read_text() if file.exists() else ""


def test_limits_of_several_disks_are_all_set_or_none(own: Callable[[str], Top]) -> None:
    top, disks = own("blkio"), _disks()[:2]
    if len(disks) < 2:
        elsewhere("this machine has no two disks")
    file, other = "blkio.throttle.read_bps_device", "blkio.throttle.write_iops_device"
    top.pcont.ok("set", top.at(), f"{file}={disks[0]} 1000000")
    words = [f"{file}={disk} 2000000" for disk in disks]
    said = top.pcont.fails(3, "set", top.at(), *words, f"{other}=99:99 5")
    assert "undone" in said
    assert top.pcont.get(top.at(), file) == f"{disks[0]} 1000000"
    top.pcont.ok("set", top.at(), *words)
    lines = top.pcont.get(top.at(), file).splitlines()
    assert sorted(lines) == sorted(f"{disk} 2000000" for disk in disks)
    twice = top.pcont.fails(2, "set", top.at(), *(f"{file}={disks[0]} {n}" for n in (1, 2)))
    assert "one value for a key" in twice
    (node,) = top.pcont("tree", "--json", top.at()).json
    assert set(node["settings"]) == {file}


def test_a_name_of_a_disk_and_a_unit_are_translated_in_the_hint(own: Callable[[str], Top]) -> None:
    top = own("blkio")
    names = [name for name in sorted(os.listdir("/sys/block")) if Path(f"/dev/{name}").exists()]
    if not names:
        elsewhere("this machine has no disk")
    number = Path(f"/sys/block/{names[0]}/dev").read_text().strip()
    file = "blkio.throttle.read_bps_device"
    said = top.pcont.fails(7, "set", top.at(), f"{file}=/dev/{names[0]} 1MB")
    assert pasted(said) == ["set", top.at(), f"{file}={number} 1048576"]
    top.pcont.ok(*pasted(said))
    said = top.pcont.fails(7, "set", top.at(), f"{file}={number} max")
    top.pcont.ok(*pasted(said))
    assert top.pcont.get(top.at(), file) == ""


def test_weights_need_bfq(own: Callable[[str], Top]) -> None:
    top = own("blkio")
    plain = [disk for disk in _disks() if "[none]" in _schedulers(disk)]
    if not plain:
        elsewhere("no disk here is without a scheduler")
    words = f"the scheduler of {plain[0]} is not bfq"
    row = ("blkio.bfq.weight_device", f"{plain[0]} 200", "EOPNOTSUPP", 6, words)
    refuse(top, row)


@pytest.mark.guest
def test_a_refused_set_gives_single_disks_their_weights_back(own: Callable[[str], Top]) -> None:
    subprocess.run(["modprobe", "bfq"], check=True)
    top, disk = own("blkio"), _disks()[0]
    Path(f"/sys/dev/block/{disk}/queue/scheduler").write_text("bfq")
    top.pcont.ok("set", top.at(), f"blkio.bfq.weight_device={disk} 300")
    before = top.pcont.get(top.at(), "blkio.bfq.weight_device")
    assert before == f"default 100\n{disk} 300"
    words = ["blkio.bfq.weight=500", "blkio.throttle.read_bps_device=99:99 5"]
    assert "undone" in top.pcont.fails(3, "set", top.at(), *words)
    assert top.pcont.get(top.at(), "blkio.bfq.weight_device") == before
    refuse(top, ("blkio.bfq.weight_device", f"{disk} 5000", "ERANGE", 7, "between 1 and 1000"))


# net_prio, hugetlb, rdma


def test_priorities_of_several_interfaces_are_all_set_or_none(own: Callable[[str], Top]) -> None:
    top, file = own("net_prio"), "net_prio.ifpriomap"
    before = top.pcont.get(top.at(), file)
    assert "undone" in top.pcont.fails(3, "set", top.at(), f"{file}=lo 5", f"{file}=nosuch 5")
    assert top.pcont.get(top.at(), file) == before
    top.pcont.ok("set", top.at(), f"{file}=lo 5")
    assert "lo 5" in top.pcont.get(top.at(), file)


HUGE = 2 << 20
MAP_HUGETLB = 0x40000


@pytest.mark.guest
def test_a_limit_of_huge_pages_below_what_is_in_use(own: Callable[[str], Top]) -> None:
    top = own("hugetlb")
    pages = Path("/proc/sys/vm/nr_hugepages")
    pages.write_text("4")
    directory = top.pcont.backend().show(top.place())
    code = (
        "import sys, mmap, time; open(sys.argv[1] + '/tasks', 'w').write('0');"
        f"m = mmap.mmap(-1, {HUGE}, flags={mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_HUGETLB});"
        "m[0] = 1; print('ready', flush=True); time.sleep(600)"
    )
    hog = subprocess.Popen([sys.executable, "-c", code, directory], stdout=subprocess.PIPE)
    try:
        assert hog.stdout
        assert hog.stdout.readline() == b"ready\n"
        for kind in ("", "rsvd."):
            words = "2M of huge pages are in use"
            refuse(top, (f"hugetlb.2MB.{kind}limit_in_bytes", "0", "EBUSY", 5, words))
    finally:
        hog.kill()
        hog.communicate()
        pages.write_text("0")


@pytest.mark.guest
def test_limits_of_an_rdma_device(own: Callable[[str], Top]) -> None:
    for command in (
        "modprobe rdma_rxe",
        "modprobe dummy",
        "ip link add pct0 type dummy",
        "ip link set pct0 up",
        "rdma link add pctrxe type rxe netdev pct0",
    ):
        subprocess.run(command.split(), check=True)
    top = own("rdma")
    try:
        top.pcont.ok("set", top.at(), "rdma.max=pctrxe hca_handle=2 hca_object=2000")
        (node,) = top.pcont("tree", "--json", top.at()).json
        assert node["settings"] == {"rdma.max": "pctrxe hca_handle=2 hca_object=2000 "}
        top.pcont.ok("set", top.at(), "rdma.max=pctrxe hca_handle=max hca_object=max")
        assert top.pcont("tree", "--json", top.at()).json[0]["settings"] == {}
        top.pcont.ok("set", top.at(), "rdma.max=pctrxe hca_handle=2 hca_object=2000")
        words = "there is no RDMA device 'nosuch'; there are: pctrxe"
        refuse(top, ("rdma.max", "nosuch hca_handle=1", "ENODEV", 3, words))
        words = "as in 'mlx5_0 hca_handle=2 hca_object=2000'"
        refuse(top, ("rdma.max", "pctrxe hca_handle=lots", "EINVAL", 7, words))
        both = ["rdma.max=pctrxe hca_handle=3", "rdma.max=nosuch hca_handle=3"]
        assert "undone" in top.pcont.fails(3, "set", top.at(), *both)
        assert "hca_handle=2 " in top.pcont.get(top.at(), "rdma.max")
    finally:
        subprocess.run(["rdma", "link", "delete", "pctrxe"], check=True)
        subprocess.run(["ip", "link", "delete", "pct0"], check=True)


# Removed containers


def test_a_removed_container_comes_back_with_its_limits(own: Callable[[str], Top]) -> None:
    """What a failed command had removed, it makes again as it was."""
    from pcont.steps.removal import RemoveContainer
    from pcont.transaction.step import carry_out

    top = own("memory")
    top.pcont.ok("create", top.at("/a"), "-s", "memory.limit_in_bytes=64M")
    backend = top.pcont.backend()
    missing = RemoveContainer(Place("memory", f"{top.path}/nosuch"), "remove what is not there")
    with pytest.raises(NotFound):
        carry_out(backend, [RemoveContainer(top.place("/a"), "remove it"), missing])
    assert top.pcont.get(top.at("/a"), "memory.limit_in_bytes") == str(64 << 20)
