"""Commands that start a process in a container, and those for its namespaces."""

from __future__ import annotations

from collections.abc import Sequence

from pcont.commands.common import App, changing, force_option, verb
from pcont.commands.declare import argument, option
from pcont.commands.kinds import PID


@verb("pcont run jobs:/batch --create -- make -j8", starts=True)
@argument("place")
@option("--create", is_flag=True, help="Create the container, with its parent's cpuset lists.")
@option("--auto-delete", is_flag=True, help="Remove the container when it becomes empty.")
@option("--join", default="", metavar="NAME", help="Run COMMAND in the namespaces pinned as NAME.")
@changing
def run_command(
    app: App, place: str, create: bool, auto_delete: bool, join: str, dry_run: bool
) -> int:
    """Run a command in a container.

    The exit status is that of COMMAND. pcont replaces itself with COMMAND; with --auto-delete or
    --join it waits for COMMAND instead, and stops and continues with it.
    """
    from pcont.ops import run as ops_run

    if not app.command:
        import click

        raise click.UsageError("COMMAND is missing")
    session = app.session(dry_run)
    status = ops_run.run(
        session,
        place,
        app.command,
        create=create,
        auto_delete=auto_delete,
        join=join,
        announce=lambda started: app.started(session, started),
    )
    if dry_run:
        app.show(session, status)
    else:
        app.ended(session, status)
    return status


@verb(
    "pcont clone jobs -- make -j8",
    "pcont clone jobs:/batch --pid 4711",
    "pcont clone ns --ns net,pid,mnt,uts,ipc,cgroup --pin box -- bash",
    starts=True,
)
@argument("place", metavar="HIERARCHY|PLACE")
@option("--pid", kind=PID, help="Move this process into the new container.")
@option("--keep", is_flag=True, help="Keep the container after COMMAND has ended.")
@option(
    "--ns",
    "kinds",
    metavar="KIND,...",
    help="Give COMMAND its own namespaces: cgroup, ipc, mnt, net, pid, time, user, uts.",
)
@option("--pin", default="", metavar="NAME", help="Keep the namespaces as NAME, for run --join.")
@option(
    "--uid-map",
    "uids",
    multiple=True,
    metavar="INSIDE:OUTSIDE:COUNT",
    help="Map user ids (default: you are root inside).",
)
@option(
    "--gid-map",
    "gids",
    multiple=True,
    metavar="INSIDE:OUTSIDE:COUNT",
    help="Map group ids.",
)
@option("--init", is_flag=True, help="Run an init as PID 1, and COMMAND as its child.")
@force_option
@changing
def clone_command(
    app: App,
    place: str,
    pid: int | None,
    keep: bool,
    kinds: str | None,
    pin: str,
    uids: Sequence[str],
    gids: Sequence[str],
    init: bool,
    force: bool,
    dry_run: bool,
) -> int:
    """Create a container node_PID for a process, and namespaces.

    With HIERARCHY, pcont creates the container below the one that the process is in, or below the
    root if the process is outside of the hierarchy. With PLACE, pcont creates it below that
    container. It gets the settings of its parent.

    With COMMAND, pcont runs COMMAND in it, and removes the container when COMMAND has ended. pcont
    prints the new place: with --pid on standard output, with COMMAND on standard error.
    """
    if kinds is None and (pin or uids or gids or init):
        import click

        raise click.UsageError("--pin, --uid-map, --gid-map and --init need --ns")
    from pcont.ops import clone as ops_clone

    session = app.session(dry_run, force)
    name, status = ops_clone.clone(
        session,
        place,
        app.command,
        pid=pid,
        keep=keep,
        request=None if kinds is None else ops_clone.CloneRequest(kinds, uids, gids, pin, init),
        announce=lambda started: app.started(session, started, started.place),
    )
    if pid is not None or dry_run:
        app.show(session, name, lambda: print(name))
    else:
        app.ended(session, status)
    return status


@verb("pcont pins")
def pins_command(app: App) -> None:
    """Show pinned namespaces: yours, and those of root.

    A file keeps each namespace. nsenter accepts that file: nsenter --net=FILE.
    """
    from pcont import records
    from pcont.ops import pins as ops_pins

    session = app.session()
    rows = ops_pins.pins(session)
    app.show_table(session, rows, records.PinRow)


@verb("pcont unpin box")
@argument("names", metavar="NAME...", nargs=-1, required=True)
@changing
def unpin_command(app: App, names: Sequence[str], dry_run: bool) -> None:
    """Unpin namespaces.

    The kernel removes a namespace when no process is in it.
    """
    from pcont.ops import pins as ops_pins

    session = app.session(dry_run)
    app.show(session, ops_pins.unpin(session, names))
