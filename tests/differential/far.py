"""The far end of a walk (far.c): backend_cgroupfs as it is, whose system calls are done there.

A step is a few calls, but to look around takes hundreds. All that the last look asked for is asked
for at once when the next one begins (`Far.at_once`), so that a guest, however slow, is no further
away than this machine.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import signal
import socket
import stat
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple
from unittest.mock import patch

from pcont import backend_cgroupfs
from pcont.linux import cgroup_files, proc, syscalls
from pcont.trust import ownership, xattrs
from pcont.values import Ids
from tests import stress
from tests.vm import boot, guests, prepare

SOURCE = Path(__file__).parent / "far.c"
REQUEST, ANSWER, COUNT = struct.Struct("=iiiqq"), struct.Struct("=qi"), struct.Struct("=i")
LONGEST = 4 * 3600.0  # seconds that a guest runs for walks without a limit
PATIENCE = 120.0
PORT = "pcont.walk"
AT_SYMLINK_NOFOLLOW = 0x100  # linux/fcntl.h
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

    def is_dir(self, follow_symlinks: bool = True) -> bool:
        return self.directory

    def is_file(self, follow_symlinks: bool = True) -> bool:
        return not self.directory

    def stat(self) -> SimpleNamespace:
        return SimpleNamespace(st_mode=self.mode, st_uid=0, st_gid=0)


class Far:
    """The walk's end of the line. The methods are those of os, signal and syscalls."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._line.settimeout(PATIENCE)
        self._stream = line.makefile("rb")
        self._wanted: dict[Request, None] = {}  # what the look asks for, in its order
        self._known: dict[Request, Reply] | None = None
        self._posted: list[Request] = []  # goes with the next one, and is not waited for
        self.shows: Callable[[str], bool] = lambda file: True  # the files that a look reads
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

    def foresee(self, paths: Iterable[str]) -> None:
        """In a block of `at_once`: ask together for files that the look is going to read."""
        wanted = [Request("R", os.fsencode(path)) for path in paths]
        self._learn([one for one in wanted if one not in (self._known or {})])

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

    def open(
        self, path: str | int, flags: int, mode: int = 0o600, dir_fd: int | None = None
    ) -> int:
        return self.call("o", _below(path, dir_fd), one=flags).result

    def read(self, descriptor: int, most: int) -> bytes:
        return self.call("b", one=descriptor, two=most).found

    def write(self, descriptor: int, data: bytes) -> int:
        return self.call("w", more=data, one=descriptor).result

    def put(self, path: str, text: str) -> None:
        """Write a file."""
        descriptor = self.open(path, os.O_WRONLY)
        try:
            self.write(descriptor, text.encode())
        finally:
            self.close_one(descriptor)

    def close_one(self, descriptor: int) -> None:
        self._posted.append(Request("c", one=descriptor))

    def read_text(self, path: str, directory: int | None = None) -> str:
        found = self.call("R", _below(path, directory)).found
        return found.decode("utf-8", "surrogateescape")

    def stat(
        self, path: str | int, dir_fd: int | None = None, follow_symlinks: bool = True
    ) -> SimpleNamespace:
        flags = 0 if follow_symlinks else AT_SYMLINK_NOFOLLOW
        found = self.call("s", _below(path, dir_fd), one=flags).found
        names = ("st_mode", "st_nlink", "st_dev", "st_uid", "st_gid")
        return SimpleNamespace(**dict(zip(names, map(int, found.split()), strict=True)))

    def lstat(self, path: str) -> SimpleNamespace:
        return self.stat(path, follow_symlinks=False)

    def fstat(self, descriptor: int) -> SimpleNamespace:
        return self.stat(descriptor)

    def access(self, path: str, mode: int, effective_ids: bool = True) -> bool:
        try:
            self.call("y", path, one=mode)
        except OSError:
            return False
        return True

    def scandir(self, path: str | int, modes: bool = True) -> contextlib.nullcontext[list[Entry]]:
        entries = []
        path = _below(path)
        for line in self.call("l", path, one=modes).found.split(b"\0")[:-1]:
            directory, mode, name = line.split(b" ", 2)
            entries.append(Entry(os.fsdecode(name), int(mode, 8), directory == b"1"))
        if self._known is not None:
            # After the list of a new container, the caller is going to read its files.
            files = [one.name for one in entries if modes and not one.directory]
            wanted = [
                Request("R", os.fsencode(f"{path}/{file}")) for file in files if self.shows(file)
            ]
            self._learn([one for one in wanted if one not in self._known])
        return contextlib.nullcontext(entries)

    def listdir(self, path: str) -> list[str]:
        with self.scandir(path, modes=False) as entries:
            return [entry.name for entry in entries]

    def readlink(self, path: str) -> str:
        """The far end is root of its machine."""
        if path.endswith("/ns/user"):
            return proc.FIRST_USERS
        return os.fsdecode(self.call("L", path).found)

    def listxattr(self, path: str | int) -> list[str]:
        found = self.call("x", _below(path)).found
        return [os.fsdecode(name) for name in found.split(b"\0")[:-1]]

    def getxattr(self, path: str | int, name: str) -> bytes:
        return self.call("g", _below(path), os.fsencode(name)).found

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
            for module in (backend_cgroupfs, cgroup_files, ownership, proc, xattrs):
                stack.enter_context(patch.object(module, "os", _Os(self)))
            stack.enter_context(patch.object(backend_cgroupfs, "open", self.text, create=True))
            for name in ("read_text", "read_short"):
                stack.enter_context(patch.object(proc, name, self.read_text))
            stack.enter_context(patch.object(syscalls, "sys_mount", self.mount))
            stack.enter_context(patch.object(syscalls, "sys_umount", self.umount))
            sending = SimpleNamespace(pidfd_send_signal=self.pidfd_send_signal)
            stack.enter_context(patch.object(cgroup_files, "signal", sending))
            # A watchdog is for a pcont that is killed.
            unwatched = SimpleNamespace(watching=lambda *_: contextlib.nullcontext())
            stack.enter_context(patch.object(cgroup_files, "watchdog", unwatched))
            yield

    def text(self, path: str) -> io.StringIO:
        """As open() does, to read a file."""
        return io.StringIO(self.read_text(path))


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

    PURE = ("strerror", "fsencode", "fsdecode", "major", "minor", "sysconf", "stat_result")

    def __init__(self, far: Far) -> None:
        self._far = far
        self.close = far.close_one
        self.path = _Path(far)

    def __getattr__(self, name: str) -> Any:
        if name in self.PURE or name.isupper():
            return getattr(os, name)
        return getattr(self._far, name)

    def geteuid(self) -> int:
        """The far end is root."""
        return 0

    def getpid(self) -> int:
        return self._far.pid


class _Path:
    """The module os.path, for the far end."""

    def __init__(self, far: Far) -> None:
        self._far = far

    def __getattr__(self, name: str) -> Any:
        return getattr(os.path, name)

    def lexists(self, path: str) -> bool:
        return self._mode(path, follow=False) is not None

    def exists(self, path: str) -> bool:
        return self._mode(path) is not None

    def isdir(self, path: str) -> bool:
        return stat.S_ISDIR(self._mode(path) or 0)

    def islink(self, path: str) -> bool:
        return stat.S_ISLNK(self._mode(path, follow=False) or 0)

    def realpath(self, path: str) -> str:
        """No directory of a walk is a symbolic link."""
        return os.path.abspath(path)

    def _mode(self, path: str, follow: bool = True) -> int | None:
        with contextlib.suppress(OSError):
            mode: int = self._far.stat(path, follow_symlinks=follow).st_mode
            return mode
        return None


def _below(path: str | int, directory: int | None = None) -> str:
    """The path of what an open directory has, or of an open file."""
    if isinstance(path, int):
        return f"/proc/self/fd/{path}"
    return path if directory is None else f"/proc/self/fd/{directory}/{path}"


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
