"""Track a process and all its descendants, by the process events of the kernel.

/proc shows only present parents. If the parent of a daemon has exited, /proc does not show what
started it; process events do (Documentation/driver-api/connector.rst, linux/cn_proc.h). pcont
decodes them without a library, because a library is too slow for a fork storm.
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
ROOM = 64 << 20  # bytes of the receive buffer

HEADER = struct.Struct("=IHHII")  # struct nlmsghdr
CONNECTOR = struct.Struct("=IIIIHH")  # struct cn_msg
LISTEN = struct.pack("=I", 1)  # PROC_CN_MCAST_LISTEN
EVENT = struct.Struct("=IIQ")  # struct proc_event: what, cpu, nanoseconds
FORK = struct.Struct("=IIII")  # parent and its process, child and its process
EXIT = struct.Struct("=IIIIII")  # the task and its process, status, signal, parent and its process
WHAT_FORK = 1
WHAT_EXIT = 1 << 31


class EventedTree:
    """The processes that descend from one process, including those whose parents have exited since.

    Call it for the present set, and `close` at the end. `complete` is False if process events are
    not available (they need CAP_NET_ADMIN in the initial namespaces) or some were lost: a process
    that daemonized just now may be missing. `adopted`: processes that are counted as descendants
    although no event shows their parent.
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
        events = list(self._reported())
        self._add((child, parent) for _, child, parent in events)
        if any(what == WHAT_EXIT and child in self._pids for what, child, _ in events):
            forked = {child for what, child, _ in events if what == WHAT_FORK}
            self._orphans = self._possible_orphans(pid, first, last) - forked

    def close(self) -> None:
        """Stop receiving process events."""
        if self._events:
            self._events.close()

    def __call__(self, thorough: bool = False) -> set[int]:
        """Return the ids of the processes in the tree that exist now.

        The kernel reports a fork a moment after it. `thorough`: also read /proc to find unreported
        forks.
        """
        self._take_forks()
        if thorough or self._orphans or not self.complete:
            found = self._proc.parents()
            # The kernel reports the fork of a reused id before that process can fork.
            self._take_forks()
            self._add(found.items())
            self._adopt(found)
        # Exited processes stay in the set: their forks may be reported later.
        return {pid for pid in self._pids if self._proc.exists(pid)}

    def _add(self, links: Iterable[tuple[int, int]]) -> None:
        """Add each process with a parent in the tree. `links`: pairs of child and parent; a
        reparented child may have two.
        """
        links = list(links)
        new = {0}
        while new:
            new = {pid for pid, parent in links if parent in self._pids} - self._pids
            self._pids |= new

    def _look_for_children(self) -> None:
        """Add the present children of the tree, from the children files of /proc.

        Reading all of /proc instead takes so long that a child may lose its parent during it.
        """
        if not self._proc.lists_children:
            self._add(self._proc.parents().items())
            return
        new = self._pids
        while new:
            new = {child for pid in new for child in self._proc.children(pid)} - self._pids
            self._pids |= new

    def _possible_orphans(self, pid: int, first: int, last: int) -> set[int]:
        """Return processes that may have been forked just before the first event, and lost their
        parent after it.

        Their ids are between `first` and `last`, and they are in the same containers as process
        `pid`.
        """
        found = set()
        for one in self._proc.processes():
            if _between(first, one, last) and one not in self._pids:
                with contextlib.suppress(ProcessLookupError):
                    if self._proc.of(one, "cgroup") == self._proc.of(pid, "cgroup"):
                        found.add(one)
        return found

    def _adopt(self, parents: dict[int, int]) -> None:
        """Add the possible orphans whose present parent is the process that adopts the tree's
        orphans.

        While no orphan of the tree is known, only init is certain not to have started them itself.
        """
        orphans = (self._pids - {self._root}) & set(parents)
        given = {parents[one] for one in orphans} - self._pids
        mine = {one for one in self._orphans if parents.get(one) in (given or {1})}
        self.adopted |= mine
        self._pids |= mine
        self._orphans = set() if given else self._orphans - mine

    def _take_forks(self) -> None:
        """Apply the new fork events in order, because process ids may be reused."""
        for what, child, parent in self._reported():
            if what == WHAT_FORK and parent in self._pids:
                self._pids.add(child)
            elif what == WHAT_FORK:
                self._pids.discard(child)

    def _reported(self) -> Iterator[tuple[int, int, int]]:
        """Yield the new fork and exit events: kind, child and parent."""
        if not self._events:
            return
        try:
            yield from _read(self._events)
        except OSError as err:
            if err.errno != ENOBUFS:
                raise
            self.complete = False


def _between(first: int, pid: int, last: int) -> bool:
    """Return whether an id was assigned after `first` and up to `last`; ids wrap around."""
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
    """Yield each event in the socket: kind, process and parent. Events of single threads are
    skipped.
    """
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
