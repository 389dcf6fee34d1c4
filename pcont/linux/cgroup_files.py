"""Read and write control files and directories of mounted hierarchies, by path."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import signal
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache, partial

from pcont.kernel.refusals import WriteRefused
from pcont.kernel.types import Owner, Snapshot, Surveyed
from pcont.linux import proc, watchdog
from pcont.trust import xattrs

_LISTED = 8  # names of a list that can be read in the time that it takes to look for one
_LEAF = 2  # links of a directory without directories in it
_MOST_PIDFDS = 256  # process descriptors open at a time: the usual limit is 1,024 open files


class KernelFiles:
    """The CgroupFiles interface (kernel/system_calls.py) on the running kernel.

    `administers`: returns whether this process can read and write `trusted.*` attributes.
    """

    def __init__(self, administers: Callable[[], bool]) -> None:
        self._administers = administers

    def mkdir(self, directory: str) -> None:
        os.mkdir(directory, 0o755)

    def rmdir(self, directory: str) -> None:
        os.rmdir(directory)

    def is_directory(self, path: str) -> bool:
        return stat.S_ISDIR(os.stat(path).st_mode)

    def count_directories(self, directory: str) -> int:
        return _count(directory)

    def directories(self, directory: str) -> list[str]:
        if not _count(directory):
            return []
        return _directories(directory)

    def survey(self, directory: str, files: Sequence[str]) -> list[Surveyed]:
        top = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        found = []
        try:
            # Paths from an open directory are shorter for the kernel, too.
            for name in _directories(top):
                with contextlib.suppress(FileNotFoundError):
                    has_children = os.stat(name, dir_fd=top).st_nlink > _LEAF
                    texts = [_text_or_error(top, f"{name}/{file}") for file in files]
                    found.append(Surveyed(name, has_children, texts))
        finally:
            os.close(top)
        return found

    def names_in_use(self, directory: str, names: Sequence[str]) -> set[str]:
        # To look for a name takes longer than to read it in a list.
        if len(names) > 1 and _count(directory) <= _LISTED * len(names):
            return set(names).intersection(os.listdir(directory))
        return {name for name in names if os.path.lexists(f"{directory}/{name}")}

    def modes(self, directory: str) -> dict[str, bool]:
        with os.scandir(directory) as entries:
            return {
                entry.name: bool(entry.stat().st_mode & stat.S_IWUSR)
                for entry in entries
                if entry.is_file(follow_symlinks=False)
            }

    def read(self, file: str) -> str:
        try:
            return proc.read_short(file)
        except OSError as err:
            raise _read_error(err, file) from err

    def write(self, file: str, text: str, opened: Callable[[], object] | None = None) -> None:
        # Without O_CREAT: pcont never creates a control file, and a missing one is ENOENT.
        descriptor = os.open(file, os.O_WRONLY | os.O_CLOEXEC)
        try:
            if opened:
                opened()
            os.write(descriptor, text.encode("utf-8", "surrogateescape"))
        except OSError as err:
            raise WriteRefused(err.errno, os.strerror(err.errno or 0), file) from err
        finally:
            os.close(descriptor)

    def write_tasks(self, file: str, tasks: Iterable[int]) -> Iterator[int]:
        descriptor = os.open(file, os.O_WRONLY | os.O_CLOEXEC)
        try:
            for task in tasks:
                try:
                    os.write(descriptor, b"%d" % task)
                    yield task
                except ProcessLookupError:
                    pass
                except OSError as err:
                    raise WriteRefused(err.errno, os.strerror(err.errno or 0), file) from err
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def write_if_killed(self, file: str, text: bytes) -> Iterator[None]:
        descriptor = os.open(file, os.O_WRONLY | os.O_CLOEXEC)
        try:
            with watchdog.watching(partial(os.write, descriptor, text), descriptor):
                yield
        finally:
            os.close(descriptor)

    def may_write(self, *files: str) -> bool:
        return all(os.access(file, os.W_OK, effective_ids=True) for file in files)

    def attributes(self, directory: str) -> dict[str, str]:
        return xattrs.read_xattrs(directory, self._administers())

    def set_attribute(self, directory: str, name: str, text: str | None) -> None:
        xattrs.write_xattr(directory, name, text)

    def stray(self, directory: str) -> dict[str, str]:
        return xattrs.stray(directory, self._administers())

    def mend(self, directory: str) -> None:
        xattrs.mend_xattrs(directory)

    def snapshot(self, directory: str, names: Mapping[str, str], others: Iterable[str]) -> Snapshot:
        top = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            texts: dict[str, str] = {}
            owners = {"": _owner(os.fstat(top))}
            for file, name in names.items():
                # Some files can only be written, or are switched off on this kernel.
                try:
                    texts[file], owners[name] = _looked_at(top, name)
                except OSError:
                    owners[name] = _owner(os.stat(name, dir_fd=top))
            for name in others:
                owners[name] = _owner(os.stat(name, dir_fd=top))
            return Snapshot(texts, xattrs.read_xattrs(top, self._administers()), owners)
        finally:
            os.close(top)

    def owners(self, directory: str) -> dict[str, Owner]:
        with os.scandir(directory) as entries:
            files = {entry.name: entry.stat() for entry in entries if entry.is_file()}
        facts = {"": os.stat(directory), **files}
        return {name: _owner(one) for name, one in facts.items()}

    def set_owners(self, directory: str, owners: Mapping[str, Owner]) -> None:
        now = self.owners(directory)
        for name, owner in owners.items():
            before, path = now.get(name), os.path.join(directory, name)
            if before is None or before[:2] != owner[:2]:
                os.chown(path, owner.uid, owner.gid)
            if before is None or before.mode != owner.mode:
                os.chmod(path, owner.mode)

    def is_on(self, point: str, device: str) -> bool:
        return proc.is_on(point, device)

    def signal_inside(
        self, pids: Iterable[int], number: int, inside: Callable[[], Iterable[int]]
    ) -> Iterator[int]:
        rest = iter(pids)
        while some := list(itertools.islice(rest, _MOST_PIDFDS)):
            with contextlib.ExitStack() as stack:
                pinned = {}
                for pid in some:
                    with contextlib.suppress(ProcessLookupError):
                        pinned[pid] = os.pidfd_open(pid)
                        stack.callback(os.close, pinned[pid])
                # An id listed after the open belongs to the opened process, or that has exited.
                with contextlib.suppress(FileNotFoundError):
                    there = set(inside())
                    for pid in pinned:
                        if pid in there and _signalled(pinned[pid], number):
                            yield pid


def _count(directory: str) -> int:
    """Return how many containers a container has directly below.

    In cgroupfs each of them adds a link to those that a directory has.
    """
    return os.stat(directory).st_nlink - _LEAF


def _owner(status: os.stat_result) -> Owner:
    return _owner_of(status.st_uid, status.st_gid, status.st_mode)


@lru_cache(maxsize=64)
def _owner_of(uid: int, gid: int, mode: int) -> Owner:
    return Owner(uid, gid, stat.S_IMODE(mode))


def _looked_at(directory: int, name: str) -> tuple[str, Owner]:
    """Return the text and the owner of the file `name` in an open directory."""
    descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
    try:
        return proc.short_text(descriptor), _owner(os.fstat(descriptor))
    finally:
        os.close(descriptor)


def _directories(directory: str | int) -> list[str]:
    """Return the names of the directories in a directory (a path or a descriptor), sorted."""
    with os.scandir(directory) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))


def _read_error(err: OSError, file: str) -> OSError:
    """Return the error for a control file that could not be read.

    ENODEV: the container was removed between open(2) and read(2).
    """
    number = errno.ENOENT if err.errno == errno.ENODEV else err.errno or 0
    return OSError(number, os.strerror(number), file)


def _text_or_error(directory: int, file: str) -> str | OSError:
    """Return the text of a file below an open directory, or why it cannot be read."""
    try:
        return proc.read_short(file, directory)
    except OSError as err:
        return _read_error(err, file)


def _signalled(descriptor: int, number: int) -> bool:
    try:
        signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return False
    return True
