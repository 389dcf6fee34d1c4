"""The exceptions of pcont: one class for each exit status, and the translation of errnos."""

from __future__ import annotations

import errno as _errno
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def similar_words(word: str, known: Iterable[str], most: int = 3, cutoff: float = 0.6) -> list[str]:
    """Return the known words that are most like a word, for a hint; see difflib for `cutoff`."""
    import difflib  # only mistakes need it

    return difflib.get_close_matches(word, known, n=most, cutoff=cutoff)


def shortened(words: Sequence[str], most: int = 5) -> str:
    """Return the first of many words for a message, with commas between them."""
    return ", ".join(words[:most]) + (", …" if len(words) > most else "")


class PcontError(Exception):
    """A refusal or a failure that a user can act on.

    `what`: what was attempted, and the reason. `path`: the file or directory. `errno`: the kernel's
    error number; None if the kernel did not refuse. `hint`: what to do about it. `undone`: changes
    were made and undone. `left`: what could not be undone. `line`: the line of a batch that failed.
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
        self.line: int | None = None

    @property
    def message(self) -> str:
        """The message without the hint: the failure, and whether earlier changes were undone."""
        words = [self.what]
        if self.left:
            words.append("NOT RESTORED: " + "; ".join(self.left))
        elif self.undone:
            words.append("everything before it was undone")
        return "; ".join(words)

    @property
    def errno_name(self) -> str | None:
        """The name of the errno, such as EBUSY; None if the kernel did not refuse."""
        return _errno.errorcode.get(self.errno, str(self.errno)) if self.errno else None

    def as_dict(self) -> dict[str, Any]:
        """Return the error as `--json` prints it."""
        return {
            "code": self.code,
            "errno": self.errno_name,
            "message": self.message,
            "path": self.path,
            "hint": self.hint,
            **({} if self.line is None else {"line": self.line}),
        }


class Cancelled(PcontError):
    """The user did not answer yes to a question. Nothing was changed."""

    code = "cancelled"


class UsageProblem(PcontError):
    """The arguments do not fit together, in any state of the machine."""

    code, exit_code = "usage", 2


class NotFound(PcontError):
    """A container, hierarchy, key, subsystem or task does not exist."""

    code, exit_code = "not-found", 3


class UnknownName(NotFound):
    """A hierarchy, subsystem, key or task does not exist, and waiting for another pcont command
    would not change that.
    """


class Denied(PcontError):
    """The caller has no permission."""

    code, exit_code = "denied", 4


class Busy(PcontError):
    """Something is in use, or exists already."""

    code, exit_code = "busy", 5


class Unsupported(PcontError):
    """This host cannot do what was asked."""

    code, exit_code = "unsupported", 6


class BadValue(PcontError):
    """A value, or the attach of a task, breaks a rule of the container."""

    code, exit_code = "bad-value", 7


class BadWord(BadValue):
    """An argument is malformed, in any state of the machine."""


class LimitReached(PcontError):
    """A limit of a container or of the machine is reached."""

    code, exit_code = "limit-reached", 8


class NotExecutable(PcontError):
    """The command of `pcont run` or `pcont clone` exists, but cannot be executed."""

    code, exit_code = "not-executable", 126


class CommandNotFound(PcontError):
    """The command of `pcont run` or `pcont clone` does not exist."""

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

# The classes for a refused write, whose errnos mean something else than for other calls.
BY_WRITTEN: dict[int, type[PcontError]] = {
    **BY_ERRNO,
    _errno.EACCES: BadValue,
    _errno.ENOSPC: BadValue,
    _errno.EOVERFLOW: BadValue,
}

FORCE = "--force does it"  # the command line shows its own words with --force

MAY_NOT = "you may not write here: use sudo, or rehearse with --backend model"


class Unseen(FileNotFoundError):
    """A hierarchy is active, but no mount shows the container, so pcont cannot know whether it
    exists.

    It is a FileNotFoundError. A caller that removes or creates containers must not treat it as
    "does not exist".
    """

    def __init__(self, where: str) -> None:
        reason = "its hierarchy is active, but no mount shows it"
        super().__init__(_errno.ENOENT, reason, where)


# What an operation can raise besides PcontError and a signal.
FAILURES = (OSError, RecursionError, UnicodeError)


def from_failure(
    err: OSError | RecursionError | UnicodeError, action: str, *, deeper: str = "", encoding: str
) -> PcontError:
    """Return the PcontError for a failure that no operation has translated.

    `action`: what was attempted. `deeper`, `encoding`: the hints if containers are nested too deep,
    and if a name cannot be expressed in the locale.
    """
    if isinstance(err, RecursionError):
        return PcontError("the containers are nested too deep for this Python", hint=deeper)
    if isinstance(err, UnicodeError):
        return PcontError(f"a name cannot be expressed in this locale: {err}", hint=encoding)
    problem = from_oserror(err, action)
    problem.left = getattr(err, "left", [])
    return problem


def from_oserror(
    err: OSError,
    action: str,
    reason: str = "",
    hint: str = "",
    kinds: Mapping[int, type[PcontError]] = BY_ERRNO,
) -> PcontError:
    """Return the PcontError for an OSError of the kernel.

    `action`: what was attempted, as in "create jobs:/a". `reason`: replaces the general text of the
    errno. `hint`: what to do. `kinds`: the class by errno.
    """
    number = err.errno or 0
    reason = str(err.strerror) if isinstance(err, Unseen) else reason
    kind = kinds.get(number, PcontError)
    name = _errno.errorcode.get(number, str(number))
    if not hint and kind is Denied:
        hint = MAY_NOT
    return kind(
        f"cannot {action}: {reason or os.strerror(number)} ({name})",
        path=str(err.filename or ""),
        errno=number,
        hint=hint,
    )
