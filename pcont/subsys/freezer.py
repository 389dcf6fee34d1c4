"""freezer: all tasks of a container stand still, and go on, as one; those below it with it.

The kernel's kernel/cgroup/legacy_freezer.c. The patch set of 2006 had nothing like it.
"""

from __future__ import annotations

from errno import EINVAL

from pcont.tables.rules import Site, Violation

STATE = "freezer.state"
SELF, PARENT = "freezer.self_freezing", "freezer.parent_freezing"
FROZEN, THAWED = "FROZEN", "THAWED"


def frozen_or_thawed(now: Site, wanted: Site) -> Violation | None:
    """These two can be wished for; FREEZING is only ever shown, until every task has stopped."""
    state = str(wanted.value(STATE))
    if state in (FROZEN, THAWED):
        return None
    meant = {"FRO": FROZEN, "FRE": FROZEN, "THAW": THAWED}
    text = next((full for word, full in meant.items() if state.upper().startswith(word)), "")
    hint = f"pcont set {now.word} {STATE}={text}" if text else ""
    return Violation(EINVAL, f"the state to set is {FROZEN} or {THAWED}", hint)
