"""misc on cgroup v2 in the model: the machine has no such resource."""

from __future__ import annotations

from errno import EINVAL

from pcont.subsys.misc import CAPACITY, MISC_MAX
from pcont.tables.behaviour import Behaviour, FileBehaviour

_NONE = FileBehaviour(derived=lambda site: "", lines=True)
_COUNTS = ("misc.current", "misc.peak", "misc.events", "misc.events.local", CAPACITY)

BEHAVIOUR = Behaviour(
    files={
        MISC_MAX: FileBehaviour(refuses=lambda site, wanted: EINVAL, lines=True),
        **dict.fromkeys(_COUNTS, _NONE),
    }
)
