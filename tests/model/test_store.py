"""model_store: the state in its file survives crowds, kills, and what it cannot understand."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pcont.backend_model import StoredModel
from pcont.cli import main
from pcont.errors import PcontError, Unsupported
from pcont.kernel.types import Place, TreeRequest
from pcont.linux.proc import Proc
from pcont.model.pages import create_file
from pcont.model.rows import all_rows
from pcont.model.store import VERSION, default_file
from pcont.ops import containers
from pcont.session import Session
from tests.model_states import rows_in

TREE = "cpuset,cpuacct"
ROOT = Place(TREE)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A state with a hierarchy, settings, an attribute, times and a task in it."""
    path = tmp_path / "state" / "model.json"
    model = StoredModel(str(path))
    with model.exclusive():
        model.make_directory("/cg")
        model.mount(TreeRequest(("cpuset", "cpuacct"), ""), "/cg", "pcont:1:/cg")
        model.make(Place(TREE, "/a"))
        model.write(Place(TREE, "/a"), "cpuset.cpus", "0")
        model.write(Place(TREE, "/a"), "cpuset.mems", "0")
        model.write(Place(TREE, "/a"), "tasks", str(os.getpid()))
        model.set_attribute(ROOT, "tie", "x")
        model.hierarchies.active[0].root.add_time(0, 10, 20)
    return path


def old_state(version: int = 3) -> dict[str, Any]:
    """The same model as an earlier version wrote it.

    Version 1 had neither freezer nor pids, counted no tasks, and nested its containers.
    """
    start, charged = Proc().task(os.getpid()).start, {"user": 0, "system": 0, "cpu": 0}
    root: dict[str, Any] = {
        **{"path": "/", "values": {}, "attributes": {"tie": "x"}, "refused": 0, "facts": {}},
        **{"times": {"0": [10, 20]}, "most": 1, "charges": {"held": 0, "limit": 512}},
    }
    a = {**root, "path": "/a", "attributes": {}, "times": {}}
    a["values"] = {"cpuset.cpus": "0", "cpuset.mems": "0", "notify_on_release": "0"}
    tree: dict[str, Any] = {
        **{"number": 1, "controllers": ["cpuset", "cpuacct"], "name": "", "emptied": []},
        **{"mounts": [{"point": "/cg", "source": "pcont:1:/cg"}], "containers": [root, a]},
    }
    task = {"id": os.getpid(), "pid": os.getpid(), "start": start, "charged": charged}
    state: dict[str, Any] = {
        **{"version": version, "dialect": "v1", "next_number": 2, "directories": ["/cg"]},
        **{"machine": {"cpus": "0-1", "nodes": "0", "cpu_limit": 2}, "stacks": {"/cg": [1]}},
        **{"trees": [tree], "tasks": [{**task, "cpus": "0", "paths": {"1": "/a"}}], "ended": {}},
        **{"played": {"5000000": [5000000, 1, "x", 0, False]}, "notified": [["agent", "/a"]]},
        **{"files": [{"number": 1, "holders": [5000000], "charged": None}]},
    }
    if version == 1:
        for container in (root, a):
            del container["path"], container["most"]
        del tree["containers"], state["stacks"], state["played"], state["files"]
        tree["root"] = {**root, "children": {"a": {**a, "children": {}}}}
    return state


def forked(work: Callable[[], None]) -> int:
    """A process that does some work, with status 0 if it came to its end."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return pid


# What is kept


def test_nothing_is_written_before_something_changes(tmp_path: Path) -> None:
    model = StoredModel(str(tmp_path / "deep" / "model.json"))
    assert model.trees() == ()
    assert list(tmp_path.iterdir()) == []
    with model.exclusive():
        pass
    assert not (tmp_path / "deep" / "model.json").exists()


def test_everything_is_there_in_the_next_command(file: Path) -> None:
    model = StoredModel(str(file))
    (tree,) = model.trees()
    assert tree.mounts[0].made == ["/cg"]
    assert model.children(ROOT) == ["a"]
    assert model.read(Place(TREE, "/a"), "cpuset.cpus") == "0\n"
    assert model.attributes(ROOT) == {"tie": "x"}
    assert model.membership(os.getpid()) == {TREE: "/a"}
    assert model.affinity(os.getpid()) == {0}
    assert int(model.read(ROOT, "cpuacct.usage")) >= 30
    assert model.missing("/cg") == []


def test_frozen_tasks_and_the_peak_are_saved(tmp_path: Path) -> None:
    file, tree = str(tmp_path / "model.json"), "freezer,pids"
    a, b = Place(tree, "/a"), Place(tree, "/a/b")
    model = StoredModel(file)
    with model.exclusive():
        model.make_directory("/cg")
        model.mount(TreeRequest(("freezer", "pids")), "/cg", "pcont")
        for place in (a, b):
            model.make(place)
        model.write(a, "pids.max", "9")
        model.write(b, "tasks", str(os.getpid()))
        model.write(a, "tasks", str(os.getpid()))
        model.write(a, "freezer.state", "FROZEN")
    model = StoredModel(file)
    assert [model.read(place, "freezer.state") for place in (a, b)] == ["FROZEN\n"] * 2
    assert [model.read(place, "pids.max") for place in (a, b)] == ["9\n", "max\n"]
    assert [model.read(place, "pids.current") for place in (a, b)] == ["1\n", "0\n"]
    assert [model.read(place, "pids.peak") for place in (a, b)] == ["2\n", "1\n"]


def test_what_is_mounted_above_what_is_kept(tmp_path: Path) -> None:
    file = str(tmp_path / "model.json")
    model = StoredModel(file)
    with model.exclusive():
        model.make_directory("/m")
        for name in ("x", "y", "x"):
            model.mount(TreeRequest((), name), "/m", "pcont")
    for left in (["name=x", "name=y"], ["name=x"], []):
        model = StoredModel(file)
        with model.exclusive():
            model.umount("/m")
        assert [tree.id for tree in model.trees()] == left


@pytest.mark.parametrize("version", [1, 3])
def test_a_state_of_an_earlier_version_is_read_and_written_anew(file: Path, version: int) -> None:
    old = json.dumps(old_state(version))
    file.write_text(old, encoding="utf-8")
    model = StoredModel(str(file))
    assert model.membership(os.getpid()) == {TREE: "/a"}
    assert model.node(Place(TREE, "/a")).count == 1
    assert file.read_text(encoding="utf-8") == old
    with model.exclusive():
        model.make(Place(TREE, "/b"))
    assert rows_in(file)["head"]["trees"][0]["size"] == 3
    model = StoredModel(str(file))
    assert model.children(ROOT) == ["a", "b"]
    with model.exclusive():
        model.umount("/cg")
    assert [tree.mounts for tree in StoredModel(str(file)).trees()] == [()]


@pytest.mark.slow
def test_containers_nest_as_deep_as_a_path_is_long(file: Path) -> None:
    """Deeper than functions may call each other."""
    place, model = Place(TREE, "/d" * 2000), StoredModel(str(file))
    with model.exclusive():
        for depth in range(1, 2001):
            model.make(Place(TREE, "/d" * depth))
        model.write(place, "notify_on_release", "1")
        model.write(ROOT, "tasks", str(os.getpid()))
    again = StoredModel(str(file))
    assert again.read(place, "notify_on_release") == "1\n"
    assert again.children(place) == []


def test_containers_that_one_command_removes_and_makes_again_are_new(file: Path) -> None:
    paths = ["/b", "/b/c", "/b/c/d"]
    model = StoredModel(str(file))
    with model.exclusive():
        for path in paths:
            model.make(Place(TREE, path))
            model.write(Place(TREE, path), "notify_on_release", "1")
    with model.exclusive():
        for path in reversed(paths):
            model.remove(Place(TREE, path))
        for path in paths[:2]:
            model.make(Place(TREE, path))
    model = StoredModel(str(file))
    assert model.children(Place(TREE, "/b/c")) == []
    assert [model.read(Place(TREE, path), "notify_on_release") for path in paths[:2]] == ["0\n"] * 2
    assert model.hierarchies.active[0].size == 4


def threads_apart(model: StoredModel) -> None:
    """A simulated process with its first thread in one container, and another one beside it."""
    for name in ("x", "y"):
        place = Place(TREE, f"/a/{name}")
        model.make(place)
        model.write(place, "cpuset.cpus", "0")
        model.write(place, "cpuset.mems", "0")
    first = model.simulator.spawn()
    model.write(Place(TREE, "/a/x"), "tasks", str(first))
    model.write(Place(TREE, "/a/y"), "tasks", str(model.simulator.thread(first)))


@pytest.mark.parametrize("commands", [1, 3])
def test_a_zombie_outlives_its_container(file: Path, commands: int) -> None:
    """It counts in the parents until the last thread of its process ends."""
    steps: list[Callable[[StoredModel], object]] = [
        threads_apart,
        lambda model: model.simulator.exit(5_000_000, thread=True),
        lambda model: model.remove(Place(TREE, "/a/x")),
    ]
    each = len(steps) // commands
    for number in range(commands):
        model = StoredModel(str(file))
        with model.exclusive():
            for step in steps[number * each : (number + 1) * each]:
                step(model)
    model = StoredModel(str(file))
    a = model.node(Place(TREE, "/a"))
    assert (a.count, a.zombies) == (3, 1)  # this process, the zombie and its thread
    assert model.membership(5_000_000) == {TREE: "/"}
    for step in (
        lambda model: model.make(Place(TREE, "/a/x")),  # another one, in which it never was
        lambda model: model.simulator.exit(5_000_001),
    ):
        model = StoredModel(str(file))
        with model.exclusive():
            step(model)
    model = StoredModel(str(file))
    a, x = model.node(Place(TREE, "/a")), model.node(Place(TREE, "/a/x"))
    assert (a.count, a.zombies, x.count, x.zombies) == (1, 0, 0, 0)
    assert {key for key in rows_in(file) if "500000" in key} == set()


def test_a_link_leads_to_the_same_state(file: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.json"
    link.symlink_to(file)
    model = StoredModel(str(link))
    with model.exclusive():
        model.make(Place(TREE, "/b"))
    assert link.is_symlink()
    assert not (tmp_path / "link.json.lock").exists()
    assert StoredModel(str(file)).children(ROOT) == ["a", "b"]


def test_a_state_that_was_removed_is_begun_anew(file: Path) -> None:
    model = StoredModel(str(file))
    file.unlink()
    with model.exclusive():
        assert model.trees() == ()
    assert not file.exists()


def test_names_of_any_bytes_are_kept(file: Path) -> None:
    names = ["a\udcff", "grün", "a b", '"q"', "\x1b[31m", "→"]
    model = StoredModel(str(file))
    with model.exclusive():
        for name in names:
            model.make(Place(TREE, f"/{name}"))
    assert set(StoredModel(str(file)).children(ROOT)) == {"a", *names}


def test_outside_a_turn_nothing_is_kept(file: Path) -> None:
    StoredModel(str(file)).make(Place(TREE, "/b"))
    assert StoredModel(str(file)).children(ROOT) == ["a"]


def test_a_turn_sees_what_others_did_before_it(file: Path) -> None:
    one, other = StoredModel(str(file)), StoredModel(str(file))
    with one.exclusive():
        one.make(Place(TREE, "/b"))
    with other.exclusive():
        other.make(Place(TREE, "/c"))
    assert StoredModel(str(file)).children(ROOT) == ["a", "b", "c"]


def test_a_turn_within_a_turn_is_the_same_turn(file: Path) -> None:
    model = StoredModel(str(file))
    with model.exclusive():
        model.make(Place(TREE, "/b"))
        with model.exclusive():
            model.make(Place(TREE, "/c"))
        assert StoredModel(str(file)).children(ROOT) == ["a"]
        model.make(Place(TREE, "/d"))
    assert StoredModel(str(file)).children(ROOT) == ["a", "b", "c", "d"]


def test_what_a_failed_turn_left_is_there_as_in_the_kernel(file: Path) -> None:
    model = StoredModel(str(file))
    with pytest.raises(ZeroDivisionError), model.exclusive():  # noqa: PT012
        model.make(Place(TREE, "/b"))
        raise ZeroDivisionError
    assert StoredModel(str(file)).children(ROOT) == ["a", "b"]
    with model.exclusive():
        model.make(Place(TREE, "/c"))
    assert StoredModel(str(file)).children(ROOT) == ["a", "b", "c"]


def test_a_turn_that_changes_nothing_leaves_the_file_alone(file: Path) -> None:
    before = file.stat()
    with StoredModel(str(file)).exclusive():
        pass
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_no_stray_file_stays_and_no_other_user_may_read(file: Path) -> None:
    assert {one.name for one in file.parent.iterdir()} == {"model.json", "model.json.lock"}
    assert {one.stat().st_mode & 0o777 for one in file.parent.iterdir()} == {0o600}


def test_the_file_is_where_the_desktop_keeps_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/s")
    assert default_file() == "/s/pcont/model.json"
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", "/h")
    assert default_file() == "/h/.local/state/pcont/model.json"


def test_a_model_without_a_file_name_is_in_the_default_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert StoredModel().file == default_file()


def test_a_command_that_pcont_starts_finds_the_same_state(file: Path) -> None:
    assert StoredModel(str(file)).environment() == {
        "PCONT_BACKEND": "model",
        "PCONT_STATE": str(file),
    }


# What is not understood


def refused(file: Path, text: str, kind: type[PcontError] = PcontError) -> PcontError:
    """A state that must be refused, and stay as it is."""
    file.write_text(text, encoding="utf-8")
    for read in (lambda: StoredModel(str(file)), lambda: created(file)):
        with pytest.raises(PcontError) as caught:
            read()
        assert type(caught.value) is kind
        assert caught.value.path == str(file)
        assert "another --state FILE" in caught.value.hint
    assert file.read_text(encoding="utf-8") == text
    return caught.value


def created(file: Path) -> None:
    containers.create(Session(StoredModel(str(file))), [f"{TREE}:/x"])


@pytest.mark.parametrize("text", ["", "x", "{", "[]", "5", "null", '"version"', "{}", "\0", "[1]"])
def test_what_is_no_state_is_refused(file: Path, text: str) -> None:
    assert "cannot be read" in refused(file, text).message


def test_a_truncated_state_is_refused_wherever_it_ends(file: Path) -> None:
    for text in (json.dumps(old_state()), file.read_text(encoding="utf-8")):
        for end in range(0, len(text) - 1, 7):
            file.write_text(text[:end], encoding="utf-8")
            with pytest.raises(PcontError, match="cannot be read"):
                StoredModel(str(file))
        refused(file, text[:-1])


@pytest.mark.parametrize("version", [VERSION, 0, "1", None])
def test_a_state_of_another_version_is_refused(file: Path, version: object) -> None:
    err = refused(file, json.dumps({**old_state(), "version": version}), Unsupported)
    assert f"version {version!r}" in err.message


def test_a_state_of_a_newer_version_is_refused_whatever_it_has(file: Path) -> None:
    create_file(str(file), str(VERSION + 1), rows_in(file))
    text = file.read_text(encoding="utf-8")
    err = refused(file, text, Unsupported)
    assert err.message == "the model's state has version 5, and this pcont knows 4"
    refused(file, "pcont model 5, and nothing that this version knows", Unsupported)


def mutants(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The state with one part of another type, or missing: each of its parts in turn."""
    for other in (None, 5, -1, "x", [], {}, [1], {"x": 1}, 1e400):
        yield f"{path} = {other!r}", other
    if isinstance(value, dict):
        for key in value:
            rest = {name: one for name, one in value.items() if name != key}
            yield f"{path}.{key} missing", rest
            for what, part in mutants(value[key], f"{path}.{key}"):
                yield what, {**rest, key: part}
    if isinstance(value, list):
        for number, one in enumerate(value):
            for what, part in mutants(one, f"{path}[{number}]"):
                yield what, [*value[:number], part, *value[number + 1 :]]


@pytest.mark.parametrize("version", [3, pytest.param(1, marks=pytest.mark.slow)])
def test_whatever_part_of_a_state_is_wrong_there_is_no_traceback(file: Path, version: int) -> None:
    raised: dict[str, str] = {}
    for what, mutant in mutants(old_state(version)):
        file.write_text(json.dumps(mutant), encoding="utf-8")
        try:
            StoredModel(str(file))
        except PcontError:
            pass
        except Exception as err:
            raised[what] = repr(err)
    assert raised == {}


@pytest.mark.slow
def test_whatever_row_is_wrong_there_is_no_traceback(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a program other than pcont writes such rows, as the checksums are right."""
    monkeypatch.setattr("os.fsync", lambda descriptor: None)
    rows, raised, kept = rows_in(file), dict[str, str](), 0
    for what, mutant in mutants(rows):
        if not isinstance(mutant, dict):
            continue
        create_file(str(file), str(VERSION), mutant)
        try:
            all_rows(StoredModel(str(file)))
            kept += 1
        except PcontError:
            pass
        except Exception as err:
            raised[what] = repr(err)
    assert raised == {}
    assert kept


def test_a_damaged_state_is_refused_by_the_command_that_needs_it(file: Path) -> None:
    text = bytearray(file.read_bytes())
    text[-2] ^= 1
    file.write_bytes(text)
    for words in (["get", f"{TREE}:/a"], ["create", f"{TREE}:/b"]):
        done = subprocess.run(
            [sys.executable, "-m", "pcont", "--backend", "model", "--state", str(file), *words],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert done.stderr.startswith("pcont: the model's state cannot be read: ")
        assert f"at: {file}\n" in done.stderr
        assert "rename the file" in done.stderr
    assert file.read_bytes() == text


# What a command reads and writes


def counted(
    file: Path, monkeypatch: pytest.MonkeyPatch, work: Callable[[StoredModel], object]
) -> int:
    """How many bytes a command reads and writes."""
    moved, read, write = [0], os.pread, os.pwrite

    def reading(descriptor: int, length: int, offset: int) -> bytes:
        moved[0] += length
        return read(descriptor, length, offset)

    def writing(descriptor: int, data: memoryview, offset: int) -> int:
        moved[0] += len(data)
        return write(descriptor, data, offset)

    with monkeypatch.context() as patched:
        patched.setattr("os.pread", reading)
        patched.setattr("os.pwrite", writing)
        work(StoredModel(str(file)))
    return moved[0]


@pytest.mark.parametrize("words", ["get", "set", "create", "attach", "rm", "fork", "children"])
def test_a_command_reads_and_writes_what_it_needs_and_no_more(
    file: Path, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    """However many containers and tasks are elsewhere."""
    place, first = Place(TREE, "/a/b"), 5_000_000

    def changing(act: Callable[[StoredModel], object]) -> Callable[[StoredModel], None]:
        def work(model: StoredModel) -> None:
            with model.exclusive():
                act(model)

        return work

    commands: dict[str, Callable[[StoredModel], object]] = {
        "get": lambda model: model.read(place, "cpuset.cpus"),
        "set": changing(lambda model: model.write(place, "notify_on_release", "1")),
        "create": changing(lambda model: model.make(Place(TREE, "/a/c"))),
        "attach": changing(lambda model: model.write(place, "tasks", str(first))),
        "rm": changing(lambda model: model.remove(place)),
        "fork": changing(lambda model: model.simulator.fork(first)),
        "children": lambda model: model.children(Place(TREE, "/a")),
    }
    costs = []
    for size in (20, 2000):
        model = StoredModel(str(file))
        with model.exclusive():
            if not model.hierarchies.exists(place):
                model.make(place)
                for file_name in ("cpuset.cpus", "cpuset.mems"):
                    model.write(place, file_name, "0")
                model.simulator.spawn()
            for number in range(size):
                model.make(Place(TREE, f"/x{size}-{number}"))
                model.simulator.fork(first) if size < 2000 else model.simulator.spawn()
        copy = file.with_name("copy")
        shutil.copy(file, copy)
        costs.append(counted(copy, monkeypatch, commands[words]))
    assert costs[1] < costs[0] + 60_000  # some pages more on the way


def test_a_state_that_nests_too_deep_is_refused(file: Path) -> None:
    deep = 200_000
    refused(file, '{"version": 1, "machine": ' + "[" * deep + "]" * deep + "}")


# Many at once


@pytest.mark.slow
def test_twenty_at_once_lose_nothing(file: Path) -> None:
    def work(number: int) -> None:
        session = Session(StoredModel(str(file)))
        for count in range(10):
            containers.create(session, [f"{TREE}:/w{number}-{count}"])

    running = [forked(lambda number=number: work(number)) for number in range(20)]  # type: ignore[misc]
    assert [os.waitpid(pid, 0)[1] for pid in running] == [0] * 20
    wanted = {f"w{number}-{count}" for number in range(20) for count in range(10)}
    assert set(StoredModel(str(file)).children(ROOT)) == {"a", *wanted}


def test_readers_always_see_a_whole_state(file: Path) -> None:
    def work() -> None:
        session = Session(StoredModel(str(file)))
        for count in range(30):
            containers.create(session, [f"{TREE}:/p{count}", f"{TREE}:/p{count}/q"])

    pid = forked(work)
    looks = 0
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        model = StoredModel(str(file))
        for name in model.children(ROOT):
            inside = model.children(Place(TREE, f"/{name}"))
            assert inside == (["q"] if name.startswith("p") else [])
        looks += 1
    assert looks
    assert len(StoredModel(str(file)).children(ROOT)) == 31


def test_a_kill_at_any_moment_leaves_the_old_state_or_the_new_one(file: Path) -> None:
    """Each change makes two containers; a state file never has only one of them."""
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    moments = random.Random(seed)

    def work() -> None:
        session = Session(StoredModel(str(file)))
        while True:
            count = len(session.backend.children(ROOT))
            containers.create(session, [f"{TREE}:/p{count}", f"{TREE}:/p{count}/q"])

    before = 1
    for _ in range(30):
        pid = forked(work)
        time.sleep(moments.uniform(0.0, 0.05))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        model = StoredModel(str(file))
        pairs = [name for name in model.children(ROOT) if name != "a"]
        assert all(model.children(Place(TREE, f"/{name}")) == ["q"] for name in pairs), seed
        assert len(pairs) + 1 >= before, seed
        before = len(pairs) + 1
    assert before > 1, f"nothing was ever done, seed {seed}"


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        ("/dev/full", "a device"),
        ("/dev/zero", "a device"),
        ("/dev/null", "a device"),
        ("fifo", "a fifo"),
        ("directory", "a directory"),
        ("socket", "a socket"),
    ],
)
@pytest.mark.parametrize("words", [["tree"], ["mount", "-o", "none", "--name", "x"]], ids=" ".join)
def test_a_state_that_is_no_regular_file_is_refused_at_once(
    tmp_path: Path, kind: str, word: str, words: list[str]
) -> None:
    """/dev/full would be read for ever, a fifo waited for."""
    file = kind if kind.startswith("/") else str(tmp_path / "state")
    if kind == "fifo":
        os.mkfifo(file)
    elif kind == "directory":
        os.mkdir(file)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(file)
    before = os.lstat(file)
    program = [sys.executable, "-m", "pcont", "--backend", "model", "--state", file, *words]
    done = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert f"a regular file, and this is {word}" in done.stderr
    assert file in done.stderr
    assert os.lstat(file) == before


def test_a_read_only_state_is_read_and_not_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "state"
    words = ["--backend", "model", "--state", str(file)]
    assert main([*words, "mount", "-o", "none", "--name", "x"]) == 0
    file.chmod(0o444)
    before = file.read_bytes()
    assert main([*words, "tree", "x:/"]) == 0
    capsys.readouterr()
    assert main([*words, "create", "x:/a"]) == 4
    said = capsys.readouterr().err
    assert "cannot keep the model's state" in said
    assert str(file) in said
    assert file.read_bytes() == before
    assert main([*words, "create", "-n", "x:/a"]) == 0


@pytest.mark.parametrize("kind", ["fifo", "link"])
def test_what_is_in_the_place_of_the_new_state_is_no_obstacle(tmp_path: Path, kind: str) -> None:
    file, other = tmp_path / "state", tmp_path / "other"
    if kind == "fifo":
        os.mkfifo(f"{file}.new")
    else:
        other.write_text("mine")
        os.symlink(other, f"{file}.new")
    words = ["--backend", "model", "--state", str(file)]
    assert main([*words, "mount", "-o", "none", "--name", "x"]) == 0
    assert not os.path.lexists(f"{file}.new")
    assert not other.exists() or other.read_text() == "mine"
