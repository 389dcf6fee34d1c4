"""Partitions of cpuset on cgroup v2: CPUs that a container has for itself."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import hints
from tests.conftest import elsewhere
from tests.contract.conftest import KERNEL_ALONE, Jobs, Pcont, Top
from tests.contract.test_v2_controllers import bare, controlled  # noqa: F401
from tests.contract.test_v2_hierarchies import jobs, mounted, only_kernel_here, plain  # noqa: F401
from tests.contract.test_v2_kernel import Machine, machine, modelled, needs_6_12  # noqa: F401
from tests.waiting import eventually

Start = Callable[..., int]
CPUS, ONLY, PARTITION = "cpuset.cpus", "cpuset.cpus.exclusive", "cpuset.cpus.partition"
EFFECTIVE = "cpuset.cpus.effective"


# What the files answer


@pytest.fixture
def cpusets(machine: Machine) -> Machine:  # noqa: F811
    """A machine of four CPUs whose root enables cpuset for /a, /b and what is in /a."""
    needs_6_12(machine)
    assert machine.read("/", EFFECTIVE) == "0-3\n"
    machine.enable("/", "cpuset")
    machine.mkdir("/a", "/b", "/a/c", "/a/c/d")
    machine.enable("/a", "cpuset")
    machine.enable("/a/c", "cpuset")
    return machine


def told(machine: Machine, *lines: str) -> None:  # noqa: F811
    """Write lines of PATH FILE TEXT, where FILE is without its beginning, and the answer is ok."""
    for line in lines:
        path, file, text = (*line.split(), "")[:3]
        assert machine.write(path, f"cpuset.cpus{file.removeprefix('cpus')}", text) == "ok", line


def state(machine: Machine, path: str) -> str:  # noqa: F811
    """What a container is, and its effective CPUs."""
    return " ".join(machine.read(path, file).strip() for file in (PARTITION, EFFECTIVE))


def test_a_partition_takes_its_cpus_from_all_others(cpusets: Machine) -> None:
    inside, beside, above = (cpusets.task(path) for path in ("/a", "/b", "/"))
    told(cpusets, "/a cpus 2-3", "/a .partition root")
    assert [state(cpusets, path) for path in ("/a", "/b")] == ["root 2-3", "member 0-1"]
    assert cpusets.read("/", EFFECTIVE) == "0-1\n"
    cpus = [sorted(cpusets.backend.affinity(one)) for one in (inside, beside, above)]
    assert cpus == [[2, 3], [0, 1], [0, 1]]
    told(cpusets, "/a .partition isolated")
    assert cpusets.read("/", "cpuset.cpus.isolated") == "2-3\n"
    told(cpusets, "/a .partition member")
    assert cpusets.read("/", EFFECTIVE) == "0-3\n"
    assert sorted(cpusets.backend.affinity(beside)) == [0, 1, 2, 3]


def test_a_removed_partition_returns_its_cpus(cpusets: Machine) -> None:
    beside = cpusets.task("/a")
    told(cpusets, "/b cpus 3", "/b .partition root")
    assert sorted(cpusets.backend.affinity(beside)) == [0, 1, 2]
    assert cpusets.rmdir("/b") == "ok"
    assert eventually(lambda: sorted(cpusets.backend.affinity(beside)) == [0, 1, 2, 3])


def test_a_sibling_that_takes_a_cpu_makes_a_partition_invalid(cpusets: Machine) -> None:
    told(cpusets, "/a cpus 2-3", "/a .partition root", "/b cpus 3")
    assert [state(cpusets, path) for path in ("/a", "/b")] == ["root invalid 2-3", "member 3"]
    told(cpusets, "/b cpus 0-1")
    assert state(cpusets, "/a") == "root invalid 2-3"
    told(cpusets, "/a .partition root")
    assert state(cpusets, "/a") == "root 2-3"


def test_tasks_below_a_new_partition_keep_its_parent_from_giving_all_cpus(cpusets: Machine) -> None:
    cpusets.task("/a/c/d")
    told(cpusets, "/a cpus 1-2", "/a/c .partition root", "/a/c cpus 1-2", "/a .partition root")
    why = "Parent unable to distribute cpu downstream"
    assert state(cpusets, "/a/c") == f"root invalid ({why}) 1-2"
    assert state(cpusets, "/a") == "root 1-2"


# Steps, and what a container is then. Each was seen on Linux 6.12.
STORIES = {
    "not exclusive": ("/a cpus 2-3, /b cpus 3, /a .partition root", "/a",
        "root invalid (Cpu list in cpuset.cpus not exclusive) 2-3"),
    "valid by a list": ("/a cpus 2-3, /b cpus 3, /a .partition root, /b cpus 0, /a cpus 2", "/a",
        "root 2"),
    "empty": ("/a .partition root", "/a",
        "root invalid (cpuset.cpus and cpuset.cpus.exclusive are empty) 0-3"),
    "no longer empty": ("/a .partition root, /a cpus 2-3", "/a", "root 2-3"),
    "emptied": ("/a cpus 2-3, /a .partition isolated, /a cpus", "/a",
        "isolated invalid (Invalid cpu list in cpuset.cpus.exclusive) 0-3"),
    "all": ("/a cpus 0-3, /a .partition root", "/a",
        "root invalid (Parent unable to distribute cpu downstream) 0-3"),
    "all later": ("/a cpus 2-3, /a .partition root, /a cpus 0-3, /a cpus 2-3", "/a",
        "root invalid (Parent unable to distribute cpu downstream) 2-3"),
    "the parent is none": ("/a cpus 1-3, /a/c cpus 2-3, /a/c .partition root", "/a/c",
        "root invalid (Invalid cpu list in cpuset.cpus.exclusive) 2-3"),
    "the parent becomes one": (
        "/a cpus 1-3, /a/c cpus 2-3, /a/c .partition root, /a .partition root", "/a/c",
        "root 2-3"),
    "the parent is none any more": (
        "/a cpus 1-3, /a .partition root, /a/c cpus 2-3, /a/c .partition root, "
        "/a .partition member", "/a/c", "root invalid (Parent is not a partition root) 2-3"),
    "the parent is invalid": (
        "/a cpus 1-3, /a .partition root, /a/c cpus 2-3, /a/c .partition root, /a cpus 0-3",
        "/a/c", "root invalid (Parent is an invalid partition root) 2-3"),
    "the parent was made invalid by a sibling": (
        "/a cpus 1-3, /a .partition root, /a/c cpus 2-3, /a/c .partition root, /b cpus 1",
        "/a/c", "root 2-3"),
    "the parent shrinks": (
        "/a cpus 1-3, /a .partition root, /a/c cpus 2-3, /a/c .partition root, /a cpus 1-2",
        "/a/c", "root 2"),
    "remote": ("/a .exclusive 2-3, /a/c cpus 2-3, /a/c .partition root", "/a/c", "root 2-3"),
    "a remote one shrinks": (
        "/a .exclusive 2-3, /a/c cpus 2-3, /a/c .partition root, /a .exclusive 3", "/a/c",
        "root 3"),
    "a remote one has no CPU": (
        "/a .exclusive 2-3, /a/c cpus 2-3, /a/c .partition root, /a .exclusive", "/a/c",
        "root invalid (Parent is not a partition root) 2-3"),
    "a sibling keeps its CPUs": ("/b .exclusive 3, /b .partition root, /a cpus 2-3", "/b",
        "root invalid 3"),
    "nothing changes for it": ("/a/c/d .partition root, /a .partition root, /a/c cpus 0-3",
        "/a/c/d", "root invalid (cpuset.cpus and cpuset.cpus.exclusive are empty) 0-3"),
    "another state, beside a sibling with its CPU": (
        "/a cpus 0-2, /b .partition root, /b cpus 2-3, /b .partition isolated", "/b",
        "isolated 2-3"),
    "another one has an exclusive list": (
        "/a .partition root, /a/c .partition root, /b .exclusive 2-3", "/a/c",
        "root invalid (cpuset.cpus and cpuset.cpus.exclusive are empty) 0-3"),
    "another one has exclusive CPUs": (
        "/a .partition root, /a/c .partition root, /b .exclusive 2-3, /b .partition root", "/a/c",
        "root invalid (Parent is an invalid partition root) 0-1"),
    "another partition takes CPUs": (
        "/a/c .exclusive 0-3, /a/c .partition isolated, /b cpus 1-2, /b .partition root", "/a/c",
        "isolated invalid (Parent is not a partition root) 0,3"),
    "exclusive alone": ("/a .exclusive 2-3", "/b", "member 0-3"),
}  # fmt: skip


@pytest.mark.parametrize("story", STORIES)
def test_the_state_of_a_partition(cpusets: Machine, story: str) -> None:
    steps, path, wanted = STORIES[story]
    told(cpusets, *steps.split(", "))
    assert state(cpusets, path) == wanted


@pytest.mark.parametrize(
    ("exclusive", "wanted"),
    [
        ("/a .exclusive 1", ["root invalid 0-1", "root invalid 2-3"]),
        ("/b .exclusive 3", ["root invalid 0-1", "root invalid 3"]),
    ],
)
def test_of_two_partitions_that_become_invalid_the_last_one_keeps_its_effective_cpus(
    cpusets: Machine, exclusive: str, wanted: list[str]
) -> None:
    """They become invalid in the order of their creation."""
    cpusets.mkdir("/e")
    told(cpusets, "/a cpus 0-1", "/b cpus 2-3", exclusive)
    told(cpusets, "/a .partition root", "/b .partition root", "/e cpus 0-3")
    assert [state(cpusets, path) for path in ("/a", "/b")] == wanted


def test_lists_that_are_refused(cpusets: Machine) -> None:
    told(cpusets, "/a .exclusive 2-3", "/b cpus 3")
    assert cpusets.write("/b", ONLY, "3") == "EINVAL"
    told(cpusets, "/b cpus 1-2", "/a .exclusive 0-1")
    assert cpusets.write("/a", ONLY, "1-2") == "EINVAL", "/b would have nothing else"
    told(cpusets, "/a .exclusive 3", "/b .partition root")
    assert cpusets.write("/b", CPUS, "") == "EBUSY"


# A refused list, what other containers do then, and what /a/c is afterwards. Seen on Linux 6.12.
REFUSED = {
    "a sibling takes a CPU": ("/a/e cpus 2",
        "root invalid (Invalid cpu list in cpuset.cpus.exclusive) 2"),
    "another list between": ("/a/c cpus 2-3, /a/e cpus 2",
        "root invalid (Invalid cpu list in cpuset.cpus.exclusive) 2-3"),
    "the state is written again": ("/a/c .partition root, /a/e cpus 2",
        "root invalid (Invalid cpu list in cpuset.cpus.exclusive) 2"),
    "another state between": ("/a/c .partition isolated, /a/e cpus 2", "isolated invalid 2"),
    "no partition between": ("/a/c .partition member, /a/c .partition root, /a/e cpus 2",
        "root invalid 2"),
    "the parent checks it": ("/a cpus 1-2, /a/e cpus 2", "root invalid 2"),
    "nothing more": ("/a cpus 1-3", "root 2"),
}  # fmt: skip


@pytest.mark.parametrize("later", REFUSED)
def test_a_refused_list_is_the_reason_later(cpusets: Machine, later: str) -> None:
    steps, wanted = REFUSED[later]
    cpusets.mkdir("/a/e")
    told(cpusets, "/a cpus 1-3", "/a .partition root", "/a/c cpus 2", "/a/c .partition root")
    cpusets.task("/a/c/d")
    assert cpusets.write("/a/c", CPUS, "") == "ENOSPC"
    assert state(cpusets, "/a/c") == "root 2"
    told(cpusets, *steps.split(", "))
    assert state(cpusets, "/a/c") == wanted


@pytest.mark.parametrize("rival", ["before", "after"])
def test_a_refused_list_is_the_reason_of_an_invalid_partition(cpusets: Machine, rival: str) -> None:
    told(cpusets, "/a cpus 1-3", *["/b cpus 1"] * (rival == "before"), "/a .partition root")
    told(cpusets, "/a/c cpus 2-3", "/a/c .partition root", "/b cpus 1")
    cpusets.task("/a")
    below = state(cpusets, "/a/c")
    assert cpusets.write("/a", CPUS, "") == "ENOSPC"
    why = "Parent unable to distribute cpu downstream"
    assert cpusets.read("/a", PARTITION) == f"root invalid ({why})\n"
    assert state(cpusets, "/a/c") == below


@pytest.mark.parametrize("machine", [KERNEL_ALONE], indirect=True)
def test_linux_loses_the_cpus_of_a_remote_partition_with_a_rival(cpusets: Machine) -> None:
    """So pcont refuses that (test_a_hierarchy_has_a_partition). The model does not lose them."""
    cpusets.mkdir("/a/e")
    told(cpusets, "/a .exclusive 2-3", "/a/c cpus 2-3", "/a/c .partition root", "/a/e cpus 3")
    assert state(cpusets, "/a/c").startswith("root invalid ")
    assert cpusets.read("/", EFFECTIVE) == "0-1\n"
    told(cpusets, "/a/c .partition member")
    assert cpusets.read("/", EFFECTIVE) == "0-3\n"


def test_no_task_enters_a_partition_without_a_cpu(cpusets: Machine) -> None:
    told(cpusets, "/a cpus 2-3", "/a .partition root", "/a/c cpus 2-3", "/a/c .partition root")
    assert state(cpusets, "/a") == "root "
    (task,) = cpusets.process()
    assert cpusets.write("/a", "cgroup.procs", str(task)) == "ENOSPC"
    assert cpusets.write("/a/c", "cgroup.procs", str(task)) == "ok"
    assert sorted(cpusets.backend.affinity(task)) == [2, 3]


# What pcont says


def needs_6_12_of(pcont: Pcont) -> None:
    """Skip what Linux 6.1 answers otherwise: it has no cpuset.cpus.exclusive."""
    if "model" not in pcont.words and os.uname().release.startswith("6.1."):
        elsewhere("Linux 6.1 answers otherwise")


@pytest.fixture
def pair(bare: Top) -> Iterator[Top]:  # noqa: F811
    """A container below the root, and a sibling of it."""
    needs_6_12_of(bare.pcont)
    bare.pcont.ok("create", sibling(bare))
    yield bare
    bare.pcont.ok("rm", "-r", "--kill", sibling(bare))


def sibling(top: Top) -> str:
    return f"cpuset:{top.path}-b"


def pasted(said: str, pcont: Pcont) -> None:
    """Carry out the commands of the hint."""
    (hint,) = hints.hints(said)
    commands = hints.COMMAND.findall(hint)
    assert commands, hint
    for command in commands:
        pcont.ok(*shlex.split(command)[1:])


def refused(top: Top, place: str, *pairs: str) -> str:
    """What set says; a dry run says the same before."""
    planned = top.pcont.fails(7, "--dry-run", "set", place, *pairs)
    said = top.pcont.fails(7, "set", place, *pairs)
    first, *_, last = said.splitlines()
    assert first.startswith(planned.splitlines()[0].rstrip(".")), (planned, said)
    assert last == planned.splitlines()[-1], "the hint"
    return said


def test_a_partition_is_made_with_its_cpus_in_one_command(pair: Top) -> None:
    place = f"cpuset:{pair.path}"
    pair.pcont.ok("set", place, "cpuset.cpus.partition=root", "cpuset.cpus=2-3")
    assert pair.pcont.get(place, PARTITION) == "root"
    assert pair.pcont.get(sibling(pair), EFFECTIVE) == "0-1"
    line = pair.pcont.ok("tree", place).splitlines()[0].split("\t")
    assert "cpuset.cpus.partition=root" in line
    pair.pcont.ok("rm", place)
    assert pair.pcont.get(sibling(pair), EFFECTIVE) == "0-3"
    pair.pcont.ok("create", place, "-s", "cpuset.cpus=3", "-s", "cpuset.cpus.partition=isolated")
    assert pair.pcont.get("cpuset:/", "cpuset.cpus.isolated") == "3"


def test_a_partition_without_cpus_is_refused_with_a_proposal(pair: Top) -> None:
    said = refused(pair, f"cpuset:{pair.path}", "cpuset.cpus.partition=root")
    assert "a partition needs CPUs in cpuset.cpus" in said
    assert pair.pcont.get(f"cpuset:{pair.path}", PARTITION) == "member"
    pasted(said, pair.pcont)
    assert pair.pcont.get(f"cpuset:{pair.path}", PARTITION) == "root"


def test_a_new_partition_without_cpus_is_refused_with_a_create(pair: Top) -> None:
    place = f"cpuset:{pair.path}-c"
    said = pair.pcont.fails(7, "create", place, "-s", "cpuset.cpus.partition=isolated")
    pasted(said, pair.pcont)
    assert pair.pcont.get(place, PARTITION) == "isolated"
    pair.pcont.ok("rm", place)


def test_a_partition_whose_cpus_a_sibling_has_is_refused(pair: Top) -> None:
    place = f"cpuset:{pair.path}"
    pair.pcont.ok("set", sibling(pair), "cpuset.cpus=1-2")
    said = refused(pair, place, "cpuset.cpus=2-3", "cpuset.cpus.partition=root")
    assert f"{sibling(pair)} has the CPU 2 in cpuset.cpus, too" in said
    assert [pair.pcont.get(place, file) for file in (CPUS, PARTITION)] == ["", "member"]
    pasted(said, pair.pcont)
    assert pair.pcont.get(sibling(pair), CPUS) == "1"
    pair.pcont.ok("set", place, "cpuset.cpus=2-3", "cpuset.cpus.partition=root")


def test_a_partition_of_all_cpus_is_refused(pair: Top) -> None:
    said = refused(pair, f"cpuset:{pair.path}", "cpuset.cpus=0-3", "cpuset.cpus.partition=root")
    assert "no CPU would be left for the tasks in" in said
    pasted(said, pair.pcont)
    assert pair.pcont.get(f"cpuset:{pair.path}", EFFECTIVE) == "1-3"


def test_a_partition_below_none_needs_exclusive_cpus_above(pair: Top) -> None:
    place = f"cpuset:{pair.path}/x"
    pair.pcont.ok("create", place, "-s", "cpuset.cpus=2-3")
    said = refused(pair, place, "cpuset.cpus.partition=root")
    assert f"cpuset:{pair.path} is no partition" in said
    pasted(said, pair.pcont)
    pair.pcont.ok("set", place, "cpuset.cpus.partition=root")
    assert pair.pcont.get(sibling(pair), EFFECTIVE) == "0-1"


def test_exclusive_cpus_alone_are_explained(pair: Top) -> None:
    place = f"cpuset:{pair.path}"
    said = pair.pcont("set", place, "cpuset.cpus.exclusive=2-3").err
    assert f"cpuset.cpus.exclusive of {place} alone keeps no other task off these CPUs" in said
    assert f"pcont set {place} cpuset.cpus.partition=root" in said
    assert pair.pcont.get(sibling(pair), EFFECTIVE) == "0-3"
    said = pair.pcont("set", place, "cpuset.cpus.exclusive=3", "cpuset.cpus.partition=root").err
    assert said == ""
    assert pair.pcont.get(sibling(pair), EFFECTIVE) == "0-2"


def test_a_partition_that_becomes_invalid_is_noted_and_explained(pair: Top) -> None:
    place, pcont = f"cpuset:{pair.path}", pair.pcont
    pcont.ok("set", place, "cpuset.cpus=2-3", "cpuset.cpus.partition=root")
    noted = pcont("set", sibling(pair), "cpuset.cpus=3").err
    assert f"the partition {place} is invalid now: " in noted
    for words in (("get", place, PARTITION), ("get", place), ("tree", place)):
        result = pcont(*words)
        assert "root invalid" in result.out
        assert (
            f"{place} is invalid: {sibling(pair)} has the CPU 3 in cpuset.cpus, too" in result.err
        )
    pcont.ok("set", sibling(pair), "cpuset.cpus=0")
    said = pcont("get", place, PARTITION).err
    for command in said.strip().partition("; to change this: pcont ")[2].split(" && pcont "):
        pcont.ok(*shlex.split(command))
    assert pcont.get(place, PARTITION) == "root"
    assert pcont("get", place).err == ""


@pytest.mark.parametrize("lines", [
    "set {b} cpuset.cpus=3",
    "set {a} cpuset.cpus=0-3",
    "set {a} cpuset.cpus=1",
    "set {a} cpuset.cpus.partition=member",
    "set {a} cpuset.cpus.partition=isolated",
    "create {b}-c -s cpuset.cpus=2",
    "rm -r {a}",
])  # fmt: skip
def test_a_failed_command_restores_the_partitions(pair: Top, tmp_path: Path, lines: str) -> None:
    place, pcont = f"cpuset:{pair.path}", pair.pcont
    pcont.ok("set", place, "cpuset.cpus=2-3", "cpuset.cpus.partition=root")
    file = tmp_path / "lines"
    words = lines.format(a=place, b=sibling(pair))
    file.write_text(f"{words}\nrm {place}/none\n")
    said = pcont.fails(3, "batch", "--atomic", str(file))
    assert "NOT RESTORED" not in said
    assert [pcont.get(place, one) for one in (CPUS, PARTITION, EFFECTIVE)] == ["2-3", "root", "2-3"]
    assert pcont.get(sibling(pair), EFFECTIVE) == "0-1"


def test_a_failed_command_restores_partitions_far_below(pair: Top, tmp_path: Path) -> None:
    place, pcont, file = f"cpuset:{pair.path}", pair.pcont, tmp_path / "lines"
    pcont.ok("set", place, "cpuset.cpus=1-3", "cpuset.cpus.partition=root")
    for one, cpus in ((f"{place}/x", "2-3"), (f"{place}/x/y", "3")):
        pcont.ok("create", one, "-s", f"cpuset.cpus={cpus}", "-s", "cpuset.cpus.partition=root")
    file.write_text(f"set {place} cpuset.cpus.partition=member\nrm {place}/none\n")
    said = pcont.fails(3, "batch", "--atomic", str(file))
    assert "NOT RESTORED" not in said
    there = [place, f"{place}/x", f"{place}/x/y"]
    assert [pcont.get(one, PARTITION) for one in there] == ["root"] * 3
    said = pcont("set", place, "cpuset.cpus.partition=member").err
    assert f"the partition {place}/x is invalid now" in said
    assert f"the partition {place}/x/y is invalid now" in said


# The whole job: tasks run where they should


BUSY = ["sh", "-c", "while :; do :; done"]


@pytest.fixture
def busy() -> Iterator[Callable[[], int]]:
    """Start processes that use a CPU."""
    run: list[subprocess.Popen[bytes]] = []

    def begin() -> int:
        run.append(subprocess.Popen(BUSY))
        return run[-1].pid

    yield begin
    for one in run:
        one.kill()
        one.wait()


def processor(task: int) -> tuple[int, int]:
    """The CPU on which a task ran last, and how many ticks it has run."""
    words = Path(f"/proc/{task}/stat").read_text().rpartition(") ")[2].split()
    return int(words[36]), int(words[11]) + int(words[12])


def cpus_of(tasks: list[int]) -> set[int]:
    """The CPUs on which tasks are seen while each of them runs for some ticks."""
    begun = {one: processor(one)[1] for one in tasks}
    found: set[int] = set()

    def all_have_run() -> bool:
        seen = {one: processor(one) for one in tasks}
        found.update(cpu for cpu, _ in seen.values())
        return all(ticks - begun[one] >= 5 for one, (_, ticks) in seen.items())

    assert eventually(all_have_run)
    return found


@pytest.mark.parametrize("plain", [pytest.param("cgroupfs", id="kernel",
    marks=(pytest.mark.kernel, pytest.mark.guest))], indirect=True)  # fmt: skip
def test_tasks_run_on_the_cpus_of_their_partition_only(
    plain: Pcont,  # noqa: F811
    name: str,
    busy: Callable[[], int],
) -> None:
    needs_6_12_of(plain)
    shield, rest = f"cpuset:/{name}-shield", f"cpuset:/{name}-rest"
    inside, outside = [busy() for _ in range(3)], [busy() for _ in range(3)]
    plain.ok("create", shield, "-s", "cpuset.cpus=2-3", "-s", "cpuset.cpus.partition=root")
    plain.ok("create", rest)
    plain.ok("attach", rest, *map(str, outside[:2]))
    plain.ok("attach", shield, *map(str, inside))
    assert cpus_of(inside) <= {2, 3}
    assert cpus_of(outside) <= {0, 1}
    assert plain.get(rest, EFFECTIVE) == "0-1"
    moved = plain("move", "--movable", "--force", "cpuset:/", rest)
    assert moved.status == 0, moved.err
    assert cpus_of(outside) <= {0, 1}
    plain.ok("move", "--movable", "--force", rest, "cpuset:/")
    for place in (shield, rest):
        plain.ok("rm", "--evict", place)
    assert plain.get("cpuset:/", EFFECTIVE) == "0-3"


@pytest.fixture
def shielding(plain: Pcont, name: str) -> Iterator[Jobs]:  # noqa: F811
    needs_6_12_of(plain)
    yield from mounted(plain, name, "cpuset")


def test_a_hierarchy_has_a_partition(shielding: Jobs, start: Start) -> None:
    one, pcont = shielding, shielding.pcont
    pcont.ok("create", one.at("/rest"))
    words = ("create", one.at("/shield"), "-s", "cpuset.cpus=2-3", "-s", f"{PARTITION}=root")
    planned = pcont.fails(7, "--dry-run", *words)
    said = pcont.fails(7, *words)
    assert planned.splitlines()[-1] == said.splitlines()[-1]
    assert "pcont set unified:/pcont cpuset.cpus.exclusive=2-3 && " in said
    assert f"pcont set {one.at('/')} cpuset.cpus.exclusive=2-3" in said
    pasted(said, pcont)
    pcont.ok(*words)
    task, other = start(), start()
    pcont.ok("attach", one.at("/shield"), str(task))
    pcont.ok("attach", one.at("/rest"), str(other))
    assert [pcont.affinity(each) for each in (task, other)] == ["2-3", "0-1"]
    for more in (["--dry-run"], []):
        said = pcont.fails(5, *more, "set", one.at("/rest"), "cpuset.cpus=1-2")
        assert f"the partition {one.at('/shield')} has the CPU 2; " in said
        assert f"pcont set {one.at('/shield')} {PARTITION}=member" in said
    noted = pcont("set", one.at("/"), "cpuset.cpus.exclusive=").err
    assert f"the partition {one.at('/shield')} is invalid now: " in noted
    assert pcont.affinity(other) == "0-3"
    shown = pcont("tree", one.at("/"))
    hint = f"pcont set {one.at('/')} cpuset.cpus.exclusive=2-3"
    assert f"the partition {one.at('/shield')} is invalid: {one.at('/')} is no part" in shown.err
    assert shown.err.rstrip().endswith(hint)
    assert "cpuset.cpus.partition=root invalid" in shown.out
    pcont.ok(*shlex.split(hint)[1:])
    pcont.ok("set", one.at("/shield"), f"{PARTITION}=root")
    assert [pcont.affinity(each) for each in (task, other)] == ["2-3", "0-1"]
