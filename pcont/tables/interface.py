"""The sets of control files that kernels offer: each has a directory of tables in `subsys`."""

from __future__ import annotations

import enum


class Interface(enum.Enum):
    """One set of control files; the value is the name of the directory with its tables."""

    V1 = "v1"  # cgroup v1
    V2 = "v2"  # cgroup v2
    V2006 = "v2006"  # the patch set of December 2006

    # An interface is a key of many caches, and the hash of an Enum is a function in Python.
    __hash__ = object.__hash__
