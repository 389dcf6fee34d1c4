"""The errors with which a backend refuses, and how to read containers that may have vanished."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, NoReturn

from pcont.errors import Unseen
from pcont.values import TooLong

if TYPE_CHECKING:
    from pcont.kernel.interfaces import ContainerReader
    from pcont.kernel.types import Place


def refuse(number: int, where: str) -> NoReturn:
    """Raise the OSError with this errno, and `where` as filename."""
    raise OSError(number, os.strerror(number), where)


class WriteRefused(OSError):
    """The kernel refused the text of a write to a file that the caller may write."""


def refuse_text(number: int, where: str, cause: Exception | None = None) -> NoReturn:
    """Raise WriteRefused with an errno for a text that was written to the file `where`."""
    raise WriteRefused(number, os.strerror(number), where) from cause


def unreadable(err: ValueError | OverflowError) -> int:
    """Return the errno for a text that is no value of a file, given what the codec raised."""
    if isinstance(err, TooLong):
        return errno.EOVERFLOW
    return errno.ERANGE if isinstance(err, OverflowError) else errno.EINVAL


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


def exists(cgroups: ContainerReader, place: Place) -> bool:
    """Return whether the container exists. Raises Unseen if no mount could show it."""
    try:
        return cgroups.has(place)
    except Unseen:
        raise
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as err:
        if err.errno != errno.ENAMETOOLONG:
            raise
        return False
