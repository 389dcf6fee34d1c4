"""Looking again and again for whoever has to move, until nobody is found."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import TypeVar

from pcont import signals
from pcont.errors import LimitReached

Found = TypeVar("Found")
Known = TypeVar("Known", bound=Hashable)

FIRST = -20  # the highest of the priorities that nice(2) sets
# In so many seconds no machine starts as many tasks as there are ids before one is used again.
FRESH = 0.02

STOP_THEM = "stop them first (kill -STOP), and go on with them afterwards (kill -CONT)"


def rounds(
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


def fresh(found: Iterable[Found]) -> Iterator[Found]:
    """The ids that were found, at least the first, while they belong to whom they did then."""
    limit = time.monotonic() + FRESH
    for one in found:
        yield one
        if time.monotonic() > limit:
            return


@contextlib.contextmanager
def ahead() -> Iterator[None]:
    """In the block this thread runs before those that it races with, if it may (CAP_SYS_NICE).

    Of what was read of them more still holds then by the time that it is written (benchmarks).
    """
    before = os.getpriority(os.PRIO_PROCESS, 0)
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, FIRST)
    try:
        yield
    finally:
        os.setpriority(os.PRIO_PROCESS, 0, before)


def once(
    find: Callable[[], Iterable[Known]], again: Callable[[Known], bool] = lambda one: False
) -> Callable[[], Iterator[Known]]:
    """A way to find each only once: for what is not tried again where it could not be done.

    `again`: who is found each time all the same.
    """
    seen: set[Known] = set()

    def news() -> Iterator[Known]:
        for one in find():
            if again(one):
                yield one
            elif one not in seen:
                seen.add(one)
                yield one

    return news
