"""auto_delete, notify_on_release and the release agent of containers that become empty."""

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

# It logs a container only if the directory still exists: the agent runs before the removal.
AGENT = """#!/bin/sh
[ -d "{point}$1" ] && echo "$# $1" >>{log}
"""

Start = Callable[..., int]


@dataclass
class Releases:
    """A hierarchy, and a release agent that logs the containers that it gets."""

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

    def released(self) -> list[str]:
        """The paths that the agent got, in their order."""
        if "model" in self.pcont.words:
            there(self.jobs)  # the model removes containers when a command looks
            backend = self.pcont.backend()
            backend.releases.reported()  # looks for tasks that have ended
            notified = backend.simulated().notified
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
        with backend.exclusive():
            backend.write(self.home(path), file, text)

    def mkdir(self, path: str) -> None:
        """As with mkdir(1), in each tree."""
        backend = self.pcont.backend()
        with backend.exclusive():
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
def hierarchy(request: pytest.FixtureRequest, tmp_path: Path, name: str) -> Iterator[Releases]:
    """A hierarchy that pcont mounted; on the kernel, with an agent that the kernel runs."""
    backend, shape = request.param
    words = ["--backend", backend]
    if backend == "model":
        pcont = Pcont((*words, "--state", str(tmp_path / "model.json")))
        for jobs in SHAPES[shape](pcont, name):
            yield Releases(jobs, "/bin/true", "")
        return
    if why := _why_no_agent_runs():
        (pytest.fail if MUST else pytest.skip)(why)
    folder = tempfile.mkdtemp(dir="/var/lib")
    try:
        pcont = Pcont(tuple(words))
        for jobs in SHAPES[shape](pcont, name):
            point = next(one for one in pcont.backend().trees() if one.name == name)
            made = Releases(jobs, os.path.join(folder, "agent"), os.path.join(folder, "log"))
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


def enter(hierarchy: Releases, path: str, start: Start) -> int:
    pid = start()
    hierarchy.pcont.ok("attach", hierarchy.at(path), str(pid))
    return pid


def test_nothing_is_set_to_begin_with(hierarchy: Releases) -> None:
    hierarchy.create("/a")
    for path in ("/", "/a"):
        assert hierarchy.get(path, "auto_delete") == hierarchy.get(path, "notify_on_release") == "0"
    assert hierarchy.get("/", "release_agent") == ""
    hierarchy.pcont.fails(3, "get", hierarchy.at("/a"), "release_agent")


@pytest.mark.quick
def test_a_container_goes_when_its_last_task_has_ended(
    hierarchy: Releases, start: Start, ends: Ends
) -> None:
    hierarchy.create("/a", "/b", settings="auto_delete=1")
    first, second = enter(hierarchy, "/a", start), enter(hierarchy, "/a", start)
    ends(first)
    time.sleep(0.3)
    assert hierarchy.is_there("/a", "/b")  # b has never become empty
    ends(second)
    assert eventually(lambda: hierarchy.is_there("/b"))
    assert all(
        not os.path.exists(hierarchy.pcont.backend().show(one)) for one in hierarchy.members("/a")
    )


def test_a_container_goes_when_its_last_task_has_left(hierarchy: Releases, start: Start) -> None:
    hierarchy.create("/a", settings="auto_delete=1")
    hierarchy.create("/b")
    pid = enter(hierarchy, "/a", start)
    hierarchy.pcont.ok("attach", hierarchy.at("/b"), str(pid))
    assert eventually(lambda: hierarchy.is_there("/b"))


def test_it_goes_on_with_the_parents_and_never_takes_the_root(
    hierarchy: Releases, start: Start, ends: Ends
) -> None:
    hierarchy.set("/", "auto_delete=1")
    hierarchy.create("/a")
    hierarchy.create("/a/b")
    hierarchy.create("/a/b/c", "/a/other")
    hierarchy.set("/a/other", "auto_delete=0")
    ends(enter(hierarchy, "/a/b/c", start))
    assert eventually(lambda: hierarchy.is_there("/a", "/a/other"))
    hierarchy.pcont.ok("rm", hierarchy.at("/a/other"))
    assert eventually(lambda: hierarchy.is_there())
    assert hierarchy.get("/", "auto_delete") == "1"


def test_the_flag_is_the_parents_of_that_moment(hierarchy: Releases) -> None:
    """As with notify_on_release (check list, 7), with pcont and with a plain mkdir."""
    hierarchy.create("/a")
    hierarchy.create("/a/older")
    hierarchy.set("/a", "auto_delete=1", "notify_on_release=1")
    hierarchy.create("/a/younger")
    hierarchy.mkdir("/a/plain")
    flags = ("auto_delete", "notify_on_release")
    assert [hierarchy.get("/a/older", flag) for flag in flags] == ["0", "0"]
    for path in ("/a/younger", "/a/plain"):
        assert [hierarchy.get(path, flag) for flag in flags] == ["1", "1"]
    hierarchy.mkdir("/a/plain/below")
    hierarchy.set("/a", "notify_on_release=0")
    assert hierarchy.get("/a/plain", "notify_on_release") == "1"
    hierarchy.set("/a", "auto_delete=0")
    for path in ("/a/younger", "/a/plain", "/a/plain/below"):
        assert [hierarchy.get(path, flag) for flag in flags] == ["1", "1"]
    assert [hierarchy.get("/a", flag) for flag in flags] == ["0", "0"]
    hierarchy.mkdir("/a/latest")
    assert [hierarchy.get("/a/latest", flag) for flag in flags] == ["0", "0"]


@pytest.mark.parametrize("shared", [False, True])
def test_the_agent_runs_for_each_container_that_becomes_empty(
    hierarchy: Releases, start: Start, ends: Ends, shared: bool
) -> None:
    """Check list, 6: it runs once for each container that becomes empty, not for an empty one.

    A parent becomes empty with its last child. auto_delete with the same agent changes nothing.
    """
    hierarchy.set("/", f"release_agent={hierarchy.agent}")
    if shared:
        hierarchy.create("/keeps", settings="auto_delete=1")
    hierarchy.create("/a", settings="notify_on_release=1")
    hierarchy.create("/a/b")
    assert hierarchy.get("/a/b", "notify_on_release") == "1"
    ends(enter(hierarchy, "/a/b", start))
    assert eventually(lambda: hierarchy.released() == ["/a/b"])
    hierarchy.pcont.ok("rm", hierarchy.at("/a/b"))
    assert eventually(lambda: hierarchy.released() == ["/a/b", "/a"])
    hierarchy.create("/empty", settings="notify_on_release=1")
    hierarchy.set("/a", "notify_on_release=0")
    ends(enter(hierarchy, "/a", start))
    time.sleep(0.3)
    assert hierarchy.released() == ["/a/b", "/a"]


def test_with_both_flags_the_agent_runs_first_and_once(
    hierarchy: Releases, start: Start, ends: Ends
) -> None:
    hierarchy.set("/", f"release_agent={hierarchy.agent}", "auto_delete=1", "notify_on_release=1")
    hierarchy.create("/a")
    hierarchy.create("/a/b")
    hierarchy.create("/silent", settings="notify_on_release=0")
    ends(enter(hierarchy, "/a/b", start))
    ends(enter(hierarchy, "/silent", start))
    assert eventually(lambda: hierarchy.is_there())
    assert hierarchy.released() == ["/a/b", "/a"]


def test_the_values_that_the_user_set_are_shown(hierarchy: Releases) -> None:
    """The values that auto_delete needs are not shown as the user's, and are removed with it."""
    hierarchy.create("/a")
    hierarchy.set("/", f"release_agent={hierarchy.agent}")
    hierarchy.set("/a", "auto_delete=1")
    assert hierarchy.get("/a", "notify_on_release") == "0"
    assert hierarchy.get("/", "release_agent") == hierarchy.agent
    assert hierarchy.raw("/a", "notify_on_release") == "1"
    assert hierarchy.raw("/", "release_agent") != hierarchy.agent
    hierarchy.set("/", "release_agent=")
    assert hierarchy.get("/", "release_agent") == ""
    assert hierarchy.raw("/", "release_agent") != ""
    hierarchy.set("/a", "notify_on_release=1")
    assert hierarchy.get("/a", "notify_on_release") == "1"
    hierarchy.set("/a", "auto_delete=0")
    assert (
        hierarchy.get("/a", "notify_on_release") == hierarchy.raw("/a", "notify_on_release") == "1"
    )
    hierarchy.set("/a", "auto_delete=1", "notify_on_release=0")
    hierarchy.set("/a", "auto_delete=0")
    assert (
        hierarchy.get("/a", "notify_on_release") == hierarchy.raw("/a", "notify_on_release") == "0"
    )


def test_a_refused_command_leaves_the_flags_as_they_were(hierarchy: Releases) -> None:
    hierarchy.create("/a")
    hierarchy.create("/a/b")
    said = hierarchy.pcont.fails(
        7, "set", hierarchy.at("/a"), "auto_delete=1", "cgroup.clone_children=x"
    )
    assert "clone_children" in said
    assert hierarchy.get("/a", "auto_delete") == hierarchy.raw("/a", "notify_on_release") == "0"
    assert hierarchy.raw("/", "release_agent") == ""
    kept = hierarchy.pcont.backend().attributes(hierarchy.home("/a/b"))
    assert not kept.keys() & set(auto_delete.FILES)
    assert "takes" in hierarchy.pcont.fails(7, "set", hierarchy.at("/a"), "auto_delete=x")
    printed = hierarchy.pcont.ok("set", "-n", hierarchy.at("/a"), "auto_delete=1").splitlines()
    assert [line for line in printed if line.startswith("echo 1 > ")]
    assert hierarchy.get("/a", "auto_delete") == "0"


def test_strange_names_are_names(hierarchy: Releases, start: Start, ends: Ends) -> None:
    names = ("/a b", "/$(touch x)`id`", "/'\"", "/-n", "/*;&|>x", "/ä\udcff\\0")
    hierarchy.set("/", f"release_agent={hierarchy.agent}", "auto_delete=1")
    hierarchy.create(*names)
    pids = [enter(hierarchy, path, start) for path in names]
    for pid in pids:
        ends(pid)
    assert eventually(lambda: hierarchy.is_there())


def test_a_tie_waits_for_the_tree_that_empties_last(hierarchy: Releases, start: Start) -> None:
    """Another program moves a task, one tree after another."""
    hierarchy.set("/", f"release_agent={hierarchy.agent}")
    hierarchy.create("/a", settings="auto_delete=1 notify_on_release=1")
    pid = enter(hierarchy, "/a", start)
    home, *others = hierarchy.members("/a")
    backend = hierarchy.pcont.backend()
    for place in (home, *others):
        time.sleep(0.3)
        assert hierarchy.is_there("/a")
        assert hierarchy.released() == []
        with backend.exclusive():
            backend.write(place.parent, "tasks", str(pid))
    assert eventually(lambda: hierarchy.is_there())
    assert hierarchy.released() == ["/a"]


def test_the_container_of_run_is_removed_although_pcont_is_killed(hierarchy: Releases) -> None:
    words = [
        sys.executable,
        "-m",
        "pcont",
        *hierarchy.pcont.words,
        "run",
        hierarchy.at("/a/b"),
        "--create",
    ]
    with subprocess.Popen([*words, "--auto-delete", "--", "sleep", "600"]) as process:
        assert eventually(lambda: hierarchy.is_there("/a", "/a/b") and _has_started(process.pid))
        child, *others = sorted(_children(process.pid), key=lambda pid: _name(pid) != "sleep")
        assert hierarchy.get("/a/b", "auto_delete") == "1"
        for pid in (*others, process.pid):  # the processes that would act in place of pcont, too
            os.kill(pid, signal.SIGKILL)
    time.sleep(0.3)
    assert hierarchy.is_there("/a", "/a/b")
    os.kill(child, signal.SIGKILL)
    assert eventually(lambda: hierarchy.is_there("/a"))


def _has_started(pid: int) -> bool:
    """Whether the command runs, and nothing is to be taken back any more if pcont dies."""
    names = [_name(child) for child in _children(pid)]
    return "sleep" in names and not glob.glob(f"/run/pcont/*-{pid}.journal")


def _name(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().rstrip("\n")


def _children(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children") as stream:
        return list(map(int, stream.read().split()))


def test_run_in_a_root_does_not_let_that_go(hierarchy: Releases) -> None:
    hierarchy.pcont.fails(125, "run", hierarchy.at("/"), "--auto-delete", "--", "true")
    assert hierarchy.get("/", "auto_delete") == "0"


def test_gc_removes_what_was_missed(hierarchy: Releases, start: Start, ends: Ends) -> None:
    hierarchy.set("/", f"release_agent={hierarchy.agent}")
    hierarchy.create("/a", settings="auto_delete=1 notify_on_release=1")
    hierarchy.create("/a/b", "/a/used", "/a/b/c")
    hierarchy.create("/stays")
    pid = enter(hierarchy, "/a/b/c", start)
    enter(hierarchy, "/a/used", start)
    hierarchy.write("/a/b/c", "notify_on_release", "0")  # set by another program
    ends(pid)
    time.sleep(0.3)
    everything = ("/a", "/a/b", "/a/b/c", "/a/used", "/stays")
    assert hierarchy.is_there(*everything)
    printed = hierarchy.pcont.ok("gc", "-n", hierarchy.jobs.name)
    assert f"{hierarchy.agent} /a/b/c\n" in printed
    assert sum(line.startswith("rmdir ") for line in printed.splitlines()) == 2 * len(
        hierarchy.members("/a")
    )
    assert hierarchy.is_there(*everything)
    rows = json.loads(hierarchy.pcont.ok("gc", hierarchy.jobs.name, "--json"))["result"]
    removed = [row["what"] for row in rows if row["done"] == "removed"]
    assert removed == [hierarchy.at("/a/b/c"), hierarchy.at("/a/b")]
    assert [row["done"] for row in rows if row["done"] != "removed"] == ["restored"]
    assert hierarchy.is_there("/a", "/a/used", "/stays")
    assert hierarchy.released() == ["/a/b/c", "/a/b"]
    assert hierarchy.pcont.ok("gc", hierarchy.jobs.name) == ""


def test_gc_takes_the_release_agent_back(hierarchy: Releases, start: Start, ends: Ends) -> None:
    """An agent that another program wrote there counts as set: pcont runs it, too."""
    hierarchy.create("/a", settings="auto_delete=1 notify_on_release=1")
    hierarchy.write("/", "release_agent", hierarchy.agent)
    assert hierarchy.get("/", "release_agent") == hierarchy.agent
    ends(enter(hierarchy, "/a", start))
    assert eventually(lambda: hierarchy.released() == ["/a"])
    assert hierarchy.is_there("/a")
    hierarchy.pcont.ok("gc", hierarchy.jobs.name)
    assert hierarchy.is_there()
    assert hierarchy.released() == ["/a", "/a"]
    assert hierarchy.get("/", "release_agent") == hierarchy.agent
    hierarchy.create("/b", settings="auto_delete=1")
    ends(enter(hierarchy, "/b", start))
    assert eventually(lambda: hierarchy.is_there())


@pytest.mark.parametrize(
    "hierarchy",
    [pytest.param(("cgroupfs", "named"), id="kernel-named", marks=pytest.mark.kernel)],
    indirect=True,
)
def test_reports_wait_for_a_pcont_that_has_moved(
    hierarchy: Releases, start: Start, ends: Ends
) -> None:
    hierarchy.set("/", f"release_agent={hierarchy.agent}")
    hierarchy.create("/a", "/b", settings="auto_delete=1 notify_on_release=1")
    program = Path(hierarchy.raw("/", "release_agent"))
    program.write_text(program.read_text().replace(sys.executable, "/no/such/python"))
    ends(enter(hierarchy, "/a", start))
    time.sleep(0.3)
    assert hierarchy.is_there("/a", "/b")
    pid = enter(hierarchy, "/b", start)
    hierarchy.pcont.ok("gc", hierarchy.jobs.name)
    assert hierarchy.is_there("/b")
    assert hierarchy.released() == ["/a"]
    assert sys.executable in program.read_text()
    ends(pid)
    assert eventually(lambda: hierarchy.is_there())
    hierarchy.pcont.ok("umount", hierarchy.jobs.name)
    assert not program.exists()
    hierarchy.pcont.ok("mount", "-o", "none", "--name", hierarchy.jobs.name)


@pytest.mark.parametrize(
    "hierarchy",
    [pytest.param(("cgroupfs", "named"), id="kernel-named", marks=pytest.mark.kernel)],
    indirect=True,
)
def test_gc_leaves_alone_what_another_pcont_looks_after(
    hierarchy: Releases, tmp_path: Path
) -> None:
    hierarchy.create("/a", settings="auto_delete=1")
    program = Path(hierarchy.raw("/", "release_agent"))
    script = program.read_text()
    package = str(Path(pcont_package.__file__).parents[1])
    (tmp_path / "pcont").mkdir()
    (tmp_path / "pcont" / "agent.py").touch()
    program.write_text(script.replace(f" {package} ", f" {tmp_path} "))
    result = hierarchy.pcont("gc", "-n")
    note = f"{hierarchy.jobs.name} is skipped: the pcont in {tmp_path} collects there"
    assert note in result.err
    assert f"pcont gc {hierarchy.jobs.name} takes over" in result.err
    assert hierarchy.jobs.name not in result.out
    assert hierarchy.is_there("/a")
    hierarchy.pcont.ok("gc", hierarchy.jobs.name)
    assert hierarchy.is_there()


def test_gc_without_names_acts_where_there_is_something_to_collect(pcont: Pcont, name: str) -> None:
    other = f"{name}-b"
    for one in (name, other):
        pcont.ok("mount", "-o", "none", "--name", one)
        pcont.ok("create", f"{one}:/kept")
    pcont.ok("create", f"{name}:/a", "-s", "auto_delete=1")
    printed = pcont.ok("gc", "-n")
    assert f"{name}/a" in printed
    assert other not in printed
    assert "kept" not in printed
    if "model" in pcont.words:
        found = pcont("gc", "--json").json
        assert [(one["done"], one["what"]) for one in found] == [("removed", f"{name}:/a")]
        assert pcont.ok("gc") == ""
    else:
        pcont.ok("gc", name)
    for one in (name, other):
        pcont.ok("rm", f"{one}:/kept")
        pcont.ok("umount", one)


def test_agents_that_others_could_replace_are_refused(hierarchy: Releases, tmp_path: Path) -> None:
    program = tmp_path / "agent"
    program.write_text("#!/bin/sh\n")
    tmp_path.chmod(0o777)
    for text in (str(program), str(tmp_path / "not-there"), "bin/true"):
        hierarchy.pcont.fails(7, "set", hierarchy.at("/"), f"release_agent={text}")
        words = (
            "mount",
            "-o",
            "none",
            "--name",
            f"{hierarchy.jobs.name}x",
            "--release-agent",
            text,
        )
        hierarchy.pcont.fails(7, *words)
    if hierarchy.log:
        link = Path(hierarchy.log).with_name("link")
        link.symlink_to(program)
        said = hierarchy.pcont.fails(7, "set", hierarchy.at("/"), f"release_agent={link}")
        assert "users other than root can change" in said
    assert hierarchy.get("/", "release_agent") == ""
    names = [
        row["name"] for row in json.loads(hierarchy.pcont.ok("hierarchies", "--json"))["result"]
    ]
    assert f"{hierarchy.jobs.name}x" not in names


def test_mount_sets_agent_and_flag(hierarchy: Releases) -> None:
    name = f"{hierarchy.jobs.name}-2"
    words = ("mount", "-o", "none", "--name", name)
    hierarchy.pcont.ok(*words, "--release-agent", hierarchy.agent, "--notify-on-release")
    assert hierarchy.pcont.get(f"{name}:/", "release_agent") == hierarchy.agent
    hierarchy.pcont.ok("create", f"{name}:/a")
    assert hierarchy.pcont.get(f"{name}:/a", "notify_on_release") == "1"
    hierarchy.pcont.ok("rm", f"{name}:/a")
    hierarchy.pcont.ok("umount", name)


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
    "hierarchy",
    [pytest.param(("cgroupfs", "tied"), id="kernel-tied", marks=pytest.mark.kernel)],
    indirect=True,
)
def test_many_that_become_empty_at_once_are_all_reported_and_removed(hierarchy: Releases) -> None:
    """A thousand; in a guest, where an agent takes seconds to start, some."""
    paths = [f"/c{number}" for number in range(12 if IN_GUEST else 1000)]
    hierarchy.set("/", f"release_agent={hierarchy.agent}", "auto_delete=1", "notify_on_release=1")
    hierarchy.create(*paths)
    backend, tops = hierarchy.pcont.backend(), hierarchy.members("/")
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
    assert eventually(lambda: hierarchy.is_there(), patience=600)
    assert sorted(hierarchy.released()) == sorted(paths)
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
    """A user with permission to create containers can make these."""
    kernel.ok("create", f"{endless}:/b", "-s", "auto_delete=1")
    kernel.ok("doctor")
    kernel.ok("gc", endless)
    kernel.fails(3, "get", f"{endless}:/b")
    kernel.ok("get", f"{endless}:/a")
