"""Steps that give a process namespaces of its own, and keep these by a name."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from errno import EEXIST, EINVAL, ENOSPC, EPERM, EUSERS
from functools import partial
from shlex import quote

from pcont.backend import Backend
from pcont.errors import BY_ERRNO, LimitReached, PcontError, Unsupported, from_oserror
from pcont.steps import Step
from pcont.steps.memory import Action, Fact, Memory

# unshare(2), clone(2), setns(2): what these say of namespaces.
KINDS = {**BY_ERRNO, ENOSPC: LimitReached, EUSERS: LimitReached, EINVAL: Unsupported}
HINTS = {
    EPERM: "use sudo, or add a user namespace to --ns: user",
    ENOSPC: "see the limits in /proc/sys/user, and how deep namespaces are nested",
    EUSERS: "see the limits in /proc/sys/user, and how deep namespaces are nested",
}


def option(kind: str) -> str:
    """A kind of namespaces as unshare(1) and nsenter(1) call it."""
    return "mount" if kind == "mnt" else kind


def refused(err: OSError, doing: str) -> PcontError:
    """What the kernel said of namespaces, and which act it was."""
    number = err.errno or 0
    reason = f"{err.filename}: {os.strerror(number)}" if err.filename else ""
    return from_oserror(err, doing, reason, HINTS.get(number, ""), KINDS)


@dataclass
class Separate(Step):
    """A process that is in its place makes namespaces, or joins them: `settle` lets it."""

    settle: Callable[[], None]
    words: str
    doing: str

    def tell(self, backend: Backend) -> list[str]:
        return [self.words]

    def do(self, backend: Backend, memory: Memory) -> None:
        self.settle()

    def refusal(self, backend: Backend, err: OSError) -> PcontError:
        return refused(err, self.doing)


@dataclass
class NotPinned(Fact):
    """Nothing was kept by these names."""

    names: list[str]

    @property
    def what(self) -> str:
        return f"namespaces, not to be pinned as {', '.join(self.names)}"

    def restore(self, backend: Backend) -> Iterator[Action]:
        there = backend.pins()
        for name in self.names:
            if name in there:
                yield partial(backend.unpin, name)


@dataclass
class Pin(Step):
    """Keep the namespaces of a process by a name."""

    name: str
    task: int
    kinds: Sequence[str]
    doing: str

    def tell(self, backend: Backend) -> list[str]:
        return [
            f"mount --bind /proc/{self.task}/ns/{kind} {quote(backend.pin_path(self.name, kind))}"
            for kind in self.kinds
        ]

    def do(self, backend: Backend, memory: Memory) -> None:
        if self.name in backend.pins():
            raise FileExistsError(EEXIST, os.strerror(EEXIST), backend.pin_path(self.name))
        memory.keep(NotPinned([self.name]))
        backend.pin(self.name, self.task, self.kinds)

    def refusal(self, backend: Backend, err: OSError) -> PcontError:
        if err.errno == EEXIST:
            hint = f"choose another name, or free this one: pcont unpin {quote(self.name)}"
            return from_oserror(err, self.doing, "the name is taken", hint)
        return refused(err, self.doing)


@dataclass
class Unpin(Step):
    """Let go of namespaces: those that nobody is in are gone then, and nothing brings them back."""

    names: Sequence[str]
    doing: str
    gone: list[str] = field(default_factory=list)

    def tell(self, backend: Backend) -> list[str]:
        return [f"umount --lazy {quote(backend.pin_path(name))}" for name in self.names]

    def do(self, backend: Backend, memory: Memory) -> None:
        memory.end_with(NotPinned(list(self.names)))
        for name in self.names:
            backend.unpin(name)
            self.gone.append(name)

    @property
    def final(self) -> bool:
        return True

    def lost(self) -> list[str]:
        return [f"{', '.join(self.gone)} unpinned"] if self.gone else []
