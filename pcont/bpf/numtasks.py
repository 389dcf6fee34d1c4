"""The controller numtasks in the kernel: eBPF programs count the forks of containers, and limit
their rate.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import struct
from collections.abc import Iterable, Iterator
from errno import EOPNOTSUPP

from pcont.bpf.libbpf import Map
from pcont.bpf.programs import COUNTS_MAP, KEY, STATE_MAP, Pinned, key_of
from pcont.kernel.refusals import refuse
from pcont.kernel.types import Place
from pcont.subsys import numtasks
from pcont.subsys.numtasks import DONT_CARE, INTERVAL, RATE, RATE_FAILURES, SUCCESSES, UNLIMITED

# The struct types of numtasks.bpf.c: change both together.
RATES_MAP = "rates"
_LAYOUTS = {
    STATE_MAP: struct.Struct("=QQQ"),
    RATES_MAP: struct.Struct("=QQQQ"),
    COUNTS_MAP: struct.Struct("=IIQQQQQ"),
}
NOTHING = (0, 0, 0, 0)


class Forks(Pinned):
    """The programs of numtasks, which is bound to one or more containers of a hierarchy."""

    name = numtasks.NUMTASKS
    layouts = _LAYOUTS
    locked = (COUNTS_MAP,)

    def is_bound(self, root: Place) -> bool:
        number = self.counted_in(root)
        return bool(number) and self._is_root(self.key(root, number))

    def bind(self, root: Place) -> None:
        self._write_rate(self.key(root, self.number(root)), True, UNLIMITED, 1)

    def unbind(self, root: Place) -> bool:
        number = self.counted_in(root)
        if not number:
            return False  # the hierarchy no longer exists, nor any binding in it
        own = b""
        with contextlib.suppress(
            FileNotFoundError
        ):  # without a directory, the programs have removed its counters
            own = self.key(root, number)
        roots = {key for key in self.map(RATES_MAP).keys(KEY.size) if self._is_root(key)}
        if own in roots and len(roots) > 1:
            # The root comes last: while it is bound, an interrupted unbind can be completed.
            self._forget(reversed(list(self._below(self.host.directory(root), number))))
        return bool(roots - {own})

    def _forget(self, keys: Iterable[bytes]) -> None:
        """Remove the counters and limits of the containers with these keys, all or none."""
        removed: list[tuple[Map, bytes, bytes]] = []
        try:
            for key, name in itertools.product(keys, (COUNTS_MAP, RATES_MAP)):
                table = self.map(name)
                if value := table.get(key):
                    table.forget(key)
                    removed.append((table, key, value))
        except OSError:
            for table, key, value in reversed(removed):
                table.set(key, value)
            raise

    def values(self, place: Place) -> dict[str, int]:
        key = self._key_inside(place)
        if not key:
            return {}
        _, rate, interval, _ = self.entry(RATES_MAP, key) or NOTHING
        settings = {RATE: rate or DONT_CARE, INTERVAL: interval or DONT_CARE}
        if place.is_root:
            return settings  # the tasks of a tree's root are not counted
        *_, successes, failures = self.entry(COUNTS_MAP, key) or NOTHING
        return settings | {SUCCESSES: successes, RATE_FAILURES: failures}

    def set(self, place: Place, file: str, value: int) -> None:
        key = self._key_inside(place)
        if not key:
            refuse(EOPNOTSUPP, self.folder)
        root, rate, interval, _ = self.entry(RATES_MAP, key) or NOTHING
        settings = {RATE: rate, INTERVAL: interval, file: 0 if value == DONT_CARE else value}
        self._write_rate(key, bool(root), settings[RATE], settings[INTERVAL])

    def _write_rate(self, key: bytes, root: bool, rate: int, interval: int) -> None:
        """Write the rate limit of a container, with a new random mark that makes the programs start
        a new period.
        """
        mark = int.from_bytes(os.urandom(8), "little")
        self.map(RATES_MAP).set(key, _LAYOUTS[RATES_MAP].pack(root, rate, interval, mark))

    def _is_root(self, key: bytes) -> bool:
        return bool((self.entry(RATES_MAP, key) or NOTHING)[0])

    def _key_inside(self, place: Place) -> bytes:
        """Return the map key of a container; empty if numtasks is not bound to it or to a
        parent.
        """
        number = self.counted_in(place)
        if not number:
            return b""
        here = place
        while not self._is_root(self.key(here, number)):
            if here.is_root:
                return b""
            here = here.parent
        return self.key(place, number)

    def _below(self, directory: str, number: int) -> Iterator[bytes]:
        """Yield the keys of a container and of its descendants, without those below another bound
        container.
        """
        yield key_of(os.stat(directory).st_ino, number)
        with os.scandir(directory) as entries:
            for one in entries:
                if one.is_dir(follow_symlinks=False):
                    key = key_of(one.inode(), number)
                    if not self._is_root(key):
                        yield from self._below(one.path, number)
