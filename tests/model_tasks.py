"""What tests do with tasks of a model beside the simulator: files of live tasks, and wait(2)."""

from __future__ import annotations

import os
from errno import ECHILD

from pcont.backend_model import Model


def open_file(model: Model, task: int, admin: bool = False) -> int:
    """A process opens a file, `admin`: with CAP_SYS_ADMIN; its number. ENFILE, ESRCH."""
    model.lifetimes.remove_exited()
    return model.file_accounts.open(model.lifetimes.adopt(task), admin)


def share_file(model: Model, file: int, task: int) -> None:
    """One more process holds an open file. EBADF, ESRCH."""
    model.lifetimes.remove_exited()
    model.open_files.share(file, model.lifetimes.adopt(task).id)


def close_file(model: Model, file: int, task: int) -> None:
    """A process closes a file. EBADF."""
    model.lifetimes.remove_exited()
    model.file_accounts.close(file, task)


def wait_for(model: Model, task: int) -> None:
    """wait(2) for a simulated process that has ended; ECHILD for any other."""
    model.task(task)
    if not model.tasks.is_over(task):
        raise ChildProcessError(ECHILD, os.strerror(ECHILD), str(task))
    model.lifetimes.reap(task)
