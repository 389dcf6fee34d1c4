"""cli: the words of the command line, and what comes out of it, over the model."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import pytest

from pcont import __version__
from pcont.cli import COMMANDS as TABLE
from pcont.cli import cli, main
from pcont.commands.click_types import SecondsType
from pcont.commands.declare import DeclaredCommand
from tests import hints
from tests.command_tree import commands_of

COMMANDS = commands_of(cli())
CHANGING = {
    *("mount", "umount", "create", "rm", "attach", "move", "clone", "run", "set"),
    *("bind", "unbind", "recover", "unpin", "gc", "batch", "chown"),
}
LOOKING = {
    *("subsys", "hierarchies", "get", "tree", "ps", "where", "stat", "doctor", "pins"),
    "beancounters",
}
PLAYING = {
    *("sim fork", "sim thread", "sim exit", "sim work", "sim machine"),
    *("sim open", "sim close", "sim param", "sim proc", "sim notified", "sim unshare"),
    "sim mount-cpuset",
}
NOBODY = str(1 << 22)
PLAYED = "5000000"  # the id of the first simulated task

ENDLESS = ("--uid-map", f"0:{'9' * 5000}:1", "--gid-map", "0:0:1")

# What each command refuses with "not found", and what it does well.
REFUSED: dict[str, tuple[str, ...]] = {
    "mount": ("-o", "nope"),
    "umount": ("nope",),
    "create": ("nope:/a",),
    "rm": ("nope:/a",),
    "attach": ("nope:/a", str(os.getpid())),
    "move": ("nope:/a", "nope:/b"),
    "bind": ("nope", "cpuset"),
    "unbind": ("nope", "cpuset", "--yes"),
    "gc": ("nope",),
    "clone": ("nope", "--pid", str(os.getpid())),
    "run": ("nope:/a", "--", "true"),
    "set": ("nope:/a", "cpus=0"),
    "chown": ("nope:/a", "0"),
    "unpin": ("nope",),
    "get": ("nope:/a",),
    "tree": ("nope:/a",),
    "ps": ("nope:/a",),
    "where": (NOBODY,),
    "stat": ("nope:/a",),
    "sim fork": (NOBODY,),
    "sim thread": (NOBODY,),
    "sim exit": (NOBODY,),
    "sim work": (NOBODY, "1"),
    "sim open": (NOBODY,),
    "sim close": (NOBODY, "1"),
    "sim param": ("nope",),
    "sim proc": ("nope",),
    "sim unshare": (NOBODY,),
    "beancounters": ("nope:/a",),
}
DONE: dict[str, tuple[str, ...]] = {
    "mount": ("-o", "none", "--name", "other"),
    "umount": ("jobs",),
    "create": ("-i", "jobs:/b"),
    "rm": ("jobs:/a",),
    "attach": ("jobs:/a", str(os.getpid())),
    "move": ("jobs:/a", "jobs:/"),
    "bind": ("jobs", "pids"),
    "unbind": ("jobs", "freezer", "--yes"),
    "recover": (),
    "batch": (str(Path(__file__).with_name("one.batch")),),
    "gc": ("jobs",),
    "clone": ("jobs", "--pid", str(os.getpid())),
    "run": ("jobs:/a", "--", "true"),
    "set": ("jobs:/a", "cpus=0"),
    "chown": ("jobs:/a", "65534:65534"),
    "unpin": ("box",),
    "pins": (),
    "subsys": (),
    "hierarchies": (),
    "get": ("jobs:/a", "cpus"),
    "tree": ("jobs:/",),
    "ps": ("jobs:/a",),
    "where": (str(os.getpid()),),
    "stat": ("jobs:/a", "--window", "0"),
    "beancounters": ("jobs:/a",),
    "doctor": (),
    "sim fork": (),
    "sim thread": (PLAYED,),
    "sim exit": (PLAYED,),
    "sim work": (PLAYED, "2.5", "--system", "1", "--cpu", "0"),
    "sim machine": ("--cpus", "0-511"),
    "sim open": (PLAYED,),
    "sim close": (PLAYED, "1"),
    "sim param": (),
    "sim proc": ("cgroups",),
    "sim notified": (),
    "sim unshare": (PLAYED,),
    "sim mount-cpuset": ("/dev/cpuset",),
}

# What has to be there for the latter.
BEFORE: dict[str, tuple[str, ...]] = {
    "move": ("attach", "jobs:/a", str(os.getpid())),
    "unbind": ("bind", "jobs", "freezer"),
    "sim mount-cpuset": ("umount", "jobs"),
    **dict.fromkeys(
        ("sim thread", "sim exit", "sim work", "sim open", "sim close", "sim unshare"),
        ("sim", "fork", "--count", "2"),
    ),
    "unpin": ("clone", "jobs", "--ns", "net", "--pin", "box", "--", "true"),
    "gc": ("create", "-i", "jobs:/b", "-s", "auto_delete=1"),
    "beancounters": ("bind", "jobs", "numfiles"),
}
THEN: dict[str, tuple[str, ...]] = {"sim close": ("sim", "open", PLAYED)}
FIRST: dict[str, tuple[str, ...]] = {"sim mount-cpuset": ("rm", "jobs:/a")}

every_command = pytest.mark.parametrize("name", COMMANDS)
each_changing = pytest.mark.parametrize("name", sorted(CHANGING))
each_refused = pytest.mark.parametrize("name", sorted(CHANGING & set(REFUSED)))


@dataclass(frozen=True)
class Answer:
    """What a command line answered."""

    status: int
    out: str
    err: str

    @property
    def result(self) -> Any:
        return json.loads(self.out)["result"]

    @property
    def error(self) -> dict[str, Any]:
        (line,) = self.err.splitlines()
        (key, value), *more = json.loads(line).items()
        assert (key, more) == ("error", [])
        return dict(value)


Run = Callable[..., Answer]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "model.json"


@pytest.fixture
def pcont(state: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command line over a model, with a hierarchy jobs and in it a container /a."""
    monkeypatch.delenv("PCONT_BACKEND", raising=False)
    monkeypatch.delenv("PCONT_STATE", raising=False)

    def run(*words: str) -> Answer:
        capsys.readouterr()
        status = main(["--backend", "model", "--state", str(state), *words])
        seen = capsys.readouterr()
        hints.check(seen.err)
        return Answer(status, seen.out, seen.err)

    for words in (
        ("mount", "-o", "cpuset,cpuacct", "--name", "jobs"),
        ("create", "-i", "jobs:/a"),
    ):
        answer = run(*words)
        assert answer.status == 0, answer.err
    return run


# The commands


def test_every_command_is_in_one_of_the_three_sets() -> None:
    assert set(COMMANDS) == CHANGING | LOOKING | PLAYING
    assert set(DONE) == set(COMMANDS)


def test_the_help_lists_every_command_with_its_summary(pcont: Run) -> None:
    assert re.search(r"^  sim +Simulate tasks", pcont("--help").out, re.M)
    for name, command in COMMANDS.items():
        *group, word = name.split()
        sentence = command.get_short_help_str(80)
        out = pcont(*group, "--help").out
        assert re.search(rf"^  {word} +{re.escape(sentence[:40])}", out, re.M), name


@pytest.mark.parametrize("name", TABLE)
def test_a_summary_in_the_table_is_the_first_line_of_the_commands_help(name: str) -> None:
    assert (cli().commands[name].help or "").split("\n")[0] == TABLE[name].summary


def test_every_command_that_a_module_defines_is_in_the_table() -> None:
    for module in {row.module for row in TABLE.values()} - {"sim"}:
        defined = vars(import_module(f"pcont.commands.{module}")).values()
        names = {one.name for one in defined if isinstance(one, DeclaredCommand)}
        assert names == {name for name, row in TABLE.items() if row.module == module}


def test_the_help_lists_the_commands_by_section(pcont: Run) -> None:
    lines = pcont("--help").out.splitlines()
    sections = {row.section for row in TABLE.values()}
    places = [number for number, line in enumerate(lines) if line.rstrip(":") in sections]
    assert len(places) == len(sections)
    for name, row in TABLE.items():
        above = max(number for number in places if f"  {name} " not in "\n".join(lines[:number]))
        assert lines[above] == f"{row.section}:", name


def test_a_command_line_without_words_is_a_usage_error(pcont: Run) -> None:
    assert pcont().status == 2


@every_command
def test_the_help_of_a_command_ends_with_an_example(pcont: Run, name: str) -> None:
    for word in ("--help", "-h"):
        answer = pcont(*name.split(), word)
        assert (answer.status, answer.err) == (0, "")
        head, found, example = answer.out.partition("\n  Example:\n")
        assert found
        assert f"Usage: pcont {name} " in head
        lines = example.splitlines()
        assert lines
        assert all(re.match(rf"    (pgrep .*\| )?pcont {name}\b", line) for line in lines)


@every_command
def test_the_examples_can_be_parsed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("4711"))
    text = (COMMANDS[name].epilog or "").partition("Example:\n")[2]
    for line in text.splitlines():
        words = shlex.split(line.rpartition(" | ")[2])[1 + len(name.split()) :]
        with COMMANDS[name].make_context(name, words, parent=click.Context(cli())):
            pass


@every_command
def test_help_texts_are_sentences(name: str) -> None:
    help = COMMANDS[name].help or ""
    assert help[0].isupper()
    assert help.split("\n\n")[0].endswith(".")
    assert len(help.split("\n")[0]) <= 80
    for option in COMMANDS[name].params:
        if isinstance(option, click.Option):
            assert option.help, option.name
            assert option.help[0].isupper() or option.help.startswith("With")
            assert option.help.endswith("."), option.name


@every_command
def test_common_options_have_the_same_names_in_all_commands(name: str) -> None:
    spelled = {word for one in COMMANDS[name].params for word in one.opts}
    assert "--json" in spelled
    assert ({"--dry-run", "-n"} <= spelled) is (name in CHANGING)
    assert ("--timeout" in spelled) is (name in CHANGING)
    forcible = {"mount", "rm", "chown", "attach", "move", "clone", "set"}
    assert ("--force" in spelled) is (name in forcible)
    assert all(re.fullmatch(r"-[a-z]|--[a-z][a-z-]+|[a-z]+", word) for word in spelled)


def test_the_version_is_the_packages(pcont: Run) -> None:
    assert pcont("--version").out == f"pcont {__version__}\n"


# JSON


@every_command
def test_json_is_accepted_before_and_after_the_name(pcont: Run, name: str) -> None:
    words = ("--dry-run", *DONE[name]) if name in CHANGING else DONE[name]
    prepare(pcont, name)
    answers = [pcont("--json", *name.split(), *words)]
    if name not in ("sim exit", "sim close", "sim mount-cpuset"):
        answers.append(pcont(*name.split(), "--json", *words))
    for answer in answers:
        assert answer.status == 0, answer.err
        assert answer.out.count("\n") == 1
        parsed = json.loads(answer.out)
        of_a_line = ["line", "command"] if name == "batch" else []
        assert list(parsed) == [
            *("backend", *of_a_line),
            "would" if name in CHANGING else "result",
        ]
        assert parsed["backend"] == "model"
    assert set(json.loads(answers[0].out)) == set(json.loads(answers[-1].out))


@pytest.mark.parametrize("name", REFUSED)
def test_with_json_an_error_is_json(pcont: Run, name: str) -> None:
    status = 125 if name == "run" else 3
    words = name.split()
    for line in (("--json", *words, *REFUSED[name]), (*words, "--json", *REFUSED[name])):
        answer = pcont(*line)
        assert answer.status == status
        assert answer.out == ""
        assert set(answer.error) == {"code", "errno", "message", "path", "hint"}
        assert answer.error["code"] == "not-found"


@pytest.mark.parametrize("name", REFUSED)
def test_without_json_an_error_is_a_sentence(pcont: Run, name: str) -> None:
    answer = pcont(*name.split(), *REFUSED[name])
    assert answer.out == ""
    first, *more = answer.err.splitlines()
    assert first.startswith("pcont: ")
    assert not first.endswith(".")
    assert all(re.match(r"  (at|hint): \S", line) for line in more)


def test_with_json_a_usage_error_is_json(pcont: Run) -> None:
    answer = pcont("--json", "get")
    assert answer.status == 2
    assert answer.error["code"] == "usage"
    assert "PLACE" in answer.error["message"]
    assert answer.error["hint"].startswith("Usage: pcont get ")


def test_json_after_the_dashes_is_an_argument_of_the_command(pcont: Run) -> None:
    answer = pcont("run", "nope:/a", "--", "echo", "--json")
    assert answer.status == 125
    assert answer.err.startswith("pcont: ")


def test_the_result_in_json_is_what_the_command_did(pcont: Run) -> None:
    assert pcont("create", "--json", "jobs:/b", "jobs:/b/c").result == ["jobs:/b", "jobs:/b/c"]
    assert pcont("set", "--json", "jobs:/b", "cpus=0", "mems=0").result == [
        "cpuset.cpus",
        "cpuset.mems",
    ]
    assert pcont("get", "--json", "jobs:/b", "cpus").result == {"cpuset.cpus": "0"}
    assert pcont("rm", "--json", "-r", "jobs:/b").result == ["jobs:/b/c", "jobs:/b"]
    assert pcont("umount", "--json", "jobs").result == "jobs"


# Dry runs


def planned(answer: Answer) -> list[str]:
    assert answer.status == 0, answer.err
    return answer.out.splitlines()


def prepare(pcont: Run, name: str) -> None:
    for words in (before[name] for before in (FIRST, BEFORE, THEN) if name in before):
        assert pcont(*words).status == 0


@each_changing
def test_a_dry_run_prints_its_steps_and_changes_nothing(pcont: Run, state: Path, name: str) -> None:
    prepare(pcont, name)
    before = state.read_bytes()
    reported = planned(pcont(name, "--dry-run", *DONE[name]))
    verbs = ("mkdir", "rmdir", "mount", "umount", "echo", "setfattr", "chown", "exec")
    assert bool(reported) is (name != "recover")
    assert all(line.split()[0] in verbs for line in reported), reported
    assert json.loads(pcont(name, "-n", "--json", *DONE[name]).out)["would"] == reported
    assert state.read_bytes() == before


@each_refused
def test_a_dry_run_of_a_refused_command_is_refused(pcont: Run, name: str) -> None:
    real, dry = pcont(name, *REFUSED[name]), pcont(name, "-n", *REFUSED[name])
    assert (real.status, real.err) == (dry.status, dry.err)
    assert dry.status != 0


def test_the_lines_of_a_dry_run_are_shell_commands(pcont: Run) -> None:
    mems = pcont("get", "jobs:/", "mems").out.strip()
    assert planned(pcont("create", "-n", "-i", "jobs:/b", "-s", "cpus=0")) == [
        "mkdir /sys/fs/cgroup/jobs/b",
        f"echo {mems} > /sys/fs/cgroup/jobs/b/cpuset.mems",
        "echo 0 > /sys/fs/cgroup/jobs/b/cpuset.cpus",
    ]


# Statuses


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("get", "jobs:/a"), 0),
        (("bogus",), 2),
        (("get",), 2),
        (("get", "--bogus", "jobs:/a"), 2),
        (("get", "jobs:a"), 2),
        (("set", "jobs:/a"), 2),
        (("set", "jobs:/a", "cpus"), 2),
        (("set", "jobs:/a", "cpus=0", "cpus=1"), 2),
        (("attach", "jobs:/a", "x"), 2),
        (("attach", "jobs:/a", "0"), 2),
        (("attach", "jobs:/a", "-1"), 2),
        (("where", "0"), 2),
        (("where", "9" * 5000), 2),
        (("clone", "jobs", "--pid", "9" * 5000), 2),
        (("sim", "close", PLAYED, "x"), 2),
        (("clone", "jobs", "--ns", "user", *ENDLESS, "--", "true"), 125),
        (("rm", "--kill", "--evict", "jobs:/a"), 2),
        (("clone", "jobs"), 2),
        (("mount", "-o", "none"), 2),
        (("mount", "--at", "/x"), 2),
        (("run",), 125),
        (("get", "nope:/a"), 3),
        (("get", "jobs:/nope"), 3),
        (("get", "jobs:/a", "nope"), 3),
        (("mount", "-o", "nope"), 3),
        (("create", "jobs:/x/y"), 3),
        (("attach", "jobs:/a", NOBODY), 3),
        (("rm", "jobs:/"), 4),
        (("create", "jobs:/a"), 5),
        (("mount", "-o", "cpuset"), 5),
        (("create", "jobs:/.."), 7),
        (("create", "jobs:/a\nb"), 7),
        (("set", "jobs:/a", "cpus=9999"), 7),
        (("set", "jobs:/a", "cpuacct.usage=1"), 7),
        (("mount", "-o", "a,,b"), 7),
        (("sim", "fork", "--uid", "4294967295"), 2),
        (("sim", "fork", "--count", "1000000000"), 8),
        (("sim", "thread", PLAYED, "--count", "1000000000"), 8),
        (("sim", "open", PLAYED, "--count", "1000000000"), 8),
    ],
)
def test_each_kind_of_error_has_its_exit_status(
    pcont: Run, words: tuple[str, ...], status: int
) -> None:
    assert pcont(*words).status == status


# Every option and argument that takes a number of seconds.
SECONDS = {
    "--timeout": ("create", "jobs:/a", "--timeout"),
    "stat --window": ("stat", "jobs:/a", "--window"),
    "get --window": ("get", "jobs:/a", "cpuacct.load", "--window"),
    "sim work --system": ("sim", "work", PLAYED, "1", "--system"),
    "sim work": ("sim", "work", PLAYED),
}


@pytest.mark.parametrize("option", SECONDS)
@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "-1", "1e999", "9" * 5000, "1s"])
def test_seconds_are_a_finite_number_that_is_not_negative(
    pcont: Run, option: str, text: str
) -> None:
    before = ("--",) if option == "sim work" else ()
    refused = pcont(*SECONDS[option], *before, text)
    assert refused.status == 2
    assert "Invalid value for" in refused.err
    if text == "nan":
        assert "nan is not a finite number of seconds" in refused.err


def test_all_options_for_seconds_have_one_type() -> None:
    given = [one for command in COMMANDS.values() for one in command.params]
    times = [one for one in given if one.metavar == "SECONDS" or one.name == "seconds"]
    assert len(times) == 5 + len(CHANGING) - 1
    assert {type(one.type) for one in times} == {SecondsType}
    assert not [one for one in given if type(one.type) is click.FloatRange]


def test_an_unknown_backend_is_a_usage_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--backend", "nope", "subsys"]) == 2
    monkeypatch.setenv("PCONT_BACKEND", "nope")
    assert main(["subsys"]) == 2
    assert "nope" in capsys.readouterr().err


def test_backend_and_state_may_come_from_the_environment(
    state: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PCONT_BACKEND", "model")
    monkeypatch.setenv("PCONT_STATE", str(state))
    assert main(["mount", "-o", "cpuset"]) == 0
    assert main(["hierarchies", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["backend"] == "model"
    assert state.exists()


def test_a_state_that_cannot_be_read_is_an_error_and_no_traceback(pcont: Run, state: Path) -> None:
    state.write_text("{")
    answer = pcont("get", "--json", "jobs:/a")
    assert answer.status == 1
    assert answer.error["path"] == str(state)
    assert state.read_text() == "{"


def test_a_state_that_is_a_directory_is_an_error_and_no_traceback(pcont: Run, state: Path) -> None:
    state.unlink()
    state.mkdir()
    answer = pcont("get", "--json", "jobs:/a")
    assert answer.status == 1
    assert answer.error["errno"] == "EISDIR"


def test_ctrl_c_at_any_moment_is_130(pcont: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr("pcont.ops.settings.keys.find_files", interrupt)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert pcont("get", "jobs:/a", "cpus").status == 130
    finally:
        signal.signal(signal.SIGINT, before)


# run and clone


@pytest.mark.parametrize("name", ["run", "clone"])
def test_a_missing_command_exits_127_and_changes_nothing(
    pcont: Run, state: Path, name: str
) -> None:
    before = state.read_bytes()
    place = "jobs:/new" if name == "run" else "jobs"
    more = ("--create",) if name == "run" else ()
    answer = pcont(name, *more, place, "--", "/no/such/command")
    assert answer.status == 127
    assert "/no/such/command" in answer.err
    assert state.read_bytes() == before


@pytest.mark.parametrize("name", ["run", "clone"])
def test_a_command_that_cannot_be_executed_exits_126(pcont: Run, tmp_path: Path, name: str) -> None:
    plain = tmp_path / "plain"
    plain.write_text("x")
    place = "jobs:/a" if name == "run" else "jobs"
    assert pcont(name, place, "--", str(plain)).status == 126
    assert pcont(name, place, "--", str(tmp_path)).status == 126
    plain.chmod(0o755)
    more = ("--auto-delete",) if name == "run" else ()
    assert pcont(name, *more, place, "--", str(plain)).status == 126


@pytest.mark.parametrize(
    "words",
    [
        ("run", "nope:/a", "--", "true"),
        ("run", "jobs:/nope", "--", "true"),
        ("run", "jobs:a", "--", "true"),
        ("run", "--bogus", "jobs:/a", "--", "true"),
        ("run", "--auto-delete", "jobs:/nope", "--", "true"),
        ("clone", "nope", "--", "true"),
        ("clone", "jobs", "--pid", "1", "--", "true"),
    ],
)
def test_a_failure_of_pcont_before_the_command_exits_125(
    pcont: Run, words: tuple[str, ...]
) -> None:
    assert pcont(*words).status == 125


def test_a_hint_asks_for_dashes_only_if_they_are_missing(pcont: Run) -> None:
    answer = pcont("clone", "jobs", "--pin", "box", "--", "true")
    assert "need --ns" in answer.err
    assert "hint: Usage: pcont clone " in answer.err
    assert "put --" in pcont("clone", "jobs", "--pin", "box").err


def test_run_without_dashes_has_a_hint_with_them(pcont: Run) -> None:
    answer = pcont("run", "jobs:/a", "true")
    assert answer.status == 125
    assert answer.err.rstrip().endswith(" run jobs:/a -- true")
    assert "put -- before COMMAND" in pcont("run", "jobs:/a").err


@pytest.mark.parametrize("words", [("run", "--create", "jobs:/n"), ("clone", "jobs")])
def test_all_words_after_the_dashes_belong_to_the_command(
    pcont: Run, words: tuple[str, ...]
) -> None:
    script = 'test "$*" = "--json -- -n --help" || exit 9; exit 6'
    more = ("--auto-delete",) if words[0] == "run" else ()
    odd = ("--json", "--", "-n", "--help")
    assert pcont(*words, *more, "--", "sh", "-c", script, "sh", *odd).status == 6


def test_a_command_line_that_mentions_run_keeps_its_exit_status(pcont: Run) -> None:
    assert pcont("get", "--", "run:/a").status == 3
    assert pcont("create", "--", "run:/a").status == 3
    assert pcont("rm", "run:/a").status == 3


@pytest.mark.parametrize("status", [0, 3, 7, 125, 200])
def test_run_and_clone_exit_with_the_status_of_the_command(pcont: Run, status: int) -> None:
    shell = ("--", "sh", "-c", f"exit {status}")
    assert pcont("run", "--create", "--auto-delete", "jobs:/r", *shell).status == status
    assert pcont("clone", "jobs", *shell).status == status
    assert [one["name"] for one in pcont("tree", "--json", "jobs:/").result[0]["children"]] == ["a"]


def test_a_command_that_a_signal_ended_exits_128_plus_its_number(pcont: Run) -> None:
    shell = ("--", "sh", "-c", "kill -9 $$")
    assert pcont("run", "--auto-delete", "jobs:/a", *shell).status == 137
    assert pcont("clone", "jobs", *shell).status == 137


def test_run_without_auto_delete_becomes_the_command(pcont: Run, state: Path) -> None:
    script = 'grep -c . /proc/$$/stat; echo "$PCONT_BACKEND $PCONT_STATE"; exit 6'
    command = [sys.executable, "-m", "pcont", "--backend", "model", "--state", str(state)]
    with subprocess.Popen(
        [*command, "run", "jobs:/a", "--", "sh", "-c", f"echo $$; {script}"],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        out, _ = process.communicate()
        assert out.splitlines() == [str(process.pid), "1", f"model {state}"]
    assert process.returncode == 6


def test_clone_prints_the_new_place(pcont: Run) -> None:
    answer = pcont("clone", "jobs", "--pid", str(os.getpid()))
    assert (answer.status, answer.out) == (0, f"jobs:/node_{os.getpid()}\n")
    assert pcont("where", "--json", str(os.getpid())).result[0]["container"] == (
        f"/node_{os.getpid()}"
    )


@pytest.mark.parametrize(
    "words", [("-o", "none", "--name", "n"), ("-o", "cpuacct"), ("-o", "cpuset", "--name", "n")]
)
def test_the_note_of_umount_mounts_an_active_hierarchy_again(
    pcont: Run, words: tuple[str, ...]
) -> None:
    pcont("rm", "jobs:/a")
    pcont("umount", "jobs")
    name = pcont("mount", *words).out.split()[0]
    assert pcont("create", f"{name}:/x").status == 0
    said = pcont("umount", name)
    assert said.status == 0
    found = re.search(r"mount it again: pcont (.*)", said.err)
    assert found
    assert pcont("get", f"{name}:/x").status == 3
    assert pcont(*shlex.split(found[1])).status == 0
    assert pcont("get", f"{name}:/x").status == 0


# Simulated tasks


def test_pids_stops_a_fork_bomb_and_the_forked_tasks_remain(pcont: Run) -> None:
    pcont("mount", "-o", "pids")
    pcont("create", "pids:/bomb", "-s", "pids.max=100")
    assert pcont("sim", "fork").out == f"{PLAYED}\n"
    assert pcont("attach", "pids:/bomb", PLAYED).status == 0
    refused = pcont("sim", "fork", PLAYED, "--count", "1000")
    assert refused.status == 8
    assert "after 99 of 1000" in refused.err
    assert "/bomb has 100 tasks, and pids.max is 100 (EAGAIN)" in refused.err
    assert pcont("get", "pids:/bomb", "pids.current", "pids.events").out == (
        "pids.current=100\npids.events=max 1\n"
    )
    assert pcont("rm", "--kill", "pids:/bomb").status == 0
    assert pcont("where", PLAYED).status == 3


def test_the_model_simulates_a_machine_with_512_cpus(pcont: Run) -> None:
    assert pcont("sim", "machine", "--cpus", "0-511", "--nodes", "0-7").out == (
        "cpus=0-511\nnodes=0-7\n"
    )
    assert pcont("get", "jobs:/", "cpus").out == "0-511\n"
    assert pcont("set", "jobs:/a", "mems=7", "cpus=500-511").status == 0
    assert pcont("sim", "machine", "--cpus", "x").status == 7
    assert pcont("sim", "machine", "--cpus", ",").status == 7
    assert pcont("sim", "machine", "--json").result == {"cpus": "0-511", "nodes": "0-7"}


def test_sim_work_is_charged_to_the_container_of_the_task(pcont: Run) -> None:
    pcont("sim", "fork")
    pcont("attach", "jobs:/a", PLAYED)
    assert pcont("sim", "work", PLAYED, "2", "--system", "0.5", "--cpu", "0").status == 0
    assert pcont("get", "jobs:/a", "cpuacct.usage").out == "2500000000\n"
    assert pcont("sim", "work", PLAYED, "1", "--cpu", "9999").status == 7


def test_sim_refuses_live_tasks(pcont: Run) -> None:
    for words in (("fork",), ("thread",), ("exit",), ("work", "1")):
        name, *more = words
        assert pcont("sim", name, str(os.getpid()), *more).status == 4, name


def test_sim_notified_lists_the_runs_of_release_agents(pcont: Run) -> None:
    pcont("set", "jobs:/", "release_agent=/sbin/tidy")
    pcont("create", "-i", "jobs:/a/b", "-s", "notify_on_release=1")
    pcont("sim", "fork")
    pcont("attach", "jobs:/a/b", PLAYED)
    assert pcont("sim", "notified").out == ""
    pcont("sim", "exit", PLAYED)
    assert pcont("sim", "notified").out == "/sbin/tidy\t/a/b\n"


def test_the_old_file_system_has_bare_names(pcont: Run) -> None:
    assert pcont("sim", "mount-cpuset", "/dev/cpuset").status == 5  # bound with others
    pcont("rm", "jobs:/a")
    pcont("umount", "jobs")
    assert pcont("sim", "mount-cpuset", "/dev/cpuset").out == "/dev/cpuset\n"
    assert pcont("get", "cpuset:/", "release_agent").out == "/sbin/cpuset_release_agent\n"
    assert pcont("create", "-i", "/dev/cpuset/a", "-s", "cpus=0").status == 0
    assert pcont("get", "/dev/cpuset/a", "cpus", "cpuset.effective_cpus").out == (
        "cpus=0\neffective_cpus=0\n"
    )


def test_the_hint_for_a_missing_simulated_task_makes_one_in_the_same_state(
    pcont: Run, state: Path
) -> None:
    answer = pcont("--json", "sim", "fork", NOBODY)
    assert answer.status == 3
    words = shlex.join(["pcont", "--backend", "model", "--state", str(state), "sim", "fork"])
    assert answer.error["hint"] == f"make one: {words}"


@pytest.mark.parametrize("name", sorted(PLAYING))
def test_sim_refuses_a_real_kernel(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    monkeypatch.delenv("PCONT_BACKEND", raising=False)
    assert main(["--backend", "cgroupfs", *name.split(), *DONE[name]]) == 6
    assert "on the model only" in capsys.readouterr().err


# What is printed


def test_a_command_without_a_result_prints_nothing(pcont: Run) -> None:
    for words in (
        ("create", "jobs:/b"),
        ("set", "jobs:/b", "cpus=0"),
        ("attach", "jobs:/a", str(os.getpid())),
        ("attach", "jobs:/", str(os.getpid())),
        ("rm", "jobs:/b"),
    ):
        assert pcont(*words) == Answer(0, "", ""), words


def test_mount_prints_the_name_and_the_mount_point(pcont: Run) -> None:
    answer = pcont("mount", "-o", "none", "--name", "n")
    assert answer == Answer(0, "n\t/sys/fs/cgroup/n\n", "")


def test_get_prints_one_key_as_its_value_and_several_as_lines(pcont: Run) -> None:
    assert pcont("get", "jobs:/a", "notify_on_release").out == "0\n"
    assert pcont("get", "jobs:/a", "notify_on_release", "cpu_exclusive").out == (
        "notify_on_release=0\ncpuset.cpu_exclusive=0\n"
    )


ODD = ["x\udcff", "a\x0bb", "a\x1b[31mb", "grün", "a\tb", "a\rb"]


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize(
    "words", [("tree",), ("tree", "--json"), ("where", str(os.getpid())), ("rm", "--json", "{}")]
)
def test_containers_of_any_name_can_be_shown(
    pcont: Run, state: Path, odd: str, words: tuple[str, ...]
) -> None:
    """In a locale whose output takes UTF-8 only, as en_US.UTF-8 does."""
    command = [sys.executable, "-m", "pcont", "--backend", "model", "--state", str(state)]
    place = f"jobs:/{odd}"
    given = [place if word == "{}" else word for word in words]
    for line in (["create", "-i", place], ["attach", place, str(os.getpid())], given):
        result = subprocess.run(
            [*command, *line],
            capture_output=True,
            env={**os.environ, "PYTHONIOENCODING": "utf-8:strict"},
            check=False,
        )
        said = result.stderr.decode("utf-8", "surrogateescape")
        assert "Traceback" not in said, said
        assert result.returncode == (5 if line[0] == "rm" else 0), said


def test_a_closed_pipe_is_not_an_error(pcont: Run, state: Path) -> None:
    command = f"{sys.executable} -m pcont --backend model --state {state} tree jobs:/ | true"
    result = subprocess.run(
        ["bash", "-c", f"{command}; exit ${{PIPESTATUS[0]}}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stderr == ""
