"""System calls that Python's os module lacks: mounts, namespaces, orphans, signal descriptors."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable

# sys/mount.h
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC, MS_PRIVATE = 2, 4, 8, 4096, 16384, 1 << 18
MNT_DETACH = 2

# linux/prctl.h
_PR_SET_CHILD_SUBREAPER, _PR_GET_CHILD_SUBREAPER = 36, 37


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _checked(result: int, path: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)


def sys_mount(source: str, target: str, type: str, data: str = "", flags: int = 0) -> None:
    """Call mount(2). Raises OSError with the target as filename."""
    words = [os.fsencode(word) for word in (source, target, type)]
    _checked(_libc().mount(*words, ctypes.c_ulong(flags), os.fsencode(data)), target)


def sys_umount(target: str, flags: int = 0) -> None:
    """Call umount2(2). Raises OSError with the target as filename."""
    _checked(_libc().umount2(os.fsencode(target), flags), target)


def sys_unshare(flags: int, label: str) -> None:
    """Call unshare(2) with CLONE_NEW* flags. Raises OSError with `label` as filename."""
    _checked(_libc().unshare(ctypes.c_int(flags)), label)


def setns(descriptor: int, flag: int, label: str) -> None:
    """Call setns(2) with the descriptor of a namespace. Raises OSError with `label` as filename."""
    _checked(_libc().setns(ctypes.c_int(descriptor), ctypes.c_int(flag)), label)


def adopts_orphans() -> bool:
    """Return whether orphaned descendants become children of this process
    (PR_GET_CHILD_SUBREAPER).
    """
    found = ctypes.c_int(0)
    _checked(_libc().prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(found), 0, 0, 0), "prctl")
    return bool(found.value)


def adopt_orphans(wanted: bool) -> None:
    """Set whether orphaned descendants become children of this process (PR_SET_CHILD_SUBREAPER)."""
    arguments = (ctypes.c_ulong(word) for word in (wanted, 0, 0, 0))
    _checked(_libc().prctl(_PR_SET_CHILD_SUBREAPER, *arguments), "prctl")


def signalfd(numbers: Iterable[int]) -> int:
    """Call signalfd(2); returns a non-blocking descriptor that reads these signals, which must be
    blocked.
    """
    word = 8 * ctypes.sizeof(ctypes.c_ulong)
    mask = (ctypes.c_ulong * (1024 // word))()  # sigset_t of glibc and musl: 128 bytes
    for number in numbers:
        mask[(number - 1) // word] |= 1 << (number - 1) % word
    descriptor: int = _libc().signalfd(-1, ctypes.byref(mask), os.O_CLOEXEC | os.O_NONBLOCK)
    _checked(min(descriptor, 0), "signalfd")
    return descriptor
