"""What commands share: common options, arguments for task ids, the session, showing results."""

from __future__ import annotations

import math
import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from pcont import signals
from pcont.signals import Interrupted

if TYPE_CHECKING:
    from pcont.ops.task_ids import TaskIds

    _IntType = click.ParamType[int]
else:
    _IntType = click.ParamType


class App:
    """The common options of a command line, and how its result is shown.

    `words` are the arguments of the process. `acts` is true for a command that changes something:
    pcont reports success even if the result cannot be printed. `passes_status` is true for run and
    clone, which exit with the status of the command that they start.
    """

    def __init__(self, words: Sequence[str] = ()) -> None:
        self.words = words
        self.backend = "cgroupfs"
        self.chosen = False  # --backend was given
        self.state: str | None = None
        self.dialect: str | None = None
        self.json = False
        self.verbose = False
        self.timeout: float | None = None
        self.acts = False
        self.passes_status = False
        self.announced: Any = None
        self.progress: Any = None

    def session(self, dry_run: bool = False, force: bool = False, acts: bool = False) -> Any:
        """Open the backend. Pass `acts` for a command that changes something without --dry-run."""
        from pcont.kernel.open import open_backend
        from pcont.session import Session

        self.acts = self.acts or acts
        session = Session(
            open_backend(self.backend, self.state, self.dialect),
            dry_run=dry_run,
            force=force,
            chosen=self.chosen,
            timeout=self.timeout,
            command=shlex.join(self.words),
            warn=self._warn,
        )
        if sys.stderr.isatty() and not self.json:
            from pcont.output.progress import ProgressBar

            self.progress = session.progress = ProgressBar()
            signals.at_each_check(self.progress.beat)
            click.get_current_context().call_on_close(self._close_progress)
        return session

    def _warn(self, text: str) -> None:
        from pcont.output import messages

        self.wipe_progress()
        messages.warning(text, self.json)

    def wipe_progress(self) -> None:
        """Remove the progress line from the terminal before something else is printed."""
        if self.progress:
            self.progress.wipe()

    def _close_progress(self) -> None:
        if self.progress:
            self.progress.close()
            signals.at_each_check(None)

    def show(self, session: Any, result: Any, text: Callable[[], None] = lambda: None) -> None:
        """Print the result: as JSON, as the lines of a dry run, or by calling `text`."""
        self._close_progress()
        if self.json:
            from pcont.output import json_lines

            key, value = ("would", session.planned) if session.dry_run else ("result", result)
            json_lines.answer(session.backend.name, key, value)
        elif session.dry_run:
            for line in session.planned:
                print(line)
        else:
            text()

    def show_table(self, session: Any, rows: Any, kind: type) -> None:
        """Print records of one kind: as JSON, or in columns."""

        def table() -> None:
            from pcont.output import columns

            columns.table(rows, kind)

        self.show(session, rows, table)

    def show_move(self, session: Any, outcome: Any) -> None:
        """Print the result of a move; with --verbose, also a summary on standard error."""
        self._close_progress()
        if self.verbose and not (session.dry_run or self.json):
            from pcont.output import messages

            messages.line(messages.move_summary(outcome))
        self.show(session, outcome)

    def started(self, session: Any, started: Any, line: str = "") -> None:
        """Report on standard error that a command starts: as JSON, or as `line` if it is given."""
        from pcont.output import json_lines, messages

        self._close_progress()  # the command uses the terminal from now on
        self.announced = started
        if self.json:
            json_lines.event(session.backend.name, "started", started)
        elif line:
            messages.line(line)

    def ended(self, session: Any, status: int) -> None:
        """Report on standard error the exit status of the command that was started (JSON only)."""
        from pcont import records
        from pcont.output import json_lines

        if self.json:
            place, pid = self.announced.place, self.announced.pid
            json_lines.event(session.backend.name, "ended", records.Ended(place, pid, status))

    def ask(self, question: str) -> bool:
        """Ask on standard error, and read the answer from standard input.

        Standard input may be a pipe or a file. Raises UsageError if it is closed or at its end.
        """
        from pcont.output import messages

        messages.question(question, self.json)
        answer = _line_of_input()
        if not self.json and not (sys.stdin and sys.stdin.isatty()):
            messages.line()
        if not answer:
            raise click.UsageError("no answer on standard input: pass --yes")
        return answer.strip().lower() in ("y", "yes")


def _line_of_input() -> str:
    """Return the next line of standard input; empty at its end, or if it is closed."""
    try:
        return sys.stdin.readline() if sys.stdin else ""
    except (OSError, ValueError):
        return ""


def _switch_json(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        context.ensure_object(App).json = True


def _set_verbose(context: click.Context, _: click.Parameter, value: bool) -> None:
    context.ensure_object(App).verbose = value


def _set_timeout(context: click.Context, _: click.Parameter, value: float | None) -> None:
    context.ensure_object(App).timeout = value


class Seconds(click.FloatRange):
    """A number of seconds. `above_zero`: 0 is refused, too.

    Python reads nan and inf as numbers, and nan is neither below nor above a limit: refuse both.
    """

    def __init__(self, *, above_zero: bool = False) -> None:
        super().__init__(min=0, min_open=above_zero)

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        found = float(super().convert(value, param, ctx))
        if not math.isfinite(found):
            self.fail(f"{value} is not a finite number of seconds.", param, ctx)
        return found


json_option = click.option(
    "--json",
    is_flag=True,
    expose_value=False,
    callback=_switch_json,
    help="Print JSON, also for errors and notes.",
)
verbose_option = click.option(
    "-v",
    "--verbose",
    is_flag=True,
    expose_value=False,
    callback=_set_verbose,
    help="Report how many tasks were moved, and how.",
)
_dry_run_option = click.option(
    "--dry-run",
    "-n",
    is_flag=True,
    help="Print what the command would do, and change nothing; fail if it would fail.",
)
_timeout_option = click.option(
    "--timeout",
    type=Seconds(),
    metavar="SECONDS",
    expose_value=False,
    callback=_set_timeout,
    help="Wait at most this long for another pcont command, then fail (exit 5).",
)
force_option = click.option(
    "--force", is_flag=True, help="Act on PID 1 and the leader of your login session, too."
)


movable_option = click.option(
    "--movable",
    is_flag=True,
    help="Skip kernel threads that cannot be moved, and report how many.",
)


def changing(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add --dry-run and --timeout to a command that changes something."""

    @wraps(function)
    def acting(*arguments: Any, **options: Any) -> Any:
        click.get_current_context().ensure_object(App).acts = not options["dry_run"]
        return function(*arguments, **options)

    return _dry_run_option(_timeout_option(acting))


pass_app = click.make_pass_decorator(App, ensure=True)


class Number(_IntType):
    """A number of the kernel's: the id of a task, or that of an open file."""

    def __init__(self, name: str, label: str) -> None:
        self.name = name
        self.label = label

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        from pcont.ops import task_ids

        try:
            return task_ids.number(str(value), self.label)
        except ValueError as err:
            self.fail(str(err), param, ctx)


PID = Number("pid", "the id of a task")
FILE = Number("file", "the number of a file")


def _task_ids(context: click.Context, param: click.Parameter, words: Sequence[str]) -> TaskIds:
    """Parse PID...; for the word `-`, read standard input."""
    from pcont.ops import task_ids

    try:
        return task_ids.read_ids(words, _standard_input)
    except (ValueError, OSError) as err:
        raise click.BadParameter(str(err), context, param) from err


def _standard_input() -> str:
    """Return all of standard input. Bytes that are not text are replaced: they are no ids."""
    if sys.stdin is None:
        raise ValueError("- means ids on standard input, which is closed")
    binary = getattr(sys.stdin, "buffer", None)
    return binary.read().decode(errors="replace") if binary else sys.stdin.read()


pids_argument = click.argument(
    "pids", metavar="PID...", nargs=-1, required=True, callback=_task_ids
)


class UnknownCommand(click.UsageError):
    """The command line names a command that the group does not have."""

    def __init__(self, name: str, ctx: click.Context) -> None:
        super().__init__(f"no such command {name!r}", ctx)
        self.name = name


def verb(
    *example: str, cls: type[click.Command] = click.Command
) -> Callable[[Callable[..., Any]], click.Command]:
    """Make a command of a function, with --json, and with examples at the end of its help.

    The name of the function without `_command` is the name of the command: `bind_command` defines
    `pcont bind`, which calls the operation `bind`.
    """
    epilog = "\b\nExample:\n" + "\n".join(f"  {line}" for line in example)

    def make(function: Callable[..., Any]) -> click.Command:
        word = function.__name__.removesuffix("_command").replace("_", "-")
        return click.command(word, cls=cls, epilog=epilog)(json_option(function))

    return make


class Group(click.Group):
    """A group that lists its commands in the order of their definition."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command of the first word; raises UnknownCommand if there is none."""
        if not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            raise UnknownCommand(args[0], ctx)
        return super().resolve_command(ctx, args)

    def verb(self, *example: str) -> Callable[[Callable[..., Any]], click.Command]:
        """Make a command as `verb` does, and add it to this group."""

        def add(function: Callable[..., Any]) -> click.Command:
            command = verb(*example)(function)
            self.add_command(command)
            return command

        return add

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command. With --json, click must not see a ^C: it would print an empty line."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            if ctx.ensure_object(App).json:
                raise Interrupted(signal.SIGINT) from None
            raise


class Starting(click.Command):
    """A command that starts another one: all words after `--` belong to that one."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        own, words = args, []
        if "--" in args:
            end = args.index("--")
            own, words = args[:end], args[end + 1 :]
        ctx.ensure_object(App).passes_status = bool(words) or self.name == "run"
        ctx.meta["command"] = tuple(words)
        return super().parse_args(ctx, own)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        command = "-- COMMAND..." if self.name == "run" else "[-- COMMAND...]"
        return [*super().collect_usage_pieces(ctx), command]
