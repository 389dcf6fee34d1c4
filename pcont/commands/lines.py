"""Parse the lines of `pcont batch`: each is what follows `pcont` on a command line.

All lines are parsed before the first one is carried out.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pcont.commands import plain
from pcont.commands.common import App
from pcont.commands.declare import DeclaredCommand, DeclaredGroup
from pcont.commands.table import Row, load_command
from pcont.errors import PcontError, UsageProblem
from pcont.hierarchy.keys import split_assignments
from pcont.kernel.paths import check_path
from pcont.ops.batch import check_verb
from pcont.ops.settings import with_equals
from pcont.subsys import CPUACCT_LOAD

if TYPE_CHECKING:
    from pcont.commands.clicks import Top

# Options that hold for all lines, so that `pcont batch` itself has them.
OF_ALL_LINES = ("--backend", "--state", "--dialect", "--json", "--dry-run", "-n", "--timeout")
HELP = ("--help", "-h", "--version")
# With --atomic, these words of a command are refused.
IRREVERSIBLE = {"rm": "kill"}

_QUOTING = re.compile(r"['\"\\#]")
# A word as a shell reads it, or a comment in its place.
_WORD = re.compile(r"\s*(?:(#.*)|(?:[^\s'\"\\]|\\.|'[^']*'|\"(?:[^\"\\]|\\.)*\")+)", re.DOTALL)


class Line:
    """A line of a batch: its number in the file, its words, and the command that they mean.

    `verb`: the words that name the command, as in "sim fork". `values`: the values of the
    parameters by name. `verbose`: -v was given.
    """

    __slots__ = ("command", "number", "values", "verb", "verbose", "words")

    def __init__(
        self,
        number: int,
        words: Sequence[str],
        verb: str,
        command: DeclaredCommand,
        values: dict[str, Any],
        verbose: bool = False,
    ) -> None:
        self.number, self.words, self.verb = number, words, verb
        self.command, self.values, self.verbose = command, values, verbose

    @property
    def changes(self) -> bool:
        """Whether the command changes something."""
        return self.command.changes or (self.verb.startswith("sim ") and _simulates(self))

    @property
    def slow(self) -> bool:
        """Whether the command only reads, and measures for a time."""
        if self.verb == "stat":
            return bool(self.values["window"])
        return self.verb == "get" and CPUACCT_LOAD in self.values["keys"]


def _simulates(line: Line) -> bool:
    """Return whether a command below `sim` changes the model."""
    if line.verb in ("sim notified", "sim proc"):
        return False
    if line.verb in ("sim param", "sim machine"):
        return any(line.values.values())
    return True


def split_line(text: str) -> list[str]:
    """Return the words of a line as a shell splits them, without expansions and without a comment.

    Raises ValueError for a quote that is not closed.
    """
    if not _QUOTING.search(text):
        return text.split()
    place = 0
    while found := _WORD.match(text, place):
        if found[1] is not None:
            text = text[: found.start(1)]
            break
        place = found.end()
    return shlex.split(text)


class _LineParser(App):
    """The `App` that click gets for a line: it notes the command instead of running it."""

    found: tuple[DeclaredCommand, dict[str, Any]] | None = None

    def carry_out(self, command: DeclaredCommand, values: dict[str, Any]) -> int:
        self.found = command, values
        return 0


class _PlainCommand:
    """Parses the lines of one command with `plain`. It keeps the values of options, because many
    lines have the same ones.
    """

    MOST = 1000  # different options

    def __init__(self, command: DeclaredCommand) -> None:
        self.command = command
        self._known = plain.options_of([command])
        self._kept: dict[tuple[str, ...], tuple[dict[str, Any], bool]] = {}

    def values(self, words: Sequence[str]) -> tuple[dict[str, Any], bool]:
        """Return the values of all parameters by name, and whether -v was given.

        Raises NotPlain, or ValueError, for a line that only click reads.
        """
        options, arguments = self._split(words)
        found = self._kept.get(options)
        if found is None:
            if len(self._kept) == self.MOST:
                self._kept.clear()
            found = self._kept[options] = self._option_values(options)
        values = dict(found[0])
        values.update(plain.argument_values(self.command, arguments))
        return values, found[1]

    def _split(self, words: Sequence[str]) -> tuple[tuple[str, ...], list[str]]:
        """Return the options with their values, and the arguments."""
        options: list[str] = []
        arguments: list[str] = []
        takes_value = False
        for word in words[1:]:
            if takes_value or word.startswith("-"):
                known = None if takes_value else self._known.get(word)
                takes_value = bool(known and not known.is_flag)
                options.append(word)
            else:
                arguments.append(word)
        if "" in arguments:
            raise plain.NotPlain
        return tuple(options), arguments

    def _option_values(self, options: Sequence[str]) -> tuple[dict[str, Any], bool]:
        given, _ = plain.split_options(options, self._known)
        values, verbose = plain.option_values(self.command, given), False
        for one in self.command.parameters:
            if one.sets:
                verbose |= bool(values.pop(one.name)) and one.sets == "verbose"
        return values, verbose


class Parser:
    """Parses lines. `table`: the commands. `atomic`: refuse what cannot be undone. `dry_run`:
    refuse what has no dry run.
    """

    def __init__(
        self, table: Mapping[str, Row], atomic: bool = False, dry_run: bool = False
    ) -> None:
        self.table, self.atomic, self.dry_run = table, atomic, dry_run
        self._plain_commands: dict[str, _PlainCommand] = {}
        self._checked: set[tuple[str, ...]] = set()
        self._top: Top | None = None

    def parse(self, text: str, name: str) -> list[Line]:
        """Return the lines of a text. Raises UsageProblem for a line that is no command: its
        message begins with `name` and the number of the line.
        """
        found = []
        for number, line in enumerate(text.split("\n"), 1):
            try:
                words = split_line(line)
                if words[:1] == ["pcont"]:
                    del words[0]
                    if not words:
                        raise UsageProblem("the command is missing", hint="pcont --help")
                if words:
                    found.append(self._line(number, words))
            except ValueError as err:
                what = f"the line cannot be split into words: {str(err).lower()}"
                raise UsageProblem(f"{name}:{number}: {what}") from err
            except PcontError as err:
                err.what, err.line = f"{name}:{number}: {err.what}", number
                raise
        return found

    def _line(self, number: int, words: list[str]) -> Line:
        _check_words(words)
        line = self._plain(number, words) or self._by_click(number, words)
        check_verb(line.verb, self.atomic, line.changes)
        self._check(line)
        return line

    def _plain(self, number: int, words: list[str]) -> Line | None:
        """Return a line that needs no click; None for any other."""
        row = self.table.get(words[0])
        if row is None or not row.hot or "--" in words:
            return None
        if words[0] not in self._plain_commands:
            found = load_command(row.module, words[0])
            assert isinstance(found, DeclaredCommand)
            self._plain_commands[words[0]] = _PlainCommand(found)
        one = self._plain_commands[words[0]]
        if one.command.starts:
            return None
        try:
            values, verbose = one.values(words)
        except (plain.NotPlain, ValueError):
            return None
        return Line(number, words, words[0], one.command, values, verbose)

    def _by_click(self, number: int, words: list[str]) -> Line:
        """Return a line that click parses; also one with a mistake, for click's message."""
        check_verb(words[0], self.atomic, changes=False)
        import click

        from pcont.commands.hints import usage_problem
        from pcont.commands.words import arrange

        top, app = self.top, _LineParser(words)
        try:
            arranged = arrange(top, words)
            top.main(arranged, prog_name="pcont", standalone_mode=False, obj=app)
        except click.exceptions.NoArgsIsHelpError as err:
            raise UsageProblem("the command is missing", hint=f"pcont {words[0]} --help") from err
        except click.UsageError as err:
            raise usage_problem(err, top, words) from err
        if app.found is None:
            raise UsageProblem("this is no command that a batch can have", hint="pcont --help")
        command, values = app.found
        group = next((one for one in words if one in self.table), "")
        verb = command.name if group == command.name else f"{group} {command.name}"
        if values.get("dry_run") or app.json or app.timeout is not None:
            raise _of_all_lines("--dry-run, --json and --timeout")
        return Line(number, words, verb, command, values, app.verbose)

    @property
    def top(self) -> Top:
        """The group of all commands for click, without the options of `pcont` itself."""
        if self._top is None:
            from pcont.commands.clicks import top_group

            group = DeclaredGroup(_nothing)
            group.name = "pcont"
            self._top = top_group(group, self.table)
            self._top.context_settings["help_option_names"] = []
        return self._top

    def _check(self, line: Line) -> None:
        """Raise UsageProblem for words that are wrong in any state of the machine."""
        values = line.values
        for place in _places_of(values):
            _, colon, path = place.partition(":/")
            if colon:
                check_path("/" + path)
        settings = tuple(values.get("assignments", ()) or values.get("settings", ()))
        if line.verb != "bind" and settings and settings not in self._checked:
            meant = with_equals(settings) if line.verb == "set" else ""
            hint = f"pcont set {shlex.quote(values['place'])} {meant}" if meant else ""
            split_assignments(settings, hint)
            self._checked.add(settings)
        if line.verb == "mount" and not any(values.values()):
            raise UsageProblem("nothing to mount: -o, --name or MOUNTPOINT is missing")
        if self.dry_run and line.verb.startswith("sim "):
            raise UsageProblem(f"{line.verb} has no dry run")
        if line.verb == "unbind" and not values["yes"]:
            raise UsageProblem("unbind asks before it changes anything: pass --yes")
        if self.atomic and values.get(IRREVERSIBLE.get(line.verb, "")):
            raise UsageProblem(
                "rm --kill cannot be in an atomic batch: pcont cannot undo it",
                hint="leave out --atomic, or use --evict",
            )


def _places_of(values: Mapping[str, Any]) -> Iterator[str]:
    yield from values.get("places", ())
    for name in ("place", "source", "target"):
        if name in values:
            yield values[name]


def _nothing(app: App) -> None:
    """The group of the lines of a batch: it has no options."""


def _check_words(words: Sequence[str]) -> None:
    """Raise UsageProblem for options that a line cannot have."""
    end = words.index("--") if "--" in words else len(words)
    for word in words[:end]:
        if word.startswith("-"):
            name = word.partition("=")[0]
            if name in OF_ALL_LINES:
                raise _of_all_lines(name)
            if name in HELP:
                raise UsageProblem(f"a line of a batch cannot have {name}", hint="pcont --help")
            if word == "-":
                raise UsageProblem("a line of a batch cannot read standard input: write the ids")


def _of_all_lines(name: str) -> UsageProblem:
    return UsageProblem(
        f"{name} cannot be on a line of a batch: it holds for all lines",
        hint="give it to pcont batch itself",
    )
