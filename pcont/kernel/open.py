"""Open a backend by its name. No other module imports the backends."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pcont.kernel.interfaces import Backend

BACKENDS = {
    "cgroupfs": "pcont.backend_cgroupfs:Cgroupfs",
    "model": "pcont.backend_model:StoredModel",
    "memory": "pcont.backend_model:ModelInMemory",
}


def open_backend(
    name: str = "cgroupfs", state: str | None = None, dialect: str | None = None
) -> Backend:
    """Open a backend: "cgroupfs" (the kernel), "model" or "memory".

    `state`: the state file of "model"; "memory" is a new model without a file. `dialect`: the
    kernel that a new model simulates.
    """
    module, _, factory = BACKENDS[name].partition(":")
    opened = getattr(importlib.import_module(module), factory)
    arguments = {"model": (state, dialect), "memory": (dialect,)}.get(name, ())
    backend: Backend = opened(*arguments)
    return backend
