"""Commands that create containers, remove them and give them away: create, rm and chown."""

from __future__ import annotations

from collections.abc import Sequence

from pcont.commands.common import App, changing, force_option, verb
from pcont.commands.declare import argument, option

OWNER = "USER[:GROUP]"
HELP_TASKS_OWNER = "Give tasks, cgroup.procs and cgroup.threads to this user instead."


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
@option("--owner", metavar=OWNER, help="Give each new PLACE to this user, as chown does.")
@option("--tasks-owner", metavar=OWNER, help=HELP_TASKS_OWNER)
@changing
def create_command(
    app: App,
    places: Sequence[str],
    parents: bool,
    inherit: bool,
    settings: Sequence[str],
    owner: str | None,
    tasks_owner: str | None,
    dry_run: bool,
) -> None:
    """Create containers: all of them, in all trees, or none."""
    from pcont.ops import containers

    session = app.session(dry_run)
    made = containers.create(
        session,
        places,
        parents=parents,
        inherit=inherit,
        settings=settings,
        owner=owner,
        tasks_owner=tasks_owner,
    )
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


@verb("pcont chown -r jobs:/batch alice:staff")
@argument("place")
@argument("owner", metavar=OWNER)
@option("-r", "recursive", is_flag=True, help="Also give all containers below PLACE.")
@option("--tasks-owner", metavar=OWNER, help=HELP_TASKS_OWNER)
@force_option
@changing
def chown_command(
    app: App,
    place: str,
    owner: str,
    recursive: bool,
    tasks_owner: str | None,
    force: bool,
    dry_run: bool,
) -> None:
    """Give containers to another user.

    The user may then create containers in PLACE, move tasks into them, and set their limits. On
    cgroup v2 the limits of what is given stay with root: the user gets the files that the kernel
    lists in /sys/kernel/cgroup/delegate. On cgroup v1 the user gets all control files.
    """
    from pcont.ops import chown

    session = app.session(dry_run, force)
    given = chown.give(session, place, owner, tasks_owner=tasks_owner, recursive=recursive)
    app.show(session, given)
