"""Find journals by the names of their files, without reading them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable

SUFFIX = ".journal"
ASIDE = ".damaged"  # behind the name of a journal that was set aside


def _files_in(directories: Iterable[str]) -> list[str]:
    """Return the paths of all files in directories for journals. A directory need not exist."""
    found = []
    for directory in directories:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            found += [os.path.join(directory, name) for name in sorted(os.listdir(directory))]
    return found


def journals_in(directories: Iterable[str]) -> list[str]:
    """Return the paths of the journals in the directories, also those of running commands."""
    return [path for path in _files_in(directories) if path.endswith(SUFFIX)]


def set_aside(directories: Iterable[str]) -> list[str]:
    """Return the paths of the damaged journals in the directories that were renamed earlier."""
    return [path for path in _files_in(directories) if f"{SUFFIX}{ASIDE}" in os.path.basename(path)]
