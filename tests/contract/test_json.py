"""--json: every line of every command, on standard output and standard error, fits the schema."""

from __future__ import annotations

import functools
import json
import os
import pty
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pcont.cli import cli
from pcont.output import schema
from tests.command_tree import commands_of
from tests.conftest import elsewhere

from .conftest import Jobs, Pcont, Result, command_line

# What is printed does not hang on the kernel: a guest would repeat what the host has shown.
pytestmark = pytest.mark.host

PLAYED = "5000000"  # the first task that is played
NOBODY = str(1 << 22)
NONE = "pct-there-is-no-such"


COMMANDS = sorted(commands_of(cli()))


@dataclass
class Checked:
    """The command line with --json; each line that it prints must fit the schema.

    `seen`: the kinds of lines that there were, with the command.
    """

    pcont: Pcont
    validator: Callable[[str], Any]
    seen: set[tuple[str, str]] = field(default_factory=set)

    def __call__(self, command: str, *words: str, status: int | None = 0) -> Any:
        """Run a command; its result, or where it fails its error."""
        end = words.index("--") if "--" in words else len(words)
        result = self.pcont(*command.split(), *words[:end], "--json", *words[end:])
        if status is not None:
            assert result.status == status, f"{command} {words}: {result}"
        return self.check(command, result)

    def check(self, command: str, result: Result) -> Any:
        """The result of a command, or its error, once all of it was compared with the schema."""
        outputs = [self.fits(schema.pointer(command), line) for line in result.out.splitlines()]
        others = [self.fits("stderr", line) for line in result.err.splitlines()]
        for line in outputs + others:
            self.seen |= {(command, kind) for kind in line if kind != "backend"}
        assert len(outputs) == (0 if result.status or command in self.silent(others) else 1)
        assert [line for line in others if "error" in line] == others[-1:] * bool(result.status)
        (answer,) = outputs or [others[-1] if others else {}]
        return next(reversed(answer.values()), None)

    @staticmethod
    def silent(others: Sequence[dict[str, Any]]) -> set[str]:
        """The commands that have left standard output to a command that they have started."""
        return {"run", "clone"} if any("started" in line for line in others) else set()

    def fits(self, name: str, text: str) -> dict[str, Any]:
        """One line, which must fit a definition of the schema."""
        line = json.loads(text)
        errors = [error.message for error in self.validator(name).iter_errors(line)]
        assert errors == [], text
        return dict(line)

    def kinds(self, command: str) -> set[str]:
        return {kind for name, kind in self.seen if name == command}


@functools.cache
def document() -> Any:
    """The schema, checked once: that takes a second."""
    from jsonschema import Draft202012Validator

    whole = schema.document()
    Draft202012Validator.check_schema(whole)
    return whole


@functools.cache
def validator(name: str) -> Any:
    """Compare a line with a definition of the schema."""
    from jsonschema import Draft202012Validator

    return Draft202012Validator({"$ref": f"#/$defs/{name}", "$defs": document()["$defs"]})


@pytest.fixture
def checked(jobs: Jobs) -> Checked:
    return Checked(jobs.pcont, validator)


def change(run: Checked, command: str, *words: str, status: int = 0) -> Any:
    """A dry run of a command, then the command."""
    end = words.index("--") if "--" in words else len(words)
    run(command, *words[:end], "--dry-run", *words[end:], status=status)
    return run(command, *words, status=status)


def look_around(run: Checked, jobs: Jobs, pid: str) -> None:
    """What changes nothing, with results."""
    (top,) = run("tree", jobs.at("/"))
    assert top["place"] == jobs.at("/")
    assert [one["place"] for one in top["children"]] == [jobs.at("/a"), jobs.at("/b")]
    for command in ("subsys", "hierarchies", "pins", "doctor", "recover"):
        run(command)
    run("ps", jobs.at("/a"))
    run("where", pid)
    run("tree")


def fail(run: Checked) -> None:
    """Every command that can fail by its words alone, and one that cannot by what is there."""
    for command in COMMANDS:
        run(command, "--no-such-option", status=125 if command == "run" else 2)
    place = f"{NONE}:/a"
    for command in ("get", "ps", "rm", "create", "stat", "tree", "beancounters"):
        run(command, place, status=3)
    change(run, "set", place, "cpus=0", status=3)
    change(run, "attach", place, str(os.getpid()), status=3)


def test_each_line_of_each_command_fits_the_schema(
    jobs: Jobs, checked: Checked, start: Callable[..., int], name: str, tmp_path: Path
) -> None:
    run, pid = checked, str(start())
    change(run, "mount", "-o", "none", "--name", f"{name}-other")
    change(run, "create", "-i", jobs.at("/a"), jobs.at("/b"))
    run("create", "-p", "-i", jobs.at("/a"))  # a note
    change(run, "attach", "-v", jobs.at("/a"), pid)
    look_around(run, jobs, pid)
    change(run, "move", "-v", jobs.at("/a"), jobs.at("/b"))
    change(run, "set", jobs.at("/a"), "notify_on_release=0")
    change(run, "chown", jobs.at("/a"), "0:0")
    for keys in ((), ("cpuacct.usage",), ("cpuacct.load", "--window", "0.01")):
        run("get", jobs.at("/a"), *keys, status=None)  # a named hierarchy has no cpuacct
    run("stat", jobs.at("/a"), "--window", "0.01", status=None)
    change(run, "bind", jobs.name, "pids")
    run("set", jobs.at("/b"), "pids.max=9")
    assert run("get", jobs.at("/b"), "pids.max") == {"pids.max": 9}
    assert run("get", jobs.at("/a"), "pids.max") == {"pids.max": "max"}
    change(run, "unbind", jobs.name, "pids", "--yes")
    change(run, "clone", jobs.name, "--pid", pid)
    change(run, "run", "--auto-delete", "--create", jobs.at("/r"), "--", "true")
    change(run, "run", jobs.at("/a"), "--", "true")
    change(run, "clone", f"{name}-other", "--ns", "net", "--pin", name, "--", "true")
    run("pins")
    change(run, "unpin", name)
    run("create", "-i", jobs.at("/g"), "-s", "auto_delete=1")
    change(run, "gc", jobs.name)
    change(run, "rm", "--kill", "-r", jobs.at("/b"))
    change(run, "umount", f"{name}-other")
    run("recover", "--dry-run")
    lines = tmp_path / "lines"
    lines.write_text(f"create -i {jobs.at('/lines')}\n")
    change(run, "batch", str(lines))
    assert run("batch", str(lines), status=5)["line"] == 1
    fail(run)
    for command in COMMANDS:
        wanted = {"error"} | ({"would"} if command in schema.WITH_DRY_RUN else set())
        wanted |= {"started", "ended"} if command in ("run", "clone") else set()
        if command not in ("run", "beancounters") and not command.startswith("sim"):
            wanted |= {"result"}
        assert wanted <= run.kinds(command), command
    assert "note" in run.kinds("create")
    assert "ceasing" in run.kinds("unbind")


@pytest.fixture
def model(tmp_path: Path) -> Checked:
    return Checked(command_line("model", tmp_path), validator)


def test_each_line_of_what_is_played_fits_the_schema(model: Checked) -> None:
    run = model
    run("sim fork", "--count", "2")
    run("sim thread", PLAYED)
    run("sim unshare", PLAYED)
    run("sim open", PLAYED)
    run("sim close", PLAYED, "1")
    run("sim work", PLAYED, "1")
    run("sim exit", PLAYED)
    run("sim param")
    run("sim proc", "cgroups")
    run("sim machine")
    run("sim mount-cpuset", "/dev/cpuset")
    run("set", "cpuset:/", "release_agent=/sbin/tidy", "notify_on_release=1")
    run("create", "-i", "cpuset:/a")
    run("attach", "cpuset:/a", str(int(PLAYED) + 1))
    run("sim exit", str(int(PLAYED) + 1))
    assert run("sim notified")
    run("mount", "-o", "numfiles,pids,numtasks", "--name", "files")
    run("create", "files:/a", "-s", "pids.max=7")
    assert run("beancounters")
    run("get", "files:/a")
    run("get", "files:/")
    for command in COMMANDS:
        if command.startswith("sim"):
            run(command, "--no-such-option", status=2)
            assert {"result", "error"} <= run.kinds(command), command


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="ns of 2006 lets only root do this")


@pytest.mark.parametrize("dialect", ["v6", pytest.param("v6-ns", marks=needs_root)])
def test_the_dialects_of_2006_fit_the_schema_too(
    tmp_path: Path, dialect: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PCONT_DIALECT", dialect)
    run = Checked(command_line("model", tmp_path), validator)
    run("mount", "-o", "all", "/dev/containers")
    run("create", "-i", "cpuset:/a")
    for place in ("cpuset:/", "cpuset:/a"):
        assert run("get", place)
    run("tree")
    run("sim param")


@pytest.mark.parametrize(("answer", "status"), [(b"y\n", 0), (b"n\n", 1)])
def test_the_question_of_unbind_is_an_object_too(
    jobs: Jobs, checked: Checked, monkeypatch: pytest.MonkeyPatch, answer: bytes, status: int
) -> None:
    jobs.pcont.ok("bind", jobs.name, "pids")
    jobs.pcont.ok("create", "-i", jobs.at("/a"), "-s", "pids.max=9")
    master, slave = pty.openpty()
    os.write(master, answer)
    with open(slave) as stdin, monkeypatch.context() as patch:
        patch.setattr(sys, "stdin", stdin)
        checked("unbind", jobs.name, "pids", status=status)
    os.close(master)
    assert {"ceasing", "question"} <= checked.kinds("unbind")
    assert ("result" in checked.kinds("unbind")) is (status == 0)
    if status:
        jobs.pcont.ok("unbind", jobs.name, "pids", "--yes")


def test_numbers_in_a_tree_are_numbers(jobs: Jobs, checked: Checked) -> None:
    if "cpuacct" not in jobs.controllers:
        elsewhere("it has no cpuacct on v1")
    checked("create", "-i", jobs.at("/a"))
    (top,) = checked("tree", jobs.at("/a"))
    assert isinstance(top["settings"]["cpuacct.usage"], int)


def test_a_place_is_canonical_in_results_however_it_was_typed(jobs: Jobs, checked: Checked) -> None:
    checked("create", "-i", jobs.at("/a"))
    mounted = {one["name"]: one["mountpoint"] for one in checked("hierarchies")}
    directory = f"{mounted[jobs.name]}/a"
    assert checked("tree", directory)[0]["place"] == jobs.at("/a")
    assert checked("create", "-i", f"{directory}/b") == [jobs.at("/a/b")]
    assert checked("rm", f"{directory}/b/") == [jobs.at("/a/b")]


def test_an_interruption_fits_the_schema(
    jobs: Jobs, checked: Checked, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr("pcont.ops.settings.keys.find_files", interrupt)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert checked("get", jobs.at("/"), "tasks", status=130)["code"] == "interrupted"
    finally:
        signal.signal(signal.SIGINT, before)


def test_without_a_command_the_error_is_json_too(jobs: Jobs, checked: Checked) -> None:
    for words in (("--json",), ("--json", "sim"), ("sim", "--json")):
        result = jobs.pcont(*words)
        assert (result.status, result.out) == (2, "")
        (line,) = result.err.splitlines()
        assert checked.fits("stderr", line)["error"]["code"] == "usage"
