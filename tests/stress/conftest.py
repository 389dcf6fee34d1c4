"""The fixtures that the tests of the contract have, too."""

from __future__ import annotations

from tests.contract.conftest import kernel, name, nothing_is_left

__all__ = ("kernel", "name", "nothing_is_left")
