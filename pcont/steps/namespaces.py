"""Steps that give a process namespaces of its own, and keep these by a name."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from errno import EACCES, EAGAIN, EEXIST, EINVAL, ENOMEM, ENOSPC, EPERM, EUSERS
from functools import partial
from shlex import quote

from pcont.errors import (
    BY_ERRNO,
    LimitReached,
    NotFound,
    PcontError,
    Unsupported,
    from_oserror,
)
from pcont.kernel.interfaces import Backend, Namespaces
from pcont.tags import on_disk
from pcont.transaction.step import Step
from pcont.transaction.undo_log import Action, UndoLog, UndoRecord

# unshare(2), clone(2), setns(2): what these say of namespaces.
KINDS = {**BY_ERRNO, ENOSPC: LimitReached, EUSERS: LimitReached, EINVAL: Unsupported}
_LIMITS = "see the limits in /proc/sys/user, and how deep namespaces are nested"
_PROCESSES = "see ulimit -u, /proc/sys/kernel/pid_max, and pids.max of the container of this shell"
_FORBIDDEN = (
    "in a chroot this is not possible; elsewhere see unprivileged_userns_clone and "
    "apparmor_restrict_unprivileged_userns in /proc/sys/kernel"
)


@dataclass(frozen=True)
class NamespaceRequest:
    """The namespaces that a command is to have: new ones of `kinds`, or those of the pin `joined`.

    Neither for a command without.
    """

    kinds: Sequence[str] = ()
    joined: str = ""


NONE = NamespaceRequest()


def option(kind: str) -> str:
    """A kind of namespaces as unshare(1) and nsenter(1) call it."""
    return "mount" if kind == "mnt" else kind


def namespace_refusal(err: OSError, doing: str, wanted: NamespaceRequest = NONE) -> PcontError:
    """The error for what the kernel answers to a process that is to have namespaces.

    `doing` is which act that was, as in "start make".
    """
    number, file = err.errno or 0, str(err.filename or "")
    kinds, reason, hint = KINDS, "", ""
    if file.endswith(("uid_map", "gid_map", "setgroups")):
        kinds, (reason, hint) = BY_ERRNO, _of_a_map(number)
    elif wanted.joined:
        kinds, (reason, hint) = {**KINDS, ENOMEM: NotFound}, _of_a_pin(number, wanted.joined)
    else:
        hint = _of_new_ones(number, wanted.kinds)
    what = reason or os.strerror(number)
    return from_oserror(err, doing, f"{file}: {what}" if file else what, hint, kinds)


def _of_a_map(number: int) -> tuple[str, str]:
    """Why user_namespaces(7) refuses a map of ids, and what helps."""
    own = f"--uid-map 0:{os.geteuid()}:1 --gid-map 0:{os.getegid()}:1"
    reasons = {
        EPERM: ("you may not map these ids", f"a user may map its own id alone: {own}"),
        EINVAL: ("two ranges overlap, or one is empty or too long", f"for example {own}"),
    }
    return reasons.get(number, ("", ""))


def _of_a_pin(number: int, name: str) -> tuple[str, str]:
    """Why setns(2), or fork(2) in a pid namespace, refuses, and what helps."""
    other = ("they belong to another user", "use sudo")
    reasons = {
        ENOMEM: (
            "pid 1 of this pid namespace has ended, and the kernel starts no process without it",
            f"pcont unpin {quote(name)}",
        ),
        EPERM: other,
        EACCES: other,
        EINVAL: ("a user or pid namespace is joined from one above it, and from outside", ""),
        EAGAIN: ("", _PROCESSES),
    }
    return reasons.get(number, ("", ""))


def _of_new_ones(number: int, kinds: Sequence[str]) -> str:
    """What helps where clone(2) or unshare(2) refuses."""
    with_user = f"use sudo, or add a user namespace: --ns {','.join(('user', *kinds))}"
    hints = {
        EPERM: _FORBIDDEN if "user" in kinds else with_user if kinds else "",
        ENOSPC: _LIMITS,
        EUSERS: _LIMITS,
        EAGAIN: _PROCESSES,
    }
    return hints.get(number, "")


@dataclass
class EnterNamespaces(Step):
    """A process that is in its place makes namespaces, or joins them: `settle` lets it."""

    settle: Callable[[], None]
    words: str
    doing: str
    wanted: NamespaceRequest

    def dry_run_lines(self, backend: Backend) -> list[str]:
        return [self.words]

    def do(self, backend: Backend, memory: UndoLog) -> None:
        self.settle()

    def refusal(self, backend: Backend, err: OSError) -> PcontError:
        return namespace_refusal(err, self.doing, self.wanted)


@on_disk("NotPinned", "names")
@dataclass
class UnpinPinned(UndoRecord):
    """Nothing was kept by these names."""

    names: list[str]

    @property
    def what(self) -> str:
        return f"namespaces, not to be pinned as {', '.join(self.names)}"

    def restore(self, backend: Namespaces) -> Iterator[Action]:
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

    def dry_run_lines(self, backend: Namespaces) -> list[str]:
        return [
            f"mount --bind /proc/{self.task}/ns/{kind} {quote(backend.pin_path(self.name, kind))}"
            for kind in self.kinds
        ]

    def do(self, backend: Namespaces, memory: UndoLog) -> None:
        if self.name in backend.pins():
            raise FileExistsError(EEXIST, os.strerror(EEXIST), backend.pin_path(self.name))
        memory.record(UnpinPinned([self.name]))
        backend.pin(self.name, self.task, self.kinds)

    def refusal(self, backend: Backend, err: OSError) -> PcontError:
        if err.errno == EEXIST:
            hint = f"choose another name, or free this one: pcont unpin {quote(self.name)}"
            return from_oserror(err, self.doing, "the name is taken", hint)
        return namespace_refusal(err, self.doing)


@dataclass
class Unpin(Step):
    """Let go of namespaces: those that nobody is in are gone then, and nothing brings them back."""

    names: Sequence[str]
    doing: str
    gone: list[str] = field(default_factory=list)

    def dry_run_lines(self, backend: Namespaces) -> list[str]:
        return [f"umount --lazy {quote(backend.pin_path(name))}" for name in self.names]

    def do(self, backend: Namespaces, memory: UndoLog) -> None:
        memory.set_final(UnpinPinned(list(self.names)))
        for name in self.names:
            backend.unpin(name)
            self.gone.append(name)

    @property
    def final(self) -> bool:
        return True

    def lost(self) -> list[str]:
        return [f"{', '.join(self.gone)} unpinned"] if self.gone else []
