"""Waiting for what the kernel does later: a test has no other limit of time."""

from __future__ import annotations

import time
from collections.abc import Callable


def eventually(holds: Callable[[], bool], patience: float = 120.0) -> bool:
    """Whether something comes true."""
    limit = time.monotonic() + patience
    while not holds():
        if time.monotonic() > limit:
            return False
        time.sleep(0.02)
    return True
