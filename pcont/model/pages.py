"""A file of rows, by key, that a command reads and changes in parts.

The rows are in the leaves of a tree of pages, sorted by key. A change appends new pages for those
on the way to the changed rows, and a new root. Then it overwrites the older of two slots at the
start of the file, which name the root. Pages are never overwritten: a reader keeps the state that
it has opened, takes no lock, and blocks no other process. A command that is killed leaves the old
slot or the new one. If more than half of the file is unused, the file is replaced by a new one.

Each page and each slot has a checksum, so a damaged file is found wherever it is read.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from binascii import crc32
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping
from errno import EACCES, EISDIR
from itertools import islice
from typing import Any, NoReturn

from pcont.bases import NamedTuple
from pcont.errors import PcontError, from_oserror

NOT_OURS = (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError)
StoredRow = Any  # what JSON can hold, but null
Changes = Mapping[str, StoredRow]  # None: the row is removed

MAGIC = b"pcont model "
SLOTS, SLOT, START = (512, 1024), 128, 1536  # a disk writes a sector of 512 bytes at once
LEAF, CHILDREN = 4096, 64  # the bytes of a leaf, and the pages below a page, as far as possible
SLACK = 64 * 1024  # unused bytes that are always allowed
CACHED = 4096  # pages
ANOTHER = "use another --state FILE"
_FLAGS = os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC | os.O_NOFOLLOW
_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a fifo",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


class Ref(NamedTuple):
    """Where a page is, and the first key that it may have."""

    first: str
    offset: int
    length: int
    checksum: int


class Inner(NamedTuple):
    """A page with pages below it, and the first keys of these."""

    refs: list[Ref]
    firsts: list[str]

    def at(self, key: str) -> int:
        """Return the number of the page that may have a key."""
        return max(bisect_right(self.firsts, key) - 1, 0)


Page = dict[str, StoredRow] | Inner  # a leaf is a dict


class Commit(NamedTuple):
    """A state of the file: its pages are below `root`, and before `end`.

    `used`: the bytes of its pages.
    """

    number: int
    end: int
    used: int
    root: Ref


def open_regular(file: str) -> int:
    """Open a regular file to read it; returns its descriptor. Raises PcontError for another kind of
    file, and OSError.
    """
    _refuse_other_kinds(file, os.stat(file).st_mode)
    descriptor = os.open(file, os.O_RDONLY | _FLAGS)
    try:
        _refuse_other_kinds(file, os.fstat(descriptor).st_mode)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _refuse_other_kinds(file: str, mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "no file")
        raise PcontError(
            f"the model keeps its state in a regular file, and this is {kind}",
            path=file,
            errno=EISDIR if stat.S_ISDIR(mode) else None,
            hint=ANOTHER,
        )


class PageFile:
    """A state of such a file. Its rows do not change until this object commits changes.

    `version`: what the file says about the meaning of its rows.
    """

    def __init__(self, file: str, descriptor: int, before: PageFile | None = None) -> None:
        """Use an open file, which this object closes. `before`: an earlier state, perhaps of the
        same file; its pages are not read again.
        """
        self.file = file
        self._pages: dict[int, Page] = {}
        self._use(descriptor)
        if before and os.path.samestat(self._status, before._status):
            self._pages = before._pages

    def _use(self, descriptor: int) -> None:
        """Read the state that an open file has now."""
        self._descriptor, self._opener = descriptor, os.getpid()
        self._status = os.fstat(descriptor)
        self._pages = {}
        head = self._bytes(0, START)
        self.version = head.partition(b"\n")[0].removeprefix(MAGIC).decode("ascii", "replace")
        slots = [found for at in SLOTS if (found := _parsed_slot(head[at : at + SLOT]))]
        self._found = max(slots, default=None)

    def __del__(self) -> None:
        # A forked process may have closed it, and opened another file with this number.
        if os.getpid() == self._opener:
            os.close(self._descriptor)

    @property
    def _slot(self) -> Commit:
        return self._found or self._damaged()

    # Reading

    def get(self, key: str) -> StoredRow:
        """Return the row of a key; None if there is none."""
        return self.near(key).get(key)

    def near(self, key: str) -> Mapping[str, StoredRow]:
        """Return some rows, among them that of a key if there is one."""
        page = self._page(self._slot.root)
        while isinstance(page, Inner):
            page = self._page(page.refs[page.at(key)])
        return page

    def scan(self, prefix: str) -> Iterator[tuple[str, StoredRow]]:
        """Yield each row that has a key with this prefix, in the order of the keys."""
        for ref in self._leaves(self._slot.root, prefix):
            page = self._page(ref)
            assert isinstance(page, dict)
            keys = list(page)
            for key in islice(keys, bisect_left(keys, prefix), None):
                if not key.startswith(prefix):
                    return
                yield key, page[key]

    def _leaves(self, ref: Ref, key: str = "") -> Iterator[Ref]:
        """Yield the leaves below a page, from the one that may have a key."""
        page = self._page(ref)
        if isinstance(page, dict):
            yield ref
            return
        for below in page.refs[page.at(key) :]:
            yield from self._leaves(below, key)

    def _page(self, ref: Ref) -> Page:
        page = self._pages.get(ref.offset)
        if page is None:
            page = self._parsed(ref)
            if len(self._pages) >= CACHED:
                self._pages.clear()
            self._pages[ref.offset] = page
        return page

    def _parsed(self, ref: Ref) -> Page:
        try:
            found = json.loads(self._text(ref))
            if isinstance(found, dict):
                return found
            refs = [Ref(*below) for below in found]
            return Inner(refs, [ref.first for ref in refs])
        except (ValueError, TypeError, RecursionError):
            self._damaged()

    def _text(self, ref: Ref) -> bytes:
        """Return the bytes of a page. Raises PcontError if they are not those that were written."""
        text = self._bytes(ref.offset, ref.length)
        return text if crc32(text) == ref.checksum else self._damaged()

    def _bytes(self, offset: int, length: int) -> bytes:
        try:
            return os.pread(self._descriptor, length, offset)
        except (ValueError, OverflowError, MemoryError):
            self._damaged()
        except OSError as err:
            err.filename = self.file
            raise from_oserror(err, "read the model's state", hint=ANOTHER) from err

    def _damaged(self) -> NoReturn:
        raise damaged(self.file, "the file is damaged")

    def wrong(self, err: Exception) -> PcontError:
        """Return the error for a row of another shape. `err`: what failed."""
        return damaged(self.file, f"{type(err).__name__}: {err}")

    # Writing. The caller holds the lock of the state.

    def commit(self, changes: Changes) -> None:
        """Change rows, all or none. Raises PcontError if that fails."""
        with _keeping(self.file):
            _refuse_read_only(self.file)
            descriptor = self._reopened()
            if descriptor < 0:
                create_file(self.file, self.version, {**dict(self.scan("")), **changes})
                self._reopen()
                return
            try:
                self._append(descriptor, sorted(changes.items()))
            finally:
                os.close(descriptor)
        before = self._slot
        if before.end - START - before.used > before.used + SLACK:
            with contextlib.suppress(OSError, PcontError):  # the next command tries again
                self._compact(before.root)

    def _reopened(self) -> int:
        """Open the file to write it; returns -1 if another file, or none, is in its place."""
        try:
            descriptor = os.open(self.file, os.O_RDWR | _FLAGS)
        except FileNotFoundError:
            return -1
        if os.path.samestat(os.fstat(descriptor), self._status):
            return descriptor
        os.close(descriptor)
        return -1

    def _append(self, descriptor: int, changes: list[tuple[str, StoredRow]]) -> None:
        before = self._slot
        pages = _Pages(before.end, before.used)
        root = pages.rooted(self._changed(before.root, changes, pages))
        slot = Commit(before.number + 1, pages.end, pages.used, root)
        _write(descriptor, bytes(pages.text), before.end)
        os.fdatasync(descriptor)
        _write(descriptor, _spelled_slot(slot), SLOTS[slot.number % 2])
        os.fdatasync(descriptor)
        self._found = slot

    def _changed(self, ref: Ref, changes: list[tuple[str, StoredRow]], pages: _Pages) -> list[Ref]:
        """Add the pages that replace a page; returns those of the same height."""
        page = self._page(ref)
        pages.used -= ref.length
        if isinstance(page, dict):
            return pages.leaves(_merged(page, changes))
        found: list[Ref] = []
        done = 0
        for number, below in enumerate(page.refs, 1):
            last = number == len(page.refs)
            end = len(changes) if last else bisect_left(changes, (page.firsts[number],))
            some = changes[done:end]
            found += self._changed(below, some, pages) if some else [below]
            done = end
        return pages.above(found)

    def _compact(self, root: Ref) -> None:
        """Copy the leaves to a new file, which replaces this one."""
        pages = _Pages(START)
        refs = [pages.add(leaf.first, self._text(leaf)) for leaf in self._leaves(root)]
        _replace(self.file, self.version, pages, pages.rooted(refs))
        self._reopen()

    def _reopen(self) -> None:
        """Use the new file that this object has written."""
        before, descriptor = self._descriptor, open_regular(self.file)
        os.close(before)
        self._use(descriptor)


def _merged(
    page: dict[str, StoredRow], changes: list[tuple[str, StoredRow]]
) -> list[tuple[str, StoredRow]]:
    rows = {**page, **dict(changes)}
    return [(key, row) for key, row in sorted(rows.items()) if row is not None]


class _Pages:
    """New pages, which begin at an offset of the file. `used`: the bytes of all pages."""

    def __init__(self, offset: int, used: int = 0) -> None:
        self._offset, self.used = offset, used
        self.text = bytearray()

    @property
    def end(self) -> int:
        """The offset at which the pages end."""
        return self._offset + len(self.text)

    def add(self, first: str, text: bytes) -> Ref:
        """Add a page; returns where it is."""
        ref = Ref(first, self.end, len(text), crc32(text))
        self.text += text
        self.used += len(text)
        return ref

    def leaves(self, rows: Iterable[tuple[str, StoredRow]]) -> list[Ref]:
        """Add the leaves for sorted rows."""
        found, first, some, length = list[Ref](), "", list[str](), 0
        for key, row in rows:
            text = f"{_spelled(key)}:{_spelled(row)}"
            if length + len(text) > LEAF and some:
                found.append(self._leaf(first, some))
                some, length = [], 0
            first = first if some else key
            some.append(text)
            length += len(text)
        return [*found, self._leaf(first, some)] if some else found

    def _leaf(self, first: str, rows: list[str]) -> Ref:
        return self.add(first, f"{{{','.join(rows)}}}".encode("ascii"))

    def above(self, refs: list[Ref]) -> list[Ref]:
        """Add the pages that have these pages below them."""
        some = [refs[at : at + CHILDREN] for at in range(0, len(refs), CHILDREN)]
        return [self.add(one[0].first, _spelled(one).encode("ascii")) for one in some]

    def rooted(self, refs: list[Ref]) -> Ref:
        """Add pages until there is one that has all these below it."""
        while len(refs) > 1:
            refs = self.above(refs)
        return refs[0] if refs else self._leaf("", [])


_spelled = json.JSONEncoder(separators=(",", ":")).encode


def create_file(file: str, version: str, rows: Changes) -> None:
    """Write a new file with these rows, which replaces an old one. Raises PcontError if that fails;
    the old file is kept then.
    """
    with _keeping(file):
        _refuse_read_only(file)
        pages = _Pages(START)
        root = pages.rooted(pages.leaves(_merged({}, list(rows.items()))))
        _replace(file, version, pages, root)


def damaged(file: str, why: str) -> PcontError:
    """Return the error for a state that cannot be read."""
    return PcontError(
        f"the model's state cannot be read: {why}",
        path=file,
        hint="rename the file to start with a new model, or use another --state FILE",
    )


@contextlib.contextmanager
def _keeping(file: str) -> Iterator[None]:
    """Raise PcontError for an OSError of the block."""
    try:
        yield
    except OSError as err:
        err.filename = err.filename or file
        raise from_oserror(err, "keep the model's state", hint=ANOTHER) from err


def _refuse_read_only(file: str) -> None:
    """Raise OSError for a file that its owner has made read-only, because root may write it
    anyway.
    """
    with contextlib.suppress(FileNotFoundError):
        if not os.stat(file).st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH):
            raise PermissionError(EACCES, "the file is read-only", file)


def _replace(file: str, version: str, pages: _Pages, root: Ref) -> None:
    """Write pages to a new file, and rename it."""
    # The caller holds the lock, so one name is enough. A file left by a killed command is replaced.
    new = f"{file}.new"
    slot = _spelled_slot(Commit(0, pages.end, pages.used, root))
    head = (MAGIC + version.encode("ascii") + b"\n").ljust(SLOTS[0]) + slot
    try:
        _write_new(new, head.ljust(START) + pages.text)
        os.replace(new, file)
        _sync_directory(os.path.dirname(file))
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(new)
        raise


def _write_new(file: str, text: bytes) -> None:
    """Write a file and flush it to the disk."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(file)  # left by a killed command
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(file, flags, 0o600)
    try:
        _write(descriptor, text, 0)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write(descriptor: int, text: bytes, offset: int) -> None:
    rest = memoryview(text)
    while rest:
        count = os.pwrite(descriptor, rest, offset)
        rest, offset = rest[count:], offset + count


def _sync_directory(directory: str) -> None:
    """Flush a rename in a directory to the disk."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _spelled_slot(slot: Commit) -> bytes:
    """Return the bytes of a slot: its numbers and their checksum."""
    root = slot.root
    numbers = (slot.number, slot.end, slot.used, root.offset, root.length, root.checksum)
    text = " ".join(map(str, numbers)).encode("ascii")
    return b"%d %s\n" % (crc32(text), text)


def _parsed_slot(text: bytes) -> Commit | None:
    """Return the slot that a command has written completely; None if there is none."""
    checksum, _, rest = text.partition(b"\n")[0].partition(b" ")
    if not checksum.isdigit() or int(checksum) != crc32(rest):
        return None
    number, end, used, offset, length, root_checksum = map(int, rest.split())
    return Commit(number, end, used, Ref("", offset, length, root_checksum))
