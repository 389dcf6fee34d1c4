"""What systemd does with cgroup v2, where it is the init process."""

from __future__ import annotations

import os

from pcont.trust import ownership

_RUNNING = "/run/systemd/system"  # sd_booted(3)
_SUFFIXES = (".slice", ".service", ".scope")
# Attributes that systemd sets on the directory of a unit: 1 if the unit has Delegate=yes, and the
# id of this start of the unit (systemd.exec(5)).
DELEGATE, INVOCATION = "delegate", "invocation_id"


def is_init() -> bool:
    """Return whether systemd is the init process of this machine."""
    return os.path.isdir(_RUNNING)


def is_unit(name: str) -> bool:
    """Return whether a container has the name of a unit that has containers."""
    return name.endswith(_SUFFIXES)


def attribute(directory: str, name: str, privileged: bool) -> str:
    """Return an attribute that systemd has set on a directory; empty if there is none.

    `privileged`: the reader has CAP_SYS_ADMIN in the first user namespace. It trusts what needs
    that capability to be written. Any other reader trusts the copy for users, if no other user can
    write to the directory.
    """
    try:
        if privileged:
            return os.fsdecode(os.getxattr(directory, f"trusted.{name}"))
        if ownership.is_safe(os.stat(directory), os.geteuid()):
            return os.fsdecode(os.getxattr(directory, f"user.{name}"))
    except OSError:
        pass
    return ""
