"""What systemd does with cgroup v2, where it is the init process."""

from __future__ import annotations

import os

_RUNNING = "/run/systemd/system"  # sd_booted(3)
_SUFFIXES = (".slice", ".service", ".scope")


def is_init() -> bool:
    """Return whether systemd is the init process of this machine."""
    return os.path.isdir(_RUNNING)


def unit_in(path: str) -> str:
    """Return the path of the first container on a path that has the name of a unit; empty if none
    has.
    """
    above = ""
    for name in path.strip("/").split("/"):
        above = f"{above}/{name}"
        if name.endswith(_SUFFIXES):
            return above
    return ""
