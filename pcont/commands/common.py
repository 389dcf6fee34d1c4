"""What commands share: common options, arguments for task ids, the session, showing results."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pcont import signals
from pcont.commands.declare import DeclaredCommand, Function, argument, option
from pcont.commands.kinds import Seconds
from pcont.errors import FAILURES, PcontError, from_failure

if TYPE_CHECKING:
    from pcont.commands.table import Row
    from pcont.ops.task_ids import TaskIds


OF_THE_MODEL = ("state", "dialect")  # options that need --backend model


class App:
    """The common options of a command line, and how its result is shown.

    `words` are the arguments of the process. `acts` is true for a command that changes something:
    pcont reports success even if the result cannot be printed. `passes_status` is true for run and
    clone, which exit with the status of the command that they start; `command` has its words.
    `table` has the commands, for a command that reads the command lines of others.
    """

    def __init__(self, words: Sequence[str] = (), table: Mapping[str, Row] | None = None) -> None:
        self.words = words
        self.table: Mapping[str, Row] = {} if table is None else table
        self.backend = "cgroupfs"
        self.chosen = False  # --backend cgroupfs was given
        self.state: str | None = None
        self.dialect: str | None = None
        self.json = False
        self.verbose = False
        self.timeout: float | None = None
        self.acts = False
        self.passes_status = False
        self.command: tuple[str, ...] = ()
        self.announced: Any = None
        self.progress: Any = None

    def carry_out(self, command: DeclaredCommand, values: dict[str, Any]) -> Any:
        """Run a command with these values of its parameters; returns the exit status."""
        return command.run(self, values)

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
            warn=self.warn,
        )
        if sys.stderr.isatty() and not self.json:
            from pcont.output.progress import ProgressBar

            self.progress = session.progress = ProgressBar()
            signals.at_each_check(self.progress.beat)
        return session

    def warn(self, text: str) -> None:
        """Print a note on standard error."""
        from pcont.output import messages

        self.wipe_progress()
        messages.warning(text, self.json)

    def wipe_progress(self) -> None:
        """Remove the progress line from the terminal before something else is printed."""
        if self.progress:
            self.progress.wipe()

    def close_progress(self) -> None:
        """Remove the progress line, at the end of the command or before it prints its result."""
        if self.progress:
            self.progress.close()
            signals.at_each_check(None)

    def show(self, session: Any, result: Any, text: Callable[[], None] = lambda: None) -> None:
        """Print the result: as JSON, as the lines of a dry run, or by calling `text`."""
        self.close_progress()
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
        self.close_progress()
        if self.verbose and not (session.dry_run or self.json):
            from pcont.output import messages

            messages.line(messages.move_summary(outcome))
        self.show(session, outcome)

    def started(self, session: Any, started: Any, line: str = "") -> None:
        """Report on standard error that a command starts: as JSON, or as `line` if it is given."""
        self.close_progress()  # the command uses the terminal from now on
        self.announced = started
        if self.json:
            from pcont.output import json_lines

            json_lines.event(session.backend.name, "started", started)
        elif line:
            from pcont.output import messages

            messages.line(line)

    def ended(self, session: Any, status: int) -> None:
        """Report on standard error the exit status of the command that was started (JSON only)."""
        if self.json:
            from pcont import records
            from pcont.output import json_lines

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
            import click

            raise click.UsageError("no answer on standard input: pass --yes")
        return answer.strip().lower() in ("y", "yes")


def _line_of_input() -> str:
    """Return the next line of standard input; empty at its end, or if it is closed."""
    try:
        return sys.stdin.readline() if sys.stdin else ""
    except (OSError, ValueError):
        return ""


json_option = option(
    "--json",
    is_flag=True,
    sets="json",
    help="Print JSON, also for errors and notes.",
)
verbose_option = option(
    "-v",
    "--verbose",
    is_flag=True,
    sets="verbose",
    help="Report how many tasks were moved, and how.",
)
_dry_run_option = option(
    "--dry-run",
    "-n",
    is_flag=True,
    help="Print what the command would do, and change nothing; fail if it would fail.",
)
_timeout_option = option(
    "--timeout",
    kind=Seconds(),
    metavar="SECONDS",
    sets="timeout",
    help="Wait at most this long for another pcont command, then fail (exit 5).",
)
force_option = option(
    "--force",
    is_flag=True,
    help="Act on PID 1, the leader of your login session and units of systemd, too.",
)


movable_option = option(
    "--movable",
    is_flag=True,
    help="Skip kernel threads that cannot be moved, and report how many.",
)


def problem_of(err: Exception, action: str) -> PcontError:
    """Return what an operation has raised as a PcontError. `action`: what was attempted."""
    if isinstance(err, PcontError):
        return err
    assert isinstance(err, FAILURES)
    return from_failure(err, action, encoding="use a UTF-8 locale: LC_ALL=C.UTF-8 pcont ...")


def changing(function: Function) -> Function:
    """Add --dry-run and --timeout to a command that changes something."""
    vars(function)["changes"] = True
    return _dry_run_option(_timeout_option(function))


def _task_ids(words: Sequence[str]) -> TaskIds:
    """Parse PID...; for the word `-`, read standard input."""
    from pcont.ops import task_ids

    return task_ids.read_ids(words, _standard_input)


def _standard_input() -> str:
    """Return all of standard input. Bytes that are not text are replaced: they are no ids."""
    if sys.stdin is None:
        raise ValueError("- means ids on standard input, which is closed")
    binary = getattr(sys.stdin, "buffer", None)
    return binary.read().decode(errors="replace") if binary else sys.stdin.read()


pids_argument = argument("pids", metavar="PID...", nargs=-1, required=True, read=_task_ids)


def verb(*example: str, starts: bool = False) -> Callable[[Function], DeclaredCommand]:
    """Make a command of a function, with --json, and with examples at the end of its help.

    The name of the function without `_command` is the name of the command: `bind_command` defines
    `pcont bind`, which calls the operation `bind`. `starts`: the words after `--` are another
    command.
    """

    def make(function: Function) -> DeclaredCommand:
        word = function.__name__.removesuffix("_command").replace("_", "-")
        return DeclaredCommand(word, json_option(function), example, starts=starts)

    return make
