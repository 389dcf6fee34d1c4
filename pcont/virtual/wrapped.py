"""A backend with the control files that pcont provides itself."""

from __future__ import annotations

from pcont.kernel.interfaces import Backend
from pcont.kernel.open import open_kernel
from pcont.virtual.auto_delete import with_auto_delete
from pcont.virtual.files import with_kept


def open_backend(
    name: str = "cgroupfs", state: str | None = None, dialect: str | None = None
) -> Backend:
    """Open the backend of that name, and add the control files that pcont provides.

    The arguments are those of `open_kernel`.
    """
    return with_auto_delete(with_kept(open_kernel(name, state, dialect)))
