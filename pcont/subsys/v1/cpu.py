"""cpu on cgroup v1: its control files."""

from __future__ import annotations

from pcont.subsys.cpu import (
    BANDWIDTH,
    BURST,
    CPU_IDLE,
    CPU_SHARES,
    NO_QUOTA,
    PERIOD,
    QUOTA,
    REAL_TIME,
    ROOT_HAS_ALL_TIME,
    RT_PERIOD,
    RT_RUNTIME,
    idle_has_no_shares,
    quota_meant,
)
from pcont.tables.control_file import Access, Advice, ControlFile, Creation, Listed, Subsystem
from pcont.tables.rules import on_or_off
from pcont.values import SIGNED, TEXT, UNSIGNED

TABLE = Subsystem(
    name="cpu",
    help="shares and quotas of CPU time",
    may_refuse=True,  # real-time tasks, if the container has no time for them (sched-rt-group)
    files=(
        ControlFile(
            CPU_IDLE,
            "1: the tasks run only when no other task wants the CPU",
            SIGNED,
            default=0,
            rules=(on_or_off(CPU_IDLE),),
            order=40,
            listed=Listed.IF_SET,
            access=Access(writable=True, root_fixed=ROOT_HAS_ALL_TIME),
        ),
        ControlFile(
            CPU_SHARES,
            "weight against siblings, 2 to 262144; 1024 is the default",
            UNSIGNED,
            default=1024,
            rules=(idle_has_no_shares,),
            listed=Listed.IF_SET,
            access=Access(writable=True, root_fixed=ROOT_HAS_ALL_TIME),
        ),
        ControlFile(
            PERIOD,
            "the period of the quota, in microseconds",
            UNSIGNED,
            default=100_000,
            rules=BANDWIDTH,
            listed=Listed.IF_SET,
            access=Access(writable=True, root_fixed=ROOT_HAS_ALL_TIME),
        ),
        ControlFile(
            QUOTA,
            "microseconds of CPU time in each period, on all CPUs; -1: no quota",
            SIGNED,
            default=NO_QUOTA,
            rules=BANDWIDTH,
            listed=Listed.IF_SET,
            access=Access(writable=True, root_fixed=ROOT_HAS_ALL_TIME),
            advice=Advice(mend=quota_meant),
        ),
        ControlFile(
            BURST,
            "microseconds of unused quota that may be added to a period",
            UNSIGNED,
            default=0,
            rules=BANDWIDTH,
            listed=Listed.IF_SET,
            access=Access(writable=True, root_fixed=ROOT_HAS_ALL_TIME),
        ),
        ControlFile(
            RT_PERIOD,
            "the period of real-time tasks, in microseconds",
            UNSIGNED,
            default=1_000_000,
            rules=REAL_TIME,
            access=Access(writable=True),
        ),
        ControlFile(
            RT_RUNTIME,
            "microseconds for real-time tasks in each of their periods",
            SIGNED,
            default=0,
            rules=REAL_TIME,
            listed=Listed.IF_SET,
            access=Access(writable=True),
            creation=Creation(root_default=950_000),
        ),
        ControlFile(
            "cpu.uclamp.min",
            "minimum CPU frequency for the tasks, in percent",
            TEXT,
            default="0.00",
            listed=Listed.IF_SET,
            access=Access(writable=True),
        ),
        ControlFile(
            "cpu.uclamp.max",
            "maximum CPU frequency for the tasks, in percent, or max",
            TEXT,
            default="max",
            listed=Listed.IF_SET,
            access=Access(writable=True),
        ),
        ControlFile("cpu.stat", "periods, and how often and how long tasks were throttled"),
        ControlFile(
            "cpu.stat.local",
            "how long the quota of this container itself has throttled the tasks",
        ),
    ),
)
