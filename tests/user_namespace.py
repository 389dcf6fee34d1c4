"""A process of a test becomes root of a user namespace of an ordinary user."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from pcont.linux import syscalls
from pcont.linux.namespaces import CLONE_FLAGS

PR_SET_DUMPABLE = 4  # linux/prctl.h


def enter(uid: int) -> None:
    """Become that user, if this is root, and then root of a namespace of that user's.

    For a process that was forked: the user may not be able to start the interpreter of a test,
    which may be below /root. OSError where the kernel refuses user namespaces.
    """
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    user, group = os.geteuid(), os.getegid()
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)  # else /proc/self is root's
    syscalls.sys_unshare(CLONE_FLAGS["user"], "user")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {user} 1")
    Path("/proc/self/gid_map").write_text(f"0 {group} 1")
