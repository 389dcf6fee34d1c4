"""Looking again and again for whoever has to move, until nobody is found."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import TypeVar

from pcont import signals
from pcont.errors import LimitReached

Found = TypeVar("Found")
Known = TypeVar("Known", bound=Hashable)

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


def once(find: Callable[[], Iterable[Known]]) -> Callable[[], Iterator[Known]]:
    """A way to find each only once: for what is not tried again where it could not be done."""
    seen: set[Known] = set()

    def news() -> Iterator[Known]:
        for one in find():
            if one not in seen:
                seen.add(one)
                yield one

    return news
