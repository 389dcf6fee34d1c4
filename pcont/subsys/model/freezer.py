"""freezer in the model: a container is frozen by its own state or by that of an ancestor."""

from __future__ import annotations

from pcont.subsys.freezer import FROZEN, PARENT, SELF, STATE, THAWED
from pcont.tables.behaviour import Behaviour, FileBehaviour
from pcont.tables.interface import Interface
from pcont.tables.rules import ModelCgroup


def frozen(site: ModelCgroup | None) -> bool:
    """Return whether the tasks of a container are frozen, by itself or by an ancestor. Without a
    container: False.
    """
    while site and site.written(STATE) != FROZEN:
        site = site.parent
    return site is not None


BEHAVIOURS = {
    Interface.V1: Behaviour(
        frozen=frozen,
        files={
            STATE: FileBehaviour(derived=lambda site: FROZEN if frozen(site) else THAWED),
            SELF: FileBehaviour(derived=lambda site: int(site.written(STATE) == FROZEN)),
            PARENT: FileBehaviour(derived=lambda site: int(frozen(site.parent))),
        },
    )
}
