"""The backends by name; the one module that names them."""

from __future__ import annotations

import importlib

from pcont.kernel.interfaces import Backend

BACKENDS = {
    "cgroupfs": "pcont.backend_cgroupfs:Cgroupfs",
    "model": "pcont.backend_model:StoredModel",
}


def open_kernel(name: str, state: str | None = None, dialect: str | None = None) -> Backend:
    """Open the backend of that name. Only the model has a file (`state`) and a dialect."""
    module, _, factory = BACKENDS[name].partition(":")
    opened = getattr(importlib.import_module(module), factory)
    backend: Backend = opened(state, dialect) if name == "model" else opened()
    return backend
