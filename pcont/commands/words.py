"""The words of a command line: options that may stand before and after a command's name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import click

# Options of `pcont` itself, and of commands. Each may be given before or after the command's name.
GLOBAL = ("--backend", "--state", "--dialect")
OF_COMMANDS = ("--dry-run", "-n", "--timeout", "--force", "--verbose", "-v")
WITH_VALUE = (*GLOBAL, "--timeout")


def split_words(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the words before `--`, and the words from `--` on."""
    end = words.index("--") if "--" in words else len(words)
    return list(words[:end]), list(words[end:])


def arrange(group: click.Group, words: Sequence[str]) -> list[str]:
    """Return the words as click wants them: pcont's options, the command's name, its options."""
    own, rest = split_words(words)
    before: list[str] = []
    after: list[str] = []
    place = 0
    while place < len(own) and own[place].startswith("-"):
        found = own[place : place + word_count(own[place], WITH_VALUE)]
        (after if option_name(own[place]) in OF_COMMANDS else before).extend(found)
        place += len(found)
    command, names = named_command(group, own[place:])
    if command is None:
        return list(words)
    behind = own[place + len(names) :]
    moved, behind = take_out_global(behind, valued_options(command))
    return [*before, *moved, *names, *after, *behind, *rest]


def option_name(word: str) -> str:
    """Return --option of --option=value."""
    return word.partition("=")[0]


def word_count(word: str, valued: Iterable[str]) -> int:
    """Return 2 for an option with its value in the next word, otherwise 1."""
    return 2 if word in valued else 1


def named_command(
    group: click.Group, words: Sequence[str]
) -> tuple[click.Command | None, list[str]]:
    """Return the command that the first words name, and these words; None if there is none."""
    found: click.Command | None = group
    names: list[str] = []
    for word in words:
        if not isinstance(found, click.Group):
            break
        found = found.commands.get(word)
        names.append(word)
    if isinstance(found, click.Group):
        return (found, names) if names else (None, [])
    return found, names


def valued_options(command: click.Command) -> list[str]:
    """Return the options of a command that take a value."""
    options = [one for one in command.params if isinstance(one, click.Option)]
    return [*WITH_VALUE, *(name for one in options if not one.is_flag for name in one.opts)]


def take_out_global(words: Sequence[str], valued: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return the options of `pcont` itself among the words, and the other words."""
    options: list[str] = []
    others: list[str] = []
    place = 0
    while place < len(words):
        found = words[place : place + word_count(words[place], valued)]
        (options if option_name(words[place]) in GLOBAL else others).extend(found)
        place += len(found)
    return options, others
