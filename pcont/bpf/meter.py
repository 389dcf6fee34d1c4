"""The Meter of the real kernel: BPF programs at the hooks of its security modules."""

from __future__ import annotations

from pcont.backend import Place
from pcont.errors import Unsupported


class BpfMeter:
    """What is at work is pinned in a filesystem of the kernel's, and goes on without pcont."""

    def check(self, subsystem: str) -> None:
        """Unsupported where the kernel takes no such programs, with what would help."""
        raise Unsupported(f"{subsystem} is enforced on the model only yet")

    def trees(self) -> dict[str, str]:
        """The id of the tree in which they are at work, by the subsystem."""
        return {}

    def start(self, subsystem: str, tree: str) -> None:
        """Have them work in one tree; EBUSY where they do in another one."""
        self.check(subsystem)

    def stop(self, subsystem: str) -> None:
        """End them; what they have counted is forgotten."""

    def values(self, place: Place, subsystem: str) -> dict[str, int]:
        """What they have counted for a container, and what it may have, by control file."""
        raise Unsupported(f"{subsystem} is enforced on the model only yet")

    def set(self, place: Place, file: str, value: int) -> None:
        """What it may have from now on."""
        self.check(file)
