"""The command line: reads arguments, makes one call, shows what came of it. Imports only click."""

from __future__ import annotations

import errno
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from pcont import __version__
from pcont.commands import words as command_line
from pcont.commands.common import (
    PID,
    App,
    Group,
    Starting,
    UnknownCommand,
    changing,
    force_option,
    json_option,
    movable_option,
    pass_app,
    pids_argument,
    verbose_option,
)
from pcont.commands.sim import sim
from pcont.errors import PcontError, UsageProblem, from_oserror
from pcont.output.streams import Output
from pcont.signals import Interrupted

if TYPE_CHECKING:
    from pcont.ops.task_ids import TaskIds

OWN_FAILURE = 125  # of run and clone, whose other statuses are the command's own
DEEPEST = 20_000  # frames: as deep as a path of 4,096 bytes can nest containers


@click.group("pcont", cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="%(prog)s %(version)s")
@click.option(
    "--backend",
    type=click.Choice(["cgroupfs", "model"]),
    envvar="PCONT_BACKEND",
    show_envvar=True,
    help="Work on the kernel (cgroupfs, the default), or on a model of it.",
)
@click.option(
    "--state",
    metavar="FILE",
    envvar="PCONT_STATE",
    show_envvar=True,
    help="File that holds the state of the model between commands.",
)
@click.option(
    "--dialect",
    type=click.Choice(["v1", "v6", "v6-ns"]),
    envvar="PCONT_DIALECT",
    show_envvar=True,
    help="What a new model simulates: cgroup v1 (default), or the patch set of 2006.",
)
@json_option
@pass_app
def cli(app: App, backend: str | None, state: str | None, dialect: str | None) -> None:
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
    for name in ("state", "dialect"):
        source = click.get_current_context().get_parameter_source(name)
        if backend != "model" and source is click.core.ParameterSource.COMMANDLINE:
            raise click.UsageError(f"--{name} goes with --backend model")
    app.chosen = backend is not None
    app.backend = backend or app.backend
    app.state, app.dialect = state, dialect


@cli.verb("pcont subsys")
@pass_app
def subsys(app: App) -> None:
    """Show the subsystems, and where each one is bound."""
    from pcont import records
    from pcont.ops import listing
    from pcont.output import columns

    session = app.session()
    rows = listing.subsystems(session)
    app.show(session, rows, lambda: columns.table(rows, records.SubsystemRow))


@cli.verb(
    "pcont mount -o cpuset,cpuacct /dev/containers",
    "pcont mount --tie --name jobs -o cpuset,cpuacct --at /jobs",
)
@click.option(
    "-o",
    "options",
    multiple=True,
    metavar="SUBSYS,...|all|none",
    help="Subsystems to bind (default: all; with --name, those of an existing hierarchy).",
)
@click.option("--name", default="", help="Name of the hierarchy.")
@click.option(
    "--release-agent",
    default="",
    metavar="FILE",
    help="Program to run when a container with notify_on_release becomes empty.",
)
@click.option(
    "--notify-on-release",
    is_flag=True,
    help="Set notify_on_release of the root; new containers inherit it.",
)
@click.option("--tie", is_flag=True, help="Make one hierarchy over several of the kernel's.")
@click.option(
    "--at",
    default="",
    metavar="PATH",
    help="With --tie: use this container of each hierarchy as the root.",
)
@click.option("--no-freezer", is_flag=True, help="With --tie: leave out the freezer.")
@click.option(
    "--force", is_flag=True, help="Mount on a directory that is not empty, and hide its contents."
)
@click.argument("mountpoints", metavar="[MOUNTPOINT]", nargs=-1)
@changing
@pass_app
def mount(
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
    """Mount a hierarchy, or one more view of it.

    Prints the name and the mount point, separated by a tab. With --name alone, pcont mounts those
    parts of an existing hierarchy that are not mounted: its own tree, and each tree of a tie.
    MOUNTPOINT is an absolute directory, or starts with ./; pcont creates it if it does not exist.
    """
    from pcont.ops import mount as ops_mount
    from pcont.ops import mount_request

    if not (options or name or tie or mountpoints):
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


@cli.verb("pcont umount jobs")
@click.argument("hierarchy", metavar="HIERARCHY|MOUNTPOINT")
@click.option("--foreign", is_flag=True, help="Also unmount what pcont did not mount.")
@changing
@pass_app
def umount(app: App, hierarchy: str, foreign: bool, dry_run: bool) -> None:
    """Unmount a hierarchy; it stays active if it has containers."""
    from pcont.ops import umount as ops_umount

    session = app.session(dry_run)
    ops_umount.umount(session, hierarchy, foreign=foreign)
    app.show(session, hierarchy)


@cli.verb("pcont hierarchies")
@pass_app
def hierarchies(app: App) -> None:
    """Show every hierarchy, mounted or not."""
    from pcont import records
    from pcont.ops import listing
    from pcont.output import columns

    session = app.session()
    rows = listing.hierarchies(session)
    app.show(session, rows, lambda: columns.table(rows, records.HierarchyRow))


@cli.verb("pcont create -p -i jobs:/batch/night -s cpuset.cpus=2-3")
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
def create(
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


@cli.verb("pcont rm -r jobs:/batch --evict")
@click.argument("places", metavar="PLACE...", nargs=-1, required=True)
@click.option("-r", "recursive", is_flag=True, help="Remove all containers below, too.")
@click.option("-f", "missing_ok", is_flag=True, help="Ignore containers that do not exist.")
@click.option("--kill", is_flag=True, help="First kill the tasks in the containers.")
@click.option("--evict", is_flag=True, help="First move the tasks to the parent.")
@force_option
@changing
@pass_app
def rm(
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
    gone = containers.remove(
        session, places, recursive=recursive, kill=kill, evict=evict, missing_ok=missing_ok
    )
    app.show(session, gone)


@cli.verb(
    "pcont attach jobs:/batch 4711 4712",
    "pcont attach --tree jobs:/batch 4711",
    "pgrep -u alice make | pcont attach jobs:/batch -",
)
@click.argument("place")
@pids_argument
@click.option("--thread", is_flag=True, help="Move only these tasks, not their whole processes.")
@click.option("--tree", is_flag=True, help="Move all descendants of the processes, too.")
@movable_option
@verbose_option
@force_option
@changing
@pass_app
def attach(
    app: App,
    place: str,
    pids: TaskIds,
    thread: bool,
    tree: bool,
    movable: bool,
    force: bool,
    dry_run: bool,
) -> None:
    """Move processes, with all their threads, into a container.

    \b
    A PID is one of:
      4711     an id, which must be that of a task
      100-120  a range: the processes in it (with --thread, the tasks)
      -        ids on standard input, separated by blanks, commas or
               newlines: the tasks among them that have not ended

    It is an error if none of them is a task. Children that a process forks during the move are
    moved with it; with --tree, also those that daemonize.
    """
    from pcont.ops import attach as ops_attach

    session = app.session(dry_run, force)
    outcome = ops_attach.attach(session, place, pids, thread=thread, tree=tree, movable=movable)
    app.show_move(session, outcome)


@cli.verb("pcont move jobs:/batch jobs:/night")
@click.argument("source")
@click.argument("target")
@movable_option
@verbose_option
@force_option
@changing
@pass_app
def move(app: App, source: str, target: str, movable: bool, force: bool, dry_run: bool) -> None:
    """Move all tasks of a container to another one.

    pcont also moves the tasks that they fork during the move. If the hierarchy has the freezer,
    pcont freezes the tasks for the move. Kernel threads of a root container that cannot be moved
    are skipped.
    """
    from pcont.ops import attach as ops_attach

    session = app.session(dry_run, force)
    app.show_move(session, ops_attach.move(session, source, target, movable=movable))


@cli.verb(
    "pcont bind jobs pids",
    "pcont bind jobs cpuset -i -s /batch:cpuset.cpus=0-1",
)
@click.argument("hierarchy")
@click.argument("subsystems", metavar="SUBSYS,...")
@click.option(
    "-i",
    "inherit",
    is_flag=True,
    help="Copy cpuset.cpus and cpuset.mems from the parents (otherwise they start empty).",
)
@click.option(
    "-s",
    "settings",
    metavar="[/PATH:]KEY=VALUE",
    multiple=True,
    help="Set this control file before tasks enter, in all containers or in PATH.",
)
@changing
@pass_app
def bind(
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


@cli.verb("pcont unbind jobs pids")
@click.argument("hierarchy")
@click.argument("subsystems", metavar="SUBSYS,...")
@click.option("--yes", is_flag=True, help="Do not ask.")
@changing
@pass_app
def unbind(app: App, hierarchy: str, subsystems: str, yes: bool, dry_run: bool) -> None:
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


@cli.verb("pcont recover")
@changing
@pass_app
def recover(app: App, dry_run: bool) -> int:
    """Roll back or complete commands that were killed part-way.

    Every command that changes something does this first.
    """
    from pcont import records
    from pcont.ops import recover as ops_recover
    from pcont.output import columns

    session = app.session(dry_run)
    found = ops_recover.recover_all(session)
    app.show(session, found, lambda: columns.table(found, records.Recovered))
    return 1 if any(one.left for one in found) else 0


@cli.verb("pcont gc jobs", "pcont gc --dry-run", "pcont gc --cpus")
@click.argument("hierarchies", metavar="[HIERARCHY...]", nargs=-1)
@click.option("--cpus", is_flag=True, help="Only restore CPUs and memory nodes lost by hotplug.")
@changing
@pass_app
def gc(app: App, hierarchies: Sequence[str], cpus: bool, dry_run: bool) -> None:
    """Remove what auto_delete missed, and forged attributes.

    \b
    gc does this:
    - It removes every empty container with auto_delete=1, even one that
      no task has entered yet. It runs the release agent first.
    - It sets its own release agent again, if that was changed or if pcont
      was installed elsewhere.
    - If memset is bound and cpuset is not, it gives each container the
      CPUs of its parent again.
    - It removes attributes named security.pcont.*, which a user may have
      forged. pcont does not believe them; doctor lists them.

    Without HIERARCHY, gc acts on the hierarchies that this pcont mounted and looks after. A note
    names the others.

    With --cpus, gc does none of the above. The kernel removes a CPU that goes offline from every
    cpuset, and does not add it again when it comes back. gc --cpus restores the values of
    cpuset.cpus and cpuset.mems that pcont has set, in all hierarchies with cpuset. doctor lists
    what they lack.
    """
    from pcont import records
    from pcont.ops import gc as ops_gc
    from pcont.output import columns

    session = app.session(dry_run)
    collect = ops_gc.give_back if cpus else ops_gc.gc
    found = collect(session, hierarchies)
    app.show(session, found, lambda: columns.table(found, records.Collected))


@cli.verb(
    "pcont clone jobs -- make -j8",
    "pcont clone jobs:/batch --pid 4711",
    "pcont clone ns --ns net,pid,mnt,uts,ipc,cgroup --pin box -- bash",
    cls=Starting,
)
@click.argument("place", metavar="HIERARCHY|PLACE")
@click.option("--pid", type=PID, help="Move this process into the new container.")
@click.option("--keep", is_flag=True, help="Keep the container after COMMAND has ended.")
@click.option(
    "--ns",
    "kinds",
    metavar="KIND,...",
    help="Give COMMAND its own namespaces: cgroup, ipc, mnt, net, pid, time, user, uts.",
)
@click.option(
    "--pin", default="", metavar="NAME", help="Keep the namespaces as NAME, for run --join."
)
@click.option(
    "--uid-map",
    "uids",
    multiple=True,
    metavar="INSIDE:OUTSIDE:COUNT",
    help="Map user ids (default: you are root inside).",
)
@click.option(
    "--gid-map",
    "gids",
    multiple=True,
    metavar="INSIDE:OUTSIDE:COUNT",
    help="Map group ids.",
)
@click.option("--init", is_flag=True, help="Run an init as PID 1, and COMMAND as its child.")
@force_option
@changing
@pass_app
def clone(
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
        raise click.UsageError("--pin, --uid-map, --gid-map and --init go with --ns")
    from pcont.ops import clone as ops_clone

    session = app.session(dry_run, force)
    name, status = ops_clone.clone(
        session,
        place,
        click.get_current_context().meta["command"],
        pid=pid,
        keep=keep,
        wish=None if kinds is None else ops_clone.CloneRequest(kinds, uids, gids, pin, init),
        announce=lambda started: app.started(session, started, started.place),
    )
    if pid is not None or dry_run:
        app.show(session, name, lambda: print(name))
    else:
        app.ended(session, status)
    return status


@cli.verb("pcont run jobs:/batch --create -- make -j8", cls=Starting)
@click.argument("place")
@click.option(
    "--create", is_flag=True, help="Create the container, with its parent's cpuset lists."
)
@click.option("--auto-delete", is_flag=True, help="Remove the container when it becomes empty.")
@click.option("--join", default="", metavar="NAME", help="Run it in the namespaces pinned as NAME.")
@changing
@pass_app
def run(app: App, place: str, create: bool, auto_delete: bool, join: str, dry_run: bool) -> int:
    """Run a command in a container.

    The exit status is that of COMMAND. pcont replaces itself with COMMAND; with --auto-delete or
    --join it waits for COMMAND instead, and stops and continues with it.
    """
    from pcont.ops import run as ops_run

    command = click.get_current_context().meta["command"]
    if not command:
        raise click.UsageError("there is no COMMAND")
    session = app.session(dry_run)
    status = ops_run.run(
        session,
        place,
        command,
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


@cli.verb("pcont pins")
@pass_app
def pins(app: App) -> None:
    """Show pinned namespaces: yours, and those of root.

    A file keeps each namespace. nsenter accepts that file: nsenter --net=FILE.
    """
    from pcont import records
    from pcont.ops import pins as ops_pins
    from pcont.output import columns

    session = app.session()
    rows = ops_pins.pins(session)
    app.show(session, rows, lambda: columns.table(rows, records.PinRow))


@cli.verb("pcont unpin box")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@changing
@pass_app
def unpin(app: App, names: Sequence[str], dry_run: bool) -> None:
    """Unpin namespaces.

    The kernel removes a namespace when no process is in it.
    """
    from pcont.ops import pins as ops_pins

    session = app.session(dry_run)
    app.show(session, ops_pins.unpin(session, names))


@cli.verb("pcont get jobs:/batch cpuset.cpus", "pcont get jobs:/batch cpuacct.load --window 2")
@click.argument("place")
@click.argument("keys", metavar="[KEY...]", nargs=-1)
@click.option(
    "--window",
    type=click.FloatRange(min=0, min_open=True),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="Measure cpuacct.load for this time.",
)
@pass_app
def get(app: App, place: str, keys: Sequence[str], window: float) -> None:
    """Read control files.

    For one KEY, pcont prints the value alone; otherwise it prints KEY=VALUE lines. cpuacct.load is
    the percentage of one CPU that the container uses. pcont measures it only if you name it.
    """
    from pcont.ops import settings
    from pcont.output import text

    session = app.session()
    found = settings.get(session, place, keys, window=window)
    app.show(
        session,
        {one.key: one.value for one in found},
        lambda: text.values(found, bare=len(keys) == 1),
    )


@cli.verb("pcont set jobs:/batch cpuset.cpus=0-3 cpuset.mems=0-1", name="set")
@click.argument("place")
@click.argument("assignments", metavar="KEY=VALUE...", nargs=-1, required=True)
@force_option
@changing
@pass_app
def set_(app: App, place: str, assignments: Sequence[str], force: bool, dry_run: bool) -> None:
    """Write control files: all of the values or none."""
    from pcont.ops import settings

    session = app.session(dry_run, force)
    app.show(session, settings.assign(session, place, assignments))


@cli.verb("pcont tree jobs:/batch")
@click.argument("place", default="")
@pass_app
def tree(app: App, place: str) -> None:
    """Show containers, their tasks and settings.

    Without PLACE, pcont shows the hierarchies that it mounted, or all if it mounted none.
    """
    from pcont.ops import listing
    from pcont.ops import recover as ops_recover
    from pcont.output import tree as output_tree

    session = app.session()
    ops_recover.note_pending(session)
    nodes = listing.tree(session, place)
    app.show(session, nodes, lambda: output_tree.containers(nodes))


@cli.verb("pcont ps jobs:/batch")
@click.argument("place")
@pass_app
def ps(app: App, place: str) -> None:
    """Show the tasks in a container."""
    from pcont import records
    from pcont.ops import listing
    from pcont.output import columns

    session = app.session()
    rows = listing.ps(session, place)
    app.show(session, rows, lambda: columns.table(rows, records.TaskRow))


@cli.verb("pcont where 4711")
@click.argument("pid", type=PID)
@pass_app
def where(app: App, pid: int) -> None:
    """Show the container of a task in every hierarchy."""
    from pcont import records
    from pcont.ops import listing
    from pcont.output import columns

    session = app.session()
    rows = listing.where(session, pid)
    app.show(session, rows, lambda: columns.table(rows, records.WhereRow))


@cli.verb("pcont stat jobs:/batch --window 2")
@click.argument("place")
@click.option(
    "--window",
    type=click.FloatRange(min=0),
    default=0.0,
    metavar="SECONDS",
    help="Measure the load for this time (default: show no load).",
)
@pass_app
def stat(app: App, place: str, window: float) -> None:
    """Show the CPU time that a container uses, on every CPU.

    The time includes that of all containers below. With --window, pcont also shows the load: the
    percentage of one CPU used in that time.
    """
    from pcont import records
    from pcont.ops import stat as ops_stat
    from pcont.output import columns

    session = app.session()
    rows = ops_stat.stat(session, place, window)
    app.show(session, rows, lambda: columns.table(rows, records.CpuRow))


@cli.verb("pcont beancounters jobs:/batch")
@click.argument("place", default="")
@pass_app
def beancounters(app: App, place: str) -> None:
    """Show the open files that are charged to containers.

    pcont also shows how many may be open, like /proc/user_beancounters of OpenVZ. Without PLACE,
    it shows all containers of hierarchies with numfiles.
    """
    from pcont import records
    from pcont.ops import listing
    from pcont.output import columns

    session = app.session()
    rows = listing.beancounters(session, place)
    app.show(session, rows, lambda: columns.table(rows, records.BeanRow))


@cli.verb("pcont doctor")
@pass_app
def doctor(app: App) -> None:
    """Report what this host can do, and what to change."""
    from pcont import records
    from pcont.ops import doctor as examination
    from pcont.output import columns

    session = app.session()
    found = examination.examine(session)
    app.show(session, found, lambda: columns.table(found, records.Finding))


cli.add_command(sim)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line; returns the exit status. The one place where errors are shown."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    sys.setrecursionlimit(max(sys.getrecursionlimit(), DEEPEST))
    app, output = App(words=words), Output()
    with output.guarded():
        status = _run(app, words)
        output.flush()
        if output.failure:
            status = _unwritten(output.failure, status, app, words)
    return status


def _run(app: App, words: Sequence[str]) -> int:
    try:
        arranged = command_line.arrange(cli, words)
        status = cli.main(arranged, prog_name="pcont", standalone_mode=False, obj=app)
        return status if isinstance(status, int) else 0
    except click.exceptions.NoArgsIsHelpError as err:
        if not _wants_json(app, words):
            print(err.ctx.get_help() if err.ctx else "", file=sys.stderr)
            return UsageProblem.exit_code
        name = err.ctx.command_path if err.ctx else "pcont"
        return _refuse(UsageProblem("the command is missing", hint=f"{name} --help"), app, words)
    except (PcontError, OSError, RecursionError, UnicodeError, click.UsageError) as err:
        return _refuse(_problem(err, words), app, words)
    except (click.Abort, KeyboardInterrupt):
        return _interrupted(Interrupted(signal.SIGINT), app)
    except Interrupted as err:
        return _interrupted(err, app)


def _unwritten(failure: OSError, status: int, app: App, words: Sequence[str]) -> int:
    """The exit status where standard output could not be written.

    What a command changed stays changed: it keeps its status. A command that only shows something
    has failed; like other programs, it ends as if by SIGPIPE where the reader has ended.
    """
    from pcont.output import messages

    if not (status or app.acts):
        if failure.errno == errno.EPIPE:
            return 128 + signal.SIGPIPE
        return _refuse(from_oserror(failure, "write to standard output"), app, words)
    done = (
        "the command was carried out" if app.acts and not status else "the exit status is unchanged"
    )
    reason = from_oserror(failure, "write to standard output").what
    messages.warning(f"{reason}; {done}", _wants_json(app, words))
    return status


def _problem(err: Exception, words: Sequence[str]) -> PcontError:
    """Whatever was raised, as one of pcont's own."""
    if isinstance(err, PcontError):
        return err
    if isinstance(err, click.UsageError):
        hint = " ".join(err.ctx.get_usage().split()) if err.ctx else "pcont --help"
        missing = isinstance(err, click.MissingParameter)
        wrong_value = isinstance(err, click.BadParameter) and not missing
        if isinstance(err.ctx and err.ctx.command, Starting) and not wrong_value:
            meant = command_line.with_dashes(cli, words)
            hint = meant or f"put -- before COMMAND and its arguments. {hint}"
        if isinstance(err, click.NoSuchOption) and err.option_name in command_line.OF_COMMANDS:
            hint = f"without it: {command_line.without(words, err.option_name)}"
        if isinstance(err, UnknownCommand) and err.ctx:
            assert isinstance(err.ctx.command, click.Group)
            hint = command_line.instead(err.ctx.command, words, err.name)
        return UsageProblem(err.format_message().rstrip("."), hint=hint)
    if isinstance(err, UnicodeError):
        hint = "use a UTF-8 locale: LC_ALL=C.UTF-8 pcont ..."
        return PcontError(f"a name cannot be expressed in this locale: {err}", hint=hint)
    if isinstance(err, RecursionError):
        return PcontError("the containers are nested too deep for this Python")
    assert isinstance(err, OSError)
    problem = from_oserror(err, next((word for word in words if word in cli.commands), "run"))
    problem.left = getattr(err, "left", [])
    return problem


def _refuse(err: PcontError, app: App, words: Sequence[str]) -> int:
    from pcont.output import messages

    err.hint = command_line.ready(err.hint, cli, words)
    messages.error(err, as_json=_wants_json(app, words))
    own_failure = app.passes_status and err.exit_code < OWN_FAILURE
    return OWN_FAILURE if own_failure else err.exit_code


def _wants_json(app: App, words: Sequence[str]) -> bool:
    """Whether --json was given, also where an error stopped click before that word."""
    own = words[: words.index("--")] if "--" in words else words
    return app.json or "--json" in own


def _interrupted(err: Interrupted, app: App) -> int:
    from pcont.output import messages

    problem = PcontError(str(err))
    problem.code, problem.undone, problem.left = "interrupted", err.undone, err.left
    messages.error(problem, as_json=_wants_json(app, app.words))
    return 128 + err.number
