"""bc in the model: its counter files show the open files that the model charges."""

from __future__ import annotations

from pcont.subsys.numfiles import BARRIER, FAILCNT, FILES_LIMIT, HELD, MAXHELD, MINHELD, counted
from pcont.tables.behaviour import Behaviour, FileBehaviour
from pcont.tables.charges import Charges
from pcont.tables.interface import Interface
from pcont.tables.rules import ModelCgroup


def _counter(file: str) -> FileBehaviour:
    return FileBehaviour(derived=lambda site: counted(site.charges)[file])


def _account(site: ModelCgroup) -> Charges:
    """Return the charges of a container, after updating its limits to the written ones."""
    site.charges.barrier, site.charges.limit = site.value(BARRIER), site.value(FILES_LIMIT)
    return site.charges


def _rebind(source: ModelCgroup, target: ModelCgroup) -> None:
    target.charges, source.charges = source.charges, Charges()


BEHAVIOURS = {
    Interface.V2006: Behaviour(
        files={file: _counter(file) for file in (HELD, MAXHELD, MINHELD, FAILCNT)},
        account=_account,
        on_rebind=_rebind,
    )
}
