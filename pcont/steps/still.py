"""Keep a container frozen while undo moves its tasks out of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pcont.kernel.retry import wait_until
from pcont.kernel.types import Place
from pcont.steps.tasks import would_freeze_itself
from pcont.subsys.freezer import FROZEN, STATE, THAWED

if TYPE_CHECKING:
    from pcont.kernel.interfaces import CgroupState

_PATIENCE, _PAUSE = 5.0, 0.002  # seconds, for tasks to freeze; others are moved as they are


@contextlib.contextmanager
def still(backend: CgroupState, place: Place, patience: float = _PATIENCE) -> Iterator[None]:
    """Freeze a container for the block, unless it is frozen already, or this process is in it.

    The block begins after `patience` seconds at the latest.
    """
    if would_freeze_itself(backend, [place]) or backend.read(place, STATE).strip() != THAWED:
        yield
        return
    with backend.thawing(place):
        backend.write(place, STATE, FROZEN)
        try:
            wait_until(lambda: backend.read(place, STATE).strip() == FROZEN, patience, _PAUSE)
            yield
        finally:
            backend.write(place, STATE, THAWED)
