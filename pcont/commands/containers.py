"""Commands that create and remove containers: create and rm."""

from __future__ import annotations

from collections.abc import Sequence

import click

from pcont.commands.common import App, changing, force_option, pass_app, verb


@verb("pcont create -p -i jobs:/batch/night -s cpuset.cpus=2-3")
@click.argument("places", metavar="PLACE...", nargs=-1, required=True)
@click.option("-p", "parents", is_flag=True, help="Create missing parents; accept what exists.")
@click.option(
    "-i",
    "inherit",
    is_flag=True,
    help="Copy cpuset.cpus and cpuset.mems from the parent (otherwise they start empty).",
)
@click.option(
    "-s",
    "settings",
    metavar="KEY=VALUE",
    multiple=True,
    help="Set this control file of each PLACE (may be repeated).",
)
@changing
@pass_app
def create_command(
    app: App,
    places: Sequence[str],
    parents: bool,
    inherit: bool,
    settings: Sequence[str],
    dry_run: bool,
) -> None:
    """Create containers: all of them, in all trees, or none."""
    from pcont.ops import containers

    session = app.session(dry_run)
    made = containers.create(session, places, parents=parents, inherit=inherit, settings=settings)
    app.show(session, made)


@verb("pcont rm -r jobs:/batch --evict")
@click.argument("places", metavar="PLACE...", nargs=-1, required=True)
@click.option("-r", "recursive", is_flag=True, help="Remove all containers below, too.")
@click.option("-f", "missing_ok", is_flag=True, help="Ignore containers that do not exist.")
@click.option("--kill", is_flag=True, help="First kill the tasks in the containers.")
@click.option("--evict", is_flag=True, help="First move the tasks to the parent.")
@force_option
@changing
@pass_app
def rm_command(
    app: App,
    places: Sequence[str],
    recursive: bool,
    missing_ok: bool,
    kill: bool,
    evict: bool,
    force: bool,
    dry_run: bool,
) -> None:
    """Remove containers: all of them, in all trees, or none.

    --force also removes containers that open files are charged to. -f does not imply --force.
    """
    from pcont.ops import containers

    session = app.session(dry_run, force)
    removed = containers.remove(
        session, places, recursive=recursive, kill=kill, evict=evict, missing_ok=missing_ok
    )
    app.show(session, removed)
