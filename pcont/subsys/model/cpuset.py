"""cpuset in the model: the effective lists are the lists without what is offline."""

from __future__ import annotations

from pcont.subsys.cpuset import CPUS, MEMS
from pcont.tables.behaviour import Behaviour, FileBehaviour
from pcont.tables.interface import Interface

BEHAVIOURS = {
    Interface.V1: Behaviour(
        files={
            "cpuset.effective_cpus": FileBehaviour(
                derived=lambda site: site.value(CPUS) & site.machine.cpus
            ),
            "cpuset.effective_mems": FileBehaviour(
                derived=lambda site: site.value(MEMS) & site.machine.nodes
            ),
        }
    )
}
