"""A process with all that descends from it, as the kernel tells of each fork.

/proc knows only the parents that are still there: of a daemon, whose parent ended at once, it says
nothing. The kernel's process events do (Documentation/driver-api/connector.rst, linux/cn_proc.h).
They are read here without a library, which decodes fewer of them than a fork storm sends.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterable, Iterator
from errno import ENOBUFS

from pcont.linux.proc import Proc

NETLINK_CONNECTOR = 11
CN_IDX_PROC = 1
SO_RCVBUFFORCE = 33
ROOM = 64 << 20  # bytes of events that wait to be read

HEADER = struct.Struct("=IHHII")  # struct nlmsghdr
CONNECTOR = struct.Struct("=IIIIHH")  # struct cn_msg
LISTEN = struct.pack("=I", 1)  # PROC_CN_MCAST_LISTEN
EVENT = struct.Struct("=IIQ")  # struct proc_event: what, cpu, nanoseconds
FORK = struct.Struct("=IIII")  # parent and its process, child and its process
EXIT = struct.Struct("=IIIIII")  # the task and its process, status, signal, parent and its process
WHAT_FORK = 1
WHAT_EXIT = 1 << 31


class EventedTree:
    """The processes that descend from one, those too whose parents have ended meanwhile.

    Where process events cannot be had (they take CAP_NET_ADMIN, and the initial namespaces), or
    were too many, `complete` is false: a daemon of the last moment may be missed. `adopted` are
    those that count as family by all that can be known, though nobody told who started them.
    """

    def __init__(self, proc: Proc, pid: int) -> None:
        self._proc = proc
        self._root = pid
        self._pids = {pid}
        self.adopted: set[int] = set()
        self._orphans: set[int] = set()
        self._events: socket.socket | None = None
        self._add(proc.parents().items())
        first = proc.last_pid()
        self._look_for_children()
        with contextlib.suppress(PermissionError, ConnectionError):
            self._events = _subscribe()
        last = proc.last_pid()
        self.complete = self._events is not None and last > 0
        self._look_for_children()
        told = list(self._told())
        self._add((child, parent) for _, child, parent in told)
        if any(what == WHAT_EXIT and child in self._pids for what, child, _ in told):
            forked = {child for what, child, _ in told if what == WHAT_FORK}
            self._orphans = self._maybe(pid, first, last) - forked

    def close(self) -> None:
        """Listen no more."""
        if self._events:
            self._events.close()

    def __call__(self, thorough: bool = False) -> set[int]:
        """The processes of the family that are there now.

        The kernel tells of a fork a moment after it: `thorough` finds what it has not told yet.
        """
        self._take_forks()
        if thorough or self._orphans or not self.complete:
            found = self._proc.parents()
            # An id that was used again in between is told of before its new owner can fork.
            self._take_forks()
            self._add(found.items())
            self._adopt(found)
        # Who has ended stays: what it has forked may be told of later.
        return {pid for pid in self._pids if self._proc.exists(pid)}

    def _add(self, links: Iterable[tuple[int, int]]) -> None:
        """Whoever has a parent in the family; who was reparented may have two."""
        links = list(links)
        new = {0}
        while new:
            new = {pid for pid, parent in links if parent in self._pids} - self._pids
            self._pids |= new

    def _look_for_children(self) -> None:
        """As of now: reading all of /proc takes long enough for a child to lose its parent."""
        if not self._proc.lists_children:
            self._add(self._proc.parents().items())
            return
        new = self._pids
        while new:
            new = {child for pid in new for child in self._proc.children(pid)} - self._pids
            self._pids |= new

    def _maybe(self, pid: int, first: int, last: int) -> set[int]:
        """Who may have been forked just before the first event, and have lost his parent after it.

        That was between two looks for children. They are in the same containers as the process.
        """
        found = set()
        for one in self._proc.processes():
            if _between(first, one, last) and one not in self._pids:
                with contextlib.suppress(ProcessLookupError):
                    if self._proc.of(one, "cgroup") == self._proc.of(pid, "cgroup"):
                        found.add(one)
        return found

    def _adopt(self, parents: dict[int, int]) -> None:
        """Those of them whose parent is the one that orphans of the family are given to.

        As long as no orphan is known, only init is sure not to have started them itself.
        """
        orphans = (self._pids - {self._root}) & set(parents)
        given = {parents[one] for one in orphans} - self._pids
        mine = {one for one in self._orphans if parents.get(one) in (given or {1})}
        self.adopted |= mine
        self._pids |= mine
        self._orphans = set() if given else self._orphans - mine

    def _take_forks(self) -> None:
        """What was told since: in the order in which it came, so that ids may be used again."""
        for what, child, parent in self._told():
            if what == WHAT_FORK and parent in self._pids:
                self._pids.add(child)
            elif what == WHAT_FORK:
                self._pids.discard(child)

    def _told(self) -> Iterator[tuple[int, int, int]]:
        """Forks and exits of processes that the kernel has told of: the child, and its parent."""
        if not self._events:
            return
        try:
            yield from _read(self._events)
        except OSError as err:
            if err.errno != ENOBUFS:
                raise
            self.complete = False


def _between(first: int, pid: int, last: int) -> bool:
    """Whether an id was given after one, up to another: they come round."""
    if first <= last:
        return first < pid <= last
    return pid > first or pid <= last


def _subscribe() -> socket.socket:
    kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
    events = socket.socket(socket.AF_NETLINK, kind, NETLINK_CONNECTOR)
    try:
        events.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, ROOM)
        events.bind((0, CN_IDX_PROC))
        body = CONNECTOR.pack(CN_IDX_PROC, CN_IDX_PROC, 0, 0, len(LISTEN), 0) + LISTEN
        events.send(HEADER.pack(HEADER.size + len(body), 3, 0, 0, 0) + body)
    except OSError:
        events.close()
        raise
    return events


def _read(events: socket.socket) -> Iterator[tuple[int, int, int]]:
    """Each event that waits: what it is, the process it is about, and the parent of that one."""
    while True:
        try:
            message = events.recv(4096)
        except BlockingIOError:
            return
        what, _, _ = EVENT.unpack_from(message, HEADER.size + CONNECTOR.size)
        facts = HEADER.size + CONNECTOR.size + EVENT.size
        if what == WHAT_FORK:
            _, parent, task, child = FORK.unpack_from(message, facts)
        elif what == WHAT_EXIT:
            task, child, _, _, _, parent = EXIT.unpack_from(message, facts)
        else:
            continue
        if task == child:  # not one of its threads
            yield what, child, parent
