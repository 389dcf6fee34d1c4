"""Look up the user and the command line of a task."""

from __future__ import annotations

from pcont.bases import NamedTuple
from pcont.kernel.types import PID_MAX_LIMIT, ZOMBIE, Task
from pcont.linux.proc import Proc


class TaskOwner(NamedTuple):
    """The user of a task, and its command line."""

    user: str
    command: str


def owner_of(task: Task) -> TaskOwner:
    """Return user and command line; of an ended or simulated task, the name only."""
    unknown = TaskOwner("", f"[{task.name}]")
    if task.id > PID_MAX_LIMIT:  # simulated: /proc has none of this id
        return unknown
    proc = Proc()
    try:
        user = _name_of(proc.real_user(task.id))
        command = _words(proc.of(task.id, "cmdline"))
    except OSError:
        return unknown
    if not command and task.state in ZOMBIE:
        return unknown
    return TaskOwner(user, command or unknown.command)


def _name_of(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _words(cmdline: str) -> str:
    """Return the words of a command line, separated by blanks.

    A process can replace the text by another one, which need not end with a NUL.
    """
    if cmdline.endswith("\0"):
        return cmdline.removesuffix("\0").replace("\0", " ")
    return cmdline.removesuffix(" ")
