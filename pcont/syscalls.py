"""mount(2) and umount2(2), which Python's os module lacks."""

from __future__ import annotations

import ctypes
import os


def _checked(result: int, path: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)


def mount(source: str, target: str, type: str, data: str) -> None:
    """mount(2) without flags; OSError with the target as filename."""
    libc = ctypes.CDLL(None, use_errno=True)
    words = [os.fsencode(word) for word in (source, target, type)]
    _checked(libc.mount(*words, ctypes.c_ulong(0), os.fsencode(data)), target)


def umount(target: str) -> None:
    """umount2(2), never lazily and never by force."""
    libc = ctypes.CDLL(None, use_errno=True)
    _checked(libc.umount2(os.fsencode(target), 0), target)
