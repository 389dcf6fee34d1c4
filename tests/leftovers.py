"""What a run of the tests that was killed has left: it goes before the next one starts."""

from __future__ import annotations

import contextlib
import os
import re

from pcont.backend_cgroupfs import Cgroupfs
from pcont.cli import main
from pcont.kernel.types import Place, Tree
from pcont.linux import syscalls

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
