"""The program that the release agent of a hierarchy starts: it removes containers with auto_delete.

The kernel starts the agent, so messages go to the system log.
"""

from __future__ import annotations

import os
import syslog

from pcont.errors import PcontError
from pcont.kernel.open import open_backend
from pcont.session import Session
from pcont.steps.reap import attend


def main(tree: str, lock: int) -> None:
    """Process the queue of a hierarchy.

    `lock` is the descriptor with the lock on the queue: while a process has it, no other agent
    processes the queue.
    """
    os.umask(0o022)
    syslog.openlog("pcont", syslog.LOG_PID, syslog.LOG_DAEMON)
    try:
        session = Session(open_backend(), command=f"the release agent of {tree}", warn=_log)
        # `attend` takes the lock of the queue itself. If another process gets the lock first, that
        # process handles the entries that are added in between.
        os.close(lock)
        attend(session, tree)
    except (PcontError, OSError) as err:
        _log(str(err))


def _log(text: str) -> None:
    # Names of containers are a user's: syslog(3) raises for one that is not UTF-8.
    syslog.syslog(syslog.LOG_WARNING, text if text.isprintable() else repr(text))
