"""Parse plain command lines without click. The import of click takes longer than most commands.

A command line is plain if it names a hot command, if each option is a word of its own (`-p -i`, not
`-pi`), and if each value is valid and stands in the next word. click parses all others, also help
and mistakes. The declarations are the same as for click.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pcont.commands.common import OF_THE_MODEL, App
from pcont.commands.declare import DeclaredCommand, DeclaredGroup, Parameter, PlainKind
from pcont.commands.table import Row, load_command

COMPLETION = "_PCONT_COMPLETE"  # click's: the shell asks for completions
# What `declare` may have for click. With any other setting, only click knows what it means.
KNOWN = {
    *("metavar", "nargs", "required", "default", "is_flag", "multiple"),
    *("help", "show_default", "envvar", "show_envvar"),
}


class NotPlain(Exception):
    """The command line needs click."""


def parse(
    app: App, top: DeclaredGroup, table: Mapping[str, Row]
) -> tuple[DeclaredCommand, dict[str, Any], dict[str, Any]] | None:
    """Return the command of a plain command line, its values and those of `top`.

    For an option with `sets`, assigns its value to that attribute of `app`. Returns None, and has
    done nothing, if the command line is not plain.
    """
    try:
        return _parsed(app, top, table)
    except (NotPlain, ValueError):
        return None


def _parsed(
    app: App, top: DeclaredGroup, table: Mapping[str, Row]
) -> tuple[DeclaredCommand, dict[str, Any], dict[str, Any]]:
    words = list(app.words)
    place = _name_of_command(words, top, table)
    if COMPLETION in os.environ:
        raise NotPlain
    command = load_command(table[words[place]].module, words[place])
    if not isinstance(command, DeclaredCommand) or not all(map(_is_known, command.parameters)):
        raise NotPlain
    started = _take_out_started(words, command)
    own = [*words[:place], *words[place + 1 :]]
    given, arguments = split_options(own, options_of([command, top]))
    values = values_of(command, given, arguments)
    of_top = _values_of_top(top, given)
    for one in command.parameters:
        if one.sets:
            one.store(app, values.pop(one.name))
    if command.starts:
        app.passes_status, app.command = True, tuple(started)
    return command, values, of_top


def _name_of_command(words: Sequence[str], top: DeclaredGroup, table: Mapping[str, Row]) -> int:
    """Return the index of the command's name, which follows pcont's own options."""
    own = {name: one for one in top.parameters for name in one.names}
    place = 0
    while place < len(words) and words[place] in own:
        place += 1 if own[words[place]].is_flag else 2
    if place >= len(words) or words[place] not in table or not table[words[place]].hot:
        raise NotPlain
    return place


def _is_known(one: Parameter) -> bool:
    return {*one.settings} <= KNOWN and one.settings.get("nargs") in (None, -1)


def _take_out_started(words: list[str], command: DeclaredCommand) -> list[str]:
    """Remove the command behind `--` from the words, and return it."""
    if not command.starts:
        if "--" in words:
            raise NotPlain
        return []
    if "--" not in words or words[-1] == "--":
        raise NotPlain
    end = words.index("--")
    started = words[end + 1 :]
    del words[end:]
    return started


def options_of(declared: Sequence[DeclaredCommand | DeclaredGroup]) -> dict[str, Parameter]:
    """Return the options by the words that name them, such as `-p` and `--force`."""
    return {
        name: one
        for each in declared
        for one in each.parameters
        if one.is_option
        for name in one.names
        if name.startswith("-")
    }


def split_options(
    words: Sequence[str], known: Mapping[str, Parameter]
) -> tuple[dict[Parameter, list[str]], list[str]]:
    """Return the options, each with the words of its values, and the other words.

    Raises NotPlain for a word that only click reads.
    """
    given: dict[Parameter, list[str]] = {}
    arguments: list[str] = []
    waiting = iter(words)
    for word in waiting:
        if not word.startswith("-"):
            arguments.append(word)
            continue
        if word not in known:
            raise NotPlain
        one = known[word]
        given.setdefault(one, []).append("" if one.is_flag else _value_behind(waiting))
    if "" in arguments:
        raise NotPlain
    return given, arguments


def _value_behind(words: Iterator[str]) -> str:
    """Return the value of an option: the next word."""
    value = next(words, "-")
    if not value or value.startswith("-"):
        raise NotPlain
    return value


def values_of(
    command: DeclaredCommand, given: Mapping[Parameter, list[str]], arguments: list[str]
) -> dict[str, Any]:
    """Return the values of a command's parameters by name. Raises NotPlain, and ValueError for a
    value that is not valid.
    """
    values = option_values(command, given)
    values.update(argument_values(command, arguments))
    return values


def option_values(command: DeclaredCommand, given: Mapping[Parameter, list[str]]) -> dict[str, Any]:
    """Return the values of the options of a command by name; raises as `values_of`."""
    return {
        one.name: _option_value(one, given.get(one, []))
        for one in command.parameters
        if one.is_option
    }


def _option_value(one: Parameter, words: Sequence[str]) -> Any:
    if not words:
        return one.default
    if one.is_flag:
        return True
    return tuple(_read(one, word) for word in words) if one.takes_many else _read(one, words[-1])


def argument_values(command: DeclaredCommand, words: list[str]) -> Iterator[tuple[str, Any]]:
    """Yield the arguments by name; raises as `values_of`. Only the last one may take any number of
    words.
    """
    waiting = list(words)
    for one in command.parameters:
        if one.is_option:
            continue
        mine = waiting if one.takes_many else waiting[:1]
        waiting = waiting[len(mine) :]
        if one.is_required and not mine:
            raise NotPlain
        if one.takes_many:
            yield one.name, one.read(mine) if one.read else tuple(_read(one, w) for w in mine)
        else:
            yield one.name, _read(one, mine[0]) if mine else one.default
    if waiting:
        raise NotPlain


def _read(one: Parameter, word: str) -> Any:
    """Return the value of a word. Raises ValueError, and NotPlain for what only click reads."""
    if one.kind is None:
        return word
    if isinstance(one.kind, PlainKind):
        return one.kind.parse(word)
    raise NotPlain


def _values_of_top(top: DeclaredGroup, given: Mapping[Parameter, list[str]]) -> dict[str, Any]:
    """Return the values of the options of `pcont` itself: from the words, else the environment."""
    values: dict[str, Any] = {}
    for one in top.parameters:
        if not one.sets:
            words = given.get(one, [])
            found = words[-1] if words else os.environ.get(one.settings["envvar"])
            values[one.name] = _read(one, found) if found else None
            if words and one.name in OF_THE_MODEL and values["backend"] != "model":
                raise NotPlain
    return values
