"""What benchmarks use of this machine's cgroups, and how they leave it: as it was.

All containers have names that begin with `bench` and the id of this process. The blocks below
remove what they made, also after Ctrl-C or SIGTERM.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType

import pcont
from benchmarks.measure import c_loop
from pcont.backend_cgroupfs import Cgroupfs
from pcont.kernel.types import TreeRequest
from pcont.steps.mounts import dissolve
from tests.stress.measure import PCONT
from tests.stress.trees import SeparateTrees, separate_trees
from tests.waiting import until

NAME = f"bench{os.getpid()}"


def begin(*, root: bool = True) -> None:
    """Check for root, and let SIGINT and SIGTERM leave nothing behind."""
    if root and os.geteuid() != 0:
        sys.exit("this benchmark changes real cgroups: run it as root")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave)


def _leave(number: int, frame: FrameType | None) -> None:
    """End this process by SystemExit; a second signal does not interrupt the cleaning."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    sys.exit(128 + number)


def ok(*words: str) -> str:
    """Run a command of pcont that must succeed, and return its output."""
    done = subprocess.run([*PCONT, *words], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"pcont {' '.join(words)}: exit {done.returncode}\n{done.stderr}")
    return done.stdout


def bound() -> set[str]:
    """The subsystems that are bound to a hierarchy."""
    return {row.name for row in pcont.open().subsys() if row.bound is not None}


def mount_points() -> dict[str, str]:
    """Where the hierarchies of one controller are mounted, by the controller."""
    return {
        row.subsystems[0]: row.mountpoint
        for row in pcont.open().hierarchies()
        if len(row.subsystems) == 1 and row.mountpoint
    }


class Tree:
    """A container of this process in the hierarchy of one controller."""

    def __init__(self, controller: str, mount_point: str) -> None:
        self.controller, self.root = controller, mount_point
        self.path = f"/{NAME}"
        self.place = f"{controller}:{self.path}"
        self.directory = f"{mount_point}/{NAME}"

    def names(self, number: int, above: str = "") -> list[str]:
        """The directories of so many containers below it."""
        return [f"{self.directory}{above}/c{one}" for one in range(number)]

    def places(self, number: int) -> list[str]:
        return [f"{self.place}/c{one}" for one in range(number)]

    def write(self, path: str, values: Mapping[str, str]) -> None:
        """Write control files of a container below it."""
        for file, text in values.items():
            Path(f"{self.directory}{path}", file).write_text(text)

    def clear(self) -> None:
        """Remove what is below it."""
        for name in sorted(below(self.directory), reverse=True):
            remove_directory(name)

    def remove(self) -> None:
        """Remove it with all below it, if it exists."""
        if os.path.exists(self.directory):
            self.clear()
            remove_directory(self.directory)


def below(directory: str) -> Iterator[str]:
    """The directories below a directory."""
    with os.scandir(directory) as entries:
        names = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    for name in names:
        yield name
        yield from below(name)


def remove_directory(name: str) -> None:
    """Remove a container that its last task may still be leaving."""

    def removed() -> bool:
        with suppress(OSError):
            os.rmdir(name)
        return not os.path.exists(name)

    if not until(removed, 10.0):
        os.rmdir(name)


@contextmanager
def containers(*controllers: str) -> Iterator[list[Tree]]:
    """A container in the hierarchy of each controller; it is removed with all below it."""
    points = mount_points()
    if missing := set(controllers) - set(points):
        sys.exit(f"no hierarchy of its own has: {', '.join(sorted(missing))}")
    with ExitStack() as stack:
        found = [Tree(controller, points[controller]) for controller in controllers]
        for tree in found:
            stack.callback(tree.remove)
            os.mkdir(tree.directory)
        yield found


@contextmanager
def sleepers(processes: int, threads: int = 1) -> Iterator[list[int]]:
    """So many processes that sleep; the first of them has so many threads. Yields their ids."""
    with subprocess.Popen(
        c_loop("sleepers", processes, threads),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin
        assert process.stdout
        try:
            yield list(map(int, process.stdout.readline().split()))
        finally:
            process.stdin.close()
            process.wait()


class NamedHierarchies:
    """Named v1 hierarchies of this process, as many as are wanted at the moment.

    Each has the container /c. No name is used twice, because the kernel may still be removing the
    hierarchy that had it.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.mounted: list[str] = []
        self.made = 0

    def use(self, number: int) -> list[str]:
        """Mount or unmount until there are so many; the containers' directories."""
        while len(self.mounted) < number:
            self._mount()
        while len(self.mounted) > number:
            self._unmount()
        return [f"{point}/c" for point in self.mounted]

    def _mount(self) -> None:
        self.made += 1
        point = f"{self.folder}/{self.made}"
        os.mkdir(point)
        self.mounted.append(point)
        options = f"none,name={self._name(point)}"
        subprocess.run(["mount", "-t", "cgroup", "-o", options, "cgroup", point], check=True)
        os.mkdir(f"{point}/c")

    @staticmethod
    def _name(point: str) -> str:
        return f"{NAME}-{os.path.basename(point)}"

    def _unmount(self) -> None:
        point = self.mounted[-1]
        if os.path.ismount(point):
            remove_directory(f"{point}/c")
            subprocess.run(["umount", point], check=True)
            # A container that the kernel is still freeing keeps its hierarchy without a mount.
            dissolve(Cgroupfs(), TreeRequest((), self._name(point)), point, "cgroup")
        os.rmdir(point)
        self.mounted.pop()


@contextmanager
def named_hierarchies() -> Iterator[NamedHierarchies]:
    """Hierarchies that are unmounted at the end of the block."""
    with tempfile.TemporaryDirectory(prefix=NAME) as folder:
        made = NamedHierarchies(folder)
        try:
            yield made
        finally:
            made.use(0)


@contextmanager
def trees(controllers: Sequence[str], named: int) -> Iterator[SeparateTrees]:
    """Separate trees of this process; controllers that are not mounted are mounted for them."""
    bind = not bound() & set(controllers)
    with separate_trees(ok, NAME, controllers, named, bind=bind) as made:
        yield made


def shown(place: SeparateTrees) -> str:
    """The trees as a table shows them: the name of a named one says nothing."""
    return ", ".join([*place.controllers, *(["named"] * len(place.names))])
