"""The Meter of the real kernel: BPF programs at the hooks of its security modules.

They are pinned below /sys/fs/bpf/pcont, with what they count, and so go on when pcont has ended.
"""

from __future__ import annotations

import contextlib
import os
import struct
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from errno import E2BIG, EBUSY, ENODEV

from pcont.backend import Place, Tree
from pcont.bpf import library
from pcont.errors import LimitReached, Unsupported
from pcont.subsys import numfiles
from pcont.subsys.numfiles import Charges

PINNED = "fs/bpf"
OURS = "pcont"
MAPS = ("state", "limits", "counts", "owners")
PATIENCE, PAUSE = 5.0, 0.002
OBJECTS = os.path.dirname(__file__)

# Changed together with container.h and numfiles.bpf.c.
KEY = struct.Struct("=QQ")
STATE = struct.Struct("=QQQQ")
LIMITS = struct.Struct("=IIQQ")
COUNTS = struct.Struct("=IIQQQ")


class BpfMeter:
    """What is at work is found where it is pinned; `sys` and `proc` are where those are mounted.

    `trees`: what there is. `directory`: where a container is. `sizes`: how many entries maps have
    room for that are not to have the usual number.
    """

    def __init__(
        self,
        sys: str,
        proc: str,
        trees: Callable[[], Iterable[Tree]],
        directory: Callable[[Place], str],
        sizes: Mapping[str, int] | None = None,
    ) -> None:
        self._sys, self._proc = sys, proc
        self._trees, self._directory = trees, directory
        self._sizes = sizes or {}

    def check(self, subsystem: str) -> None:
        """Unsupported where the kernel takes no such programs, with what would help."""
        reason, hint = self._obstacle()
        if reason:
            raise Unsupported(f"{subsystem} is enforced by BPF programs, and {reason}", hint=hint)

    def _obstacle(self) -> tuple[str, str]:
        """What is missing, and what to do about it."""
        modules = self._modules()
        if "bpf" not in modules:
            own = [name for name in modules if name != "capability"]  # which is always there
            line = f"boot with lsm={','.join([*own, 'bpf'])} on the kernel's command line"
            if modules:
                return f"this kernel has no BPF among its security modules ({','.join(own)})", line
            return (
                "the kernel does not say which security modules it has",
                f"mount -t securityfs securityfs {self._sys}/kernel/security; or {line}",
            )
        if not os.path.exists(f"{self._sys}/kernel/btf/vmlinux"):
            return (
                "this kernel has no types of its own (BTF)",
                "take one with CONFIG_DEBUG_INFO_BTF",
            )
        if not os.path.ismount(self._folder()):
            point = self._folder()
            return f"no bpf filesystem is mounted at {point}", f"mount -t bpf bpf {point}"
        if sys.byteorder != "little":
            return "they are built for little-endian machines only", "pcont/bpf/build.sh"
        try:
            library.libbpf()
        except OSError:
            return (
                f"{library.LIBRARY} is missing",
                "install libbpf1 (Debian), libbpf (Fedora, Arch)",
            )
        return "", ""

    def _modules(self) -> list[str]:
        try:
            with open(f"{self._sys}/kernel/security/lsm", encoding="ascii") as stream:
                return stream.read().strip().split(",")
        except OSError:
            return []

    def trees(self) -> dict[str, str]:
        """The id of the tree in which they are at work, by the subsystem; empty if it is gone."""
        found = {}
        for name in (numfiles.NAME,):
            if os.path.isdir(self._folder(OURS, name)):
                number = self._hierarchy()
                ids = [tree.id for tree in self._trees() if tree.number == number]
                found[name] = ids[0] if ids else ""
        return found

    def start(self, subsystem: str, tree: str) -> None:
        """Have them work in one tree; EBUSY where they do in another one."""
        there = self.trees().get(subsystem)
        if there == tree:
            return
        if there:
            raise OSError(EBUSY, os.strerror(EBUSY), self._folder(OURS, subsystem))
        # What is left of a start that did not get so far, or of a hierarchy that others unmounted.
        self.stop(subsystem)
        number = next(one.number for one in self._trees() if one.id == tree)
        folder = self._folder(OURS, subsystem)
        with library.Object(os.path.join(OBJECTS, f"{subsystem}.bpf.o")) as programs:
            programs.load({"owners": self._files_at_most(), **self._sizes})
            os.makedirs(folder, mode=0o700)
            programs.pin_maps(folder)
            self._map("state", STATE).set(bytes(4), STATE.pack(number, 0, 0, 0))
            programs.attach(folder)

    def stop(self, subsystem: str) -> None:
        """End them all or none; what they have counted is forgotten."""
        folder = self._folder(OURS, subsystem)
        if not os.path.isdir(folder):
            return
        # As soon as the first one has gone, it is known that they are not at work any more.
        names = sorted(os.listdir(folder), key=lambda name: name != MAPS[0])
        with contextlib.ExitStack() as stack:
            pins = {
                os.path.join(folder, name): stack.enter_context(
                    library.pinned(os.path.join(folder, name))
                )
                for name in names
            }
            programs = [
                library.program_of(descriptor, file)
                for file, descriptor in pins.items()
                if os.path.basename(file) not in MAPS
            ]
            self._unpin(folder, pins)
        # The kernel detaches them a moment after the last pin has gone.
        limit = time.monotonic() + PATIENCE
        while any(map(library.is_loaded, programs)) and time.monotonic() < limit:
            time.sleep(PAUSE)

    @staticmethod
    def _unpin(folder: str, pins: Mapping[str, int]) -> None:
        """Remove what is pinned in a folder, by its files, and the folder; all or nothing."""
        gone: list[str] = []
        try:
            for file in pins:
                library.unpin(file)
                gone.append(file)
            os.rmdir(folder)
        except OSError:
            for file in reversed(gone):
                library.pin(pins[file], file)
            raise

    def values(self, place: Place, subsystem: str) -> dict[str, int]:
        """What they have counted for a container, and what it may have, by control file."""
        key = self._key(place)
        found = Charges()
        if counts := self._map("counts", COUNTS, library.LOCKED).get(key):
            found.held, found.maxheld, found.failcnt = COUNTS.unpack(counts)[2:]
        if limits := self._map("limits", LIMITS, library.LOCKED).get(key):
            found.barrier, found.limit = LIMITS.unpack(limits)[2:]
        return found.values()

    def set(self, place: Place, file: str, value: int) -> None:
        """What it may have from now on."""
        now = self.values(place, numfiles.NAME) | {file: value}
        self._set_limits(place, now[numfiles.BARRIER], now[numfiles.LIMIT])

    def uncounted(self, subsystem: str) -> dict[str, int]:
        """How often they have refused what they could not count, by what stood in the way."""
        state = self._map("state", STATE).get(bytes(4))
        return dict(zip(numfiles.IN_THE_WAY, STATE.unpack(state)[1:], strict=True)) if state else {}

    @contextlib.contextmanager
    def letting_go(self, place: Place) -> Iterator[None]:
        """Meanwhile a container may be removed, though files are charged to it."""
        if not self._counts(place):
            yield  # nothing is
            return
        self._set_limits(place, *self._limits(place), forced=True)
        try:
            yield
        except OSError:
            self.hold(place)
            raise

    def hold(self, place: Place) -> None:
        """It is to be removed no more, while files are charged to it."""
        if self._counts(place):
            self._set_limits(place, *self._limits(place))

    def _counts(self, place: Place) -> bool:
        return self._number(place) == self._hierarchy() != 0

    def _limits(self, place: Place) -> tuple[int, int]:
        now = self.values(place, numfiles.NAME)
        return now[numfiles.BARRIER], now[numfiles.LIMIT]

    def _set_limits(self, place: Place, barrier: int, limit: int, forced: bool = False) -> None:
        value = LIMITS.pack(0, forced, barrier, limit)
        try:
            self._map("limits", LIMITS, library.LOCKED).set(self._key(place), value)
        except OSError as err:
            if err.errno != E2BIG:
                raise
            raise LimitReached(
                "there is no room for the limits of one more container (E2BIG)",
                path=err.filename,
                errno=err.errno,
                hint="remove containers that have limits of their own: others need no room",
            ) from err

    def _hierarchy(self) -> int:
        """The number of the hierarchy that is counted in, 0 where a start has not got so far."""
        try:
            os.stat(self._folder(OURS, numfiles.NAME))
            state = self._map("state", STATE).get(bytes(4))
        except FileNotFoundError:
            return 0
        return int(STATE.unpack(state)[0]) if state else 0

    def _key(self, place: Place) -> bytes:
        if not self._counts(place):
            raise OSError(ENODEV, "no programs count here", self._folder(OURS, numfiles.NAME))
        return KEY.pack(os.stat(self._directory(place)).st_ino, self._number(place))

    def _number(self, place: Place) -> int:
        return next((tree.number for tree in self._trees() if tree.id == place.tree), 0)

    def _map(self, name: str, value: struct.Struct, flags: int = 0) -> library.Map:
        return library.Map(self._folder(OURS, numfiles.NAME, name), value.size, flags)

    def _folder(self, *words: str) -> str:
        return os.path.join(self._sys, PINNED, *words)

    def _files_at_most(self) -> int:
        """fs.file-max, or where that is without bounds, what the kernel makes of the memory."""
        with open(f"{self._proc}/sys/fs/file-max", encoding="ascii") as stream:
            most = int(stream.read())
        with open(f"{self._proc}/meminfo", encoding="ascii") as stream:
            kilobytes = int(stream.readline().split()[1])
        return min(most, kilobytes // 10)
