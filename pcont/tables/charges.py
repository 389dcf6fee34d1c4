"""The counters and limits of open files that are charged to a container."""

from __future__ import annotations

from dataclasses import dataclass

from pcont.tags import on_disk


@on_disk("Charges", "held", "maxheld", "barrier", "limit", "failcnt")
@dataclass(eq=False)
class Charges:
    """The open files that are charged to a container, and their limits.

    `held`: the number now. `maxheld`: the highest number so far. `barrier`: the limit for most
    tasks; `limit`: the limit for tasks with CAP_SYS_ADMIN. `failcnt`: how often opening a file was
    refused.
    """

    held: int = 0
    maxheld: int = 0
    barrier: int = 256
    limit: int = 512
    failcnt: int = 0

    def charge(self, admin: bool) -> bool:
        """Charge one more open file; returns False if the limit refuses it."""
        if self.held >= (self.limit if admin else self.barrier):
            self.failcnt += 1
            return False
        self.held += 1
        self.maxheld = max(self.maxheld, self.held)
        return True
