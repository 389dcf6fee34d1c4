"""freezer on cgroup v2: every container can be frozen, by cgroup.freeze.

The kernel's admin-guide/cgroup-v2.rst (kernel/cgroup/freezer.c). The driver answers reads of the
files of cgroup v1.
"""

from __future__ import annotations

from pcont.subsys.freezer import FROZEN, PARENT, SELF, STATE, THAWED
from pcont.subsys.v2.core import FREEZE
from pcont.tables.control_file import Subsystem
from pcont.tables.face import FaceSource, Translation
from pcont.values import strip


def _to_freeze(text: str, source: FaceSource) -> list[tuple[str, str]]:
    words = {FROZEN: "1", THAWED: "0"}
    if strip(text) not in words:
        raise ValueError(f"the state to set is {FROZEN} or {THAWED}")
    return [(FREEZE, words[strip(text)])]


TABLE = Subsystem(
    name="freezer",
    help="stops and continues all tasks",
    files=(),
    faces={
        STATE: Translation(FREEZE, lambda at: at.text(STATE), _to_freeze),
        SELF: Translation(FREEZE, lambda at: at.text(SELF)),
        PARENT: Translation(FREEZE, lambda at: at.text(PARENT)),
    },
)
