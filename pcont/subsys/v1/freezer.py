"""freezer on cgroup v1: its control files."""

from __future__ import annotations

from pcont.subsys.freezer import FROZEN, PARENT, SELF, STATE, THAWED, frozen_or_thawed
from pcont.tables.control_file import Access, ControlFile, Listed, Subsystem, Undo
from pcont.tables.rules import Where
from pcont.values import FLAG, WORD

TABLE = Subsystem(
    name="freezer",
    help="stops and continues all tasks",
    files=(
        ControlFile(
            STATE,
            "FROZEN stops the tasks here and below, THAWED continues them",
            WORD,
            default=THAWED,
            rules=(frozen_or_thawed,),
            order=90,  # every limit holds before the tasks go on
            listed=Listed.ALWAYS,
            access=Access(writable=True, where=Where.NOT_ON_ROOT),
            # Below a frozen container it is FROZEN, whatever was written.
            undo=Undo(written_to=SELF),
        ),
        ControlFile(
            SELF,
            "1: FROZEN was written in this container itself",
            FLAG,
            default=0,
            access=Access(where=Where.NOT_ON_ROOT),
            undo=Undo(
                write_back=lambda text, now: [(STATE, FROZEN if text.strip() == "1" else THAWED)]
            ),
        ),
        ControlFile(
            PARENT,
            "1: FROZEN was written in a container above",
            FLAG,
            default=0,
            access=Access(where=Where.NOT_ON_ROOT),
        ),
    ),
)
