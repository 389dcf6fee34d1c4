"""devices on cgroup v1: its control files."""

from __future__ import annotations

from pcont.subsys.devices import (
    ALLOW,
    DENY,
    EVERYTHING,
    LIST,
    RULE,
    all_without_children,
    has_everything,
    rule_meant,
    within_the_parent,
)
from pcont.tables.control_file import Access, Advice, ControlFile, Creation, Listed, Subsystem, Undo
from pcont.tables.rules import Rule


def _list_again(text: str, now: str) -> list[tuple[str, str]]:
    """Return writes that reset the list and allow what it had; denied entries are not shown."""
    if has_everything(text):
        return [] if has_everything(now) else [(ALLOW, "a")]
    return [(DENY, "a"), *((ALLOW, one) for one in text.splitlines())]


def _row(file: str, help: str, *rules: Rule) -> ControlFile:
    return ControlFile(
        file,
        help,
        RULE,
        rules=(all_without_children(file), *rules),
        access=Access(writable=True),
        undo=Undo(lasting=True, many=True),
        advice=Advice(strict=True, mend=rule_meant),
    )


TABLE = Subsystem(
    name="devices",
    help="which devices may be used",
    files=(
        _row(ALLOW, "adds devices to those that the tasks may use", within_the_parent),
        _row(DENY, "removes devices from those that the tasks may use"),
        ControlFile(
            LIST,
            "devices that tasks may use; a *:* rwm is all but those denied",
            default=EVERYTHING,
            listed=Listed.IF_SET,
            creation=Creation(passed_on=True),
            undo=Undo(write_back=_list_again),
        ),
    ),
)
