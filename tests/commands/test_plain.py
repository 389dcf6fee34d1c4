"""plain: what it runs without click is what click would run, and everything else is click's."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pcont import cli
from pcont.commands import plain
from pcont.commands.common import App
from pcont.commands.declare import DeclaredCommand, Parameter
from pcont.commands.table import load_command
from pcont.commands.words import arrange
from pcont.ops.task_ids import TaskIds

HOT = [name for name, row in cli.COMMANDS.items() if row.hot]
WORDS = ("jobs:/a", "jobs:/b c", "/sys/fs/cgroup", "cpuset.cpus=0-1", "k=v=w", "1", "4711", "10-12")
ODD = (
    "",
    "-",
    "--",
    "-x",
    "--nope",
    "--help",
    "-h",
    "a,b",
    "--json=1",
    "-pi",
    "12x",
    "99999999999",
)
TOP_WORDS = ("--backend", "model", "cgroupfs", "--state", "f", "--dialect", "v6", "--json", "-n")

Found = tuple[str, dict[str, Any], dict[str, Any]]


class Called(Exception):
    """A command would run with these values."""


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Found]:
    """What would be run: the name of each command, its values, and the attributes of App."""
    found: list[Found] = []

    def run(command: DeclaredCommand, app: App, values: dict[str, Any]) -> int:
        if command.changes:
            app.acts = not values["dry_run"]
        kept = {name: value for name, value in vars(app).items() if name != "words"}
        found.append((command.name, values, kept))
        return 0

    monkeypatch.setattr(DeclaredCommand, "run", run)
    monkeypatch.setattr("pcont.ops.task_ids.read_ids", _without_stdin)
    return found


def _without_stdin(words: Any, stdin: Any) -> TaskIds:
    if "-" in words or any(not word.replace("-", "", 1).isdigit() for word in words):
        raise ValueError("no ids")
    return TaskIds(given=tuple(int(word.partition("-")[0]) for word in words))


def with_click(words: list[str], calls: list[Found]) -> Found | None:
    """What click makes of a command line; None if it refuses it or shows help."""
    import click

    app, before = App(words), len(calls)
    try:
        cli.cli().main(arrange(cli.cli(), words), prog_name="pcont", standalone_mode=False, obj=app)
    except click.ClickException:
        return None
    return calls[-1] if len(calls) > before else None


def without(words: list[str], calls: list[Found]) -> Found | None:
    """What `plain` makes of it; None if it leaves it to click."""
    app = App(words)
    found = plain.parse(app, cli.pcont, cli.COMMANDS)
    if found is None:
        assert vars(app) == vars(App(words)), "it has done nothing"
        return None
    command, values, of_top = found
    cli.pcont.run(app, of_top)
    command.run(app, values)
    return calls.pop()


def options_of(command: DeclaredCommand) -> list[Parameter]:
    return [one for one in command.parameters if one.is_option]


def a_line(draw: random.Random) -> list[str]:
    """A command line: mostly one that the command accepts, often one with something odd in it."""
    name = draw.choice(HOT)
    command = load_command(cli.COMMANDS[name].module, name)
    assert isinstance(command, DeclaredCommand)
    words = [draw.choice(WORDS) for _ in range(draw.choice((0, 1, 1, 2, 2, 3)))]
    options = options_of(command)
    for one in draw.choices(options, k=draw.randint(0, 3)):  # also one option twice
        option = [draw.choice([name for name in one.names if name.startswith("-")])]
        option += [] if one.is_flag else [draw.choice(WORDS)]
        place = draw.randint(0, len(words))
        words[place:place] = option
    if command.starts and draw.random() < 0.9:
        words += ["--", *draw.choices(("true", "-x", "--json", "--"), k=draw.randint(0, 2))]
    words.insert(0, name)
    for odd in (ODD, TOP_WORDS, TOP_WORDS):
        if draw.random() < 0.2:
            words.insert(draw.randint(0, len(words)), draw.choice(odd))
    return words


def test_plain_lines_mean_the_same_to_click(
    calls: list[Found], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PCONT_BACKEND", "PCONT_STATE", "PCONT_DIALECT"):
        monkeypatch.delenv(name, raising=False)
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    draw = random.Random(seed)
    plainly = 0
    for _ in range(5000):
        words = a_line(draw)
        found = without(words, calls)
        if found is not None:
            plainly += 1
            assert found == with_click(words, calls), (seed, words)
    capsys.readouterr()
    assert plainly > 1000, "most lines are plain"


LINES = [
    "get jobs:/a cpuset.cpus",
    "get jobs:/a --json",
    "--json get jobs:/a",
    "set jobs:/a cpuset.cpus=0 cpuset.mems=0",
    "create -p -i jobs:/a jobs:/b -s k=v -s x=y",
    "attach jobs:/a 1 2 3",
    "move jobs:/a jobs:/b --movable",
    "rm -r jobs:/a",
    "run jobs:/a -- true -x",
    "where 1",
    "ps jobs:/a",
    "tree",
    "hierarchies",
    "--backend model --state f get jobs:/a",
    "get jobs:/a --backend model",
]


@pytest.mark.parametrize("line", LINES)
def test_what_scripts_write_is_plain(line: str, calls: list[Found]) -> None:
    found = without(line.split(), calls)
    assert found is not None
    assert found == with_click(line.split(), calls)


@pytest.mark.parametrize(
    "line",
    [
        *(
            "get",
            "get --help",
            "get jobs:/a -- k",
            "get jobs:/a --window 1",
            "get -x",
            "nope jobs:/a",
        ),
        *("attach jobs:/a -", "attach jobs:/a x", "attach jobs:/a", "run jobs:/a true"),
        *("run jobs:/a --", "create -pi jobs:/a", "create a --set=1", "doctor", "--version"),
        *("--state f get jobs:/a", "--backend x get jobs:/a", "where 1 2", "--json", ""),
        *("sim fork", "mount -o cpuset", "rm jobs:/a --timeout 5", "set jobs:/a"),
    ],
)
def test_all_else_is_left_to_click(line: str, calls: list[Found]) -> None:
    assert without(line.split(), calls) is None


@pytest.mark.parametrize(
    ("name", "value", "is_plain"),
    [
        ("PCONT_BACKEND", "model", True),
        ("PCONT_BACKEND", "", True),
        ("PCONT_BACKEND", "nope", False),
        ("PCONT_DIALECT", "v9", False),
        ("_PCONT_COMPLETE", "bash_complete", False),
    ],
)
def test_the_environment_counts_as_for_click(
    name: str, value: str, is_plain: bool, calls: list[Found], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    words = ["get", "jobs:/a"]
    found = without(words, calls)
    assert (found is not None) == is_plain
    if found is not None:
        assert found == with_click(words, calls)


def every_name(command: DeclaredCommand) -> Iterator[str]:
    for one in command.parameters:
        yield from one.names


def test_no_option_of_a_hot_command_is_one_of_pconts_own() -> None:
    own = {name for one in cli.pcont.parameters if not one.sets for name in one.names}
    for name in HOT:
        command = load_command(cli.COMMANDS[name].module, name)
        assert isinstance(command, DeclaredCommand)
        assert own & set(every_name(command)) == set()


def test_plain_knows_every_setting_of_the_hot_commands() -> None:
    for name in HOT:
        command = load_command(cli.COMMANDS[name].module, name)
        assert isinstance(command, DeclaredCommand)
        assert {setting for one in command.parameters for setting in one.settings} <= plain.KNOWN


def test_a_setting_that_plain_does_not_know_is_left_to_click(
    calls: list[Found], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = load_command("show", "where")
    assert isinstance(command, DeclaredCommand)
    monkeypatch.setattr(command.parameters[-1], "settings", {"nargs": 2})
    assert without(["where", "1"], calls) is None


@pytest.mark.parametrize("more", [(), ("--timeout", "5")])  # without click, and with it
def test_the_line_of_progress_is_removed_before_an_error_is_printed(
    more: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Bar:
        def __call__(self, done: int, of: int) -> None: ...
        def beat(self) -> None: ...
        def wipe(self) -> None: ...
        def close(self) -> None:
            print("closed", file=sys.stderr)

    monkeypatch.setattr("pcont.output.progress.ProgressBar", Bar)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    state = str(tmp_path / "model.json")
    assert cli.main(["--backend", "model", "--state", state, "rm", "nope:/a", *more]) == 3
    lines = capsys.readouterr().err.splitlines()
    assert lines.index("closed") < next(at for at, one in enumerate(lines) if "nope" in one)
