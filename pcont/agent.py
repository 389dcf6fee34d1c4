"""What a hierarchy's release agent becomes: a pcont that sees to the containers it was told of.

The kernel runs it, so that there is nobody to read what it says but the system log.
"""

from __future__ import annotations

import os
import syslog

from pcont.errors import PcontError
from pcont.kernel.open import open_backend
from pcont.session import Session
from pcont.steps.reap import attend


def main(tree: str, lock: int) -> None:
    """Work off what was told of a hierarchy. `lock` is the descriptor that nobody else came by."""
    os.umask(0o022)
    syslog.openlog("pcont", syslog.LOG_PID, syslog.LOG_DAEMON)
    try:
        session = Session(open_backend(), command=f"the release agent of {tree}", warn=_log)
        # From here on the queue has its own: what was told in between is seen by who has that.
        os.close(lock)
        attend(session, tree)
    except (PcontError, OSError) as err:
        _log(str(err))


def _log(text: str) -> None:
    # Names of containers are a user's: syslog(3) raises for one that is not UTF-8.
    syslog.syslog(syslog.LOG_WARNING, text if text.isprintable() else repr(text))
