"""What commands share: --json, --dry-run, --timeout and such, help with examples, pids, COMMAND."""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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


@dataclass
class App:
    """What the options that every command shares have said.

    `acts`: the command changes something, which stays so whether its result can be shown or not.
    """

    backend: str = "cgroupfs"
    state: str | None = None
    dialect: str | None = None
    chosen: bool = False
    json: bool = False
    verbose: bool = False
    timeout: float | None = None
    passes_status: bool = False
    acts: bool = False
    announced: Any = None
    progress: Any = None
    words: Sequence[str] = ()

    def session(self, dry_run: bool = False, force: bool = False, acts: bool = False) -> Any:
        """The session of this call; `acts` as above, where no option --dry-run says so."""
        from pcont.session import Session
        from pcont.virtual.wrapped import open_backend

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
        """Make room on the terminal for something else."""
        if self.progress:
            self.progress.wipe()

    def _close_progress(self) -> None:
        if self.progress:
            self.progress.close()
            signals.at_each_check(None)

    def show(self, session: Any, result: Any, text: Callable[[], None] = lambda: None) -> None:
        """The result of a command: as JSON, as planned lines of a dry run, or as `text` does it."""
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

    def show_move(self, session: Any, outcome: Any) -> None:
        """How a move went, where it is asked for."""
        self._close_progress()
        if self.verbose and not (session.dry_run or self.json):
            from pcont.output import messages

            messages.line(messages.move_summary(outcome))
        self.show(session, outcome)

    def started(self, session: Any, started: Any, line: str = "") -> None:
        """Say on standard error that a command starts: as JSON, or as a line if there is one."""
        from pcont.output import json_lines, messages

        self._close_progress()  # the command uses the terminal from now on
        self.announced = started
        if self.json:
            json_lines.event(session.backend.name, "started", started)
        elif line:
            messages.line(line)

    def ended(self, session: Any, status: int) -> None:
        """Say on standard error how the command that was started has ended, as JSON only."""
        from pcont import records
        from pcont.output import json_lines

        if self.json:
            place, pid = self.announced.place, self.announced.pid
            json_lines.event(session.backend.name, "ended", records.Ended(place, pid, status))

    def ask(self, question: str) -> bool:
        """Ask on standard error; the answer is a line of standard input, of a pipe or a file, too.

        UsageError where standard input has none.
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
    """The next line of standard input; empty at its end, or where it is closed."""
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
    help="Print what the command would do, and change nothing; fail where it would fail.",
)
_timeout_option = click.option(
    "--timeout",
    type=click.FloatRange(min=0),
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
    """The options of a command that changes something."""

    @wraps(function)
    def acting(*arguments: Any, **options: Any) -> Any:
        click.get_current_context().ensure_object(App).acts = not options["dry_run"]
        return function(*arguments, **options)

    return _dry_run_option(_timeout_option(acting))


pass_app = click.make_pass_decorator(App, ensure=True)


class Pid(_IntType):
    """The id of a process or a task."""

    name = "pid"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        text = str(value)
        if not (text.isascii() and text.isdecimal() and 0 < int(text) < 1 << 31):
            self.fail(f"{text!r} is not a pid", param, ctx)
        return int(text)


PID = Pid()


def _task_ids(context: click.Context, param: click.Parameter, words: Sequence[str]) -> TaskIds:
    """Read the words of PID..., and standard input where `-` is among them."""
    from pcont.ops import task_ids

    try:
        return task_ids.read_ids(words, _standard_input)
    except (ValueError, OSError) as err:
        raise click.BadParameter(str(err), context, param) from err


def _standard_input() -> str:
    """Return the whole of standard input; what is not text cannot be an id."""
    if sys.stdin is None:
        raise ValueError("- means ids on standard input, which is closed")
    binary = getattr(sys.stdin, "buffer", None)
    return binary.read().decode(errors="replace") if binary else sys.stdin.read()


pids_argument = click.argument(
    "pids", metavar="PID...", nargs=-1, required=True, callback=_task_ids
)


class UnknownCommand(click.UsageError):
    """There is no command of that name in a group."""

    def __init__(self, name: str, ctx: click.Context) -> None:
        super().__init__(f"no such command {name!r}", ctx)
        self.name = name


class Group(click.Group):
    """The commands in the order of the book, each with its example at the end of its help."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command of the first word; UnknownCommand for a word that is no option either."""
        if not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            raise UnknownCommand(args[0], ctx)
        return super().resolve_command(ctx, args)

    def verb(
        self, *example: str, name: str = "", cls: type[click.Command] = click.Command
    ) -> Callable[[Callable[..., Any]], click.Command]:
        """Add a command, with --json and an example."""
        epilog = "\b\nExample:\n" + "\n".join(f"  {line}" for line in example)

        def add(function: Callable[..., Any]) -> click.Command:
            word = name or function.__name__
            return self.command(word, cls=cls, epilog=epilog)(json_option(function))

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
    """A command that starts another one: what is behind `--` is that one's, every word of it."""

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
