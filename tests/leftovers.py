"""What a killed run of the tests has left, and in a guest what a failed test has left: it goes, so
that no other test fails because of it.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pcont.backend_cgroupfs import Cgroupfs
from pcont.cli import main
from pcont.errors import Busy
from pcont.kernel.types import Place, Tree, TreeRequest
from pcont.linux import syscalls
from pcont.steps.mounts import dissolve
from tests.waiting import eventually

_OURS = re.compile(r"pct(\d+)-")  # and the pid of the run


def sweep() -> None:
    """An exclusive cpuset that was left, say, is in the way of all others.

    A container that still has tasks stays.
    """
    backend = Cgroupfs()
    for tree in backend.trees():
        if tree.mounted:
            _sweep_tree(backend, tree)


def _sweep_tree(backend: Cgroupfs, tree: Tree) -> None:
    whole = _left(tree.name)
    for name in backend.children(Place(tree.id)):
        if whole or _left(name):
            main(["rm", "-r", f"{tree.id}:/{name}"])
    if whole:
        main(["umount", tree.name])
        _unmount_all(tree.name)


def _unmount_all(name: str) -> None:
    """Unmount what is left of a hierarchy; pcont does not, if it is not as pcont made it."""
    for tree in Cgroupfs().trees():
        for mount in tree.mounts if tree.name == name else ():
            with contextlib.suppress(OSError):
                syscalls.sys_umount(mount.point)


def _left(name: str) -> bool:
    """Whether a run made it that is no more."""
    made = _OURS.match(name)
    return made is not None and not os.path.exists(f"/proc/{made[1]}")


# In a guest

ENABLED = "cgroup.subtree_control"
LIMIT = 20.0  # seconds, for what the kernel frees later


@dataclass(frozen=True)
class Cgroups:
    """The mounts of cgroups, the containers below them, what the roots of v2 enable, and the
    hierarchies, mounted or not, by their ids.
    """

    mounts: tuple[Path, ...]
    containers: tuple[Path, ...]  # parents first
    enabled: dict[Path, str]
    hierarchies: frozenset[str]


def cgroups() -> Cgroups:
    """Look at all mounts of cgroups with plain system calls, because pcont may have failed."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    kinds = [(line.split()[4], line.partition(" - ")[2].split()[0]) for line in lines]
    mounts = tuple(Path(point) for point, kind in kinds if kind in ("cgroup", "cgroup2"))
    containers = [
        Path(folder, name)
        for mount in mounts
        for folder, names, _ in os.walk(mount)
        for name in sorted(names)
    ]
    enabled = {one: (one / ENABLED).read_text() for one in mounts if (one / ENABLED).exists()}
    active = Path("/proc/self/cgroup").read_text().splitlines()
    hierarchies = frozenset(line.split(":")[1] for line in active)
    return Cgroups(mounts, tuple(containers), enabled, hierarchies)


def restore(before: Cgroups) -> None:
    """Bring the cgroups of a guest back to what they were: kill the tasks in new containers, remove
    these, and unmount the new mounts. What cannot be done is left.
    """
    now = cgroups()
    new = [one for one in now.containers if one not in before.containers]
    for container in new:
        _write(container / "freezer.state", "THAWED")
        _write(container / "cgroup.freeze", "0")
    for container in reversed(new):
        eventually(partial(_removed, container), LIMIT)
    for mount in reversed(now.mounts):
        if mount not in before.mounts:
            eventually(partial(_unmounted, mount), LIMIT)
        elif mount in before.enabled:
            added = set(now.enabled[mount].split()) - set(before.enabled[mount].split())
            for controller in sorted(added):
                _write(mount / ENABLED, f"-{controller}")
    _end_hierarchies(before.hierarchies)
    main(["gc"])


def _end_hierarchies(before: frozenset[str]) -> None:
    """A hierarchy stays after its last mount while its removed containers linger."""
    for tree in Cgroupfs().trees():
        if tree.id not in before and not tree.mounted:
            with tempfile.TemporaryDirectory(dir="/run") as point, contextlib.suppress(Busy):
                dissolve(Cgroupfs(), TreeRequest(tree.controllers, tree.name), point, "none")


def _removed(container: Path) -> bool:
    """Try to remove a container. If tasks keep it, kill them, and move this process to the root.

    Returns whether the container no longer exists.
    """
    with contextlib.suppress(OSError):
        container.rmdir()
    for file in ("tasks", "cgroup.threads"):
        with contextlib.suppress(OSError):
            for task in map(int, (container / file).read_text().split()):
                if task == os.getpid():
                    _write(_root(container) / "cgroup.procs", str(task))
                else:
                    os.kill(task, signal.SIGKILL)
    return not container.exists()


def _root(container: Path) -> Path:
    return next(one for one in container.parents if one.is_mount())


def _unmounted(mount: Path) -> bool:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:  # zombies hold on to a hierarchy
            pass
    with contextlib.suppress(OSError):
        syscalls.sys_umount(str(mount))
        mount.rmdir()
    return not mount.is_mount()


def _write(file: Path, text: str) -> None:
    with contextlib.suppress(OSError):
        file.write_text(text)
