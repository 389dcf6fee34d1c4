"""Raise the priority of a command that races with tasks that fork, before it imports anything else.

On a machine that hundreds of forking tasks keep busy, the imports of a command alone take seconds.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence

HIGHEST_PRIORITY = -20  # the highest of the priorities that nice(2) sets

# The commands that race, each with the option that makes it race; none for one that always does.
RACING = {"move": "", "attach": "--tree", "rm": "--kill"}
# Options that can stand before the command, and take the next word as their value.
VALUED = {"--backend", "--state", "--dialect"}

_before: int | None = None


def raise_early(words: Sequence[str]) -> None:
    """Give this process the highest priority if it is root's, and its command line races.

    `words`: the command line without the name of the program.
    """
    global _before
    if os.geteuid() == 0 and races(words):
        _before = os.getpriority(os.PRIO_PROCESS, 0)
        os.setpriority(os.PRIO_PROCESS, 0, HIGHEST_PRIORITY)


def races(words: Sequence[str]) -> bool:
    """Return whether a command line is one that races with tasks that fork."""
    own = [*words[: words.index("--")]] if "--" in words else [*words]
    option = RACING.get(next(_arguments(own), ""))
    return option is not None and (not option or option in own)


def _arguments(words: Sequence[str]) -> Iterator[str]:
    """Yield the words that are neither options before the command nor their values."""
    above = ""
    for word in words:
        if not word.startswith("-") and above not in VALUED:
            yield word
        above = word


def for_others() -> Callable[[], None] | None:
    """Return what a process does that runs a program of another user, before it executes that:
    take back the priority of `raise_early`; None if that has done nothing.
    """
    before = _before
    return None if before is None else lambda: os.setpriority(os.PRIO_PROCESS, 0, before)
