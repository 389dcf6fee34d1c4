"""freezer: stops all tasks of a container and of its descendants, and continues them.

The kernel's kernel/cgroup/legacy_freezer.c. The patch set of 2006 had nothing like it.
"""

from __future__ import annotations

from errno import EINVAL

from pcont.tables.rules import Site, Violation

STATE = "freezer.state"
SELF, PARENT = "freezer.self_freezing", "freezer.parent_freezing"
FROZEN, THAWED = "FROZEN", "THAWED"


def frozen_or_thawed(now: Site, wanted: Site) -> Violation | None:
    """Check that the state is FROZEN or THAWED; the kernel only shows FREEZING."""
    state = str(wanted.value(STATE))
    if state in (FROZEN, THAWED):
        return None
    meant = {"FRO": FROZEN, "FRE": FROZEN, "THAW": THAWED}
    text = next((full for word, full in meant.items() if state.upper().startswith(word)), "")
    hint = f"pcont set {now.word} {STATE}={text}" if text else ""
    return Violation(EINVAL, f"the state to set is {FROZEN} or {THAWED}", hint)
