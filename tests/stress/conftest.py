"""The fixtures that the tests of the contract have, too."""

from __future__ import annotations

from tests.contract.conftest import cgroup2, kernel, name, nothing_is_left, v2

__all__ = ("cgroup2", "kernel", "name", "nothing_is_left", "v2")
