"""The counters and limits of open files that are charged to a container."""

from __future__ import annotations

from pcont.bases import on_disk

NEW_BARRIER, NEW_LIMIT = 256, 512  # of a new container


@on_disk("Charges", "held", "maxheld", "barrier", "limit", "failcnt")
class Charges:
    """The open files that are charged to a container, and their limits.

    `held`: the number now. `maxheld`: the highest number so far. `barrier`: the limit for most
    tasks; `limit`: the limit for tasks with CAP_SYS_ADMIN. `failcnt`: how often opening a file was
    refused.
    """

    __slots__ = ("barrier", "failcnt", "held", "limit", "maxheld")

    held: int
    maxheld: int
    barrier: int
    limit: int
    failcnt: int

    def __init__(
        self,
        held: int = 0,
        maxheld: int = 0,
        barrier: int = NEW_BARRIER,
        limit: int = NEW_LIMIT,
        failcnt: int = 0,
    ) -> None:
        self.held, self.maxheld = held, maxheld
        self.barrier, self.limit, self.failcnt = barrier, limit, failcnt

    def charge(self, admin: bool) -> bool:
        """Charge one more open file; returns False if the limit refuses it."""
        if self.held >= (self.limit if admin else self.barrier):
            self.failcnt += 1
            return False
        self.held += 1
        self.maxheld = max(self.maxheld, self.held)
        return True
