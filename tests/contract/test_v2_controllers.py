"""Controllers of cgroup v2: enabled for the children of a container, and what then is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pcont.backend_cgroupfs import Cgroupfs
from pcont.backend_model import StoredModel
from pcont.kernel.interfaces import Backend
from pcont.kernel.types import UNIFIED, Place
from tests.conftest import elsewhere
from tests.contract.conftest import Top, beside_systemd
from tests.contract.test_v2 import directory, is_in

Start = Callable[..., int]
NEEDED = ("cpu", "cpuset", "memory", "pids")


# The tests enable controllers in the root of cgroup v2, so no other program may use it, and v1 may
# have none of the controllers.


@pytest.fixture
def controlled(v2_alone: Top) -> Top:
    """A container of cgroup v2, which has the controllers NEEDED."""
    if lacking := {*NEEDED} - {*v2_alone.text("", "cgroup.controllers", of_root=True).split()}:
        elsewhere(f"v2 has no {', '.join(lacking)}")
    return v2_alone


@pytest.fixture
def top(controlled: Top) -> Iterator[Top]:
    """A container of cgroup v2. The root enables the controllers NEEDED for it."""
    enabled = controlled.text("", "cgroup.subtree_control", of_root=True).split()
    new = [name for name in NEEDED if name not in enabled]
    controlled.pcont.ok("set", "unified:/", *(f"cgroup.subtree_control=+{name}" for name in new))
    yield controlled
    for child in controlled.pcont.children(controlled.at()):
        controlled.pcont.ok("rm", "-r", "--kill", controlled.at(f"/{child}"))
    if words := controlled.text("", "cgroup.subtree_control").split():
        controlled.pcont.ok("set", controlled.at(), f"cgroup.subtree_control=-{' -'.join(words)}")
    controlled.pcont.ok("set", "unified:/", *(f"cgroup.subtree_control=-{name}" for name in new))


def enabled(top: Top, path: str = "") -> set[str]:
    return {*top.pcont.get(top.at(path), "cgroup.subtree_control").split()}


def test_a_controller_brings_its_files(top: Top) -> None:
    top.pcont.ok("create", top.at("/a"))
    said = top.pcont.fails(3, "get", top.at("/a"), "memory.max")
    assert f"memory is not enabled for the children of {top.at()}" in said
    assert f"pcont set {top.at()} cgroup.subtree_control=+memory" in said
    top.pcont.ok("set", top.at(), "cgroup.subtree_control=+memory +pids")
    top.pcont.ok("set", top.at("/a"), "memory.max=64M", "pids.max=7")
    assert top.pcont.get(top.at("/a"), "memory.max") == str(64 << 20)
    assert {"pids.max=7", "memory.current=0"} <= {*top.pcont.ok("get", top.at("/a")).splitlines()}
    top.pcont.ok("create", top.at("/b"), "-s", "memory.max=1G", "-s", "pids.max=5")
    assert top.pcont.get(top.at("/b"), "pids.max") == "5"


def test_controllers_are_enabled_all_or_none(top: Top) -> None:
    said = top.pcont.fails(3, "set", top.at(), "cgroup.subtree_control=+pids +hugetlb")
    assert "hugetlb" in said
    assert enabled(top) == set()
    top.pcont.ok("set", top.at(), "cgroup.subtree_control=+cpu")
    top.pcont.fails(7, "set", top.at(), "cgroup.subtree_control=-cpu +pids", "cgroup.freeze=2")
    assert enabled(top) == {"cpu"}


def test_a_container_that_hands_out_controllers_takes_no_tasks(top: Top, start: Start) -> None:
    """It gets no leaf, because another program has made it."""
    task, foreign = start(), top.at("/foreign")
    top.mkdir("/foreign")
    top.pcont.ok("create", top.at("/foreign/a"))
    top.pcont.ok("set", top.at(), "cgroup.subtree_control=+memory")
    top.pcont.ok("set", foreign, "cgroup.subtree_control=+memory")
    for words in (("--dry-run", "attach"), ("attach",)):
        said = top.pcont.fails(5, *words, foreign, str(task))
        assert f"memory is enabled for the children of {foreign}, so tasks must be" in said
    top.pcont.ok("attach", top.at("/foreign/a"), str(task))
    assert is_in(top, task) == "/foreign/a"
    said = top.pcont.fails(5, "rm", "--evict", top.at("/foreign/a"))
    assert f"memory is enabled for the children of {foreign}" in said
    assert is_in(top, task) == "/foreign/a"
    top.pcont.ok("rm", "--kill", top.at("/foreign/a"))


def test_a_controller_is_not_enabled_over_tasks(top: Top, start: Start) -> None:
    top.pcont.ok("create", "-p", top.at("/a/b"))
    top.pcont.ok("attach", top.at(), str(start()))
    for words in (("--dry-run", "set"), ("set",)):
        said = top.pcont.fails(5, *words, top.at(), "cgroup.subtree_control=+memory")
        assert f"1 task is in {top.at()} itself" in said
    assert enabled(top) == set()


def test_a_controller_that_a_child_hands_out_is_not_disabled(top: Top) -> None:
    top.pcont.ok("create", top.at("/a"))
    for path in ("", "/a"):
        top.pcont.ok("set", top.at(path), "cgroup.subtree_control=+pids")
    for words in (("--dry-run", "set"), ("set",)):
        said = top.pcont.fails(5, *words, top.at(), "cgroup.subtree_control=-pids")
        assert f"pids is enabled for the children of {top.at('/a')}" in said
        assert f"pcont set {top.at('/a')} cgroup.subtree_control=-pids" in said


def test_removals_are_undone_with_what_was_enabled(top: Top, tmp_path: Path) -> None:
    top.pcont.ok("set", top.at(), "cgroup.subtree_control=+memory +pids")
    top.pcont.ok("create", top.at("/a"), "-s", "cgroup.subtree_control=+pids")
    top.pcont.ok("create", top.at("/a/b"), "-s", "pids.max=7")
    file = tmp_path / "lines"
    file.write_text(f"rm -r {top.at('/a')}\ncreate {top.at('/c')}\nrm {top.at('/none')}\n")
    top.pcont.fails(3, "batch", "--atomic", str(file))
    assert top.pcont.children(top.at()) == ["a"]
    assert enabled(top, "/a") == {"pids"}
    assert top.pcont.get(top.at("/a/b"), "pids.max") == "7"


def test_threaded_containers_have_controllers_for_threads_only(top: Top, start: Start) -> None:
    top.pcont.ok("create", top.at("/a"), "-s", "cgroup.type=threaded")
    top.pcont.ok("set", top.at(), "cgroup.subtree_control=+cpuset +pids")
    said = top.pcont.fails(6, "set", top.at(), "cgroup.subtree_control=+memory")
    assert "memory does not support threads" in said
    task = start(threads=2)
    top.pcont.ok("set", top.at("/a"), "cpuset.cpus=1", "pids.max=5")
    top.pcont.ok("attach", top.at("/a"), str(task))
    assert top.pcont.affinity(task) == "1"
    assert top.pcont.get(top.at("/a"), "pids.current") == "2"
    top.pcont.ok("attach", top.at(), str(task))
    assert is_in(top, task) == "", "a threaded root has tasks of its own"


def test_a_domain_controller_keeps_children_from_becoming_threaded(top: Top) -> None:
    top.pcont.ok("set", top.at(), "cgroup.subtree_control=+memory")
    top.pcont.ok("create", top.at("/a"))
    for words in (("--dry-run", "set"), ("set",)):
        said = top.pcont.fails(6, *words, top.at("/a"), "cgroup.type=threaded")
        assert f"memory of {top.at()} does not support threads" in said


def test_the_affinity_of_tasks_is_restored(top: Top, start: Start, tmp_path: Path) -> None:
    top.pcont.ok("set", top.at(), "cgroup.subtree_control=+cpuset")
    top.pcont.ok("create", top.at("/a"), top.at("/b"), "-s", "cpuset.cpus=1-2")
    task = start()
    top.pcont.ok("attach", top.at("/a"), str(task))
    top.set_affinity(task, {2})
    top.pcont.ok("set", top.at("/b"), "cpuset.cpus=1")
    file = tmp_path / "lines"
    file.write_text(f"attach {top.at('/b')} {task}\nrm {top.at('/none')}\n")
    top.pcont.fails(3, "batch", "--atomic", str(file))
    assert (is_in(top, task), top.pcont.affinity(task)) == ("/a", "2")


@pytest.mark.parametrize("threaded", [False, True])
@pytest.mark.parametrize("frozen", ["0", "1"])
def test_a_list_that_was_empty_is_empty_again(
    top: Top, start: Start, threaded: bool, frozen: str
) -> None:
    """K1 of what was seen: the kernel empties no list while tasks are inside."""
    kind = ("-s", "cgroup.type=threaded") if threaded else ()
    top.pcont.ok("create", top.at("/a"), *kind)
    top.pcont.ok("set", top.at(), "cgroup.subtree_control=+cpuset")
    task = start(threads=3)
    top.pcont.ok("attach", top.at("/a"), str(task))
    before = top.pcont.affinity(task)
    top.pcont.ok("set", top.at("/a"), f"cgroup.freeze={frozen}")
    said = top.pcont.fails(
        7, "set", top.at("/a"), "cpuset.cpus=1", "cpuset.mems=0", "cgroup.max.depth=x"
    )
    assert "NOT RESTORED" not in said
    assert [top.pcont.get(top.at("/a"), f"cpuset.{one}") for one in ("cpus", "mems")] == ["", ""]
    assert (is_in(top, task), top.pcont.affinity(task)) == ("/a", before)
    assert len(top.pcont.get(top.at("/a"), "tasks").split()) == 3
    assert top.pcont.get(top.at("/a"), "cgroup.freeze") == frozen
    assert top.pcont.children(top.at()) == ["a"]
    top.pcont.ok("set", top.at("/a"), "cgroup.freeze=0")


def test_a_list_that_cannot_be_emptied_is_what_it_stands_for(top: Top, start: Start) -> None:
    top.pcont.ok("set", top.at(), "cgroup.subtree_control=+cpuset", "cpuset.cpus=0-1")
    top.pcont.ok("create", "-p", top.at("/a/b"))
    top.pcont.ok("attach", top.at("/a/b"), str(start()))
    said = top.pcont.fails(7, "set", top.at("/a"), "cpuset.cpus=1", "cgroup.max.depth=x")
    assert "NOT RESTORED" in said
    assert f"cpuset.cpus of {top.at('/a')} was empty and is now 0-1" in said
    assert top.pcont.get(top.at("/a"), "cpuset.cpus") == "0-1"


def test_a_partition_that_the_kernel_does_not_make_is_refused(top: Top) -> None:
    top.pcont.ok("set", top.at(), "cgroup.subtree_control=+cpuset")
    top.pcont.ok("create", top.at("/a"), top.at("/b"), "-s", "cpuset.cpus=1")
    for words in ("set {}", "create -p {}/c -s"):
        before = top.pcont.get(top.at("/a"), "cpuset.cpus.partition")
        said = top.pcont.fails(7, *words.format(top.at("/a")).split(), "cpuset.cpus.partition=root")
        assert f"cannot set cpuset.cpus.partition of {top.at('/a')}" in said
        assert "cpuset.cpus" in said.partition(":")[2]
        assert top.pcont.get(top.at("/a"), "cpuset.cpus.partition") == before == "member"
    assert top.pcont.children(top.at("/a")) == []


# What pcont enables itself


@pytest.fixture
def bare(controlled: Top) -> Iterator[Top]:
    """A container of cgroup v2 where nothing is enabled, not even in the root."""
    assert all_enabled(controlled, "/") == [set()]
    yield controlled
    tops = controlled.pcont.children("unified:/")
    for path in (*(f"/{name}" for name in tops), "/"):
        disable(controlled, path)
    if "pcont" in tops:
        controlled.pcont.ok("rm", "unified:/pcont")


def disable(top: Top, path: str) -> None:
    """Disable everything in a container and below it."""
    if path != "/":
        for child in top.pcont.children(f"unified:{path}"):
            disable(top, f"{path}/{child}")
    if words := top.text(path, "cgroup.subtree_control", of_root=True).split():
        top.write(path, "cgroup.subtree_control", f"-{' -'.join(words)}", of_root=True)


def all_enabled(top: Top, *paths: str) -> list[set[str]]:
    return [{*top.text(path, "cgroup.subtree_control", of_root=True).split()} for path in paths]


def test_settings_enable_their_controllers_above(bare: Top) -> None:
    place = bare.at("/a/b")
    planned = bare.pcont.ok("--dry-run", "create", "-p", place, "-s", "memory.max=64M").splitlines()
    there = directory(bare)
    assert planned == [
        f"mkdir {there}/a",
        f"echo +memory > {there.parent}/cgroup.subtree_control",
        f"echo +memory > {there}/cgroup.subtree_control",
        f"echo +memory > {there}/a/cgroup.subtree_control",
        f"mkdir {there}/a/b",
        f"echo 64M > {there}/a/b/memory.max",
    ]
    bare.pcont.ok("create", "-p", place, "-s", "memory.max=64M")
    paths = ("/", bare.path, f"{bare.path}/a", f"{bare.path}/a/b")
    assert all_enabled(bare, *paths) == [{"memory"}] * 3 + [set()]
    bare.pcont.ok("set", place, "pids.max=5", "memory.max=32M")
    assert all_enabled(bare, *paths) == [{"memory", "pids"}] * 3 + [set()]
    assert bare.pcont.get(place, "pids.max") == "5"
    bare.pcont.ok("set", bare.at("/a"), "memory.pressure=some 150000 2000000")
    assert all_enabled(bare, "/") == [{"memory", "pids"}]


@pytest.mark.parametrize("words", ["create -p {}/a/b -s memory.max=x", "set {} memory.max=x"])
def test_what_was_enabled_is_disabled_after_a_failure(bare: Top, words: str) -> None:
    said = bare.pcont.fails(7, *words.format(bare.at()).split())
    assert "memory.max" in said
    assert "NOT RESTORED" not in said
    assert all_enabled(bare, "/", bare.path) == [set(), set()]
    assert bare.pcont.children(bare.at()) == []


def test_values_are_restored_before_their_controller_is_disabled(bare: Top) -> None:
    for words in ("pids.max=5 cgroup.freeze=2", "pids.max=5 memory.max=64M pids.max2=1"):
        said = bare.pcont("set", bare.at(), *words.split()).err
        assert "NOT RESTORED" not in said
        assert all_enabled(bare, "/") == [set()]


def test_what_another_program_has_set_stays(bare: Top, monkeypatch: pytest.MonkeyPatch) -> None:
    """A neighbour that got a value between the enabling and the failure."""
    bare.pcont.ok("create", bare.at("/a"), bare.at("/b"))
    backend = StoredModel if bare.is_model else Cgroupfs
    write: Callable[..., None] = backend.write

    def interfering(self: Backend, place: Place, file: str, text: str) -> None:
        if file == "pids.max":
            write(self, bare.place("/b"), file, "7")
        write(self, place, file, text)

    monkeypatch.setattr(backend, "write", interfering)
    said = bare.pcont.fails(7, "set", bare.at("/a"), "pids.max=x")
    assert "NOT RESTORED" in said
    assert f"pids stays enabled, because pids.max of unified:{bare.path}/b is set" in said
    assert bare.text("/b", "pids.max") == "7\n"


def test_a_controller_selects_v2_and_is_enabled(bare: Top) -> None:
    name = bare.path
    bare.pcont.ok("create", f"memory:{name}/a")
    assert all_enabled(bare, "/", name) == [{"memory"}, {"memory"}]
    bare.pcont.ok("create", f"cpuset,pids:{name}/b", "-s", "pids.max=5")
    assert all_enabled(bare, "/", name) == [{"memory", "cpuset", "pids"}] * 2
    limit = ("--", "cat", f"{directory(bare, '/a')}/memory.max")
    assert bare.is_model or bare.pcont.ok("run", f"memory:{name}/a", *limit) == "max\n"
    assert f"memory:{name}/a" in bare.pcont.fails(5, "create", f"memory:{name}/a")


def test_nothing_is_enabled_over_tasks(bare: Top, start: Start) -> None:
    """Not even what the kernel would accept: then no other child could have tasks. The tasks do not
    make way, because another program has made the container.
    """
    foreign = bare.at("/foreign")
    bare.mkdir("/foreign")
    bare.pcont.ok("attach", foreign, str(start()))
    for setting in ("memory.max=64M", "pids.max=5"):
        for words in (("--dry-run", "create"), ("create",)):
            said = bare.pcont.fails(5, *words, bare.at("/foreign/a"), "-s", setting)
            assert f"1 task is in {foreign} itself" in said
            assert f"pcont create {bare.at('/foreign/NAME')}" in said
    assert all_enabled(bare, "/", bare.path, f"{bare.path}/foreign") == [set()] * 3
    assert bare.pcont.children(foreign) == []


def test_beside_systemd_the_controllers_are_pinned(
    bare: Top, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside_systemd(monkeypatch)
    bare.pcont.ok("create", bare.at("/a"), "-s", "pids.max=5")
    assert all_enabled(bare, "/", "/pcont") == [{"pids"}, {"pids"}]
    bare.pcont.ok("set", bare.at("/a"), "cpuset.cpus=0", "pids.max=6")
    assert all_enabled(bare, "/", "/pcont") == [{"pids", "cpuset"}] * 2
    bare.pcont.ok("create", bare.at("/x.slice"))
    for words in (("--dry-run", "create"), ("create",)):
        said = bare.pcont.fails(4, *words, bare.at("/x.slice/a"), "-s", "pids.max=5")
        assert f"{bare.at('/x.slice')} belongs to systemd" in said


def test_beside_systemd_gc_pins_what_settings_rely_on(
    bare: Top, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside_systemd(monkeypatch)
    bare.pcont.ok("set", bare.at(), "pids.max=50")
    bare.pcont.ok("create", bare.at("/a"), "-s", "cpuset.cpus=0")
    assert bare.pcont.ok("gc") == ""
    disable(bare, "/pcont")
    bare.pcont.ok("rm", "unified:/pcont")
    finding = f"systemd may disable cpuset, pids for {bare.at()}: /pcont does not keep them enabled"
    assert finding in bare.pcont.ok("doctor")
    lines = bare.pcont.ok("gc", "--dry-run").splitlines()
    point = bare.pcont.backend().show(Place(UNIFIED, "/pcont"))
    assert lines == [f"mkdir {point}", f"echo '+cpuset +pids' > {point}/cgroup.subtree_control"]
    assert "pcont" not in bare.pcont.children("unified:/")
    found = bare.pcont("gc", "--json").json
    assert found == [{"done": "restored", "what": line} for line in lines]
    assert all_enabled(bare, "/pcont") == [{"cpuset", "pids"}]
    assert "systemd may disable" not in bare.pcont.ok("doctor")
    assert bare.pcont.ok("gc") == ""


def test_beside_systemd_gc_pins_again_what_was_disabled(
    bare: Top, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The root has lost pids, as if systemd had disabled it; the container relies on cpuset."""
    beside_systemd(monkeypatch)
    bare.pcont.ok("set", bare.at(), "pids.max=50", "cpuset.cpus=0")
    disable(bare, "/pcont")
    bare.write("/", "cgroup.subtree_control", "-pids", of_root=True)
    bare.pcont.ok("gc")
    assert all_enabled(bare, "/", "/pcont") == [{"cpuset"}] * 2
    bare.write("/pcont", "cgroup.subtree_control", "-cpuset", of_root=True)
    bare.pcont.ok("create", "-p", bare.at("/x.slice"))
    beside_systemd(monkeypatch, False)
    assert bare.pcont.ok("gc") == "", "without systemd, the root keeps what is enabled"
    assert "systemd may disable" not in bare.pcont.ok("doctor")
    assert all_enabled(bare, "/pcont") == [set()]


@pytest.mark.parametrize("v2_alone", [pytest.param("model", id="model")], indirect=True)
def test_the_model_has_no_systemd_if_this_machine_has(
    bare: Top, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pcont.linux.systemd._RUNNING", "/")
    assert Cgroupfs().has_systemd()
    bare.pcont.ok("create", "-p", bare.at("/x.slice/a"), "-s", "pids.max=5")
    assert all_enabled(bare, "/") == [{"pids"}]
    assert bare.pcont.children("unified:/") == [bare.path.removeprefix("/")]
