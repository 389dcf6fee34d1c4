"""Defer signals during an operation: they take effect at the end of a step, and undo the
operation.
"""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

DEFERRED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

# True in a process that runs one command line and then ends. A program that uses pcont as a library
# lives on: it does not stop with a command that it has started, nor hang up the terminal after it.
is_command_line = False

Handler = Callable[[int, "FrameType | None"], None]

_arrived: list[int] = []
_depth = 0
_shields = 0
_beat: Callable[[], None] | None = None


class Interrupted(BaseException):
    """A signal ended the operation. The exit status is 128 plus its number.

    `undone`: changes were made and undone. `left`: what could not be undone.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"interrupted by {signal.Signals(number).name}")
        self.number = number
        self.undone = False
        self.left: list[str] = []


@contextlib.contextmanager
def held() -> Iterator[None]:
    """In the block, defer signals until `check` is called. Only the outermost block has an effect.

    Python delivers signals to the main thread only, so in other threads this does nothing. A signal
    after the last `check` is delivered at the end of the block. If the block raises, pending
    signals are discarded and the exception is kept.
    """
    global _depth
    if _depth or not _in_main_thread():
        yield
        return
    before = handle(lambda number, frame: _arrived.append(number))
    _depth = 1
    try:
        yield
    except BaseException:
        restore_handlers(before)
        _arrived.clear()
        raise
    else:
        restore_handlers(before)
        deliver()
    finally:
        _depth = 0


def at_each_check(function: Callable[[], None] | None) -> None:
    """Set a function that `check` and `beat` call; None removes it."""
    global _beat
    _beat = function


def beat() -> None:
    """Call the function of `at_each_check`. Loops that may take a second call this or `check`."""
    if _beat and _in_main_thread():
        _beat()


def check() -> None:
    """Raise Interrupted if a signal was deferred."""
    beat()
    if _arrived and not _shields and _in_main_thread():
        number = _arrived[0]
        _arrived.clear()
        raise Interrupted(number)


@contextlib.contextmanager
def shielded() -> Iterator[None]:
    """In the block, `check` does not raise."""
    global _shields
    if not _in_main_thread():
        yield
        return
    _shields += 1
    try:
        yield
    finally:
        _shields -= 1


def take_arrived() -> list[int]:
    """Return the deferred signals, and treat them as delivered."""
    found = []
    while _arrived:  # one at a time: the handler adds to it
        found.append(_arrived.pop(0))
    return found


def deliver() -> None:
    """Raise the deferred signals in this process."""
    for number in take_arrived():
        signal.raise_signal(number)


def handle(handler: Handler) -> dict[signal.Signals, Any]:
    """Set a handler for the deferred signals; returns the handlers before.

    A signal that is ignored (nohup) stays ignored.
    """
    found = {number: signal.getsignal(number) for number in DEFERRED}
    # None is a handler that was not set from Python, and could not be set again.
    before = {number: old for number, old in found.items() if old not in (signal.SIG_IGN, None)}
    for number in before:
        signal.signal(number, handler)
    return before


def _in_main_thread() -> bool:
    threading = sys.modules.get("threading")  # without this module, there is only one thread
    return threading is None or threading.current_thread() is threading.main_thread()


def restore_handlers(before: dict[signal.Signals, Any]) -> None:
    """Restore the handlers that `handle` returned."""
    for number, handler in before.items():
        signal.signal(number, handler)
