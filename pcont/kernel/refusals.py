"""The errors with which a backend refuses, and context managers that ignore vanished containers."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from typing import NoReturn

from pcont.errors import Unseen


def refuse(number: int, where: str) -> NoReturn:
    """Raise the OSError with this errno, and `where` as filename."""
    raise OSError(number, os.strerror(number), where)


class WriteRefused(OSError):
    """The kernel refused the text of a write to a file that the caller may write."""


@contextlib.contextmanager
def vanishing() -> Iterator[None]:
    """In the block, ignore that a container was removed. Raises Unseen for one that no
    mount shows.
    """
    try:
        yield
    except Unseen:
        raise
    except FileNotFoundError:
        pass


@contextlib.contextmanager
def within_reach() -> Iterator[None]:
    """In the block, ignore that a container was removed, or that its path is too long. Use it for
    reading only.

    A user with a container can nest containers until the kernel refuses the length of the path.
    """
    try:
        with vanishing():
            yield
    except OSError as err:
        if err.errno != errno.ENAMETOOLONG:
            raise
