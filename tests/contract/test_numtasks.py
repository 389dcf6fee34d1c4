"""numtasks: shares that become limits of pids; patch semantics, 4, and 9 points 10 to 12."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from pcont.bpf.enforcer import BpfEnforcer
from pcont.kernel.types import Place
from tests.contract.conftest import Pcont, clear, only_kernel, starts_empty

DEFAULTS = "res=numtasks,min_shares=-3,max_shares=-3,child_shares_divisor=100"
SHARES, TOTAL = "numtasks.shares", "total_numtasks"


@dataclass
class Groups:
    """A hierarchy with numtasks."""

    pcont: Pcont
    name: str

    def at(self, path: str = "/") -> str:
        return f"{self.name}:{path}"

    def total(self, number: int) -> None:
        self.pcont.ok("set", self.at(), f"{TOTAL}={number}")

    def create(self, path: str, shares: str = "") -> None:
        words = ["-s", f"{SHARES}={shares}"] if shares else []
        self.pcont.ok("create", self.at(path), *words)

    def share(self, path: str, shares: str) -> None:
        self.pcont.ok("set", self.at(path), f"{SHARES}={shares}")

    def refuses(self, path: str, shares: str) -> str:
        return self.pcont.fails(7, "set", self.at(path), f"{SHARES}={shares}")

    def limits(self, *paths: str) -> list[str]:
        return [self.pcont.get(self.at(path), "pids.max") for path in paths]


@pytest.fixture
def groups(pcont: Pcont, name: str) -> Iterator[Groups]:
    """Its root is a container of its own, so that it works on a host, too."""
    if free := starts_empty(pcont):
        pcont.ok("mount", "-o", "pids")
    pcont.ok("mount", "--tie", "--name", name, "-o", "numtasks", "--at", f"/{name}")
    yield Groups(pcont, name)
    clear(pcont, name)
    pcont.ok("umount", name)
    if free:
        pcont.ok("umount", "pids")


def test_shares_begin_as_dont_care_and_say_what_they_are(groups: Groups) -> None:
    groups.create("/a")
    assert groups.pcont.get(groups.at("/a"), SHARES) == DEFAULTS
    assert groups.pcont.get(groups.at(), SHARES) == DEFAULTS
    assert groups.pcont.get(groups.at(), TOTAL) == "2147483647"
    groups.share("/a", "res=what,,max_shares=0x10,min_shares=010")
    shown = "res=numtasks,min_shares=8,max_shares=16,child_shares_divisor=100"
    assert groups.pcont.get(groups.at("/a"), SHARES) == shown
    groups.share("/a", "min_shares=-1,max_shares=-3")
    shown = "res=numtasks,min_shares=8,max_shares=-3,child_shares_divisor=100"
    assert groups.pcont.get(groups.at("/a"), SHARES) == shown
    assert "has no file" in groups.pcont.fails(3, "get", groups.at("/a"), TOTAL)


@pytest.mark.quick
def test_a_share_of_a_share_is_a_limit(groups: Groups) -> None:
    """The example of the patch: of 1000, 10 of 100 are 100, and 50 of 100 of these are 50."""
    groups.create("/a", "max_shares=10")
    groups.create("/a/b", "max_shares=50")
    assert groups.limits("/a", "/a/b") == ["max", "max"]  # until a total is set
    groups.total(1000)
    assert groups.limits("/a", "/a/b") == ["100", "50"]
    groups.share("/", "child_shares_divisor=1000")
    assert groups.limits("/a", "/a/b") == ["10", "5"]
    groups.share("/a", "max_shares=-3")
    assert groups.limits("/a", "/a/b") == ["max", "max"]
    groups.share("/a", "max_shares=0")
    assert groups.limits("/a", "/a/b") == ["0", "0"]


def test_with_the_total_as_divisor_shares_are_tasks(groups: Groups) -> None:
    groups.total(3000)
    groups.share("/", "child_shares_divisor=3000")
    groups.create("/a", "max_shares=17")
    assert groups.limits("/", "/a") == ["3000", "17"]
    groups.total((1 << 31) - 1)
    assert groups.limits("/", "/a") == ["max", "max"]


def test_a_container_without_shares_keeps_its_own_limit(groups: Groups) -> None:
    groups.total(1000)
    groups.create("/a")
    groups.pcont.ok("set", groups.at("/a"), "pids.max=7")
    groups.create("/b", "max_shares=10")
    groups.total(2000)
    assert groups.limits("/a", "/b") == ["7", "200"]


@pytest.mark.parametrize(
    ("path", "shares", "why"),
    [
        ("/a", "min_shares=41", "has 40 left to reserve"),
        ("/a", "max_shares=101", "child_shares_divisor above is 100"),
        ("/a", "max_shares=-2", "-2 is no share"),
        ("/a", "min_shares=-4", "-4 is no share"),
        ("/a", "child_shares_divisor=-3", "0 and more"),
        ("/", "child_shares_divisor=59", "children have 60 reserved"),
        ("/", "child_shares_divisor=79", "a child has max_shares 80"),
        ("/b", "max_shares=59", "min_shares is more than max_shares"),
        ("/a", "shares=1", "the file takes"),
        ("/a", "max_shares", "the file takes"),
        ("/a", "max_shares=1 ", "the file takes"),
        ("/a", "max_shares=2147483648", "the file takes"),
        ("/a", "res=numtasks,res=numtasks", "the file takes"),
    ],
)
def test_what_breaks_a_rule_changes_nothing(
    groups: Groups, path: str, shares: str, why: str
) -> None:
    groups.total(1000)
    groups.create("/a", "max_shares=50,child_shares_divisor=10")
    groups.create("/b", "min_shares=60,max_shares=80")
    groups.create("/a/c", "max_shares=5")
    before = groups.pcont.ok("get", groups.at(path), SHARES)
    error = groups.refuses(path, shares)
    assert "EINVAL" in error
    assert why in error
    assert groups.pcont.ok("get", groups.at(path), SHARES) == before
    assert groups.limits("/a", "/b", "/a/c") == ["500", "800", "250"]


def test_what_a_removed_container_had_reserved_is_free_again(groups: Groups) -> None:
    groups.create("/a", "min_shares=70")
    groups.create("/b")
    groups.refuses("/b", "min_shares=31")
    groups.pcont.ok("rm", groups.at("/a"))
    groups.share("/b", "min_shares=31")


def test_the_total_is_more_than_there_are(groups: Groups, start: Callable[..., int]) -> None:
    groups.create("/a")
    for pid in (start(), start()):
        groups.pcont.ok("attach", groups.at("/a"), str(pid))
    for number in (0, -1, 2):
        assert "EINVAL" in groups.pcont.fails(7, "set", groups.at(), f"{TOTAL}={number}")
    groups.total(3)


@pytest.mark.quick
def test_several_values_are_set_or_none(groups: Groups) -> None:
    groups.total(1000)
    groups.create("/a", "max_shares=10")
    groups.pcont.fails(7, "set", groups.at("/a"), f"{SHARES}=max_shares=20", "pids.max=-1")
    assert groups.limits("/a") == ["100"]
    words = ("set", groups.at("/a"), f"{SHARES}=max_shares=20", "-n")
    assert f"keep {SHARES}=max_shares=20" in groups.pcont.ok(*words)
    assert groups.limits("/a") == ["100"]


def stats(groups: Groups, path: str) -> list[str]:
    return groups.pcont.get(groups.at(path), "numtasks.stats").splitlines()


def test_stats_know_the_tasks_and_the_failures(groups: Groups, start: Callable[..., int]) -> None:
    groups.create("/a")
    groups.pcont.ok("attach", groups.at("/a"), str(start(threads=3)))
    usage, _, failures, _ = stats(groups, "/a")
    assert usage == "numtasks: Current usage 3"
    assert failures == "numtasks: Number of failures 0"
    groups.pcont.ok("set", groups.at("/a"), "numtasks.stats=res=numtasks")
    assert "res=numtasks" in groups.pcont.fails(7, "set", groups.at("/a"), "numtasks.stats=0")


@pytest.fixture
def no_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that takes none, whatever this one does."""
    why = ("this kernel has no BPF among its security modules (yama)", "boot with lsm=yama,bpf")
    monkeypatch.setattr(BpfEnforcer, "_obstacle", lambda enforcer: why)


@only_kernel
@pytest.mark.usefixtures("no_programs")
def test_where_the_kernel_takes_no_programs_all_else_works(
    groups: Groups, start: Callable[..., int]
) -> None:
    groups.total(1000)
    groups.create("/a", "max_shares=10")
    groups.pcont.ok("attach", groups.at("/a"), str(start()))
    assert groups.limits("/a") == ["100"]
    assert stats(groups, "/a") == [
        "numtasks: Current usage 1",
        "numtasks: Number of successes unknown",
        "numtasks: Number of failures 0",
        "numtasks: Number of forkrate failures unknown",
    ]
    assert groups.pcont.get(groups.at("/"), "forkrate") == "2147483647"
    for path in ("/", "/a"):
        error = groups.pcont.fails(6, "set", groups.at(path), "forkrate=3")
        assert "numtasks.forkrate is enforced by BPF programs, and this kernel has no" in error
        assert "boot with lsm=yama,bpf" in error
    groups.pcont.fails(6, "set", groups.at("/a"), "pids.max=5", "forkrate=3")
    assert groups.limits("/a") == ["100"]
    assert groups.pcont.get(groups.at("/a"), "forkrate") == "-3"
    text = "numfiles, like numtasks.forkrate, is enforced by BPF programs, and this kernel has no"
    assert text in groups.pcont.ok("doctor")


FORKING = """
import os, sys, time
started = 0
try:
    while started < int(sys.argv[1]):
        if os.fork() == 0:
            time.sleep(600)
        started += 1
except OSError as err:
    print(started, err.errno, flush=True)
else:
    print(started, 0, flush=True)
time.sleep(600)
"""


@pytest.fixture
def forking() -> Iterator[Callable[[Groups, str, int], tuple[int, int]]]:
    """A process in a container forks so often: how often it could, and the errno of the end."""
    running: list[subprocess.Popen[str]] = []

    def begin(groups: Groups, path: str, times: int) -> tuple[int, int]:
        words = ("run", groups.at(path), "--", sys.executable, "-c", FORKING, str(times))
        process = subprocess.Popen(
            [sys.executable, "-m", "pcont", *groups.pcont.words, *words], stdout=-1, text=True
        )
        running.append(process)
        assert process.stdout
        with process.stdout:
            started, errno = process.stdout.readline().split()
        return int(started), int(errno)

    yield begin
    for process in running:
        process.kill()
        process.wait()


@only_kernel
def test_forks_beyond_the_share_fail(
    groups: Groups, forking: Callable[[Groups, str, int], tuple[int, int]]
) -> None:
    groups.total(100)
    groups.create("/a", "max_shares=10")
    assert forking(groups, "/a", 20) == (9, 11)  # EAGAIN
    assert "failures 1" in groups.pcont.ok("get", groups.at("/a"), "numtasks.stats")


@only_kernel
def test_shares_change_above_many_tasks(
    groups: Groups, forking: Callable[[Groups, str, int], tuple[int, int]]
) -> None:
    """If the limit falls below the number of tasks, none is killed, and none can fork."""
    groups.total(10000)
    groups.create("/a", "max_shares=50")
    groups.create("/a/b", "max_shares=50")
    assert forking(groups, "/a/b", 500) == (500, 0)
    groups.share("/a", "max_shares=10")
    assert groups.limits("/a", "/a/b") == ["1000", "500"]
    groups.share("/a", "max_shares=1")
    assert groups.limits("/a", "/a/b") == ["100", "50"]
    inside = groups.pcont.ok("ps", groups.at("/a/b")).splitlines()
    assert len(inside) == 501
    assert forking(groups, "/a/b", 1) == (0, 11)
    groups.share("/a", "max_shares=20")
    assert forking(groups, "/a/b", 1) == (1, 0)


def test_it_is_bound_with_shares_and_a_total(pcont: Pcont, name: str) -> None:
    if free := starts_empty(pcont):
        pcont.ok("mount", "-o", "pids")
    pcont.ok("mount", "-o", "none", "--name", name)
    pcont.ok("create", "-p", f"{name}:/{name}/a/b")
    words = ("-s", f"/:{TOTAL}=100000", "-s", f"{SHARES}=max_shares=50")
    pcont.ok("bind", name, "numtasks", *words, "-s", f"/{name}/a:{SHARES}=max_shares=10")
    found = [pcont.get(f"{name}:/{name}{path}", "pids.max") for path in ("", "/a", "/a/b")]
    assert found == ["50000", "5000", "2500"]
    rows = {row["name"]: row for row in pcont("subsys", "--json").json}
    assert rows["numtasks"]["bound"] == "pids"
    pcont.ok("rm", "-r", f"{name}:/{name}")
    pcont.ok("umount", name)
    assert pcont.backend().attributes(Place("pids")) == {}
    if free:
        pcont.ok("umount", "pids")


@pytest.mark.parametrize("last", [False, True], ids=["first goes first", "last goes first"])
def test_the_settings_stay_while_another_hierarchy_uses_them(
    pcont: Pcont, name: str, last: bool
) -> None:
    if free := starts_empty(pcont):
        pcont.ok("mount", "-o", "pids")
    names = (name, f"{name}x")
    for one, words in zip(names, ("numtasks", "numtasks,cpuacct"), strict=True):
        pcont.ok("mount", "--tie", "--name", one, "-o", words, "--at", f"/{name}", "--no-freezer")
    goes, stays = reversed(names) if last else names
    pcont.ok("set", f"{name}:/", f"{TOTAL}=1000")
    pcont.ok("umount", goes)
    assert pcont.get(f"{stays}:/", TOTAL) == "1000"
    pcont.ok("umount", stays)
    assert pcont.backend().attributes(Place("pids")) == {}
    if not last:  # what the first one had made stays for the second, which did not make it
        for tree in pcont.backend().trees():
            if tree.mounted and name in pcont.backend().children(Place(tree.id)):
                pcont.ok("rm", f"{tree.id}:/{name}")
    assert pcont.backend().enforcer.trees() == {}
    if free:
        pcont.ok("umount", "pids")


def test_it_is_bound_and_unbound_like_the_others(pcont: Pcont, name: str) -> None:
    if free := starts_empty(pcont):
        pcont.ok("mount", "-o", "pids")
    pcont.ok("mount", "-o", "none", "--name", name)
    pcont.ok("create", f"{name}:/{name}")
    assert pcont("bind", name, "numtasks", "--json").json == ["pids", "numtasks"]
    pcont.ok("set", f"{name}:/{name}", f"{SHARES}=max_shares=10")
    pcont.ok("set", f"{name}:/", f"{TOTAL}=100000")
    assert pcont.get(f"{name}:/{name}", "pids.max") == "10000"
    assert "numtasks requires pids" in pcont.fails(5, "unbind", name, "pids", "--yes")
    assert "already" in pcont.fails(5, "bind", name, "numtasks")
    unbound = pcont("unbind", name, "numtasks", "--yes", "--json").json
    assert len(unbound["ceased"]) == 2
    assert any(f"{name}:/{name} {SHARES}=" in line for line in unbound["ceased"])
    assert "has no file" in pcont.fails(3, "get", f"{name}:/{name}", SHARES)
    assert pcont.get(f"{name}:/{name}", "pids.max") == "max"
    pcont.ok("unbind", name, "pids", "--yes")
    pcont.ok("rm", f"{name}:/{name}")
    pcont.ok("umount", name)
    assert pcont.backend().attributes(Place("pids")) == {}
    if free:
        pcont.ok("umount", "pids")
