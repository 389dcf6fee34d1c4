"""A process with all that descends from it, as the kernel tells of each fork.

/proc knows only the parents that are still there: of a daemon, whose parent ended at once, it says
nothing. The kernel's process events do (Documentation/driver-api/connector.rst, linux/cn_proc.h).
They are read here without a library, which decodes fewer of them than a fork storm sends.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterator
from errno import ENOBUFS

from pcont.proc import Proc

NETLINK_CONNECTOR = 11
CN_IDX_PROC = 1
SO_RCVBUFFORCE = 33
ROOM = 64 << 20  # bytes of events that wait to be read

HEADER = struct.Struct("=IHHII")  # struct nlmsghdr
CONNECTOR = struct.Struct("=IIIIHH")  # struct cn_msg
LISTEN = struct.pack("=I", 1)  # PROC_CN_MCAST_LISTEN
EVENT = struct.Struct("=IIQ")  # struct proc_event: what, cpu, nanoseconds
FORK = struct.Struct("=IIII")  # parent and its process, child and its process
EXIT = struct.Struct("=IIIIII")  # the task and its process, status, signal, the parents
WHAT_FORK = 1
WHAT_EXIT = 1 << 31


class Family:
    """The processes that descend from one, those too whose parents have ended meanwhile.

    Where process events cannot be had (they take CAP_NET_ADMIN, and the initial namespaces), or
    were too many, `complete` is false: a daemon of the last moment may be missed.
    """

    def __init__(self, proc: Proc, pid: int) -> None:
        self._proc = proc
        self._pids = {pid}
        self._links: dict[int, int] = {}
        self._ended = False
        self._events: socket.socket | None = None
        before = proc.parents()
        self._add(before)
        with contextlib.suppress(PermissionError, ConnectionError):
            self._events = _subscribe()
        self.complete = self._events is not None
        now = proc.parents()
        self._take_events()
        self._add(self._links, now)
        if self._ended:
            self._add_orphans(pid, before, now)

    def close(self) -> None:
        """Listen no more."""
        if self._events:
            self._events.close()

    def __call__(self, thorough: bool = False) -> set[int]:
        """The processes of the family that are there now.

        The kernel tells of a fork a moment after it: `thorough` finds what it has not told yet.
        """
        self._take_events()
        found = self._proc.parents() if thorough or not self.complete else {}
        self._add(self._links, found)
        # Who has ended stays: what it has forked may be told of later.
        return {pid for pid in self._pids if self._proc.exists(pid)}

    def _add(self, *parents: dict[int, int]) -> None:
        """Whoever has a parent in the family; who was reparented may have two."""
        links = [link for found in parents for link in found.items()]
        new = {0}
        while new:
            new = {pid for pid, parent in links if parent in self._pids} - self._pids
            self._pids |= new

    def _add_orphans(self, pid: int, before: dict[int, int], now: dict[int, int]) -> None:
        """Those that were forked before the first event, and lost their parent after it.

        They have a reaper for a parent now, and are in the same containers as the process.
        """
        reapers = {1, *_line(pid, before)}
        for one in set(now) - set(before) - self._pids - set(self._links):
            with contextlib.suppress(ProcessLookupError):
                same = self._proc.of(one, "cgroup") == self._proc.of(pid, "cgroup")
                if same and now[one] in reapers:
                    self._pids.add(one)

    def _take_events(self) -> None:
        if not self._events:
            return
        try:
            for what, parent, child in _read(self._events):
                if what == WHAT_FORK:
                    self._take_fork(parent, child)
                else:
                    self._ended = self._ended or bool({parent, child} & self._pids)
        except OSError as err:
            if err.errno != ENOBUFS:
                raise
            self.complete = False

    def _take_fork(self, parent: int, child: int) -> None:
        if child == parent:
            return  # a thread
        self._links[child] = parent
        if parent not in self._pids:
            self._pids.discard(child)  # an id that was used before


def _line(pid: int, parents: dict[int, int]) -> Iterator[int]:
    """Those that a process descends from."""
    while pid in parents:
        pid = parents[pid]
        yield pid


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
    """Forks and exits that the kernel has told of by now, each with the parent and the child."""
    while True:
        try:
            message = events.recv(4096)
        except BlockingIOError:
            return
        what, _, _ = EVENT.unpack_from(message, HEADER.size + CONNECTOR.size)
        facts = HEADER.size + CONNECTOR.size + EVENT.size
        if what == WHAT_FORK:
            _, parent, _, child = FORK.unpack_from(message, facts)
            yield what, parent, child
        elif what == WHAT_EXIT:
            _, child, _, _, _, parent = EXIT.unpack_from(message, facts)
            yield what, parent, child
