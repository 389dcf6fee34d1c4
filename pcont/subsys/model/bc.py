"""bc in the model: the counters of open files are those that the model charges."""

from __future__ import annotations

from pcont.subsys.numfiles import FAILCNT, HELD, MAXHELD, MINHELD
from pcont.tables.behaviour import Behaviour, FileBehaviour
from pcont.tables.interface import Interface


def _counter(file: str) -> FileBehaviour:
    return FileBehaviour(derived=lambda site: site.charged()[file])


BEHAVIOURS = {
    Interface.V2006: Behaviour(
        files={file: _counter(file) for file in (HELD, MAXHELD, MINHELD, FAILCNT)}
    )
}
