"""batch: many commands, one on each line: all of them, those before a mistake, or none."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pcont.errors import BadValue, Busy, PcontError, UsageProblem
from pcont.linux.lock import LOCK_LONGEST_PAUSE
from tests.conftest import elsewhere

from .conftest import Jobs, Pcont, Result, Top, only_kernel, starts_empty


class Lines:
    """Writes the lines of a batch to a file, and runs it. The messages have `F` for the file."""

    def __init__(self, pcont: Pcont, folder: Path) -> None:
        self.pcont, self.file = pcont, folder / "lines"

    def __call__(self, lines: str, *options: str) -> Result:
        self.file.write_text(lines)
        found = self.pcont("batch", *options, str(self.file))
        return Result(found.status, found.out, found.err.replace(str(self.file), "F"))


@pytest.fixture
def batch(crowd: Top, tmp_path: Path) -> Lines:
    """A batch over the backend of `crowd`."""
    return Lines(crowd.pcont, tmp_path)


def names(top: Top) -> list[str]:
    return top.pcont.children(top.at())


def test_lines_are_commands_with_quotes_and_comments(crowd: Top, batch: Lines) -> None:
    found = batch(
        f"""
        # the containers
        create {crowd.at("/a")} -s pids.max=5   # with a limit
        pcont create '{crowd.at("/b c")}'

        set {crowd.at("/a")} pids.max=7 "notify_on_release=1" # that's "all"
        get {crowd.at("/a")} pids.max
        """
    )
    assert (found.status, found.out, found.err) == (0, "7\n", "")
    assert names(crowd) == ["a", "b c"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("creat x:/a", "no such command 'creat'"),
        ("create --nope x:/a", "No such option '--nope'"),
        ("create", "Missing argument 'PLACE...'"),
        ("create x:/a -s pids.max", "'pids.max' is not of the form KEY=VALUE"),
        ("set x:/a pids.max 5", "'pids.max' is not of the form KEY=VALUE"),
        ("create x:/../a", "must not contain '.' or '..'"),
        ("create 'x:/a", "cannot be split into words: no closing quotation"),
        ("create x:/a --json", "--json cannot be on a line of a batch: it holds for all lines"),
        ("create -n x:/a", "-n cannot be on a line of a batch"),
        ("--backend=model create x:/a", "--backend cannot be on a line of a batch"),
        ("create -pn x:/a", "cannot be on a line of a batch"),
        ("create --help", "a line of a batch cannot have --help"),
        ("attach x:/a -", "a line of a batch cannot read standard input"),
        ("attach x:/a one", "'one' is not the id of a task"),
        ("run x:/a -- true", "run cannot be in a batch: it starts a command"),
        ("clone x:/a -- true", "clone cannot be in a batch"),
        ("batch other", "a batch has no batch in it"),
        ("recover", "recover cannot be in a batch"),
        ("unbind x pids", "pass --yes"),
        ("mount", "nothing to mount"),
        ("sim", "the command is missing"),
        ("pcont", "the command is missing"),
    ],
)
def test_a_line_that_is_no_command_is_reported_before_anything_is_done(
    line: str, message: str, crowd: Top, batch: Lines
) -> None:
    found = batch(f"create {crowd.at('/a')}\n\n{line}\ncreate {crowd.at('/b')}\n", "--keep-going")
    assert found.status == (7 if "'..'" in message else 2)
    assert found.err.startswith("pcont: F:3: ")
    assert message.lower() in found.err.lower()
    assert names(crowd) == []


def test_pcont_stops_at_the_first_line_that_fails_and_keeps_those_before(
    crowd: Top, batch: Lines
) -> None:
    found = batch(
        f"create {crowd.at('/a')}\ncreate {crowd.at('/b')}\ncreate {crowd.at('/a')}\n"
        f"create {crowd.at('/c')}\n"
    )
    assert found.status == 5
    assert found.err.startswith(
        f"pcont: F:3: cannot create {crowd.at('/a')}: it exists already (EEXIST)\n"
    )
    assert f"hint: pcont create -p {crowd.at('/a')}\n" in found.err
    assert names(crowd) == ["a", "b"]


def test_a_line_that_fails_leaves_nothing(crowd: Top, batch: Lines) -> None:
    found = batch(f"create {crowd.at('/a')}\ncreate {crowd.at('/b')} {crowd.at('/x/y')}\n")
    assert found.status == 3
    assert names(crowd) == ["a"]


def test_with_keep_going_the_other_lines_are_done(crowd: Top, batch: Lines) -> None:
    found = batch(
        f"create {crowd.at('/x/y')}\ncreate {crowd.at('/a')}\ncreate {crowd.at('/a')}\n"
        f"set {crowd.at('/a')} pids.max=no\ncreate {crowd.at('/b')}\n",
        "--keep-going",
    )
    assert found.status == 3, "that of the first line that failed"
    assert [line for line in found.err.splitlines() if line.startswith("pcont: F:")] == [
        f"pcont: F:1: cannot create {crowd.at('/x/y')}: there is no {crowd.at('/x')} (ENOENT)",
        f"pcont: F:3: cannot create {crowd.at('/a')}: it exists already (EEXIST)",
        f"pcont: F:4: cannot set pids.max of {crowd.at('/a')} from 'max' to 'no': the file takes a "
        "number, or max (maximum number of tasks here and below) (EINVAL)",
    ]
    assert found.err.endswith("pcont: note: F: 3 of 5 lines failed\n")
    assert names(crowd) == ["a", "b"]


def test_an_atomic_batch_is_undone_if_a_line_is_refused_half_way(
    crowd: Top, batch: Lines, start: Callable[..., int]
) -> None:
    pid = start(threads=3)
    crowd.pcont.ok("create", crowd.at("/old"), crowd.at("/gone"), "-s", "pids.max=40")
    before = crowd.pcont.paths(pid)
    found = batch(
        f"create {crowd.at('/a')} -s pids.max=5\nattach {crowd.at('/a')} {pid}\n"
        f"set {crowd.at('/old')} pids.max=7\nrm {crowd.at('/gone')}\ncreate {crowd.at('/a/b')}\n"
        f"set {crowd.at('/old')} pids.max=no\ncreate {crowd.at('/c')}\n",
        "--atomic",
    )
    assert found.status == 7
    assert found.err.startswith(f"pcont: F:6: cannot set pids.max of {crowd.at('/old')}")
    assert "; everything before it was undone\n" in found.err
    assert names(crowd) == ["gone", "old"]
    assert crowd.pcont.get(crowd.at("/old"), "pids.max") == "40"
    assert crowd.pcont.get(crowd.at("/gone"), "pids.max") == "40"
    assert crowd.pcont.paths(pid) == before


def test_an_atomic_batch_that_succeeds_is_done(crowd: Top, batch: Lines) -> None:
    found = batch(
        f"create {crowd.at('/a')}\nget {crowd.at('/a')} pids.max\nrm {crowd.at('/a')}\n"
        f"create {crowd.at('/b')}\n",
        "--atomic",
    )
    assert (found.status, found.out, found.err) == (0, "max\n", "")
    assert names(crowd) == ["b"]


def test_an_atomic_batch_shows_no_result_that_it_undoes(crowd: Top, batch: Lines) -> None:
    found = batch(
        f"create {crowd.at('/a')}\nget {crowd.at('/a')} pids.max\ncreate {crowd.at('/a')}\n",
        "--atomic",
    )
    assert (found.status, found.out) == (5, "")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("rm --kill {}", "rm --kill cannot be in an atomic batch: pcont cannot undo it"),
        ("gc", "gc cannot be in an atomic batch"),
        ("sim fork", "sim fork cannot be in an atomic batch"),
    ],
)
def test_an_atomic_batch_refuses_what_cannot_be_undone(
    line: str, message: str, crowd: Top, batch: Lines
) -> None:
    found = batch(f"create {crowd.at('/a')}\n{line.format(crowd.at())}\n", "--atomic")
    assert found.status == 2
    assert f"F:2: {message}" in found.err
    assert names(crowd) == []


def test_an_atomic_batch_refuses_a_value_that_cannot_be_undone(jobs: Jobs, tmp_path: Path) -> None:
    file = tmp_path / "lines"
    file.write_text(f"create -i {jobs.at('/a')}\nset {jobs.at('/a')} cpuacct.usage=0\n")
    err = jobs.pcont.fails(2, "batch", "--atomic", str(file))
    assert "in an atomic batch: pcont cannot undo it; everything before it was undone" in err
    assert jobs.pcont.children(jobs.at("/")) == []
    jobs.pcont.ok("batch", str(file))
    assert jobs.pcont.children(jobs.at("/")) == ["a"]


def test_keep_going_and_atomic_exclude_each_other(crowd: Top, batch: Lines) -> None:
    found = batch(f"create {crowd.at('/a')}\n", "--atomic", "--keep-going")
    assert found.status == 2
    assert "cannot be combined" in found.err


@pytest.mark.parametrize("options", [(), ("--atomic",)], ids=["lines", "atomic"])
def test_a_line_sees_what_was_mounted_before(
    options: tuple[str, ...], pcont: Pcont, name: str, tmp_path: Path
) -> None:
    batch = Lines(pcont, tmp_path)
    lines = f"mount -o none --name {name}\ncreate {name}:/a\ncreate {name}:/a/b\n"
    found = batch(lines, *options)
    assert (found.status, found.err) == (0, "")
    assert found.out.startswith(f"{name}\t")
    assert pcont.children(f"{name}:/a") == ["b"]
    found = batch(f"rm -r {name}:/a\numount {name}\ncreate {name}:/c\n", *options)
    assert found.status == 3
    assert f"F:3: there is no hierarchy '{name}'" in found.err
    there = any(row.name == name for row in pcont.library().hierarchies())
    assert there is bool(options), "an atomic batch mounts it again"
    if there:
        assert pcont.children(f"{name}:/a") == ["b"]
        assert batch(f"rm -r {name}:/a\numount {name}\n", *options).status == 0
    assert not any(row.name == name for row in pcont.library().hierarchies())


@pytest.mark.parametrize("options", [(), ("--atomic",)], ids=["lines", "atomic"])
def test_a_tie_is_made_used_and_undone_in_a_batch(
    options: tuple[str, ...], pcont: Pcont, name: str, tmp_path: Path
) -> None:
    two = "cpuacct,pids"
    if starts_empty(pcont):
        pcont.ok("mount", "-o", "cpuacct")
        pcont.ok("mount", "-o", "pids")
    lines = (
        f"mount --tie --name {name} -o {two} --at /{name} --no-freezer\ncreate {name}:/a\n"
        f"set {name}:/a pids.max=9\nget {name}:/a pids.max\n"
    )
    batch = Lines(pcont, tmp_path)
    found = batch(lines + f"create {name}:/a\n", "--atomic")
    assert (found.status, found.out) == (5, "")
    assert f"name={name}" not in pcont.trees()
    found = batch(lines, *options)
    assert (found.status, found.err) == (0, "")
    assert found.out.splitlines()[-1] == "9"
    assert batch(f"rm {name}:/a\numount {name}\n", *options).status == 0
    assert f"name={name}" not in pcont.trees()
    if starts_empty(pcont):
        pcont.ok("umount", "cpuacct")
        pcont.ok("umount", "pids")


def test_a_dry_run_takes_the_lines_before_into_account(
    pcont: Pcont, name: str, tmp_path: Path
) -> None:
    point = str(tmp_path / "mounted")
    lines = (
        f"mount -o none --name {name} {point}\ncreate {name}:/a\ncreate {name}:/a/b\n"
        f"set {name}:/a notify_on_release=1\nrm {name}:/a/b\n"
    )
    batch = Lines(pcont, tmp_path)
    found = batch(lines, "--dry-run")
    assert (found.status, found.err) == (0, "")
    assert found.out.splitlines() == [
        f"mkdir {point}",
        f"mount -t cgroup -o none,name={name} pcont:1:{point} {point}",
        f"mkdir {point}/a",
        f"mkdir {point}/a/b",
        f"echo 1 > {point}/a/notify_on_release",
        f"rmdir {point}/a/b",
    ]
    found = batch(lines + f"create {name}:/a\nset {name}:/a/b notify_on_release=1\n", "-n")
    assert found.status == 5
    assert "F:6: cannot create" in found.err
    found = batch(lines + f"set {name}:/a/b notify_on_release=1\n", "-n", "--atomic")
    assert found.status == 3
    assert f"F:6: there is no container {name}:/a/b" in found.err
    assert f"name={name}" not in pcont.trees()


def test_a_dry_run_checks_the_rules_with_the_values_of_earlier_lines(
    jobs: Jobs, tmp_path: Path
) -> None:
    if "cpuset" not in jobs.controllers:
        elsewhere("it has no cpuset on v1")
    batch = Lines(jobs.pcont, tmp_path)
    found = batch(
        f"create {jobs.at('/a')}\ncreate {jobs.at('/a/b')}\nset {jobs.at('/a/b')} cpuset.cpus=0\n",
        "-n",
    )
    assert found.status == 7
    assert "F:3: cannot set cpuset.cpus" in found.err
    found = batch(
        f"create -i {jobs.at('/a')}\ncreate {jobs.at('/a/b')}\n"
        f"set {jobs.at('/a/b')} cpuset.cpus=0\n",
        "-n",
    )
    assert (found.status, found.err) == (0, "")
    assert jobs.pcont.children(jobs.at("/")) == []


def test_json_has_a_line_for_each_command(crowd: Top, batch: Lines) -> None:
    lines = (
        f"create {crowd.at('/a')} {crowd.at('/b')}\ncreate {crowd.at('/c')}\n"
        f"get {crowd.at('/a')} pids.max\ncreate {crowd.at('/a')}\n"
    )
    found = batch(lines, "--json", "--keep-going")
    assert [json.loads(line) for line in found.out.splitlines()] == [
        {**crowd_says(crowd), "line": 1, "command": "create", "result": places(crowd, "a", "b")},
        {**crowd_says(crowd), "line": 2, "command": "create", "result": places(crowd, "c")},
        {**crowd_says(crowd), "line": 3, "command": "get", "result": {"pids.max": "max"}},
    ]
    error, note = (json.loads(line) for line in found.err.splitlines())
    assert (error["error"]["code"], error["error"]["line"]) == ("busy", 4)
    assert error["error"]["message"].startswith("F:4: cannot create")
    assert note == {"note": "F: 1 of 4 lines failed"}


def crowd_says(crowd: Top) -> dict[str, str]:
    return {"backend": crowd.pcont.backend().name}


def places(crowd: Top, *names: str) -> list[str]:
    return [crowd.at(f"/{name}") for name in names]


def test_a_hint_for_what_is_protected_has_force_on_the_line(crowd: Top, batch: Lines) -> None:
    found = batch(f"create {crowd.at('/a')}\nattach {crowd.at('/a')} 1\n")
    assert found.status == 4
    assert f"hint: pcont attach --force {crowd.at('/a')} 1\n" in found.err


def test_many_lines_of_one_kind_that_fail_name_their_line(crowd: Top, batch: Lines) -> None:
    """pcont carries out such lines together, and again one by one if that fails."""
    lines = [f"create {crowd.at(f'/{number}')}" for number in range(30)]
    lines[20:20] = [f"create {crowd.at('/3')}"]
    found = batch("\n".join(lines), "--keep-going")
    assert found.status == 5
    assert f"F:21: cannot create {crowd.at('/3')}: it exists already" in found.err
    assert len(names(crowd)) == 30
    removals = [f"rm {crowd.at(f'/{number}')}" for number in range(30)]
    removals[10:10] = [f"rm {crowd.at('/3')}"]
    found = batch("\n".join(removals))
    assert (found.status, len(names(crowd))) == (3, 20)
    assert f"F:11: there is no container {crowd.at('/3')}" in found.err


def test_many_lines_of_an_atomic_batch_that_fail_name_their_line(crowd: Top, batch: Lines) -> None:
    crowd.pcont.ok("create", crowd.at("/old"), "-s", "pids.max=3")
    lines = [f"create {crowd.at(f'/{number}')} -s pids.max=5" for number in range(20)]
    lines += [f"set {crowd.at('/old')} pids.max={number}" for number in (4, 5, "no", 6)]
    found = batch("\n".join(lines), "--atomic")
    assert found.status == 7
    assert "F:23: cannot set pids.max" in found.err
    assert "; everything before it was undone" in found.err
    assert names(crowd) == ["old"]
    # The first two can be one command, which is refused: /a is not empty.
    lines[20:] = [f"create {crowd.at('/a')} {crowd.at('/a/b')}"]
    lines += [f"rm {crowd.at(path)}" for path in ("/3", "/a", "/a/b", "/4")]
    found = batch("\n".join(lines), "--atomic")
    assert found.status == 5
    assert "F:23: cannot remove" in found.err
    assert "; everything before it was undone" in found.err
    assert names(crowd) == ["old"]
    found = batch("\n".join(lines))
    assert "F:23: cannot remove" in found.err
    assert {"a", "4"} <= {*names(crowd)}
    assert "3" not in names(crowd)
    assert crowd.pcont.get(crowd.at("/old"), "pids.max") == "3"


def test_many_values_are_set_by_lines(crowd: Top, batch: Lines) -> None:
    crowd.pcont.ok("create", crowd.at("/a"), crowd.at("/b"))
    values = ["5", "6", "no", "7", "8"]
    found = batch("\n".join(f"set {crowd.at('/a')} pids.max={one}" for one in values))
    assert found.status == 7
    assert "F:3: cannot set pids.max" in found.err
    assert crowd.pcont.get(crowd.at("/a"), "pids.max") == "6"
    lines = [f"set {crowd.at('/b')} pids.max={one}" for one in values]
    found = batch("\n".join(lines), "--keep-going", "--json")
    assert crowd.pcont.get(crowd.at("/b"), "pids.max") == "8"
    assert [json.loads(line)["line"] for line in found.out.splitlines()] == [1, 2, 4, 5]


def test_many_tasks_are_attached_by_lines(
    crowd: Top, batch: Lines, start: Callable[..., int]
) -> None:
    pids = [start() for _ in range(4)]
    crowd.pcont.ok("create", crowd.at("/a"))
    lines = [f"attach {crowd.at('/a')} {pid}" for pid in pids]
    assert batch("\n".join(lines)).status == 0
    assert {crowd.pcont.paths(pid)["pids"] for pid in pids} == {f"{crowd.path}/a"}
    lines = [line.replace("/a ", " ") for line in lines]
    lines[2:2] = [f"attach {crowd.at()} {1 << 22}"]
    found = batch("\n".join(lines))
    assert found.status == 3
    assert f"F:3: cannot find task {1 << 22}" in found.err
    assert [crowd.pcont.paths(pid)["pids"] for pid in pids] == [
        *(crowd.path, crowd.path),
        *(f"{crowd.path}/a", f"{crowd.path}/a"),
    ]


@pytest.mark.parametrize("words", [(), ("-",)], ids=["no FILE", "-"])
def test_lines_come_from_standard_input(
    words: tuple[str, ...], crowd: Top, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = f"create {crowd.at('/a')}\ncreate {crowd.at('/a')}\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines.encode())))
    found = crowd.pcont("batch", *words)
    assert found.status == 5
    assert "pcont: standard input:2: cannot create" in found.err
    assert names(crowd) == ["a"]


def test_a_file_that_cannot_be_read_is_reported(crowd: Top, tmp_path: Path) -> None:
    err = crowd.pcont.fails(3, "batch", str(tmp_path / "none"))
    assert f"cannot read {tmp_path / 'none'}" in err


@pytest.mark.parametrize("atomic", [False, True], ids=["lines", "atomic"])
def test_a_signal_ends_the_batch_between_two_lines(
    atomic: bool, crowd: Top, batch: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pcont.ops import get

    def read(*arguments: object, **options: object) -> list[object]:
        signal.raise_signal(signal.SIGTERM)
        return []

    monkeypatch.setattr(get, "get", read)
    found = batch(
        f"create {crowd.at('/a')}\nset {crowd.at('/a')} pids.max=5\nget {crowd.at('/a')}\n"
        f"create {crowd.at('/b')}\n",
        *["--atomic"] * atomic,
    )
    assert found.status == 128 + signal.SIGTERM
    assert "F:4: interrupted by SIGTERM" in found.err
    assert ("everything before it was undone" in found.err) is atomic
    assert names(crowd) == ([] if atomic else ["a"])


@only_kernel
def test_a_batch_that_is_killed_is_undone_by_the_next_command(
    crowd: Top, batch: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pcont.ops import get

    def die(*arguments: object, **options: object) -> list[object]:
        os.kill(os.getpid(), signal.SIGKILL)
        return []

    monkeypatch.setattr(get, "get", die)
    lines = f"create {crowd.at('/a')}\ncreate {crowd.at('/a/b')}\nget {crowd.at('/a')}\n"
    for options, left in (((), ["a"]), (("--atomic",), [])):
        batch.file.write_text(lines)
        found = crowd.pcont.forked(["batch", *options, str(batch.file)])
        assert found.status == -signal.SIGKILL
        crowd.pcont.ok("recover")
        assert names(crowd) == left
        crowd.pcont("rm", "-r", crowd.at("/a"))


def test_a_batch_of_reads_takes_no_lock(crowd: Top, batch: Lines) -> None:
    with crowd.pcont.library().using(timeout=0).batch():
        found = batch(f"get {crowd.at()} pids.max\nps {crowd.at()}\n", "--timeout", "0")
    assert (found.status, found.out) == (0, "max\n")


@pytest.mark.parametrize("atomic", [False, True], ids=["lines", "atomic"])
def test_other_commands_get_the_lock_between_two_lines_but_not_in_an_atomic_batch(
    atomic: bool, crowd: Top, batch: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    others: list[Result] = []

    class OtherCommand:
        """In place of the pause for other commands: one that does not wait for the lock."""

        def __init__(self, pause: float) -> None:
            assert pause > LOCK_LONGEST_PAUSE, "a command that waits tries in this time"

        def wait(self) -> None:
            others.append(crowd.pcont.forked(["create", crowd.at("/other"), "--timeout", "0"]))

    monkeypatch.setattr("pcont.ops.batch.HOLD", 0.0)
    monkeypatch.setattr("pcont.ops.batch.Retry", OtherCommand)
    found = batch(
        f"create {crowd.at('/a')}\nget {crowd.at('/a')} pids.max\ncreate {crowd.at('/other')}\n",
        *["--atomic"] * atomic,
    )
    if atomic:
        assert (found.status, others) == (0, [])
    else:
        assert found.status == 5
        assert others[0].status == 0, others[0].err
        assert f"F:3: cannot create {crowd.at('/other')}: it exists already" in found.err


# From Python


def test_the_verbs_of_a_block_are_one_operation(crowd: Top) -> None:
    k = crowd.pcont.library()

    def fail() -> None:
        with k.batch(atomic=True):
            k.create(crowd.at("/a"), settings={"pids.max": 5})
            assert k.value(crowd.at("/a"), "pids.max") == 5
            k.create(crowd.at("/a"))

    with pytest.raises(Busy) as caught:
        fail()
    assert caught.value.undone
    assert names(crowd) == []
    with k.batch(atomic=True):
        k.place(crowd.at("/a")).create()
        k.create(crowd.at("/a/b"))
    assert names(crowd) == ["a"]


def test_an_error_of_the_program_undoes_an_atomic_block(crowd: Top) -> None:
    k = crowd.pcont.library()

    def fail() -> None:
        with k.batch(atomic=True):
            k.create(crowd.at("/a"))
            k.set(crowd.at(), {"pids.max": 300})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert names(crowd) == []
    assert k.value(crowd.at(), "pids.max") == "max"


def test_in_an_atomic_block_a_verb_that_fails_changes_nothing_and_may_be_caught(
    crowd: Top,
) -> None:
    k = crowd.pcont.library()

    def go_on(then_fail: bool) -> None:
        with k.batch(atomic=True):
            k.create(crowd.at("/a"))
            with contextlib.suppress(BadValue):
                k.create(crowd.at("/b"), crowd.at("/c"), settings={"pids.max": "no"})
            k.create(crowd.at("/b"))
            if then_fail:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        go_on(True)
    assert names(crowd) == []
    go_on(False)
    assert names(crowd) == ["a", "b"]


def test_in_an_atomic_block_a_verb_that_fails_at_its_end_is_undone(
    crowd: Top, monkeypatch: pytest.MonkeyPatch
) -> None:
    k = crowd.pcont.library()
    with k.batch(atomic=True):
        k.create(crowd.at("/a"))
        with monkeypatch.context() as patch:
            patch.setattr("pcont.ops.containers.note_partial", fail)
            with pytest.raises(PcontError, match="EIO"):
                k.create(crowd.at("/b"))
        assert names(crowd) == ["a"] or "model" in crowd.pcont.words
        k.create(crowd.at("/c"))
    assert names(crowd) == ["a", "c"]


def fail(*arguments: object, **options: object) -> None:
    raise OSError(errno.EIO, "it fails at the end")


def test_without_atomic_each_verb_of_a_block_stands_for_itself(crowd: Top) -> None:
    k = crowd.pcont.library()

    def fail() -> None:
        with k.batch() as same:
            assert same is k
            k.create(crowd.at("/a"))
            with pytest.raises(Busy):
                k.create(crowd.at("/a"))
            k.create(crowd.at("/b"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert names(crowd) == ["a", "b"]


def test_a_block_refuses_what_a_batch_cannot_have(crowd: Top) -> None:
    k = crowd.pcont.library()
    with k.batch(atomic=True):
        for call in (k.recover, k.gc, lambda: k.run(crowd.at(), ["true"]), k.sim.fork):
            with pytest.raises(UsageProblem, match="batch"):
                call()
        with pytest.raises(UsageProblem, match="open already"), k.batch():
            pass
    with k.batch(), pytest.raises(UsageProblem, match="run cannot be in a batch"):
        k.run(crowd.at(), ["true"])


def test_a_dry_run_of_a_block_plans_on_what_the_verbs_before_would_leave(crowd: Top) -> None:
    plan = crowd.pcont.library().using(dry_run=True)
    with plan.batch():
        plan.create(crowd.at("/a"))
        plan.create(crowd.at("/a/b"))
        with pytest.raises(Busy):
            plan.create(crowd.at("/a"))
        plan.set(crowd.at("/a/b"), {"pids.max": 3})
    assert [line.split()[0] for line in plan.planned] == ["mkdir", "mkdir", "echo"]
    assert names(crowd) == []
