"""The progress of a command that takes time, as one line on the terminal."""

from __future__ import annotations

import contextlib
import os
import sys
import time


class ProgressBar:
    """Shows on standard error how far a command is, once it takes more than a second.

    Use it on a terminal only. Call it with the next step, and call `beat` often.
    """

    PATIENCE = 1.0
    PAUSE = 0.2  # seconds between two lines

    def __init__(self) -> None:
        self.unit = "step"
        self._since = time.monotonic()
        self._next = self._since + self.PATIENCE
        self._text = "working"
        self._shown = False
        self._owner = os.getpid()  # a forked child shows nothing

    def __call__(self, done: int, of: int) -> None:
        self._text = f"{self.unit} {done + 1} of {of}"
        self.beat()

    def beat(self) -> None:
        """Show the line if PAUSE has passed since the last one."""
        now = time.monotonic()
        if now < self._next or self._owner != os.getpid():
            return
        self._next, self._shown = now + self.PAUSE, True
        self._write(f"\r\x1b[K{self._text}: {now - self._since:.0f} s")

    def wipe(self) -> None:
        """Remove the line; the next beat shows it again."""
        if self._shown:
            self._shown = False
            self._write("\r\x1b[K")

    def close(self) -> None:
        """Remove the line, and ignore later beats."""
        self.wipe()
        self._owner = 0

    @staticmethod
    def _write(text: str) -> None:
        with contextlib.suppress(OSError):
            sys.stderr.write(text)
            sys.stderr.flush()
