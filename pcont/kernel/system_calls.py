"""What the drivers of the running kernel use, and what they offer to its backend."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Protocol

from pcont.kernel.interfaces import Driver
from pcont.kernel.types import Owner, Place, Task


class CgroupFiles(Protocol):
    """System calls on the directories and files of mounted hierarchies, by their paths.

    The drivers of a kernel use them. They know nothing of trees, v1 or v2.
    """

    def mkdir(self, directory: str) -> None:
        """mkdir(2)."""

    def rmdir(self, directory: str) -> None:
        """rmdir(2)."""

    def directories(self, directory: str) -> list[str]:
        """Return the names of the directories in a directory, sorted."""

    def modes(self, directory: str) -> dict[str, bool]:
        """Return the names of the files in a directory, and whether each is ever writable."""

    def read(self, file: str) -> str:
        """Return the whole text of a file; ENOENT also if the directory is removed during that."""

    def write(self, file: str, text: str, opened: Callable[[], object] | None = None) -> None:
        """One write(2); WriteRefused where the file could be opened and the text was refused.

        `opened` is called after open(2): its OSError is a refusal as well.
        """

    def write_tasks(self, file: str, tasks: Iterable[int]) -> Iterator[int]:
        """Write task ids through one open file; yield those that were accepted.

        A task that has ended (ESRCH) is left out; WriteRefused for the first one that is refused.
        """

    def write_if_killed(self, file: str, text: bytes) -> AbstractContextManager[None]:
        """Have another process write the text if this process is killed in the block."""

    def may_write(self, *files: str) -> bool:
        """Whether this process may write all of these files and directories."""

    def attributes(self, directory: str) -> dict[str, str]:
        """Return the attributes of pcont that this process believes, by name without the prefix."""

    def set_attribute(self, directory: str, name: str, text: str | None) -> None:
        """Write an attribute; None removes it."""

    def stray(self, directory: str) -> dict[str, str]:
        """Return attributes that look like pcont's and are not believed, by their full names."""

    def mend(self, directory: str) -> None:
        """Remove stray attributes, and update the copies of attributes for other users."""

    def owners(self, directory: str) -> dict[str, Owner]:
        """Return the owners of a directory ("") and of its files."""

    def set_owners(self, directory: str, owners: Mapping[str, Owner]) -> None:
        """Give a directory and its files these owners."""

    def is_on(self, point: str, device: str) -> bool:
        """Whether a directory is seen to be on a device, MAJOR:MINOR."""

    def signal_inside(
        self, pids: Iterable[int], number: int, inside: Callable[[], Iterable[int]]
    ) -> Iterator[int]:
        """Signal those of the processes that are inside; yield each one signalled.

        A process whose id is reused by another one is not signalled: `inside` is called after the
        processes are pinned, and returns the ids of those that are in the container.
        """


class ProcReader(Protocol):
    """/proc as the drivers of a kernel read it."""

    def text(self, file: str) -> str:
        """Return the whole of a file."""

    def of(self, task: int, file: str) -> str:
        """Return the whole of a task's file; ESRCH where there is no such task."""

    def task(self, task: int) -> Task:
        """Return what is known of a task; ESRCH where there is none."""

    def cgroups(self) -> str:
        """Return /proc/cgroups; Unsupported, with a hint, where the kernel has none."""


class MountedDriver(Driver, Protocol):
    """A driver of the running kernel: its containers are directories below mounts."""

    def path(self, place: Place, file: str = "") -> str:
        """Return the path of a container, or of a file of it; Unseen where no mount shows it."""

    def points_in(self, mountinfo: str, tree: str) -> list[str]:
        """Return the directories where a mountinfo, of any process, has a hierarchy."""

    def forget(self) -> None:
        """Drop what is known of mounts, which are about to change."""
