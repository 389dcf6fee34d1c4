"""The one helper for loops that try again: how long pcont tries, and how long it waits between."""

from __future__ import annotations

import math
import time
from collections.abc import Callable


class Retry:
    """The time limit of a loop, and the pauses between its rounds.

    `patience` is the limit in seconds, from now on. `pause` is the length of the first pause. Each
    further pause is twice as long as the one before it, up to `longest` seconds; without `longest`,
    all pauses are equal.

        retry = Retry(10.0, pause=0.01, longest=0.1)
        while not found():
            if retry.is_over:
                raise Busy(...)
            retry.wait()
    """

    __slots__ = ("_began", "_longest", "_patience", "_pause")

    def __init__(self, patience: float = math.inf, pause: float = 0.0, longest: float = 0.0):
        self._patience = patience
        self._pause = pause
        self._longest = longest
        self._began = time.monotonic()

    @property
    def waited(self) -> float:
        """The seconds since the start."""
        return time.monotonic() - self._began

    @property
    def is_over(self) -> bool:
        """Whether the time limit is reached."""
        return self.waited >= self._patience

    def restart(self) -> None:
        """Begin the time again, for a loop that makes progress."""
        self._began = time.monotonic()

    def wait(self, at_least: float = 0.0) -> None:
        """Sleep for the next pause, or for `at_least` seconds if that is longer."""
        time.sleep(max(self._pause, at_least))
        self._pause = max(self._pause, min(2 * self._pause, self._longest))


def wait_until(holds: Callable[[], bool], patience: float, pause: float) -> bool:
    """Call `holds` until it returns True, for `patience` seconds; return whether it did."""
    retry = Retry(patience, pause)
    while not holds():
        if retry.is_over:
            return False
        retry.wait()
    return True
