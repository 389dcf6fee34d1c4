"""net_cls on cgroup v1: its control files."""

from __future__ import annotations

from pcont.subsys.net_cls import CLASS_ID, class_meant
from pcont.tables.control_file import Access, Advice, ControlFile, Creation, Listed, Subsystem

TABLE = Subsystem(
    name="net_cls",
    help="marks packets for traffic control",
    files=(
        ControlFile(
            "net_cls.classid",
            "the class of the packets that the tasks send; 0 is none",
            CLASS_ID,
            default=0,
            listed=Listed.IF_SET,
            access=Access(writable=True),
            creation=Creation(passed_on=True),
            advice=Advice(strict=True, mend=class_meant),
        ),
    ),
)
