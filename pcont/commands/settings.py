"""Commands for control files: get and set."""

from __future__ import annotations

from collections.abc import Sequence

from pcont.commands.common import App, changing, force_option, verb
from pcont.commands.declare import argument, option
from pcont.commands.kinds import Seconds


@verb("pcont get jobs:/batch cpuset.cpus", "pcont get jobs:/batch cpuacct.load --window 2")
@argument("place")
@argument("keys", metavar="[KEY...]", nargs=-1)
@option(
    "--window",
    kind=Seconds(above_zero=True),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="Measure cpuacct.load for this time.",
)
def get_command(app: App, place: str, keys: Sequence[str], window: float) -> None:
    """Read control files.

    For one KEY, pcont prints the value alone; otherwise it prints KEY=VALUE lines. cpuacct.load is
    the percentage of one CPU that the container uses. pcont measures it only if you name it.
    """
    from pcont.ops.get import get
    from pcont.output import text

    session = app.session()
    found = get(session, place, keys, window=window)
    app.show(
        session,
        {one.key: one.value for one in found},
        lambda: text.values(found, bare=len(keys) == 1),
    )


@verb("pcont set jobs:/batch cpuset.cpus=0-3 cpuset.mems=0-1")
@argument("place")
@argument("assignments", metavar="KEY=VALUE...", nargs=-1, required=True)
@force_option
@changing
def set_command(
    app: App, place: str, assignments: Sequence[str], force: bool, dry_run: bool
) -> None:
    """Write control files: all of the values or none."""
    from pcont.ops import settings

    session = app.session(dry_run, force)
    app.show(session, settings.assign(session, place, assignments))
