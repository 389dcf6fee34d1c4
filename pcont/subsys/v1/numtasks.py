"""numtasks on cgroup v1: its control files."""

from __future__ import annotations

from pcont.subsys.numtasks import (
    DONT_CARE,
    INTERVAL,
    NUMTASKS,
    RATE,
    RULES,
    SHARES,
    STATS,
    TOTAL,
    UNLIMITED,
    Shares,
    SharesCodec,
    a_rate,
    joined,
    limits,
    names_a_resource,
    stats,
    total_is_enough,
)
from pcont.tables.control_file import (
    Access,
    ControlFile,
    Creation,
    Subsystem,
    Undo,
    Virtual,
    VirtualSubsystem,
)
from pcont.tables.rules import Where
from pcont.values import INTEGER, TEXT

TABLE = Subsystem(
    name=NUMTASKS,
    help="shares of the number of tasks, and a rate of forks, over pids",
    virtual=VirtualSubsystem(requires="pids", derived_limits=limits),
    files=(
        ControlFile(
            SHARES,
            "min_shares, max_shares and child_shares_divisor; -3: don't care",
            SharesCodec(),
            default=Shares(),
            rules=RULES,
            access=Access(writable=True, merge=joined),
        ),
        ControlFile(
            TOTAL,
            "the number of tasks that the root may have, which shares divide",
            INTEGER,
            default=UNLIMITED,
            rules=(total_is_enough,),
            access=Access(writable=True, where=Where.ROOT),
        ),
        ControlFile(
            RATE,
            "how often a container may fork in a period; -3: like its parent",
            INTEGER,
            default=DONT_CARE,
            rules=(a_rate,),
            access=Access(writable=True),
            creation=Creation(root_default=UNLIMITED),
            virtual=Virtual(enforced=True),
        ),
        ControlFile(
            INTERVAL,
            "length of a period in seconds; -3: like its parent",
            INTEGER,
            default=DONT_CARE,
            rules=(a_rate,),
            access=Access(writable=True),
            creation=Creation(root_default=1),
            virtual=Virtual(enforced=True),
        ),
        ControlFile(
            STATS,
            "tasks here and below, forks here, and forks that were refused",
            TEXT,
            rules=(names_a_resource,),
            access=Access(writable=True),
            undo=Undo(lasting=True),
            virtual=Virtual(computed=stats),
        ),
    ),
)
