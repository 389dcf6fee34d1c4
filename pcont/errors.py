"""What can go wrong: one class per exit code, and the one place that reads an errno."""

from __future__ import annotations

import errno as _errno
import os
from collections.abc import Mapping, Sequence
from typing import Any


def shortened(words: Sequence[str], most: int = 5) -> str:
    """Return the first of many words for a message, with commas between them."""
    return ", ".join(words[:most]) + (", …" if len(words) > most else "")


class PcontError(Exception):
    """A refusal or a failure that a user can act on.

    `what` says what was attempted and what came of it, `path` where, `errno` the kernel's
    number if the kernel had a say, `hint` what to do about it.
    """

    code = "failed"
    exit_code = 1

    def __init__(
        self, what: str, *, path: str = "", errno: int | None = None, hint: str = ""
    ) -> None:
        super().__init__(what)
        self.what = what
        self.path = path
        self.errno = errno
        self.hint = hint
        self.undone = False
        self.left: list[str] = []

    @property
    def message(self) -> str:
        """What happened, and what became of the rest of the command."""
        words = [self.what]
        if self.left:
            words.append("NOT RESTORED: " + "; ".join(self.left))
        elif self.undone:
            words.append("everything before it was undone")
        return "; ".join(words)

    @property
    def errno_name(self) -> str | None:
        """The errno's name, such as EBUSY, or None where no kernel spoke."""
        return _errno.errorcode.get(self.errno, str(self.errno)) if self.errno else None

    def as_dict(self) -> dict[str, Any]:
        """The error as `--json` shows it."""
        return {
            "code": self.code,
            "errno": self.errno_name,
            "message": self.message,
            "path": self.path,
            "hint": self.hint,
        }


class Cancelled(PcontError):
    """You answered no, or gave an answer that is not yes: nothing was changed."""

    code = "cancelled"


class UsageProblem(PcontError):
    """The words of the call do not fit, whatever the state of the machine."""

    code, exit_code = "usage", 2


class NotFound(PcontError):
    """No such container, hierarchy, key, subsystem or task."""

    code, exit_code = "not-found", 3


class UnknownName(NotFound):
    """A hierarchy, subsystem, key or task that no other pcont command is about to make."""


class Denied(PcontError):
    """The caller may not do this."""

    code, exit_code = "denied", 4


class Busy(PcontError):
    """In use, or there already."""

    code, exit_code = "busy", 5


class Unsupported(PcontError):
    """This host cannot do it."""

    code, exit_code = "unsupported", 6


class BadValue(PcontError):
    """A value, or an attach, that the rules of the container forbid."""

    code, exit_code = "bad-value", 7


class BadWord(BadValue):
    """A word that is malformed, whatever the state of the machine."""


class LimitReached(PcontError):
    """A limit stands in the way for now."""

    code, exit_code = "limit-reached", 8


class NotExecutable(PcontError):
    """The command of run or clone is there, and cannot be executed."""

    code, exit_code = "not-executable", 126


class CommandNotFound(PcontError):
    """There is no such command."""

    code, exit_code = "command-not-found", 127


BY_ERRNO: dict[int, type[PcontError]] = {
    _errno.ENOENT: NotFound,
    _errno.ESRCH: NotFound,
    _errno.ENODEV: NotFound,
    _errno.ENOTDIR: NotFound,
    _errno.EPERM: Denied,
    _errno.EACCES: Denied,
    _errno.EROFS: Denied,
    _errno.EBUSY: Busy,
    _errno.EEXIST: Busy,
    _errno.ENOTEMPTY: Busy,
    _errno.ENOSYS: Unsupported,
    _errno.EOPNOTSUPP: Unsupported,
    _errno.EINVAL: BadValue,
    _errno.ERANGE: BadValue,
    _errno.E2BIG: BadValue,
    _errno.ENAMETOOLONG: BadValue,
    _errno.EAGAIN: LimitReached,
}

# What the kernel says of a written value, where it means something else than of a caller.
BY_WRITTEN: dict[int, type[PcontError]] = {
    **BY_ERRNO,
    _errno.EACCES: BadValue,
    _errno.ENOSPC: BadValue,
    _errno.EOVERFLOW: BadValue,
}

FORCE = "--force does it"  # the command line shows its own words with --force

MAY_NOT = "you may not write here: use sudo, or rehearse with --backend model"


class Unseen(FileNotFoundError):
    """A hierarchy is active, and no mount shows this container: whether it exists is not known.

    Other than a plain FileNotFoundError, it must not be taken for a container that does not exist.
    """

    def __init__(self, where: str) -> None:
        what = "its hierarchy is active, but no mount shows it"
        super().__init__(_errno.ENOENT, what, where)


def from_oserror(
    err: OSError,
    doing: str,
    reason: str = "",
    hint: str = "",
    kinds: Mapping[int, type[PcontError]] = BY_ERRNO,
) -> PcontError:
    """Translate what the kernel answered while `doing` something, as in "create jobs:/a".

    `reason` stands in place of the errno's general words, where the rule is known.
    """
    number = err.errno or 0
    reason = str(err.strerror) if isinstance(err, Unseen) else reason
    kind = kinds.get(number, PcontError)
    name = _errno.errorcode.get(number, str(number))
    if not hint and kind is Denied:
        hint = MAY_NOT
    return kind(
        f"cannot {doing}: {reason or os.strerror(number)} ({name})",
        path=str(err.filename or ""),
        errno=number,
        hint=hint,
    )
