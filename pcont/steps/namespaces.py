"""Steps that start a process in new namespaces, and that pin namespaces under a name."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from errno import EACCES, EAGAIN, EEXIST, EINVAL, ENOMEM, ENOSPC, EPERM, EUSERS
from functools import partial
from shlex import quote
from typing import TYPE_CHECKING

from pcont.bases import NamedTuple, on_disk
from pcont.errors import (
    BY_ERRNO,
    LimitReached,
    NotFound,
    PcontError,
    Unsupported,
    from_oserror,
)
from pcont.transaction.step import Step
from pcont.transaction.undo_log import Action, UndoLog, UndoRecord

if TYPE_CHECKING:
    from pcont.kernel.interfaces import Backend, Namespaces

# The errors of unshare(2), clone(2) and setns(2) for namespaces.
_ERROR_CLASSES = {**BY_ERRNO, ENOSPC: LimitReached, EUSERS: LimitReached, EINVAL: Unsupported}
_LIMITS = "see the limits in /proc/sys/user, and how deep namespaces are nested"
_PROCESSES = "see ulimit -u, /proc/sys/kernel/pid_max, and pids.max of the container of this shell"
_FORBIDDEN = (
    "in a chroot this is not possible; elsewhere see unprivileged_userns_clone and "
    "apparmor_restrict_unprivileged_userns in /proc/sys/kernel"
)


class NamespaceRequest(NamedTuple):
    """The namespaces of a command: new ones of `kinds` ("mnt", "pid", …), or those of the pin
    `joined`.

    Both are empty for a command that keeps pcont's namespaces.
    """

    kinds: Sequence[str] = ()
    joined: str = ""


NONE = NamespaceRequest()


def option_word(kind: str) -> str:
    """Return the name that unshare(1) and nsenter(1) use for a kind of namespace, as in
    /proc/PID/ns.
    """
    return "mount" if kind == "mnt" else kind


def namespace_refusal(err: OSError, action: str, wanted: NamespaceRequest = NONE) -> PcontError:
    """Return the error for an OSError from clone(2), unshare(2), setns(2) or a write to an id map.

    `action` names what was attempted, as in "start make"; `wanted` the requested namespaces.
    """
    number, file = err.errno or 0, str(err.filename or "")
    kinds, reason, hint = _ERROR_CLASSES, "", ""
    if file.endswith(("uid_map", "gid_map", "setgroups")):
        kinds, (reason, hint) = BY_ERRNO, _of_a_map(number)
    elif wanted.joined:
        kinds, (reason, hint) = (
            {**_ERROR_CLASSES, ENOMEM: NotFound},
            _of_a_pin(number, wanted.joined),
        )
    else:
        hint = _of_new_ones(number, wanted.kinds)
    text = reason or os.strerror(number)
    return from_oserror(err, action, f"{file}: {text}" if file else text, hint, kinds)


def _of_a_map(number: int) -> tuple[str, str]:
    """Return reason and hint for an id map that user_namespaces(7) refuses."""
    own = f"--uid-map 0:{os.geteuid()}:1 --gid-map 0:{os.getegid()}:1"
    reasons = {
        EPERM: ("you may not map these ids", f"a user may map its own id alone: {own}"),
        EINVAL: ("two ranges overlap, or one is empty or too long", f"for example {own}"),
    }
    return reasons.get(number, ("", ""))


def _of_a_pin(number: int, name: str) -> tuple[str, str]:
    """Return reason and hint for a refusal by setns(2), or by fork(2) in a pid namespace."""
    other = ("the namespaces belong to another user", "use sudo")
    reasons = {
        ENOMEM: (
            "pid 1 of this pid namespace has ended, and the kernel starts no process without it",
            f"pcont unpin {quote(name)}",
        ),
        EPERM: other,
        EACCES: other,
        EINVAL: (
            "a user or pid namespace can be joined only by a process in a parent of it",
            "",
        ),
        EAGAIN: ("", _PROCESSES),
    }
    return reasons.get(number, ("", ""))


def _of_new_ones(number: int, kinds: Sequence[str]) -> str:
    """Return the hint for a refusal by clone(2) or unshare(2)."""
    with_user = f"use sudo, or add a user namespace: --ns {','.join(('user', *kinds))}"
    hints = {
        EPERM: _FORBIDDEN if "user" in kinds else with_user if kinds else "",
        ENOSPC: _LIMITS,
        EUSERS: _LIMITS,
        EAGAIN: _PROCESSES,
    }
    return hints.get(number, "")


class EnterNamespaces(Step):
    """Let a process that waits in its container create or join its namespaces.

    `enter` is called to let it continue, and raises OSError if the kernel refuses. `words`: the
    line of a dry run. `action` names the operation in messages.
    """

    def __init__(
        self, enter: Callable[[], None], words: str, action: str, wanted: NamespaceRequest
    ) -> None:
        self.enter, self.words, self.action, self.wanted = enter, words, action, wanted

    def dry_run_lines(self, backend: Backend) -> list[str]:
        return [self.words]

    def do(self, backend: Backend, undo_log: UndoLog) -> None:
        self.enter()

    def refusal(self, backend: Backend, err: OSError) -> PcontError:
        return namespace_refusal(err, self.action, self.wanted)


@on_disk("NotPinned", "names")
class UnpinPinned(UndoRecord):
    """Undo record of Pin: no namespaces were pinned under these names."""

    names: list[str]

    def __init__(self, names: list[str]) -> None:
        self.names = names

    @property
    def label(self) -> str:
        return f"namespaces, not to be pinned as {', '.join(self.names)}"

    def restore(self, backend: Namespaces) -> Iterator[Action]:
        there = backend.pins()
        for name in self.names:
            if name in there:
                yield partial(backend.unpin, name)


class Pin(Step):
    """Keep the namespaces of a process under a name, with a bind mount for each kind.

    `task`: the process id. `kinds`: as in /proc/PID/ns. `do` raises FileExistsError if the name is
    taken.
    """

    def __init__(self, name: str, task: int, kinds: Sequence[str], action: str) -> None:
        self.name, self.task, self.kinds, self.action = name, task, kinds, action

    def dry_run_lines(self, backend: Namespaces) -> list[str]:
        return [
            f"mount --bind /proc/{self.task}/ns/{kind} {quote(backend.pin_path(self.name, kind))}"
            for kind in self.kinds
        ]

    def do(self, backend: Namespaces, undo_log: UndoLog) -> None:
        if self.name in backend.pins():
            raise FileExistsError(EEXIST, os.strerror(EEXIST), backend.pin_path(self.name))
        undo_log.record(UnpinPinned([self.name]))
        backend.pin(self.name, self.task, self.kinds)

    def refusal(self, backend: Backend, err: OSError) -> PcontError:
        if err.errno == EEXIST:
            hint = f"choose another name, or free this one: pcont unpin {quote(self.name)}"
            return from_oserror(err, self.action, "the name is taken", hint)
        return namespace_refusal(err, self.action)


class Unpin(Step):
    """Remove pins. This is final: the kernel removes a namespace that no process is in.

    `unpinned`: the pins removed so far, for the message of a failure.
    """

    def __init__(self, names: Sequence[str], action: str) -> None:
        self.names, self.action = names, action
        self.unpinned: list[str] = []

    def dry_run_lines(self, backend: Namespaces) -> list[str]:
        return [f"umount --lazy {quote(backend.pin_path(name))}" for name in self.names]

    def do(self, backend: Namespaces, undo_log: UndoLog) -> None:
        undo_log.set_final(UnpinPinned(list(self.names)))
        for name in self.names:
            backend.unpin(name)
            self.unpinned.append(name)

    @property
    def final(self) -> bool:
        return True

    def irreversible(self) -> list[str]:
        return [f"{', '.join(self.unpinned)} unpinned"] if self.unpinned else []
