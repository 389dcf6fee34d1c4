"""What the model does for each subsystem: one module each, with a Behaviour for each interface.

A subsystem that only stores what is written needs no module here.
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
    """Return what the model does for a subsystem, by its name; NO_BEHAVIOUR if it only stores.

    Without a name it is what the model does for the files of every container.
    """
    name = name or "core"
    if name not in _MODULES:
        return NO_BEHAVIOUR
    found = importlib.import_module(f"pcont.subsys.model.{name}").BEHAVIOURS
    behaviour = found.get(interface, NO_BEHAVIOUR)
    assert isinstance(behaviour, Behaviour)
    return behaviour
