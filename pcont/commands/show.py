"""Commands that show hierarchies, containers and tasks."""

from __future__ import annotations

from pcont.commands.common import App, verb
from pcont.commands.declare import argument, option
from pcont.commands.kinds import PID, Seconds


@verb("pcont subsys")
def subsys_command(app: App) -> None:
    """Show the subsystems, and where each one is bound."""
    from pcont import records
    from pcont.ops import listing

    session = app.session()
    rows = listing.subsystems(session)
    app.show_table(session, rows, records.SubsystemRow)


@verb("pcont hierarchies")
def hierarchies_command(app: App) -> None:
    """Show every hierarchy, mounted or not."""
    from pcont import records
    from pcont.ops import listing

    session = app.session()
    rows = listing.hierarchies(session)
    app.show_table(session, rows, records.HierarchyRow)


@verb("pcont tree jobs:/batch")
@argument("place", default="")
def tree_command(app: App, place: str) -> None:
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


@verb("pcont ps jobs:/batch")
@argument("place")
def ps_command(app: App, place: str) -> None:
    """Show the tasks in a container."""
    from pcont import records
    from pcont.ops import listing

    session = app.session()
    rows = listing.ps(session, place)
    app.show_table(session, rows, records.TaskRow)


@verb("pcont where 4711")
@argument("pid", kind=PID)
def where_command(app: App, pid: int) -> None:
    """Show the container of a task in every hierarchy."""
    from pcont import records
    from pcont.ops import listing

    session = app.session()
    rows = listing.where(session, pid)
    app.show_table(session, rows, records.WhereRow)


@verb("pcont stat jobs:/batch --window 2")
@argument("place")
@option(
    "--window",
    kind=Seconds(),
    default=0.0,
    metavar="SECONDS",
    help="Measure the load for this time (default: show no load).",
)
def stat_command(app: App, place: str, window: float) -> None:
    """Show the CPU time that a container uses, on every CPU.

    The time includes that of all containers below. With --window, pcont also shows the load: the
    percentage of one CPU used in that time. If the container has memory, pcont shows how often
    memory ran out at a limit, and how many tasks the kernel has killed because of that.
    """
    from pcont import records
    from pcont.ops import stat as ops_stat

    session = app.session()
    rows = ops_stat.stat(session, place, window)

    def tables() -> None:
        from pcont.output import columns

        first = rows[0]
        if first.used is not None:
            columns.table(rows, records.CpuRow)
        if isinstance(first, records.UsageRow):
            columns.table([first], records.UsageRow)

    app.show(session, rows, tables)


@verb("pcont beancounters jobs:/batch")
@argument("place", default="")
def beancounters_command(app: App, place: str) -> None:
    """Show the open files that are charged to containers.

    pcont also shows how many may be open, like /proc/user_beancounters of OpenVZ. Without PLACE,
    it shows all containers of hierarchies with numfiles.
    """
    from pcont import records
    from pcont.ops import listing

    session = app.session()
    rows = listing.beancounters(session, place)
    app.show_table(session, rows, records.BeanRow)
