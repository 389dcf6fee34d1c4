"""The backends by name; the one module that names them."""

from __future__ import annotations

import importlib

from pcont.kernel.interfaces import Backend

BACKENDS = {
    "cgroupfs": "pcont.backend_cgroupfs:Cgroupfs",
    "model": "pcont.backend_model:StoredModel",
    "memory": "pcont.backend_model:ModelInMemory",
}


def open_backend(
    name: str = "cgroupfs", state: str | None = None, dialect: str | None = None
) -> Backend:
    """Open the backend of that name.

    `state` is the file of "model"; "memory" is a new model without a file. Both have a dialect.
    """
    module, _, factory = BACKENDS[name].partition(":")
    opened = getattr(importlib.import_module(module), factory)
    arguments = {"model": (state, dialect), "memory": (dialect,)}.get(name, ())
    backend: Backend = opened(*arguments)
    return backend
