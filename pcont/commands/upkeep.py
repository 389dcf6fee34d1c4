"""Commands that examine and repair: doctor, gc and recover."""

from __future__ import annotations

from collections.abc import Sequence

from pcont.commands.common import App, changing, verb
from pcont.commands.declare import argument, option


@verb("pcont doctor")
def doctor_command(app: App) -> None:
    """Report what this host can do, and what to change."""
    from pcont import records
    from pcont.ops import doctor as examination

    session = app.session()
    found = examination.examine(session)
    app.show_table(session, found, records.Finding)


@verb("pcont gc jobs", "pcont gc --dry-run", "pcont gc --cpus")
@argument("hierarchies", metavar="[HIERARCHY...]", nargs=-1)
@option("--cpus", is_flag=True, help="Only restore CPUs and memory nodes lost by hotplug.")
@changing
def gc_command(app: App, hierarchies: Sequence[str], cpus: bool, dry_run: bool) -> None:
    """Remove what auto_delete missed, and forged attributes.

    \b
    gc does this:
    - It removes every empty container with auto_delete=1, even one that
      no task has entered yet. It runs the release agent first.
    - It sets its own release agent again, if that was changed or if pcont
      was installed elsewhere.
    - If memset is bound and cpuset is not, it gives each container the
      CPUs of its parent again.
    - If systemd is the init process, it enables the controllers of cgroup
      v2 that containers rely on, in the root and in /pcont. systemd does
      not disable what /pcont enables.
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

    session = app.session(dry_run)
    collect = ops_gc.gc_cpus if cpus else ops_gc.gc
    found = collect(session, hierarchies)
    app.show_table(session, found, records.Collected)


@verb("pcont recover")
@changing
def recover_command(app: App, dry_run: bool) -> int:
    """Roll back or complete commands that were killed part-way.

    Every command that changes something does this first.
    """
    from pcont import records
    from pcont.ops import recover as ops_recover

    session = app.session(dry_run)
    found = ops_recover.recover_all(session)
    app.show_table(session, found, records.Recovered)
    return 1 if any(one.left for one in found) else 0
