"""The controller numfiles in the kernel: eBPF programs count the open files of containers, and
limit them.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator
from errno import E2BIG, ENODEV

from pcont.bpf.programs import COUNTS_MAP, FIRST, STATE_MAP, Pinned
from pcont.errors import LimitReached
from pcont.kernel.types import Place
from pcont.subsys import numfiles
from pcont.tables.charges import Charges

# The struct types of numfiles.bpf.c: change both together.
LIMITS_MAP = "limits"
_LAYOUTS = {
    STATE_MAP: struct.Struct("=QQQQ"),
    LIMITS_MAP: struct.Struct("=IIQQ"),
    COUNTS_MAP: struct.Struct("=IIQQQ"),
    "owners": struct.Struct("=QQ"),
}


class Files(Pinned):
    """The programs of numfiles, which always work for a whole hierarchy."""

    name = numfiles.NUMFILES
    layouts = _LAYOUTS
    locked = (LIMITS_MAP, COUNTS_MAP)

    def is_bound(self, root: Place) -> bool:
        return bool(self.counted_in(root))

    def bind(self, root: Place) -> None:
        """Do nothing: the programs work for every container of the hierarchy."""

    def unbind(self, root: Place) -> bool:
        return False

    def sizes(self) -> dict[str, int]:
        """Return the number of entries of the map `owners`: fs.file-max, but at most the kernel's
        default for that.
        """
        with open(f"{self.host.proc}/sys/fs/file-max", encoding="ascii") as stream:
            most = int(stream.read())
        with open(f"{self.host.proc}/meminfo", encoding="ascii") as stream:
            kilobytes = int(stream.readline().split()[1])
        return {"owners": min(most, kilobytes // 10)}

    def values(self, place: Place) -> dict[str, int]:
        key, found = self._counted_key(place), Charges()
        if counts := self.entry(COUNTS_MAP, key):
            found.held, found.maxheld, found.failcnt = counts[2:]
        if limits := self.entry(LIMITS_MAP, key):
            found.barrier, found.limit = limits[2:]
        return numfiles.counted(found)

    def set(self, place: Place, file: str, value: int) -> None:
        now = self.values(place) | {file: value}
        self._set_limits(place, now[numfiles.BARRIER], now[numfiles.FILES_LIMIT])

    def uncounted(self) -> dict[str, int]:
        """Return how many opens were refused because they could not be counted, by reason."""
        state = self.entry(STATE_MAP, FIRST)
        return dict(zip(numfiles.IN_THE_WAY, state[1:], strict=True)) if state else {}

    @contextlib.contextmanager
    def allowing_removal(self, place: Place) -> Iterator[None]:
        """In the block, permit the removal of a container that open files are charged to."""
        if not self.counted_in(place):
            yield  # no file is charged
            return
        self._set_limits(place, *self._limits(place), forced=True)
        try:
            yield
        except OSError:
            self.hold(place)
            raise

    def hold(self, place: Place) -> None:
        """Forbid again the removal of a container that open files are charged to."""
        if self.counted_in(place):
            self._set_limits(place, *self._limits(place))

    def _limits(self, place: Place) -> tuple[int, int]:
        now = self.values(place)
        return now[numfiles.BARRIER], now[numfiles.FILES_LIMIT]

    def _set_limits(self, place: Place, barrier: int, limit: int, forced: bool = False) -> None:
        value = _LAYOUTS[LIMITS_MAP].pack(0, forced, barrier, limit)
        try:
            self.map(LIMITS_MAP).set(self._counted_key(place), value)
        except OSError as err:
            if err.errno != E2BIG:
                raise
            raise LimitReached(
                "there is no room for the limits of one more container (E2BIG)",
                path=err.filename,
                errno=err.errno,
                hint="remove containers that have limits of their own: others need no room",
            ) from err

    def _counted_key(self, place: Place) -> bytes:
        number = self.counted_in(place)
        if not number:
            raise OSError(ENODEV, "no programs count here", self.folder)
        return self.key(place, number)
