"""What the model does for each controller: one module each, with a Behaviour for each interface.

A controller that only stores what is written needs no module here.
"""

from __future__ import annotations

import importlib
from functools import cache

from pcont.tables.behaviour import NO_BEHAVIOUR, Behaviour
from pcont.tables.interface import Interface

# The modules of this package.
_MODULES = ("bc", "core", "cpuacct", "cpuset", "freezer", "numfiles", "numtasks", "pids")


@cache
def load_behaviour(name: str, interface: Interface) -> Behaviour:
    """Return what the model does for a controller; NO_BEHAVIOUR if it only stores what is written.

    The empty name means the files that every container has.
    """
    name = name or "core"
    if name not in _MODULES:
        return NO_BEHAVIOUR
    found = importlib.import_module(f"pcont.subsys.model.{name}").BEHAVIOURS
    behaviour = found.get(interface, NO_BEHAVIOUR)
    assert isinstance(behaviour, Behaviour)
    return behaviour
