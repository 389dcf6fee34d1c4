"""numfiles in the model: it counts open files as pcont's BPF programs do."""

from __future__ import annotations

from pcont.subsys.numfiles import BARRIER, FILES_LIMIT, counted
from pcont.tables.behaviour import Behaviour, Enforcement
from pcont.tables.charges import Charges
from pcont.tables.interface import Interface
from pcont.tables.rules import ModelCgroup


def _account(site: ModelCgroup) -> Charges | None:
    """Return the charges of a container; None for the root, which is not counted."""
    return site.charges if site.parent else None


def _set(site: ModelCgroup, file: str, value: int) -> bool:
    setattr(site.charges, {BARRIER: "barrier", FILES_LIMIT: "limit"}[file], value)
    return True


def _end(site: ModelCgroup) -> None:
    site.charges = Charges()


BEHAVIOURS = {
    Interface.V1: Behaviour(
        account=_account,
        enforcement=Enforcement(values=lambda site: counted(site.charges), set=_set, end=_end),
    )
}
