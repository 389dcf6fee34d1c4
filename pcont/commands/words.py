"""The words of a command line: options before and after a command's name, and unknown names.

This module also completes the commands in hints, with the backend options as they were typed.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence

import click

from pcont.errors import FORCE

# Options of `pcont` itself, and those of commands; each may stand on both sides of the name.
GLOBAL = ("--backend", "--state", "--dialect")
OF_COMMANDS = ("--dry-run", "-n", "--timeout", "--force", "--verbose", "-v")
WITH_VALUE = (*GLOBAL, "--timeout")

_IN_A_HINT = re.compile(r"(^|(?<!Usage): |&& |; )pcont (?!--backend\b)(?=[a-z-])")


def split_words(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """What is for pcont, and `--` with all that follows it."""
    end = words.index("--") if "--" in words else len(words)
    return list(words[:end]), list(words[end:])


def arrange(group: click.Group, words: Sequence[str]) -> list[str]:
    """The same words in click's order: pcont's options, the name of the command, its options."""
    own, rest = split_words(words)
    before: list[str] = []
    after: list[str] = []
    place = 0
    while place < len(own) and own[place].startswith("-"):
        found = own[place : place + _length(own[place], WITH_VALUE)]
        (after if _name(own[place]) in OF_COMMANDS else before).extend(found)
        place += len(found)
    command, names = _command(group, own[place:])
    if command is None:
        return list(words)
    behind = own[place + len(names) :]
    moved, behind = _taken_out(behind, _valued(command))
    return [*before, *moved, *names, *after, *behind, *rest]


def _name(word: str) -> str:
    return word.partition("=")[0]


def _length(word: str, valued: Iterable[str]) -> int:
    """How many words an option takes."""
    return 2 if word in valued else 1


def _command(group: click.Group, words: Sequence[str]) -> tuple[click.Command | None, list[str]]:
    """The command that the first words name, and these words."""
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


def _valued(command: click.Command) -> list[str]:
    """The options of a command that take the next word as their value."""
    options = [one for one in command.params if isinstance(one, click.Option)]
    return [*WITH_VALUE, *(name for one in options if not one.is_flag for name in one.opts)]


def _taken_out(words: Sequence[str], valued: Iterable[str]) -> tuple[list[str], list[str]]:
    """Options of pcont itself among a command's words, and the words without these."""
    options: list[str] = []
    others: list[str] = []
    place = 0
    while place < len(words):
        found = words[place : place + _length(words[place], valued)]
        (options if _name(words[place]) in GLOBAL else others).extend(found)
        place += len(found)
    return options, others


# Unknown names: what other tools call it. A value is the words that do it, given the arguments.

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
    """Return the command line that was probably meant by one with an unknown command."""
    place = list(words).index(unknown) if unknown in words else len(words)
    before, given = list(words[:place]), list(words[place + 1 :])
    if unknown in _INSTEAD and group.name == "pcont":
        return shlex.join(["pcont", *before, *_INSTEAD[unknown](given)])
    import difflib  # for this mistake only

    near = difflib.get_close_matches(unknown, group.commands, n=1)
    if near:
        return shlex.join(["pcont", *before, near[0], *given])
    sub = [] if group.name == "pcont" else [group.name or ""]
    return shlex.join(["pcont", *sub, "--help"])


def with_dashes(group: click.Group, words: Sequence[str]) -> str:
    """The command line of run or clone with the `--` before COMMAND; empty where it has none,
    or an option in its place."""
    arranged = arrange(group, words)
    own, rest = split_words(arranged)
    place = next((at for at, word in enumerate(own) if word in group.commands), len(own))
    command, names = _command(group, own[place:])
    if rest or command is None:
        return ""
    valued = _valued(command)
    place = _behind_options(own, place + len(names), valued)
    place = _behind_options(own, place + 1, valued, _options(command))
    if not own[place:] or own[place].startswith("-"):
        return ""
    return shlex.join(["pcont", *own[:place], "--", *own[place:]])


def _options(command: click.Command) -> list[str]:
    """The options of a command, by all their names."""
    options = [one for one in command.params if isinstance(one, click.Option)]
    return [*GLOBAL, "--help", "-h", *(name for one in options for name in one.opts)]


def _behind_options(
    words: Sequence[str], place: int, valued: Iterable[str], known: Iterable[str] | None = None
) -> int:
    """The place of the first word that is no option, or none of those that are known."""
    while place < len(words) and words[place].startswith("-"):
        if known is not None and _name(words[place]) not in known:
            break
        place += _length(words[place], valued)
    return place


def without(words: Sequence[str], option: str) -> str:
    """The command line without an option that the command does not take."""
    own, rest = split_words(words)
    kept, place = [], 0
    while place < len(own):
        if _name(own[place]) == option:
            place += _length(own[place], WITH_VALUE)
        else:
            kept.append(own[place])
            place += 1
    return shlex.join(["pcont", *kept, *rest])


# Hints


def ready(hint: str, group: click.Group, words: Sequence[str]) -> str:
    """A hint whose commands can be pasted.

    The commands get the backend options of this command line. `errors.FORCE` becomes this command
    line with --force.
    """
    if hint == FORCE:
        return shlex.join(["pcont", *_with(arrange(group, words), group, "--force")])
    options = shlex.join(_typed(words))
    return _IN_A_HINT.sub(rf"\1pcont {options} ", hint) if options else hint


def _with(words: Sequence[str], group: click.Group, option: str) -> Iterator[str]:
    """The words with an option behind the command's name."""
    waiting = True
    for word in words:
        yield word
        if waiting and word in group.commands:
            yield option
            waiting = False


def _typed(words: Sequence[str]) -> list[str]:
    """The options for the backend, wherever they were typed; each once, as the last one counts."""
    own, _ = split_words(words)
    found, place = _taken_out(own, WITH_VALUE)[0], 0
    last: dict[str, list[str]] = {}
    while place < len(found):
        one = found[place : place + _length(found[place], WITH_VALUE)]
        last[_name(one[0])] = one
        place += len(one)
    return [word for one in last.values() for word in one]
