"""auto_delete, notify_on_release and the release agent: what becomes empty is told of, and goes."""

from __future__ import annotations

import contextlib
import glob
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

import pcont as pcont_package
from pcont.kernel.paths import join
from pcont.kernel.types import Place
from pcont.virtual import auto_delete
from tests.conftest import IN_GUEST, MUST
from tests.contract.conftest import ON_THE_HOST, SHAPES, Jobs, Pcont, eventually
from tests.contract.test_containers import there

# The directory is gone before the log says so, or it was told first.
AGENT = """#!/bin/sh
[ -d "{point}$1" ] && echo "$# $1" >>{log}
"""

Start = Callable[..., int]


@dataclass
class Bed:
    """A hierarchy, and a release agent that can be asked of what it was told."""

    jobs: Jobs
    agent: str
    log: str

    @property
    def pcont(self) -> Pcont:
        return self.jobs.pcont

    def at(self, path: str) -> str:
        return self.jobs.at(path)

    def create(self, *paths: str, settings: str = "") -> None:
        words = [word for text in settings.split() for word in ("-s", text)]
        self.pcont.ok("create", "-i", *map(self.at, paths), *words)

    def set(self, path: str, *words: str) -> None:
        self.pcont.ok("set", self.at(path), *words)

    def get(self, path: str, key: str) -> str:
        return self.pcont.get(self.at(path), key)

    def is_there(self, *paths: str) -> bool:
        return there(self.jobs) == ["/", *paths]

    def told(self) -> list[str]:
        """The paths that the agent was told of, in their order."""
        if "model" in self.pcont.words:
            there(self.jobs)  # what is to go goes when somebody looks
            backend = self.pcont.backend()
            backend.releases.told()  # sees who has ended
            notified = backend.notified  # type: ignore[attr-defined]
            return [path for agent, path in notified if agent == self.agent]
        with contextlib.suppress(FileNotFoundError), open(self.log) as stream:
            return [line.removeprefix("1 ").rstrip("\n") for line in stream]
        return []

    def home(self, path: str = "/") -> Place:
        trees = self.pcont.backend().trees()
        return Place(next(tree.id for tree in trees if tree.name == self.jobs.name), path)

    def raw(self, path: str, file: str) -> str:
        """What the kernel has in a file."""
        return self.pcont.backend().read(self.home(path), file).rstrip("\n")

    def write(self, path: str, file: str, text: str) -> None:
        """As with echo."""
        backend = self.pcont.backend()
        with backend.turn():
            backend.write(self.home(path), file, text)

    def mkdir(self, path: str) -> None:
        """As with mkdir(1), in each tree."""
        backend = self.pcont.backend()
        with backend.turn():
            for place in self.members(path):
                backend.make(place)

    def members(self, path: str) -> list[Place]:
        """The container in all trees."""
        (row,) = [
            one
            for one in json.loads(self.pcont.ok("hierarchies", "--json"))["result"]
            if one["name"] == self.jobs.name
        ]
        return [Place(tree["id"], join(tree["at"], path)) for tree in row["trees"]]


@cache
def _why_no_agent_runs() -> str:
    """In a container of another mount namespace the kernel's agent sees other files."""
    pcont, name = Pcont(("--backend", "cgroupfs")), f"pct{os.getpid()}-agent"
    with tempfile.TemporaryDirectory(dir="/var/lib") as folder:
        program = os.path.join(folder, "agent")
        with open(program, "w") as stream:
            stream.write(f'#!/bin/sh\necho "$1" >{folder}/log\n')
        os.chmod(program, 0o755)
        point = pcont.ok("mount", "-o", "none", "--name", name, "--release-agent", program)
        pcont.ok("create", f"{name}:/a", "-s", "notify_on_release=1")
        pcont.ok("run", f"{name}:/a", "--", "true")
        runs = eventually(lambda: os.path.exists(f"{folder}/log"))
        pcont.ok("rm", f"{name}:/a")
        pcont.ok("umount", name)
    return "" if runs else f"the kernel runs no release agent that sees {point.split()[1]}"


@pytest.fixture(
    params=[
        pytest.param(("model", "named"), id="model-named"),
        pytest.param(("model", "tied"), id="model-tied"),
        pytest.param(("cgroupfs", "named"), id="kernel-named", marks=ON_THE_HOST),
        pytest.param(("cgroupfs", "tied"), id="kernel-tied", marks=ON_THE_HOST),
        pytest.param(("cgroupfs", "single"), id="kernel-single", marks=pytest.mark.guest),
    ]
)
def bed(request: pytest.FixtureRequest, tmp_path: Path, name: str) -> Iterator[Bed]:
    """A hierarchy of pcont's, on the kernel with an agent that the kernel runs."""
    backend, shape = request.param
    words = ["--backend", backend]
    if backend == "model":
        pcont = Pcont((*words, "--state", str(tmp_path / "model.json")))
        for jobs in SHAPES[shape](pcont, name):
            yield Bed(jobs, "/bin/true", "")
        return
    if why := _why_no_agent_runs():
        (pytest.fail if MUST else pytest.skip)(why)
    folder = tempfile.mkdtemp(dir="/var/lib")
    try:
        pcont = Pcont(tuple(words))
        for jobs in SHAPES[shape](pcont, name):
            point = next(one for one in pcont.backend().trees() if one.name == name)
            made = Bed(jobs, os.path.join(folder, "agent"), os.path.join(folder, "log"))
            with open(made.agent, "w") as stream:
                stream.write(AGENT.format(point=point.mounts[0].point, log=made.log))
            os.chmod(made.agent, 0o755)
            yield made
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def ends(start: Start) -> Callable[[int], None]:
    """A process of this test ends, and is waited for."""

    def ends(pid: int) -> None:
        os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)

    return ends


Ends = Callable[[int], None]


def enter(bed: Bed, path: str, start: Start) -> int:
    pid = start()
    bed.pcont.ok("attach", bed.at(path), str(pid))
    return pid


def test_nothing_is_set_to_begin_with(bed: Bed) -> None:
    bed.create("/a")
    for path in ("/", "/a"):
        assert bed.get(path, "auto_delete") == bed.get(path, "notify_on_release") == "0"
    assert bed.get("/", "release_agent") == ""
    bed.pcont.fails(3, "get", bed.at("/a"), "release_agent")


@pytest.mark.quick
def test_a_container_goes_when_its_last_task_has_ended(bed: Bed, start: Start, ends: Ends) -> None:
    bed.create("/a", "/b", settings="auto_delete=1")
    first, second = enter(bed, "/a", start), enter(bed, "/a", start)
    ends(first)
    time.sleep(0.3)
    assert bed.is_there("/a", "/b")  # b has never become empty
    ends(second)
    assert eventually(lambda: bed.is_there("/b"))
    assert all(not os.path.exists(bed.pcont.backend().show(one)) for one in bed.members("/a"))


def test_a_container_goes_when_its_last_task_has_left(bed: Bed, start: Start) -> None:
    bed.create("/a", settings="auto_delete=1")
    bed.create("/b")
    pid = enter(bed, "/a", start)
    bed.pcont.ok("attach", bed.at("/b"), str(pid))
    assert eventually(lambda: bed.is_there("/b"))


def test_it_goes_on_with_the_parents_and_never_takes_the_root(
    bed: Bed, start: Start, ends: Ends
) -> None:
    bed.set("/", "auto_delete=1")
    bed.create("/a")
    bed.create("/a/b")
    bed.create("/a/b/c", "/a/other")
    bed.set("/a/other", "auto_delete=0")
    ends(enter(bed, "/a/b/c", start))
    assert eventually(lambda: bed.is_there("/a", "/a/other"))
    bed.pcont.ok("rm", bed.at("/a/other"))
    assert eventually(lambda: bed.is_there())
    assert bed.get("/", "auto_delete") == "1"


def test_the_flag_is_the_parents_of_that_moment(bed: Bed) -> None:
    """As with notify_on_release (check list, 7), whoever makes the container."""
    bed.create("/a")
    bed.create("/a/older")
    bed.set("/a", "auto_delete=1", "notify_on_release=1")
    bed.create("/a/younger")
    bed.mkdir("/a/plain")
    flags = ("auto_delete", "notify_on_release")
    assert [bed.get("/a/older", flag) for flag in flags] == ["0", "0"]
    for path in ("/a/younger", "/a/plain"):
        assert [bed.get(path, flag) for flag in flags] == ["1", "1"]
    bed.mkdir("/a/plain/below")
    bed.set("/a", "notify_on_release=0")
    assert bed.get("/a/plain", "notify_on_release") == "1"
    bed.set("/a", "auto_delete=0")
    for path in ("/a/younger", "/a/plain", "/a/plain/below"):
        assert [bed.get(path, flag) for flag in flags] == ["1", "1"]
    assert [bed.get("/a", flag) for flag in flags] == ["0", "0"]
    bed.mkdir("/a/latest")
    assert [bed.get("/a/latest", flag) for flag in flags] == ["0", "0"]


@pytest.mark.parametrize("shared", [False, True])
def test_the_agent_is_told(bed: Bed, start: Start, ends: Ends, shared: bool) -> None:
    """Check list, 6: once for each, the parent when its last child has gone; not of what is empty.

    That is so too where the agent is shared with auto_delete.
    """
    bed.set("/", f"release_agent={bed.agent}")
    if shared:
        bed.create("/keeps", settings="auto_delete=1")
    bed.create("/a", settings="notify_on_release=1")
    bed.create("/a/b")
    assert bed.get("/a/b", "notify_on_release") == "1"
    ends(enter(bed, "/a/b", start))
    assert eventually(lambda: bed.told() == ["/a/b"])
    bed.pcont.ok("rm", bed.at("/a/b"))
    assert eventually(lambda: bed.told() == ["/a/b", "/a"])
    bed.create("/empty", settings="notify_on_release=1")
    bed.set("/a", "notify_on_release=0")
    ends(enter(bed, "/a", start))
    time.sleep(0.3)
    assert bed.told() == ["/a/b", "/a"]


def test_with_both_flags_the_agent_is_told_first_and_once(
    bed: Bed, start: Start, ends: Ends
) -> None:
    bed.set("/", f"release_agent={bed.agent}", "auto_delete=1", "notify_on_release=1")
    bed.create("/a")
    bed.create("/a/b")
    bed.create("/silent", settings="notify_on_release=0")
    ends(enter(bed, "/a/b", start))
    ends(enter(bed, "/silent", start))
    assert eventually(lambda: bed.is_there())
    assert bed.told() == ["/a/b", "/a"]


def test_the_users_words_stay_his(bed: Bed) -> None:
    """What auto_delete needs of the kernel is not shown as if he had said it, and goes with it."""
    bed.create("/a")
    bed.set("/", f"release_agent={bed.agent}")
    bed.set("/a", "auto_delete=1")
    assert bed.get("/a", "notify_on_release") == "0"
    assert bed.get("/", "release_agent") == bed.agent
    assert bed.raw("/a", "notify_on_release") == "1"
    assert bed.raw("/", "release_agent") != bed.agent
    bed.set("/", "release_agent=")
    assert bed.get("/", "release_agent") == ""
    assert bed.raw("/", "release_agent") != ""
    bed.set("/a", "notify_on_release=1")
    assert bed.get("/a", "notify_on_release") == "1"
    bed.set("/a", "auto_delete=0")
    assert bed.get("/a", "notify_on_release") == bed.raw("/a", "notify_on_release") == "1"
    bed.set("/a", "auto_delete=1", "notify_on_release=0")
    bed.set("/a", "auto_delete=0")
    assert bed.get("/a", "notify_on_release") == bed.raw("/a", "notify_on_release") == "0"


def test_a_refused_command_leaves_the_flags_as_they_were(bed: Bed) -> None:
    bed.create("/a")
    bed.create("/a/b")
    said = bed.pcont.fails(7, "set", bed.at("/a"), "auto_delete=1", "cgroup.clone_children=x")
    assert "clone_children" in said
    assert bed.get("/a", "auto_delete") == bed.raw("/a", "notify_on_release") == "0"
    assert bed.raw("/", "release_agent") == ""
    kept = bed.pcont.backend().attributes(bed.home("/a/b"))
    assert not kept.keys() & set(auto_delete.FILES)
    assert "takes" in bed.pcont.fails(7, "set", bed.at("/a"), "auto_delete=x")
    told = bed.pcont.ok("set", "-n", bed.at("/a"), "auto_delete=1").splitlines()
    assert [line for line in told if line.startswith("echo 1 > ")]
    assert bed.get("/a", "auto_delete") == "0"


def test_strange_names_are_names(bed: Bed, start: Start, ends: Ends) -> None:
    names = ("/a b", "/$(touch x)`id`", "/'\"", "/-n", "/*;&|>x", "/ä\udcff\\0")
    bed.set("/", f"release_agent={bed.agent}", "auto_delete=1")
    bed.create(*names)
    pids = [enter(bed, path, start) for path in names]
    for pid in pids:
        ends(pid)
    assert eventually(lambda: bed.is_there())


def test_a_tie_waits_for_the_tree_that_empties_last(bed: Bed, start: Start) -> None:
    """Somebody moves a task by hand, one tree after another."""
    bed.set("/", f"release_agent={bed.agent}")
    bed.create("/a", settings="auto_delete=1 notify_on_release=1")
    pid = enter(bed, "/a", start)
    home, *others = bed.members("/a")
    backend = bed.pcont.backend()
    for place in (home, *others):
        time.sleep(0.3)
        assert bed.is_there("/a")
        assert bed.told() == []
        with backend.turn():
            backend.write(place.parent, "tasks", str(pid))
    assert eventually(lambda: bed.is_there())
    assert bed.told() == ["/a"]


def test_run_lets_it_go_although_pcont_is_killed(bed: Bed) -> None:
    words = [sys.executable, "-m", "pcont", *bed.pcont.words, "run", bed.at("/a/b"), "--create"]
    with subprocess.Popen([*words, "--auto-delete", "--", "sleep", "600"]) as process:
        assert eventually(lambda: bed.is_there("/a", "/a/b") and _has_started(process.pid))
        child, *others = sorted(_children(process.pid), key=lambda pid: _name(pid) != "sleep")
        assert bed.get("/a/b", "auto_delete") == "1"
        for pid in (*others, process.pid):  # whoever would stand in for pcont, too
            os.kill(pid, signal.SIGKILL)
    time.sleep(0.3)
    assert bed.is_there("/a", "/a/b")
    os.kill(child, signal.SIGKILL)
    assert eventually(lambda: bed.is_there("/a"))


def _has_started(pid: int) -> bool:
    """Whether the command runs, and nothing is to be taken back any more if pcont dies."""
    names = [_name(child) for child in _children(pid)]
    return "sleep" in names and not glob.glob(f"/run/pcont/*-{pid}.journal")


def _name(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().rstrip("\n")


def _children(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children") as stream:
        return list(map(int, stream.read().split()))


def test_run_in_a_root_does_not_let_that_go(bed: Bed) -> None:
    bed.pcont.fails(125, "run", bed.at("/"), "--auto-delete", "--", "true")
    assert bed.get("/", "auto_delete") == "0"


def test_gc_makes_good_what_was_missed(bed: Bed, start: Start, ends: Ends) -> None:
    bed.set("/", f"release_agent={bed.agent}")
    bed.create("/a", settings="auto_delete=1 notify_on_release=1")
    bed.create("/a/b", "/a/used", "/a/b/c")
    bed.create("/stays")
    pid = enter(bed, "/a/b/c", start)
    enter(bed, "/a/used", start)
    bed.write("/a/b/c", "notify_on_release", "0")  # somebody else's idea
    ends(pid)
    time.sleep(0.3)
    everything = ("/a", "/a/b", "/a/b/c", "/a/used", "/stays")
    assert bed.is_there(*everything)
    told = bed.pcont.ok("gc", "-n", bed.jobs.name)
    assert f"{bed.agent} /a/b/c\n" in told
    assert sum(line.startswith("rmdir ") for line in told.splitlines()) == 2 * len(
        bed.members("/a")
    )
    assert bed.is_there(*everything)
    rows = json.loads(bed.pcont.ok("gc", bed.jobs.name, "--json"))["result"]
    removed = [row["what"] for row in rows if row["done"] == "removed"]
    assert removed == [bed.at("/a/b/c"), bed.at("/a/b")]
    assert [row["done"] for row in rows if row["done"] != "removed"] == ["restored"]
    assert bed.is_there("/a", "/a/used", "/stays")
    assert bed.told() == ["/a/b/c", "/a/b"]
    assert bed.pcont.ok("gc", bed.jobs.name) == ""


def test_gc_takes_the_release_agent_back(bed: Bed, start: Start, ends: Ends) -> None:
    """Whoever has written another one there has set that: it is told, too."""
    bed.create("/a", settings="auto_delete=1 notify_on_release=1")
    bed.write("/", "release_agent", bed.agent)
    assert bed.get("/", "release_agent") == bed.agent
    ends(enter(bed, "/a", start))
    assert eventually(lambda: bed.told() == ["/a"])
    assert bed.is_there("/a")
    bed.pcont.ok("gc", bed.jobs.name)
    assert bed.is_there()
    assert bed.told() == ["/a", "/a"]
    assert bed.get("/", "release_agent") == bed.agent
    bed.create("/b", settings="auto_delete=1")
    ends(enter(bed, "/b", start))
    assert eventually(lambda: bed.is_there())


@pytest.mark.parametrize(
    "bed",
    [pytest.param(("cgroupfs", "named"), id="kernel-named", marks=pytest.mark.kernel)],
    indirect=True,
)
def test_what_was_told_waits_for_a_pcont_that_has_moved(bed: Bed, start: Start, ends: Ends) -> None:
    bed.set("/", f"release_agent={bed.agent}")
    bed.create("/a", "/b", settings="auto_delete=1 notify_on_release=1")
    program = Path(bed.raw("/", "release_agent"))
    program.write_text(program.read_text().replace(sys.executable, "/no/such/python"))
    ends(enter(bed, "/a", start))
    time.sleep(0.3)
    assert bed.is_there("/a", "/b")
    pid = enter(bed, "/b", start)
    bed.pcont.ok("gc", bed.jobs.name)
    assert bed.is_there("/b")
    assert bed.told() == ["/a"]
    assert sys.executable in program.read_text()
    ends(pid)
    assert eventually(lambda: bed.is_there())
    bed.pcont.ok("umount", bed.jobs.name)
    assert not program.exists()
    bed.pcont.ok("mount", "-o", "none", "--name", bed.jobs.name)


@pytest.mark.parametrize(
    "bed",
    [pytest.param(("cgroupfs", "named"), id="kernel-named", marks=pytest.mark.kernel)],
    indirect=True,
)
def test_gc_leaves_alone_what_another_pcont_looks_after(bed: Bed, tmp_path: Path) -> None:
    bed.create("/a", settings="auto_delete=1")
    program = Path(bed.raw("/", "release_agent"))
    script = program.read_text()
    package = str(Path(pcont_package.__file__).parents[1])
    (tmp_path / "pcont").mkdir()
    (tmp_path / "pcont" / "agent.py").touch()
    program.write_text(script.replace(f" {package} ", f" {tmp_path} "))
    result = bed.pcont("gc", "-n")
    note = f"{bed.jobs.name} is skipped: the pcont in {tmp_path} collects there"
    assert note in result.err
    assert f"pcont gc {bed.jobs.name} takes over" in result.err
    assert bed.jobs.name not in result.out
    assert bed.is_there("/a")
    bed.pcont.ok("gc", bed.jobs.name)
    assert bed.is_there()


def test_gc_without_names_acts_where_there_is_something_to_collect(pcont: Pcont, name: str) -> None:
    other = f"{name}-b"
    for one in (name, other):
        pcont.ok("mount", "-o", "none", "--name", one)
        pcont.ok("create", f"{one}:/kept")
    pcont.ok("create", f"{name}:/a", "-s", "auto_delete=1")
    told = pcont.ok("gc", "-n")
    assert f"{name}/a" in told
    assert other not in told
    assert "kept" not in told
    if "model" in pcont.words:
        found = pcont("gc", "--json").json
        assert [(one["done"], one["what"]) for one in found] == [("removed", f"{name}:/a")]
        assert pcont.ok("gc") == ""
    else:
        pcont.ok("gc", name)
    for one in (name, other):
        pcont.ok("rm", f"{one}:/kept")
        pcont.ok("umount", one)


def test_agents_that_others_could_replace_are_refused(bed: Bed, tmp_path: Path) -> None:
    program = tmp_path / "agent"
    program.write_text("#!/bin/sh\n")
    tmp_path.chmod(0o777)
    for text in (str(program), str(tmp_path / "not-there"), "bin/true"):
        bed.pcont.fails(7, "set", bed.at("/"), f"release_agent={text}")
        words = ("mount", "-o", "none", "--name", f"{bed.jobs.name}x", "--release-agent", text)
        bed.pcont.fails(7, *words)
    if bed.log:
        link = Path(bed.log).with_name("link")
        link.symlink_to(program)
        said = bed.pcont.fails(7, "set", bed.at("/"), f"release_agent={link}")
        assert "users other than root can change" in said
    assert bed.get("/", "release_agent") == ""
    names = [row["name"] for row in json.loads(bed.pcont.ok("hierarchies", "--json"))["result"]]
    assert f"{bed.jobs.name}x" not in names


def test_mount_sets_agent_and_flag(bed: Bed) -> None:
    name = f"{bed.jobs.name}-2"
    words = ("mount", "-o", "none", "--name", name)
    bed.pcont.ok(*words, "--release-agent", bed.agent, "--notify-on-release")
    assert bed.pcont.get(f"{name}:/", "release_agent") == bed.agent
    bed.pcont.ok("create", f"{name}:/a")
    assert bed.pcont.get(f"{name}:/a", "notify_on_release") == "1"
    bed.pcont.ok("rm", f"{name}:/a")
    bed.pcont.ok("umount", name)


@pytest.mark.kernel
@pytest.mark.host
def test_hierarchies_of_others_are_left_alone(kernel: Pcont, name: str) -> None:
    controller = next(
        one.id
        for one in kernel.backend().trees()
        if one.id in ("cpuacct", "pids") and not any(mount.ours for mount in one.mounts)
    )
    place = f"{controller}:/{name}"
    said = kernel.fails(6, "create", place, "-s", "auto_delete=1")
    assert "mount --tie" in said
    kernel.ok("create", place)
    assert "mount --tie" in kernel.fails(6, "set", place, "auto_delete=1")
    assert "mount --tie" in kernel.fails(6, "get", place, "auto_delete")
    assert "auto_delete" not in kernel.ok("get", place)
    kernel.fails(4, "gc", controller)
    kernel.ok("run", place, "--auto-delete", "--", "true")
    kernel.fails(3, "get", place)


@pytest.mark.parametrize(
    "bed",
    [pytest.param(("cgroupfs", "tied"), id="kernel-tied", marks=pytest.mark.kernel)],
    indirect=True,
)
def test_many_that_empty_at_once_are_all_told_of_and_go(bed: Bed) -> None:
    """A thousand; in a guest, where an agent takes seconds to start, some."""
    paths = [f"/c{number}" for number in range(30 if IN_GUEST else 1000)]
    bed.set("/", f"release_agent={bed.agent}", "auto_delete=1", "notify_on_release=1")
    bed.create(*paths)
    backend, tops = bed.pcont.backend(), bed.members("/")
    running = [subprocess.Popen(["sleep", "600"]) for _ in paths]
    try:
        for path, one in zip(paths, running, strict=True):
            for top in tops:
                backend.write(Place(top.tree, join(top.path, path)), "cgroup.procs", str(one.pid))
    finally:
        for one in running:
            one.kill()
        for one in running:
            one.wait()
    assert eventually(lambda: bed.is_there(), patience=600)
    assert sorted(bed.told()) == sorted(paths)
    assert [backend.children(top) for top in tops] == [[]] * len(tops)


@pytest.mark.parametrize(
    ("agent", "why"),
    [
        ("/nosuch", "/nosuch: No such file or directory"),
        ("/etc/passwd", "/etc/passwd is not executable"),
        ("/etc", "/etc is not a file"),
        ("/bin/true x", "'/bin/true x' is taken for one path: a release agent has no arguments"),
        ("/bin/true", ""),
        ("", ""),
    ],
)
def test_an_agent_that_the_kernel_cannot_run_is_set_and_noted(
    pcont: Pcont, name: str, agent: str, why: str
) -> None:
    pcont.ok("mount", "-o", "none", "--name", name)
    try:
        said = pcont("set", f"{name}:/", f"release_agent={agent}")
        assert said.status == 0
        assert pcont.get(f"{name}:/", "release_agent") == agent
        assert ("the kernel would run nothing" in said.err) is bool(why)
        assert why in said.err
    finally:
        pcont.ok("umount", name)


@pytest.fixture
def endless(kernel: Pcont, name: str) -> Iterator[str]:
    """A hierarchy in which containers are nested until their path is longer than PATH_MAX."""
    point = kernel.ok("mount", "-o", "none", "--name", name).split()[-1]
    kernel.ok("create", f"{name}:/a", "-s", "auto_delete=1")
    opened = [os.open(f"{point}/a", os.O_RDONLY)]
    for _ in range(22):
        os.mkdir("x" * 200, dir_fd=opened[-1])
        opened.append(os.open("x" * 200, os.O_RDONLY, dir_fd=opened[-1]))
    yield name
    while len(opened) > 1:
        os.close(opened.pop())
        os.rmdir("x" * 200, dir_fd=opened[-1])
    os.close(opened.pop())
    kernel.ok("rm", f"{name}:/a")
    kernel.ok("umount", name)


@pytest.mark.kernel
def test_containers_that_are_too_deep_for_a_path_hold_up_nothing_else(
    kernel: Pcont, endless: str
) -> None:
    """A user who may create containers can make these."""
    kernel.ok("create", f"{endless}:/b", "-s", "auto_delete=1")
    kernel.ok("doctor")
    kernel.ok("gc", endless)
    kernel.fails(3, "get", f"{endless}:/b")
    kernel.ok("get", f"{endless}:/a")
