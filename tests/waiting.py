"""Wait for what the kernel does later: tests have no other limit of time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

PATIENCE = 120.0
FIRST_PAUSE, LONGEST_PAUSE = 0.0002, 0.02

T = TypeVar("T")


def until(
    look: Callable[[], T], patience: float = PATIENCE, *, good: Callable[[T], object] = bool
) -> T:
    """Look again and again until what is found is good, or for so many seconds; the last finding.

    The pauses grow, so that what happens soon is seen soon.
    """
    limit, pause = time.monotonic() + patience, FIRST_PAUSE
    while not good(found := look()) and time.monotonic() < limit:
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)
    return found


def eventually(holds: Callable[[], bool], patience: float = PATIENCE) -> bool:
    """Whether something becomes true."""
    return until(holds, patience)
