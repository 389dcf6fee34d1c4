"""The texts for a mount point that is busy, shared by the kernel's backend and the model."""

from __future__ import annotations

from collections.abc import Sequence
from shlex import quote

from pcont.kernel.types import Mount

MOUNTED_THERE = "something is mounted there"


NOT_EMPTY = "the directory is not empty"


def mounts_inside(mounts: Sequence[Mount]) -> tuple[str, str]:
    """Return reason and hint: these mounts keep the one above them from being unmounted."""
    more = f", and {len(mounts) - 1} more" if len(mounts) > 1 else ""
    last, command = mounts[-1], "pcont umount" if mounts[-1].ours else "umount"
    return f"{last.point} is mounted inside{more}", f"{command} {quote(last.point)}"


def processes_inside(pid: int, name: str, use: str, others: int) -> tuple[str, str]:
    """Return reason and hint: processes keep a mount busy. `use`: what the first one has open
    there. `others`: how many more there are.
    """
    more = f", and {others} more processes are in it" if others else ""
    hint = f"end process {pid}, or change its directory (cd /); then try again"
    return f"process {pid} ({name}) has {use} there{more}", hint
