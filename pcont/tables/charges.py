"""Open files that are charged to a container: how many there are, and may be."""

from __future__ import annotations

from dataclasses import dataclass

from pcont.tags import on_disk


@on_disk("Charges", "held", "maxheld", "barrier", "limit", "failcnt")
@dataclass(eq=False)
class Charges:
    """The open files that are charged to a container, and how many there may be.

    `held`: now. `maxheld`: at most at one time. `barrier` is the limit for most tasks, `limit`
    for tasks with CAP_SYS_ADMIN. `failcnt`: how often opening a file was refused.
    """

    held: int = 0
    maxheld: int = 0
    barrier: int = 256
    limit: int = 512
    failcnt: int = 0

    def charge(self, admin: bool) -> bool:
        """Charge one more file; return False if that is refused."""
        if self.held >= (self.limit if admin else self.barrier):
            self.failcnt += 1
            return False
        self.held += 1
        self.maxheld = max(self.maxheld, self.held)
        return True
