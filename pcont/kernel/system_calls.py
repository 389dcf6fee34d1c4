"""The interfaces between the drivers and the running kernel: system calls that drivers use, and
what a driver offers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from pcont.kernel.interfaces import Driver
from pcont.kernel.proc_text import Membership, MountLine
from pcont.kernel.types import Owner, Place, Snapshot, Surveyed, Task, Tree


class MountTable(Protocol):
    """The mounts and the hierarchies of this process, read once for all drivers."""

    @property
    def lines(self) -> list[MountLine]:
        """The lines of /proc/self/mountinfo."""

    @property
    def own(self) -> str:
        """The text of /proc/self/cgroup."""


class CgroupFiles(Protocol):
    """System calls on directories and files of mounted hierarchies, by path.

    The drivers use it. It does not know trees, v1 or v2. Methods raise OSError with the path.
    """

    def mkdir(self, directory: str) -> None:
        """Create a directory, and so a container, with mkdir(2)."""

    def rmdir(self, directory: str) -> None:
        """Remove a directory, and so a container, with rmdir(2)."""

    def is_directory(self, path: str) -> bool:
        """Return whether a path is a directory. Raises OSError if it does not exist."""

    def directories(self, directory: str) -> list[str]:
        """Return the names of the directories in a directory, sorted."""

    def count_directories(self, directory: str) -> int:
        """Return the number of the directories in a directory."""

    def names_in_use(self, directory: str, names: Sequence[str]) -> set[str]:
        """Return those of the names that files or directories in a directory have."""

    def survey(self, directory: str, files: Sequence[str]) -> list[Surveyed]:
        """Return the directories in a directory, sorted, each with the texts of these files."""

    def modes(self, directory: str) -> dict[str, bool]:
        """Return the names of the files in a directory, with whether each can be written."""

    def read(self, file: str) -> str:
        """Return the text of a file. ENOENT also if the directory is removed during the read."""

    def write(self, file: str, text: str, opened: Callable[[], object] | None = None) -> None:
        """Write a text with one write(2). Raises WriteRefused if the kernel refuses the text.

        `opened`: called after open(2); an OSError of it counts as a refusal, too.
        """

    def write_tasks(self, file: str, tasks: Iterable[int]) -> Iterator[int]:
        """Write task ids through one open file; yields those that the kernel accepted.

        A task that has exited (ESRCH) is left out. Raises WriteRefused at the first refusal.
        """

    def write_if_killed(self, file: str, text: bytes) -> AbstractContextManager[None]:
        """For the block, let a second process write the text if this process is killed."""

    def may_write(self, *files: str) -> bool:
        """Return whether this process may write all of these files and directories."""

    def attributes(self, directory: str) -> dict[str, str]:
        """Return the attributes of pcont that this process trusts, by name without the prefix."""

    def set_attribute(self, directory: str, name: str, text: str | None) -> None:
        """Write an attribute; None removes it."""

    def stray(self, directory: str) -> dict[str, str]:
        """Return the attributes that look like pcont's but are not trusted, by full name."""

    def mend(self, directory: str) -> None:
        """Remove stray attributes, and update the copies of attributes for other users."""

    def snapshot(self, directory: str, names: Mapping[str, str], others: Iterable[str]) -> Snapshot:
        """Return the texts of files in a directory, given the name of each, and the attributes and
        owners.

        Files that cannot be read are left out of the texts. `others`: the names of the other files,
        of which only the owners are needed.
        """

    def owners(self, directory: str) -> dict[str, Owner]:
        """Return the owners of a directory ("") and of its files."""

    def set_owners(self, directory: str, owners: Mapping[str, Owner]) -> None:
        """Give a directory and its files these owners."""

    def is_on(self, point: str, device: str) -> bool:
        """Return whether a directory is on a device, given as MAJOR:MINOR."""

    def signal_inside(
        self, pids: Iterable[int], number: int, inside: Callable[[], Iterable[int]]
    ) -> Iterator[int]:
        """Send a signal to those of the processes that are in a container; yields each one
        signalled.

        `inside`: returns the process ids in the container. It is called while descriptors of the
        processes are open, so that no signal reaches a process with a reused id.
        """


class ProcReader(Protocol):
    """/proc, as the drivers of a kernel read it."""

    def text(self, file: str) -> str:
        """Return the content of a file, given its path below /proc."""

    def of(self, task: int, file: str) -> str:
        """Return the content of a file of a task. Raises ProcessLookupError if there is no such
        task.
        """

    def task(self, task: int) -> Task:
        """Return a task. Raises ProcessLookupError if there is none."""

    def cgroups(self) -> str:
        """Return the content of /proc/cgroups. Raises Unsupported, with a hint, if the kernel has
        none.
        """


class MountedDriver(Driver, Protocol):
    """A driver of the running kernel: its containers are directories below mounts."""

    def path(self, place: Place, file: str = "") -> str:
        """Return the path of a container, or of a file of it. Raises Unseen if no mount
        shows it.
        """

    def points_in(self, mountinfo: str, tree: str) -> list[str]:
        """Return the directories at which a process, given its mountinfo, has the hierarchy
        mounted.
        """

    def trees_in(self, table: MountTable) -> tuple[Tree, ...]:
        """Return the trees of this driver, given the mounts and the hierarchies of this process."""

    def paths_in(self, task: int, rows: Iterable[Membership]) -> dict[str, str]:
        """Return the path of a task's container in the trees of this driver, given the lines of its
        /proc/PID/cgroup.
        """

    def forget(self) -> None:
        """Discard cached mounts, before they change."""
