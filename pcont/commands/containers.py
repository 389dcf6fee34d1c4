"""Commands that create and remove containers: create and rm."""

from __future__ import annotations

from collections.abc import Sequence

from pcont.commands.common import App, changing, force_option, verb
from pcont.commands.declare import argument, option


@verb("pcont create -p -i jobs:/batch/night -s cpuset.cpus=2-3")
@argument("places", metavar="PLACE...", nargs=-1, required=True)
@option("-p", "parents", is_flag=True, help="Create missing parents; accept what exists.")
@option(
    "-i",
    "inherit",
    is_flag=True,
    help="Copy cpuset.cpus and cpuset.mems from the parent (otherwise they start empty).",
)
@option(
    "-s",
    "settings",
    metavar="KEY=VALUE",
    multiple=True,
    help="Set this control file of each PLACE (may be repeated).",
)
@changing
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
@argument("places", metavar="PLACE...", nargs=-1, required=True)
@option("-r", "recursive", is_flag=True, help="Remove all containers below, too.")
@option("-f", "missing_ok", is_flag=True, help="Ignore containers that do not exist.")
@option("--kill", is_flag=True, help="First kill the tasks in the containers.")
@option("--evict", is_flag=True, help="First move the tasks to the parent.")
@force_option
@changing
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
