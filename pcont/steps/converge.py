"""Looking again and again for whoever has to move, there or back, until nobody is found."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from pcont import signals
from pcont.errors import LimitReached

Found = TypeVar("Found")
Where = TypeVar("Where")

HIGHEST_PRIORITY = -20  # the highest of the priorities that nice(2) sets
# In so many seconds no machine starts as many tasks as there are ids before one is used again.
FRESH = 0.02
PATIENCE_BACK = 60.0
PAUSE = 0.001

STOP_THEM = "stop them first (kill -STOP), and go on with them afterwards (kill -CONT)"


def until_stable(
    find: Callable[[], Iterable[Found]], doing: str, patience: float, hint: str = STOP_THEM
) -> Iterator[Found]:
    """All that is found, each as soon as it is; then what is found by then, until nothing is.

    Signals are heeded in between. Raises LimitReached, with the hint, after a round that ends more
    than `patience` seconds after the first one began.
    """
    limit = time.monotonic() + patience
    found = True
    while found:
        found = False
        for one in find():
            found = True
            yield one
            signals.check()
        if found and time.monotonic() > limit:
            raise LimitReached(
                f"cannot {doing}: threads or children are made faster than they can be moved",
                hint=hint,
            )


def recently_listed(found: Iterable[Found]) -> Iterator[Found]:
    """The ids that were found, at least the first, while they belong to whom they did then."""
    limit = time.monotonic() + FRESH
    for one in found:
        yield one
        if time.monotonic() > limit:
            return


@contextlib.contextmanager
def raised_priority() -> Iterator[None]:
    """In the block this thread runs before those that it races with, if it may (CAP_SYS_NICE).

    Of what was read of them more still holds then by the time that it is written (benchmarks).
    """
    before = os.getpriority(os.PRIO_PROCESS, 0)
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, HIGHEST_PRIORITY)
    try:
        yield
    finally:
        os.setpriority(os.PRIO_PROCESS, 0, before)


@dataclass(frozen=True)
class Straggler(Generic[Where]):
    """Somebody who is to go back from where he came to.

    `start`: the clock tick at which he began, of which those are told apart who get the same id
    one after the other. None: he has ended, or is about to, and cannot be moved any more; but he
    may have left children, and what he is in cannot be removed before he has gone.
    """

    where: Where
    task: int
    start: int | None


def return_all(
    find: Callable[[], Iterable[Straggler[Where]]], doing: str
) -> Iterator[Straggler[Where]]:
    """All who are to go back, each once, until nobody is found, nor anybody who is ending.

    Raises LimitReached where that takes too long.
    """
    tried: set[Straggler[Where]] = set()

    def news() -> Iterator[Straggler[Where]]:
        living = False
        for one in recently_listed(one for one in find() if one not in tried):
            if one.start is not None:
                tried.add(one)
                living = True
            yield one
        if not living:
            time.sleep(PAUSE)  # those who are to end need the CPU, too

    with raised_priority():
        for one in until_stable(news, doing, PATIENCE_BACK):
            if one.start is not None:
                yield one
