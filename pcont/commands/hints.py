"""Hints for mistakes on the command line: commands that can be pasted."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence

import click

from pcont.commands.clicks import Starting, UnknownCommand
from pcont.commands.words import (
    GLOBAL,
    OF_COMMANDS,
    WITH_VALUE,
    arrange,
    named_command,
    option_name,
    split_words,
    take_out_global,
    valued_options,
    word_count,
)
from pcont.errors import FORCE, UsageProblem, similar_words


def usage_problem(err: click.UsageError, group: click.Group, words: Sequence[str]) -> UsageProblem:
    """Translate an error of click, with the best hint for these words."""
    return UsageProblem(err.format_message().rstrip("."), hint=_usage_hint(err, group, words))


def _usage_hint(err: click.UsageError, group: click.Group, words: Sequence[str]) -> str:
    if isinstance(err, UnknownCommand) and err.ctx:
        assert isinstance(err.ctx.command, click.Group)
        return instead(err.ctx.command, words, err.name)
    if isinstance(err, click.NoSuchOption) and err.option_name in OF_COMMANDS:
        return f"without it: {without(words, err.option_name)}"
    usage = " ".join(err.ctx.get_usage().split()) if err.ctx else "pcont --help"
    bad_value = isinstance(err, click.BadParameter) and not isinstance(err, click.MissingParameter)
    if isinstance(err.ctx and err.ctx.command, Starting) and "--" not in words and not bad_value:
        meant = with_dashes(group, words)
        return meant or f"put -- before COMMAND and its arguments. {usage}"
    return usage


# Names of commands in other tools. A value returns the words that do the same in pcont.

_Instead = Callable[[list[str]], list[str]]


def _same(*words: str) -> _Instead:
    return lambda given: [*words, *given]


def _set(*assignments: str) -> _Instead:
    return lambda given: ["set", given[0], *assignments] if given else ["set", "--help"]


def _one_or_help(*words: str) -> _Instead:
    return lambda given: [*words, given[0]] if given else [words[0], "--help"]


def _run(given: list[str]) -> list[str]:
    if len(given) < 2:
        return ["run", "--help"]
    place, *command = given
    return ["run", place, *([] if "--" in command else ["--"]), *command]


_INSTEAD: dict[str, _Instead] = {
    **dict.fromkeys(("ls", "ll", "list", "lscgroup", "show"), _same("tree")),
    **dict.fromkeys(("exec", "cgexec", "enter", "start", "spawn", "launch"), _run),
    **dict.fromkeys(("kill", "killall", "stop"), _one_or_help("rm", "--kill")),
    **dict.fromkeys(("freeze", "pause", "suspend"), _set("freezer.state=FROZEN")),
    **dict.fromkeys(("thaw", "unfreeze", "resume", "unpause"), _set("freezer.state=THAWED")),
    "top": lambda given: ["stat", given[0]] if given else ["tree"],
    **dict.fromkeys(("help", "man"), lambda given: [*given[:1], "--help"]),
    **dict.fromkeys(("rmdir", "delete", "del", "remove", "destroy", "cgdelete"), _same("rm")),
    **dict.fromkeys(("mkdir", "new", "add", "make", "cgcreate"), _same("create")),
    **dict.fromkeys(("cgclassify", "classify", "join"), _same("attach")),
    **dict.fromkeys(("mv", "move-all"), _same("move")),
    **dict.fromkeys(("unmount", "detach"), _same("umount")),
    **dict.fromkeys(("mounts", "lsmounts", "lssubsys", "status", "info"), _same("hierarchies")),
    **dict.fromkeys(("controllers", "subsystems"), _same("subsys")),
    **dict.fromkeys(("cat", "read", "cgget"), _same("get")),
    **dict.fromkeys(("echo", "write", "cgset", "limit"), _same("set")),
    **dict.fromkeys(("find", "which", "whereis"), _one_or_help("where")),
    **dict.fromkeys(("check", "diagnose", "test"), _same("doctor")),
    "version": lambda given: ["--version"],
    "stats": _same("stat"),
    "cleanup": _same("gc"),
    "prune": _same("gc"),
}


def instead(group: click.Group, words: Sequence[str], unknown: str) -> str:
    """Return the command line that the user probably means by one with an unknown command."""
    place = list(words).index(unknown) if unknown in words else len(words)
    before, given = list(words[:place]), list(words[place + 1 :])
    if unknown in _INSTEAD and group.name == "pcont":
        return shlex.join(["pcont", *before, *_INSTEAD[unknown](given)])
    if similar := similar_words(unknown, group.commands, most=1):
        return shlex.join(["pcont", *before, similar[0], *given])
    sub = [] if group.name == "pcont" else [group.name or ""]
    return shlex.join(["pcont", *sub, "--help"])


def with_dashes(group: click.Group, words: Sequence[str]) -> str:
    """Return the command line of run or clone with `--` before COMMAND.

    Returns an empty text if there is no COMMAND, or an unknown option in its place.
    """
    arranged = arrange(group, words)
    own, rest = split_words(arranged)
    place = next((at for at, word in enumerate(own) if word in group.commands), len(own))
    command, names = named_command(group, own[place:])
    if rest or command is None:
        return ""
    valued = valued_options(command)
    place = _behind_options(own, place + len(names), valued)
    place = _behind_options(own, place + 1, valued, _options(command))
    if not own[place:] or own[place].startswith("-"):
        return ""
    return shlex.join(["pcont", *own[:place], "--", *own[place:]])


def _options(command: click.Command) -> list[str]:
    """Return all option names that are valid for a command."""
    options = [one for one in command.params if isinstance(one, click.Option)]
    return [*GLOBAL, "--help", "-h", *(name for one in options for name in one.opts)]


def _behind_options(
    words: Sequence[str], place: int, valued: Iterable[str], known: Iterable[str] | None = None
) -> int:
    """Return the index of the first word that is not an option (or not one of `known`)."""
    while place < len(words) and words[place].startswith("-"):
        if known is not None and option_name(words[place]) not in known:
            break
        place += word_count(words[place], valued)
    return place


def without(words: Sequence[str], option: str) -> str:
    """Return the command line without `option`, which the command does not accept."""
    own, rest = split_words(words)
    kept, place = [], 0
    while place < len(own):
        if option_name(own[place]) == option:
            place += word_count(own[place], WITH_VALUE)
        else:
            kept.append(own[place])
            place += 1
    return shlex.join(["pcont", *kept, *rest])


_IN_A_HINT = re.compile(r"(^|(?<!Usage): |&& |; )pcont (?!--backend\b)(?=[a-z-])")


def ready(hint: str, group: click.Group, words: Sequence[str]) -> str:
    """Return a hint whose commands can be pasted.

    Commands in it get the backend options of this command line. `errors.FORCE` is replaced by this
    command line with --force.
    """
    if hint == FORCE:
        return shlex.join(["pcont", *_with(arrange(group, words), group, "--force")])
    options = shlex.join(_typed(words))
    return _IN_A_HINT.sub(rf"\1pcont {options} ", hint) if options else hint


def _with(words: Sequence[str], group: click.Group, option: str) -> Iterator[str]:
    """Yield the words with `option` inserted after the command's name."""
    waiting = True
    for word in words:
        yield word
        if waiting and word in group.commands:
            yield option
            waiting = False


def _typed(words: Sequence[str]) -> list[str]:
    """Return the backend options of the command line; if one is repeated, the last one."""
    own, _ = split_words(words)
    found, place = take_out_global(own, WITH_VALUE)[0], 0
    last: dict[str, list[str]] = {}
    while place < len(found):
        one = found[place : place + word_count(found[place], WITH_VALUE)]
        last[option_name(one[0])] = one
        place += len(one)
    return [word for one in last.values() for word in one]
