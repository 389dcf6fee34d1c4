"""Repeat a search until it finds no more tasks to move, for moves and for their undo."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

from pcont import signals
from pcont.errors import LimitReached
from pcont.kernel.retry import Retry
from pcont.linux.priority import HIGHEST_PRIORITY

Found = TypeVar("Found")
_Where = TypeVar("_Where")

# Seconds in which no machine starts so many tasks that a task id is reused.
FRESH = 0.02
PATIENCE_BACK = 60.0
EXIT_PAUSE = 0.001

STOP_THEM = "stop them first (kill -STOP), and continue them afterwards (kill -CONT)"


def until_stable(
    find: Callable[[], Iterable[Found]],
    action: str,
    patience: float,
    hint: str = STOP_THEM,
    confirm: bool = False,
) -> Iterator[Found]:
    """Yield what `find` returns, and call `find` again until it returns nothing.

    The caller moves each item before it takes the next one. Pending signals are handled after each
    item. `confirm`: end only after two empty rounds, because one listing of the kernel may leave a
    task out (`tasks.all_tasks_in`). `action` names the operation in the error. Raises LimitReached
    with `hint` after a round that ends more than `patience` seconds after the start.
    """
    retry = Retry(patience)
    empty_rounds = 0
    while empty_rounds < 1 + confirm:
        found = False
        empty_rounds += 1
        for one in find():
            empty_rounds = 0
            found = True
            yield one
            signals.check()
        if found and retry.is_over:
            raise LimitReached(
                f"cannot {action}: threads or children start faster than pcont can move them",
                hint=hint,
            )


def recently_listed(found: Iterable[Found]) -> Iterator[Found]:
    """Yield the items of a list of task ids while no id of it can have been reused (20 ms), but at
    least the first.

    The caller reads a new list for the rest.
    """
    limit = time.monotonic() + FRESH
    for one in found:
        yield one
        if time.monotonic() > limit:
            return


@contextlib.contextmanager
def raised_priority() -> Iterator[None]:
    """Raise this thread's priority for the block, if it has CAP_SYS_NICE.

    The thread races with tasks that fork: with a higher priority, more of what it has read of them
    is still valid when it writes.
    """
    before = os.getpriority(os.PRIO_PROCESS, 0)
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, HIGHEST_PRIORITY)
    try:
        yield
    finally:
        os.setpriority(os.PRIO_PROCESS, 0, before)


class Straggler(Generic[_Where]):
    """A task that undo still has to move back.

    `where`: what the search knows of its origin. `task`: its id. `start`: its start time in clock
    ticks since boot, which distinguishes it from a later task with the same id; None if the task is
    exiting. An exiting task cannot be moved, but it may have left children, and its container
    cannot be removed until it has exited.
    """

    def __init__(self, where: _Where, task: int, start: int | None) -> None:
        self.where, self.task, self.start = where, task, start

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Straggler) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    @property
    def _key(self) -> tuple[_Where, int, int | None]:
        return self.where, self.task, self.start


def return_all(
    find: Callable[[], Iterable[Straggler[_Where]]], action: str
) -> Iterator[Straggler[_Where]]:
    """Yield every task that `find` reports for moving back, each once, until `find` reports none,
    not even an exiting one.

    Raises LimitReached after PATIENCE_BACK seconds. `action` names the operation in that error.
    """
    tried: set[Straggler[_Where]] = set()
    exits = Retry(pause=EXIT_PAUSE)

    def news() -> Iterator[Straggler[_Where]]:
        living = False
        for one in recently_listed(one for one in find() if one not in tried):
            if one.start is not None:
                tried.add(one)
                living = True
            yield one
        if not living:
            exits.wait()  # the tasks that are exiting need the CPU

    with raised_priority():
        for one in until_stable(news, action, PATIENCE_BACK, confirm=True):
            if one.start is not None:
                yield one
