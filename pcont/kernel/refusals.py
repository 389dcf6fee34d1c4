"""How a backend refuses: OSError as the kernel answers, and what a caller may pass over."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from typing import NoReturn

from pcont.errors import Unseen


def refuse(number: int, where: str) -> NoReturn:
    """Raise what the kernel answers: OSError with an errno and a filename."""
    raise OSError(number, os.strerror(number), where)


class WriteRefused(OSError):
    """The caller may open the file for writing, and the kernel refused the text."""


@contextlib.contextmanager
def vanishing() -> Iterator[None]:
    """A container may be removed during the block; one that no mount shows raises Unseen."""
    try:
        yield
    except Unseen:
        raise
    except FileNotFoundError:
        pass


@contextlib.contextmanager
def within_reach() -> Iterator[None]:
    """As `vanishing`, for code that only reads: it also skips a container that is too deep.

    A user that may create containers can nest them until the kernel refuses the length of the path.
    """
    try:
        with vanishing():
            yield
    except OSError as err:
        if err.errno != errno.ENAMETOOLONG:
            raise
