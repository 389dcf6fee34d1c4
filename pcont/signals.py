"""Signals that arrive amid an operation wait for the end of a step, and then undo it all."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

DEFERRED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Checkpoint = Callable[[], None]


class Interrupted(BaseException):
    """A signal asked for the end; what had been done by then is undone. Exit status 128+N."""

    def __init__(self, number: int) -> None:
        super().__init__(f"interrupted by {signal.Signals(number).name}")
        self.number = number


@contextlib.contextmanager
def held() -> Iterator[Checkpoint]:
    """Hold signals back; the function that is given raises Interrupted if one has come.

    Python delivers signals to the main thread only: elsewhere nothing has to be held. One that
    comes after the last checkpoint is delivered at the end, as if it had come then.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    arrived: list[int] = []

    def checkpoint() -> None:
        if arrived:
            number = arrived[0]
            arrived.clear()
            raise Interrupted(number)

    before = _handle(lambda number, frame: arrived.append(number))
    try:
        yield checkpoint
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    for late in arrived:
        signal.raise_signal(late)


def _handle(handler: Callable[[int, FrameType | None], None]) -> dict[signal.Signals, Any]:
    """Set a handler; the ones before. A signal that is ignored (nohup) stays ignored."""
    before = {number: signal.getsignal(number) for number in DEFERRED}
    for number, old in before.items():
        if old is not signal.SIG_IGN:
            signal.signal(number, handler)
    return before
