"""words: options on both sides of a command's name, unknown commands, and hints ready to paste."""

from __future__ import annotations

import re
import shlex

import pytest

from pcont.cli import cli
from pcont.commands.clicks import Group
from pcont.commands.hints import instead, ready, with_dashes, without
from pcont.commands.words import arrange
from pcont.errors import FORCE


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("tree", "tree"),
        ("--json tree jobs:/", "--json tree jobs:/"),
        ("tree --json jobs:/", "tree --json jobs:/"),
        ("create jobs:/a --backend model", "--backend model create jobs:/a"),
        ("create --backend=model jobs:/a", "--backend=model create jobs:/a"),
        ("rm --state f jobs:/a --dialect v6", "--state f --dialect v6 rm jobs:/a"),
        ("--dry-run --force rm jobs:/a", "rm --dry-run --force jobs:/a"),
        ("-n rm jobs:/a", "rm -n jobs:/a"),
        ("--timeout 3 --backend model rm a", "--backend model rm --timeout 3 a"),
        ("--timeout=3 rm a", "rm --timeout=3 a"),
        ("-v attach jobs:/a 1", "attach -v jobs:/a 1"),
        ("sim fork --backend model", "--backend model sim fork"),
        ("--backend model sim fork 1", "--backend model sim fork 1"),
        # What is behind -- is the command's of run and clone, or an argument.
        ("run jobs:/a -- x --backend model", "run jobs:/a -- x --backend model"),
        ("run --backend model jobs:/a -- x -n", "--backend model run jobs:/a -- x -n"),
        ("-n run jobs:/a -- x", "run -n jobs:/a -- x"),
        ("get jobs:/a -- --state", "get jobs:/a -- --state"),
        # The value of an option is no option.
        ("mount --name --state -o none", "mount --name --state -o none"),
        # What click refuses stays for it to refuse.
        ("", ""),
        ("--backend", "--backend"),
        ("nope --backend model", "nope --backend model"),
        ("--force", "--force"),
    ],
)
def test_options_may_stand_before_and_behind_the_name_of_the_command(
    typed: str, meant: str
) -> None:
    assert arrange(cli(), typed.split()) == meant.split()


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("ls", "tree"),
        ("ls jobs:/", "tree jobs:/"),
        ("exec jobs:/a make -j8", "run jobs:/a -- make -j8"),
        ("exec jobs:/a -- make -j8", "run jobs:/a -- make -j8"),
        ("exec", "run --help"),
        ("kill jobs:/a", "rm --kill jobs:/a"),
        ("kill", "rm --help"),
        ("freeze jobs:/a", "set jobs:/a freezer.state=FROZEN"),
        ("thaw jobs:/a", "set jobs:/a freezer.state=THAWED"),
        ("thaw", "set --help"),
        ("top", "tree"),
        ("top jobs:/a", "stat jobs:/a"),
        ("help", "--help"),
        ("help rm", "rm --help"),
        ("rmdir jobs:/a", "rm jobs:/a"),
        ("rmdir 'jobs:/a b'", "rm 'jobs:/a b'"),
        ("mkdir jobs:/a", "create jobs:/a"),
        ("version", "--version"),
        ("creat jobs:/a", "create jobs:/a"),
        ("--json creat jobs:/a", "--json create jobs:/a"),
        ("sim frok 5", "sim fork 5"),
        ("sim xyzzy", "sim --help"),
        ("xyzzy", "--help"),
    ],
)
def test_an_unknown_command_has_a_hint_that_does_it(typed: str, meant: str) -> None:
    words = shlex.split(typed)
    unknown = next(word for word in words if word not in ("--json", "sim"))
    group = cli().commands["sim"] if "sim" in words else cli()
    assert isinstance(group, Group)
    assert instead(group, words, unknown) == f"pcont {meant}"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("run jobs:/a make -j8", "pcont run jobs:/a -- make -j8"),
        (
            "--backend model run --create jobs:/a true",
            "pcont --backend model run --create jobs:/a -- true",
        ),
        ("run --join box jobs:/a true", "pcont run --join box jobs:/a -- true"),
        ("run jobs:/a", ""),
        ("run jobs:/a -- true", ""),
        ("run", ""),
        ("run jobs:/a --create make -j8", "pcont run jobs:/a --create -- make -j8"),
        ("run jobs:/a --join box top -n 5", "pcont run jobs:/a --join box -- top -n 5"),
        ("run jobs:/a --create", ""),
        ("run jobs:/a --bogus make", ""),
        ("clone jobs:/a --pid x", ""),
    ],
)
def test_a_command_without_dashes_has_a_hint_with_them(typed: str, meant: str) -> None:
    assert with_dashes(cli(), typed.split()) == meant


@pytest.mark.parametrize(
    ("typed", "option", "meant"),
    [
        ("tree --dry-run a", "--dry-run", "pcont tree a"),
        ("--timeout 3 tree a", "--timeout", "pcont tree a"),
        ("create --force a -- --force", "--force", "pcont create a -- --force"),
    ],
)
def test_an_option_that_a_command_lacks_is_left_out_in_the_hint(
    typed: str, option: str, meant: str
) -> None:
    assert without(typed.split(), option) == meant


@pytest.mark.parametrize(
    ("hint", "words", "meant"),
    [
        ("pcont tree", "get x", "pcont tree"),
        ("pcont tree", "--backend model get x", "pcont --backend model tree"),
        ("pcont tree", "get x --backend=model", "pcont --backend=model tree"),
        ("do it: pcont rm a; see", "get --state f x", "do it: pcont --state f rm a; see"),
        ("near: a, b", "--backend model get x", "near: a, b"),
        ("Usage: pcont get", "--backend model get", "Usage: pcont get"),
        ("pcont --backend model x", "--backend model get x", "pcont --backend model x"),
        ("pcont tree", "run a -- x --backend model", "pcont tree"),
        ("pcont tree", "--state f get --state g", "pcont --state g tree"),
        (FORCE, "rm --kill a", "pcont rm --force --kill a"),
        (FORCE, "-n rm a --backend model", "pcont --backend model rm --force -n a"),
    ],
)
def test_the_commands_in_hints_are_for_the_same_backend(hint: str, words: str, meant: str) -> None:
    assert ready(hint, cli(), words.split()) == meant


def test_the_environment_is_in_the_help() -> None:
    text = cli().get_help(cli().make_context("pcont", [], resilient_parsing=True))
    for name in ("PCONT_BACKEND", "PCONT_STATE", "PCONT_DIALECT", "XDG_STATE_HOME"):
        assert re.search(rf"\b{name}\b", text)
    assert " ".join(text.split()).count("env var: PCONT_") == 3
