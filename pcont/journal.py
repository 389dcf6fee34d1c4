"""What a command has touched, written down before it touches it, so that a crash can be undone.

One file for each command at work. Its owner holds a lock on it for as long as it lives: a journal
that can be locked belongs to a command that has died.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from errno import ENOSPC
from typing import Any

VERSION = 1
SUFFIX = ".journal"
SETTLED: dict[str, Any] = {"settled": True}


def view() -> str:
    """The namespaces in which pids, paths and mounts mean what a journal says (namespaces(7))."""
    found = []
    for kind in ("cgroup", "mnt", "pid"):
        with contextlib.suppress(OSError):
            found.append(os.readlink(f"/proc/self/ns/{kind}"))
    return " ".join(found)


class Journal:
    """The journal of a command, made at its first entry; closed, it is gone."""

    def __init__(self, directory: str, command: str) -> None:
        self._name = os.path.join(directory, f"{time.time_ns():020}-{os.getpid()}{SUFFIX}")
        self._command = command
        self._descriptor = -1

    def append(self, entry: dict[str, Any]) -> None:
        """One more entry; what it tells of may be done when this returns."""
        if self._descriptor < 0:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
            self._descriptor = os.open(self._name, flags, 0o600)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            self._write({"version": VERSION, "command": self._command, "view": view()})
        self._write(entry)

    def _write(self, entry: dict[str, Any]) -> None:
        line = f"{json.dumps(entry)}\n".encode()
        if os.write(self._descriptor, line) < len(line):
            raise OSError(ENOSPC, os.strerror(ENOSPC), self._name)

    def close(self) -> None:
        """All is done, or all has been taken back. OSError where that cannot be noted."""
        if self._descriptor >= 0:
            try:
                os.unlink(self._name)
            except OSError:
                # One that stays must not tell the next command to undo what is done.
                self.append(SETTLED)
            os.close(self._descriptor)
            self._descriptor = -1


class Abandoned:
    """The journal of a command that has died."""

    def __init__(self, name: str) -> None:
        self.name = name
        with open(name, encoding="utf-8") as stream:
            lines = stream.read().split("\n")
        # What could not be written as a whole tells of what was not done.
        self.entries = [entry for line in lines if (entry := _entry(line))]
        none: dict[str, Any] = {"version": VERSION, "command": ""}
        head = self.entries.pop(0) if self.entries else none
        if SETTLED in self.entries:
            self.entries = []
        self.version: int = head["version"]
        self.command: str = head["command"]
        self.view: str = head.get("view", "")

    def close(self) -> None:
        """It has been dealt with."""
        os.unlink(self.name)


def _entry(line: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(line)
    except ValueError:
        return {}
    return found


def abandoned(directory: str) -> Iterator[Abandoned]:
    """The journals of commands that have died, the latest first; those that are understood here."""
    if not os.path.isdir(directory):
        return
    for name in sorted(os.listdir(directory), reverse=True):
        if name.endswith(SUFFIX):
            with contextlib.suppress(BlockingIOError, FileNotFoundError):
                descriptor = os.open(os.path.join(directory, name), os.O_RDONLY | os.O_CLOEXEC)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    journal = Abandoned(os.path.join(directory, name))
                    if journal.view in ("", view()):
                        yield journal
                finally:
                    os.close(descriptor)


def encode(value: Any) -> Any:
    """A value as JSON has it: dataclasses by their names, and what JSON lacks."""
    if is_dataclass(value):
        # What does not make one differ from another is for messages only.
        kept = [field.name for field in fields(value) if field.compare]
        named = {name: encode(getattr(value, name)) for name in kept}
        return {"is": type(value).__name__, **named}
    if isinstance(value, dict):
        return {"is": "dict", "items": [[encode(key), encode(one)] for key, one in value.items()]}
    if isinstance(value, LISTS):
        return {"is": type(value).__name__, "items": [encode(one) for one in value]}
    return value


LISTS = (frozenset, set, tuple, list)


def decode(value: Any, kinds: Mapping[str, Any]) -> Any:
    """The reverse; `kinds` are the dataclasses by name, and KeyError is for any other."""
    if not isinstance(value, dict):
        return value
    kind = value["is"]
    if kind == "dict":
        return {decode(key, kinds): decode(one, kinds) for key, one in value["items"]}
    if "items" in value:
        lists = {one.__name__: one for one in LISTS}
        return lists[kind](decode(one, kinds) for one in value["items"])
    words = {name: decode(one, kinds) for name, one in value.items() if name != "is"}
    return kinds[kind](**words)
