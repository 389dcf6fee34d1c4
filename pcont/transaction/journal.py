"""The journal: what a command is about to change, written to disk before the change, so that a
crash can be undone.

Each running command has one file, and holds a lock on it. A journal that another process can lock
belongs to a command that was killed.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from errno import ELOOP, ENOSPC
from functools import cache
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from pcont.bases import FORMATS, fields_of, made
from pcont.errors import Denied
from pcont.transaction.journal_files import ASIDE, SUFFIX, journals_in
from pcont.trust import ownership
from pcont.trust.workplace import refusal

JOURNAL_VERSION = 1
SETTLED: dict[str, Any] = {"settled": True}
LARGEST = 1 << 28  # bytes: larger than the journal of a million tasks
# What reading a journal of another shape raises.
OTHER_SHAPE = (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError)


def view() -> str:
    """Return the ids of the namespaces (cgroup, mnt, pid) in which the pids and paths of a journal
    are valid.

    See namespaces(7).
    """
    found = []
    for kind in ("cgroup", "mnt", "pid"):
        with contextlib.suppress(OSError):
            found.append(os.readlink(f"/proc/self/ns/{kind}"))
    return " ".join(found)


def boot() -> str:
    """Return the id of this boot, from /proc; empty if it cannot be read. No container survives a
    reboot.
    """
    with contextlib.suppress(OSError), open("/proc/sys/kernel/random/boot_id") as stream:
        return stream.read().strip()
    return ""


class Journal:
    """The journal of a running command. The file is created by the first entry, and removed by
    `close`.

    Its methods raise PcontError, with the path and the reason, if the file cannot be written.
    """

    def __init__(self, directory: str, command: str) -> None:
        self._name = os.path.join(directory, f"{time.time_ns():020}-{os.getpid()}{SUFFIX}")
        self._command = command
        self._descriptor = -1
        self._entries = 0

    def append(self, entry: dict[str, Any]) -> None:
        """Write an entry. When this returns, the caller may make the change that the entry
        describes.
        """
        try:
            if self._descriptor < 0:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
                self._descriptor = os.open(self._name, flags, 0o600)
                fcntl.flock(self._descriptor, fcntl.LOCK_EX)
                head = {"version": JOURNAL_VERSION, "command": self._command}
                # In one write(2): where a kill has cut that short, nothing was done yet.
                self._write({**head, "view": view(), "boot": boot()}, entry)
            else:
                self._write(entry)
        except OSError as err:
            self._discard_if_new()
            raise refusal(err, "write the journal", self._name) from err

    def _write(self, *entries: dict[str, Any]) -> None:
        text = "".join(f"{json.dumps(entry)}\n" for entry in entries).encode()
        written = os.write(self._descriptor, text)
        if written < len(text):
            raise OSError(ENOSPC, os.strerror(ENOSPC), self._name)
        self._entries += len(entries)

    def _discard_if_new(self) -> None:
        """Remove the file if its first entry could not be written: nothing was changed yet."""
        if self._descriptor >= 0 and not self._entries:
            with contextlib.suppress(OSError):
                os.unlink(self._name)
            os.close(self._descriptor)
            self._descriptor = -1

    def close(self) -> None:
        """Remove the journal: everything is done, or everything is undone. Raises PcontError if it
        can be neither removed nor marked as settled.
        """
        if self._descriptor >= 0:
            try:
                os.unlink(self._name)
            except OSError:
                # One that stays must not make the next command undo what is done.
                self.append(SETTLED)
            os.close(self._descriptor)
            self._descriptor = -1


class AbandonedJournal:
    """The journal of a command that was killed.

    `name`: the path of the file. `command`: the command line that wrote it. `view`: the namespaces
    of that command. `earlier`: it was written before a reboot. `damage`: why it cannot be used;
    empty if it can.
    """

    def __init__(
        self,
        name: str,
        command: str = "",
        entries: list[dict[str, Any]] | None = None,
        view: str = "",
        earlier: bool = False,
        damage: str = "",
    ) -> None:
        self.name, self.command, self.view, self.earlier = name, command, view, earlier
        self.damage = damage
        self.entries: list[dict[str, Any]] = [] if entries is None else entries

    def close(self) -> None:
        """Remove the file, after recovery. Raises PcontError if that fails."""
        try:
            os.unlink(self.name)
        except OSError as err:
            raise refusal(err, "remove the journal", self.name) from err

    def set_aside(self) -> str:
        """Rename the file so that no command reads it again; returns the new path.

        Raises PcontError if that fails.
        """
        number = 0
        aside = f"{self.name}{ASIDE}"
        while os.path.lexists(aside):
            number += 1
            aside = f"{self.name}{ASIDE}.{number}"
        try:
            os.rename(self.name, aside)
        except OSError as err:
            raise refusal(err, "set aside the damaged journal", self.name) from err
        return aside


def abandoned(directories: Iterable[str]) -> Iterator[AbandonedJournal]:
    """Yield the journals of commands that were killed in the namespaces of this process, the latest
    first.

    Each one is locked until the next is requested. Damaged journals are included, because their
    namespaces are unknown.
    """
    for path in sorted(journals_in(directories), key=os.path.basename, reverse=True):
        with contextlib.suppress(BlockingIOError, FileNotFoundError):
            yield from _examined(path)


def _examined(name: str) -> Iterator[AbandonedJournal]:
    """Yield the journal of that name, with its lock held, unless its command is still running."""
    try:
        descriptor = ownership.open_file(name, uid=os.geteuid())
    except FileNotFoundError:
        return
    except Denied as err:
        yield AbandonedJournal(name, damage=err.what)
        return
    except OSError as err:
        why = "a symbolic link" if err.errno == ELOOP else os.strerror(err.errno or 0)
        yield AbandonedJournal(name, damage=why)
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Its command may have removed it between open(2) and flock(2).
        if os.fstat(descriptor).st_nlink:
            found = _read(name, descriptor)
            if found.view in ("", view()):
                yield found
    finally:
        os.close(descriptor)


def _read(name: str, descriptor: int) -> AbandonedJournal:
    found = AbandonedJournal(name)
    try:
        size = os.fstat(descriptor).st_size
        if size > LARGEST:
            raise ValueError(f"it has {size} bytes")
        with open(descriptor, encoding="utf-8", closefd=False) as stream:
            _parse(found, stream.read())
    except OTHER_SHAPE as err:
        found.damage = f"{type(err).__name__}: {err}"
    except OSError as err:
        found.damage = os.strerror(err.errno or 0)
    return found


def _parse(found: AbandonedJournal, text: str) -> None:
    """Fill in the record from the lines of the file. Raises one of OTHER_SHAPE for other contents.

    The last line may be incomplete: the command was killed before it made the change of that line.
    A file without an entry means that no change was made.
    """
    if not text:
        return
    *lines, _ = text.split("\n")
    if not lines:
        raise ValueError("it has no complete line")
    head = _object(lines[0])
    found.command = _text(head, "command")
    found.view = _text(head, "view") if "view" in head else ""
    found.earlier = head.get("boot", boot()) != boot()
    if head["version"] != JOURNAL_VERSION:
        raise ValueError(
            f"it has version {head['version']!r}, and this pcont knows {JOURNAL_VERSION}"
        )
    entries = [_object(line) for line in lines[1:]]
    found.entries = [] if SETTLED in entries else entries


def _object(line: str) -> dict[str, Any]:
    found = json.loads(line)
    if not isinstance(found, dict):
        raise ValueError(f"a line is not an object: {line[:40]!r}")
    return found


def _text(head: dict[str, Any], key: str) -> str:
    found = head[key]
    if not isinstance(found, str):
        raise ValueError(f"{key} is not a text")
    return found


def encode(value: Any) -> Any:
    """Return a value as JSON types: a record as an object with its tag, and dict, set, tuple and
    list as tagged objects.

    Raises TypeError for a class that has no tag (see pcont.bases).
    """
    if type(value) in _PLAIN:
        return value
    if type(value) in FORMATS:
        named = {name: encode(one) for name, one in fields_of(value).items()}
        return {"is": FORMATS[type(value)].tag, **named}
    if isinstance(value, dict):
        return {"is": "dict", "items": [[encode(key), encode(one)] for key, one in value.items()]}
    if type(value) in LISTS:
        return {"is": LISTS[type(value)], "items": [encode(one) for one in value]}
    raise TypeError(f"{type(value).__name__} has no tag")


_PLAIN = frozenset({int, str, bool, float, type(None)})
LISTS: dict[type, str] = {frozenset: "frozenset", set: "set", tuple: "tuple", list: "list"}


def decode(value: Any, kinds: Mapping[str, Any]) -> Any:
    """Return the value that `encode` was given. `kinds` maps tags to classes.

    Raises KeyError for an unknown tag or field, and TypeError for a field of the wrong type.
    """
    if not isinstance(value, dict):
        return value
    kind = value["is"]
    if kind == "dict":
        return {decode(key, kinds): decode(one, kinds) for key, one in value["items"]}
    if "items" in value:
        lists: dict[str, Any] = {name: one for one, name in LISTS.items()}
        return lists[kind](decode(one, kinds) for one in value["items"])
    words = {name: decode(one, kinds) for name, one in value.items() if name != "is"}
    return checked(made(kinds[kind], words))


_T = TypeVar("_T")


def checked(value: _T) -> _T:
    """Return the record. Raises TypeError if a field does not have its
    declared type.
    """
    kind: Any = type(value)
    for name, hint in _hints(kind).items():
        if not _fits(getattr(value, name), hint):
            raise TypeError(f"{type(value).__name__}.{name} is {getattr(value, name)!r:.80}")
    return value


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _fits(value: Any, hint: Any) -> bool:
    origin, parts = get_origin(hint) or hint, get_args(hint)
    if origin in (UnionType, Union):
        return any(_fits(value, part) for part in parts)
    if origin is dict:
        return isinstance(value, dict) and all(
            _fits(key, parts[0]) and _fits(one, parts[1]) for key, one in value.items()
        )
    if origin is tuple and parts[-1] is not Ellipsis:
        return (
            isinstance(value, tuple) and len(value) == len(parts) and all(map(_fits, value, parts))
        )
    for shape in (Set, Sequence):
        if parts and issubclass(origin, shape):
            return isinstance(value, shape) and all(_fits(one, parts[0]) for one in value)
    return isinstance(value, origin)
