"""net_prio on cgroup v1: its control files."""

from __future__ import annotations

from pcont.subsys.net_prio import MAP, PRIORITIES, on_an_interface
from pcont.tables.control_file import Access, Advice, ControlFile, Creation, Subsystem, line_by_line
from pcont.values import INTEGER

TABLE = Subsystem(
    name="net_prio",
    help="priorities of network traffic",
    files=(
        ControlFile(
            MAP,
            "the priority of packets, for an interface",
            PRIORITIES,
            default={},
            rules=(on_an_interface,),
            access=Access(writable=True),
            creation=Creation(passed_on=True),
            undo=line_by_line(MAP),
            advice=Advice(strict=True),
        ),
        ControlFile(
            "net_prio.prioidx", "the kernel's own number of the container", INTEGER, default=0
        ),
    ),
)
