"""What the model does for each controller: one module each, with a Behaviour for each interface.

The modules of cgroup v2 are in `v2`, and have one Behaviour each. A controller that only stores
what is written needs no module here.
"""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any

from pcont.tables.behaviour import NO_BEHAVIOUR, Behaviour
from pcont.tables.interface import Interface

# The modules of this package, and those of `v2`.
_MODULES = ("bc", "core", "cpuacct", "cpuset", "freezer", "numfiles", "numtasks", "pids")
_OF_V2 = ("core", "cpu", "cpuset", "hugetlb", "io", "memory", "misc", "pids", "pressure", "rdma")


@cache
def load_behaviour(name: str, interface: Interface) -> Behaviour:
    """Return what the model does for a controller; NO_BEHAVIOUR if it only stores what is written.

    The empty name means the files that every container has.
    """
    name = name or "core"
    if interface is Interface.V2:
        behaviour = _module(f"v2.{name}").BEHAVIOUR if name in _OF_V2 else NO_BEHAVIOUR
    else:
        found = _module(name).BEHAVIOURS if name in _MODULES else {}
        behaviour = found.get(interface, NO_BEHAVIOUR)
    assert isinstance(behaviour, Behaviour)
    return behaviour


def _module(name: str) -> Any:
    return importlib.import_module(f"pcont.subsys.model.{name}")
