"""Waiting for the kernel to come to rest, so closely that a walk of many steps is not held up."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE = 20.0
FIRST_PAUSE, LONGEST_PAUSE = 0.0002, 0.02


def rests(holds: Callable[[], bool], patience: float = PATIENCE) -> bool:
    """Whether something comes true."""
    limit, pause = time.monotonic() + patience, FIRST_PAUSE
    while not holds():
        if time.monotonic() > limit:
            return False
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)
    return True
