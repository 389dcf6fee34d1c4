"""The command line: reads arguments, makes one call, shows what came of it. Imports only click."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import click

from pcont import __version__
from pcont.errors import PcontError, UsageProblem, from_oserror
from pcont.signals import Interrupted

OWN_FAILURE = 125  # of run and clone, whose other statuses are the command's own
DEEPEST = 20_000  # frames: as deep as a path of 4,096 bytes can nest containers


@dataclass
class App:
    """What the options that every command shares have said."""

    backend: str = "cgroupfs"
    state: str | None = None
    chosen: bool = False
    json: bool = False
    passes_status: bool = False

    def session(self, dry_run: bool = False, force: bool = False) -> Any:
        """The session of this call."""
        from pcont import render
        from pcont.backend import open_backend
        from pcont.session import Session

        session = Session(
            open_backend(self.backend, self.state),
            dry_run=dry_run,
            force=force,
            chosen=self.chosen,
            warn=lambda text: render.warning(text, self.json),
        )
        if sys.stderr.isatty() and not self.json:
            progress = render.Progress()
            session.progress = progress
            click.get_current_context().call_on_close(progress.close)
        return session

    def show(self, session: Any, result: Any, text: Callable[[], None] = lambda: None) -> None:
        """The result of a command: as JSON, as planned lines of a dry run, or as `text` does it."""
        from pcont import render

        if session.dry_run:
            if self.json:
                render.as_json(session.backend.name, "would", session.planned)
            else:
                click.echo("\n".join(session.planned)) if session.planned else None
        elif self.json:
            render.as_json(session.backend.name, "result", result)
        else:
            text()


def _switch_json(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        context.ensure_object(App).json = True


json_option = click.option(
    "--json",
    is_flag=True,
    expose_value=False,
    callback=_switch_json,
    help="Print one JSON object; errors, too.",
)
dry_run_option = click.option(
    "--dry-run", "-n", is_flag=True, help="Print what would be written, change nothing."
)
force_option = click.option(
    "--force", is_flag=True, help="Touch pid 1 and the own login session, too."
)
pass_app = click.make_pass_decorator(App, ensure=True)


class Group(click.Group):
    """The commands in the order of the book, each with its example at the end of its help."""

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


@click.group("pcont", cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="%(prog)s %(version)s")
@click.option(
    "--backend",
    type=click.Choice(["cgroupfs", "model"]),
    envvar="PCONT_BACKEND",
    help="The kernel (cgroupfs, the default), or a model of it to rehearse on.",
)
@click.option(
    "--state",
    metavar="FILE",
    envvar="PCONT_STATE",
    help="Where the model keeps itself between commands.",
)
@json_option
@pass_app
def cli(app: App, backend: str | None, state: str | None) -> None:
    """Generic process containers: groups of tasks in cgroup hierarchies.

    \b
    A PLACE is SELECTOR:/path, or an absolute directory below a mount.
    A SELECTOR is a name of pcont's, a subsystem, name=x for a named
    hierarchy, or a comma list of these: that path in each of them.

    \b
    Exit status: 0 done, 2 usage, 3 not found, 4 denied, 5 busy or exists,
    6 unsupported here, 7 bad value, 8 a limit reached, 1 anything else.
    `run` and `clone` pass on the command's; their own failures are 125.

    \b
    Example:
      pcont mount --tie --name jobs -o cpuset,cpuacct
      pcont create jobs:/batch -s cpuset.cpus=0-1 -s cpuset.mems=0
      pcont attach jobs:/batch 4711
    """
    app.chosen = backend is not None
    app.backend = backend or app.backend
    app.state = state


@cli.verb("pcont subsys")
@pass_app
def subsys(app: App) -> None:
    """Show what the kernel has, and where it is bound."""
    from pcont import records, render
    from pcont.ops import listing

    session = app.session()
    rows = listing.subsystems(session)
    app.show(session, rows, lambda: render.table(rows, records.SubsystemRow))


@cli.verb(
    "pcont mount -o cpuset,cpuacct /dev/containers",
    "pcont mount --tie --name jobs -o cpuset,cpuacct --at /jobs",
)
@click.option("-o", "options", default="all", metavar="SUBSYS,...|all|none", help="What to bind.")
@click.option("--name", default="", help="The hierarchy's own name.")
@click.option("--release-agent", default="", metavar="FILE", help="Run when containers empty.")
@click.option("--tie", is_flag=True, help="Tie kernel hierarchies that are bound already.")
@click.option("--at", default="", metavar="PATH", help="With --tie: the root is this container.")
@click.option("--no-freezer", is_flag=True, help="With --tie: leave the freezer out.")
@click.argument("mountpoint", default="")
@dry_run_option
@pass_app
def mount(
    app: App,
    options: str,
    name: str,
    release_agent: str,
    tie: bool,
    at: str,
    no_freezer: bool,
    mountpoint: str,
    dry_run: bool,
) -> None:
    """Mount a hierarchy, or one more view of it; prints its name and where."""
    from pcont.ops import mounting

    session = app.session(dry_run)
    done = mounting.mount(
        session,
        options,
        mountpoint,
        name=name,
        release_agent=release_agent,
        tie=tie,
        at=at,
        freezer=not no_freezer,
    )
    app.show(session, done, lambda: click.echo(f"{done.hierarchy} {done.mountpoint}"))


@cli.verb("pcont umount jobs")
@click.argument("hierarchy", metavar="HIERARCHY|MOUNTPOINT")
@click.option("--foreign", is_flag=True, help="Also what pcont has not mounted.")
@dry_run_option
@pass_app
def umount(app: App, hierarchy: str, foreign: bool, dry_run: bool) -> None:
    """Unmount a hierarchy; with containers in it, it stays active."""
    from pcont.ops import unmounting

    session = app.session(dry_run)
    unmounting.umount(session, hierarchy, foreign=foreign)
    app.show(session, hierarchy)


@cli.verb("pcont hierarchies")
@pass_app
def hierarchies(app: App) -> None:
    """Show every hierarchy: name, subsystems, trees, containers, mount."""
    from pcont import records, render
    from pcont.ops import listing

    session = app.session()
    rows = listing.hierarchies(session)
    app.show(session, rows, lambda: render.table(rows, records.HierarchyRow))


@cli.verb("pcont create -p -i jobs:/batch/night -s cpuset.cpus=2-3")
@click.argument("places", metavar="PLACE...", nargs=-1, required=True)
@click.option("-p", "parents", is_flag=True, help="Parents too; no error for what exists.")
@click.option("-i", "inherit", is_flag=True, help="With the parent's settings.")
@click.option("-s", "settings", metavar="KEY=VALUE", multiple=True, help="Set this then.")
@dry_run_option
@pass_app
def create(
    app: App,
    places: Sequence[str],
    parents: bool,
    inherit: bool,
    settings: Sequence[str],
    dry_run: bool,
) -> None:
    """Make containers: all of them, in all trees, or none."""
    from pcont.ops import containers

    session = app.session(dry_run)
    made = containers.create(session, places, parents=parents, inherit=inherit, settings=settings)
    app.show(session, made)


@cli.verb("pcont rm -r jobs:/batch --evict")
@click.argument("places", metavar="PLACE...", nargs=-1, required=True)
@click.option("-r", "recursive", is_flag=True, help="With all containers below.")
@click.option("--kill", is_flag=True, help="Kill the tasks inside first.")
@click.option("--evict", is_flag=True, help="Move the tasks to the parent first.")
@force_option
@dry_run_option
@pass_app
def rm(
    app: App,
    places: Sequence[str],
    recursive: bool,
    kill: bool,
    evict: bool,
    force: bool,
    dry_run: bool,
) -> None:
    """Remove containers: all of them, in all trees, or none."""
    from pcont.ops import containers

    session = app.session(dry_run, force)
    gone = containers.remove(session, places, recursive=recursive, kill=kill, evict=evict)
    app.show(session, gone)


@cli.verb("pcont attach jobs:/batch 4711 4712")
@click.argument("place")
@click.argument("pids", metavar="PID...", nargs=-1, required=True, type=click.IntRange(min=1))
@click.option("--thread", is_flag=True, help="Just these tasks, not their whole processes.")
@force_option
@dry_run_option
@pass_app
def attach(
    app: App, place: str, pids: Sequence[int], thread: bool, force: bool, dry_run: bool
) -> None:
    """Move processes, with all their threads, into a container."""
    from pcont.ops import moving

    session = app.session(dry_run, force)
    moving.attach(session, place, pids, thread=thread)
    app.show(session, list(pids))


@cli.verb("pcont clone jobs -- make -j8", "pcont clone jobs --pid 4711", cls=Starting)
@click.argument("hierarchy")
@click.option("--pid", type=click.IntRange(min=1), help="This process enters the clone.")
@click.option("--keep", is_flag=True, help="Leave the container after COMMAND.")
@force_option
@dry_run_option
@pass_app
def clone(
    app: App,
    hierarchy: str,
    pid: int | None,
    keep: bool,
    force: bool,
    dry_run: bool,
) -> int:
    """Make a container node_PID like the one that a process is in, for it.

    With COMMAND, a new process enters and becomes it, and the container goes when it has ended.
    The new place is printed: on standard error where COMMAND has the output.
    """
    from pcont.ops import running

    session = app.session(dry_run, force)
    name, status = running.clone(
        session,
        hierarchy,
        click.get_current_context().meta["command"],
        pid=pid,
        keep=keep,
        announce=lambda name: click.echo(name, err=True),
    )
    if pid is not None or dry_run:
        app.show(session, name, lambda: click.echo(name))
    return status


@cli.verb("pcont run jobs:/batch --create -- make -j8", cls=Starting)
@click.argument("place")
@click.option("--create", is_flag=True, help="Make the container, like its parent.")
@click.option("--auto-delete", is_flag=True, help="Remove it when COMMAND has ended.")
@dry_run_option
@pass_app
def run(app: App, place: str, create: bool, auto_delete: bool, dry_run: bool) -> int:
    """Run a command inside a container, and pass on its exit status."""
    from pcont.ops import running

    command = click.get_current_context().meta["command"]
    if not command:
        raise click.UsageError("there is no COMMAND: put -- before it")
    session = app.session(dry_run)
    status = running.run(session, place, command, create=create, auto_delete=auto_delete)
    if dry_run:
        app.show(session, status)
    return status


@cli.verb("pcont get jobs:/batch cpuset.cpus")
@click.argument("place")
@click.argument("keys", metavar="[KEY...]", nargs=-1)
@pass_app
def get(app: App, place: str, keys: Sequence[str]) -> None:
    """Read control files: KEY=VALUE lines, or the bare value of one key."""
    from pcont import render
    from pcont.ops import settings

    session = app.session()
    found = settings.get(session, place, keys)
    app.show(
        session,
        {one.key: one.value for one in found},
        lambda: render.values(found, bare=len(keys) == 1),
    )


@cli.verb("pcont set jobs:/batch cpuset.cpus=0-3 cpuset.mems=0-1", name="set")
@click.argument("place")
@click.argument("assignments", metavar="KEY=VALUE...", nargs=-1, required=True)
@dry_run_option
@pass_app
def set_(app: App, place: str, assignments: Sequence[str], dry_run: bool) -> None:
    """Write control files: all of the values, or none."""
    from pcont.ops import settings

    session = app.session(dry_run)
    app.show(session, settings.assign(session, place, assignments))


@cli.verb("pcont tree jobs:/batch")
@click.argument("place", default="")
@pass_app
def tree(app: App, place: str) -> None:
    """Show containers, their tasks counted, and what they have."""
    from pcont import render
    from pcont.ops import listing

    session = app.session()
    nodes = listing.tree(session, place)
    app.show(session, nodes, lambda: render.containers(nodes))


@cli.verb("pcont ps jobs:/batch")
@click.argument("place")
@pass_app
def ps(app: App, place: str) -> None:
    """Show the tasks in a container."""
    from pcont import records, render
    from pcont.ops import listing

    session = app.session()
    rows = listing.ps(session, place)
    app.show(session, rows, lambda: render.table(rows, records.TaskRow))


@cli.verb("pcont where 4711")
@click.argument("pid", type=click.IntRange(min=1))
@pass_app
def where(app: App, pid: int) -> None:
    """Show the container of a task in every hierarchy."""
    from pcont import records, render
    from pcont.ops import listing

    session = app.session()
    rows = listing.where(session, pid)
    app.show(session, rows, lambda: render.table(rows, records.WhereRow))


@cli.verb("pcont doctor")
@pass_app
def doctor(app: App) -> None:
    """Say what this host can do, and what to change if it cannot."""
    from pcont import records, render
    from pcont.ops import doctor as examination

    session = app.session()
    found = examination.examine(session)
    app.show(session, found, lambda: render.table(found, records.Finding))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line; returns the exit status. The one place where errors are shown."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    _prepare_streams()
    sys.setrecursionlimit(max(sys.getrecursionlimit(), DEEPEST))
    app = App()
    try:
        status = cli.main(words, prog_name="pcont", standalone_mode=False, obj=app)
        return status if isinstance(status, int) else 0
    except click.exceptions.NoArgsIsHelpError as err:
        click.echo(err.ctx.get_help() if err.ctx else "", err=True)
        return UsageProblem.exit_code
    except (PcontError, OSError, click.UsageError) as err:
        return _refuse(_problem(err, words), app, words)
    except (click.Abort, KeyboardInterrupt):
        return _interrupted(Interrupted(signal.SIGINT), app)
    except Interrupted as err:
        return _interrupted(err, app)


def _prepare_streams() -> None:
    """Names of files need not be text; and a stream that is closed takes nothing."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="surrogateescape")


def _problem(err: Exception, words: Sequence[str]) -> PcontError:
    """Whatever was raised, as one of pcont's own."""
    if isinstance(err, PcontError):
        return err
    if isinstance(err, click.UsageError):
        hint = " ".join(err.ctx.get_usage().split()) if err.ctx else "pcont --help"
        return UsageProblem(err.format_message().rstrip("."), hint=hint)
    assert isinstance(err, OSError)
    return from_oserror(err, next((word for word in words if word in cli.commands), "run"))


def _refuse(err: PcontError, app: App, words: Sequence[str]) -> int:
    from pcont import render

    own = words[: words.index("--")] if "--" in words else words
    render.error(err, as_json=app.json or "--json" in own)
    own_failure = app.passes_status and err.exit_code < OWN_FAILURE
    return OWN_FAILURE if own_failure else err.exit_code


def _interrupted(err: Interrupted, app: App) -> int:
    from pcont import render

    problem = PcontError(str(err))
    problem.code, problem.undone, problem.left = "interrupted", True, err.left
    render.error(problem, as_json=app.json)
    return 128 + err.number
