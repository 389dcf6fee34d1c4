"""What every hint must be: its commands can be pasted as they are."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator

import click

from pcont.cli import cli
from pcont.commands.words import arrange

COMMAND = re.compile(r"(?:^|(?<!Usage): |&& |; )(pcont .*?)(?= && |; |$)")
# A word that stands for something that the user typed, or that the command line knows.
STANDS_FOR = re.compile(r"\b(PLACE|SELECTOR|KEY=VALUE)\b|…|\.\.\.")


def check(said: str) -> None:
    """Every hint in what a command said on standard error."""
    for hint in hints(said):
        if "Usage: " not in hint:
            assert not STANDS_FOR.search(hint), hint
        for command in COMMAND.findall(hint):
            parse(shlex.split(command.replace("$$", "1"))[1:])  # as a shell does


def hints(said: str) -> Iterator[str]:
    for line in said.splitlines():
        if line.startswith("  hint: "):
            yield line.removeprefix("  hint: ")
        elif line.startswith('{"error"'):
            yield json.loads(line)["error"]["hint"]


def parse(words: list[str]) -> None:
    """Let click read a command line that is not run; click.UsageError where it cannot."""
    group: click.Command = cli()
    words, name, context = arrange(cli(), words), "pcont", None
    try:
        while True:
            context = group.make_context(name, words, parent=context)
            if not isinstance(group, click.Group):
                return
            rest = [*context._protected_args, *context.args]
            found, command, words = group.resolve_command(context, rest)
            assert found
            assert command
            name, group = found, command
    except click.exceptions.Exit:  # --help and --version
        return
