"""Pinned eBPF programs of a controller and their maps: the part that all controllers share."""

from __future__ import annotations

import contextlib
import os
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

from pcont.bases import NamedTuple
from pcont.bpf import libbpf
from pcont.kernel.retry import wait_until
from pcont.kernel.types import Place
from pcont.trust import ownership

DETACH_PATIENCE, DETACH_PAUSE = 5.0, 0.002
OBJECTS = os.path.dirname(__file__)
STATE_MAP, COUNTS_MAP = "state", "counts"  # names of maps, of every controller

# The key type of container.h: change both together.
KEY = struct.Struct("=QQ")
FIRST = bytes(4)  # the only key of the map `state`
# The map `state` has this number if the programs work for cgroup v2. The number of cgroup v2 itself
# is 0, which also means that nothing was written yet. numtasks.bpf.c has the same constant.
V2_NUMBER = 1 << 32


class BpfHost(NamedTuple):
    """The paths of the host: `folder`, where programs are pinned, and `proc`, where /proc is
    mounted.

    `number`: returns the number of a hierarchy by its id; 0 if there is none. `directory`: returns
    the path of a container. `sizes`: the number of entries by map, for maps that should not have
    the default size.
    """

    folder: str
    proc: str
    number: Callable[[str], int]
    directory: Callable[[Place], str]
    sizes: Mapping[str, int]


class Pinned(ABC):
    """The programs of one controller, which work for one hierarchy at a time, or for cgroup v2.

    `layouts`: the structure of the values of each map. The map `state` comes first. Its value
    starts with the number of the hierarchy for which the programs work.
    `locked`: the maps that have a spin lock in each value.
    """

    name: str
    layouts: Mapping[str, struct.Struct]
    locked: tuple[str, ...] = ()

    def __init__(self, host: BpfHost) -> None:
        self.host = host
        self.folder = os.path.join(host.folder, self.name)

    @abstractmethod
    def is_bound(self, root: Place) -> bool:
        """Return whether the programs are bound to this container."""

    @abstractmethod
    def bind(self, root: Place) -> None:
        """Bind the programs, which must be loaded for its hierarchy, to a container."""

    @abstractmethod
    def unbind(self, root: Place) -> bool:
        """Unbind a container and discard its counters; returns whether another container is still
        bound.
        """

    @abstractmethod
    def values(self, place: Place) -> dict[str, int]:
        """Return the counters and limits of a container, by control file."""

    @abstractmethod
    def set(self, place: Place, file: str, value: int) -> None:
        """Set a limit of a container. Raises OSError if the programs do not count there."""

    def sizes(self) -> dict[str, int]:
        """Return the number of entries of those maps whose size depends on the machine."""
        return {}

    @property
    def is_there(self) -> bool:
        """Whether the programs are pinned. Raises Denied if another user controls the folder."""
        _check(self.folder)
        return os.path.isdir(self.folder)

    def hierarchy(self) -> int:
        """Return the number of the hierarchy that the programs work for; 0 if they are not loaded
        or a start was interrupted.
        """
        try:
            os.stat(self.folder)
            state = self.map(STATE_MAP).get(FIRST)
        except FileNotFoundError:
            return 0
        return int(self.layouts[STATE_MAP].unpack(state)[0]) if state else 0

    def load(self, number: int) -> None:
        """Load, pin and attach the programs for the hierarchy with this number."""
        with libbpf.Object(os.path.join(OBJECTS, f"{self.name}.bpf.o")) as programs:
            programs.load({**self.sizes(), **self.host.sizes})
            _check(self.folder)
            os.makedirs(self.folder, mode=0o700)
            programs.pin_maps(self.folder)
            layout = self.layouts[STATE_MAP]
            self.map(STATE_MAP).set(FIRST, struct.pack("=Q", number).ljust(layout.size, b"\0"))
            programs.attach(self.folder)

    def end(self) -> None:
        """Unload the programs, all or none. The counters are discarded."""
        if not self.is_there:
            return
        # The state goes first: without it, the programs count as unloaded.
        names = sorted(os.listdir(self.folder), key=lambda name: name != STATE_MAP)
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
        wait_until(lambda: not any(map(libbpf.is_loaded, programs)), DETACH_PATIENCE, DETACH_PAUSE)

    def _unpin(self, pins: Mapping[str, int]) -> None:
        """Remove the pins and the folder, all or none. `pins`: open descriptors by file."""
        removed: list[str] = []
        try:
            for file in pins:
                libbpf.unpin_object(file)
                removed.append(file)
            os.rmdir(self.folder)
        except OSError:
            for file in reversed(removed):
                libbpf.pin_object(pins[file], file)
            raise

    def number(self, place: Place) -> int:
        """Return the number of a container's hierarchy; V2_NUMBER for cgroup v2, 0 if it does not
        exist.
        """
        return V2_NUMBER if place.is_unified else self.host.number(place.tree)

    def counted_in(self, place: Place) -> int:
        """Return the number of a container's hierarchy if the programs work for it; otherwise 0."""
        number = self.hierarchy()
        return number if number == self.number(place) else 0

    def key(self, place: Place, number: int) -> bytes:
        """Return the key of a container in the maps: inode number and hierarchy number."""
        return key_of(os.stat(self.host.directory(place)).st_ino, number)

    def entry(self, name: str, key: bytes) -> tuple[int, ...] | None:
        """Return the fields of the value that a map has for a key; None if it has none."""
        value = self.map(name).get(key)
        return self.layouts[name].unpack(value) if value else None

    def map(self, name: str) -> libbpf.Map:
        """Return a pinned map by its name."""
        flags = libbpf.LOCKED if name in self.locked else 0
        return libbpf.Map(os.path.join(self.folder, name), self.layouts[name].size, flags)


def key_of(inode: int, number: int) -> bytes:
    """Return the key of a container in the maps. `number`: as `Pinned.number` returns it."""
    return KEY.pack(inode, number % V2_NUMBER)


def _check(folder: str) -> None:
    """Raise Denied if another user controls a folder. A bpf file system often has mode 1777.

    In a user namespace without an id for root, root's folder appears to belong to an unknown user.
    The kernel denies such a caller access to the folder, so that case passes.
    """
    if ownership.lacks_root() and not os.access(folder, os.R_OK | os.X_OK, effective_ids=True):
        return
    there = folder if os.path.lexists(folder) else os.path.dirname(folder)
    ownership.require_safe(there, f"programs pinned below {there} are not used", "rm -r {}")
