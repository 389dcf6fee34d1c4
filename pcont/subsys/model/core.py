"""The files of every container in the model: what happens when a container becomes empty."""

from __future__ import annotations

from pcont.subsys import AUTO_DELETE, NOTIFY
from pcont.tables.behaviour import Behaviour
from pcont.tables.interface import Interface
from pcont.tables.rules import ModelCgroup


def _notify(site: ModelCgroup) -> None:
    """Run the release agent if notify_on_release is set (kernel/cgroup/cgroup-v1.c,
    cgroup1_check_for_release()).
    """
    if site.value(NOTIFY):
        site.run_agent()


def _notify_and_delete(site: ModelCgroup) -> None:
    """Run the agent first, and then remove the container (patch semantics, 1.9 and 6.4)."""
    _notify(site)
    _delete(site)


def _delete(site: ModelCgroup) -> None:
    """Remove an empty container; an open file keeps the container that it is charged to."""
    if site.parent and site.value(AUTO_DELETE) and site.is_empty() and not site.charges.held:
        site.vanish()


BEHAVIOURS = {
    Interface.V1: Behaviour(on_empty=_notify),
    Interface.V2006: Behaviour(on_empty=_notify_and_delete, on_closed=_delete),
}
