"""Read the ids of tasks that a command is given: words, ranges and lists on standard input."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from pcont.bases import NamedTuple
from pcont.errors import shortened

IDS_SHOWN = 8  # ids in a message

STDIN = "-"
WIDEST = 100_000  # most ids in a range: pcont looks up each one
_SEPARATOR = r"[\s,]+"
_RANGE = r"([0-9]+)-([0-9]+)"


class TaskIds(NamedTuple):
    """The ids that a command is given.

    `given`: single ids; each must be a task. `listed`: ids on standard input, where a task may have
    ended since it was listed. `ranges`: pcont looks up which ids are tasks.
    """

    given: tuple[int, ...] = ()
    listed: tuple[int, ...] = ()
    ranges: tuple[range, ...] = ()

    @classmethod
    def of(cls, ids: Sequence[int] | TaskIds) -> TaskIds:
        """Return ids that were given one by one, or what has been read already."""
        return ids if isinstance(ids, TaskIds) else cls(tuple(ids))

    @property
    def text(self) -> str:
        """The ids as a message shows them."""
        words = [*map(str, (*self.given, *self.listed)), *map(as_text, self.ranges)]
        return shortened(words, IDS_SHOWN) or "standard input is empty"


def as_text(ids: range) -> str:
    """Return a range as it was written."""
    return f"{ids.start}-{ids.stop - 1}"


def read_ids(words: Iterable[str], stdin: Callable[[], str]) -> TaskIds:
    """Return the ids in words; the word `-` means those on standard input, which is read once.

    A word is an id, a range FIRST-LAST, or several of these separated by blanks or commas. Raises
    ValueError, with a message, for any other text.
    """
    given: list[int | range] = []
    listed: list[int | range] = []
    for word in dict.fromkeys(words):
        if word.isdecimal():
            given.append(number(word))
        elif word == STDIN:
            listed += map(_one, filter(None, re.split(_SEPARATOR, stdin())))
        else:
            given += map(_one, re.split(_SEPARATOR, word.strip() or word))
    return TaskIds(
        given=tuple(one for one in given if isinstance(one, int)),
        listed=tuple(one for one in listed if isinstance(one, int)),
        ranges=tuple(one for one in (*given, *listed) if isinstance(one, range)),
    )


def _one(word: str) -> int | range:
    """Return the id or the range in a word."""
    if word.isdecimal():
        return number(word)
    if found := re.fullmatch(_RANGE, word):
        first, last = number(found[1]), number(found[2])
        if not first <= last < first + WIDEST:
            problem = "ends before it begins" if last < first else f"has more than {WIDEST} ids"
            raise ValueError(f"the range {word} {problem}")
        return range(first, last + 1)
    return number(word)


def number(word: str, label: str = "the id of a task") -> int:
    """Return the number in a word; ValueError for a word that cannot be `label`."""
    if not (word.isascii() and word.isdecimal() and 0 < int(word[:11]) < 1 << 31):
        raise ValueError(f"{word!r} is not {label}")
    return int(word)
