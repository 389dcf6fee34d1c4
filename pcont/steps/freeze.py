"""Freeze a container while its tasks are moved or killed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pcont import signals
from pcont.kernel.retry import Retry
from pcont.kernel.types import Place
from pcont.steps.write import RestoreValue, Setting, WriteFiles
from pcont.subsys.freezer import FROZEN, STATE, THAWED
from pcont.transaction.undo_log import UndoLog

if TYPE_CHECKING:
    from pcont.kernel.interfaces import CgroupState, Containers

FREEZE_PATIENCE = 30.0  # seconds; a task in state D freezes once its device answers
FREEZE_AGAIN = 1.0  # seconds after which FROZEN is written again for tasks that have not stopped
FREEZE_PAUSE = 0.002


@contextlib.contextmanager
def kept_frozen(backend: CgroupState, undo_log: UndoLog, place: Place) -> Iterator[bool]:
    """Freeze a container of the freezer for the block. Yields whether all its tasks have frozen.

    If they do not freeze within FREEZE_PATIENCE seconds, the container is thawed before the block
    begins. If the block fails, undo thaws it; if this process is killed, a watchdog process thaws
    it. A container that another program has frozen stays frozen. On cgroup v2, a user other than
    root cannot freeze a container that root gave to the user: then it is not frozen.
    """
    if backend.read(place, STATE).strip() != THAWED:
        yield _wait_until_frozen(backend, place)
        return
    before = _freeze(backend, undo_log, place)
    if before is None:
        yield False
        return
    frozen = _wait_until_frozen(backend, place, write_again=True)
    if frozen:
        yield True
    backend.write(place, STATE, THAWED)
    undo_log.drop(before)
    if not frozen:
        yield False


def _freeze(backend: CgroupState, undo_log: UndoLog, place: Place) -> RestoreValue | None:
    """Write FROZEN. Returns the record that thaws the container; None if the user may not."""
    before = RestoreValue.of(backend, place, STATE)
    try:
        undo_log.hold(backend.thawing(place))
        with undo_log.of(before):
            backend.write(place, STATE, FROZEN)
    except PermissionError:
        if backend.privileged():
            raise
        return None
    return before


def state_lines(backend: CgroupState, place: Place, state: str) -> list[str]:
    """Return shell commands that write FROZEN or THAWED, for a dry run."""
    return WriteFiles([Setting(place, STATE, state)], f"freeze {place.shown}").dry_run_lines(
        backend
    )


def is_set_frozen(backend: CgroupState, place: Place, lines: Sequence[str]) -> list[str]:
    """Return shell commands with those that freeze and thaw the container around them, for a dry
    run.

    Returns `lines` alone if the container is frozen already.
    """
    if backend.read(place, STATE).strip() != THAWED:
        return [*lines]
    return [
        *state_lines(backend, place, FROZEN),
        *lines,
        *state_lines(backend, place, THAWED),
    ]


def _wait_until_frozen(backend: Containers, place: Place, write_again: bool = False) -> bool:
    """Wait until all tasks have frozen; returns False after FREEZE_PATIENCE seconds.

    A task may miss the request, such as one that waits for a file of a 9p file system.
    `write_again` writes FROZEN again every second, which wakes that task. It is set only if pcont
    froze the container.
    """
    retry, written = Retry(FREEZE_PATIENCE, FREEZE_PAUSE), Retry(FREEZE_AGAIN)
    reading = Retry()
    while backend.read(place, STATE).strip() != FROZEN:
        took = reading.waited
        signals.check()
        if retry.is_over:
            return False
        if write_again and written.is_over:
            backend.write(place, STATE, FROZEN)
            written.restart()
        # Each read makes the kernel look at every task, and the tasks need the CPU to stop.
        retry.wait(at_least=took)
        reading.restart()
    return True
