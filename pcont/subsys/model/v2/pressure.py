"""pressure in the model: no task ever waits. A trigger exists as long as its file is open."""

from __future__ import annotations

from pcont.tables.behaviour import Behaviour, FileBehaviour

_NEVER = "avg10=0.00 avg60=0.00 avg300=0.00 total=0"
_FILE = FileBehaviour(
    derived=lambda site: f"some {_NEVER}\nfull {_NEVER}", write=lambda site, wanted: None
)

BEHAVIOUR = Behaviour(
    not_built=("irq.",),
    files={f"{name}.pressure": _FILE for name in ("cpu", "memory", "io")},
)
