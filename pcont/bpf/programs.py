"""The programs of a subsystem as they are pinned, with what they count: what is common to all."""

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
    """What the programs need to know: `folder`, where they are pinned, and `proc`, where it is.

    `trees`: what there is. `directory`: where a container is. `sizes`: how many entries maps have
    room for that are not to have the usual number.
    """

    folder: str
    proc: str
    trees: Callable[[], Iterable[Tree]]
    directory: Callable[[Place], str]
    sizes: Mapping[str, int]


class Pinned(ABC):
    """Those of one subsystem, at work in one hierarchy.

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
        """Whether they work for a container that the subsystem is bound to, and those below."""

    @abstractmethod
    def bind(self, root: Place) -> None:
        """Have them do so, now that they are at work in its hierarchy."""

    @abstractmethod
    def unbind(self, root: Place) -> bool:
        """Whether they work for another one; then what is counted there is forgotten."""

    @abstractmethod
    def values(self, place: Place) -> dict[str, int]:
        """What is counted for a container, and what it may have."""

    @abstractmethod
    def set(self, place: Place, file: str, value: int) -> None:
        """What it may have from now on."""

    def sizes(self) -> dict[str, int]:
        """How many entries maps have room for, where that hangs on the machine."""
        return {}

    @property
    def is_there(self) -> bool:
        """Whether they are pinned; Denied where another user made the folder, or can."""
        _check(self.folder)
        return os.path.isdir(self.folder)

    def hierarchy(self) -> int:
        """The number of the one that is counted in, 0 where a start has not got so far."""
        try:
            os.stat(self.folder)
            state = self.map(STATE).get(FIRST)
        except FileNotFoundError:
            return 0
        return int(self.layouts[STATE].unpack(state)[0]) if state else 0

    def load(self, number: int) -> None:
        """Into the kernel, for the hierarchy of this number."""
        with libbpf.Object(os.path.join(OBJECTS, f"{self.name}.bpf.o")) as programs:
            programs.load({**self.sizes(), **self.host.sizes})
            _check(self.folder)
            os.makedirs(self.folder, mode=0o700)
            programs.pin_maps(self.folder)
            layout = self.layouts[STATE]
            self.map(STATE).set(FIRST, struct.pack("=Q", number).ljust(layout.size, b"\0"))
            programs.attach(self.folder)

    def end(self) -> None:
        """All or none; what they have counted goes with them."""
        if not self.is_there:
            return
        # As soon as the first one has gone, it is known that they are not at work any more.
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
        # The kernel detaches them a moment after the last pin has gone.
        limit = time.monotonic() + PATIENCE
        while any(map(libbpf.is_loaded, programs)) and time.monotonic() < limit:
            time.sleep(PAUSE)

    def _unpin(self, pins: Mapping[str, int]) -> None:
        """Remove what is pinned, by its files, and the folder; all or nothing."""
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
        """Of the hierarchy that a container is in, 0 where that is gone."""
        return next((tree.number for tree in self.host.trees() if tree.id == place.tree), 0)

    def counted_in(self, place: Place) -> int:
        """The number of a container's hierarchy, where they are at work in that, else 0."""
        number = self.hierarchy()
        return number if number == self.number(place) else 0

    def key(self, place: Place, number: int) -> bytes:
        """By which a container is known in the maps."""
        return KEY.pack(os.stat(self.host.directory(place)).st_ino, number)

    def entry(self, name: str, key: bytes) -> tuple[int, ...] | None:
        """What a map has for a container."""
        value = self.map(name).get(key)
        return self.layouts[name].unpack(value) if value else None

    def map(self, name: str) -> libbpf.Map:
        """A pinned map, whose values are read and written as a whole."""
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
