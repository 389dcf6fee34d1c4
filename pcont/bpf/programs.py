"""The pinned programs of a subsystem and their maps: what all subsystems share."""

from __future__ import annotations

import contextlib
import os
import struct
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from pcont.bpf import libbpf
from pcont.kernel.types import Place, Tree
from pcont.trust import ownership

PATIENCE, PAUSE = 5.0, 0.002
OBJECTS = os.path.dirname(__file__)
STATE = "state"

# Changed together with container.h.
KEY = struct.Struct("=QQ")
FIRST = bytes(4)  # the one key of the state


@dataclass(frozen=True)
class BpfHost:
    """The paths of the host: `folder`, where programs are pinned, and `proc`, where /proc is.

    `trees`: what there is. `directory`: where a container is. `sizes`: how many entries maps have
    room for that are not to have the usual number.
    """

    folder: str
    proc: str
    trees: Callable[[], Iterable[Tree]]
    directory: Callable[[Place], str]
    sizes: Mapping[str, int]


class Pinned(ABC):
    """The programs of one subsystem, which work in one hierarchy.

    `layouts`: the values of their maps, that of the state first, which begins with the number of
    the hierarchy.
    """

    name: str
    layouts: Mapping[str, struct.Struct]
    locked: tuple[str, ...] = ()

    def __init__(self, host: BpfHost) -> None:
        self.host = host
        self.folder = os.path.join(host.folder, self.name)

    @abstractmethod
    def is_bound(self, root: Place) -> bool:
        """Whether the programs work for a container that the subsystem is bound to."""

    @abstractmethod
    def bind(self, root: Place) -> None:
        """Bind a container; the programs already work in its hierarchy."""

    @abstractmethod
    def unbind(self, root: Place) -> bool:
        """Unbind a container, and discard its counters; return whether another one is bound."""

    @abstractmethod
    def values(self, place: Place) -> dict[str, int]:
        """Return the counters and limits of a container."""

    @abstractmethod
    def set(self, place: Place, file: str, value: int) -> None:
        """Set a limit of a container."""

    def sizes(self) -> dict[str, int]:
        """Return the number of entries of the maps whose size depends on the machine."""
        return {}

    @property
    def is_there(self) -> bool:
        """Whether the programs are pinned; Denied where another user controls the folder."""
        _check(self.folder)
        return os.path.isdir(self.folder)

    def hierarchy(self) -> int:
        """Return the number of the hierarchy that is counted; 0 if a start was interrupted."""
        try:
            os.stat(self.folder)
            state = self.map(STATE).get(FIRST)
        except FileNotFoundError:
            return 0
        return int(self.layouts[STATE].unpack(state)[0]) if state else 0

    def load(self, number: int) -> None:
        """Load the programs for the hierarchy of this number."""
        with libbpf.Object(os.path.join(OBJECTS, f"{self.name}.bpf.o")) as programs:
            programs.load({**self.sizes(), **self.host.sizes})
            _check(self.folder)
            os.makedirs(self.folder, mode=0o700)
            programs.pin_maps(self.folder)
            layout = self.layouts[STATE]
            self.map(STATE).set(FIRST, struct.pack("=Q", number).ljust(layout.size, b"\0"))
            programs.attach(self.folder)

    def end(self) -> None:
        """Unload the programs, all or none; the counters are lost."""
        if not self.is_there:
            return
        # The state goes first: without it, the programs count as unloaded.
        names = sorted(os.listdir(self.folder), key=lambda name: name != STATE)
        files = {os.path.join(self.folder, name): name for name in names}
        with contextlib.ExitStack() as stack:
            pins = {file: stack.enter_context(libbpf.pinned(file)) for file in files}
            programs = [
                libbpf.program_of(descriptor, file)
                for file, descriptor in pins.items()
                if files[file] not in self.layouts
            ]
            self._unpin(pins)
        # The kernel detaches the programs a moment after the last pin is removed.
        limit = time.monotonic() + PATIENCE
        while any(map(libbpf.is_loaded, programs)) and time.monotonic() < limit:
            time.sleep(PAUSE)

    def _unpin(self, pins: Mapping[str, int]) -> None:
        """Remove the pins and the folder, all or none; `pins`: open descriptors by file."""
        gone: list[str] = []
        try:
            for file in pins:
                libbpf.unpin(file)
                gone.append(file)
            os.rmdir(self.folder)
        except OSError:
            for file in reversed(gone):
                libbpf.pin(pins[file], file)
            raise

    def number(self, place: Place) -> int:
        """Return the number of a container's hierarchy; 0 if there is no such hierarchy."""
        return next((tree.number for tree in self.host.trees() if tree.id == place.tree), 0)

    def counted_in(self, place: Place) -> int:
        """Return the number of a container's hierarchy if the programs count in it, else 0."""
        number = self.hierarchy()
        return number if number == self.number(place) else 0

    def key(self, place: Place, number: int) -> bytes:
        """Return the key of a container in the maps."""
        return KEY.pack(os.stat(self.host.directory(place)).st_ino, number)

    def entry(self, name: str, key: bytes) -> tuple[int, ...] | None:
        """Return the fields that a map has for a container; None if it has none."""
        value = self.map(name).get(key)
        return self.layouts[name].unpack(value) if value else None

    def map(self, name: str) -> libbpf.Map:
        """Return a pinned map; each value is read and written as a whole."""
        flags = libbpf.LOCKED if name in self.locked else 0
        return libbpf.Map(os.path.join(self.folder, name), self.layouts[name].size, flags)


def _check(folder: str) -> None:
    """Raise Denied for a folder that another user controls: a bpf filesystem is often mode 1777.

    A user namespace without a number for root shows root's folder as that of an unknown user. The
    kernel keeps such a caller out of the folder, so there is nothing to believe.
    """
    if ownership.lacks_root() and not os.access(folder, os.R_OK | os.X_OK, effective_ids=True):
        return
    there = folder if os.path.lexists(folder) else os.path.dirname(folder)
    ownership.require_safe(there, f"programs pinned below {there} are not used", "rm -r {}")
