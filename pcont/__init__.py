"""pcont: generic process containers over real Linux cgroups, and over a model of them.

`pcont.open()` is the library, see docs/library.md. It is imported when it is first used, so that
the command line does not pay for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = ["Interrupted", "Pcont", "PlaceRef", "__version__", "open"]

if TYPE_CHECKING:
    from pcont.api import Interrupted, Pcont, PlaceRef, open
    from pcont.output.version import __version__
else:  # hidden from type checkers, which would accept every name because of __getattr__

    def __getattr__(name: str) -> object:
        """Import `pcont.api` for the names of the library; AttributeError for any other name."""
        if name == "__version__":
            from pcont.output.version import __version__

            return __version__
        if name in __all__:
            import pcont.api as api

            return getattr(api, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
