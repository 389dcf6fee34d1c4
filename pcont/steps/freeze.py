"""Everything in a container stands still while it is moved or killed."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from shlex import quote

from pcont import signals
from pcont.kernel.interfaces import CgroupState, ContainerReader, Containers
from pcont.kernel.types import Place
from pcont.steps.write import RestoreValue
from pcont.subsys.freezer import FROZEN, STATE, THAWED
from pcont.transaction.undo_log import UndoLog

PATIENCE = 30.0  # seconds; a task in state D freezes once its device answers
AGAIN = 1.0  # seconds after which those are woken again that have not stopped
PAUSE = 0.002


@contextlib.contextmanager
def kept_frozen(backend: CgroupState, memory: UndoLog, place: Place) -> Iterator[bool]:
    """Freeze a container of the freezer for the length of the block, if all in it will stop.

    Yields whether it is frozen. Where the block fails, undoing thaws it in the end, and should
    this process die, another one does. What others have frozen stays so.
    """
    if backend.read(place, STATE).strip() != THAWED:
        yield _wait(backend, place)
        return
    memory.hold(backend.thawing(place))
    before = RestoreValue.of(backend, place, STATE)
    with memory.of(before):
        backend.write(place, STATE, FROZEN)
    stands_still = _wait(backend, place, asking=True)
    if stands_still:
        yield True
    backend.write(place, STATE, THAWED)
    memory.drop(before)
    if not stands_still:
        yield False


def is_set_frozen(backend: ContainerReader, place: Place, lines: Sequence[str]) -> list[str]:
    """Commands, between those that freeze the container for them."""
    if backend.read(place, STATE).strip() != THAWED:
        return [*lines]
    file = quote(backend.show(place, STATE))
    return [f"echo {FROZEN} > {file}", *lines, f"echo {THAWED} > {file}"]


def _wait(backend: Containers, place: Place, asking: bool = False) -> bool:
    """Until all have stopped.

    A task may miss that it is to stop, one that waits for a file of a 9p root for instance: it is
    woken again by another write, where the first was ours.
    """
    asked = looked = time.monotonic()
    limit = asked + PATIENCE
    while backend.read(place, STATE).strip() != FROZEN:
        signals.check()
        now = time.monotonic()
        if now > limit:
            return False
        if asking and now > asked + AGAIN:
            backend.write(place, STATE, FROZEN)
            asked = now
        # The kernel looks at every task for an answer; they need the CPU to stop.
        time.sleep(max(PAUSE, now - looked))
        looked = time.monotonic()
    return True
