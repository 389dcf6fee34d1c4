"""A backend that fails, waits, is interrupted or dies at its k-th change, and is sound besides."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from errno import (
    E2BIG,
    EACCES,
    EBUSY,
    EEXIST,
    EINTR,
    EINVAL,
    EIO,
    ENOMEM,
    ENOSPC,
    EPERM,
    EROFS,
    ESRCH,
)
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pcont.bpf import libbpf as bpf_libbpf
from pcont.kernel.interfaces import Backend
from pcont.kernel.refusals import WriteRefused
from pcont.kernel.types import Place

# What each verb that changes something may be answered by a kernel: a plausible errno or several.
CHANGING: dict[str, tuple[int, ...]] = {
    "mount": (EBUSY, EPERM, ENOMEM),
    "umount": (EBUSY, EPERM),
    "make_directory": (EROFS, EEXIST),
    "remove_directory": (EBUSY, EPERM),
    "make": (ENOSPC, EPERM, ENOMEM),
    "remove": (EBUSY, EPERM),
    "write": (EINVAL, EBUSY, ENOSPC, EACCES, EPERM, EINTR, EIO),
    "enter": (EINVAL, ENOSPC, EACCES),
    "set_attribute": (ENOSPC, EPERM),
    "mend": (EPERM,),
    "set_owners": (EPERM,),
    "kill": (EPERM,),
    "pin": (ENOSPC, EPERM),
    "unpin": (EBUSY, EPERM),
    "set_affinity": (EINVAL, ESRCH),
}
# The methods of the enforcer, and what they do to the kernel of these: each is a change of its own.
METERING = {
    "start": (ENOMEM, EPERM),
    "stop": (EPERM,),
    "set": (ENOMEM, EPERM),
    "bpf_object__load": (EPERM, E2BIG, ENOMEM),
    "bpf_map__pin": (EPERM, ENOSPC),
    "bpf_program__attach": (EBUSY, ENOMEM, EPERM),
    "bpf_link__pin": (EPERM, ENOMEM),
    "bpf_map_update_elem": (ENOMEM, EPERM),
    "bpf_map_delete_elem": (EPERM,),
    "unpin": (EPERM, EROFS),
}
LOOKING = {
    *("namespaces", "separate", "join", "pins", "pin_path", "may_join"),
    *("may_mount", "may_change", "may_move", "has_systemd", "delegated"),
    *("controllers", "trees", "machine", "privileged", "environment", "exclusive", "occupied"),
    *("missing", "default_directory", "resolve", "children", "files", "read", "attributes"),
    *(
        "workplace",
        "names_in_use",
        "count_children",
        "survey",
        "stray",
        "relied_on",
        "owners",
        "has",
        "snapshot",
        "show",
        "task",
        "membership",
        "threads",
    ),
    *("affinity", "assigned_ids", "family", "thawing", "in_the_way", "copies"),
    *("journals", "releases", "enforcer", "virtual_subsystems", "table", "spelled", "simulated"),
}
ERRNOS = {**CHANGING, **METERING}
BY_OPEN = (EACCES, EROFS)  # what open(2) says of a control file, before anything is written

Act = Callable[[], object]


@dataclass(frozen=True)
class Fault:
    """What befalls a change: given the verb and the change itself, which it may do or not."""

    name: str
    strike: Callable[[str, Act], object]
    fatal: bool = False

    def __str__(self) -> str:
        return self.name


def refusals(verb: str) -> list[Fault]:
    """The change is refused with each of its errnos; another one in its stead with its own."""
    return [_refusal(choice) for choice in range(len(ERRNOS[verb]))]


def _refusal(choice: int) -> Fault:
    def strike(verb: str, act: Act) -> object:
        number = ERRNOS[verb][choice % len(ERRNOS[verb])]
        written = verb == "enter" or (verb == "write" and number not in BY_OPEN)
        kind = WriteRefused if written else OSError
        raise kind(number, os.strerror(number), f"the injected {verb}")

    return Fault(f"refusal {choice}", strike)


def delay(seconds: float) -> Fault:
    """The change comes late."""

    def strike(verb: str, act: Act) -> object:
        time.sleep(seconds)
        return act()

    return Fault(f"{seconds} s late", strike)


def _interrupted(verb: str, act: Act) -> object:
    signal.raise_signal(signal.SIGTERM)
    return act()


def _killed_before(verb: str, act: Act) -> object:
    os.kill(os.getpid(), signal.SIGKILL)
    return act()


def _killed_after(verb: str, act: Act) -> object:
    act()
    os.kill(os.getpid(), signal.SIGKILL)
    return None


INTERRUPTED = Fault("SIGTERM", _interrupted)
KILLED = (
    Fault("SIGKILL before", _killed_before, fatal=True),
    Fault("SIGKILL after", _killed_after, fatal=True),
)


@dataclass
class FaultyBackend:
    """A Backend over another one: each change is written to a log, the one with number `at` fails.

    The log is a file, since its reader may be another process than the one that dies. The
    task `left_out` is missing from the listing number `short` of those that have it and others: the
    kernel (v1) leaves a task out at times, while others fork in the container.
    """

    backend: Backend
    log: Path
    at: int = 0
    fault: Fault | None = None
    left_out: int = 0
    short: int = 0
    count: int = 0
    listings: int = 0

    def __getattr__(self, verb: str) -> Any:
        found = getattr(self.backend, verb)
        return partial(self._change, verb, found) if verb in CHANGING else found

    @property
    def enforcer(self) -> Any:
        """The enforcer. Its changes are counted like those of files."""
        return _FaultyPart(self.backend.enforcer, self._change)

    def reach_libbpf(self, patch: pytest.MonkeyPatch) -> None:
        """A change that the enforcer makes by libbpf counts, too."""
        libbpf = bpf_libbpf.libbpf

        def faulty() -> object:
            return _FaultyPart(libbpf(), self._call)

        patch.setattr(bpf_libbpf, "libbpf", faulty)
        unpin = partial(self._change, "unpin", bpf_libbpf.unpin_object)
        patch.setattr(bpf_libbpf, "unpin_object", unpin)

    def _call(self, verb: str, function: Any, *words: object) -> object:
        """A C function, which tells of a fault by its result and errno."""
        try:
            return self._change(verb, function, *words)
        except OSError as err:
            ctypes.set_errno(err.errno or 0)
            return None if function.restype is ctypes.c_void_p else -(err.errno or 0)

    def read(self, place: Place, file: str) -> str:
        """The text of a control file; a listing of tasks may leave one out."""
        text = self.backend.read(place, file)
        line = f"{self.left_out}\n"
        if file == "tasks" and line in text.splitlines(keepends=True) and text != line:
            self.listings += 1
            self.log.with_suffix(".listings").write_text(str(self.listings))
            if self.listings == self.short:
                return text.replace(line, "", 1)
        return text

    def enter(self, place: Place, tasks: Iterable[int], file: str = "") -> Iterator[int]:
        """Each task is a change of its own."""
        for task in tasks:
            one = partial(self._enter, place, file)
            if self._change("enter", one, task):
                yield task

    def _enter(self, place: Place, file: str, task: int) -> bool:
        return bool(list(self.backend.enter(place, [task], file)))

    def kill(self, place: Place, pids: Iterable[int], number: int) -> Iterator[int]:
        """Each process is a change of its own."""
        for pid in pids:
            if self._change("kill", partial(self._kill, place, number), pid):
                yield pid

    def _kill(self, place: Place, number: int, pid: int) -> bool:
        return bool(list(self.backend.kill(place, [pid], number)))

    def _change(self, verb: str, change: Callable[..., object], *words: object) -> object:
        self.count += 1
        # What is in the memory of this process is somewhere else each time.
        reported = [str(word) for word in words if not isinstance(word, ctypes.c_void_p)]
        with open(self.log, "a") as stream:
            stream.write(json.dumps([verb, *reported]) + "\n")
        act = partial(change, *words)
        if self.fault and self.count == self.at:
            return self.fault.strike(verb, act)
        return act()


@dataclass
class _FaultyPart:
    """What has verbs, of which those of the table go another way."""

    inner: Any
    change: Callable[..., object]

    def __getattr__(self, verb: str) -> Any:
        found = getattr(self.inner, verb)
        return partial(self.change, verb, found) if verb in METERING else found
