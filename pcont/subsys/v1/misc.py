"""misc on cgroup v1: its control files."""

from __future__ import annotations

from pcont.subsys.misc import CAPACITY, MISC_LIMITS, MISC_MAX, a_resource_of_this_machine
from pcont.tables.control_file import Access, ControlFile, Listed, Subsystem, line_by_line
from pcont.tables.rules import Where

TABLE = Subsystem(
    name="misc",
    help="limits of other countable things",
    files=(
        ControlFile(
            MISC_MAX,
            "maximum of a resource here and below",
            MISC_LIMITS,
            default={},
            rules=(a_resource_of_this_machine,),
            listed=Listed.IF_SET,
            access=Access(writable=True, where=Where.NOT_ON_ROOT),
            undo=line_by_line(MISC_MAX),
        ),
        ControlFile(
            "misc.current", "what is in use here and below", access=Access(where=Where.NOT_ON_ROOT)
        ),
        ControlFile(
            "misc.peak", "maximum that was in use so far", access=Access(where=Where.NOT_ON_ROOT)
        ),
        ControlFile(
            "misc.events", "how often a limit was reached", access=Access(where=Where.NOT_ON_ROOT)
        ),
        ControlFile(
            "misc.events.local",
            "how often a limit of this container itself was reached",
            access=Access(where=Where.NOT_ON_ROOT),
        ),
        ControlFile(
            CAPACITY, "what the machine has of each resource", access=Access(where=Where.ROOT)
        ),
    ),
)
