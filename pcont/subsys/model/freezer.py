"""freezer in the model: a container is frozen by its own state or by that of an ancestor."""

from __future__ import annotations

from collections.abc import Callable

from pcont.subsys.freezer import FROZEN, PARENT, SELF, STATE, THAWED
from pcont.tables.behaviour import Behaviour, FileBehaviour
from pcont.tables.interface import Interface
from pcont.tables.rules import ModelCgroup


def frozen_if(file: str, value: object) -> Callable[[ModelCgroup | None], bool]:
    """Return how to find whether the tasks of a container are frozen: by this value in the file of
    the container or of an ancestor. Without a container: False.
    """

    def frozen(site: ModelCgroup | None) -> bool:
        while site and site.written(file) != value:
            site = site.parent
        return site is not None

    return frozen


_frozen = frozen_if(STATE, FROZEN)

BEHAVIOURS = {
    Interface.V1: Behaviour(
        frozen=_frozen,
        files={
            STATE: FileBehaviour(derived=lambda site: FROZEN if _frozen(site) else THAWED),
            SELF: FileBehaviour(derived=lambda site: int(site.written(STATE) == FROZEN)),
            PARENT: FileBehaviour(derived=lambda site: int(_frozen(site.parent))),
        },
    )
}
