"""One pcont command changes cgroups at a time, as the patch's one management mutex has it (1.12).

The lock of root is below /run/pcont, where only root can open it: nobody else can hold root up.
Other users (with containers delegated to them) take turns among themselves.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator

_depth = 0


def _directory() -> str:
    if os.geteuid() == 0:
        return "/run/pcont"
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    # After su(1) it may be still another user's.
    with contextlib.suppress(OSError):
        if os.stat(runtime).st_uid == os.geteuid():
            return os.path.join(runtime, "pcont")
    return ""


@contextlib.contextmanager
def taken() -> Iterator[None]:
    """Wait for the turn and hold it; within a turn it is at hand at once."""
    global _depth
    directory = _directory()
    if _depth or not directory:
        yield
        return
    os.makedirs(directory, mode=0o700, exist_ok=True)
    descriptor = os.open(
        os.path.join(directory, "lock"),
        os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW,
        0o600,
    )
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        _depth += 1
        yield
    finally:
        _depth = 0
        os.close(descriptor)
