"""Commands for whole hierarchies: mount, umount, bind and unbind."""

from __future__ import annotations

from collections.abc import Sequence

from pcont.commands.common import App, changing, verb
from pcont.commands.declare import argument, option


@verb(
    "pcont mount -o cpuset,cpuacct /dev/containers",
    "pcont mount --tie --name jobs -o cpuset,cpuacct --at /jobs",
    "pcont mount -o memory,cpu --name web  # where cgroup v2 has memory and cpu",
)
@option(
    "-o",
    "options",
    multiple=True,
    metavar="SUBSYS,...|all|none",
    help="Subsystems to bind (default: all; with --name, those of an existing hierarchy).",
)
@option("--name", default="", metavar="NAME", help="Name of the hierarchy.")
@option(
    "--release-agent",
    default="",
    metavar="FILE",
    help="Program to run when a container with notify_on_release becomes empty.",
)
@option(
    "--notify-on-release",
    is_flag=True,
    help="Set notify_on_release of the root; new containers inherit it.",
)
@option("--tie", is_flag=True, help="Make one hierarchy over several hierarchies of the kernel.")
@option(
    "--at",
    default="",
    metavar="PATH",
    help="For a tie, or in cgroup v2: use this container of each hierarchy as the root.",
)
@option("--no-freezer", is_flag=True, help="For a tie: leave out the freezer.")
@option(
    "--force",
    is_flag=True,
    help="Mount on a directory that is not empty, and hide its contents. Without a name: take the "
    "subsystems from cgroup v2 for v1.",
)
@argument("mountpoints", metavar="[MOUNTPOINT]", nargs=-1)
@changing
def mount_command(
    app: App,
    options: Sequence[str],
    name: str,
    release_agent: str,
    notify_on_release: bool,
    tie: bool,
    at: str,
    no_freezer: bool,
    force: bool,
    mountpoints: Sequence[str],
    dry_run: bool,
) -> None:
    """Mount a hierarchy, or mount it at one more directory.

    Prints the name and the mount point, separated by a tab. With --name alone, pcont mounts those
    parts of an existing hierarchy that are not mounted: its own tree, and each tree of a tie.
    MOUNTPOINT is an absolute directory, or starts with ./; pcont creates it if it does not exist.
    A hierarchy of subsystems that cgroup v2 has needs a name, and is a tie.
    """
    from pcont.ops import mount as ops_mount
    from pcont.ops import mount_request

    if not (options or name or tie or mountpoints):
        import click

        context = click.get_current_context()
        raise (
            click.UsageError("nothing to mount: -o, --name or MOUNTPOINT is missing")
            if app.json
            else click.exceptions.NoArgsIsHelpError(context)
        )
    session = app.session(dry_run, force)
    words = ",".join(options) if options else None
    done = ops_mount.mount(
        session,
        words,
        mount_request.mountpoint(session.backend, mountpoints, words),
        name=name,
        release_agent=release_agent,
        notify_on_release=notify_on_release,
        tie=tie,
        at=at,
        freezer=not no_freezer,
    )
    app.show(session, done, lambda: print(f"{done.hierarchy}\t{done.mountpoint}"))


@verb("pcont umount jobs")
@argument("hierarchy", metavar="HIERARCHY|MOUNTPOINT")
@option("--foreign", is_flag=True, help="Also unmount what pcont did not mount.")
@changing
def umount_command(app: App, hierarchy: str, foreign: bool, dry_run: bool) -> None:
    """Unmount a hierarchy; it stays active if it has containers."""
    from pcont.ops import umount as ops_umount

    session = app.session(dry_run)
    ops_umount.umount(session, hierarchy, foreign=foreign)
    app.show(session, hierarchy)


@verb(
    "pcont bind jobs pids",
    "pcont bind jobs cpuset -i -s /batch:cpuset.cpus=0-1",
)
@argument("hierarchy")
@argument("subsystems", metavar="SUBSYS,...")
@option(
    "-i",
    "inherit",
    is_flag=True,
    help="Copy cpuset.cpus and cpuset.mems from the parents (otherwise they start empty).",
)
@option(
    "-s",
    "settings",
    metavar="[/PATH:]KEY=VALUE",
    multiple=True,
    help="Set this control file before tasks enter, in all containers or in PATH.",
)
@changing
def bind_command(
    app: App, hierarchy: str, subsystems: str, inherit: bool, settings: Sequence[str], dry_run: bool
) -> None:
    """Bind subsystems to a hierarchy in use.

    The containers and tasks of the hierarchy stay as they are. pcont creates the same containers in
    one more tree, and moves the tasks into them.
    """
    from pcont.ops import bind as ops_bind

    session = app.session(dry_run)
    bound = ops_bind.bind(session, hierarchy, subsystems, inherit=inherit, settings=settings)
    app.show(session, bound)


@verb("pcont unbind jobs pids")
@argument("hierarchy")
@argument("subsystems", metavar="SUBSYS,...")
@option("--yes", is_flag=True, help="Unbind without asking.")
@changing
def unbind_command(app: App, hierarchy: str, subsystems: str, yes: bool, dry_run: bool) -> None:
    """Unbind subsystems from a hierarchy in use.

    pcont shows the limits that will no longer hold, and asks before it changes anything. It reads
    the answer from standard input. Any answer but y or yes cancels the command (exit 1).
    """
    from pcont.ops import bind as ops_bind
    from pcont.output import messages

    def confirm(ceasing: Sequence[str]) -> bool:
        app.wipe_progress()
        messages.ceasing(ceasing, app.json)
        if yes:
            return True
        return app.ask(f"Unbind {subsystems} from {hierarchy}?")

    session = app.session(dry_run)
    app.show(session, ops_bind.unbind(session, hierarchy, subsystems, confirm))
