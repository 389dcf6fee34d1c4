"""The far end of a walk (far.c): backend_cgroupfs as it is, whose system calls are done there.

A step is a few calls, but to look around takes hundreds. All that the last look asked for is asked
for at once when the next one begins (`Far.at_once`), so that a guest, however slow, is no further
away than this machine.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple
from unittest.mock import patch

from pcont import backend_cgroupfs
from pcont.linux import cgroup_files, proc, syscalls
from pcont.trust import xattrs
from pcont.values import Ids
from tests import stress
from tests.vm import boot, guests, prepare

SOURCE = Path(__file__).parent / "far.c"
REQUEST, ANSWER, COUNT = struct.Struct("=iiiqq"), struct.Struct("=qi"), struct.Struct("=i")
LONGEST = 4 * 3600.0  # seconds that a guest runs for walks without a limit
PATIENCE = 120.0
PORT = "pcont.walk"
GRACE = 600.0  # for a guest to boot, and to end


class Request(NamedTuple):
    """A system call, as far.c spells it."""

    verb: str
    path: bytes = b""
    more: bytes = b""
    one: int = 0
    two: int = 0

    @property
    def bytes(self) -> bytes:
        """As it is sent."""
        sizes = len(self.path), len(self.more)
        head = REQUEST.pack(ord(self.verb), *sizes, self.one, self.two)
        return head + self.path + self.more


class Reply(NamedTuple):
    """What it returned, an errno below zero, and what it found."""

    result: int
    found: bytes


class Entry(NamedTuple):
    """An entry of a directory, as far as os.DirEntry is asked here."""

    name: str
    mode: int
    directory: bool

    def is_dir(self, follow_symlinks: bool) -> bool:
        return self.directory

    def is_file(self, follow_symlinks: bool) -> bool:
        return not self.directory

    def stat(self) -> SimpleNamespace:
        return SimpleNamespace(st_mode=self.mode)


class Far:
    """The walk's end of the line. The methods are those of os, signal and syscalls."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._line.settimeout(PATIENCE)
        self._stream = line.makefile("rb")
        self._wanted: dict[Request, None] = {}  # what the look asks for, in its order
        self._known: dict[Request, Reply] | None = None
        self._posted: list[Request] = []  # goes with the next one, and is not waited for
        self.pid = self._answer().result

    def close(self) -> None:
        """The far end ends with the line."""
        self._stream.close()
        self._line.close()

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """For a block without changes: ask at once for all that was asked for last time."""
        self._known = dict(zip(self._wanted, self._ask(self._wanted), strict=True))
        self._wanted = {}
        try:
            yield
        finally:
            self._known = None

    def _ask(self, requests: Iterable[Request]) -> list[Reply]:
        posted, self._posted = self._posted, []
        sent = [request.bytes for request in (*posted, *requests)]
        with _unsignalled():
            self._line.sendall(COUNT.pack(len(sent)) + b"".join(sent))
            return [self._answer() for _ in sent][len(posted) :]

    def _answer(self) -> Reply:
        head = self._stream.read(ANSWER.size)
        if len(head) < ANSWER.size:
            raise EOFError("the far end of the walk is no more")
        result, length = ANSWER.unpack(head)
        return Reply(result, self._stream.read(length))

    def _learn(self, requests: list[Request]) -> None:
        assert self._known is not None
        if requests:
            self._known.update(zip(requests, self._ask(requests), strict=True))

    def call(
        self, verb: str, path: Any = "", more: bytes = b"", one: int = 0, two: int = 0
    ) -> Reply:
        """Have a system call done; OSError as here."""
        request = Request(verb, os.fsencode(path), more, one, two)
        if self._known is None:
            (reply,) = self._ask([request])
        else:
            if request not in self._known:
                self._learn([request])
            reply = self._known[request]
            self._wanted[request] = None
        if reply.result < 0:
            number = -reply.result
            raise OSError(number, os.strerror(number), path or str(one))
        return reply

    # Files

    def mkdir(self, path: str, mode: int) -> None:
        self.call("m", path, one=mode)

    def rmdir(self, path: str) -> None:
        self.call("r", path)

    def provide(self, folder: str) -> None:
        """What is in a folder here is there, too, its files empty."""
        for path in (folder, *map(str, sorted(Path(folder).iterdir()))):
            with contextlib.suppress(FileExistsError):
                if os.path.isdir(path):
                    self.mkdir(path, 0o700)
                else:
                    self.close_one(self.open(path, os.O_CREAT | os.O_RDONLY))

    def open(self, path: str, flags: int) -> int:
        return self.call("o", path, one=flags).result

    def write(self, descriptor: int, data: bytes) -> int:
        return self.call("w", more=data, one=descriptor).result

    def close_one(self, descriptor: int) -> None:
        self._posted.append(Request("c", one=descriptor))

    def read_text(self, path: str) -> str:
        return self.call("R", path).found.decode("utf-8", "surrogateescape")

    def stat(self, path: str) -> SimpleNamespace:
        mode, links, device = map(int, self.call("s", path).found.split())
        return SimpleNamespace(st_mode=mode, st_nlink=links, st_dev=device)

    def scandir(self, path: str, modes: bool = True) -> contextlib.nullcontext[list[Entry]]:
        entries = []
        for line in self.call("l", path, one=modes).found.split(b"\0")[:-1]:
            directory, mode, name = line.split(b" ", 2)
            entries.append(Entry(os.fsdecode(name), int(mode, 8), directory == b"1"))
        if self._known is not None:
            # After the list of a new container, the caller is going to read its files.
            files = [f"{path}/{one.name}" for one in entries if modes and not one.directory]
            wanted = [Request("R", os.fsencode(file)) for file in files]
            self._learn([one for one in wanted if one not in self._known])
        return contextlib.nullcontext(entries)

    def listdir(self, path: str) -> list[str]:
        with self.scandir(path, modes=False) as entries:
            return [entry.name for entry in entries]

    def readlink(self, path: str) -> str:
        """The far end is root of its machine."""
        assert path.endswith("/ns/user")
        return proc.FIRST_USERS

    def listxattr(self, path: str) -> list[str]:
        return [os.fsdecode(name) for name in self.call("x", path).found.split(b"\0")[:-1]]

    def getxattr(self, path: str, name: str) -> bytes:
        return self.call("g", path, os.fsencode(name)).found

    def setxattr(self, path: str, name: str, value: bytes) -> None:
        self.call("S", path, os.fsencode(name) + b"\0" + value)

    def removexattr(self, path: str, name: str) -> None:
        self.call("D", path, os.fsencode(name))

    def mount(self, source: str, target: str, type: str, data: str = "", flags: int = 0) -> None:
        words = b"\0".join(os.fsencode(word) for word in (source, type, data))
        self.call("M", target, words, one=flags)

    def umount(self, target: str, flags: int = 0) -> None:
        self.call("U", target, one=flags)

    # Tasks

    def sched_getaffinity(self, task: int) -> Ids:
        mask = int.from_bytes(self.call("a", one=task).found, "little")
        return frozenset(cpu for cpu in range(mask.bit_length()) if mask >> cpu & 1)

    def sched_setaffinity(self, task: int, cpus: Ids) -> None:
        mask = sum(1 << cpu for cpu in cpus)
        self.call("A", more=mask.to_bytes(128, "little"), one=task)

    def pidfd_open(self, pid: int) -> int:
        return self.call("p", one=pid).result

    def pidfd_send_signal(self, descriptor: int, number: int) -> None:
        self.call("P", one=descriptor, two=number)

    def kill(self, pid: int, number: int) -> None:
        self.call("k", one=pid, two=number)

    def waitpid(self, pid: int) -> int:
        """Without waiting: 0 where it has not ended."""
        return self.call("W", one=pid).result

    def first(self) -> int:
        """A task that carries out commands, in the first slot; earlier ones get none any more."""
        return self.call("F").result

    def tell(self, slot: int, action: str, about: int) -> None:
        self.call("T", action, one=slot, two=about)

    def heard(self) -> int:
        """What came of the last order."""
        return self.call("H").result

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """In the block, the other side makes the system calls of backend_cgroupfs."""
        with contextlib.ExitStack() as stack:
            for module in (backend_cgroupfs, cgroup_files, proc, xattrs):
                stack.enter_context(patch.object(module, "os", _Os(self)))
            for name in ("read_text", "read_short"):
                stack.enter_context(patch.object(proc, name, self.read_text))
            stack.enter_context(patch.object(syscalls, "sys_mount", self.mount))
            stack.enter_context(patch.object(syscalls, "sys_umount", self.umount))
            sending = SimpleNamespace(pidfd_send_signal=self.pidfd_send_signal)
            stack.enter_context(patch.object(cgroup_files, "signal", sending))
            yield


@contextlib.contextmanager
def _unsignalled() -> Iterator[None]:
    """A walk that is stopped must still read whole answers, to restore everything."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Os:
    """The module os, with what is a system call done at the far end."""

    PURE = ("path", "strerror", "fsencode", "fsdecode", "major", "minor", "O_WRONLY", "O_CLOEXEC")

    def __init__(self, far: Far) -> None:
        self._far = far
        self.close = far.close_one

    def __getattr__(self, name: str) -> Any:
        return getattr(os if name in self.PURE else self._far, name)


@contextlib.contextmanager
def near() -> Iterator[Far]:
    """The far end is another process of this machine."""
    line, end = socket.socketpair()
    with end:
        process = subprocess.Popen([stress.built(SOURCE)], stdin=end.fileno())
    try:
        yield from _lent(line)
    finally:
        process.wait(PATIENCE)


@contextlib.contextmanager
def in_guest(name: str, seconds: float | None = None) -> Iterator[Far]:
    """The far end is the only program of a guest, which runs for so many seconds (LONGEST)."""
    guest = next(one for one in guests.GUESTS if one.name == name)
    ((_, kernel),) = prepare.prepare([guest]).items()
    results = boot.new_results(guest)
    shutil.copy(stress.built(SOURCE), results / "far")
    command = f"exec {boot.SHARED}/far 0<>/dev/virtio-ports/{PORT}"
    one = boot.Boot(guest, kernel, results, prepare.kvm_works(kernel), command, port=PORT)
    stopping = threading.Event()
    running = threading.Thread(target=boot.run, args=(one, (seconds or LONGEST) + GRACE, stopping))
    running.start()
    try:
        yield from _lent(_connected(one.socket, running))
    except BaseException:
        stopping.set()
        raise
    finally:
        running.join()


def _connected(path: Path, running: threading.Thread) -> socket.socket:
    line = socket.socket(socket.AF_UNIX)
    while running.is_alive():
        with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
            line.connect(str(path))
            return line
        time.sleep(0.1)
    raise EOFError("the guest did not start")


def _lent(line: socket.socket) -> Iterator[Far]:
    far = Far(line)
    try:
        with far.in_place():
            yield far
    finally:
        far.close()
