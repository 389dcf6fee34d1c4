"""pressure (PSI): how long tasks waited for CPU, memory and I/O; every container has these files.

The kernel's accounting/psi.rst (kernel/sched/psi.c). A line that is written is a trigger, which
exists as long as the file is open: it serves programs that poll the file.
"""

from __future__ import annotations

from errno import EINVAL

from pcont.tables.control_file import Access, ControlFile, Subsystem, Undo
from pcont.tables.rules import Rule, Site, Violation

_LONGEST = 10_000_000  # microseconds
_STEP = 2_000_000  # without CAP_SYS_RESOURCE, a window is a multiple of it


def _a_trigger(file: str) -> Rule:
    """Return the rule that a trigger is `some` or `full`, a threshold and a window."""

    def rule(now: Site, wanted: Site) -> Violation | None:
        words = wanted.value(file).split()
        if len(words) == 3 and words[0] in ("some", "full") and all(map(str.isdecimal, words[1:])):
            threshold, window = map(int, words[1:])
            if 0 < threshold <= window <= _LONGEST:
                return None
        return Violation(
            EINVAL,
            "a trigger is some or full, a threshold and a window, in microseconds; the window is "
            f"500000 to {_LONGEST}, and the threshold is not longer",
            f"a trigger ends when {file} is closed: it serves programs that poll it",
            sure=False,
        )

    return rule


def _waiting(name: str, help: str) -> ControlFile:
    file = f"{name}.pressure"
    return ControlFile(
        file,
        help,
        rules=(_a_trigger(file),),
        access=Access(writable=True, always=True),
        undo=Undo(lasting=True),
    )


TABLE = Subsystem(
    name="pressure",
    help="how long tasks waited",
    files=(
        _waiting("cpu", "percent of the time in which tasks waited for a CPU"),
        _waiting("memory", "percent of the time in which tasks waited for memory"),
        _waiting("io", "percent of the time in which tasks waited for I/O"),
        _waiting("irq", "percent of the time that interrupts took from tasks"),
    ),
)
