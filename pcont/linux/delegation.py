"""What the kernel says about delegation of cgroup v2 to other users."""

from __future__ import annotations

from collections.abc import Sequence

_LIST = "/sys/kernel/cgroup/delegate"
# Kernels before 4.15 have no list.
_ALWAYS = ("cgroup.procs", "cgroup.threads", "cgroup.subtree_control")


def files(path: str = _LIST) -> Sequence[str]:
    """Return the files of a container of cgroup v2 that a user gets with the container.

    Source: cgroup-v2.rst, "Model of Delegation". A kernel that has memory.oom.group and
    memory.reclaim lists them, too.
    """
    try:
        with open(path, encoding="ascii") as stream:
            return tuple(stream.read().split())
    except FileNotFoundError:
        return _ALWAYS
