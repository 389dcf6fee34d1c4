"""The command line: the table of commands, and the one place where errors are shown.

Importing this module imports no command, and not click: `pcont.commands.plain` reads the command
lines that need no click, `pcont.commands.clicks` all others.
"""

from __future__ import annotations

import errno
import signal
import sys
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from pcont.commands import plain
from pcont.commands.common import App, json_option, problem_of
from pcont.commands.declare import DeclaredCommand, group, option
from pcont.commands.kinds import Choice
from pcont.commands.table import Row
from pcont.errors import FAILURES, PcontError, UsageProblem, from_oserror
from pcont.output.streams import Output
from pcont.signals import Interrupted

if TYPE_CHECKING:
    import click

    from pcont.commands.clicks import Top

OWN_FAILURE = 125  # exit status of a failed run or clone; others are those of its command
DEEPEST = 20_000  # frames: a path of 4,096 bytes can nest that many containers

HIERARCHIES, CONTAINERS, TASKS = "Hierarchies", "Containers", "Tasks"
USAGE, UPKEEP, SIMULATION = "Usage", "Upkeep", "Simulation"

# A summary is the first line of the command's own help.
COMMANDS = {
    "mount": Row("mounts", "Mount a hierarchy, or mount it at one more directory.", HIERARCHIES),
    "umount": Row(
        "mounts", "Unmount a hierarchy; it stays active if it has containers.", HIERARCHIES
    ),
    "bind": Row("mounts", "Bind subsystems to a hierarchy in use.", HIERARCHIES),
    "unbind": Row("mounts", "Unbind subsystems from a hierarchy in use.", HIERARCHIES),
    "hierarchies": Row("show", "Show every hierarchy, mounted or not.", HIERARCHIES, hot=True),
    "subsys": Row("show", "Show the subsystems, and where each one is bound.", HIERARCHIES),
    "create": Row(
        "containers", "Create containers: all of them, in all trees, or none.", CONTAINERS, hot=True
    ),
    "rm": Row(
        "containers", "Remove containers: all of them, in all trees, or none.", CONTAINERS, hot=True
    ),
    "chown": Row("containers", "Give containers to another user.", CONTAINERS),
    "tree": Row("show", "Show containers, their tasks and settings.", CONTAINERS, hot=True),
    "get": Row("settings", "Read control files.", CONTAINERS, hot=True),
    "set": Row("settings", "Write control files: all of the values or none.", CONTAINERS, hot=True),
    "attach": Row(
        "tasks", "Move processes, with all their threads, into a container.", TASKS, hot=True
    ),
    "move": Row("tasks", "Move all tasks of a container to another one.", TASKS, hot=True),
    "run": Row("launch", "Run a command in a container.", TASKS, hot=True),
    "clone": Row("launch", "Create a container node_PID for a process, and namespaces.", TASKS),
    "ps": Row("show", "Show the tasks in a container.", TASKS, hot=True),
    "where": Row("show", "Show the container of a task in every hierarchy.", TASKS, hot=True),
    "pins": Row("launch", "Show pinned namespaces: yours, and those of root.", TASKS),
    "unpin": Row("launch", "Unpin namespaces.", TASKS),
    "stat": Row("show", "Show the CPU time that a container uses, on every CPU.", USAGE),
    "beancounters": Row("show", "Show the open files that are charged to containers.", USAGE),
    "doctor": Row("upkeep", "Report what this host can do, and what to change.", UPKEEP),
    "gc": Row("upkeep", "Remove what auto_delete missed, and forged attributes.", UPKEEP),
    "recover": Row("upkeep", "Roll back or complete commands that were killed part-way.", UPKEEP),
    "batch": Row("batch", "Carry out many commands, one on each line of a file.", UPKEEP, hot=True),
    "sim": Row("sim", "Simulate tasks and machines on the model.", SIMULATION),
}


@group
@option(
    "--backend",
    kind=Choice("cgroupfs", "model"),
    envvar="PCONT_BACKEND",
    show_envvar=True,
    help="Work on the kernel (cgroupfs, the default), or on a model of it.",
)
@option(
    "--state",
    metavar="FILE",
    envvar="PCONT_STATE",
    show_envvar=True,
    help="File that holds the state of the model between commands.",
)
@option(
    "--dialect",
    kind=Choice("v1", "v2", "hybrid", "v6", "v6-ns"),
    envvar="PCONT_DIALECT",
    show_envvar=True,
    help="What a new model simulates: cgroup v1 (default), v2, hybrid (both), or the patches of "
    "2006.",
)
@json_option
def pcont(app: App, backend: str | None, state: str | None, dialect: str | None) -> None:
    """Generic process containers: groups of tasks in cgroup hierarchies.

    \b
    A PLACE is SELECTOR:/path, SELECTOR (its root), or a directory below
    a mount. A SELECTOR is the name of a hierarchy that pcont mounted, a
    subsystem, name=x for a named hierarchy, or several of these,
    separated by commas, which means the path in each of them.

    \b
    Exit status: 0 done, 2 usage, 3 not found, 4 denied, 5 busy or exists,
    6 unsupported here, 7 bad value, 8 a limit reached, 1 anything else.
    `run` and `clone` exit with the status of the command that they run,
    or with 125 if pcont itself fails.

    \b
    Environment:
      PCONT_BACKEND, PCONT_STATE, PCONT_DIALECT  defaults of the options below
      XDG_STATE_HOME   directory of the model's state, pcont/model.json
      XDG_RUNTIME_DIR  directory of lock and journals of users other than root
      NO_COLOR         no colours, even on a terminal

    Options may be given before or after the command's name.

    \b
    Example:
      pcont mount --tie --name jobs -o cpuset,cpuacct
      pcont create jobs:/batch -s cpuset.cpus=0-1 -s cpuset.mems=0
      pcont attach jobs:/batch 4711
    """
    app.chosen = backend == "cgroupfs"
    app.backend = backend or app.backend
    app.state, app.dialect = state, dialect


@cache
def cli() -> Top:
    """Return the group of all commands for click."""
    from pcont.commands import clicks

    return clicks.top_group(pcont, COMMANDS)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line, show its errors, and return the exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    sys.setrecursionlimit(max(sys.getrecursionlimit(), DEEPEST))
    app, output = App(words, COMMANDS), Output()
    with output.guarded():
        status = _run(app)
        output.flush()
        if output.failure:
            status = _unwritten(output.failure, status, app)
    return status


def _run(app: App) -> int:
    try:
        found = plain.parse(app, pcont, COMMANDS)
        if found is None:
            return _run_with_click(app)
        command, values, of_top = found
        pcont.run(app, of_top)  # sets backend, state and dialect of `app`
        return _status(_run_plain(command, app, values))
    except (PcontError, *FAILURES) as err:
        return _refuse(_problem(err, app.words), app)
    except KeyboardInterrupt:
        return _interrupted(Interrupted(signal.SIGINT), app)
    except Interrupted as err:
        return _interrupted(err, app)


def _run_plain(command: DeclaredCommand, app: App, values: dict[str, Any]) -> object:
    try:
        return command.run(app, values)
    except KeyboardInterrupt:
        if not app.json:
            print(file=sys.stderr)  # click does this, too: the terminal has printed ^C on this line
        raise


def _run_with_click(app: App) -> int:
    import click

    from pcont.commands.hints import usage_problem
    from pcont.commands.words import arrange

    try:
        arranged = arrange(cli(), app.words)
        return _status(cli().main(arranged, prog_name="pcont", standalone_mode=False, obj=app))
    except click.exceptions.NoArgsIsHelpError as err:
        return _without_command(err.ctx, app)
    except click.UsageError as err:
        return _refuse(usage_problem(err, cli(), app.words), app)
    except click.Abort:
        raise KeyboardInterrupt from None


def _status(returned: object) -> int:
    return returned if isinstance(returned, int) else 0


def _without_command(context: click.Context | None, app: App) -> int:
    """Print the help of a group on standard error; with --json, an error."""
    if _wants_json(app):
        name = context.command_path if context else "pcont"
        return _refuse(UsageProblem("the command is missing", hint=f"{name} --help"), app)
    print(context.get_help() if context else "", file=sys.stderr)
    return UsageProblem.exit_code


def _unwritten(failure: OSError, status: int, app: App) -> int:
    """Return the exit status after standard output could not be written.

    A command that changed something keeps its status. A command that only shows something fails;
    if the reader has closed the pipe, pcont exits as if SIGPIPE had killed it.
    """
    from pcont.output import messages

    if not (status or app.acts):
        if failure.errno == errno.EPIPE:
            return 128 + signal.SIGPIPE
        return _refuse(from_oserror(failure, "write to standard output"), app)
    done = (
        "the command was carried out" if app.acts and not status else "the exit status is unchanged"
    )
    reason = from_oserror(failure, "write to standard output").what
    messages.warning(f"{reason}; {done}", _wants_json(app))
    return status


def _problem(err: Exception, words: Sequence[str]) -> PcontError:
    """Translate an exception into a PcontError."""
    return problem_of(err, next((word for word in words if word in COMMANDS), "run"))


def _refuse(err: PcontError, app: App) -> int:
    """Print an error, and return the exit status."""
    from pcont.commands.hints import ready
    from pcont.output import messages

    err.hint = ready(err.hint, cli(), app.words)
    messages.error(err, as_json=_wants_json(app))
    own_failure = app.passes_status and err.exit_code < OWN_FAILURE
    return OWN_FAILURE if own_failure else err.exit_code


def _wants_json(app: App) -> bool:
    """Return whether --json was given, even if click failed before it parsed that word."""
    from pcont.commands.words import split_words

    own, _ = split_words(app.words)
    return app.json or "--json" in own


def _interrupted(err: Interrupted, app: App) -> int:
    """Print that a signal ended the command, and return the exit status."""
    from pcont.output import messages

    problem = PcontError(str(err))
    problem.code, problem.undone, problem.left = "interrupted", err.undone, err.left
    messages.error(problem, as_json=_wants_json(app))
    return 128 + err.number
